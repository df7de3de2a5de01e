# SPDX-License-Identifier: MIT
"""Form: formatting, luacheck, licence lines, and no words that promise work for later."""
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from source import ROOT, fail_with, files, lines_of, run_tool  # noqa: E402
from tap import case, main, skip  # noqa: E402

LATER = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|\bnot implemented\b|\b[Pp]laceholders?\b(?!=)")
TEXTS = (".c", ".h", ".def", ".lua", ".md", ".py", ".sh", ".txt", ".cmake", ".html", ".css", ".js")
SPDX = "SPDX-License-Identifier: MIT"


@case("LINT text: C is formatted as .clang-format says (./dev lint --fix does it)")
def formatted():
    sources = [path for folder in ("core", "tests") for path in files(folder, (".c", ".h"))]
    if not sources:
        skip("no C files")
    assert shutil.which("clang-format"), "clang-format is not installed"
    done = subprocess.run(["clang-format", "--dry-run", *sources], cwd=ROOT, capture_output=True, text=True, check=False)
    first = {}
    for path, line in re.findall(r"^(\S+?):(\d+):\d+: warning: code should be", done.stderr, re.MULTILINE):
        first.setdefault(path, line)
    fail_with(f"{path}:{line}: not formatted" for path, line in first.items())
    assert done.returncode == 0, done.stderr


@case("LINT text: luacheck finds nothing in the scripts")
def luacheck():
    scripts = [path for folder in ("scripts", "tests/spec", "tests/bench/scripts", "core/script/lua")
               for path in files(folder, (".lua",))]
    if not scripts:
        skip("no Lua files")
    run_tool(["luacheck", "--quiet", "--no-color", "--codes", *scripts])


@case("LINT text: every source file begins with its licence line")
def licence():
    wrong = []
    for folder, endings in (("core", (".c", ".h", ".def", ".lua")), ("tests", (".c", ".h", ".lua", ".py"))):
        for path in files(folder, endings):
            if "/scripts/" in path or "/fuzz/corpus/" in path or "/fuzz/crashers/" in path:
                continue
            head = " ".join(text for _, text in lines_of(path)[:2])
            if SPDX not in head:
                wrong.append(f"{path}:1: does not begin with {SPDX}")
    fail_with(wrong)


@case("LINT text: nothing is left for later")
def later():
    wrong = []
    for folder in ("core", "scripts", "docs", "README.md", "tests"):
        for path in files(folder, TEXTS):
            if path == "tests/lint/text.py":
                continue  # it names the words
            for number, line in lines_of(path):
                found = LATER.search(line)
                if found:
                    wrong.append(f"{path}:{number}: '{found.group(0)}': {line.strip()[:80]}")
    fail_with(wrong)


if __name__ == "__main__":
    main()
