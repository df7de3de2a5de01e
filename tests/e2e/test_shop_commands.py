# SPDX-License-Identifier: MIT
"""The command line: services, and what it says to mistakes."""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import Server, case, command, main  # noqa: E402


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


@case("SHOP-7c a wrong word of a command names the nearest one; the exit code is 2")
def mistakes():
    assert 'services: unknown "stpo"; did you mean "stop"?' in refused("services", "stpo", "payment")
    assert 'services: unknown "zzzzzz"; expected list, stop or start' in refused("services", "zzzzzz")
    assert "services stop needs the NAME of one service" in refused("services", "stop")
    assert "services start needs the NAME of one service" in refused("services", "start", "a", "b")
    assert 'letters: unknown "retyr"; did you mean "retry"?' in refused("letters", "retyr", "1")


if __name__ == "__main__":
    main()
