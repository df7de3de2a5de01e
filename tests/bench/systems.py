#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The five systems: whole orders a second until their view shows the last status, and the originals' siege lines.

    python3 tests/bench/systems.py [--seconds N] [--build release|asan] [SYSTEM...]      (./dev bench runs it too)
"""
import argparse
import contextlib
import dataclasses
import json
import os
import shutil
import sys
import tempfile
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.realpath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "support")]
from harness import BUILD, Server  # noqa: E402
from tools import number, say, siege, until_policies_are_done, wrk  # noqa: E402

CONNECTIONS = 64
ENOUGH = 10**9


@dataclasses.dataclass
class System:
    """What a whole order is: what is sent, and what the row of the view has in the end, without anybody's help."""
    name: str
    path: str
    body: dict
    view: str
    last: dict
    before: tuple = ()  # (path, body) of what must be there first
    word: str = "POST"  # of wrk.lua


SYSTEMS = [
    System("bookmarket", "/orders", {"bookId": "10", "qty": "1", "customerId": "1002"}, "/mypages",
           {"status": "Shipped"}),
    System("cna-note", "/orders", {"branchId": "1", "sauceId": "1", "qty": 10, "price": 10000}, "/orderDashboards",
           {"state": "Preparing"}),
    System("concert", "/bookings", {"concertId": 1, "userId": 1, "qty": 5}, "/bookingHistories",
           {"status": "BookingApproved"}, (("/concerts", {"name": "Moon", "ticketQty": ENOUGH}),), "BOOK"),
    System("bookstore", "/orders", {"bookId": 1, "customerId": 1, "quantity": 1, "deliveryAddress": "Seoul",
                                    "payAmount": 1000, "payType": "card"}, "/myPages", {"deliveryStatus": "Shipped"},
           (("/customers", {"customerName": "Kim"}), ("/books", {"bookName": "Lua", "stock": ENOUGH}))),
    System("bread", "/orders", {"item": "cake", "qty": 1}, "/mypages", {"status": "Confirmed"}),
]


@dataclasses.dataclass
class Siege:
    """A load test of an original, and what its text tells of the result."""
    system: str
    options: str
    path: str
    body: dict | None = None
    faults: dict = dataclasses.field(default_factory=dict)
    recorded: str = "not recorded"


def delayed(service, least, most):
    return {service: {"delay_ms": [least, most]}}


BOOKING, CAKE = {"concertId": 1, "userId": 1, "qty": 5}, {"item": "cake", "qty": 1}
SIEGES = [
    Siege("cna-note", "-c1", "/orders", {"branchId": "1", "sauceId": "1", "qty": 10, "price": 10000},
          delayed("payment", 400, 700)),
    Siege("concert", "-c100", "/bookings/", BOOKING, delayed("payment", 400, 620), "14.94/s, 100 %"),
    Siege("concert", "-c100", "/bookings/", BOOKING, {}, "105.27/s, 100 %"),
    Siege("bookstore", "-c10", "/requestPayment?payment=1000"),
    Siege("bread", "-c100", "/orders", CAKE, delayed("pay", 400, 620), "1.64/s, 86.49 %"),
]


@contextlib.contextmanager
def running(system, build, folder):
    """A server of the system with what an order needs."""
    server = Server(system.name, data=os.path.join(folder, system.name), build=build)
    try:
        for path, body in system.before:
            made = server.request("POST", path, body)
            if made.status != 201:
                raise RuntimeError(f"{system.name}: POST {path} answered {made}")
        yield server
        server.stop()
    finally:
        server.close()


def cpu_seconds(pid):
    """What the process has used of the cores so far."""
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure_whole(system, seconds, build, folder):
    """Whole orders a second, from the first request to the moment at which no policy and no view has anything to do."""
    with running(system, build, folder) as server:
        begin, used = time.monotonic(), cpu_seconds(server.process.pid)
        numbers = wrk(server.gateway, system.path, CONNECTIONS, seconds, system.word, json.dumps(system.body))
        end = until_policies_are_done(server)
        used = cpu_seconds(server.process.pid) - used
        rows = server.rows(system.view)
        whole = sum(all(row[name] == value for name, value in system.last.items()) for row in rows)
        letters = server.admin("GET", "/admin/letters").json["letters"]
    return {"rate": whole / (end - begin), "cpu_us": used / max(whole, 1) * 1e6, "whole": whole, "rows": len(rows),
            "p50": numbers["p50"], "p99": numbers["p99"], "refused": numbers["refused"], "broken": numbers["broken"], "letters": len(letters)}


def measure_siege(line, seconds, build, folder):
    """siege begins late: a second more."""
    system = next(known for known in SYSTEMS if known.name == line.system)
    with running(system, build, folder) as server:
        if server.admin("PUT", "/admin/faults", line.faults).status != 200:
            raise RuntimeError(f"{line.system}: faults refused")
        url = f"http://{server.gateway}{line.path}" + (f" POST {json.dumps(line.body)}" if line.body else "")
        return siege(os.path.join(folder, "siege"), url, *line.options.split(), f"-t{seconds + 1}S")


def print_whole(results):
    print(f"\n| whole orders, {CONNECTIONS} connections | a second | answered p50 / p99 | CPU of one | orders |"
          " in the view with the last status |")
    print("|---|---:|---:|---:|---:|---:|")
    for system, n in results:
        last = ", ".join(f"{name} {value}" for name, value in system.last.items())
        bad = "".join(f", {n[what]} {what}" for what in ("refused", "broken", "letters") if n[what])
        print(f"| {system.name} | {number(n['rate'])} | {n['p50']:.1f} / {n['p99']:.1f} ms | {n['cpu_us']:.0f} us |"
              f" {n['rows']:,}{bad} | {n['whole']:,} ({last}) |")


def print_sieges(results):
    print("\n| siege | delay put into | the original recorded | a second | available | mean |")
    print("|---|---|---:|---:|---:|---:|")
    for line, n in results:
        delay = ", ".join("{}: {} to {} ms".format(name, *fault["delay_ms"]) for name, fault in line.faults.items())
        print(f"| {line.system}: `siege {line.options}` {line.path} | {delay or 'none'} | {line.recorded} |"
              f" {n['transaction_rate']} | {n['availability']} % | {n['response_time']} s |")


def measure(seconds, folder, build="release", names=None):
    """([(system, numbers)], [(siege line, what siege told)])"""
    whole, sieges = [], []
    for system in SYSTEMS:
        if not names or system.name in names:
            say(f"{system.name} ...")
            whole.append((system, measure_whole(system, seconds, build, os.path.join(folder, "whole"))))
    for at, line in enumerate(SIEGES):
        if not names or line.system in names:
            say(f"siege {line.options} of {line.system} ...")
            sieges.append((line, measure_siege(line, seconds, build, os.path.join(folder, f"siege-{at}"))))
    return whole, sieges


def show(whole, sieges):
    print_whole(whole)
    print_sieges(sieges)


def numbers(whole, sieges):
    return {"whole": {system.name: n for system, n in whole},
            "sieges": [{"system": line.system, "faults": line.faults, **n} for line, n in sieges]}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=3, help="of each measurement")
    parser.add_argument("--build", choices=["release", "asan"], default="release")
    parser.add_argument("system", nargs="*", help=", ".join(system.name for system in SYSTEMS) + "; all unless given")
    args = parser.parse_args()
    for name in set(args.system) - {system.name for system in SYSTEMS}:
        parser.error(f"there is no system {name}")
    missing = [tool for tool in ("wrk", "siege") if not shutil.which(tool)]
    if missing:
        say("bench: missing: " + ", ".join(missing))
        return 1
    with tempfile.TemporaryDirectory(prefix="bench-systems-", dir=BUILD) as folder:
        show(*measure(args.seconds, folder, args.build, args.system))
    return 0


if __name__ == "__main__":
    sys.exit(main())
