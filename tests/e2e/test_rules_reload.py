# SPDX-License-Identifier: MIT
"""Scripts changed while they run: what a reload does, and that a tree which is wrong changes nothing."""
import json
import os
import re
import signal
import socket
import sqlite3
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import Server, binary, case, command, eventually, main, temp_dir, write_files  # noqa: E402
from wire import row_of, split_address  # noqa: E402

SYSTEM = "systems/lab.lua"
VERSION = "routes/lab/version.lua"
NOTES = "routes/lab/notes.lua"
COPIES = "policies/lab/clerk_copies_notes.lua"


def version(number):
    return f"""local NUMBER = {number}

return {{
  route "version" {{ service = "lab", method = "GET", path = "/version",
    handle = function() return {{ version = NUMBER }} end }},

  route "slow" {{ service = "lab", method = "GET", path = "/slow",
    handle = function()
      log.info("asleep", {{ version = NUMBER }})
      task.sleep("2s")
      return {{ version = NUMBER }}
    end }},
}}
"""


NOTES_LUA = """return {
  event "Noted" { service = "lab", key = { note = "id" }, fields = { integer "id", text "what" } },

  resource "notes" {
    service = "lab",
    fields = { text "what", integer "n" },
    on_create = function(note) bus.emit("Noted", note) end,
  },

  resource "copies" { service = "clerk", fields = { integer "noteId" } },
}
"""

COPIES_LUA = """return policy "clerk copies notes" {
  service = "clerk",
  on = "Noted",
  handle = function(event) store.create("copies", { noteId = event.id }) end,
}
"""

LAB = {SYSTEM: "return { services = { lab = {}, clerk = {} } }\n", VERSION: version(1), NOTES: NOTES_LUA,
       COPIES: COPIES_LUA}


def lab(files=None, **options):
    folder = temp_dir()
    write_files(folder, {**LAB, **(files or {})})
    return Server("lab", scripts=folder, **options)


def put(server, number):
    write_files(server.scripts, {VERSION: version(number)})


def remove(server, path):
    os.remove(os.path.join(server.scripts, path))


def shown(server):
    answer = server.request("GET", "/version")
    assert answer.status == 200, answer
    return answer.json["version"]


def reload(server, query=""):
    answer = server.admin("POST", "/admin/reload" + query)
    assert answer.status == 200, answer
    return answer.json


def generations(server):
    answer = server.admin("GET", "/admin/generations")
    assert answer.status == 200, answer
    return answer.json["generations"]


def active(server):
    live = [g for g in generations(server) if g["active"]]
    assert len(live) == 1, live
    return live[0]["number"]


def changed_files(answer):
    return {file["path"]: file["status"] for file in answer["files"] if file["status"] != "same"}


@case("RULES-1a a changed rule is live after POST /admin/reload on every worker")
def live():
    server = lab(args=["--workers", "4"])
    connections = [server.connect() for _ in range(64)]
    for number in range(1, 6):
        for connection in connections:
            assert connection.request("GET", "/version").json == {"version": number}
        put(server, number + 1)
        answer = reload(server)
        assert answer["generation"] == answer["previous"] + 1, answer
        assert changed_files(answer) == {VERSION: "changed"}, answer
        assert {file["path"] for file in answer["files"]} == set(LAB), answer
        assert isinstance(answer["took_ms"], int) and answer["changes"] == [], answer
    for connection in connections:
        assert connection.request("GET", "/version").json == {"version": 6}
        connection.close()


@case("RULES-1a routes, resources and files that were added serve at once, and those that went are 404")
def added():
    server = lab()
    write_files(server.scripts, {"routes/lab/more.lua": """return {
  resource "stamps" { service = "clerk", fields = { text "colour" } },
  route "hello" { service = "lab", method = "GET", path = "/hello", handle = function() return "hello" end },
}
""", "lib/unused.lua": "return { one = 1 }\n"})
    assert server.request("GET", "/hello").status == 404
    answer = reload(server)
    assert changed_files(answer) == {"routes/lab/more.lua": "added", "lib/unused.lua": "added"}, answer
    assert any("stamps" in change for change in answer["changes"]), answer
    assert server.request("GET", "/hello").text == "hello"
    assert server.request("POST", "/stamps", {"colour": "blue"}).status == 201
    remove(server, "routes/lab/more.lua")
    assert changed_files(reload(server)) == {"routes/lab/more.lua": "removed"}
    assert server.request("GET", "/hello").status == 404
    assert server.request("GET", "/stamps").status == 404
    server.restart()
    assert server.request("GET", "/hello").status == 404


@case("RULES-1a without the token nothing is reloaded, and a client that goes away meanwhile is harmless")
def client():
    server = lab()
    put(server, 2)
    answer = server.admin("POST", "/admin/reload", headers={"Authorization": "Bearer 0123456789abcdef"})
    assert answer.status == 401, answer
    assert server.admin("GET", "/admin/reload").status == 405
    assert server.admin("POST", "/admin/reload?dry_run=maybe").status == 400
    assert shown(server) == 1
    for number in range(2, 8):
        put(server, number)
        with socket.create_connection(split_address(server.admin_address), 10) as gone:
            gone.sendall(f"POST /admin/reload HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.token()}\r\n"
                         "Content-Length: 0\r\n\r\n".encode())
        eventually(lambda number=number: shown(server) == number, "the reload ends without its client")
    assert server.stop() == 0


@case("RULES-1a moontide reload and generations say what is live, and show the line that is wrong")
def commands():
    server = lab()
    flags = ["--admin", server.admin_address, "--data", server.data, "--scripts", server.scripts]
    put(server, 2)
    code, out, err = command("reload", *flags)
    assert code == 0 and re.match(r"generation 2 is live \(was 1\), 4 files, \d+ ms\n", out), (code, out, err)
    write_files(server.scripts, {NOTES: NOTES_LUA.replace('integer "n"', 'integer "n", text "colour"')})
    code, out, err = command("reload", "--dry-run", *flags)
    assert code == 0 and "notes.colour" in out and "generation 2 stays" in out, (code, out, err)
    write_files(server.scripts, {NOTES: NOTES_LUA.replace('text "what", integer', 'text "what" { requird = true }, integer')})
    for extra in ([], ["--dry-run"]):
        code, out, err = command("reload", *extra, *flags)
        lines = err.splitlines()
        assert code == 3 and out == "", (code, out, err)
        assert lines[0].startswith(f"scripts/{NOTES}:6: ") and "requird" in lines[0], err
        assert "requird" in lines[1] and lines[2].strip() == "^", err
        assert lines[1][lines[2].index("^"):].startswith("requird"), err
    code, out, err = command("generations", *flags)
    assert code == 0 and out.splitlines()[0].split() == ["GENERATION", "TIME", "ORIGIN"], (code, out, err)
    assert out.splitlines()[1].startswith("2 ") and out.splitlines()[1].endswith("live"), out
    code, out, err = command("generations", "activate", "1", *flags)
    assert code == 0 and "is live (was 2)" in out and shown(server) == 1, (code, out, err)
    code, out, err = command("generations", "activate", "99", *flags)
    assert code == 1 and "99" in err, (code, out, err)
    code, out, err = command("generations", "list", "-o", "json", *flags)
    assert code == 0 and json.loads(out)["generations"], (code, out, err)


@case("RULES-1b SIGHUP reloads, and a tree that is wrong then is an error line")
def hangup():
    server = lab(args=["--workers", "2"])
    put(server, 2)
    server.signal(signal.SIGHUP)
    eventually(lambda: shown(server) == 2, "the signal reloads")
    write_files(server.scripts, {VERSION: "return {\n  nosuch.word,\n}\n"})
    server.signal(signal.SIGHUP)
    line = eventually(lambda: [e for e in server.logs if f"scripts/{VERSION}:2" in json.dumps(e)], "it says why not")[0]
    assert line["level"] in ("error", "warn"), line
    assert shown(server) == 2
    put(server, 3)
    server.signal(signal.SIGHUP)
    eventually(lambda: shown(server) == 3, "the signal reloads again")


@case("RULES-1c --watch reloads on save and shows the error with line and caret")
def watch():
    server = lab(args=["--watch"])

    def said():
        return server.stderr() + "\n".join(json.dumps(e) for e in server.logs)
    put(server, 2)
    eventually(lambda: shown(server) == 2, "a saved file is live")
    write_files(server.scripts, {"routes/lab/deep/more.lua": """return route "hello" {
  service = "lab", method = "GET", path = "/hello", handle = function() return "hello" end,
}
"""})
    eventually(lambda: server.request("GET", "/hello").status == 200, "a file in a new folder is live")
    write_files(server.scripts, {VERSION: version(3).replace('method = "GET", path = "/slow"', 'methd = "GET", path = "/slow"')})
    text = eventually(lambda: f"scripts/{VERSION}:7" in said() and said(), "the error is shown")
    assert "methd" in text and "^" in text, text[-3000:]
    assert shown(server) == 2
    put(server, 4)
    eventually(lambda: shown(server) == 4, "the next good one is live")


def save_by_rename(server, number):
    """As vim does: the old file becomes a backup, a new one takes its name, the backup goes."""
    path = os.path.join(server.scripts, VERSION)
    write_files(server.scripts, {VERSION + ".new": version(number)})
    os.rename(path, path + "~")
    os.rename(path + ".new", path)
    os.remove(path + "~")


def save_by_delete(server, number):
    remove(server, VERSION)
    put(server, number)


def save_over(server, number):
    """As sed -i and most editors with `atomic save` do."""
    path = os.path.join(server.scripts, VERSION)
    write_files(os.path.dirname(path), {".version.swp": version(number)})
    os.rename(os.path.join(os.path.dirname(path), ".version.swp"), path)


def save_as_link(server, number):
    """As a deployment does: the name is a link to a file elsewhere, and the next link takes its place."""
    path, target = os.path.join(server.scripts, VERSION), os.path.join(temp_dir(), "version.lua")
    write_files(os.path.dirname(target), {"version.lua": version(number)})
    os.symlink(target, path + ".link")
    os.rename(path + ".link", path)


@case("RULES-1c --watch sees a save by rename, by delete and create, through a link, and files that move with their folder")
def watch_saves():
    server = lab(args=["--watch", "--workers", "1"])
    number = 1
    for save in (save_by_rename, save_by_delete, save_over, save_as_link, save_by_rename):
        number += 1
        save(server, number)
        eventually(lambda number=number: shown(server) == number, f"{save.__name__}: what was saved is live")
    hello = 'return route "hello" {\n  service = "lab", method = "GET", path = "/hello", handle = function() return WORD end,\n}\n'
    beside = temp_dir()
    write_files(beside, {"more/deep/hello.lua": hello.replace("WORD", '"moved in"')})
    place = os.path.join(server.scripts, "routes/lab/more")
    os.rename(os.path.join(beside, "more"), place)
    eventually(lambda: server.request("GET", "/hello").text == "moved in", "a folder that was moved in is live")
    write_files(place, {"deep/hello.lua": hello.replace("WORD", '"saved there"')})
    eventually(lambda: server.request("GET", "/hello").text == "saved there", "and is watched")
    os.rename(place, os.path.join(beside, "out"))
    eventually(lambda: server.request("GET", "/hello").status == 404, "one that was moved out is gone")
    assert shown(server) == number


@case("RULES-1d a dry run changes nothing and lists what would change")
def dry_run():
    server = lab()
    before = generations(server)
    files = {VERSION: version(2), NOTES: NOTES_LUA.replace('integer "n"', 'integer "n", text "colour" { index = true }'),
             "lib/unused.lua": "return { one = 1 }\n"}
    write_files(server.scripts, files)
    remove(server, COPIES)
    for _ in range(2):
        answer = reload(server, "?dry_run=true")
        assert answer["dry_run"] is True and answer["generation"] == answer["previous"] == active(server), answer
        assert changed_files(answer) == {VERSION: "changed", NOTES: "changed", "lib/unused.lua": "added",
                                         COPIES: "removed"}, answer
        assert any("notes.colour" in change for change in answer["changes"]), answer
    assert shown(server) == 1 and generations(server) == before
    assert "colour" not in server.request("POST", "/notes", {"what": "a"}).json
    eventually(lambda: len(server.rows("/copies")) == 1, "the policy is there as before")
    real = reload(server)
    assert real["changes"] == answer["changes"] and real["files"] == answer["files"] and "dry_run" not in real, real
    assert shown(server) == 2
    assert reload(server, "?dry_run=true")["changes"] == []
    write_files(server.scripts, {NOTES: NOTES_LUA.replace('integer "n"', 'integer "m"')})
    assert set(reload(server, "?dry_run=true")["changes"]) >= {"add column notes.m integer", "hide column notes.n",
                                                               "hide column notes.colour"}
    reload(server)
    write_files(server.scripts, {NOTES: NOTES_LUA})
    assert set(reload(server)["changes"]) == {"hide column notes.m"}
    assert reload(server, "?dry_run=true")["changes"] == []


@case("RULES-1e list and activate: back to an older generation, kept over a restart")
def activate():
    server = lab()
    for number in (2, 3):
        put(server, number)
        reload(server)
    assert [(g["number"], g["active"]) for g in generations(server)] == [(3, True), (2, False), (1, False)]
    answer = server.admin("POST", "/admin/generations/1/activate")
    assert answer.status == 200 and answer.json["previous"] == 3, answer
    assert changed_files(answer.json) == {VERSION: "changed"}, answer
    assert answer.json["generation"] == active(server)
    assert shown(server) == 1
    server.restart()
    assert shown(server) == 1, "what was activated by hand outlives a restart, though the tree says otherwise"
    server.kill9()
    server.start()
    assert shown(server) == 1
    highest = max(g["number"] for g in generations(server))
    assert reload(server)["generation"] == highest + 1
    assert shown(server) == 3
    put(server, 4)
    server.restart()
    assert shown(server) == 4, "after a reload the tree counts again"


@case("RULES-1e the last 20 generations are kept; others, and what is no number, are 404 (G10)")
def kept():
    server = lab()
    for number in range(2, 26):
        put(server, number)
        reload(server)
    numbers = [g["number"] for g in generations(server)]
    assert numbers == sorted(numbers, reverse=True) and len(numbers) == 20 and numbers[0] == 25, numbers
    for wrong in ("1", "99", "0", "-1", "x"):
        answer = server.admin("POST", f"/admin/generations/{wrong}/activate")
        assert answer.status == 404 and answer.json["code"] == "not_found", answer
    assert shown(server) == 25 and active(server) == 25
    assert server.admin("POST", "/admin/generations/25/activate").status == 200, "the live one"
    assert shown(server) == 25 and active(server) == 25
    assert server.admin("POST", f"/admin/generations/{numbers[-1]}/activate").status == 200
    assert shown(server) == numbers[-1]


@case("RULES-1f a broken tree at start runs the last good generation with an error line (G5)")
def broken_start():
    server = lab()
    put(server, 2)
    reload(server)
    number = server.request("POST", "/notes", {"what": "a"}).id
    write_files(server.scripts, {VERSION: "return {\n  route { },\n}\n"})
    server.restart()
    assert shown(server) == 2
    assert any(f"scripts/{VERSION}:2" in json.dumps(e) for e in server.log_lines(level="error")), server.tail()
    assert server.request("GET", f"/notes/{number}").status == 200
    assert server.request("POST", "/notes", {"what": "b"}).status == 201
    eventually(lambda: len(server.rows("/copies")) == 2, "its policies run")
    assert server.admin("POST", "/admin/reload").status == 422
    put(server, 3)
    reload(server)
    assert shown(server) == 3


@case("RULES-1f a generation activated by hand that no longer loads does not stop a start: the tree, then the last good one")
def broken_activated():
    server = lab()
    for number in (2, 3, 4):
        put(server, number)
        reload(server)
    number = server.request("POST", "/notes", {"what": "a"}).id

    def activate_and_break(generation):
        assert server.admin("POST", f"/admin/generations/{generation}/activate").status == 200
        assert shown(server) == generation
        assert server.stop() == 0
        database = sqlite3.connect(os.path.join(server.data, "moontide.db"))
        database.execute("UPDATE _moontide_generations SET sources = '{\"systems/lab.lua\":\"nosuch\"}' WHERE number = ?",
                         [generation])
        database.commit()
        database.close()

    activate_and_break(1)
    server.start()
    assert shown(server) == 4, "what lies in the folder"
    assert server.log_lines(level="error", generation=1), server.tail()
    activate_and_break(2)
    write_files(server.scripts, {VERSION: "return {\n  route { },\n}\n"})
    server.start()
    assert shown(server) == 4, "the newest one that loads"
    assert any(f"scripts/{VERSION}:2" in json.dumps(e) for e in server.log_lines(level="error")), server.tail()
    assert server.request("GET", f"/notes/{number}").status == 200
    assert server.request("POST", "/notes", {"what": "b"}).status == 201


@case("RULES-1f a broken tree at the very first start is refused with file and line")
def broken_first():
    folder = temp_dir()
    write_files(folder, {**LAB, VERSION: "return {\n  nosuch.word,\n}\n"})
    server = Server("lab", scripts=folder, wait=False)
    assert server.wait_exit() != 0
    assert f"scripts/{VERSION}:2" in server.tail(), server.tail()


class Slow:
    """A request that sleeps on its generation, on a thread of its own."""

    def __init__(self, server):
        self.answer = None
        before = len(server.log_lines(msg="asleep"))
        self.thread = threading.Thread(target=self._ask, args=(server,), daemon=True)
        self.thread.start()
        eventually(lambda: len(server.log_lines(msg="asleep")) > before, "the request has begun")

    def _ask(self, server):
        self.answer = server.request("GET", "/slow")

    def shown(self):
        self.thread.join(30)
        assert self.answer is not None and self.answer.status == 200, self.answer
        return self.answer.json["version"]


@case("RULES-1g what runs when the switch comes ends on its own generation")
def overlap():
    server = lab(args=["--workers", "1"])
    first = Slow(server)
    put(server, 2)
    reload(server)
    assert first.answer is None, "the reload waited for the request"
    assert shown(server) == 2
    second = Slow(server)
    put(server, 3)
    reload(server)
    assert shown(server) == 3
    assert (first.shown(), second.shown()) == (1, 2)
    assert Slow(server).shown() == 3
    assert server.stop() == 0


NAP = """return policy "clerk copies notes" {
  service = "clerk",
  on = "Noted",
  handle = function(event)
    log.info("asleep", { note = event.id })
    task.sleep("2s")
    store.create("copies", { noteId = event.id, by = "NAME" })
  end,
}
"""


@case("RULES-1g a try of an event that runs when the switch comes ends on its own generation, the next begins on the new one")
def overlap_try():
    notes = NOTES_LUA.replace('integer "noteId"', 'integer "noteId", text "by"')
    server = lab({COPIES: NAP.replace("NAME", "first"), NOTES: notes}, args=["--workers", "1"])
    server.request("POST", "/notes", {"what": "a"})
    server.wait_log(msg="asleep")
    write_files(server.scripts, {COPIES: NAP.replace("NAME", "second")})
    reload(server)
    server.request("POST", "/notes", {"what": "b"})
    rows = eventually(lambda: (lambda r: len(r) == 2 and r)(server.rows("/copies")), "both copies")
    assert {row["noteId"]: row["by"] for row in rows} == {1: "first", 2: "second"}, rows
    assert len(server.log_lines(msg="asleep")) == 2
    assert server.stop() == 0


@case("RULES-1h what outlives the drain of its old generation is cancelled: 503, and the try is repeated on the new one")
def outlived():
    notes = NOTES_LUA.replace('integer "noteId"', 'integer "noteId", text "by"')
    nap = NAP.replace('"2s"', '"28s"')
    server = lab({VERSION: version(1).replace('"2s"', '"28s"'), COPIES: nap.replace("NAME", "first"), NOTES: notes},
                 args=["--workers", "1", "--set", "reload.drain_ms=200"])
    server.request("POST", "/notes", {"what": "a"})
    server.wait_log(msg="asleep")
    slow = Slow(server)
    write_files(server.scripts, {VERSION: version(2), COPIES: COPIES_LUA.replace(
        "noteId = event.id", 'noteId = event.id, by = "second"')})
    reload(server)
    slow.thread.join(20)
    assert slow.answer is not None and slow.answer.status == 503, slow.answer
    assert slow.answer.json["code"] == "cancelled" and "rules were replaced" in slow.answer.text, slow.answer
    failed = server.wait_log(msg="policy failed")
    assert (failed["try"], failed["code"]) == (1, "cancelled"), failed
    rows = eventually(lambda: server.rows("/copies"), "the next try, on the new generation")
    assert [(row["noteId"], row["by"]) for row in rows] == [(1, "second")], rows
    assert len(server.log_lines(msg="asleep")) == 2 and shown(server) == 2
    assert server.admin("GET", "/admin/letters").json["letters"] == []
    assert server.stop() == 0


@case("RULES-1h a cancelled drain loses no timer and no effect: those of the cancelled run never were, the next run's are once")
def outlived_timers():
    policy = """return {
  policy "remind" { service = "clerk", on = "Noted",
    handle = function(event)
      store.create("copies", { noteId = event.id })
      bus.emit_in(1, "Reminded", { id = event.id })
      NAP
    end },
  policy "count" { service = "clerk", on = "Reminded",
    handle = function(event) store.create("copies", { noteId = 1000 + event.id }) end },
}
"""
    notes = NOTES_LUA.replace('  resource "copies"', '  event "Reminded" { service = "clerk", key = { note = "id" }, '
                              'fields = { integer "id" } },\n  resource "copies"')
    server = lab({COPIES: policy.replace("NAP", 'log.info("asleep") task.sleep("28s")'), NOTES: notes},
                 args=["--workers", "2", "--set", "reload.drain_ms=100"])
    for _ in range(5):
        server.request("POST", "/notes", {"what": "a"})
    eventually(lambda: len(server.log_lines(msg="asleep")) == 5, "all five run")
    write_files(server.scripts, {COPIES: policy.replace("NAP", "")})
    reload(server)
    eventually(lambda: len(server.log_lines(msg="policy failed", code="cancelled")) == 5, "the drain ends them")
    wanted = sorted([1, 2, 3, 4, 5] + [1001, 1002, 1003, 1004, 1005])
    eventually(lambda: len(server.rows("/copies")) >= 10, "the next tries, and their timers")
    assert sorted(row["noteId"] for row in server.rows("/copies")) == wanted, server.rows("/copies")
    assert len(server.events(type="Reminded")) == 5
    server.restart()
    assert sorted(row["noteId"] for row in server.rows("/copies")) == wanted
    assert server.admin("GET", "/admin/letters").json["letters"] == []


@case("RULES-1g an event that waits for its next try gets it from the rule that was mended")
def mended():
    server = lab({COPIES: COPIES_LUA.replace("store.create", 'error("not yet") store.create')})
    server.request("POST", "/notes", {"what": "a"})
    server.wait_log(msg="policy failed")
    write_files(server.scripts, {COPIES: COPIES_LUA})
    reload(server)
    rows = eventually(lambda: server.rows("/copies"), "the next try succeeds")
    assert [row["noteId"] for row in rows] == [1], rows
    assert server.admin("GET", "/admin/letters").json["letters"] == []


@case("RULES-1g a long answer that is on its way when the switch comes stays whole")
def long_answer():
    server = lab(args=["--workers", "1"])
    with server.connect() as connection:
        for number in range(600):
            assert connection.request("POST", "/notes", {"what": f"{number} " + "x" * 20000}).status == 201
    host = split_address(server.gateway)
    with socket.socket() as reader:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.settimeout(30)
        reader.connect(host)
        reader.sendall(b"GET /notes?size=1000 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        got = reader.recv(4096)
        write_files(server.scripts, {VERSION: version(2), NOTES: NOTES_LUA.replace(
            'fields = { text "what", integer "n" }', 'fields = { integer "m", text "what" }')})
        reload(server)
        assert shown(server) == 2
        assert set(server.request("GET", "/notes/1").row) == {"id", "m", "what"}
        parts = [got]
        while parts[-1]:
            parts.append(reader.recv(1 << 20))
    body = b"".join(parts).partition(b"\r\n\r\n")[2]
    text, rest = b"", body
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        text, rest = text + rest[:int(size, 16)], rest[int(size, 16) + 2:]
    rows = [row_of(item) for item in json.loads(text)["_embedded"]["notes"]]
    assert len(rows) == 600 and {tuple(sorted(row)) for row in rows} == {("id", "n", "what")}, rows[0].keys()


@case("RULES-1a what the system file says is reloaded too: services, breakers, config")
def system_file():
    server = lab({SYSTEM: 'return { services = { lab = {}, clerk = {} }, breakers = { door = { timeout_ms = 500 } }, '
                          'config = { greeting = "hello" } }\n'})
    write_files(server.scripts, {
        SYSTEM: 'return { services = { lab = {}, clerk = {}, porter = {} }, '
                'breakers = { door = { timeout_ms = 700 }, gate = {} }, config = { greeting = "good day" } }\n',
        "routes/lab/porter.lua": """return route "greet" { service = "porter", method = "GET", path = "/greet",
  handle = function() return { word = config.greeting } end }
"""})
    reload(server)
    assert server.request("GET", "/greet").json == {"word": "good day"}
    breakers = {b["name"]: b["conf"] for b in server.admin("GET", "/admin/breakers").json["breakers"]}
    assert breakers["door"]["timeout_ms"] == 700 and "gate" in breakers, breakers
    assert "porter" in [s["name"] for s in server.admin("GET", "/admin/services").json["services"]]
    assert server.admin("PUT", "/admin/faults", {"porter": {"error_rate": 1}}).status == 200
    assert server.request("GET", "/greet").status >= 500
    write_files(server.scripts, {SYSTEM: LAB[SYSTEM]})
    remove(server, "routes/lab/porter.lua")
    reload(server)
    assert server.request("GET", "/greet").status == 404
    assert shown(server) == 1


LISTENS = """local more = use "lib.more"
return { listen = "127.0.0.1:0", data = "%s", workers = %d, config = { n = more.n },
  services = { lab = {} }, gateway = { routes = { { path = "/**", service = "lab", guard = function() end } } } }
"""


@case("RULES-1a the system file's listen, data and workers hold from a start on; flags overrule them; a reload says that they wait")
def process_settings():
    folder, data = temp_dir(), os.path.join(temp_dir(), "elsewhere")
    write_files(folder, {"systems/lab.lua": LISTENS % (data, 3), "lib/more.lua": "return { n = 1 }\n"})
    server = Server("lab", scripts=folder, start=False)
    server.argv = lambda: [binary(), "run", "lab", "--scripts", folder, "--admin", "127.0.0.1:0", *server.args]
    server.data = data
    server.start()
    status = server.admin("GET", "/admin/status").json
    assert status["workers"] == 3 and status["store"]["folder"] == data and not status["gateway"].endswith(":8088"), status
    assert server.admin("POST", "/admin/reload").json["changes"] == []
    write_files(folder, {"systems/lab.lua": LISTENS % (data + "-2", 2)})
    for path in ("/admin/reload?dry_run=true", "/admin/reload"):
        assert server.admin("POST", path).json["changes"] == ["data, workers: from the next start on"]
    assert server.wait_log(level="warn", msg="settings of the system file wait for the next start")["settings"] == "data, workers"
    assert server.admin("GET", "/admin/status").json["workers"] == 3
    server.stop()
    server.args, server.data = ["--workers", "1"], data + "-2"
    server.start()
    status = server.admin("GET", "/admin/status").json
    assert status["workers"] == 1 and status["store"]["folder"] == data + "-2", status
    server.stop()
    write_files(folder, {"systems/lab.lua": LISTENS % (data, 65)})
    code, _, said = command("check", "lab", "--scripts", folder)
    assert code == 78 and "systems/lab.lua: workers: expected a number from 1 to 64" in said, (code, said)


@case("RULES-1a a timer that is due when its event is no longer declared is dropped with a warning")
def timers():
    later = """return {
  event "Later" { service = "lab", key = { note = "id" }, fields = { integer "id" } },
  route "later" { service = "lab", method = "POST", path = "/later", handle = function(request)
    bus.emit_in("1s", "Later", { id = request.body.id })
    return { ok = true }
  end },
}
"""
    policy = COPIES_LUA.replace('"Noted"', '{ "Noted", "Later" }')
    server = lab({"routes/lab/later.lua": later, COPIES: policy})
    assert server.request("POST", "/later", {"id": 7}).status == 200
    write_files(server.scripts, {COPIES: COPIES_LUA})
    remove(server, "routes/lab/later.lua")
    reload(server)
    assert server.request("POST", "/later", {"id": 8}).status == 404
    assert server.request("POST", "/notes", {"what": "a"}).status == 201
    eventually(lambda: len(server.rows("/copies")) == 1, "other events are delivered")
    server.wait_log(level="warn", msg="a timer's event is not declared any more and is dropped")
    write_files(server.scripts, {"routes/lab/later.lua": later, COPIES: policy})
    reload(server)
    assert server.request("POST", "/later", {"id": 9}).status == 200
    eventually(lambda: 9 in [row["noteId"] for row in server.rows("/copies")], "a new one fires")
    assert 7 not in [row["noteId"] for row in server.rows("/copies")]


def slow_tree(files):
    """Files that take their time to load."""
    text = 'local n = 0\nfor i = 1, 200000 do n = n + i end\nreturn { sum = n }\n'
    return {f"lib/part{i}.lua": text for i in range(files)}


@case("RULES-1h 409 while another reload runs")
def busy():
    server = lab(slow_tree(60), args=["--workers", "4"])
    answers = []
    together = threading.Barrier(8)

    def ask():
        together.wait(10)
        answers.append(server.admin("POST", "/admin/reload"))
    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    statuses = sorted(answer.status for answer in answers)
    assert set(statuses) == {200, 409}, statuses
    refused = next(answer for answer in answers if answer.status == 409)
    assert refused.headers["Content-Type"].startswith("application/problem+json"), refused.headers.all
    assert refused.json["code"] == "conflict", refused
    assert active(server) == 1 + statuses.count(200)
    reload(server)


@case("RULES-1h a signal or a save while a reload runs is not lost, whoever asked for that one")
def again():
    server = lab(slow_tree(60), args=["--workers", "4"])
    met = 0
    for number in range(2, 12):
        thread = threading.Thread(target=lambda: server.admin("POST", "/admin/reload"))
        thread.start()
        while thread.is_alive():  # 409 while it runs, 404 before
            if server.admin("POST", "/admin/generations/999999/activate").status == 409:
                met += 1
                break
        put(server, number)
        server.signal(signal.SIGHUP)
        thread.join()
        eventually(lambda number=number: shown(server) == number, "the signal's tree is live", 10)
    assert met > 0, "no signal came during a reload"


@case("RULES-1h SIGTERM during a reload ends the process with 0")
def stop_meanwhile():
    server = lab(slow_tree(60), args=["--workers", "2"])
    for _ in range(3):
        with socket.create_connection(split_address(server.admin_address), 10) as s:
            s.sendall(f"POST /admin/reload HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.token()}\r\n"
                      "Content-Length: 0\r\n\r\n".encode())
            assert server.stop() == 0, server.tail()
        server.start()


def with_line(text, line, instead):
    lines = text.splitlines()
    lines[line - 1] = instead
    return "\n".join(lines) + "\n"


WRONG = [
    # (what, {path: text}, path, line or None: any, words of the message)
    ("a syntax error", {VERSION: with_line(version(2), 5, "    handle = function() return } end },")}, VERSION, 5,
     ["unexpected symbol", "}"]),
    ("a file cut off", {VERSION: "\n".join(version(2).splitlines()[:4]) + "\n"}, VERSION, 5, ["<eof>"]),
    ("a missing field", {VERSION: version(2).replace('path = "/slow",', "")}, VERSION, 7, ["path"]),
    ("no handler", {COPIES: 'return policy "clerk copies notes" {\n  service = "clerk",\n  on = "Noted",\n}\n'},
     COPIES, 1, ["handle"]),
    ("an exception while loading", {VERSION: with_line(version(2), 2, 'error("the moon is taken")')}, VERSION, 2,
     ["the moon is taken"]),
    ("nil indexed while loading", {VERSION: with_line(version(2), 2, "local x = nil; local y = x.z")}, VERSION, 2,
     ["index", "nil"]),
    ("an endless loop while loading", {VERSION: with_line(version(2), 2, "while true do end")}, VERSION, 2, ["CPU"]),
    ("an unknown option", {NOTES: NOTES_LUA.replace('integer "n"', 'integer "n" { defualt = 1 }')}, NOTES, 6,
     ["defualt", "default"]),
    ("an unknown member", {COPIES: COPIES_LUA.replace("on =", "onn =")}, COPIES, 3, ["onn", "on"]),
    ("an unknown global", {VERSION: with_line(version(2), 2, "local x = nosuch")}, VERSION, 2, ["nosuch"]),
    ("a global that is set", {VERSION: with_line(version(2), 2, "counter = 0")}, VERSION, 2, ["counter", "local"]),
    ("an unknown event", {COPIES: COPIES_LUA.replace('"Noted"', '"Notde"')}, COPIES, 3, ["Notde", "Noted"]),
    ("an unknown service", {COPIES: COPIES_LUA.replace('"clerk",', '"clrk",')}, COPIES, 2, ["clrk", "clerk"]),
    ("a file that returns nothing", {"routes/lab/empty.lua": "local x = 1\n"}, "routes/lab/empty.lua", 1,
     ["nothing", "return"]),
    ("two policies of one name", {"policies/lab/other.lua": COPIES_LUA}, "policies/lab/other.lua", 1,
     ["clerk copies notes", COPIES]),
    ("two routes of one path", {"routes/lab/z.lua": 'return route "again" {\n  service = "lab", method = "GET", '
                                'path = "/version", handle = function() return 1 end,\n}\n'},
     "routes/lab/z.lua", 1, ["/version"]),
    ("two resources of one name", {"routes/lab/z.lua": 'return resource "notes" {\n  service = "lab", '
                                   'fields = { text "what" },\n}\n'}, "routes/lab/z.lua", 1, ["notes"]),
    ("a stored field of another type", {NOTES: NOTES_LUA.replace('integer "n"', 'text "n"')}, None, None,
     ["notes.n", "text", "integer"]),
    ("a wrong system file", {SYSTEM: "return { services = { lab = {}, clerk = {} }, servces = {} }\n"}, SYSTEM, 1,
     ["servces", "services"]),
    ("a system file that returns nothing", {SYSTEM: "local x = 1\n"}, SYSTEM, 1, ["nil", "table"]),
    ("two fields of one name", {NOTES: NOTES_LUA.replace('integer "n"', '\n      integer "what"')}, NOTES, 7, ["what"]),
    ("two events of one name", {"policies/lab/z.lua": 'return event "Noted" {\n  service = "clerk", key = { x = "id" }, '
                                'fields = { integer "id" },\n}\n'}, "policies/lab/z.lua", 1, ["Noted", NOTES]),
    ("a unique of no field", {NOTES: NOTES_LUA.replace('on_create', 'unique = { { "n" },\n      { "n", "waht" } },\n    on_create')},
     NOTES, 8, ["waht", "what"]),
    ("a finder of no field", {NOTES: NOTES_LUA.replace('on_create', 'finders = {\n      findByWhat = { "waht" } },\n    on_create')},
     NOTES, 8, ["findByWhat", "waht", "what"]),
    ("a wrong method of a resource", {NOTES: NOTES_LUA.replace('on_create', 'methods = { "GET", "PSOT" },\n    on_create')},
     NOTES, 7, ["PSOT", "POST"]),
    ("a route with a bad pattern", {VERSION: version(2).replace('"/slow"', '"/slow/{id"')}, VERSION, 7, ["/slow/{id"]),
    ("a route on a resource's path", {VERSION: version(2).replace('"/slow"', '"/notes/{number}"')}, VERSION, 7,
     ["GET", "/notes/{number}"]),
    ("an unknown budget", {COPIES: COPIES_LUA.replace("service =", 'budget = {\n    cpuu = 5 },\n  service =')}, COPIES, 3,
     ["cpuu", "cpu"]),
]

# Rows of what a system file says, and of views: each is the table behind `return` or a file that makes a view.
SETTINGS = """return {
  services = {
    lab = {},
    clerk = {},
  },
  breakers = {
    door = { timeout_ms = 500 },
  },
  gateway = {
    routes = {
      { path = "/notes/**", service = "lab" },
      { path = "/copies/**",
        service = "clerk" },
    },
  },
  http = { allow = { "example.org" } },
}
"""
SHELF = """return view "shelf" {
  service = "clerk",
  by = "note",
  fields = { integer "note", text "what" },
  on = {
    Noted = function(row, event) row.what = event.what end,
  },
}
"""


def setting(old, new):
    assert old in SETTINGS
    return {SYSTEM: SETTINGS.replace(old, new)}


def kept_for(time):
    return NOTES_LUA.replace("integer \"id\", text \"what\" } }", f"integer \"id\", text \"what\" }},\n    retention = {time} }}")


def shelf(old, new):
    assert old in SHELF
    return {"policies/lab/shelf.lua": SHELF.replace(old, new)}


WRONG += [
    ("a gateway route to no service", setting('service = "clerk"', 'service = "clrk"'), SYSTEM, 13, ["clrk", "clerk"]),
    ("a gateway route with a bad pattern", setting('"/notes/**"', '"notes"'), SYSTEM, 11, ["notes", "/"]),
    ("a gateway route with a bad segment", setting('"/copies/**"', '"/copies/a*b"'), SYSTEM, 12, ["a*b"]),
    ("an unknown option of a gateway route", setting('service = "clerk"', 'sevice = "clerk"'), SYSTEM, 13,
     ["sevice", "service"]),
    ("a gateway route without a target", setting(',\n        service = "clerk"', ""), SYSTEM, 12, ["service", "url"]),
    ("a gateway route with no such breaker", setting('service = "clerk"', 'service = "clerk", breaker = "dor"'), SYSTEM, 13,
     ["dor", "door"]),
    ("a gateway route with a rewrite that is no expression", setting('service = "clerk"',
     'service = "clerk", rewrite_path = { "(", "" }'), SYSTEM, 12, ["rewrite_path", "("]),
    ("an unknown part of the gateway", setting("routes = {", "cros = {}, routes = {"), SYSTEM, 10, ["cros", "cors"]),
    ("an unknown breaker setting", setting("timeout_ms", "timeot_ms"), SYSTEM, 7, ["timeot_ms", "timeout_ms"]),
    ("a breaker setting out of range", setting("timeout_ms = 500", "timeout_ms = -5"), SYSTEM, 7, ["door", "timeout_ms"]),
    ("a breaker setting of another type", setting("timeout_ms = 500", "timeout_ms = {}"), SYSTEM, 7, ["door", "timeout_ms"]),
    ("a breaker that is not declared", {**setting("door", "door"), VERSION: with_line(version(2), 2,
     'local x = breaker "dor"')}, VERSION, 2, ["dor", "door"]),
    ("a service's url that is none", setting("lab = {}", 'lab = { url = "example.org" }'), SYSTEM, 3,
     ["services.lab.url", "http://HOST:PORT", "example.org"]),
    ("a service's url with a path", setting("lab = {}", 'lab = { url = "http://127.0.0.1:80/x" }'), SYSTEM, 3,
     ["services.lab.url", "http://HOST:PORT"]),
    ("an unknown option of a service", setting("clerk = {}", 'clerk = { stroe = "sqlite" }'), SYSTEM, 4, ["stroe", "store"]),
    ("a store that is none", setting("clerk = {}", 'clerk = { store = "postgres" }'), SYSTEM, 4, ["postgres", "sqlite"]),
    ("a resource of a service in memory", setting("clerk = {}", 'clerk = { store = "memory" }'), NOTES, 10,
     ["clerk", "memory"]),
    ("an allowed host that is none", setting('"example.org"', '"http://example.org/x"'), SYSTEM, 16, ["http.allow"]),
    ("a service of the host's name", setting("lab = {}", "lab = {}, moontide = {}"), SYSTEM, 3, ["moontide"]),
    ("a view by no field", shelf('by = "note"', 'by = "notes"'), "policies/lab/shelf.lua", 3, ["notes", "note"]),
    ("a view by a field that the event lacks", shelf('by = "note"', 'by = { note = { Noted = "idd" } }'),
     "policies/lab/shelf.lua", 3, ["idd", "id", "Noted"]),
    ("a view of no event", shelf("Noted = f", "Notde = f"), "policies/lab/shelf.lua", 6, ["Notde", "Noted"]),
    ("a view with what it cannot have", shelf("by =", "handle = function() end, by ="),
     "policies/lab/shelf.lua", 3, ["handle"]),
    ("a view among routes", {"routes/lab/shelf.lua": SHELF}, "routes/lab/shelf.lua", 1, ["shelf", "folder"]),
    ("a use of what is not there", {VERSION: with_line(version(2), 2, 'local x = use "lib.nosuch"')}, VERSION, 2,
     ["lib.nosuch"]),
    ("a use that is misspelt", {"lib/money.lua": "return { vat = 19 }\n",
     VERSION: with_line(version(2), 2, 'local x = use "lib.mony"')}, VERSION, 2, ['did you mean "lib.money"']),
    ("a use without its folder", {"lib/money.lua": "return { vat = 19 }\n",
     VERSION: with_line(version(2), 2, 'local x = use "money"')}, VERSION, 2, ['did you mean "lib.money"']),
    ("a policy without a name", {COPIES: "-- copies\n" + COPIES_LUA.replace(' "clerk copies notes"', "")}, COPIES, 2,
     ["policy", "a name in quotes"]),
    ("a policy without its table", {COPIES: 'return policy "clerk copies notes"\n'}, COPIES, 1, ['policy "name" { ... }']),
    ("a policy with parentheses", {COPIES: 'return policy("clerk copies notes", { service = "clerk" })\n'}, COPIES, 1,
     ['write policy "clerk copies notes" { ... }', "parentheses"]),
    ("a field with parentheses", {NOTES: NOTES_LUA.replace('integer "n"', 'integer("n", { min = 1 })')}, NOTES, 6,
     ['write integer "n" { ... }', "parentheses"]),
    ("a missing comma", {COPIES: COPIES_LUA.replace('"clerk",', '"clerk"')}, COPIES, 3,
     ["near 'on'; is a comma missing before it?"]),
    ("a type of other languages", {NOTES: NOTES_LUA.replace('integer "n"', 'int "n"')}, NOTES, 6,
     ["`int`", 'write integer "name"']),
    ("string for text", {NOTES: NOTES_LUA.replace('integer "n"', 'string "n"')}, NOTES, 6, ["`string`", 'write text "name"']),
    ("a retention of nothing", {NOTES: kept_for("0")}, NOTES, 3, ['event "Noted"', "retention", "above 0", '"30d"']),
    ("a negative retention", {NOTES: kept_for("-1")}, NOTES, 3, ["retention", "above 0"]),
    ("a retention that is no duration", {NOTES: kept_for('"30 days"')}, NOTES, 3, ["retention", "duration"]),
    ("a retention of another type", {NOTES: kept_for("true")}, NOTES, 3, ["retention", "string", "number"]),
    ("a retention that is misspelt", {NOTES: kept_for('"30d"').replace("retention", "retentoin")}, NOTES, 3,
     ["retentoin", "retention"]),
    ("a retention of what a view in memory is made of", {**setting("clerk = {}", 'clerk = { store = "memory" }'),
     NOTES: kept_for('"30d"').replace('resource "copies" { service = "clerk"', 'resource "copies" { service = "lab"'),
     "policies/lab/shelf.lua": SHELF}, NOTES, 3,
     ['event "Noted"', 'view "shelf" (scripts/policies/lab/shelf.lua:1)', "kept in memory", "take the retention away",
      'store = "sqlite"']),
    ("a resource among policies", {"policies/lab/z.lua": 'return resource "slips" {\n  service = "lab", '
     'fields = { text "what" },\n}\n'}, "policies/lab/z.lua", 1, ["its place is scripts/routes/lab/z.lua"]),
]


def refused(server, query=""):
    answer = server.admin("POST", "/admin/reload" + query)
    assert answer.status == 422, answer
    assert answer.headers["Content-Type"].startswith("application/problem+json"), answer.headers.all
    assert answer.json["status"] == 422 and answer.json["code"] and len(answer.json["errors"]) == 1, answer
    return answer.json["errors"][0]


def restore(server, files):
    for path in files:
        if path not in LAB:
            remove(server, path)
    write_files(server.scripts, LAB)


@case("RULES-2a each wrong tree is 422 with file, line and words; the old rules run on, the generation stays", seconds=120)
def wrong():
    server = lab()
    server.request("POST", "/notes", {"what": "a", "n": 1})
    eventually(lambda: len(server.rows("/copies")) == 1, "the first copy")
    before, defects = generations(server), []
    for what, files, path, line, words in WRONG:
        write_files(server.scripts, files)
        for query in ("", "?dry_run=true"):
            error = refused(server, query)
            if path and error["file"] != f"scripts/{path}":
                defects.append(f"{what}: file {path} wanted: {error}")
            if line and error["line"] != line:
                defects.append(f"{what}: line {line} wanted: {error}")
            defects += [f"{what}: no {word} in {error}" for word in words if word not in error["message"]]
        assert shown(server) == 1, what
        assert generations(server) == before, what
        restore(server, files)
    assert not defects, "\n".join(defects)
    assert server.request("POST", "/notes", {"what": "b"}).status == 201
    eventually(lambda: len(server.rows("/copies")) == 2, "the old policy runs on")
    assert reload(server)["generation"] == before[0]["number"] + 1


@case("RULES-2a a policy that vanishes with held events is refused with its file and line, over a restart too")
def vanished():
    folder = "policies/lab/more.lua"
    failing = '\nreturn policy "second" {\n  service = "clerk", on = "Noted",\n  handle = function() error("not yet") end,\n}\n'
    server = lab({folder: failing})
    server.request("POST", "/notes", {"what": "a"})
    server.wait_log(msg="policy failed")
    remove(server, folder)
    error = refused(server)
    assert (error["file"], error["line"]) == (f"scripts/{folder}", 2), error
    for word in ('"second"', "1 held event", "renamed_from"):
        assert word in error["message"], error
    assert refused(server, "?dry_run=true") == error and active(server) == 1
    write_files(server.scripts, {folder: failing.replace("second", "third")})
    assert '"second"' in refused(server)["message"]
    server.restart()
    assert active(server) == 1, "the last good generation runs"
    assert any('"second"' in e["error"] and f"scripts/{folder}:2" in e["error"]
               for e in server.log_lines(level="error")), server.tail()
    write_files(server.scripts, {folder: failing.replace("second", "third").replace(
        "on =", 'renamed_from = "second", on =').replace('error("not yet")', 'store.create("copies", { noteId = 77 })')})
    reload(server)
    eventually(lambda: 77 in [row["noteId"] for row in server.rows("/copies")], "the new name has the held event")
    eventually(lambda: all(policy["held"] == 0 for service in server.admin("GET", "/admin/services").json["services"]
                           for policy in service["policies"]), "nothing is held")
    remove(server, folder)
    reload(server)


def data_of(server):
    """Every file of the data folder: when it was written, and its bytes. A server at rest writes nothing."""
    found = {}
    for folder, _, names in os.walk(server.data):
        for name in names:
            path = os.path.join(folder, name)
            with open(path, "rb") as file:
                found[path] = (os.stat(path).st_mtime_ns, file.read())
    return found


@case("RULES-7a moontide check says of each wrong tree what a reload says, exits with 3 and touches nothing", seconds=120)
def check_says_the_same():
    server = lab()
    data, stored = server.data, ["a stored field of another type"]  # found by a reload: a check has no data to look at
    before, defects = data_of(server), []
    for what, files, *_ in WRONG:
        write_files(server.scripts, files)
        error = refused(server, "?dry_run=true")
        code, out, said = command("check", "lab", "--scripts", server.scripts, "--data", data)
        place = error["file"] + (f":{error['line']}" if error.get("line") else "")
        if what in stored:
            if code != 0:
                defects.append(f"{what}: {code} {said}")
        elif code != 3 or out or not said.startswith(f"moontide: {place}: {error['message']}\n"):
            defects.append(f"{what}: {code} {out}{said} instead of {place}: {error['message']}")
        restore(server, files)
    assert not defects, "\n".join(defects)
    code, out, said = command("check", "lab", "--scripts", server.scripts, "--data", data)
    assert (code, said) == (0, "") and out.startswith("lab: 4 files, 2 services"), (code, out, said)
    assert data_of(server) == before
    nowhere = os.path.join(temp_dir(), "nowhere")
    assert command("check", "lab", "--scripts", server.scripts, "--data", nowhere)[0] == 0
    assert not os.path.exists(nowhere)


if __name__ == "__main__":
    main()
