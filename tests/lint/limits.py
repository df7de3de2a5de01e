# SPDX-License-Identifier: MIT
"""The reference of limits says what the program says."""
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import binary, environment  # noqa: E402
from source import ROOT, fail_with  # noqa: E402
from tap import case, main  # noqa: E402

REFERENCE = "docs/reference/limits.md"


def printed():
    return subprocess.run([binary("asan"), "limits"], capture_output=True, text=True, check=True, env=environment()).stdout


def reference():
    with open(os.path.join(ROOT, REFERENCE), encoding="utf-8") as file:
        return file.read()


@case("SHOP-7e docs/reference/limits.md repeats what `moontide limits` prints")
def current():
    found = re.search(r"^```text\n(LIMIT .*?)^```$", reference(), re.MULTILINE | re.DOTALL)
    assert found and found.group(1) == printed(), f"{REFERENCE}: put there what `moontide limits` prints"


@case("SHOP-7e the tables of docs/reference/limits.md give each setting the value that is built in")
def tables():
    rows = [row for row in reference().splitlines() if row.startswith("|")]
    wrong = []
    for _, value, setting in re.findall(r"^(.+?)  +(\S+(?: \S+)?)  +((?:http|bus|reload)\.\S+)$", printed(), re.MULTILINE):
        if not any(value in row and f"`{setting}`" in row for row in rows):
            wrong.append(f"{REFERENCE}: no row with `{setting}` and {value}")
    fail_with(wrong)


if __name__ == "__main__":
    main()
