#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What changing rules while they run costs, and what limiting them costs: two of bench.py's figures. Alone:

    python3 tests/bench/rules.py [SECONDS]
"""
import ctypes
import ctypes.util
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.realpath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "support")]
from harness import Server, write_files  # noqa: E402
from wire import Connection  # noqa: E402

SCRIPTS = 50
PAUSE_S = 0.1  # between two reloads
RESOURCE = """-- One of many: a resource with a rule, an event and a route.
local LIMIT = {version} + {n}

local function checked(row)
  if row.qty and row.qty > LIMIT * 1000 then fail(422, "too many of them: " .. row.qty) end
  if row.name == "" then fail(422, "a thing wants a name") end
end

return {{
  event "Made{n}" {{ service = "shelf", key = {{ thing = "id" }}, fields = {{ integer "id", text "name", integer "qty" }} }},

  resource "things{n}" {{
    service = "shelf",
    fields = {{ text "name", integer "qty", text "state" {{ default = "new" }} }},
    before_create = checked,
    on_create = function(row) bus.emit("Made{n}", row) end,
    finders = {{ byName = {{ "name" }} }},
  }},

  route "count{n}" {{
    service = "shelf", method = "GET", path = "/count{n}",
    handle = function(request)
      local sum = 0
      for i = 1, tonumber(request.query.n or 10) do sum = sum + i * LIMIT end
      return {{ sum = sum, version = {version} }}
    end,
  }},
}}
"""
POLICY = """-- Notes things that are empty.
return policy "shelf notes {n}" {{
  service = "shelf", on = "Made{n}",
  handle = function(event)
    if event.qty == 0 then log.info("an empty thing", {{ thing = event.id, version = {version} }}) end
  end,
}}
"""
LOOP = "local n = 0 for i = 1, 20000000 do n = n + i % 7 end"
SPINS = """return {
  event "Spin" { service = "mill", key = { spin = "id" }, fields = { integer "id" } },
  resource "spins" { service = "mill", fields = { integer "x" },
    on_create = function(row) bus.emit("Spin", { id = row.id }) end },
  resource "turns" { service = "mill", fields = { integer "ms" } },
}
"""
SPINNER = """return policy "mill spins" { service = "mill", on = "Spin", budget = { cpu = "1s" },
  handle = function()
    local start = clock.now()
    LOOP
    store.create("turns", { ms = clock.now() - start })
  end,
}
""".replace("LOOP", LOOP)


def things(number, version):
    """A resource with its route, or the policy that waits for its event: every second file is a policy."""
    name, text = ("policies/shelf/notes", POLICY) if number % 2 else ("routes/shelf/things", RESOURCE)
    return {f"{name}{number // 2}.lua": text.format(n=number // 2, version=version)}


def shelf(folder):
    write_files(folder, {"systems/shelf.lua": "return { services = { shelf = {} } }\n"})
    for number in range(SCRIPTS):
        write_files(folder, things(number, 1))
    return Server("shelf", scripts=folder, data=os.path.join(folder, "data"), build="release")


def load(server, seconds):
    argv = ["wrk", "-t", "1", "-c", "64", "-d", f"{seconds}s", "--timeout", "10s", "-s", os.path.join(HERE, "wrk.lua"),
            f"http://{server.gateway}/count7"]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)


def result_of(running):
    line = next(line for line in running.communicate()[0].splitlines() if line.startswith("RESULT "))
    return json.loads(line[len("RESULT "):])


def reload_until(running, server, version):
    """Reloads, one file changed each time, until the load is over: the milliseconds from request to answer."""
    took = []
    with Connection(server.admin_address, 60) as admin:
        while running.poll() is None:
            version += 1
            write_files(server.scripts, things(version % SCRIPTS, version))
            start = time.perf_counter()
            answer = admin.request("POST", "/admin/reload", None, {"Authorization": f"Bearer {server.token()}"})
            took.append((time.perf_counter() - start) * 1000)
            if answer.status != 200:
                raise RuntimeError(f"the reload was answered {answer}")
            time.sleep(PAUSE_S)
    return took


def measure_reloads(seconds, rounds=5):
    """Medians of alternating runs: reload p50 and worst in ms, p99 of requests in ms with reloads and without."""
    folder = tempfile.mkdtemp(prefix="moontide-bench-")
    server, took, p99, failed = shelf(folder), [], {True: [], False: []}, 0
    try:
        for number in range(2 * rounds):
            reloading = number % 2 == 1
            running = load(server, seconds)
            if reloading:
                took += reload_until(running, server, number * 1000)
            result = result_of(running)
            failed += result["refused"] + result["broken"]
            p99[reloading].append(result["p99_us"] / 1000)
    finally:
        server.stop()
        server.close()
        shutil.rmtree(folder, ignore_errors=True)
    return {"p50": statistics.median(took), "worst": max(took), "count": len(took), "failed": failed,
            "p99_with": statistics.median(p99[True]), "p99_without": statistics.median(p99[False])}


def bare_lua():
    """A function that runs LOOP in a state of liblua that nobody limits, and returns the milliseconds; None: no liblua."""
    path = ctypes.util.find_library("lua5.4")
    if path is None:
        return None
    lua = ctypes.CDLL(path)
    lua.luaL_newstate.restype = ctypes.c_void_p
    state = ctypes.c_void_p(lua.luaL_newstate())

    def run():
        if lua.luaL_loadstring(state, LOOP.encode()) != 0:
            raise RuntimeError("the loop is not Lua")
        start = time.perf_counter()
        lua.lua_pcallk(state, 0, 0, 0, ctypes.c_ssize_t(0), None)
        return (time.perf_counter() - start) * 1000
    return run


def measure_loop(rounds=9):
    """The loop of 20 M in a policy of a server, and bare: medians of alternating runs in ms."""
    bare = bare_lua()
    if bare is None:
        return None
    folder = tempfile.mkdtemp(prefix="moontide-bench-")
    write_files(folder, {"systems/mill.lua": "return { services = { mill = {} } }\n", "routes/mill/spins.lua": SPINS,
                         "policies/mill/spins.lua": SPINNER})
    server = Server("mill", scripts=folder, data=os.path.join(folder, "data"), build="release")
    limited, free = [], []
    try:
        for number in range(1, rounds + 1):
            free.append(bare())
            if server.request("POST", "/spins", {"x": 1}).status != 201:
                raise RuntimeError("POST /spins was refused")
            deadline = time.monotonic() + 60
            while len(server.rows("/turns")) < number:
                if time.monotonic() > deadline:
                    raise RuntimeError(f"the loop did not end\n{server.tail()}")
                time.sleep(0.02)
            limited.append(server.rows("/turns")[-1]["ms"])
    finally:
        server.stop()
        server.close()
        shutil.rmtree(folder, ignore_errors=True)
    return {"limited": statistics.median(limited), "bare": statistics.median(free)}


def rows(reloads, loop):
    """What bench.py prints of them."""
    with_, without = reloads["p99_with"], reloads["p99_without"]
    lines = [
        (f"reload of {SCRIPTS} scripts under full load, p50 / worst of {reloads['count']}",
         f"{reloads['p50']:.1f} / {reloads['worst']:.1f} ms"),
        (f"p99 of requests with ten reloads a second / without ({reloads['failed']} failed)",
         f"{with_:.2f} / {without:.2f} ms: {with_ - without:+.2f}"),
    ]
    if loop is not None:
        lines.append(("a loop of 20 M in Lua, with budgets / bare liblua",
                      f"{loop['limited']:.0f} / {loop['bare']:.0f} ms: {loop['limited'] / loop['bare']:.2f}"))
    return lines


def main():
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    print("| figure | value |\n|---|---:|")
    for name, value in rows(measure_reloads(seconds), measure_loop()):
        print(f"| {name} | {value} |")


if __name__ == "__main__":
    main()
