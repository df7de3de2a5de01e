# SPDX-License-Identifier: MIT
# timeout: 600
"""Generations under load: each request and each try sees one of them whole, and no event is lost or repeated by a switch."""
import collections
import os
import re
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import Server, case, eventually, main, note, rng, temp_dir, write_files  # noqa: E402

SYSTEM = "systems/twin.lua"
HERE, THERE = "routes/twin/here.lua", "routes/twin/there.lua"
NUMBER = "lib/number.lua"
WITNESS = "policies/twin/clerk_copies_notes.lua"
SECOND = "policies/twin/late.lua"


def here(number):
    return f"""local NUMBER = {number}
local shared = use "lib.number"

return {{
  -- What this file, a library and the other service say, in one request.
  route "version" {{ service = "desk", method = "GET", path = "/version",
    handle = function()
      local before = shared.number
      local there = http.get("http://clerk/there").body
      return {{ here = NUMBER, shared = before, there = there.number }}
    end }},

  event "Noted" {{ service = "desk", key = {{ note = "id" }}, fields = {{ integer "id", integer "version" }} }},

  resource "notes" {{
    service = "desk",
    fields = {{ text "what", integer "version" }},
    before_create = function(row) row.version = NUMBER end,
    on_create = function(row)
      if row.version ~= shared.number then fail(500, "two generations in one request") end
      bus.emit("Noted", row)
    end,
  }},
}}
"""


def there(number, fields=""):
    return f"""local NUMBER = {number}

return {{
  route "there" {{ service = "clerk", method = "GET", path = "/there",
    handle = function()
      task.sleep(1)
      return {{ number = NUMBER }}
    end }},

  resource "copies" {{
    service = "clerk",
    fields = {{ integer "noteId", integer "version", text "by"{fields} }},
  }},
}}
"""


def witness(name="clerk copies notes"):
    return f"""local shared = use "lib.number"
local NUMBER = shared.number

return policy "{name}" {{
  service = "clerk",
  on = "Noted",
  handle = function(event)
    local there = http.get("http://clerk/there").body
    store.create("copies", {{ noteId = event.id, version = there.number, by = "{name}" }})
    if there.number ~= NUMBER then fail(500, "two generations in one try") end
  end,
}}
"""


def tree(number):
    return {HERE: here(number), THERE: there(number), NUMBER: f"return {{ number = {number} }}\n"}


def twin(**options):
    folder = temp_dir()
    write_files(folder, {SYSTEM: "return { services = { desk = {}, clerk = {} } }\n", WITNESS: witness(), **tree(1)})
    return Server("twin", scripts=folder, **options)


def reload(server):
    answer = server.admin("POST", "/admin/reload")
    assert answer.status == 200, answer
    return answer.json


class Load:
    """Clients that ask for the version and write notes, and remember what they were told."""

    def __init__(self, server, count=6, broken_ok=False, rest=0):
        self.server, self.broken_ok, self.rest = server, broken_ok, rest
        self.asked, self.notes, self.wrong, self.broken = 0, [], [], 0
        self._open, self._over = threading.Event(), threading.Event()
        self._open.set()
        self.threads = [threading.Thread(target=self._run, daemon=True) for _ in range(count)]
        for thread in self.threads:
            thread.start()

    def _run(self):
        while not self._over.is_set():
            if not self._open.wait(0.05):
                continue
            try:
                with self.server.connect() as connection:
                    while self._open.is_set() and not self._over.is_set():
                        self._ask(connection)
                        if self.rest:
                            self._over.wait(self.rest)
            except (OSError, ValueError, AssertionError, AttributeError) as error:  # no address: it starts
                self.broken += 1
                if not self.broken_ok:
                    self.wrong.append(error)
                self._over.wait(0.01)

    def _ask(self, connection):
        answer = connection.request("GET", "/version")
        self.asked += 1
        if answer.status != 200 or len(answer.json) != 3 or len(set(answer.json.values())) != 1:
            self.wrong.append(answer)
        answer = connection.request("POST", "/notes", {"what": "x"})
        if answer.status == 201:
            self.notes.append(answer.id)
        else:
            self.wrong.append(answer)

    def pause(self):
        self._open.clear()

    def go_on(self):
        self._open.set()

    def leave(self):
        self._over.set()
        for thread in self.threads:
            thread.join(60)
            assert not thread.is_alive(), "a client still waits for an answer"
        assert not self.wrong, f"{len(self.wrong)} wrong answers, the first: {self.wrong[0]!r}"


def ids(server, path):
    return server.rows(path)


def settled(server):
    """True once no policy has anything left to do."""
    services = server.admin("GET", "/admin/services").json["services"]
    return all(p["behind"] == 0 and p["open"] == 0 for s in services for p in s["policies"])


def copied(server, by="clerk copies notes"):
    return collections.Counter(row["noteId"] for row in ids(server, "/copies") if row["by"] == by)


def assert_each_once(server, notes, by="clerk copies notes"):
    eventually(lambda: settled(server), "every policy is at the end of the log", 60)
    counted = copied(server, by)
    twice = [number for number, n in counted.items() if n > 1]
    missing = set(notes) - set(counted)
    assert not twice, f"{by}: {len(twice)} notes were copied twice, for instance {twice[0]}"
    assert not missing, f"{by}: {len(missing)} notes were not copied, for instance {min(missing)}"
    letters = server.admin("GET", "/admin/letters").json["letters"]
    assert letters == [], letters[:3]
    return counted


def memory_mib(server):
    with open(f"/proc/{server.process.pid}/status", encoding="utf-8") as file:
        return int(re.search(r"VmRSS:\s+(\d+) kB", file.read()).group(1)) / 1024


# What sanitizers keep of freed memory would hide what the host keeps.
SMALL = {"ASAN_OPTIONS": "detect_leaks=1:halt_on_error=1:quarantine_size_mb=1:thread_local_quarantine_size_kb=64",
         "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1"}


RELOADS = 1000


@case("RULES-2b 1,000 reloads under load: no failed request, none that saw two generations, memory back where it was",
      seconds=300)
def many():
    server = twin(args=["--workers", "2"], env=SMALL)
    load = Load(server, count=4, rest=0.03)  # reloads take the most of the time
    last, before = RELOADS + 1, 0
    for number in range(2, last + 1):
        write_files(server.scripts, tree(number))
        assert reload(server)["generation"] == number
        if number == 31:
            load.pause()
            eventually(lambda: settled(server), "a first pause", 60)
            before = memory_mib(server)
            load.go_on()
    load.leave()
    counted = assert_each_once(server, load.notes)
    answer = server.request("GET", "/version").json
    assert answer == {"here": last, "shared": last, "there": last}, answer
    rows = ids(server, "/notes")
    assert len({row["version"] for row in rows}) > 20, "hardly any generation saw a request"
    after = memory_mib(server)
    note(f"{load.asked} requests, {len(counted)} notes; {before:.0f} MiB after 30 reloads, {after:.0f} MiB after {RELOADS}")
    assert after < before * 1.25 + 30, f"{before:.0f} MiB after 30 reloads, {after:.0f} MiB after {RELOADS}"
    assert server.stop() == 0


class Reloads:
    """Writes the next version of the tree and reloads, again and again, whatever becomes of the server."""

    def __init__(self, server, number, broken):
        self.server, self.number, self.broken, self.good = server, number, broken, 0
        self._over = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while not self._over.is_set():
            self.number += 1
            write_files(self.server.scripts, tree(self.number))
            try:
                self.good += self.server.admin("POST", "/admin/reload").status == 200
            except (OSError, ValueError, AssertionError, AttributeError):
                break  # it was killed

    def end(self):
        self._over.set()
        self.thread.join(60)
        if self.broken:
            write_files(self.server.scripts, {THERE: "return {\n"})


@case("G5 kill -9 during reloads under load, 10 rounds: the tree or the last good generation runs, nothing is lost",
      seconds=240)
def killed():
    chance = rng()
    server = twin(args=["--workers", "2"])
    load = Load(server, broken_ok=True)
    number, reloads = 1, 0
    for round_number in range(10):
        running = Reloads(server, number, broken=round_number % 2 == 1)
        time.sleep(chance.uniform(0.1, 0.8))  # the random moment itself: nothing is waited for
        assert server.running(), f"it ended by itself\n{server.tail()}"
        assert server.kill9() == -9
        load.pause()
        running.end()
        number, reloads = running.number, reloads + running.good
        server.start()
        answer = server.request("GET", "/version").json
        assert len(set(answer.values())) == 1, answer
        if running.broken:
            assert answer["here"] <= number and server.log_lines(level="error"), (answer, number)
            write_files(server.scripts, tree(number))
        else:
            assert answer["here"] == number, (answer, number)
        load.go_on()
    eventually(lambda: len(load.notes) > 20, "notes are taken")
    load.leave()
    assert reloads >= 10, f"only {reloads} reloads"
    there_now = {row["id"] for row in ids(server, "/notes")}
    lost = set(load.notes) - there_now
    assert not lost, f"{len(lost)} acknowledged notes are lost, for instance {min(lost)}"
    assert set(assert_each_once(server, there_now)) == there_now
    numbers = [g["number"] for g in server.admin("GET", "/admin/generations").json["generations"]]
    assert numbers == sorted(set(numbers), reverse=True), numbers
    note(f"{len(load.notes)} notes acknowledged, {len(there_now)} there, {reloads} reloads")
    assert server.stop() == 0


def wait_notes(load, more):
    enough = len(load.notes) + more
    eventually(lambda: len(load.notes) >= enough, f"{more} more notes")


@case("G3 a policy that vanishes and returns misses nothing and repeats nothing", seconds=120)
def returns():
    server = twin(args=["--workers", "4"])
    load = Load(server, broken_ok=True)
    for round_number in range(6):
        wait_notes(load, 20)
        os.remove(os.path.join(server.scripts, WITNESS))
        reload(server)
        wait_notes(load, 20)
        if round_number == 3:
            server.restart()
        write_files(server.scripts, {WITNESS: witness()})
        reload(server)
    wait_notes(load, 20)
    load.leave()
    there_now = {row["id"] for row in ids(server, "/notes")}
    assert set(load.notes) <= there_now
    assert set(assert_each_once(server, there_now)) == there_now
    assert server.stop() == 0


@case("G3 while a policy is away its events wait for it, and it begins where it left off")
def away():
    server = twin()
    first = [server.request("POST", "/notes", {"what": "a"}).id for _ in range(5)]
    assert_each_once(server, first)
    os.remove(os.path.join(server.scripts, WITNESS))
    reload(server)
    second = [server.request("POST", "/notes", {"what": "b"}).id for _ in range(5)]
    assert set(copied(server)) == set(first)
    server.restart()
    assert set(copied(server)) == set(first)
    write_files(server.scripts, {WITNESS: witness()})
    reload(server)
    eventually(lambda: set(copied(server)) == set(first + second), "what it missed")
    assert_each_once(server, first + second)


@case("G3 a new policy starts at the switch: it has nothing from before and all from after", seconds=120)
def starts():
    server = twin(args=["--workers", "4"])
    load = Load(server)
    wait_notes(load, 50)
    before = list(load.notes)
    write_files(server.scripts, {SECOND: witness("late")})
    reload(server)
    known = len(load.notes)
    wait_notes(load, 50)
    load.leave()
    # A note may have been under way when the switch came, one a client; those after it were not.
    after = load.notes[known + len(load.threads):]
    counted = assert_each_once(server, after, by="late")
    early = set(before) & set(counted)
    assert not early, f"{len(early)} notes from before the switch"
    everything = {row["id"] for row in ids(server, "/notes")}
    assert set(assert_each_once(server, everything)) == everything
    by_seq = [int(e["key"].split("/")[1]) for e in server.events(type="Noted")]
    begin = min(by_seq.index(number) for number in counted)
    assert set(by_seq[begin:]) == set(counted), "it has a gap"


@case("RULES-1d a field added by a reload is in the rows, old ones and new ones, and stays over a restart")
def field():
    server = twin()
    old = server.request("POST", "/notes", {"what": "a"}).id
    assert_each_once(server, [old])
    write_files(server.scripts, {THERE: there(1, ', text "colour" { default = "red" }, integer "weight"')})
    answer = reload(server)
    assert len(answer["changes"]) == 2 and all("copies." in change for change in answer["changes"]), answer
    row = ids(server, "/copies")[0]
    assert row["weight"] is None and "colour" in row, row
    made = server.request("POST", "/copies", {"noteId": 5, "weight": 7})
    assert made.status == 201, made
    for _ in range(2):
        row = server.request("GET", f"/copies/{made.id}").json
        assert (row["colour"], row["weight"]) == ("red", 7), row
        server.restart()
    write_files(server.scripts, {THERE: there(1)})
    assert reload(server)["changes"] == ["hide column copies.colour", "hide column copies.weight"]
    assert "weight" not in ids(server, "/copies")[0], "a field that is no longer declared is hidden"
    write_files(server.scripts, {THERE: there(1, ', text "colour" { default = "red" }, integer "weight"')})
    assert reload(server)["changes"] == []
    assert server.request("GET", f"/copies/{made.id}").json["weight"] == 7


if __name__ == "__main__":
    main()
