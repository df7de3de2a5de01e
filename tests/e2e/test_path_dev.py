# SPDX-License-Identifier: MIT
"""The two commands of a newcomer."""
import json
import os
import re
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import ROOT, at_end, case, eventually, main, request, temp_dir  # noqa: E402

ORDER = {"bookId": "10", "qty": "1", "customerId": "1002"}


@case("PATH-1a ./dev run builds, starts bookmarket, prints what to try, and that works", seconds=600)
def run():
    folder = temp_dir()
    log, hints = os.path.join(folder, "log"), os.path.join(folder, "hints")
    with open(log, "wb") as out, open(hints, "wb") as err:
        process = subprocess.Popen(
            ["./dev", "run", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--data", os.path.join(folder, "data")],
            cwd=ROOT, stdout=out, stderr=err, stdin=subprocess.DEVNULL, start_new_session=True)
    at_end(lambda: process.poll() is None and os.killpg(process.pid, signal.SIGKILL))

    def address():
        assert process.poll() is None, open(log).read() + open(hints).read()
        for line in open(log):
            entry = json.loads(line) if line.startswith("{") else {}
            if entry.get("msg") == "listening" and entry["role"] == "gateway":
                return entry["address"]
        return None
    gateway = eventually(address, "the gateway listens", seconds=550)
    text = eventually(lambda: (lambda t: "curl" in t and t)(open(hints).read()), "it says what to try")
    assert f"http://{gateway}/orders" in text, text
    body = re.search(r"-d '(\{.*?\})'", text).group(1)
    assert request(gateway, "POST", "/orders", json.loads(body)).status == 201
    eventually(lambda: request(gateway, "GET", "/bookAlarms").json["page"]["totalElements"] == 1, "the customer is told")
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0


@case("PATH-1b ./dev help names every command, and a wrong one is refused with the right ones")
def usage():
    shown = subprocess.run(["./dev", "help"], cwd=ROOT, capture_output=True, text=True)
    assert shown.returncode == 0, shown
    for word in ("run", "test", "build", "lint", "bench", "help"):
        assert re.search(rf"\b{word}\b", shown.stdout), f"{word} is missing in:\n{shown.stdout}"
    wrong = subprocess.run(["./dev", "tset"], cwd=ROOT, capture_output=True, text=True)
    assert wrong.returncode != 0 and "tset" in wrong.stderr, wrong


if __name__ == "__main__":
    main()
