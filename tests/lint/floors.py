# SPDX-License-Identifier: MIT
"""The floors of core/: includes go down, never up, never sideways between folders of one floor, never in a circle."""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from source import ROOT, fail_with, files, lines_of  # noqa: E402
from tap import case, main  # noqa: E402

# The one table: folder -> (floor, foreign headers it may include beside libc and POSIX). A folder may include itself
# and every folder of a lower floor.
FLOORS = {
    "base": (0, []),
    "breaker": (1, []),
    "loop": (1, [r"event2/event\.h", r"event2/thread\.h"]),
    "http": (2, [r"event2/(bufferevent\w*|buffer|listener|dns|event|util)\.h", r"llhttp\.h", r"openssl/\w+\.h"]),
    "store": (2, [r"sqlite3\.h", r"libpq-fe\.h"]),
    "bus": (3, [r"librdkafka/\w+\.h"]),
    "rest": (3, []),
    "script": (4, [r"lua\.h", r"lauxlib\.h", r"lualib\.h", r"lua-cjson\.h", r"lua5\.4-cjson\.h"]),
    "app": (5, []),
}

# libc, POSIX and what the Linux kernel adds to them.
SYSTEM = re.compile(r"""^(sys/\w+|netinet/\w+|arpa/inet|linux/\w+|assert|ctype|dirent|dlfcn|endian|errno|execinfo|fcntl|
    float|fnmatch|getopt|glob|grp|inttypes|iso646|libgen|limits|locale|malloc|math|net/if|netdb|poll|pthread|pwd|regex|
    sched|setjmp|signal|spawn|stdalign|stdarg|stdatomic|stdbool|stddef|stdint|stdio|stdlib|stdnoreturn|string|strings|
    syslog|termios|time|unistd|wchar|wctype|pthread_np|ftw|link|byteswap)\.h$""", re.VERBOSE)
INCLUDE = re.compile(r'^\s*#\s*include\s+(<([^>]+)>|"([^"]+)")')


def includes():
    """(path below core/, line number, header, is quoted) of every #include."""
    for path in files("core", (".c", ".h", ".def")):
        for number, line in lines_of(path):
            found = INCLUDE.match(line)
            if found:
                yield os.path.relpath(path, "core"), number, found.group(2) or found.group(3), bool(found.group(3))


def allowed_folders(folder):
    floor = FLOORS[folder][0]
    return [other for other, (level, _) in FLOORS.items() if other == folder or level < floor]


@case("LINT floors: every folder of core/ is in the table")
def folders_known():
    here = [name for name in os.listdir(os.path.join(ROOT, "core"))
            if os.path.isdir(os.path.join(ROOT, "core", name))]
    fail_with(f"core/{name} has no floor in tests/lint/floors.py" for name in here if name not in FLOORS)


@case("LINT floors: own headers come from the same folder or from a lower floor")
def own_headers():
    wrong = []
    for path, number, header, quoted in includes():
        folder = path.split("/")[0]
        if quoted and folder in FLOORS and header.split("/")[0] not in allowed_folders(folder):
            wrong.append(f'core/{path}:{number}: "{header}" is out of reach; '
                         f'{folder}/ may include {", ".join(allowed_folders(folder))} (as "folder/header.h")')
    fail_with(wrong)


@case("LINT floors: foreign headers stay on the floor that owns them")
def foreign_headers():
    wrong = []
    for path, number, header, quoted in includes():
        folder = path.split("/")[0]
        foreign = FLOORS.get(folder, (0, []))[1]
        if not quoted and not SYSTEM.match(header) and not any(re.fullmatch(entry, header) for entry in foreign):
            wrong.append(f"core/{path}:{number}: <{header}> does not belong here; {folder}/ may include libc, POSIX"
                         + "".join(f", {entry}" for entry in foreign).replace("\\", ""))
    fail_with(wrong)


@case("LINT floors: no circle of includes")
def circles():
    graph = {}
    for path, _, header, quoted in includes():
        if quoted:
            graph.setdefault(path, []).append(header)
    done, wrong = set(), []

    def visit(node, trail):
        if node in trail:
            wrong.append(" -> ".join(trail[trail.index(node):] + [node]))
        elif node not in done:
            for header in graph.get(node, []):
                visit(header, trail + [node])
            done.add(node)

    for path in list(graph):
        visit(path, [])
    fail_with(wrong)


if __name__ == "__main__":
    main()
