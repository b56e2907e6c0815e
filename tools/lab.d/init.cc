// SPDX-License-Identifier: Apache-2.0
// PID 1 of the lab machine: assembles its file systems over a read-only view
// of the host's root, then runs one command for tools/lab, carrying its
// standard streams over a virtio-serial port.
//
// This is a static program and not a shell script because every fork is slow
// on an emulated CPU, and because the streams need framing.
//
// Frames, both ways: type (1 byte), payload length (4 bytes, little endian),
// payload. From the host:
//   M  fstype \0 source \0 target \0 options \0       mount this ("bind": options unused)
//   R  cwd \0 umask \0 argc \0 arguments \0... environment \0...
//   I  data for standard input; empty: end of file
//   N  nothing, sent for the interrupt that it causes
// To the host:
//   U  up        O, E  data of stdout, stderr
//   X  exit status in decimal        F  why the lab cannot go on
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <span>
#include <string>
#include <vector>

namespace {

int port = -1;
const char* administrator = nullptr;  // the SELinux context of the command; null: there is no SELinux

void write_all(int fd, const void* data, size_t size) {
  auto* bytes = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t n = write(fd, bytes, size);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;  // the host is gone: nobody can be told
    bytes += n;
    size -= static_cast<size_t>(n);
  }
}

void send_frame(char type, const void* data, size_t size) {
  const auto length = static_cast<uint32_t>(size);
  std::string frame(1, type);
  frame.append(reinterpret_cast<const char*>(&length), sizeof(length));
  frame.append(static_cast<const char*>(data), size);
  write_all(port, frame.data(), frame.size());
}

[[noreturn]] void fail(const std::string& what) {
  const std::string text = what + ": " + strerror(errno);
  fprintf(stderr, "lab: %s\n", text.c_str());
  if (port >= 0) send_frame('F', text.data(), text.size());
  sleep(5);  // the host ends the machine when it has read this
  reboot(RB_POWER_OFF);
  _exit(1);
}

void make_directories(const std::string& path) {
  for (size_t slash = path.find('/', 1); slash != std::string::npos; slash = path.find('/', slash + 1))
    mkdir(path.substr(0, slash).c_str(), 0755);
  mkdir(path.c_str(), 0755);
}

void mount_or_fail(const char* type, const char* source, const std::string& target, unsigned long flags,
                   const char* options) {
  make_directories(target);
  if (mount(source, target.c_str(), type, flags, options) != 0) fail("mount " + target);
}

void write_file(const char* path, const char* text) {
  const int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  write_all(fd, text, strlen(text));
  close(fd);
}

// Debian's default policy for SELinux, and what an administrator's shell runs as under it.
constexpr char kPolicy[] = "/etc/selinux/default/policy/policy.33";
constexpr char kAdministrator[] = "unconfined_u:unconfined_r:unconfined_t:s0-s0:c0.c1023";

struct Mount {
  const char* type;
  const char* target;
  unsigned long flags;
  const char* options;
  bool optional;
};

constexpr unsigned long kPlain = MS_NOSUID | MS_NODEV | MS_NOEXEC;

// Mounted in the assembled root, after /dev, /proc and /sys have been moved there.
constexpr Mount kMounts[] = {
    {"devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC, "gid=5,mode=620,ptmxmode=666", false},
    {"tmpfs", "/dev/shm", MS_NOSUID | MS_NODEV, "mode=1777", false},
    {"mqueue", "/dev/mqueue", kPlain, "", true},
    {"hugetlbfs", "/dev/hugepages", MS_NOSUID | MS_NODEV, "", true},
    {"tmpfs", "/run", MS_NOSUID | MS_NODEV, "mode=755", false},
    {"bpf", "/sys/fs/bpf", kPlain, "mode=700", true},
    {"securityfs", "/sys/kernel/security", kPlain, "", true},
    {"debugfs", "/sys/kernel/debug", kPlain, "", true},
    {"tracefs", "/sys/kernel/tracing", kPlain, "", true},
    {"fusectl", "/sys/fs/fuse/connections", kPlain, "", true},
};

constexpr Mount kCgroupV2[] = {{"cgroup2", "/sys/fs/cgroup", kPlain, "nsdelegate", false}};

// Mounted as systemd does it.
constexpr Mount kCgroupV1[] = {
    {"tmpfs", "/sys/fs/cgroup", kPlain, "mode=755", false},
    {"cgroup", "/sys/fs/cgroup/systemd", kPlain, "none,xattr,name=systemd", false},
    {"cgroup", "/sys/fs/cgroup/cpuset", kPlain, "cpuset", false},
    {"cgroup", "/sys/fs/cgroup/cpu,cpuacct", kPlain, "cpu,cpuacct", false},
    {"cgroup", "/sys/fs/cgroup/blkio", kPlain, "blkio", false},
    {"cgroup", "/sys/fs/cgroup/memory", kPlain, "memory", false},
    {"cgroup", "/sys/fs/cgroup/devices", kPlain, "devices", false},
    {"cgroup", "/sys/fs/cgroup/freezer", kPlain, "freezer", false},
    {"cgroup", "/sys/fs/cgroup/net_cls,net_prio", kPlain, "net_cls,net_prio", false},
    {"cgroup", "/sys/fs/cgroup/perf_event", kPlain, "perf_event", false},
    {"cgroup", "/sys/fs/cgroup/hugetlb", kPlain, "hugetlb", false},
    {"cgroup", "/sys/fs/cgroup/pids", kPlain, "pids", false},
    {"cgroup", "/sys/fs/cgroup/rdma", kPlain, "rdma", false},
};
constexpr Mount kCgroupHybrid[] = {{"cgroup2", "/sys/fs/cgroup/unified", kPlain, "nsdelegate", false}};

// Device nodes that load their module when they are opened.
struct Node {
  const char* path;
  unsigned major, minor;
};
constexpr Node kNodes[] = {
    {"/dev/net/tun", 10, 200},   {"/dev/fuse", 10, 229},        {"/dev/loop-control", 10, 237},
    {"/dev/vhost-net", 10, 238}, {"/dev/vhost-vsock", 10, 241}, {"/dev/vfio/vfio", 10, 196},
};

void load_modules(bool with_kvm) {
  FILE* list = fopen("/modules/order", "re");
  if (list == nullptr) fail("/modules/order");
  char name[256];
  while (fscanf(list, "%255s", name) == 1) {
    if (!with_kvm && strstr(name, "kvm") != nullptr) continue;
    const std::string path = std::string("/modules/") + name;
    const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) != 0 && errno != EEXIST)) fail("module " + path);
    close(fd);
  }
  fclose(list);
}

// Waits for the port: if its driver is a module, the port appears a moment later.
void open_port() {
  constexpr const char* kClass = "/sys/class/virtio-ports";
  for (int attempt = 0; attempt < 1000 && port < 0; ++attempt) {
    if (attempt > 0) usleep(10'000);
    DIR* dir = opendir(kClass);
    if (dir == nullptr) fail(kClass);
    while (const dirent* entry = readdir(dir)) {
      if (entry->d_name[0] == '.') continue;
      const std::string path = std::string("/dev/") + entry->d_name;
      port = open(path.c_str(), O_RDWR | O_CLOEXEC);
    }
    closedir(dir);
  }
  if (port < 0) fail("no virtio-serial port");
}

void mount_all(std::span<const Mount> mounts) {
  for (const Mount& m : mounts) {
    make_directories(m.target);
    if (mount(m.type, m.target, m.type, m.flags, m.options) != 0 && !m.optional) fail(std::string("mount ") + m.target);
  }
}

void mount_cgroups(const std::string& version) {
  if (version == "v2") return mount_all(kCgroupV2);
  mount_all(kCgroupV1);
  for (const char* name : {"cpu", "cpuacct"}) symlink("cpu,cpuacct", (std::string("/sys/fs/cgroup/") + name).c_str());
  for (const char* name : {"net_cls", "net_prio"})
    symlink("net_cls,net_prio", (std::string("/sys/fs/cgroup/") + name).c_str());
  if (version == "hybrid") mount_all(kCgroupHybrid);
}

void assemble_root() {
  mount_or_fail("virtiofs", "root", "/lower", MS_RDONLY, nullptr);
  mount_or_fail("tmpfs", "scratch", "/scratch", 0, "mode=755,nr_inodes=0,size=75%");
  make_directories("/scratch/upper");
  make_directories("/scratch/work");
  mount_or_fail("overlay", "lab", "/new", 0, "lowerdir=/lower,upperdir=/scratch/upper,workdir=/scratch/work");
  for (const char* tree : {"/dev", "/proc", "/sys"})
    mount_or_fail(nullptr, tree, std::string("/new") + tree, MS_MOVE, nullptr);
  // Do what switch_root does: a container's pivot_root needs "/" to be a mount, not the initramfs.
  if (chdir("/new") != 0 || mount(".", "/", nullptr, MS_MOVE, nullptr) != 0 || chroot(".") != 0 || chdir("/") != 0)
    fail("switching root");
  mount(nullptr, "/", nullptr, MS_REC | MS_SHARED, nullptr);  // as systemd leaves it
  mount_all(kMounts);
}

// Gives the kernel Debian's default policy. SELinux stays permissive.
void load_policy() {
  mount_or_fail("selinuxfs", "selinuxfs", "/sys/fs/selinux", MS_NOSUID | MS_NOEXEC, nullptr);
  const int policy = open(kPolicy, O_RDONLY | O_CLOEXEC);
  struct stat info;
  if (policy < 0 || fstat(policy, &info) != 0) fail(kPolicy);
  std::string content(static_cast<size_t>(info.st_size), '\0');
  for (size_t done = 0; done < content.size();) {
    const ssize_t n = read(policy, content.data() + done, content.size() - done);
    if (n <= 0) fail("reading the SELinux policy");
    done += static_cast<size_t>(n);
  }
  close(policy);
  // The kernel takes a policy in one write.
  const int load = open("/sys/fs/selinux/load", O_WRONLY | O_CLOEXEC);
  if (load < 0 || write(load, content.data(), content.size()) != info.st_size) fail("loading the SELinux policy");
  close(load);
}

// Makes a virtual machine of each kind and keeps them for good.
//
// KVM patches the kernel's code when its first virtual machine appears and when its last one goes (static keys: preempt
// notifiers, virtual CPUs without a local APIC, local APICs that are switched off). Two CPUs under QEMU's TCG do not
// survive that: now and then, one of them runs half of the old and half of the new instruction. So the lab comes up
// with one CPU, calls this function, and only then starts the other CPUs.
void hold_kvm() {
  const int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
  if (kvm < 0) fail("open /dev/kvm");
  for (const bool irqchip : {true, false}) {
    const int vm = ioctl(kvm, KVM_CREATE_VM, 0);
    if (vm < 0) fail("KVM_CREATE_VM");
    if (irqchip && ioctl(vm, KVM_CREATE_IRQCHIP, 0) < 0) fail("KVM_CREATE_IRQCHIP");
    if (ioctl(vm, KVM_CREATE_VCPU, 0) < 0) fail("KVM_CREATE_VCPU");
  }
}

// Starts the CPUs that maxcpus=1 kept waiting.
void start_cpus() {
  for (int cpu = 1;; cpu++) {
    const std::string path = "/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/online";
    const int fd = open(path.c_str(), O_WRONLY | O_CLOEXEC);
    if (fd < 0) return;
    if (write(fd, "1", 1) != 1) fail("start a CPU");
    close(fd);
  }
}

void prepare_system(bool with_kvm) {
  umask(0);
  for (const Node& node : kNodes) {
    const std::string path = node.path;
    make_directories(path.substr(0, path.rfind('/')));
    mknod(node.path, S_IFCHR | 0666, makedev(node.major, node.minor));
  }
  if (with_kvm) chmod("/dev/kvm", 0666);
  symlink("/proc/self/fd", "/dev/fd");
  symlink("/proc/self/fd/0", "/dev/stdin");
  symlink("/proc/self/fd/1", "/dev/stdout");
  symlink("/proc/self/fd/2", "/dev/stderr");
  unlink("/dev/ptmx");
  symlink("pts/ptmx", "/dev/ptmx");
  mkdir("/run/lock", 01777);
  umask(022);

  constexpr char kName[] = "nacre-lab";
  sethostname(kName, sizeof(kName) - 1);
  const int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ifreq request{};
  strcpy(request.ifr_name, "lo");
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  ioctl(s, SIOCSIFFLAGS, &request);
  close(s);

  // Write each name separately, so that a controller that the kernel lacks does not cost the others.
  for (const char* controller : {"+cpuset", "+cpu", "+io", "+memory", "+hugetlb", "+pids", "+rdma", "+misc"})
    write_file("/sys/fs/cgroup/cgroup.subtree_control", controller);
  write_file("/proc/sys/net/ipv4/ip_forward", "1");
  write_file("/proc/sys/kernel/core_pattern", "core");

  const rlimit files{1024, 1048576};
  setrlimit(RLIMIT_NOFILE, &files);
  const rlimit core{0, RLIM_INFINITY};
  setrlimit(RLIMIT_CORE, &core);
}

std::vector<std::string> split(const std::string& payload) {
  std::vector<std::string> parts;
  for (size_t start = 0; start < payload.size();) {
    const size_t end = payload.find('\0', start);
    parts.push_back(payload.substr(start, end - start));
    if (end == std::string::npos) break;
    start = end + 1;
  }
  return parts;
}

void mount_for_host(const std::vector<std::string>& p) {
  if (p.size() < 3) return;
  const bool bind = p[0] == "bind";
  mount_or_fail(bind ? nullptr : p[0].c_str(), p[1].c_str(), p[2], bind ? MS_BIND : 0,
                p.size() > 3 && !bind ? p[3].c_str() : nullptr);
}

struct Command {
  pid_t pid = -1;
  int in = -1, out = -1, err = -1;  // this process's ends of the command's streams
};

[[noreturn]] void become(const std::vector<std::string>& p) {
  const size_t argc = strtoul(p[2].c_str(), nullptr, 10);
  std::vector<char*> argv;
  std::vector<char*> env;
  for (size_t i = 3; i < p.size(); ++i) (i < 3 + argc ? argv : env).push_back(const_cast<char*>(p[i].c_str()));
  argv.push_back(nullptr);
  env.push_back(nullptr);
  if (administrator != nullptr) write_file("/proc/self/attr/exec", administrator);
  umask(static_cast<mode_t>(strtoul(p[1].c_str(), nullptr, 8)));
  if (chdir(p[0].c_str()) != 0) {
    fprintf(stderr, "lab: cannot enter %s: %s\n", p[0].c_str(), strerror(errno));
    _exit(125);
  }
  environ = env.data();
  execvp(argv[0], argv.data());
  const int status = errno == ENOENT ? 127 : 126;
  fprintf(stderr, "lab: cannot run %s: %s\n", argv[0], strerror(errno));
  _exit(status);
}

Command start(const std::vector<std::string>& p) {
  int in[2], out[2], err[2];
  if (p.size() < 4 || pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0)
    fail("starting the command");
  Command command;
  command.pid = fork();
  if (command.pid < 0) fail("fork");
  if (command.pid == 0) {
    setsid();
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    dup2(in[0], 0);
    dup2(out[1], 1);
    dup2(err[1], 2);
    become(p);
  }
  close(in[0]);
  close(out[1]);
  close(err[1]);
  command.in = in[1];
  command.out = out[0];
  command.err = err[0];
  for (int fd : {command.in, command.out, command.err}) fcntl(fd, F_SETFL, O_NONBLOCK);
  return command;
}

void close_stream(int& fd) {
  if (fd >= 0) close(fd);
  fd = -1;
}

// Passes on one buffer of output. Returns false if there is none at present.
bool forward(int& fd, char type) {
  static char buffer[32768];
  if (fd < 0) return false;
  const ssize_t n = read(fd, buffer, sizeof(buffer));
  if (n > 0) send_frame(type, buffer, static_cast<size_t>(n));
  if (n == 0) close_stream(fd);
  return n > 0;
}

// Takes bytes from the port and cuts them into frames.
class FrameReader {
 public:
  // Reads once. Returns false if the host has hung up.
  bool fill() {
    char buffer[32768];
    const ssize_t n = read(port, buffer, sizeof(buffer));
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) return false;
    if (n > 0) bytes_.append(buffer, static_cast<size_t>(n));
    return true;
  }

  bool next(char& type, std::string& payload) {
    uint32_t length = 0;
    if (bytes_.size() < 5) return false;
    memcpy(&length, bytes_.data() + 1, sizeof(length));
    if (bytes_.size() < 5 + size_t{length}) return false;
    type = bytes_[0];
    payload = bytes_.substr(5, length);
    bytes_.erase(0, 5 + size_t{length});
    return true;
  }

 private:
  std::string bytes_;
};

class Session {
 public:
  Session() {
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child, nullptr);
    children_ = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
    signal(SIGPIPE, SIG_IGN);
  }

  // Runs until the command has ended and its output is sent.
  void run() {
    send_frame('U', "", 0);
    while (!ended_) {
      // Take no more input than the command takes, so that the host waits, too.
      const bool input_waits = !input_.empty() && command_.in >= 0;
      pollfd fds[] = {
          {input_waits ? -1 : port, POLLIN, 0},
          {input_waits ? command_.in : -1, POLLOUT, 0},
          {command_.out, POLLIN, 0},
          {command_.err, POLLIN, 0},
          {children_, POLLIN, 0},
      };
      if (poll(fds, 5, -1) < 0 && errno != EINTR) fail("poll");
      if ((fds[0].revents & POLLIN) != 0) {
        if (!reader_.fill()) return;
      }
      if ((fds[0].revents | fds[1].revents) != 0) take_frames();
      if (fds[2].revents != 0) forward(command_.out, 'O');
      if (fds[3].revents != 0) forward(command_.err, 'E');
      if (fds[4].revents != 0) reap();
    }
    while (forward(command_.out, 'O')) {
    }
    while (forward(command_.err, 'E')) {
    }
    if (shares_) sync();
    const std::string text = std::to_string(status_);
    send_frame('X', text.data(), text.size());
  }

 private:
  void take_frames() {
    char type = 0;
    std::string payload;
    feed();
    while (input_.empty() && reader_.next(type, payload)) {
      if (type == 'M') {
        const auto parts = split(payload);
        shares_ = shares_ || parts[0] == "virtiofs";
        mount_for_host(parts);
      } else if (type == 'R') {
        command_ = start(split(payload));
      } else if (type == 'I' && payload.empty()) {
        close_stream(command_.in);
      } else if (type == 'I') {
        input_ = payload;
        feed();
      }
    }
  }

  void feed() {
    while (!input_.empty()) {
      const ssize_t n = command_.in < 0 ? -1 : write(command_.in, input_.data(), input_.size());
      if (n < 0 && command_.in >= 0 && errno == EAGAIN) return;
      if (n < 0) {  // nobody reads any more: drop it, as a closed pipe would
        close_stream(command_.in);
        input_.clear();
        return;
      }
      input_.erase(0, static_cast<size_t>(n));
    }
  }

  void reap() {
    signalfd_siginfo info;
    while (read(children_, &info, sizeof(info)) > 0) {
    }
    int status = 0;
    pid_t pid = 0;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
      if (pid != command_.pid) continue;
      ended_ = true;
      status_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
  }

  Command command_;
  FrameReader reader_;
  std::string input_;
  int children_ = -1;
  bool shares_ = false;
  bool ended_ = false;
  int status_ = 0;
};

}  // namespace

int main() {
  const char* kvm = getenv("LAB_KVM");
  const char* cgroup = getenv("LAB_CGROUP");
  const char* lsm = getenv("LAB_LSM");
  const bool with_kvm = kvm == nullptr || strcmp(kvm, "0") != 0;
  mount_or_fail("devtmpfs", "devtmpfs", "/dev", MS_NOSUID, "mode=755");
  mount_or_fail("proc", "proc", "/proc", kPlain, nullptr);
  mount_or_fail("sysfs", "sysfs", "/sys", kPlain, nullptr);
  load_modules(with_kvm);
  open_port();
  if (with_kvm) hold_kvm();
  start_cpus();
  assemble_root();
  mount_cgroups(cgroup == nullptr ? "v2" : cgroup);
  prepare_system(with_kvm);
  if (lsm != nullptr && strcmp(lsm, "selinux") == 0) {
    load_policy();
    administrator = kAdministrator;
  }
  Session().run();
  for (;;) pause();  // the host ends the machine
}
