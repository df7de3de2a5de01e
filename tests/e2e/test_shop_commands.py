# SPDX-License-Identifier: MIT
"""The command line: services, and what it says to mistakes."""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import Server, case, command, eventually, main  # noqa: E402


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
    found = eventually(lambda: (lambda s: s["policies"]["behind"] > 0 and s)(
        json.loads(ask(server, "status", "-o", "json"))), "delivery is behind")
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


@case("SHOP-7c a wrong word of a command names the nearest one; the exit code is 2")
def mistakes():
    assert 'services: unknown "stpo"; did you mean "stop"?' in refused("services", "stpo", "payment")
    assert 'services: unknown "zzzzzz"; expected list, stop or start' in refused("services", "zzzzzz")
    assert "services stop needs the NAME of one service" in refused("services", "stop")
    assert "services start needs the NAME of one service" in refused("services", "start", "a", "b")
    assert 'letters: unknown "retyr"; did you mean "retry"?' in refused("letters", "retyr", "1")


if __name__ == "__main__":
    main()
