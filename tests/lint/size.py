# SPDX-License-Identifier: MIT
"""The house numbers: how long a file and a function may be."""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from source import fail_with, files, lines_of  # noqa: E402
from tap import case, main  # noqa: E402

MAX_FILE, MAX_HEADER, MAX_FUNCTION = 600, 150, 60
# Headers that only the files of their own folder include: the structs of one machine, which splitting would scatter.
INSIDE = ("core/bus/inside.h", "core/store/sqlite/engine.h")
NOT_SIGNATURE = re.compile(r"^(#|\}|/\*| \*)|[;\\]\s*$")  # what ends the search upwards for a function's first line
EXEMPT = re.compile(r"/\*\s*long:\s*\S")  # with the reason, above the function or in it


def functions(path):
    """(first line, name, line count, is exempt): by the house style a body stands between '{' and '}' in column 0."""
    lines = lines_of(path)
    start = None
    for index, (_, line) in enumerate(lines):
        if line.rstrip() == "{":
            start = index
            while start > 0 and lines[start - 1][1].strip() and not NOT_SIGNATURE.search(lines[start - 1][1]):
                start -= 1
        elif line.startswith("}") and start is not None:
            own = [text for _, text in lines[start:index + 1]]
            comment = []  # right above
            for _, text in reversed(lines[:start]):
                if not text.startswith(("/*", " *")):
                    break
                comment.append(text)
            name = re.search(r"(\w+)\s*\(", " ".join(own))
            exempt = any(EXEMPT.search(text) for text in comment + own)
            yield start + 1, name.group(1) if name else "block", len(own), exempt
            start = None


@case(f"LINT size: no C file is longer than {MAX_FILE} lines, no header longer than {MAX_HEADER}")
def file_sizes():
    wrong = []
    for path in files("core", (".c", ".h")):
        if path in INSIDE:
            continue
        limit, count = (MAX_HEADER if path.endswith(".h") else MAX_FILE), len(lines_of(path))
        if count > limit:
            wrong.append(f"{path}: {count} lines, {limit} are allowed")
    fail_with(wrong)


@case(f"LINT size: no function is longer than {MAX_FUNCTION} lines")
def function_sizes():
    fail_with(f"{path}:{line}: {name} has {count} lines, {MAX_FUNCTION} are allowed (or a comment 'long: reason')"
              for path in files("core", (".c", ".h"))
              for line, name, count, exempt in functions(path) if count > MAX_FUNCTION and not exempt)


if __name__ == "__main__":
    main()
