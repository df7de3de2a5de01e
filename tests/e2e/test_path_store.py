# SPDX-License-Identifier: MIT
"""The store as a client sees it: unique keys, hot rows, refusals that scripts can take, units that are whole."""
import os
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import Server, case, eventually, main, temp_dir, write_files  # noqa: E402

COUNTERS = """
local function id_of(request) return tonumber(request.params.id) end

return {
  event "Tried" { service = "hall", key = { counter = "id" }, fields = { integer "id" } },

  resource "counters" {
    service = "hall",
    fields = { text "name" { unique = true }, integer "n" { default = 0 }, integer "left" { default = 0 } },
  },

  route "add" { service = "hall", method = "POST", path = "/counters/{id}/add",
    handle = function(request)
      store.add("counters", id_of(request), { n = 1 })
      return { added = 1 }
    end },

  route "bump" { service = "hall", method = "POST", path = "/counters/{id}/bump",
    handle = function(request)
      local row = store.get("counters", id_of(request))
      local n = row.n + 1
      store.update("counters", row.id, { n = n })
      return { n = n }
    end },

  route "take" { service = "hall", method = "POST", path = "/counters/{id}/take",
    handle = function(request)
      store.add("counters", id_of(request), { left = -1 }, { min = 0 })
      return { taken = 1 }
    end },

  route "ask" { service = "hall", method = "POST", path = "/counters/{id}/ask",
    handle = function(request)
      local _, err = try(store.add, "counters", id_of(request), { left = -1 }, { min = 0 })
      if err then return { refused = err.code } end
      return { taken = 1 }
    end },

  route "ensure" { service = "hall", method = "POST", path = "/ensure",
    handle = function(request)
      local made, err = try(store.create, "counters", { name = request.body.name })
      if err then return { code = err.code, id = store.first("counters", { name = request.body.name }).id } end
      return { made = true, id = made.id }
    end },

  route "half" { service = "hall", method = "POST", path = "/half",
    handle = function()
      local row = store.create("counters", { name = "half" })
      store.update("counters", row.id, { n = 5 })
      bus.emit("Tried", { id = row.id })
      if store.get("counters", row.id).n ~= 5 then fail(500, "a task does not see its own changes") end
      fail(422, "enough")
    end },

  route "gone" { service = "hall", method = "POST", path = "/gone",
    handle = function()
      local row = store.create("counters", { name = "gone" })
      store.delete("counters", row.id)
      local updated = store.update("counters", row.id, { n = 1 })
      return { there = store.get("counters", row.id) ~= nil, updated = updated ~= nil }
    end },
}
"""
HALL = {"systems/hall.lua": "return { services = { hall = {} } }\n", "routes/hall/counters.lua": COUNTERS}


def hall(**options):
    folder = temp_dir()
    write_files(folder, HALL)
    return Server("hall", scripts=folder, **options)


def counter(server, name, **fields):
    answer = server.request("POST", "/counters", {"name": name, **fields})
    assert answer.status == 201, answer
    return answer.id


def row(server, number):
    answer = server.request("GET", f"/counters/{number}")
    assert answer.status == 200, answer
    return answer.row


def clients(server, count, each, path, body=None):
    """`count` clients send `each` POSTs at the same time; returns all their answers."""
    answers, failures, together = [], [], threading.Barrier(count)

    def client():
        try:
            with server.connect(60) as connection:
                together.wait(30)
                for _ in range(each):
                    answers.append(connection.request("POST", path, body))
        except Exception as error:  # shown by the case
            failures.append(error)
    threads = [threading.Thread(target=client) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures
    return answers


def assert_refused(answer, code):
    assert answer.status == 409, answer
    assert answer.headers["Content-Type"].startswith("application/problem+json"), answer.headers.all
    assert answer.json["code"] == code, answer


@case("PATH-3d a second row with the same unique value is 409 exists, one at a time or 32 at once")
def unique():
    server = hall()
    first = counter(server, "a")
    assert_refused(server.request("POST", "/counters", {"name": "a"}), "exists")
    answers = clients(server, 32, 1, "/counters", {"name": "b"})
    made = [answer for answer in answers if answer.status == 201]
    assert len(made) == 1, [answer.status for answer in answers]
    for answer in answers:
        if answer is not made[0]:
            assert_refused(answer, "exists")
    assert [r["id"] for r in server.rows("/counters")] == [first, made[0].id]
    assert counter(server, "c") > made[0].id


@case("PATH-3e a script takes its other branch when the row exists already, also among 32 at once")
def ensure():
    server = hall()
    answers = [answer.json for answer in clients(server, 32, 3, "/ensure", {"name": "only"})]
    assert len([a for a in answers if a.get("made")]) == 1, answers
    assert len({a["id"] for a in answers}) == 1, answers
    assert {a.get("code") for a in answers} == {None, "exists"}, answers
    assert len(server.rows("/counters")) == 1


@case("PATH-8f 64 clients on one hot row through store.add lose nothing", seconds=120)
def hot_add():
    server = hall(args=["--workers", "4"])
    number = counter(server, "hot")
    answers = clients(server, 64, 20, f"/counters/{number}/add")
    assert {answer.status for answer in answers} == {200}, {answer.status for answer in answers}
    assert row(server, number)["n"] == 64 * 20
    assert server.stop() == 0
    server.start()
    assert row(server, number)["n"] == 64 * 20


@case("PATH-3f 32 clients that read, change and write one hot row lose nothing", seconds=120)
def hot_update():
    server = hall(args=["--workers", "4"])
    number = counter(server, "hot")
    answers = clients(server, 32, 10, f"/counters/{number}/bump")
    refused = [answer for answer in answers if answer.status != 200]
    assert not refused, f"{len(refused)} of {len(answers)} were refused, the first: {refused[0]}"
    assert sorted(answer.json["n"] for answer in answers) == list(range(1, 321))
    assert row(server, number)["n"] == 320


@case("PATH-3g a commutative change past its bound is 409, and no more is taken than there is")
def bound():
    server = hall(args=["--workers", "4"])
    number = counter(server, "tickets", left=50)
    answers = clients(server, 32, 3, f"/counters/{number}/take")
    taken = [answer for answer in answers if answer.status == 200]
    assert len(taken) == 50, len(taken)
    for answer in answers:
        if answer.status != 200:
            assert_refused(answer, "bound")
    assert row(server, number)["left"] == 0
    assert server.request("POST", f"/counters/{number}/ask").json == {"refused": "bound"}
    assert row(server, number)["left"] == 0


@case("PATH-3h what a failed task wrote and emitted is not there, though it saw it itself")
def whole():
    server = hall()
    answer = server.request("POST", "/half")
    assert answer.status == 422, answer
    assert server.rows("/counters") == []
    assert server.events() == []
    assert counter(server, "half") >= 1


@case("PATH-3h a row made and deleted in one task leaves nothing, and changing it afterwards gives nil")
def deleted():
    server = hall()
    answer = server.request("POST", "/gone")
    assert answer.status == 200 and answer.json == {"there": False, "updated": False}, answer
    assert server.rows("/counters") == []


@case("PATH-3i ids only rise, over a clean stop and over kill -9")
def ids():
    server = hall()
    seen = [counter(server, f"a{i}") for i in range(5)]
    assert seen == [1, 2, 3, 4, 5], seen
    server.kill9()
    server.start()
    seen += [counter(server, f"b{i}") for i in range(5)]
    assert server.restart().running()
    seen += [counter(server, f"c{i}") for i in range(5)]
    assert seen == sorted(set(seen)), seen
    assert [r["id"] for r in server.rows("/counters")] == seen


@case("PATH-3j a field that is declared later is added, and a unique key still holds after a restart")
def grows():
    server = hall()
    number = counter(server, "a", left=3)
    assert server.stop() == 0
    write_files(server.scripts, {"routes/hall/counters.lua": COUNTERS.replace(
        'integer "left" { default = 0 }', 'integer "left" { default = 0 }, text "colour"')})
    server.start()
    assert row(server, number) == {"id": number, "name": "a", "n": 0, "left": 3, "colour": None}
    assert_refused(server.request("POST", "/counters", {"name": "a"}), "exists")
    other = counter(server, "b", colour="red")
    eventually(lambda: row(server, other)["colour"] == "red", "the new field is kept")


if __name__ == "__main__":
    main()
