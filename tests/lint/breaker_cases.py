# SPDX-License-Identifier: MIT
"""Hystrix' own test cases: each that we know of has a case of its number here, or a line that says why not."""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from source import ROOT, fail_with, files  # noqa: E402
from tap import case, main  # noqa: E402

GUIDE = "docs/guide/hystrix.md"

# Numbers of the cases of Hystrix' suites, in the order of its classes; P: probes of what it does, by running it.
KNOWN = """1 2 4 5 7 8 10 11 13 14 16 17 19 20 22 23 25 26 28 29 31 32 34 35 37 38 40 41 43 44 46 47 49 50 52 53 56 57 58
59 61 62 63 64 65 67 68 70 71 73 74 76 77 79 80 81 82 83 85 86 88 89 91 92 94 95 97 98 100 101 103 104 106 107 109 110
112 113 115 116 118 119 120 121 122 127 128 130 131 133 134 P1 P2 P3 P4 P5 P5b P6 P7 P10 P11 P12 P13""".split()

# Where they stand: a row's or a function's name in C, a case's name in Lua.
NAMED = {".c": re.compile(r"BREAKER[-_]9[ _]case[ _](P?\d+b?)\b|BREAKER_9_case_(P?\d+b?)_"),
         ".lua": re.compile(r'\bit\("(P?\d+b?) ')}


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()


def proven():
    found = set()
    for path in list(files("tests/unit/breaker", (".c",))) + list(files("tests/spec/engine", (".lua",))):
        if path.endswith(".c") or "BREAKER-9 case" in read(path):
            for groups in NAMED[os.path.splitext(path)[1]].findall(read(path)):
                found.update([groups] if isinstance(groups, str) else groups)
    return found - {""}


def excused():
    """The numbers of the guide's table of cases that do not apply."""
    table = read(GUIDE).split("## Cases of Hystrix' suites that do not apply", 1)[1].split("\n## ", 1)[0]
    return {number for cell in re.findall(r"^\| ([\d, ]+) \|", table, re.MULTILINE) for number in cell.split(", ")}


@case("BREAKER-9 every known case of Hystrix' suites has a case of its number, or a reason why it does not apply")
def complete():
    there, excuses = proven(), excused()
    assert there and excuses, (there, excuses)
    fail_with([f"{number}: no case is named by it, and {GUIDE} gives no reason" for number in KNOWN
               if number not in there | excuses] +
              [f"{number}: {GUIDE} says that it does not apply, but there is a case" for number in excuses & there] +
              [f"{number}: {GUIDE} gives a reason for a case that is not known" for number in excuses - set(KNOWN)])


if __name__ == "__main__":
    main()
