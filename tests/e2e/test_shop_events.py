# SPDX-License-Identifier: MIT
"""The event log in the shapes that others read, and the command that follows it."""
import json
import os
import re
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import Server, at_end, binary, case, environment, eventually, main, stream_lines, temp_dir, \
    write_files  # noqa: E402

ORDER = {"bookId": 10, "qty": 1, "customerId": 1002}
SSE, CLOUD = {"Accept": "text/event-stream"}, {"Accept": "application/cloudevents+json"}


def orders(server, count):
    before = len(server.events())
    for _ in range(count):
        assert server.request("POST", "/orders", ORDER).status == 201
    return eventually(lambda: (lambda log: len(log) == before + 4 * count and log)(server.events()), "all events")


def blocks(text):
    """Server-sent events as the WHATWG text reads them: a list of {field: value}; comments are left out."""
    found = []
    for block in text.split("\n\n")[:-1]:
        lines = [line for line in block.split("\n") if not line.startswith(":")]
        assert all(re.match(r"(id|event|data): ", line) for line in lines), lines
        if lines:
            found.append(dict(line.split(": ", 1) for line in lines))
    return found


@case("SHOP-7g GET /admin/events as server-sent events: id, event and data; Last-Event-ID goes on behind it")
def sse():
    server = Server("bookmarket")
    log = orders(server, 3)
    answer = server.admin("GET", "/admin/events", headers=SSE)
    assert answer.headers["content-type"] == "text/event-stream" and answer.text.endswith("\n\n"), answer.headers.all
    assert answer.headers["vary"] == "Accept"
    found = blocks(answer.text)
    assert [json.loads(b["data"]) for b in found] == log
    assert [(b["id"], b["event"]) for b in found] == [(str(e["seq"]), e["type"]) for e in log]
    rest = server.admin("GET", "/admin/events?from=2", headers={**SSE, "Last-Event-ID": str(log[6]["seq"])})
    assert [json.loads(b["data"]) for b in blocks(rest.text)] == log[7:]
    plain = server.admin("GET", "/admin/events?from=2", headers={"Last-Event-ID": "7"})
    assert plain.headers["content-type"] == "application/x-ndjson" and len(plain.body.splitlines()) == len(log) - 1
    odd = server.admin("GET", "/admin/events", headers={**SSE, "Last-Event-ID": "x"})
    assert [json.loads(b["data"]) for b in blocks(odd.text)] == log


@case("SHOP-7g GET /admin/events as CloudEvents: one structured event a line, with what the specification requires")
def cloud():
    server = Server("bookmarket")
    log = orders(server, 2)
    answer = server.admin("GET", "/admin/events", headers=CLOUD)
    assert answer.headers["content-type"] == "application/cloudevents+json", answer.headers.all
    found = [json.loads(line) for line in answer.body.splitlines()]
    assert len(found) == len(log)
    for event, plain in zip(found, log):
        assert event["specversion"] == "1.0" and all(re.fullmatch("[a-z0-9]{1,20}", name) for name in event), event
        assert (event["id"], event["type"], event["subject"], event["time"]) == \
            (plain["id"], plain["type"], plain["key"], plain["time"]), event
        assert event["source"] == f"/services/{plain['service']}" and event["datacontenttype"] == "application/json"
        assert event["data"] == plain["payload"] and event["sequence"] == str(plain["seq"])
        assert event.get("correlationid") == plain["correlationId"] and event.get("causationid") == plain["causationId"]
    assert any("causationid" not in event for event in found)
    only = server.admin("GET", "/admin/events?type=Paid&limit=1", headers=CLOUD)
    assert [json.loads(line)["type"] for line in only.body.splitlines()] == ["Paid"]


@case("SHOP-7g both shapes follow: what is there, and then each new event once")
def followed():
    server = Server("bookmarket")
    log = orders(server, 1)
    token = {"Authorization": f"Bearer {server.token()}"}
    sse_lines = stream_lines(server.admin_address, "/admin/events?follow=true", {**token, **SSE})
    cloud_lines = stream_lines(server.admin_address, "/admin/events?follow=true", {**token, **CLOUD})

    def take(count):
        shown = []
        while len(shown) < count:
            line = next(sse_lines)
            if line.startswith("data: "):
                shown.append(json.loads(line[6:])["seq"])
        return shown, [int(json.loads(next(cloud_lines))["sequence"]) for _ in range(count)]
    assert take(4) == ([e["seq"] for e in log],) * 2
    log = orders(server, 2)
    assert take(8) == ([e["seq"] for e in log[4:]],) * 2


class Follow:
    """`moontide events --follow -o json` beside the case."""

    def __init__(self, server, *words):
        self.out, self.err = tempfile.TemporaryFile(), tempfile.TemporaryFile()
        self.process = subprocess.Popen([binary(), "events", "--follow", "-o", "json", "--data", server.data, *words],
                                        stdout=self.out, stderr=self.err, env=environment())
        at_end(self.close)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(30)

    def text(self, file):
        return os.pread(file.fileno(), 1 << 24, 0).decode()

    def events(self):
        return [json.loads(line) for line in self.text(self.out).splitlines(keepends=True) if line.endswith("\n")]


@case("SHOP-7h events --follow goes on over a stop and a kill of the server, each event once, in order")
def follow_restart():
    server = Server("bookmarket")
    follow = Follow(server)
    log = orders(server, 2)
    eventually(lambda: follow.events() == log, "the first events")
    server.restart()
    log = orders(server, 2)
    eventually(lambda: follow.events() == log, "the events after a restart")
    server.kill9()
    server.start()
    log = orders(server, 2)
    eventually(lambda: follow.events() == log, "the events after a kill")
    assert "waiting for it" in follow.text(follow.err)
    follow.process.send_signal(signal.SIGINT)
    assert follow.process.wait(30) == -signal.SIGINT


@case("SHOP-7h events --follow --limit N ends after N events, also when the server restarts between")
def follow_limit():
    server = Server("bookmarket")
    follow = Follow(server, "--limit", "6", "--type", "Paid")
    orders(server, 4)
    eventually(lambda: len(follow.events()) == 4, "four events")
    server.restart()
    log = orders(server, 4)
    assert follow.process.wait(30) == 0
    assert follow.events() == [e for e in log if e["type"] == "Paid"][:6]


@case("SHOP-7h events --follow without a server says so at once; a token that is wrong by then ends it")
def follow_wrong():
    server = Server("bookmarket")
    follow = Follow(server)
    log = orders(server, 1)
    eventually(lambda: follow.events() == log, "the first events")
    server.restart(env={"MOONTIDE_ADMIN_TOKEN": "another-token-than-before"})
    assert follow.process.wait(30) == 1
    assert "does not take this admin token" in follow.text(follow.err), follow.text(follow.err)
    server.stop()
    nobody = Follow(server)
    assert nobody.process.wait(30) == 4 and f"no server runs in {server.data}" in nobody.text(nobody.err)


KEEPS = {
    "systems/keeps.lua": "return { services = { front = {}, back = {}, aside = {} } }\n",
    "routes/keeps/front.lua": """return {
  event "Seen" { service = "front", key = { name = "name" }, fields = { text "name" }, retention = 1 },
  event "Rang" { service = "front", key = { name = "name" }, fields = { text "name" }, retention = "1ms" },
  resource "copies" { service = "back", fields = { text "name", integer "seq" } },
  resource "moods" { service = "back", fields = { text "mood" } },
  resource "ticks" { service = "front", fields = { text "name" } },
  resource "rings" { service = "aside", fields = { text "name", integer "seq" } },
  route "emit" { service = "front", method = "POST", path = "/emit/{type}/{name}", handle = function(request)
    bus.emit(request.params.type, { name = request.params.name })
  end },
}
""",
    "policies/keeps/back.lua": """return policy "back copies" { service = "back", on = "Seen",
  handle = function(event, meta)
    if store.count("moods") == 0 then
      if event.name == "letter" then fail(400, "not in this mood") end
      if event.name == "held" then error("not yet") end
    end
    store.create("copies", { name = event.name, seq = meta.seq })
  end }
""",
    "policies/keeps/aside.lua": """return policy "aside rings" { service = "aside", on = "Rang",
  handle = function(event, meta) store.create("rings", { name = event.name, seq = meta.seq }) end }
""",
}


@case("G10 events go with their retention; unread, held and dead ones stay, over kills too; no number comes again")
def retention():
    folder = temp_dir()
    write_files(folder, KEEPS)
    server = Server("keeps", scripts=folder)

    def emit(*paths):
        for path in paths:
            assert server.request("POST", f"/emit/{path}").status == 200

    def log():
        assert server.request("POST", "/ticks", {"name": "tick"}).status == 201
        return [e["key"] for e in server.events()]

    def only(*keys):
        eventually(lambda: log() == [f"name/{key}" for key in keys], f"only {keys} in the log")

    def done():
        return sorted(row["name"] for row in server.rows("/copies"))
    server.stop_service("aside")
    emit("Seen/a", "Seen/letter", "Rang/ring", "Seen/held", "Seen/b")
    server.wait_log(msg="policy failed")
    eventually(lambda: done() == ["a", "b"] and len(server.letters()) == 1, "what can be done")
    only("letter", "ring", "held")
    server.kill9()
    server.start()
    emit("Seen/c")
    only("letter", "ring", "held")
    assert server.request("POST", "/moods", {"mood": "good"}).status == 201
    assert server.admin("POST", f"/admin/letters/{server.letters()[0]['id']}/retry").status == 202
    only("ring")
    server.start_service("aside")
    only()
    assert [row["name"] for row in server.rows("/rings")] == ["ring"]
    assert done() == ["a", "b", "c", "held", "letter"] and server.letters() == []
    server.kill9()
    server.start()
    emit("Seen/d")
    eventually(lambda: "d" in done(), "the last one")
    seqs = {row["name"]: row["seq"] for row in server.rows("/copies") + server.rows("/rings")}
    assert sorted(seqs, key=seqs.get) == ["a", "letter", "ring", "held", "b", "c", "d"], seqs
    only()
    assert server.admin("GET", "/admin/events?from=3&limit=2").body == b""


if __name__ == "__main__":
    main()
