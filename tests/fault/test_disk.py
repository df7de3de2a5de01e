# SPDX-License-Identifier: MIT
# timeout: 300
"""The disk and what lies on it: full, locked, foreign, from a newer version; and ports that are taken."""
import hashlib
import os
import shutil
import socket
import sqlite3
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import Server, at_end, case, command, eventually, main, note, request, skip, temp_dir  # noqa: E402
from shop import ORDER, Customers, check_invariants, rows  # noqa: E402

CONFIG = 78  # exit code: bad configuration
DATA_FILE = "moontide.db"


def small_disk(megabytes):
    """A mounted tmpfs that goes away with the case."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        skip("a small tmpfs can only be mounted as root; store/sqlite unit cases fill the disk through the failing VFS")
    folder = temp_dir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", folder], capture_output=True,
                          text=True, check=False)
    if done.returncode != 0:
        skip(f"no tmpfs can be mounted here ({done.stderr.strip()}); store/sqlite unit cases fill the disk through the "
             "failing VFS")
    at_end(lambda: subprocess.run(["umount", folder], check=True))
    note(f"on a real tmpfs of {megabytes} MB")
    return folder


class Filler:
    """A file that takes what is left of a disk, again and again."""

    def __init__(self, folder):
        self.path = os.path.join(folder, "filler")

    def fill(self):
        with open(self.path, "ab", buffering=0) as file:
            for size in (1 << 16, 1 << 12, 1 << 9, 1):
                while True:
                    try:
                        if file.write(b"x" * size) < size:
                            break
                    except OSError:
                        break

    def remove(self):
        os.unlink(self.path)


@case("PATH-7d disk full: 507, reads go on, nothing acknowledged is lost, and it recovers without a restart (G1)",
      seconds=180)
def disk_full():
    disk = small_disk(24)
    server = Server("bookmarket", data=os.path.join(disk, "data"))
    filler, customers = Filler(disk), Customers(server, 4)
    pid = server.process.pid
    for fillings in range(1, 4):
        customers.open()
        enough = len(customers.accepted) + 50
        eventually(lambda enough=enough: len(customers.accepted) > enough, "orders are accepted")
        refused = customers.refused[507]

        def full(refused=refused):
            filler.fill()
            return customers.refused[507] >= refused + 20
        eventually(full, "writes are answered with 507", 60)
        answer = server.request("POST", "/orders", ORDER)
        assert answer.status == 507, f"filling {fillings}: {answer}"
        assert answer.json["code"] == "disk_full", answer
        known = customers.accepted[-1]
        assert server.request("GET", f"/orders/{known}").id == known
        count = len(customers.accepted)
        assert len(rows(server, "/orders")) >= count
        assert server.admin("GET", "/admin/events?limit=1").status == 200
        customers.close()
        filler.remove()
        answer = eventually(lambda: (lambda a: a.status == 201 and a)(server.request("POST", "/orders", ORDER)),
                            "an order is accepted again")
        customers.accepted.append(answer.id)
    customers.leave()
    assert server.running() and server.process.pid == pid, "it was not the same process all the time"
    assert set(customers.refused) <= {507, 503}, dict(customers.refused)
    orders = check_invariants(server, customers.accepted)
    note(f"{len(customers.accepted)} orders acknowledged, {len(orders)} there, refused: {dict(customers.refused)}")
    server.kill9()
    server.start()
    assert check_invariants(server, customers.accepted) == orders


@case("PATH-7d kill -9 on a full disk: the next process starts once there is room, with all that was acknowledged",
      seconds=120)
def disk_full_crash():
    disk = small_disk(24)
    server = Server("bookmarket", data=os.path.join(disk, "data"))
    filler, customers = Filler(disk), Customers(server, 4)
    customers.open()
    eventually(lambda: len(customers.accepted) > 50, "orders are accepted")

    def full():
        filler.fill()
        return customers.refused[507] >= 5
    eventually(full, "writes are answered with 507", 60)
    server.kill9()
    customers.leave()
    filler.remove()
    server.start()
    check_invariants(server, customers.accepted)


@case("PATH-7d batches that fail midway are run again unit by unit: nothing is lost, each effect once")
def failing_batches():
    faults = ("writer.before_commit=fail@60", "writer.before_commit=fail@90", "writer.apply=fail@400",
              "writer.apply=fail@401")
    server = Server("bookmarket", args=["--workers", "4"], env={"MOONTIDE_FAULT": ",".join(faults)})
    customers = Customers(server)
    customers.open()
    eventually(lambda: len(customers.accepted) >= 600, "600 orders")
    customers.leave()
    assert server.log_lines(msg="batch runs again unit by unit"), server.tail()
    # A point that is passed again while a batch is run unit by unit fails that one unit: at most one a fault.
    assert sum(customers.refused.values()) <= len(faults), f"others failed with them: {dict(customers.refused)}"
    check_invariants(server, customers.accepted)


@case("PATH-7d a disk that refuses every commit: nothing is acknowledged, and nothing is there afterwards (G1, G2)")
def no_commit():
    server = Server("bookmarket")
    check_invariants(server, [])
    assert server.stop() == 0
    server.start(env={"MOONTIDE_FAULT": "writer.before_commit=fail@*"})
    for _ in range(30):
        answer = server.request("POST", "/orders", ORDER)
        assert answer.status == 500 and answer.json["code"] == "io", answer
    assert rows(server, "/orders") == [] and server.events() == []
    server.restart(env={})
    assert server.request("POST", "/orders", ORDER).status == 201
    orders = check_invariants(server, [])
    assert len(orders) == 1, orders


def assert_refuses(words, *args):
    """`moontide run ARGS` ends quickly, with 78 and one line that has all the words."""
    code, out, err = command("run", "bookmarket", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", *args,
                             seconds=20)
    assert code == CONFIG, f"exit code {code}\n{out}\n{err}"
    lines = [line for line in (out + "\n" + err).splitlines() if line.strip() and all(word in line for word in words)]
    assert len(lines) == 1, f"{len(lines)} lines with {words}:\n{out}\n{err}"
    errors = [line for line in out.splitlines() if '"level":"error"' in line] + err.splitlines()
    assert len(errors) <= 1, f"more than one line says that it failed:\n{out}\n{err}"


def digest(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def settled_folder():
    """A data folder with an order in it, not in use."""
    server = Server("bookmarket")
    assert server.request("POST", "/orders", ORDER).status == 201
    check_invariants(server, [1])
    assert server.stop() == 0
    return server


@case("PATH-7e a data folder that another process holds: one line that names it, exit code 78, and the other goes on")
def locked():
    server = Server("bookmarket")
    assert_refuses([server.data], "--data", server.data)
    assert server.request("POST", "/orders", ORDER).status == 201
    check_invariants(server, [1])
    server.kill9()
    server.start()  # a dead process holds nothing
    check_invariants(server, [1])


@case("PATH-7f a file of something else in the place of the data is refused with 78 and left alone")
def foreign():
    garbage = temp_dir()
    with open(os.path.join(garbage, DATA_FILE), "wb") as file:
        file.write(b"Dear diary, today nothing happened. " * 1000)
    stranger = temp_dir()
    with sqlite3.connect(os.path.join(stranger, DATA_FILE)) as db:
        db.execute("PRAGMA application_id = 4711")
        db.execute("CREATE TABLE diary (day TEXT)")
        db.execute("INSERT INTO diary VALUES ('monday')")
    db.close()
    for folder in (garbage, stranger):
        path = os.path.join(folder, DATA_FILE)
        before = digest(path)
        assert_refuses([path, "not a Moontide data file"], "--data", folder)
        assert digest(path) == before, "the stranger's file was changed"


def user_version(path, value=None):
    """The file's format number; sets a new one if given, as a newer program would."""
    db = sqlite3.connect(path)
    try:
        found = db.execute("PRAGMA user_version").fetchone()[0]
        if value is not None:
            db.execute(f"PRAGMA user_version = {value}")
            db.commit()
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return found
    finally:
        db.close()


@case("PATH-7g a data file of a newer version is refused with 78 and left alone; where it belongs it opens again")
def newer():
    server = settled_folder()
    path = os.path.join(server.data, DATA_FILE)
    known = user_version(path, 99)
    assert known < 99, known
    before = digest(path)
    assert_refuses([path, "newer"], "--data", server.data)
    assert digest(path) == before, "the file was changed"
    user_version(path, known)
    server.start()
    check_invariants(server, [1])


@case("PATH-7h a port that is taken, gateway's or admin's, is one line that names it and exit code 78")
def port_taken():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen(1)
        address = "127.0.0.1:%d" % other.getsockname()[1]
        assert_refuses([address], "--data", temp_dir(), "--listen", address)
        assert_refuses([address], "--data", temp_dir(), "--admin", address)


@case("PATH-7h a data folder that cannot be made or written is one line and exit code 78")
def no_folder():
    file = os.path.join(temp_dir(), "file")
    with open(file, "w", encoding="ascii") as made:
        made.write("not a folder\n")
    assert_refuses([file], "--data", os.path.join(file, "data"))
    server = Server("bookmarket")
    assert server.rows("/orders") == []


if __name__ == "__main__":
    main()
