# SPDX-License-Identifier: MIT
"""What all measurements share: the load generators, waiting until nothing is left to do, numbers as text."""
import json
import os
import re
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.append(os.path.join(HERE, "..", "support"))
from harness import BUILD  # noqa: E402

DATA = os.path.join(BUILD, "bench-data")  # beside the checkout: the disk is part of what is measured


def say(text):
    print(text, file=sys.stderr, flush=True)


def number(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def wrk(address, path, connections, seconds, *words):
    """Accepted requests a second, p50 and p99 in ms, refused (>= 400) and broken requests. `words`: see wrk.lua."""
    argv = ["wrk", "-t", str(min(connections, os.cpu_count() or 2)), "-c", str(connections), "-d", f"{seconds}s",
            "--timeout", "10s", "-s", os.path.join(HERE, "wrk.lua"), f"http://{address}{path}"]
    done = subprocess.run(argv + (["--", *words] if words else []), capture_output=True, text=True, check=True)
    result = json.loads(re.search(r"^RESULT (.*)$", done.stdout, re.MULTILINE).group(1))
    result["rate"] = (result["requests"] - result["refused"]) / (result["us"] / 1e6)
    result["p50"], result["p99"] = result["p50_us"] / 1000, result["p99_us"] / 1000
    return result


def siege(home, url, *options):
    """What siege says of itself: {"transactions", "availability", "transaction_rate", ...}; its settings lie in `home`."""
    os.makedirs(home, exist_ok=True)
    done = subprocess.run(["siege", *options, "--content-type", "application/json", url], capture_output=True, text=True,
                          env={**os.environ, "HOME": home}, check=False)
    found = re.search(r"^\{.*?^\}$", done.stdout, re.MULTILINE | re.DOTALL)
    if not found:
        raise RuntimeError(f"siege reported nothing\n{done.stdout}{done.stderr}")
    return json.loads(found.group(0))


def until_policies_are_done(server, seconds=300):
    """The moment at which no policy has anything left to do. Reading the log to see it would take longer than the rest."""
    deadline = time.monotonic() + seconds
    while True:
        left = sum(value for name, value in server.metrics().items()
                   if name.startswith(("moontide_policy_behind", "moontide_policy_open")))
        if left == 0:
            return time.monotonic()
        if time.monotonic() > deadline:
            raise RuntimeError(f"policies have {left} events left after {seconds} s")
        time.sleep(0.01)
