# SPDX-License-Identifier: MIT
"""The command line: services, and what it says to mistakes."""
import contextlib
import json
import os
import re
import sqlite3
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import ROOT, Server, binary, case, command, environment, eventually, main, note, temp_dir  # noqa: E402


def ask(server, *words):
    code, out, err = command(*words, "--data", server.data)
    assert code == 0, (words, code, out, err)
    return out


def refused(*words):
    code, out, err = command(*words)
    assert code == 2 and out == "", (words, code, out, err)
    return err


@case("SHOP-7a services are listed, stopped and started, as text and as JSON")
def services():
    server = Server("bookmarket")
    assert ask(server, "services", "stop", "payment") == "payment is down\n"
    listed = ask(server, "services")
    assert [line.split()[:2] for line in listed.splitlines() if line.startswith("payment")] == [["payment", "down"]]
    found = json.loads(ask(server, "services", "list", "-o", "json"))["services"]
    assert [s["name"] for s in found if s["state"] != "up"] == ["payment"] and len(found) > 3, found
    assert json.loads(ask(server, "services", "start", "payment", "-o", "json")) == {"name": "payment", "state": "up"}
    assert ask(server, "services", "start", "payment") == "payment is up\n"
    code, out, err = command("services", "stop", "paymnet", "--data", server.data)
    assert (code, out) == (1, "") and 'did you mean "payment"?' in err, (code, out, err)
    code, out, err = command("services", "stop", "pay/ment?", "--data", server.data)
    assert (code, out) == (1, "") and "no service" in err, (code, out, err)


@case("SHOP-7b status tells system, version, uptime, generation, addresses, what is behind, letters, breakers, sizes")
def status():
    server = Server("bookmarket", args=["--workers", "2"])
    assert server.request("POST", "/orders", {"bookId": 10, "qty": 1, "customerId": 1002}).status == 201
    eventually(lambda: len(server.events()) == 4, "the order's events")
    ask(server, "services", "stop", "delivery")
    assert server.request("POST", "/orders", {"bookId": 10, "qty": 1, "customerId": 1002}).status == 201
    found = eventually(lambda: (lambda s: s["policies"]["behind"] > 0 and s["events"] == 7 and s["commitQueue"] == 0 and s)(
        json.loads(ask(server, "status", "-o", "json"))), "delivery is behind, and the rest has been written")
    code, version, _ = command("version")
    assert (code, version) == (0, f"moontide {found['version']}\n")
    assert (found["system"], found["ready"], found["workers"], found["pid"]) == \
        ("bookmarket", True, 2, server.process.pid), found
    assert (found["gateway"], found["admin"]) == (server.gateway, server.admin_address), found
    assert found["generation"] == 1 and found["uptimeSeconds"] >= 0 and found["started"].endswith("Z")
    # four of the first order, two of the second, and the stop itself
    assert found["events"] == 7 and found["letters"] == 0 and found["commitQueue"] == 0, found
    store = found["store"]
    assert store["folder"] == server.data
    assert store["bytes"] == os.path.getsize(os.path.join(server.data, "moontide.db"))
    assert store["walBytes"] == os.path.getsize(os.path.join(server.data, "moontide.db-wal"))
    assert {s["name"]: s["state"] for s in found["services"]}["delivery"] == "down"
    assert found["breakersNotClosed"] == []
    text = ask(server, "status")
    lines = dict(line.split(None, 1) for line in text.splitlines() if len(line.split(None, 1)) == 2)
    assert lines["system"] == "bookmarket" and lines["state"] == "ready" and lines["gateway"] == server.gateway, text
    assert "breakers not closed  none" in text and "data folder" in text and "farthest behind" in text, text


@case("SHOP-7b status names a breaker that is not closed, as text and as JSON")
def status_of_trouble():
    server = Server("bookmarket", args=["--set", "breakers.payment.sleep_ms=600000"])
    faults = {"payment": {"error_rate": 1.0}}
    assert server.admin("PUT", "/admin/faults", faults).status == 200

    def opened():
        server.request("POST", "/orders", {"bookId": 10, "qty": 1, "customerId": 1002})
        return json.loads(ask(server, "status", "-o", "json"))["breakersNotClosed"]
    assert eventually(opened, "the breaker opens") == [{"name": "payment", "state": "open"}]
    assert "payment (open)" in ask(server, "status")


def complete(*line):
    """What bash would offer at the end of this line."""
    script = """source <("$0" completion bash); COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _moontide
        printf '%s\\n' "${COMPREPLY[@]}"; complete -p moontide"""
    done = subprocess.run(["bash", "-uc", script, binary(), "moontide", *line], capture_output=True, text=True, check=True,
                          env=environment(), cwd=ROOT)
    assert not done.stderr, done.stderr
    *words, hooked = done.stdout.splitlines()
    assert hooked == "complete -F _moontide moontide", hooked
    return [word for word in words if word]


@case("SHOP-7d completion: bash offers commands, verbs, flags and values; all of them are in help")
def completion():
    code, listed, _ = command("help")
    commands = re.findall(r"^  (\w+) +\S", listed, re.MULTILINE)
    assert code == 0 and complete("") == commands and len(commands) > 14, (commands, complete(""))
    assert complete("se") == ["services"] and complete("services", "st") == ["stop", "start"]
    assert complete("letters", "retry", "--p") == ["--policy"] and complete("events", "--fo") == ["--follow"]
    assert complete("events", "-o", "j") == ["json"] and complete("run", "--log-level", "w") == ["warn"]
    assert "core" in complete("run", "--scripts", "co") and "README.md" in complete("run", "--config", "READ")
    assert complete("help", "gen") == ["generations"] and complete("completion", "") == ["bash", "zsh", "fish"]
    for name in commands:
        flags = set(re.findall(r"^  (?:-.*, )?(--?[\w-]+)", command("help", name)[1], re.MULTILINE))
        offered = set(complete(name, "-"))
        assert flags <= offered, (name, flags - offered)
        assert offered == set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", command("help", name)[1])) & offered, (name, offered)


@case("SHOP-7d completion: scripts for zsh and fish name every command and flag; another shell is named a mistake")
def other_shells():
    zsh, fish = command("completion", "zsh")[1], command("completion", "fish")[1]
    assert zsh.startswith("#compdef moontide\n") and zsh.endswith("compdef _moontide moontide\n")
    for name in complete(""):
        assert re.search(rf"^    '{name}:", zsh, re.MULTILINE) and f"-n __fish_use_subcommand -a {name} " in fish, name
        for flag in (word for word in complete(name, "-") if word.startswith("--")):
            assert f"_from {name}' -l {flag[2:]} " in fish, (name, flag)
            assert re.search(rf"^    {name}\) compadd .*{flag}\b", zsh, re.MULTILINE), (name, flag)
    assert 'completion: unknown "bsh"; did you mean "bash"?' in refused("completion", "bsh")
    assert "completion needs a shell: bash, zsh or fish" in refused("completion")


@case("SHOP-7e limits prints what is in force, with settings from flags, as text and as JSON")
def limits():
    code, out, err = command("limits", "-o", "json")
    assert code == 0, err
    found = {entry["name"]: entry for entry in json.loads(out)["limits"]}
    assert found["body"] == {"name": "body", "value": 1 << 20, "unit": "bytes", "setting": "http.body_bytes"}
    assert found["connections"]["value"] == 10000 and found["policies: tries"]["value"] == 10
    code, out, err = command("limits", "--set", "http.body_bytes=65536", env={"MOONTIDE__HTTP__CONNECTIONS": "77"})
    assert code == 0 and re.search(r"^body +64 KiB +http.body_bytes$", out, re.MULTILINE), (out, err)
    assert re.search(r"^connections +77 ", out, re.MULTILINE), out
    assert 'did you mean "http.body_bytes"?' in command("limits", "--set", "http.body_byte=1")[2]
    assert "-o xml: expected json or text" in refused("limits", "-o", "xml")


@case("SHOP-7e the limit that is printed is the one that acts: a body of that size is taken, one byte more is 413")
def limits_act():
    value = next(entry["value"] for entry in json.loads(command("limits", "-o", "json")[1])["limits"]
                 if entry["name"] == "body")
    server = Server("bookmarket")
    for size, status in ((value, 400), (value + 1, 413)):
        answer = server.request("POST", "/orders", b"[" + b" " * (size - 1), {"Content-Type": "application/json"})
        assert answer.status == status, (size, answer)


def is_whole(path):
    with contextlib.closing(sqlite3.connect(path)) as copy:
        return copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def orders_in(path):
    with contextlib.closing(sqlite3.connect(path)) as copy:
        return copy.execute('SELECT count(*) FROM "order.orders"').fetchone()[0]


@case("SHOP-7j backup while orders come is of one moment; a server on the copy goes on from there; nothing is overwritten")
def backup():
    server = Server("bookmarket")
    folder = os.path.join(temp_dir(), "restored")
    os.mkdir(folder)
    file, later = os.path.join(folder, "moontide.db"), os.path.join(folder, "later.db")
    ended = threading.Event()
    placed = []

    def place():
        while not ended.is_set():
            try:
                placed.append(server.request("POST", "/orders", {"bookId": 10, "qty": 1, "customerId": 1002}).status)
            except OSError:
                return
    thread = threading.Thread(target=place)
    thread.start()
    eventually(lambda: len(placed) > 20, "orders come")
    before = len(placed)
    said = json.loads(ask(server, "backup", file, "-o", "json"))
    assert said == {"file": file, "bytes": os.path.getsize(file)} and os.stat(file).st_mode & 0o777 == 0o600, said
    code, out, err = command("backup", file, "--data", server.data)
    assert (code, out) == (1, "") and "is there already; a backup overwrites nothing" in err, (code, out, err)
    server.kill9()  # what is only in the write-ahead log of a dead process is backed up too
    thread.join(30)
    assert set(placed) == {201}, placed
    assert "whole and on disk" in ask(server, "backup", later) and is_whole(later) and orders_in(later) >= len(placed)
    assert is_whole(file) and sorted(os.listdir(folder)) == ["later.db", "moontide.db"], os.listdir(folder)
    restored = Server("bookmarket", data=folder)
    kept = eventually(lambda: (lambda some: len(some) % 4 == 0 and some)(restored.events()), "the copy has gone on")
    orders = [e["payload"]["id"] for e in kept if e["type"] == "Ordered"]
    assert len(orders) >= before and len(kept) == 4 * len(orders), (before, len(orders), len(kept))
    assert restored.request("POST", "/orders", {"bookId": 10, "qty": 1, "customerId": 1002}).status == 201
    server.start()
    log = [e["payload"]["id"] for e in server.events(type="Ordered")]
    assert orders == log[:len(orders)] and len(log) >= len(placed), (orders, log)


@case("SHOP-7j a backup that is killed, or has no room or no data, leaves no file of that name")
def backup_killed():
    server = Server("bookmarket")
    assert server.request("POST", "/orders", {"bookId": 10, "qty": 1, "customerId": 1002}).status == 201
    folder, done, began = temp_dir(), 0, time.monotonic()
    ask(server, "backup", os.path.join(folder, "whole.db"))
    took = time.monotonic() - began
    for number in range(12):
        file = os.path.join(folder, f"{number}.db")
        process = subprocess.Popen([binary(), "backup", file, "--data", server.data], stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL, env=environment())
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(took * number / 10)
        process.kill()
        process.wait(30)
        if os.path.exists(file):
            done += 1
            assert is_whole(file) and orders_in(file) == 1, file
    note(f"{done} of 12 were done before they were killed")
    file = os.path.join(folder, "none.db")
    for words, said in (([file, "nothing"], "there is no data in ./data/nothing"),
                        ([os.path.join(folder, "no/where.db"), "--data", server.data], "No such file or directory")):
        code, out, err = command("backup", *words)
        assert (code, out) == (1, "") and said in err and not os.path.exists(file), (code, out, err)
    assert "needs the file to write" in refused("backup")


@case("SHOP-7c a wrong word of a command names the nearest one; the exit code is 2")
def mistakes():
    assert 'services: unknown "stpo"; did you mean "stop"?' in refused("services", "stpo", "payment")
    assert 'services: unknown "zzzzzz"; expected list, stop or start' in refused("services", "zzzzzz")
    assert "services stop needs the NAME of one service" in refused("services", "stop")
    assert "services start needs the NAME of one service" in refused("services", "start", "a", "b")
    assert 'letters: unknown "retyr"; did you mean "retry"?' in refused("letters", "retyr", "1")


if __name__ == "__main__":
    main()
