# SPDX-License-Identifier: MIT
"""Every command and every path of the admin side, one line each: what it answers, in which words, with which exit code."""
import json
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import Server, case, command, eventually, main, request, temp_dir, write_files  # noqa: E402

ORDER = {"bookId": 10, "qty": 1, "customerId": 1002}
EVENT = {"seq", "id", "type", "key", "service", "time", "correlationId", "causationId", "generation", "payload"}
LETTER = {"id", "policy", "service", "event", "tries", "error", "time", "generation"}
POLICY = {"name", "behind", "open", "held", "letters"}
SERVICE = {"name", "state", "url", "policies", "held", "letters"}
RELOAD = {"generation", "previous", "files", "changes", "took_ms"}
STATUS = {"ready", "system", "version", "pid", "started", "uptimeSeconds", "generation", "workers", "gateway", "admin", "store",
          "events", "commitQueue", "letters", "policies", "breakersNotClosed", "services"}

# With one letter and one event of a policy in the log.
LAB = {
    "systems/lab.lua": 'return { services = { desk = {} }, breakers = { bell = {} } }\n',
    "routes/lab/desk.lua": """return {
  event "Rang" { service = "desk", key = { bell = "n" }, fields = { integer "n" } },
  resource "notes" { service = "desk", fields = { integer "n" } },
  route "ring" { service = "desk", method = "POST", path = "/ring", handle = function(request)
    bus.emit("Rang", { n = request.body.n })
  end },
}
""",
    "policies/lab/desk.lua": 'return policy "desk refuses" { service = "desk", on = "Rang", handle = function() fail(409, "no") end }\n',
}


def lab():
    folder = os.path.join(temp_dir(), "scripts")
    write_files(folder, LAB)
    server = Server("lab", scripts=folder)
    assert server.request("POST", "/ring", {"n": 1}).status == 200
    eventually(lambda: server.admin("GET", "/admin/letters").json["letters"], "the letter")
    return server


def keys_at(value, path):
    for part in path.split("/") if path else []:
        value = value[int(part)] if part.isdigit() else value[part]
    return set(value)


# words -> what is an object with exactly these keys: "" is the answer itself
LISTINGS = [
    ("status", {"": STATUS, "services/0": SERVICE, "policies": {"count", "behind", "open", "held"},
                "store": {"folder", "bytes", "walBytes"}}),
    ("events", {"": EVENT}),
    ("events --key bell/1 --type Rang --service desk --limit 1 --from 1", {"": EVENT, "payload": {"eventType", "timestamp", "n", "me"}}),
    ("letters", {"": {"letters"}, "letters/0": LETTER, "letters/0/event": {"seq", "id", "type", "key"},
                 "letters/0/error": {"code", "message", "origin"}}),
    ("letters list", {"letters/0": LETTER}),
    ("letters show 1", {"": LETTER, "event": {"seq", "id", "type", "key", "payload"}}),
    ("services", {"": {"services"}, "services/0": SERVICE, "services/0/policies/0": POLICY}),
    ("services list", {"services/0": SERVICE}),
    ("breakers", {"": {"breakers", "default"}}),
    ("generations", {"": {"generations"}, "generations/0": {"number", "time", "origin", "active"}}),
    ("schema show", {"": {"generation", "tables"}, "tables/0": {"table", "rows", "hidden", "columns", "indexes"},
                     "tables/0/columns/0": {"name", "column", "type", "hidden"}}),
    ("reload --dry-run", {"": RELOAD | {"dry_run"}, "files/0": {"path", "status"}}),
    ("reload", {"": RELOAD}),
    ("services stop desk", {"": {"name", "state"}}),
    ("services start desk", {"": {"name", "state"}}),
    ("letters retry 1", {"": {"queued"}}),
]


@case("SHOP-7l each command that asks: -o json is JSON with these members; text is not empty; both end with 0")
def listings():
    server = lab()
    for words, shapes in LISTINGS:
        code, out, err = command(*words.split(), "--data", server.data, "-o", "json")
        assert code == 0 and not err, (words, code, out, err)
        answer = json.loads(out.splitlines()[0])
        for path, keys in shapes.items():
            assert keys_at(answer, path) == keys, (words, path, keys_at(answer, path) ^ keys)
    for words in ("status", "events", "letters", "services", "breakers", "generations", "schema show", "limits", "version", "help"):
        code, out, err = command(*words.split(), *([] if words in ("limits", "version", "help") else ["--data", server.data]))
        assert code == 0 and out.strip() and not err, (words, code, out, err)


# exit code, words; {data}: of the running server, {bad}: scripts that do not load
EXITS = [
    (0, "help"), (0, "help run"), (0, "run --help"), (0, "--version"), (0, "version"), (0, "check --scripts {good} lab"),
    (1, "letters show 99 --data {data}"), (1, "services stop nobody --data {data}"), (1, "breakers set nobody force=open --data {data}"),
    (0, "schema --data {data}"), (1, "generations activate 99 --data {data}"), (1, "schema show --data /nonexistent"), (1, "backup /tmp/x.db --data /nonexistent"),
    (2, ""), (2, "rnu"), (2, "status --dta x"), (2, "status now"), (2, "letters show"), (2, "letters retry"), (2, "services stop"),
    (2, "schema shwo"), (2, "schema prune"), (2, "events --from x --data {data}"), (2, "events --limit 0 --data {data}"), (2, "letters --limit -1"),
    (2, "backup"), (2, "completion"), (2, "version x"), (2, "events -o xml"), (2, "run a b"), (2, "run --listen nowhere"),
    (3, "check --scripts {bad} lab"), (3, "test {spec} --scripts {good}"),
    (4, "status --data /nonexistent"), (4, "events --admin 127.0.0.1:1"),
    (78, "run --set nothing=1"), (78, "check --set workers=x"), (78, "limits --config /nonexistent"),
    (78, "status --admin nowhere"),
]


@case("SHOP-7m exit codes: 0 done, 1 failed, 2 usage, 3 problems with scripts, 4 not reachable, 78 settings; each failure is told")
def exits():
    server = lab()
    bad, spec = os.path.join(temp_dir(), "scripts"), os.path.join(temp_dir(), "no_spec.lua")
    write_files(bad, {**LAB, "routes/lab/more.lua": "return { rsource 1 }\n"})
    write_files(os.path.dirname(spec), {"no_spec.lua": 'describe("it", function() it("fails", function() expect(1).equals(2) end) end)\n'})
    wrong = []
    for wanted, words in EXITS:
        words = words.format(data=server.data, bad=bad, good=server.scripts, spec=spec)
        code, out, err = command(*words.split())
        if code != wanted or wanted and not (err.strip() or out.strip()):
            wrong.append((wanted, words, code, out[-300:], err[-300:]))
    assert not wrong, "\n".join(map(str, wrong))


JSON, PROBLEM, LINES = "application/json", "application/problem+json", "application/x-ndjson"
ADMIN = [
    ("GET", "/admin/status", None, 200, JSON), ("GET", "/admin/services", None, 200, JSON), ("DELETE", "/admin/services", None, 405, PROBLEM),
    ("OPTIONS", "/admin/services", None, 200, None), ("OPTIONS", "/admin/srvices", None, 404, PROBLEM),
    ("POST", "/admin/services/desk/stop", None, 200, JSON), ("POST", "/admin/services/desk/stop", None, 200, JSON),
    ("POST", "/admin/letters/1/retry", None, 503, PROBLEM),
    ("POST", "/admin/services/desk/start", None, 200, JSON), ("POST", "/admin/services/dsk/stop", None, 404, PROBLEM),
    ("GET", "/admin/events", None, 200, LINES), ("GET", "/admin/events?from=1&type=Rang&service=desk&key=bell/1&limit=1&unknown=x", None, 200, LINES),
    ("GET", "/admin/events?limit=0", None, 400, PROBLEM), ("GET", "/admin/events?limit=1000001", None, 400, PROBLEM),
    ("GET", "/admin/events?from=x", None, 400, PROBLEM), ("GET", "/admin/events?follow=maybe", None, 400, PROBLEM),
    ("GET", "/admin/letters?policy=desk%20refuses&limit=1", None, 200, JSON), ("GET", "/admin/letters?limit=0", None, 400, PROBLEM),
    ("GET", "/admin/letters/1", None, 200, JSON), ("GET", "/admin/letters/2", None, 404, PROBLEM), ("GET", "/admin/letters/x", None, 404, PROBLEM),
    ("POST", "/admin/letters/9/retry", None, 404, PROBLEM), ("POST", "/admin/letters/retry?policy=nobody", None, 202, JSON),
    ("DELETE", "/admin/letters/9", None, 404, PROBLEM), ("DELETE", "/admin/letters/1", None, 204, None),
    ("GET", "/admin/breakers", None, 200, JSON), ("PUT", "/admin/breakers/bell", {"timeout_ms": 5}, 200, JSON),
    ("PUT", "/admin/breakers/bell", {"timeout": -1}, 400, PROBLEM), ("PUT", "/admin/breakers/bel", {"timeout_ms": 5}, 404, PROBLEM),
    ("GET", "/admin/faults", None, 200, JSON), ("PUT", "/admin/faults", {"desk": {"error_rate": 1}}, 200, JSON),
    ("PUT", "/admin/faults", {"dsk": {}}, 400, PROBLEM), ("DELETE", "/admin/faults", None, 204, None),
    ("POST", "/admin/reload?dry_run=true", None, 200, JSON), ("POST", "/admin/reload", None, 200, JSON),
    ("POST", "/admin/reload?dry_run=maybe", None, 400, PROBLEM), ("GET", "/admin/generations", None, 200, JSON),
    ("POST", "/admin/generations/1/activate", None, 200, JSON), ("POST", "/admin/generations/99/activate", None, 404, PROBLEM),
    ("GET", "/admin/nothing", None, 404, PROBLEM),
]


@case("SHOP-7n each path of the admin side: status and type with the token, 401 without it, nothing of it on the gateway")
def admin():
    server = lab()
    for method, path, body, status, kind in ADMIN:
        bare = request(server.admin_address, method, path, body)
        assert bare.status == 401 and bare.headers.get("www-authenticate") == "Bearer", (method, path, bare)
        assert server.request(method, path, body).status == 404, (method, path)
        answer = server.admin(method, path, body)
        assert answer.status == status, (method, path, answer)
        assert kind is None or answer.headers["content-type"] == kind, (method, path, answer.headers["content-type"])
        if kind == PROBLEM:
            assert answer.json["code"] and answer.json["detail"] and answer.json["correlationId"], (method, path, answer)
    for path, kind in (("/livez", JSON), ("/readyz", JSON), ("/actuator/health", JSON), ("/metrics", "text/plain")):
        answer = request(server.admin_address, "GET", path)
        assert answer.status == 200 and answer.headers["content-type"].startswith(kind), (path, answer)
    assert re.search(r"^moontide_generation\S* \d+$", request(server.admin_address, "GET", "/metrics").text, re.MULTILINE)


BOOM = """
local function boom() local nothing = nil; return nothing.there end
return"""
FALLS = {
    "systems/lab.lua": LAB["systems/lab.lua"],
    "routes/lab/boom.lua": BOOM + """ {
  event "Fell" { service = "desk", key = { bell = "n" }, fields = { integer "n" } },
  route "boom" { service = "desk", method = "GET", path = "/boom", handle = boom },
  route "through" { service = "desk", method = "GET", path = "/through", handle = function() return http.get("http://desk/boom").body end },
  route "fall" { service = "desk", method = "GET", path = "/fall", handle = function()
    log.warn("falling", { n = 1 })
    bus.emit("Fell", { n = 1 })
  end },
}
""",
    "policies/lab/boom.lua": BOOM + ' policy "desk falls" { service = "desk", on = "Fell", handle = boom }\n',
}
LINE = ["ts", "level", "msg", "service", "script", "line", "policy", "event", "key", "seq", "try", "generation", "correlationId", "code",
        "error"]


@case("SHOP-7p a script's error: the client sees no traceback, the log has one, with its place, under the same id")
def errors_in_the_log():
    folder = os.path.join(temp_dir(), "scripts")
    write_files(folder, FALLS)
    server = Server("lab", scripts=folder)
    route, rule = "scripts/routes/lab/boom.lua", "scripts/policies/lab/boom.lua"
    for path, status, script, msg in (("/boom", 500, route, "script error"), ("/fall", 200, rule, "script error"),
                                      ("/through", 502, route, "script error in a called service")):
        answer = server.request("GET", path, headers={"X-Correlation-Id": path[1:]})
        assert answer.status == status and "traceback" not in answer.text, (path, answer)
        entry = server.wait_log(level="error", msg=msg, correlationId=path[1:])
        assert tuple(entry[k] for k in ("script", "line", "generation", "service", "code")) == (script, 2, 1, "desk", "script"), entry
        assert "stack traceback" in entry["traceback"] and "nothing" in entry["error"], entry
    failed = server.wait_log(msg="policy failed")
    assert list(failed) == LINE and (failed["policy"], failed["key"], failed["line"]) == ("desk falls", "bell/1", 2), failed
    said = server.log_lines(msg="falling")[0]
    assert [said[k] for k in ("service", "script", "line", "correlationId", "data")] == ["desk", route, 8, "fall", '{"n":1}'], said


if __name__ == "__main__":
    main()
