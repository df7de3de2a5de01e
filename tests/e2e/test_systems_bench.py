# SPDX-License-Identifier: MIT
"""tests/bench/systems.py still measures: a second of it, and what it prints. No figure is asserted."""
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import ROOT, case, environment, main  # noqa: E402


def of(row):
    """The numbers of orders that were made, and of those that are whole."""
    return [int(re.match(r"[\d,]+", cell).group().replace(",", "")) for cell in row[3:5]]


@case("SYSTEMS-7d the bench of the systems counts orders that are whole: all of bread's, and concert's with their payments",
      seconds=120)
def counts():
    done = subprocess.run([sys.executable, os.path.join(ROOT, "tests/bench/systems.py"), "--seconds", "1", "--build", "asan",
                           "bread", "concert"], capture_output=True, text=True, env=environment(), check=False)
    assert done.returncode == 0, done.stderr
    assert "(status Confirmed)" in done.stdout and "(status BookingApproved)" in done.stdout, done.stdout
    rows = {cells[1]: cells[2:] for cells in ([cell.strip() for cell in line.split("|")]
                                              for line in done.stdout.splitlines() if line.startswith("|"))}
    made, whole = of(rows["bread"])
    assert made == whole > 0, rows  # a slow machine refuses some: they are not among those made
    made, whole = of(rows["concert"])
    assert 0 < whole <= made, rows
    sieges = [cells for name, cells in rows.items() if "`siege -c100`" in name]
    assert sieges and all(float(cells[2]) > 0 for cells in sieges), rows


if __name__ == "__main__":
    main()
