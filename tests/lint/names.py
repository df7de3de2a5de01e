# SPDX-License-Identifier: MIT
"""External symbols carry the name of their module, and no module has writable data that others can reach."""
import glob
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from source import ROOT, fail_with  # noqa: E402
from tap import case, main  # noqa: E402

OBJECTS = os.path.join(os.environ.get("MOONTIDE_BUILD") or os.path.join(ROOT, "build"), "asan", "CMakeFiles")

# Symbol -> why it may break a rule.
NAMES_ALLOWED = {"main": "the C runtime calls it"}
FAMILIES_ALLOWED = {"base/mem.c": (r"(arena|vec)_|x(malloc|calloc|realloc|strdup|strndup)$", "small words used everywhere")}
DATA_ALLOWED = {}
FROM_COMPILER = re.compile(r"^(__asan|__odr_asan|__ubsan|__tsan|_ZN|\.|_sub_)")


def symbols():
    """(path below core/, symbol, section) of every external definition in the objects of the floors."""
    objects = sorted(glob.glob(os.path.join(OBJECTS, "*.dir", "core", "**", "*.o"), recursive=True))
    assert objects, f"no objects below {OBJECTS}; build first: ./dev lint does"
    for path in objects:
        source = os.path.relpath(path, OBJECTS).split("/core/", 1)[1][:-2]
        if not os.path.exists(os.path.join(ROOT, "core", source)):
            continue  # an object of a source that is gone
        listed = subprocess.run(["nm", "-g", "--defined-only", "-f", "sysv", path], capture_output=True, text=True,
                                check=True)
        for line in listed.stdout.splitlines():
            cells = [cell.strip() for cell in line.split("|")]
            if len(cells) == 7 and cells[0] and cells[0] != "Name" and not FROM_COMPILER.match(cells[0]):
                yield source, cells[0], cells[6]


def prefixes(source):
    """core/store/sqlite/writer_batch.c may define store_*, sqlite_*, writer_batch_* and writer_*."""
    *folders, name = source.split("/")
    words = os.path.splitext(name)[0].split("_")
    return folders + ["_".join(words[:count]) for count in range(len(words), 0, -1)]


@case("LINT names: every external symbol begins with the name of its file or folder")
def names():
    wrong = []
    for source, symbol, _ in symbols():
        fitting = any(symbol == prefix or symbol.startswith(prefix + "_") for prefix in prefixes(source))
        family = FAMILIES_ALLOWED.get(source)
        if not fitting and symbol not in NAMES_ALLOWED and not (family and re.match(family[0], symbol)):
            wrong.append(f"core/{source}: {symbol} should begin with one of "
                         + ", ".join(prefix + "_" for prefix in prefixes(source)))
    fail_with(wrong)


@case("LINT names: no writable data is external")
def data():
    wrong = []
    for source, symbol, section in symbols():
        writable = section.startswith((".data", ".bss", ".tdata", ".tbss", "*COM*"))
        if writable and not section.startswith(".data.rel.ro") and symbol not in DATA_ALLOWED:
            wrong.append(f"core/{source}: {symbol} is writable and external ({section})")
    fail_with(wrong)


if __name__ == "__main__":
    main()
