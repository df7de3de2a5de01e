# SPDX-License-Identifier: MIT
"""The admin side: the event log, letters, faults, and that it says nothing without its token."""
import json
import os
import queue
import stat
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import Server, case, eventually, main, request, stream_lines, temp_dir, write_files  # noqa: E402

ORDER = {"bookId": 10, "qty": 1, "customerId": 1002}

DESK = {
    "systems/desk.lua": "return { services = { desk = {}, clerk = {} } }\n",
    "routes/desk/wishes.lua": """return {
  event "Wished" {
    service = "desk", key = { wisher = "wisher" },
    fields = { integer "id", text "wisher", text "what" },
  },
  resource "wishes" {
    service = "desk",
    fields = { text "wisher", text "what" },
    on_create = function(wish) bus.emit("Wished", wish) end,
  },
  resource "grants" { service = "clerk", fields = { text "what" } },
}
""",
    "policies/desk/clerk_grants_wishes.lua": """return policy "clerk grants wishes" {
  service = "clerk",
  on = "Wished",
  handle = function(event, meta)
    store.create("grants", { what = event.what })
    if event.what == "moon" then
      fail(422, "the moon is taken")
    end
    if event.what == "patience" and meta.try < 3 then
      error("not yet")
    end
  end,
}
""",
}
MOON_LINE = 7  # of fail() above


def orders(server, count):
    """Places orders and returns the whole log once their customers were told."""
    for _ in range(count):
        assert server.request("POST", "/orders", ORDER).status == 201
    return eventually(lambda: (lambda log: len(log) == 4 * count and log)(server.events()), f"{4 * count} events")


def desk(**options):
    folder = temp_dir()
    write_files(folder, DESK)
    return Server("desk", scripts=folder, **options)


def wish(server, wisher, what):
    answer = server.request("POST", "/wishes", {"wisher": wisher, "what": what})
    assert answer.status == 201, answer
    return answer.id


def letters(server, query=""):
    answer = server.admin("GET", "/admin/letters" + query)
    assert answer.status == 200, answer
    return answer.json["letters"]


def granted(server):
    return sorted(row["what"] for row in server.rows("/grants"))


@case("PATH-4j GET /admin/events filters by type, service, key and start, and keeps to its limit")
def filters():
    server = Server("bookmarket")
    log = orders(server, 5)
    by = lambda **wanted: [e for e in log if all(e[k] == v for k, v in wanted.items())]  # noqa: E731
    assert server.events(type="Paid") == by(type="Paid") and len(by(type="Paid")) == 5
    assert server.events(service="delivery") == by(service="delivery") and len(by(service="delivery")) == 5
    assert server.events(key="order/3") == by(key="order/3") and len(by(key="order/3")) == 4
    assert server.events(type="Paid", key="order/3") == by(type="Paid", key="order/3")
    assert server.events(type="Nothing") == []
    assert server.events(**{"from": log[7]["seq"]}) == log[7:]
    assert server.events(**{"from": log[-1]["seq"] + 1}) == []
    assert server.events(limit=3) == log[:3]
    assert server.events(limit=2, type="Shipped") == by(type="Shipped")[:2]
    assert server.events(colour="red") == log


@case("PATH-4j the answer is NDJSON, and a parameter that cannot be read is 400")
def events_form():
    server = Server("bookmarket")
    log = orders(server, 1)
    answer = server.admin("GET", "/admin/events")
    assert answer.headers["Content-Type"].startswith("application/x-ndjson"), answer.headers.all
    assert answer.body.endswith(b"\n") and len(answer.body.splitlines()) == len(log)
    for query in ("from=x", "from=-1", "limit=x", "limit=0", "limit=1000001"):
        assert server.admin("GET", f"/admin/events?{query}").status == 400, query
    assert server.admin("POST", "/admin/events", {}).status == 405


class Follower:
    """Reads a followed log on a thread of its own."""

    def __init__(self, server, query):
        self.lines = queue.Queue()
        token = {"Authorization": f"Bearer {server.token()}"}
        self.thread = threading.Thread(target=self._read, daemon=True, args=(server.admin_address, query, token))
        self.thread.start()

    def _read(self, address, query, token):
        try:
            for line in stream_lines(address, f"/admin/events?follow=true{query}", token):
                if line.strip():
                    self.lines.put(json.loads(line))
        except OSError as error:
            self.lines.put(error)
        self.lines.put(None)

    def take(self, count):
        return [self.lines.get(timeout=20) for _ in range(count)]


@case("PATH-4k follow=true shows what is there, and then each new event once, as it happens")
def follow():
    server = Server("bookmarket")
    first = orders(server, 2)
    everything, paid = Follower(server, ""), Follower(server, "&type=Paid")
    late = Follower(server, f"&from={first[-1]['seq'] + 1}")
    assert everything.take(8) == first
    log = orders_more(server, 30)
    assert everything.take(len(log) - 8) == log[8:]
    assert paid.take(32) == [e for e in log if e["type"] == "Paid"]
    assert late.take(len(log) - 8) == log[8:]
    assert everything.lines.empty() and paid.lines.empty() and late.lines.empty()


def orders_more(server, count):
    before = len(server.events())
    for _ in range(count):
        assert server.request("POST", "/orders", ORDER).status == 201
    return eventually(lambda: (lambda log: len(log) == before + 4 * count and log)(server.events()), "all events")


@case("PATH-4k a follower does not hold up the end of the server")
def follow_end():
    server = Server("bookmarket")
    orders(server, 1)
    follower = Follower(server, "")
    assert len(follower.take(4)) == 4
    assert server.stop() == 0
    last = follower.lines.get(timeout=20)
    assert last is None or isinstance(last, OSError), last


@case("PATH-4l an event that a policy refuses becomes a letter with error, script line and tries; its key goes on")
def letter():
    server = desk()
    wish(server, "ann", "moon")
    wish(server, "ann", "book")
    wish(server, "bob", "pen")
    found = eventually(lambda: letters(server), "a letter")
    eventually(lambda: granted(server) == ["book", "pen"], "the other wishes are granted")
    assert len(found) == 1, found
    one = found[0]
    assert one["policy"] == "clerk grants wishes" and one["service"] == "clerk", one
    assert one["tries"] == 1, one
    assert "the moon is taken" in one["error"]["message"], one
    assert f"clerk_grants_wishes.lua:{MOON_LINE}" in one["error"]["origin"], one
    wished = server.events(type="Wished")[0]
    assert one["event"] == {name: wished[name] for name in ("seq", "id", "type", "key")}, one
    assert one["event"]["key"] == "wisher/ann", one
    alone = server.admin("GET", f"/admin/letters/{one['id']}")
    assert alone.status == 200, alone
    assert alone.json == {**one, "event": {**one["event"], "payload": wished["payload"]}}, alone
    assert server.admin("GET", "/admin/letters/999").status == 404


@case("PATH-4l a retried letter that fails again stays, with one more try; its effects are not kept")
def letter_retry():
    server = desk()
    wish(server, "ann", "moon")
    one = eventually(lambda: letters(server), "a letter")[0]
    for tries in (2, 3):
        answer = server.admin("POST", f"/admin/letters/{one['id']}/retry")
        assert answer.status == 202, answer
        eventually(lambda: [e["tries"] for e in letters(server)] == [tries], f"{tries} tries")
    assert letters(server)[0]["id"] == one["id"]
    assert granted(server) == []
    assert server.admin("POST", "/admin/letters/999/retry").status == 404


@case("PATH-4h a failing event is tried again after a pause and holds up its own key only, also over kill -9 (G4)")
def held():
    server = desk()
    wish(server, "ann", "patience")
    wish(server, "ann", "book")
    wish(server, "bob", "pen")
    server.wait_log(msg="policy failed", key="wisher/ann")
    eventually(lambda: granted(server) == ["pen"], "the other key goes on")
    eventually(lambda: held_count(server) == 1, "the event is held")
    server.kill9()
    server.start()
    wish(server, "bob", "cup")
    eventually(lambda: granted(server) == ["book", "cup", "patience", "pen"], "all are granted, once each")
    grants = {row["what"]: row["id"] for row in server.rows("/grants")}
    assert grants["patience"] < grants["book"], grants
    assert letters(server) == [] and held_count(server) == 0


def held_count(server):
    services = server.admin("GET", "/admin/services").json["services"]
    return sum(policy["held"] for service in services for policy in service["policies"])


@case("PATH-4l a letter waits over a restart, and is retried with success once its script is mended")
def letter_mended():
    server = desk()
    wish(server, "ann", "moon")
    one = eventually(lambda: letters(server), "a letter")[0]
    assert server.stop() == 0
    path = os.path.join(server.scripts, "policies/desk/clerk_grants_wishes.lua")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    write_files(server.scripts, {"policies/desk/clerk_grants_wishes.lua": text.replace('"moon"', '"sun"')})
    server.start()
    assert [e["id"] for e in letters(server)] == [one["id"]]
    assert granted(server) == []
    assert server.admin("POST", f"/admin/letters/{one['id']}/retry").status == 202
    eventually(lambda: granted(server) == ["moon"], "the wish is granted")
    eventually(lambda: letters(server) == [], "the letter is gone")


@case("PATH-4l a discarded letter is gone and its event is not handled")
def letter_discard():
    server = desk()
    wish(server, "ann", "moon")
    one = eventually(lambda: letters(server), "a letter")[0]
    assert server.admin("DELETE", f"/admin/letters/{one['id']}").status == 204
    assert letters(server) == []
    assert server.admin("DELETE", f"/admin/letters/{one['id']}").status == 404
    assert server.restart().running()
    assert letters(server) == [] and granted(server) == []


@case("PATH-5g the admin side wants its token, and tells nothing without it (G9)")
def token():
    server = Server("bookmarket")
    good = server.token()
    assert len(good) >= 16, "the token is too short"
    wrong = [None, "", "Bearer", "Bearer ", f"Bearer {good}x", f"Bearer {good[:-1]}", "Bearer " + "x" * len(good),
             f"Basic {good}", good]
    bodies = set()
    for method, path in (("GET", "/admin/events"), ("GET", "/admin/letters"), ("PUT", "/admin/faults"),
                         ("GET", "/admin/nothing-like-this"), ("DELETE", "/admin/letters/1")):
        for value in wrong:
            headers = {"Authorization": value} if value is not None else {}
            answer = request(server.admin_address, method, path, None, headers)
            assert answer.status == 401, (method, path, value, answer)
            assert answer.headers["WWW-Authenticate"].startswith("Bearer"), answer.headers.all
            assert good.encode() not in answer.body
            bodies.add((answer.json["status"], answer.json.get("code"), answer.json.get("detail")))
    assert len(bodies) == 1, f"the refusals differ: {bodies}"
    assert server.admin("GET", "/admin/events").status == 200
    assert server.admin("GET", "/admin/nothing-like-this").status == 404


@case("PATH-5g the token is kept in a file for its owner, made once, and is never logged")
def token_file():
    server = Server("bookmarket")
    path = os.path.join(server.data, "admin.token")
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600, oct(os.stat(path).st_mode)
    first = server.token()
    server.restart()
    assert server.token() == first
    assert first not in json.dumps(server.logs) and first not in server.stderr()
    given = "a-token-of-my-own-0123456789"
    named = Server("bookmarket", env={"MOONTIDE_ADMIN_TOKEN": given})
    headers = {"Authorization": f"Bearer {given}"}
    assert request(named.admin_address, "GET", "/admin/events", None, headers).status == 200
    assert given not in json.dumps(named.logs)


@case("PATH-5g nothing under /admin is on the gateway, and health and metrics need no token")
def gateway_closed():
    server = Server("bookmarket")
    for path in ("/admin/events", "/admin/letters", "/admin/faults", "/admin"):
        for headers in ({}, {"Authorization": f"Bearer {server.token()}"}):
            assert server.request("GET", path, None, headers).status == 404, path
    for path in ("/livez", "/readyz", "/metrics"):
        assert request(server.admin_address, "GET", path).status == 200, path


@case("PATH-5h faults are put on a service, shown, act on its calls, and are taken off again")
def faults():
    server = Server("bookmarket")
    table = {"payment": {"delay_ms": [1, 3], "error_rate": 1.0}}
    assert server.admin("GET", "/admin/faults").json == {}
    assert server.admin("PUT", "/admin/faults", table).status == 200
    shown = server.admin("GET", "/admin/faults")
    assert shown.status == 200 and shown.json == table, shown
    assert server.request("POST", "/payments", {"orderId": 1}).status >= 500
    assert server.request("GET", "/payments").status >= 500
    assert server.request("GET", "/orders").status == 200
    other = {"delivery": {"error_rate": 1.0}}
    assert server.admin("PUT", "/admin/faults", other).status == 200
    assert list(server.admin("GET", "/admin/faults").json) == ["delivery"]
    assert server.rows("/payments") == []
    assert server.admin("DELETE", "/admin/faults").status == 204
    assert server.admin("GET", "/admin/faults").json == {}
    assert server.rows("/deliveries") == []


@case("PATH-5h faults of an unknown service or kind are refused, change nothing, and none outlive a restart")
def faults_refused():
    server = Server("bookmarket")
    table = {"payment": {"error_rate": 1.0}}
    assert server.admin("PUT", "/admin/faults", table).status == 200
    for wrong in ({"paiment": {"error_rate": 1.0}}, {"payment": {"eror_rate": 1.0}}, {"payment": {"error_rate": 2}},
                  {"payment": {"delay_ms": [5, 1]}}, {"payment": {"delay_ms": -1}}, [], b"{"):
        answer = server.admin("PUT", "/admin/faults", wrong)
        assert answer.status == 400, (wrong, answer)
    assert list(server.admin("GET", "/admin/faults").json) == ["payment"]
    assert server.request("GET", "/payments").status >= 500
    server.restart()
    assert server.admin("GET", "/admin/faults").json == {}
    assert server.request("GET", "/payments").status == 200


if __name__ == "__main__":
    main()
