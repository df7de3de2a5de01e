# SPDX-License-Identifier: MIT
"""Every function that a header offers says what it does: a comment above it, or above its group."""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from source import fail_with, files, lines_of  # noqa: E402
from tap import case, main  # noqa: E402

PROTOTYPE = re.compile(r"^(?!static|typedef|return|#|/|\s|\*|struct \w+ \{|enum|extern const)[\w ]+[ *]+\**(\w+)\s*\(")


def undocumented(path):
    """(line, name) of the prototypes without a word. A group is a run of lines without an empty one."""
    lines = [text for _, text in lines_of(path)]
    depth, in_macro = 0, False
    for index, line in enumerate(lines):
        inside, depth = depth, depth + line.count("{") - line.count("}")
        was_macro, in_macro = in_macro, line.rstrip().endswith("\\")
        found = PROTOTYPE.match(line)
        if not found or inside or was_macro or found.group(1) in ("__attribute__", "_Static_assert"):
            continue
        first = index
        while first > 0 and lines[first - 1].strip():
            first -= 1
        group = lines[first:index]
        end = next((i for i in range(index, len(lines)) if ";" in lines[i] or lines[i].startswith("{")), index)
        own = " ".join(lines[index:end + 1])
        commented = "/*" in own or any(text.startswith(("/*", " *", "//")) for text in group)
        if not commented:
            yield index + 1, found.group(1)


@case("LINT docs: every function of a header has a comment above it or above its group")
def documented():
    fail_with(f"{path}:{line}: {name} has no comment above it or above its group"
              for path in files("core", (".h",)) for line, name in undocumented(path))


if __name__ == "__main__":
    main()
