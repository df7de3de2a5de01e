#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Measures Moontide on this machine, nginx beside it in the same run, and prints Markdown. Never asserts a number.

    ./dev bench [--quick]

Compare ratios within one run; the load generator and the servers share the machine's cores.
"""
import argparse
import contextlib
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.realpath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "support")]
import nginx  # noqa: E402
import rules  # noqa: E402
import systems  # noqa: E402
import tickets  # noqa: E402
from harness import BUILD, ROOT, Server, parse_metrics, request, scripts_copy  # noqa: E402
from tools import DATA, number, say, siege, until_policies_are_done, wrk  # noqa: E402

CONNECTIONS = [1, 8, 64, 256]
ORDER = '{"bookId":"10","qty":"1","customerId":"1002"}'
ITEM = '{"name":"a thing","qty":1}'


# -- tools ---------------------------------------------------------------------------------------------------------


def quantile(numbers, q):
    return sorted(numbers)[min(len(numbers) - 1, int(len(numbers) * q))]


def disk_sync(count=200):
    """p50 and p99 in ms of writing 4 KiB and syncing it, on the data folder's disk."""
    path = os.path.join(DATA, "sync")
    times = []
    with open(path, "wb", buffering=0) as file:
        for _ in range(count):
            file.write(b"x" * 4096)
            start = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append((time.perf_counter() - start) * 1000)
    os.remove(path)
    return quantile(times, 0.5), quantile(times, 0.99)


def resident_mib(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        return int(re.search(r"VmRSS:\s+(\d+)", file.read()).group(1)) / 1024


class EventCount:
    """Counts events of the log by type, reading on from where it stopped."""

    def __init__(self, server):
        self.server, self.next, self.types = server, 1, {}

    def read(self):
        while True:
            answer = self.server.admin("GET", f"/admin/events?from={self.next}&limit=100000", seconds=120)
            if answer.status != 200:
                raise RuntimeError(f"/admin/events answered {answer}")
            lines = answer.body.splitlines()
            for line in lines:
                event = json.loads(line)
                self.types[event["type"]] = self.types.get(event["type"], 0) + 1
                self.next = event["seq"] + 1
            if len(lines) < 100000:
                return self.types

    def whole_orders(self):
        """(orders accepted, orders whose message was sent)"""
        types = self.read()
        return types.get("Ordered", 0), types.get("MessageSended", 0)

    def until_whole(self, seconds=300):
        """Waits until every order is done and no new one comes: (how many, the moment that was first seen)."""
        before, since, deadline = None, 0.0, time.monotonic() + seconds
        while True:
            made, done = self.whole_orders()
            if (made, done) != before:
                before, since = (made, done), time.monotonic()
            elif made == done:
                return made, since
            if time.monotonic() > deadline:
                raise RuntimeError(f"{made - done} of {made} orders did not end in a message within {seconds} s")
            time.sleep(0.1)


# -- the figures ---------------------------------------------------------------------------------------------------


def measure_grid(seconds, reference, bench, market):
    """{contestant: {connections: numbers}}; all contestants at one number of connections, then at the next."""
    made = request(bench.gateway, "POST", "/items", ITEM, {"Content-Type": "application/json"})
    if made.status != 201:
        raise RuntimeError(f"POST /items answered {made}")
    row = re.sub(r"^https?://[^/]+", "", made.headers.get("location") or made.json["_links"]["self"]["href"])
    for _ in range(64):
        request(bench.gateway, "POST", "/counters", "{}", {"Content-Type": "application/json"})
    contestants = [
        ("nginx `return 200`", reference.address, "/return", None),
        ("nginx + Lua + cjson", reference.address, "/lua", None),
        ("Lua route, JSON answer", bench.gateway, "/hello", None),
        ("GET one row", bench.gateway, row, None),
        ("POST one row + event, durable", bench.gateway, "/items", ITEM),
        ("store.add on one of 64 rows", bench.gateway, "/spread", "{}"),
        ("store.add on one hot row", bench.gateway, "/hot", "{}"),
    ]
    grid = {name: {} for name, *_ in contestants}
    grid["whole orders (POST /orders)"] = {}
    count = EventCount(market)
    for connections in CONNECTIONS:
        say(f"{connections} connections ...")
        for name, address, path, post in contestants:
            grid[name][connections] = wrk(address, path, connections, seconds, *(["POST", post] if post else []))
        grid["whole orders (POST /orders)"][connections] = measure_orders(seconds, market, connections, count)
    return grid


def measure_orders(seconds, market, connections, count):
    before = count.whole_orders()[1]
    start = time.monotonic()
    numbers = wrk(market.gateway, "/orders", connections, seconds, "POST", ORDER)
    end = until_policies_are_done(market)
    total, _ = count.until_whole()
    numbers["done_rate"] = (total - before) / (end - start)
    return numbers


def measure_starts(times=5):
    """Median ms from exec to both listening lines, on a data folder that exists already."""
    took = []
    data = os.path.join(DATA, "starts")
    for _ in range(times + 1):
        start = time.perf_counter()
        server = Server("bookmarket", data=data, build="release")
        took.append((time.perf_counter() - start) * 1000)
        memory = resident_mib(server.process.pid)
        server.stop()
        server.close()
    return statistics.median(took[1:]), memory


def measure_catch_up(seconds):
    """Takes orders while all policies are away, kills the server, and measures how fast they catch up when they return."""
    folder = os.path.join(DATA, "catch-up")
    server = Server("bookmarket", data=folder, build="release")  # the policies are known to the log from here on
    server.stop()
    server.close()
    away = scripts_copy()
    shutil.rmtree(os.path.join(away, "policies"))
    server = Server("bookmarket", scripts=away, data=folder, build="release")
    wrk(server.gateway, "/orders", 64, seconds, "POST", ORDER)
    server.kill9()
    server.close()
    start = time.monotonic()
    server = Server("bookmarket", data=folder, build="release")
    ready = time.monotonic()
    end = until_policies_are_done(server)
    made, _ = EventCount(server).until_whole()
    server.stop()
    server.close()
    return {"made": made, "start_ms": (ready - start) * 1000, "rate": made / (end - start)}


def run_siege(server, seconds, *options):
    """The load test that the original systems are described with: siege -c100 on POST /orders."""
    return siege(os.path.join(DATA, "siege"), f"http://{server.gateway}/orders POST {ORDER}", "-c100", f"-t{seconds}S",
                 *options)


def measure_late_siege(seconds):
    """The same while payment takes as long as it did in the originals, behind their time limit."""
    server = Server("bookmarket", data=os.path.join(DATA, "late"), build="release",
                    args=["--set", "breakers.payment.timeout_ms=610"])
    answer = server.admin("PUT", "/admin/faults", {"payment": {"delay_ms": [400, 620]}})
    assert answer.status == 200, answer
    numbers = run_siege(server, seconds)
    breaker = next(b for b in server.admin("GET", "/admin/breakers").json["breakers"] if b["name"] == "payment")
    numbers["timeouts"], numbers["others"] = breaker["total"]["TIMEOUT"], sum(
        breaker["total"][name] for name in ("FAILURE", "SHORT_CIRCUITED", "SEMAPHORE_REJECTED"))
    server.stop()
    server.close()
    return numbers


def commit_to_handler(server):
    """p50 and p99 in ms as the server reports them, or None."""
    answer = request(server.admin_address, "GET", "/metrics")
    if answer.status != 200:
        return None
    metrics = parse_metrics(answer.text)
    found = {}
    for name, value in metrics.items():
        match = re.match(r'moontide_commit_to_handler_seconds\{(?:.*,)?quantile="([\d.]+)"', name)
        if match:
            found[float(match.group(1))] = value * 1000
    return (found[0.5], found[0.99]) if 0.5 in found and 0.99 in found else None


# -- the report ----------------------------------------------------------------------------------------------------


def measure_idle_handler(market, orders=300):
    """commit_to_handler of a server that has just started and gets one order at a time."""
    for _ in range(orders):
        if request(market.gateway, "POST", "/orders", ORDER, {"Content-Type": "application/json"}).status != 201:
            raise RuntimeError("an order was refused")
    EventCount(market).until_whole()
    return commit_to_handler(market)


def about():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        model = re.search(r"model name\s*:\s*(.*)", file.read())
    kind = subprocess.run(["stat", "-f", "-c", "%T", DATA], capture_output=True, text=True, check=False).stdout.strip()
    version = subprocess.run([os.path.join(BUILD, "moontide"), "version"], capture_output=True, text=True, check=False)
    return (f"{version.stdout.strip() or 'Moontide'}; {os.cpu_count()} cores of {model.group(1) if model else 'unknown'}; "
            f"Linux {platform.release()}; data on {kind}; {time.strftime('%Y-%m-%d')}")


def print_grid(grid):
    base = grid["nginx `return 200`"]
    print("| accepted/s (of nginx `return 200`) p50 / p99 ms | " + " | ".join(f"{c} conn." for c in CONNECTIONS) + " |")
    print("|---|" + "---:|" * len(CONNECTIONS))
    for name, row in grid.items():
        cells = []
        for connections in CONNECTIONS:
            n = row[connections]
            cell = f"{number(n['rate'])} ({n['rate'] / base[connections]['rate']:.2f}) {n['p50']:.2f} / {n['p99']:.2f}"
            if "done_rate" in n:
                cell += f", done {number(n['done_rate'])}/s"
            if n["refused"] or n["broken"]:
                cell += f", {n['refused']} refused, {n['broken']} broken"
            cells.append(cell)
        print(f"| {name} | " + " | ".join(cells) + " |")


def print_single(rows):
    print("\n| figure | value |\n|---|---:|")
    for name, value in rows:
        print(f"| {name} | {value} |")


def milliseconds(pair):
    return "not reported" if pair is None else f"{pair[0]:.2f} / {pair[1]:.2f} ms"


BREAKER_LOOPS = {"pcall": 400_000, "closed": 300_000, "open": 120_000, "refused": 15_000}


def measure_breakers(server):
    """Nanoseconds a call, of the quickest of 25 tasks, each a loop of its own: the others were disturbed."""
    def once(what, n):
        answer = request(server.gateway, "GET", f"/breakers/{what}?n={n}")
        assert answer.status == 200, answer
        return answer.json["ms"] * 1e6 / n
    bare = subprocess.run([os.path.join(BUILD, "bench_breaker")], capture_output=True, text=True, check=True)
    return {**json.loads(bare.stdout), **{what: min(once(what, n) for _ in range(25)) for what, n in BREAKER_LOOPS.items()}}


def bench(seconds):
    with contextlib.ExitStack() as stack:
        reference = nginx.Nginx(os.path.join(DATA, "nginx"))
        stack.callback(reference.close)
        say("starting ...")
        start_ms, memory = measure_starts()
        bench_server = Server("bench", scripts=os.path.join(HERE, "scripts"), data=os.path.join(DATA, "bench"),
                              build="release")
        stack.callback(bench_server.close)
        market = Server("bookmarket", data=os.path.join(DATA, "bookmarket"), build="release")
        stack.callback(market.close)
        breakers = measure_breakers(bench_server)
        sync = disk_sync()
        idle_handler = measure_idle_handler(market)
        grid = measure_grid(seconds, reference, bench_server, market)
        handler = commit_to_handler(market)
        say("siege ...")
        fast = run_siege(market, seconds, "-b")
        late = measure_late_siege(20 if seconds > 1 else 5)
        EventCount(market).until_whole()
        say("catching up ...")
        again = measure_catch_up(seconds)
    say("changing rules ...")
    reloads, loop = rules.measure_reloads(seconds), rules.measure_loop()
    five = systems.measure(seconds, DATA)
    say("the rush on one concert ...")
    rushes = tickets.measure(seconds, DATA)
    lone = grid["POST one row + event, durable"][1]
    print(about() + "\n")
    print_grid(grid)
    print_single([
        ("one durable POST at a time, p50 / p99", f"{lone['p50']:.2f} / {lone['p99']:.2f} ms"),
        ("the disk alone: 4 KiB + fdatasync, p50 / p99", milliseconds(sync)),
        ("commit to handler, one order at a time, p50 / p99", milliseconds(idle_handler)),
        ("commit to handler, under all of the above, p50 / p99", milliseconds(handler)),
        ("a breaker without Lua: closed, with its result / open",
         f"{breakers['c_closed']:.0f} / {breakers['c_open']:.0f} ns"),
        ("pcall of an empty function", f"{breakers['pcall']:.0f} ns"),
        ("the same in a closed breaker: beside pcall",
         f"{breakers['closed']:.0f} ns: + {breakers['closed'] - breakers['pcall']:.0f}"),
        ("open breaker, with a fallback", f"{breakers['open']:.0f} ns"),
        ("open breaker, the error caught", f"{breakers['refused']:.0f} ns"),
        ("start to listening (bookmarket)", f"{start_ms:.0f} ms"),
        ("resident memory, idle (bookmarket)", f"{memory:.1f} MiB"),
        ("orders waiting for their policies after a kill -9", number(again["made"])),
        ("start after it", f"{again['start_ms']:.0f} ms"),
        ("whole orders caught up a second, from the start of the process", number(again["rate"])),
        ("siege -c100 on POST /orders", f"{fast['transaction_rate']}/s, {fast['availability']} % available"),
        ("the same, payment 400 to 620 ms late, breaker 610 ms",
         f"{late['transaction_rate']}/s, {late['availability']} % available; longest {late['longest_transaction']} s; "
         f"{late['timeouts']} too late, {late['others']} failed otherwise"),
        *rules.rows(reloads, loop),
        *tickets.rows(rushes),
    ])
    systems.show(*five)
    with open(os.path.join(BUILD, "last-bench.json"), "w", encoding="utf-8") as file:
        json.dump({"grid": grid, "start_ms": start_ms, "rss_mib": memory, "sync_ms": sync, "handler_ms": handler,
                   "catch_up": again, "siege": fast, "late_siege": late, "breakers_ns": breakers, "reloads": reloads,
                   "loop": loop, "systems": systems.numbers(*five), "tickets": rushes}, file, indent=1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="1 s instead of 3 s for each measurement")
    args = parser.parse_args()
    missing = [tool for tool in ("wrk", "nginx", "siege") if not shutil.which(tool)] + nginx.missing()
    if missing:
        say("bench: missing: " + ", ".join(missing))
        return 1
    os.chdir(ROOT)
    shutil.rmtree(DATA, ignore_errors=True)
    os.makedirs(DATA)
    try:
        bench(1 if args.quick else 3)
    finally:
        shutil.rmtree(DATA, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
