# SPDX-License-Identifier: Apache-2.0
"""The network of a container is what its caller has put into its network namespace on the host.

Each container here has a namespace of its own with a link to a bridge of the lab, as Docker, netavark and CNI's bridge
plugin make them. runc runs beside us in such a namespace.
"""

import hashlib
import http.server
import json
import os
import re
import signal
import socket
import socketserver
import tempfile
import threading

from support import NACRE, ContainerTest, children, detach, machines, main, nacre, run, state, wait_until

BRIDGE = "br-test"
HOST = "172.30.0.1"
HOST6 = "fd00:30::1"
PORT, SINK_PORT = 8000, 8001
CONTENT = bytes(range(256)) * (4 << 12)  # 4 MiB
DIGEST = hashlib.sha256(CONTENT).hexdigest()


def ip(*argv):
    done = run("ip", *argv)
    if done.returncode:
        raise AssertionError(f"ip {' '.join(argv)}: {done.stderr.decode()}")
    return done.stdout.decode()


class Handler(http.server.BaseHTTPRequestHandler):
    """Gives out CONTENT, and notes who has asked."""
    peers = []

    def do_GET(self):
        self.peers.append(self.client_address[0])
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT)

    def log_message(self, *unused):
        pass


class Sink(socketserver.StreamRequestHandler):
    """Notes the digests of what is sent."""
    digests = []

    def handle(self):
        self.digests.append(hashlib.sha256(self.rfile.read()).hexdigest())


class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6


class NetworkTest(ContainerTest):
    @classmethod
    def setUpClass(cls):
        ip("link", "add", BRIDGE, "type", "bridge")
        ip("link", "set", BRIDGE, "addrgenmode", "none")
        ip("addr", "add", f"{HOST}/24", "dev", BRIDGE)
        ip("addr", "add", f"{HOST6}/64", "dev", BRIDGE, "nodad")
        ip("link", "set", BRIDGE, "up")
        cls.servers = [Server(("::", PORT), Handler), socketserver.ThreadingTCPServer((HOST, SINK_PORT), Sink)]
        for server in cls.servers:
            threading.Thread(target=server.serve_forever, daemon=True).start()

    @classmethod
    def tearDownClass(cls):
        for server in cls.servers:
            server.shutdown()
            server.server_close()
        ip("link", "delete", BRIDGE)

    def setUp(self):
        super().setUp()
        self.count = 0
        os.makedirs("/run/netns", exist_ok=True)
        # ip-netns(8) makes it a mount of its own, and leaves it.
        self.addCleanup(os.rmdir, "/run/netns")
        self.addCleanup(run, "umount", "-n", "/run/netns")

    def netns(self, number, links=("eth0",), mtu=1500):
        """Makes a namespace whose links, at the bridge, have addresses by `number`. Returns its path."""
        name = f"test{number}"
        ip("netns", "add", name)
        self.addCleanup(ip, "netns", "delete", name)
        ip("-n", name, "link", "set", "lo", "up")
        for i, link in enumerate(links):
            outside, address = f"veth{number}.{i}", number + 100 * i
            ip("link", "add", outside, "mtu", str(mtu), "type", "veth", "peer", "name", link, "netns", name, "mtu", str(mtu),
               "address", f"02:42:ac:1e:0{i}:{number:02x}")
            ip("link", "set", outside, "master", BRIDGE, "up")
            ip("-n", name, "link", "set", link, "up")
            ip("-n", name, "addr", "add", f"172.30.{i}.{number}/24", "brd", "+", "dev", link)
            ip("-n", name, "addr", "add", f"fd00:30::{address}/64", "dev", link, "nodad")
        ip("-n", name, "route", "add", "default", "via", HOST)
        ip("-n", name, "-6", "route", "add", "default", "via", HOST6)
        # The kernel looks for other holders of its own address for a second.
        wait_until(lambda: not ip("-n", name, "-6", "addr", "show", "tentative"), "addresses")
        return f"/run/netns/{name}"

    def in_netns(self, path, *args, change=None, **options):
        def changed(config):
            for namespace in config["linux"]["namespaces"]:
                if namespace["type"] == "network":
                    namespace["path"] = path
            for sets in ("bounding", "effective", "permitted"):
                config["process"]["capabilities"][sets].append("CAP_NET_RAW")  # as Docker; for ping
            if change:
                change(config)
        return self.bundle(*args, change=changed, **options)

    def run_in(self, path, script, program=NACRE, **options):
        """Runs a shell script in a container in the namespace, and returns its output."""
        done = run(program, "run", "--bundle", self.in_netns(path, "sh", "-ec", script, **options).path, self.container())
        self.assertEqual((done.returncode, done.stderr.decode()), (0, ""), done.stdout.decode())
        return done.stdout.decode()

    def start_in(self, path, script, **options):
        container = self.container()
        detach("run", "--detach", "--bundle", self.in_netns(path, "sh", "-ec", script, **options).path, container)
        return container

    def test_a_container_reaches_others(self):
        path = self.netns(2)
        Handler.peers.clear()
        Sink.digests.clear()
        script = (f"ping -c 2 -W 20 {HOST} >/dev/null; ping -6 -c 1 -W 20 {HOST6} >/dev/null; "
                  f"wget -q -O file http://{HOST}:{PORT}/; sha256sum file; "
                  f"nc {HOST} {SINK_PORT} < file; "
                  f"wget -q -O - http://[{HOST6}]:{PORT}/ | sha256sum")
        out = self.run_in(path, script, copy=True)
        self.assertEqual([line.split()[0] for line in out.splitlines()], [DIGEST, DIGEST])
        self.assertEqual(Sink.digests, [DIGEST])
        self.assertEqual(Handler.peers, ["::ffff:172.30.0.2", "fd00:30::2"])

    def test_others_reach_a_container(self):
        container = self.start_in(self.netns(3), "echo hello > index.html; exec httpd -f -p 80", copy=True)

        def fetch(address):
            try:
                with socket.create_connection((address, 80), timeout=20) as client:
                    client.sendall(b"GET /index.html HTTP/1.0\r\n\r\n")
                    return b"".join(iter(lambda: client.recv(65536), b""))
            except ConnectionRefusedError:
                return b""
        wait_until(lambda: fetch("172.30.0.3"), "listening", 60)
        self.assertTrue(fetch("172.30.0.3").endswith(b"\r\n\r\nhello\n"))
        self.assertTrue(fetch("fd00:30::3").endswith(b"\r\n\r\nhello\n"))
        # Another container, too.
        self.assertEqual(self.run_in(self.netns(4), "wget -q -O - http://172.30.0.3/index.html"), "hello\n")
        self.assertEqual(state(container)["status"], "running")

    @staticmethod
    def view(text):
        """Leaves out numbers of links, and what only one end of a pair of links says."""
        text = re.sub(r"^\d+: ", "", text, flags=re.M)
        text = re.sub(r"@\S+:", ":", text)
        text = re.sub(r" link-netnsid \d+| qdisc \S+|,M-DOWN| used \S+", "", text)
        return text

    def test_it_sees_what_a_container_of_runc_sees(self):
        script = ("ip addr; ip route show table all | grep -v '^multicast' | sort; ip -6 route | sort; ip rule; ip neigh show nud permanent; "
                  "cat /sys/class/net/*/address /sys/class/net/*/mtu /proc/sys/net/ipv6/conf/eth0/disable_ipv6")
        path = self.netns(5, links=("eth0", "backend"), mtu=1400)
        name = os.path.basename(path)
        for line in ("route add 10.1.0.0/16 via 172.30.0.7 dev eth0 mtu 1300 metric 20", "route add 169.254.1.1 dev backend scope link",
                     "route add 10.2.0.0/16 via 169.254.1.1 dev backend onlink", "route add blackhole 10.3.0.0/16",
                     "route add 10.5.0.0/16 via 172.30.0.1 table 100", "rule add from 172.30.0.5 lookup 100 priority 1000",
                     "neigh add 172.30.0.9 lladdr 02:42:00:00:00:09 dev eth0 nud permanent"):
            ip("-n", name, *line.split())
        theirs = self.run_in(path, script, program="runc")
        self.assertIn("10.1.0.0/16 via 172.30.0.7", theirs)
        for change in (None, self.with_user_namespace):
            self.assertEqual(self.view(self.run_in(path, script, change=change)), self.view(theirs))

    @staticmethod
    def with_user_namespace(config):
        config["linux"]["namespaces"].append({"type": "user"})
        config["linux"]["uidMappings"] = config["linux"]["gidMappings"] = [{"containerID": 0, "hostID": 0, "size": 65536}]

    def test_the_namespace_shows_tools_of_the_host_what_it_showed(self):
        path = self.netns(6)
        name = os.path.basename(path)
        before = {what: ip("-n", name, "-j", *what.split()) for what in ("addr show eth0", "route show table all", "neigh show")}
        container = self.start_in(path, "exec sleep 1000")
        for what, text in before.items():
            self.assertEqual(ip("-n", name, "-j", *what.split()), text)
        pid = state(container)["pid"]
        self.assertEqual(os.stat(f"/proc/{pid}/ns/net").st_ino, os.stat(path).st_ino)
        taps = [link["ifname"] for link in json.loads(ip("-n", name, "-j", "link")) if link.get("ifalias") == f"nacre:{container}"]
        self.assertEqual(len(taps), 1)
        nacre("delete", "--force", container)
        self.assertEqual(json.loads(ip("-n", name, "-j", "link", "show", "type", "tun") or "[]"), [])
        # The next container gets the link as the first did.
        self.run_in(path, f"ping -c 1 -W 20 {HOST}")

    def test_a_network_namespace_that_is_the_hosts_is_left_alone(self):
        def look():
            # Without the bridge's state, which follows the links of the tests before.
            links = {link["ifname"]: (link["qdisc"], link["mtu"], [entry["local"] for entry in link["addr_info"]])
                     for link in json.loads(ip("-j", "addr"))}
            routes = ip("route", "show", "table", "all").replace(" linkdown", "")
            return links, routes, run("tc", "qdisc", "show").stdout
        before = look()
        given = "/run/netns/hosts"
        ip("netns", "attach", "hosts", str(os.getpid()))
        self.addCleanup(ip, "netns", "delete", "hosts")
        for path in (given, "/proc/1/ns/net"):
            done = run(NACRE, "run", "--bundle", self.in_netns(path, "ls", "/sys/class/net").path, self.container())
            self.assertEqual((done.returncode, done.stdout), (0, b"lo\n"), done.stderr)
            self.assertEqual(look(), before)

    def test_containers_that_share_a_network_are_in_one_vm(self):
        path = self.netns(7)
        first = self.start_in(path, "echo hello > index.html; exec httpd -f -p 80", copy=True)
        for same in (path, f"/proc/{state(first)['pid']}/ns/net"):
            script = f"until wget -q -O - http://127.0.0.1/index.html; do sleep 0.1; done; ping -c 1 -W 20 {HOST} >/dev/null; ip addr show eth0 | grep -o 'inet [0-9.]*'"
            self.assertEqual(self.run_in(same, script), "hello\ninet 172.30.0.7\n")
        self.assertEqual(len(machines()), 1)

    def test_links_of_another_containers_are_not_taken(self):
        path = self.netns(10)
        first = self.start_in(path, "exec sleep 1000")
        with tempfile.TemporaryDirectory() as root:  # whose containers are not looked for
            bundle = self.in_netns(path, "ls", "/sys/class/net")
            done = run(NACRE, "--root", root, "run", "--bundle", bundle.path, "other")
        self.assertEqual((done.returncode, done.stdout), (0, b"lo\n"))
        self.assertIn(f"the VM of container {first} has this network".encode(), done.stderr)
        self.assertEqual(nacre("exec", first, "ping", "-c", "1", "-W", "20", HOST).returncode, 0)

    def test_a_failed_create_leaves_the_namespace_as_it_was(self):
        path = self.netns(8)
        name = os.path.basename(path)
        bundle = self.in_netns(path, "/no/such/program")
        self.assertNotEqual(nacre("run", "--bundle", bundle.path, self.container()).returncode, 0)
        self.assertEqual([link["ifname"] for link in json.loads(ip("-n", name, "-j", "link"))], ["lo", "eth0"])
        self.assertEqual(ip("netns", "exec", name, "tc", "filter", "show", "dev", "eth0", "ingress"), "")
        # The kernel itself answers again.
        with self.assertRaises(ConnectionRefusedError):
            socket.create_connection(("172.30.0.8", 80), timeout=20)

    def test_a_killed_process_takes_its_tap_along(self):
        for number, victim in ((11, "vmm"), (12, "stand-in")):
            path = self.netns(number)
            name = os.path.basename(path)
            container = self.start_in(path, f"while wget -q -O /dev/null http://{HOST}:{PORT}/; do :; done")
            before = len(Handler.peers)
            wait_until(lambda: len(Handler.peers) > before + 1, "a transfer", 60)
            standin = state(container)["pid"]
            os.kill(children(standin)[0] if victim == "vmm" else standin, signal.SIGKILL)
            wait_until(lambda: state(container)["status"] == "stopped", "stopped")
            wait_until(lambda: [link["ifname"] for link in json.loads(ip("-n", name, "-j", "link"))] == ["lo", "eth0"], "no tap", 60)
            nacre("delete", container)
            self.run_in(path, f"ping -c 1 -W 20 {HOST} >/dev/null")

    def test_more_links_than_a_vm_can_have(self):
        path = self.netns(9, links=[f"eth{i}" for i in range(9)])
        done = nacre("run", "--bundle", self.in_netns(path, "true").path, self.container())
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(b"the network namespace has 9 links; a VM can have 8", done.stderr)


if __name__ == "__main__":
    main()
