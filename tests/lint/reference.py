# SPDX-License-Identifier: MIT
"""The reference is complete: each setting, command, flag, path of the admin side and error code is on its page."""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from source import ROOT, fail_with  # noqa: E402
from tap import case, main  # noqa: E402


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()


def table(path, name):
    """The text of a table in C, from its name to the brace that ends it."""
    found = re.search(rf"\b{name}\[\] = \{{\n(.*?)^\}};", read(path), re.MULTILINE | re.DOTALL)
    assert found, f"{path} has no table {name}"
    return found.group(1)


def missing(page, words, least):
    """What of words the page does not have between backquotes, alone or as the begin of a longer piece."""
    words = sorted(set(words))
    assert len(words) >= least, (page, words)
    text = re.sub(r"^```.*?^```$", "", read(page), flags=re.MULTILINE | re.DOTALL)
    pieces = " ".join(re.findall(r"`([^`\n]+)`", text))
    fail_with(f"{page}: {word} is not there" for word in words
              if not re.search(rf"(?<![\w.-]){re.escape(word)}(?![\w-])", pieces))


@case("SHOP-7o reference: docs/reference/commands.md has every setting")
def settings():
    missing("docs/reference/commands.md", re.findall(r'^    \{"([\w.]+)",', table("core/app/config.c", "settings"), re.MULTILINE), 20)


@case("SHOP-7o reference: docs/reference/commands.md has every command and every flag of them")
def commands():
    source = read("core/app/commands/commands.c")
    names = re.findall(r'^    \{"(\w+)",', table("core/app/commands/commands.c", "commands"), re.MULTILINE)
    missing("docs/reference/commands.md", names + re.findall(r'(?<=["\s|\[])(--[a-z][\w-]+)', source), 30)


@case("SHOP-7o reference: docs/reference/admin.md has every path with its method")
def admin():
    routes = re.findall(r'\{HTTP_(\w+?)_?, "(/[^"]+)"', table("core/app/admin/admin.c", "routes"))
    missing("docs/reference/admin.md", [f"{method} {path}" for method, path in routes], 20)


@case("SHOP-7o reference: docs/reference/errors.md has every code with its status, whether to try again, and its meaning")
def errors():
    page, listed = read("docs/reference/errors.md"), re.findall(r'^ERR\(\w+, "(\w+)", (\d+), (\w+), "(.*?)"\)',
                                                              read("core/base/err_codes.def"), re.MULTILINE)
    assert len(listed) > 30, listed
    rows = [f"| `{code}` | {status} | {'yes' if again == 'true' else 'no'} | {meaning} |" for code, status, again, meaning in listed]
    fail_with(f"docs/reference/errors.md lacks: {row}" for row in rows if row not in page)


if __name__ == "__main__":
    main()
