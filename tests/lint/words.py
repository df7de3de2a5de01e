# SPDX-License-Identifier: MIT
"""The words of scripts: editors, luacheck and the reference know the same ones as the sandbox."""
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import binary  # noqa: E402
from source import ROOT, fail_with  # noqa: E402
from tap import case, main  # noqa: E402

STUBS = "scripts/meta/moontide.lua"


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()


def printed():
    return subprocess.run([binary("asan"), "stubs"], capture_output=True, text=True, check=True).stdout


def words(text):
    """(name, the comment lines above it, its parameters or None for a value)."""
    above = []
    for line in text.splitlines():
        found = re.match(r"^function ([\w.:]+)\((.*)\) end$", line) or re.match(r"^([\w]+(?:\.\w+)?) = nil()$", line)
        if found:
            yield found.group(1), above, line.startswith("function") and found.group(2) or None
        above = above + [line] if line.startswith("---") else []


@case("RULES-4e editors: scripts/meta/moontide.lua is what `moontide stubs` prints")
def current():
    assert read(STUBS) == printed(), f"moontide stubs > {STUBS}"


@case("RULES-4e editors: every word of the sandbox is there, with its parameters and a line of help")
def complete():
    listed = re.findall(r'^  \{ "([\w.:]+)", (false|"(.*?)")', read("core/script/lua/api.lua"), re.MULTILINE)
    assert len(listed) > 120, len(listed)
    there = {name: (above, params) for name, above, params in words(printed())}
    wrong = []
    for name, value, params in listed:
        above, shown = there.get(name, ([], None))
        names = re.findall(r"(?:^|, )([\w.]+)\??: ", re.sub(r"\([^()]*(?:\([^()]*\)[^()]*)*\)", "", params))
        helped = any(line.startswith("---") and not line.startswith("---@") for line in above)
        typed = [line.split()[1].rstrip("?") for line in above if line.startswith("---@param")]
        if not helped or (value != "false" and (typed != names or (shown or "") != ", ".join(names))):
            wrong.append(f"{name}: help {helped}, parameters {names}, shown {shown!r}, typed {typed}")
    fail_with(wrong)


@case("RULES-4e reference: docs/reference/scripts.md names every word")
def documented():
    text = read("docs/reference/scripts.md")
    wrong = []
    for name in re.findall(r'^  \{ "([\w.:]+)"', read("core/script/lua/api.lua"), re.MULTILINE):
        library, _, member = name.replace(":", ".").partition(".")
        of_lua = library in ("coroutine", "math", "string", "table", "utf8") and f"`{library}`" in text
        known = of_lua or re.search(rf"(?<![\w.]){re.escape(name)}(?!\w)", text)
        known = known or name.startswith("breaker_handle:") and f"b:{member}(" in text
        if not known and member.startswith("_"):
            known = "cjson" in text  # its name and version
        if not known:
            wrong.append(f"docs/reference/scripts.md: {name} is not there")
    fail_with(wrong)


if __name__ == "__main__":
    main()
