# SPDX-License-Identifier: MIT
"""Walking the source tree, for the lint cases."""
import os
import shutil
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def files(folder, endings):
    """Paths relative to the root of the files below folder with one of these endings; a file's own path gives itself."""
    top = os.path.join(ROOT, folder)
    if os.path.isfile(top):
        yield folder
    for place, folders, names in os.walk(top):
        folders[:] = sorted(name for name in folders if name not in ("__pycache__", ".git", "build", "data"))
        for name in sorted(names):
            if name.endswith(tuple(endings)):
                yield os.path.relpath(os.path.join(place, name), ROOT)


def lines_of(path):
    """(number, line) of a text file."""
    with open(os.path.join(ROOT, path), encoding="utf-8", errors="replace") as file:
        return list(enumerate(file.read().splitlines(), 1))


def fail_with(problems):
    """Fails the case if there are any; shows them one a line."""
    problems = list(problems)
    shown = problems[:30] + ([f"... and {len(problems) - 30} more"] if len(problems) > 30 else [])
    assert not problems, "\n".join(shown)


def run_tool(argv):
    """Runs a checking program over the tree; what it prints becomes the failure."""
    assert shutil.which(argv[0]), f"{argv[0]} is not installed"
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    output = (done.stdout + done.stderr).strip()
    assert done.returncode == 0, "\n".join(output.splitlines()[:30])
