# SPDX-License-Identifier: Apache-2.0
"""No source file is longer than 600 lines, and no function longer than 60."""

import os
import re
import subprocess
import unittest

REPO = os.path.realpath(os.path.join(os.path.dirname(os.path.realpath(__file__)), "../.."))
MAX_FILE, MAX_FUNCTION = 600, 60
# What has no braces that count. The order matters: a raw string may hold what looks like the others.
NOT_CODE = re.compile(r'R"(?P<mark>[^(\s]*)\(.*?\)(?P=mark)"|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'|//[^\n]*|/\*.*?\*/'
                      r"|^[ \t]*#(?:[^\n\\]|\\.)*|^BOOST_\w+_SUITE\w*\([^\n]*$", re.S | re.M)
# A digit separator is no quote.
SEPARATOR = re.compile(r"(?<=[0-9a-fA-F])'(?=[0-9a-fA-F])")
SCOPE = re.compile(r"\b(namespace|class|struct|union|enum|extern)\b")


def code_of(text):
    """Returns the text with its lines, and blanks for everything that is not code."""
    return NOT_CODE.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), SEPARATOR.sub(" ", text))


def functions_of(text):
    """Yields the name, first line and number of lines of each function, from its first line to its last brace.

    A brace opens a function if parentheses come before it and no function is around it: lambdas and blocks belong to the
    function that they are in.
    """
    code = code_of(text)
    scopes = []  # for each open brace: the function that it begins (name and offset), "scope" or "initializer"
    inside = 0   # how many functions are open: one at most counts
    start = 0    # where the declaration at hand begins
    for found in re.finditer(r"[{};]|\b(?:public|private|protected):", code):
        offset = found.start()
        if found[0] == "{":
            head = code[start:offset]
            before = re.sub(r"operator\S+?(?=\()", "operator", head).split("(")[0]
            # clang-format puts a space before what is no initializer.
            if not head[-1:].isspace() and head or head.rstrip()[-1:] in ("=", ",", "("):
                scopes.append("initializer")
                continue
            scopes.append("scope")
            if not inside and "(" in head and not SCOPE.search(before) and "=" not in before:
                name = re.search(r"(operator\S+?|[\w:~]+)\s*\(", head)
                scopes[-1] = (name[1] if name else "?", start + len(head) - len(head.lstrip()))
                inside += 1
        elif found[0] == "}" and scopes:
            scope = scopes.pop()
            if scope == "initializer":
                continue
            if scope != "scope":
                inside -= 1
                first = code.count("\n", 0, scope[1]) + 1
                yield scope[0], first, code.count("\n", 0, offset) + 2 - first
        if "initializer" not in scopes:
            start = found.end()


def sources():
    listed = subprocess.run(["git", "-C", REPO, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                            stdout=subprocess.PIPE, text=True, check=True).stdout
    for name in listed.split("\0"):
        path = os.path.join(REPO, name)
        if name.endswith((".cc", ".h", ".py")) and os.path.isfile(path):
            with open(path, encoding="utf-8") as file:
                yield name, file.read()


class Sizes(unittest.TestCase):
    def test_no_file_is_past_600_lines(self):
        long = {name: lines for name, text in sources() if (lines := text.count("\n")) > MAX_FILE}
        self.assertEqual({}, long)

    def test_no_function_is_past_60_lines(self):
        long = [f"{name}:{first}: {function} has {lines} lines" for name, text in sources() if not name.endswith(".py")
                for function, first, lines in functions_of(text) if lines > MAX_FUNCTION]
        self.assertEqual([], long, "\n" + "\n".join(long))

    def test_the_counter_sees_functions_and_what_is_none(self):
        text = '\n'.join([
            'namespace n {', 'constexpr int kTable[] = {1, 2};', 'Result<void> plain(int a,', '                  int b) {',
            '  auto f = [&](int c) {', '    return c;', '  };', '  if (a) {', '  }', '}', 'class C {', ' public:',
            '  C() : a_{1} {', '    puts("}{");  // }', '  }', '  bool operator==(const C& o) const {', '    return true;', '  }',
            '  int a_ = 1\'000;', '};', 'BOOST_AUTO_TEST_CASE(a_case) {', '  auto s = R"({"a": "}"})";', '}', '}  // namespace n', ''])
        self.assertEqual([("plain", 3, 8), ("C", 13, 3), ("operator==", 16, 3), ("BOOST_AUTO_TEST_CASE", 21, 3)],
                         list(functions_of(text)))


if __name__ == "__main__":
    unittest.main()
