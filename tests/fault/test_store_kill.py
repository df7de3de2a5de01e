# SPDX-License-Identifier: MIT
# timeout: 240
"""Crashes while the store is rebuilt, copied or cleaned, under load: keyed orders are sent again until they are
answered, each is there once, and so is all that follows from it."""
import collections
import contextlib
import itertools
import os
import shutil
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import (Server, binary, case, command, environment, eventually, main, note, rng,  # noqa: E402
                     temp_dir, write_files)
from shop import assert_each_once  # noqa: E402
from wire import Connection  # noqa: E402

ROUNDS = int(os.environ.get("MOONTIDE_TEST_ROUNDS", "4"))
SHOP = "routes/lab/shop.lua"
FILES = {
    "systems/lab.lua": 'return { services = { shop = {}, book = {}, desk = { store = "memory" } } }\n',
    "policies/lab/entries.lua": """return policy "entry" { service = "book", on = "Placed", handle = function(event)
      store.create("entries", { order = event.order })
    end }
    """,
    "policies/lab/boards.lua": """return view "boards" { service = "desk", by = "order",
      fields = { integer "order", integer "seen" { default = 0 } },
      on = { Placed = function(row) row.seen = row.seen + 1 end },
    }
    """,
}


def shop(*fields, more=""):
    """The orders with these fields beside the number; `name` is the one that keeps changing its name."""
    lines = "".join(f"        {field},\n" for field in fields)
    return f"""return {{
      event "Placed" {{ service = "shop", key = {{ order = "order" }}, fields = {{ integer "order" }} }},
      resource "entries" {{ service = "book", fields = {{ integer "order" }} }},
      resource "orders" {{ service = "shop",
        fields = {{ integer "number",
{lines}        }},
        on_create = function(order) bus.emit("Placed", {{ order = order.id }}) end,
{more}      }},
    }}
    """


# Each adds, drops or renames something that the one before had, and back again.
SHAPES = (
    shop('text "a"'),
    shop('text "a" { index = true }', 'integer "b" { index = true }'),
    shop('text "c" { renamed_from = "a", index = true }', 'integer "b"', more='unique = { { "number" } },\n'),
    shop('text "c" { renamed_from = "a" }', 'integer "b" { index = true }', 'decimal(2) "d" { default = "1.50" }',
         more='unique = { { "number" } },\n'),
)


class Buyers:
    """Threads that send each order under a key of its own until it is answered, through every crash."""

    def __init__(self, server, count=6):
        self.server, self.answers, self.refused = server, {}, collections.Counter()
        self.again = 0                   # sent more than once
        self._over = threading.Event()
        self._lock, self._number = threading.Lock(), 0
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def _run(self):
        while not self._over.is_set():
            with self._lock:
                self._number += 1
                number = self._number
            self._order(number)

    def _order(self, number):
        """Goes on until there is an answer, also when it is time to leave."""
        deadline, tries = time.monotonic() + 40, 0
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError, AssertionError, ValueError, TypeError, AttributeError):
                tries += 1
                with Connection(self.server.gateway, 20) as connection:
                    answer = connection.request("POST", "/orders", {"number": number},
                                                {"Idempotency-Key": f"order-{number}"})
                if answer.status == 201:
                    self.again += tries > 1
                    self.answers[number] = answer
                    return
                self.refused[answer.status] += 1
            time.sleep(0.01)

    def leave(self):
        self._over.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), "somebody still waits for an answer"


def repeat_all(server, answers, count=50):
    """What was answered is answered again, word for word."""
    with server.connect() as connection:
        for number in sorted(answers)[-count:]:
            again = connection.request("POST", "/orders", {"number": number}, {"Idempotency-Key": f"order-{number}"})
            assert again.status == 201 and again.body == answers[number].body, (number, again, answers[number])
            assert again.headers["Idempotency-Replayed"] == "true", again.headers


def check(server, numbers, seconds=40):
    """All these orders are there, each once, and all there are have one entry and one row on the board."""
    orders = server.rows("/orders")
    assert_each_once("orders", collections.Counter(row["number"] for row in orders), {row["number"] for row in orders})
    lost = set(numbers) - {row["number"] for row in orders}
    assert not lost, f"{len(lost)} acknowledged orders are lost, for instance {min(lost)}"
    ids = {row["id"] for row in orders}
    eventually(lambda: len(server.rows("/entries")) >= len(ids) and len(server.rows("/boards")) >= len(ids),
               "every order has its entry", seconds)
    assert_each_once("entries", collections.Counter(row["order"] for row in server.rows("/entries")), ids)
    board = server.rows("/boards")
    assert_each_once("boards", collections.Counter(row["order"] for row in board), ids)
    assert all(row["seen"] == 1 for row in board), [row for row in board if row["seen"] != 1][:3]
    assert_each_once("events", collections.Counter(e["payload"]["order"] for e in server.events(type="Placed")), ids)
    assert server.letters() == []
    return orders


def lab(**options):
    scripts = temp_dir()
    write_files(scripts, {SHOP: SHAPES[0], **FILES})
    options.setdefault("args", ["--workers", "2"])
    return Server("lab", scripts=scripts, **options)


class Mischief:
    """A thread that does the same thing again and again to a server that may die meanwhile."""

    def __init__(self, act):
        self._act, self.done, self._over = act, 0, threading.Event()
        self.failed = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while not self._over.is_set():
            try:
                self.done += bool(self._act(self.done))
            except (OSError, ValueError, TypeError, AttributeError):  # the server is away
                time.sleep(0.01)
            except AssertionError as error:
                self.failed = self.failed or error

    def end(self):
        self._over.set()
        self._thread.join(60)
        assert not self._thread.is_alive()
        if self.failed:
            raise self.failed


def crashes(server, buyers, act):
    """Some rounds of killing while somebody acts and the buyers buy; they have left then."""
    chance, mischief = rng(), Mischief(act)
    for _ in range(ROUNDS):
        time.sleep(chance.uniform(0.05, 0.5))  # the random moment itself: nothing is waited for
        assert server.running(), f"it ended by itself\n{server.tail()}"
        server.kill9()
        server.start()
    eventually(lambda: mischief.done > 0, "it was done at least once")
    mischief.end()
    buyers.leave()
    note(f"{len(buyers.answers)} orders, {buyers.again} sent again, {mischief.done} times done, {dict(buyers.refused)}")
    assert buyers.again > 0, "nothing was sent again"


@case("RULES-3c kill -9 while reloads add columns and indexes and rename, under keyed orders: each once (G1, G3, G8)")
def reloads():
    server = lab()
    buyers, turns = Buyers(server), itertools.count(1)

    def reload(_):
        write_files(server.scripts, {SHOP: SHAPES[next(turns) % len(SHAPES)]})
        answer = server.admin("POST", "/admin/reload")
        assert answer.status == 200, answer
        return True
    crashes(server, buyers, reload)
    orders = check(server, buyers.answers)
    repeat_all(server, buyers.answers)
    server.restart()
    assert {row["id"] for row in check(server, buyers.answers)} == {row["id"] for row in orders}


@case("SHOP-4c kill -9 while a service stops and starts under keyed orders: whatever it missed it makes up for, each once")
def stops():
    server = lab()
    buyers = Buyers(server)

    def toggle(done):
        word = "start" if done % 2 else "stop"
        return server.admin("POST", f"/admin/services/book/{word}", seconds=40).status == 200
    crashes(server, buyers, toggle)
    server.start_service("book")
    check(server, buyers.answers)
    repeat_all(server, buyers.answers)


@case("SHOP-7j backups under keyed orders and kill -9: each has all that was answered before it, each once (G1, G3)")
def backups():
    server, folder, made = lab(), temp_dir(), []
    buyers = Buyers(server)

    def back_up(done):
        file, before = os.path.join(folder, f"{len(os.listdir(folder))}.db"), list(buyers.answers)
        code, _, err = command("backup", file, "--data", server.data)
        assert code == 0, err
        made.append((file, before))
        return True
    crashes(server, buyers, back_up)
    check(server, buyers.answers)
    server.stop()
    for file, before in (made[len(made) // 2], made[-1]):
        os.mkdir(file + ".data")
        shutil.copy(file, os.path.join(file + ".data", "moontide.db"))
        restored = lab(data=file + ".data")
        check(restored, before)
        repeat_all(restored, {number: buyers.answers[number] for number in before})
        restored.stop()


@case("SHOP-7j a backup restored over the folder of a killed process is refused, and works once the rest is removed")
def restored_over():
    server, file = lab(), os.path.join(temp_dir(), "copy.db")
    buyers = Buyers(server)
    eventually(lambda: len(buyers.answers) > 30, "orders")
    before = dict(buyers.answers)
    assert command("backup", file, "--data", server.data)[0] == 0
    buyers.leave()
    server.kill9()
    assert os.path.getsize(os.path.join(server.data, "moontide.db-wal")) > 0
    shutil.copy(file, os.path.join(server.data, "moontide.db"))
    server.start(wait=False)
    assert server.wait_exit() == 78 and "which is a backup: put the backup into an empty folder" in server.stderr()
    code, _, err = command("backup", file + "2", "--data", server.data)
    assert code == 1 and "which is a backup" in err, err
    for name in ("moontide.db-wal", "moontide.db-shm"):
        os.unlink(os.path.join(server.data, name))
    server.start()
    check(server, before)
    repeat_all(server, before)


def prune_args(server, backup):
    return ["schema", "prune", "--backup", backup, "--data", server.data]


@case("RULES-3g kill -9 while schema prune drops: all of it or nothing, never without its backup")
def prune():
    server, folder, dropped = lab(), temp_dir(), 0
    buyers = Buyers(server)
    eventually(lambda: len(buyers.answers) > 30, "orders")
    for shape in (SHAPES[3], shop('integer "b"')):
        write_files(server.scripts, {SHOP: shape})
        answer = server.admin("POST", "/admin/reload")
        assert answer.status == 200, answer
    buyers.leave()
    server.stop()
    master, chance = os.path.join(folder, "master"), rng()
    shutil.copytree(server.data, master)
    began = time.monotonic()
    code, out, err = command(*prune_args(server, os.path.join(folder, "whole.db")))
    took = time.monotonic() - began
    assert code == 0 and out.count("dropped column") == 2, (code, out, err)
    for number in range(2 * ROUNDS):
        shutil.rmtree(server.data)
        shutil.copytree(master, server.data)
        backup = os.path.join(folder, f"{number}.db")
        process = subprocess.Popen([binary(), *prune_args(server, backup)], stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL, env=environment())
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(took * chance.uniform(0.3, 1.2))
        process.kill()
        process.wait(30)
        code, out, err = command("schema", "prune", "--dry-run", "--data", server.data)
        left = out.count("would drop")
        assert code == 0 and left in (0, 2), (code, out, err)
        assert left == 2 or os.path.exists(backup), "dropped without a backup"
        dropped += left == 0
    server.start()
    check(server, buyers.answers)
    note(f"{dropped} of {2 * ROUNDS} were done before they were killed")


if __name__ == "__main__":
    main()
