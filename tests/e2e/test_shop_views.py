# SPDX-License-Identifier: MIT
"""Views from outside: made of the log, in memory made again at each start, before anybody is told to come."""
# timeout: 300
import glob
import json
import os
import random
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import Server, case, eventually, main, temp_dir, write_files  # noqa: E402

SYSTEM = "systems/lab.lua"
BOARD = "policies/lab/boards.lua"
SYSTEM_LUA = 'return { services = { shop = {}, desk = { store = "%s" } } }\n'

SHOP_LUA = """return {
  event "Counted" { service = "shop", key = { thing = "thing" }, fields = { integer "thing", integer "n" } },

  -- n events of as many things as there are, each with the next number.
  route "count" { service = "shop", method = "POST", path = "/count", handle = function(request)
    local body = request.body
    for i = body.first, body.last do
      bus.emit("Counted", { thing = i % body.things, n = i })
    end
  end },
}
"""

# The numbers of a thing, in their order: wrong if one is missing, comes twice or too early.
BOARD_LUA = """return view "boards" {
  service = "desk",
  by      = "thing",
  fields  = { integer "thing", integer "count" { default = 0 }, integer "newest" { default = -1 }, integer "wrong" },
  on = {
    Counted = function(row, event)
      if event.n <= row.newest then row.wrong = event.n end
      row.count, row.newest = row.count + %d, event.n
    end,
  },
}
"""


def lab(store="memory", view=True, build="asan"):
    folder = temp_dir()
    files = {SYSTEM: SYSTEM_LUA % store, "routes/lab/shop.lua": SHOP_LUA}
    if view:
        files[BOARD] = BOARD_LUA % 1
    write_files(folder, files)
    return Server("lab", scripts=folder, build=build, args=["--workers", "4"])


def count(server, first, last, things=50):
    while first <= last:
        upto = min(last, first + 499)
        answer = server.request("POST", "/count", {"first": first, "last": upto, "things": things})
        assert answer.status == 200, answer
        first = upto + 1


def boards(server):
    answer = server.request("GET", "/boards")
    assert answer.status == 200, answer
    return {row["thing"]: row for row in answer.json["_embedded"]["boards"]}


def check(rows, events, things=50):
    assert len(rows) == things, len(rows)
    for thing, row in rows.items():
        expected = len(range(thing, events + 1, things)) - (1 if thing == 0 else 0)
        assert row["count"] == expected and row["wrong"] is None, (row, expected)


def is_caught_up(server):
    for service in server.admin("GET", "/admin/services").json["services"]:
        for policy in service["policies"]:
            if policy["behind"] or policy["open"]:
                return False
    return True


def memory_folders():
    return set(glob.glob("/dev/shm/moontide-%d-*" % os.getuid()))


def folder_of(server):
    """Where the memory file of this server is, by the name that its data folder gives it."""
    st = os.stat(os.path.join(server.data, "moontide.lock"))
    return "/dev/shm/moontide-%d-%x-%x" % (os.getuid(), st.st_dev, st.st_ino)


@case("SHOP-3g 20 kills at random moments under load: a view in memory has each event once, in order, at every start")
def kills():
    seed = int(os.environ.get("MOONTIDE_TEST_SEED", random.randrange(1 << 30)))
    print(f"# seed {seed}")
    chance = random.Random(seed)
    server = lab()
    emitted = 0
    for _ in range(20):
        count(server, emitted + 1, emitted + 100)
        emitted += 100
        killer = threading.Timer(chance.random() * 0.05, server.kill9)
        killer.start()
        try:
            while True:
                server.request("POST", "/count", {"first": emitted + 1, "last": emitted + 10, "things": 50})
                emitted += 10
        except OSError:
            pass
        killer.join()
        server.start()
        rows = boards(server)  # at once after "listening"
        in_log = len(server.events(type="Counted"))
        assert emitted <= in_log <= emitted + 10, (emitted, in_log)
        emitted = in_log
        assert sum(row["count"] for row in rows.values()) == in_log
        assert all(row["wrong"] is None for row in rows.values())
    assert emitted > 2000, emitted


def find_addresses(server):
    """From run.json, which is there before the server says that it listens."""
    try:
        with open(os.path.join(server.data, "run.json"), encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError):
        return False
    if found["pid"] != server.process.pid:
        return False
    server.gateway, server.admin_address = found["listen"], found["admin"]
    return True


@case("SHOP-3g while the views are made nobody is told to come: not ready, 503, and then all rows at once")
def starting():
    slow = BOARD_LUA.replace("if event.n", "for _ = 1, 20000 do end if event.n") % 1
    server = lab()
    count(server, 1, 2000)
    write_files(server.scripts, {BOARD: slow})
    server.kill9()
    server.start(wait=False)
    eventually(lambda: find_addresses(server), "run.json names the addresses")
    refused = 0
    while True:
        announced = server.log_lines(msg="listening")
        ready = server.admin("GET", "/readyz").status
        answer = server.request("GET", "/boards")
        if announced:
            assert ready == 200 and answer.status == 200, (ready, answer)
        if answer.status == 200:
            check({row["thing"]: row for row in answer.json["_embedded"]["boards"]}, 2000)
        else:
            assert ready == 503 and answer.status == 503 and answer.headers["retry-after"], (ready, answer)
            refused += 1
        if announced:
            break
    assert refused > 0
    server.stop()


@case("SHOP-3g a kill leaves nothing in memory that the next start does not remove, an ordinary end nothing at all")
def no_files():
    before = memory_folders()
    server = lab()
    count(server, 1, 100)
    folder = folder_of(server)
    assert os.path.isdir(folder) and os.stat(folder).st_mode & 0o077 == 0, folder
    server.kill9()
    assert os.path.isdir(folder)
    first = os.stat(os.path.join(folder, "moontide.db")).st_ino
    server.start()
    check(boards(server), 100)
    assert folder_of(server) == folder
    assert os.stat(os.path.join(folder, "moontide.db")).st_size > 0 and first
    server.stop()
    assert not os.path.exists(folder)
    assert folder not in memory_folders() - before


def reload_new(build):
    for store in ("memory", "sqlite"):
        server = lab(store, view=False, build=build)
        count(server, 1, 3000)
        write_files(server.scripts, {BOARD: BOARD_LUA % 1})
        assert server.admin("POST", "/admin/reload").status == 200
        count(server, 3001, 4000)
        eventually(lambda: is_caught_up(server), "the view has all events")
        check(boards(server), 4000)
        server.stop()


@case("SHOP-7k a view in memory whose service is started by hand, long after the process: the start answers when its rows are whole")
def started_later():
    server = lab()
    count(server, 1, 4000)
    assert server.admin("POST", "/admin/services/desk/stop").status == 200
    server.restart()
    count(server, 4001, 5000)
    assert server.request("GET", "/boards").status == 503
    assert server.admin("POST", "/admin/services/desk/start", seconds=60).status == 200
    check(boards(server), 5000)


@case("SHOP-3h a view that comes with a reload is made from the first event while requests go on")
def reload_new_here():
    reload_new("asan")


@case("SHOP-3h the same under the thread sanitizer, with four workers")
def reload_new_under_tsan():
    reload_new("tsan")


@case("SHOP-3h a changed view acts from then on; in memory, the next start makes the past anew")
def reload_changed():
    server = lab()
    count(server, 1, 1000)
    eventually(lambda: is_caught_up(server), "the view has all events")
    write_files(server.scripts, {BOARD: BOARD_LUA % 1000})
    assert server.admin("POST", "/admin/reload").status == 200
    count(server, 1001, 1100)
    eventually(lambda: is_caught_up(server), "the view has all events")
    assert sum(row["count"] for row in boards(server).values()) == 1000 + 100 * 1000
    server.stop()
    server.start()
    assert sum(row["count"] for row in boards(server).values()) == 1100 * 1000
    server.stop()


@case("SHOP-3i the book shop's mypages follow an order, over a restart")
def mypages():
    server = Server()
    placed = server.request("POST", "/orders", {"bookId": "10", "qty": "2", "customerId": "1002"})
    assert placed.status == 201, placed
    eventually(lambda: is_caught_up(server), "all policies are done")

    def page():
        answer = server.request("GET", "/mypages/1")
        assert answer.status == 200, answer
        return {name: answer.json.get(name) for name in ("orderId", "customerId", "bookId", "qty", "status",
                                                         "messageId")}

    shown = page()
    assert shown == {"orderId": 1, "customerId": 1002, "bookId": 10, "qty": 2, "status": "Shipped",
                     "messageId": 1}, shown
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert server.request(method, "/mypages/1", {"qty": 3}).status == 405
    server.kill9()
    server.start()
    assert page() == shown
    server.stop()


main()
