# SPDX-License-Identifier: MIT
"""The scripts of the five systems as somebody reads them who knows the business: a rule is found by its name, and the page
of a system knows all that is in its folders."""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from source import ROOT, fail_with, files  # noqa: E402
from tap import case, main  # noqa: E402

DECLARED = re.compile(r'\b(policy|view|event|resource)\s*\(?\s*"([^"]+)"')


def declared(folder):
    """(path, kind, name) of what the scripts of a folder declare."""
    for path in files(folder, (".lua",)):
        with open(os.path.join(ROOT, path), encoding="utf-8") as file:
            for kind, name in DECLARED.findall(file.read()):
                yield path, kind, name


@case("SYSTEMS-8a each policy has a file of its own, which has the name of the rule")
def own_file():
    wrong, seen, policies = [], set(), 0
    for path, kind, name in declared("scripts/policies"):
        if kind != "policy":
            continue
        policies += 1
        if os.path.basename(path) != name.replace(" ", "_") + ".lua":
            wrong.append(f'{path}: the rule is called "{name}"')
        if path in seen:
            wrong.append(f"{path}: more than one rule")
        seen.add(path)
    assert policies > 20, f"only {policies} policies found"
    fail_with(wrong)


@case("SYSTEMS-9a the page of each system names every policy, view, event and resource of it")
def pages():
    wrong = []
    for path in files("scripts/systems", (".lua",)):
        system = os.path.basename(path)[:-4]
        page = f"docs/systems/{system}.md"
        with open(os.path.join(ROOT, page), encoding="utf-8") as file:
            text = " ".join(file.read().split())
        for folder in ("routes", "policies"):
            wrong += [f'{page}: the {kind} "{name}" of {where} is not on it'
                      for where, kind, name in declared(f"scripts/{folder}/{system}")
                      if not re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text)]
    fail_with(wrong)


if __name__ == "__main__":
    main()
