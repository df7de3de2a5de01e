# SPDX-License-Identifier: MIT
# timeout: 240
"""G8: a write that names itself by an Idempotency-Key is done once, however often and wherever it comes again."""
import os
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import Server, case, eventually, main, temp_dir, write_files  # noqa: E402

ORDER = {"bookId": 10, "qty": 1, "customerId": 1002}

DESK = {
    "systems/desk.lua": "return { services = { desk = {}, till = {} } }",
    "routes/desk/desk.lua": """
        return {
          event "Counted" { service = "desk", key = { n = "n" }, fields = { integer "n" } },
          resource "notes" { service = "desk", fields = { text "t", integer "n" } },
          resource "sums" { service = "till", fields = { integer "n" } },
          route "sleep" { service = "desk", method = "POST", path = "/sleep", handle = function(request)
            log.info("sleeping")
            task.sleep(request.body.ms)
            store.create("notes", { t = "slept" })
            return response(202, { slept = request.body.ms }, { ["X-Note"] = "kept", Location = "/notes/1" })
          end },
          route "fail" { service = "desk", method = "POST", path = "/fail", handle = function(request)
            store.create("notes", { t = "lost" })
            fail(request.body.status, "as told")
          end },
          route "say no" { service = "desk", method = "POST", path = "/no", handle = function()
            store.create("notes", { t = "kept with a no" })
            return response(404, { no = true })
          end },
          route "large" { service = "desk", method = "POST", path = "/large", handle = function(request)
            store.create("notes", { t = "large" })
            return ("x"):rep(request.body.n)
          end },
          route "nothing" { service = "desk", method = "DELETE", path = "/nothing", handle = function()
            return { at = clock.now() }
          end },
          route "till" { service = "till", method = "POST", path = "/till", handle = function()
            store.create("sums", { n = 1 })
            return "till"
          end },
          route "read" { service = "desk", method = "GET", path = "/read", handle = function() return "read" end },
        }
    """,
}


def desk(**options):
    folder = temp_dir()
    write_files(folder, DESK)
    return Server("desk", scripts=folder, **options)


def key(name):
    return {"Idempotency-Key": name}


@case("G8 the same request under its key gets the first answer, over restarts too, and nothing is done twice")
def replay():
    server = Server("bookmarket")
    first = server.request("POST", "/orders", ORDER, key("order-1"))
    assert first.status == 201 and "Idempotency-Replayed" not in first.headers, first
    for restart in (None, server.restart, server.kill9):
        if restart:
            restart()
        if not server.running():
            server.start()
        again = server.request("POST", "/orders", ORDER, key("order-1"))
        assert (again.status, again.body) == (201, first.body), again
        location = first.headers["Location"].split("/", 3)[3]
        assert again.headers["Location"].split("/", 3)[3] == location
        assert again.headers["Content-Type"] == first.headers["Content-Type"]
        assert again.headers["Idempotency-Replayed"] == "true"
    other = server.request("POST", "/orders", ORDER, key("order-2"))
    assert other.status == 201 and other.id != first.id
    assert len(server.rows("/orders")) == len(server.rows("/payments")) == 2
    assert len(server.events(type="Ordered")) == 2


@case("G8 another method, path or body under a key that was used: 422, and nothing is done")
def reused():
    server = Server("bookmarket")
    assert server.request("POST", "/orders", ORDER, key("k")).status == 201
    for path, body in (("/orders", {**ORDER, "qty": 2}), ("/orders?x=1", ORDER), ("/orders/", ORDER)):
        refused = server.request("POST", path, body, key("k"))
        assert refused.status == 422 and refused.json["code"] == "key_reused", (path, refused)
    assert len(server.rows("/orders")) == 1
    assert server.request("POST", "/payments", {"orderId": 9}, key("k")).status == 201, "keys are a service's own"


@case("G8 the same key while the first request runs: 409 with Retry-After; another body: 422; then the answer")
def running():
    server = desk(args=["--workers", "4"])
    answers = []
    first = threading.Thread(target=lambda: answers.append(server.request("POST", "/sleep", {"ms": 1500}, key("s"))))
    first.start()
    server.wait_log(msg="sleeping")
    busy = server.request("POST", "/sleep", {"ms": 1500}, key("s"))
    assert busy.status == 409 and busy.json["code"] == "in_progress" and int(busy.headers["Retry-After"]) >= 1, busy
    assert server.request("POST", "/sleep", {"ms": 1}, key("s")).status == 422
    first.join()
    again = server.request("POST", "/sleep", {"ms": 1500}, key("s"))
    assert again.status == answers[0].status == 202 and again.json == {"slept": 1500}
    assert again.headers["X-Note"] == "kept" and again.headers["Location"] == "/notes/1"
    assert again.headers["Idempotency-Replayed"] == "true"
    assert len(server.rows("/notes")) == 1


@case("G8 32 clients with one key at once: one effect, and each gets its answer in the end")
def at_once():
    server = Server("bookmarket", args=["--workers", "4"])
    got = []

    def buy():
        def answered():
            answer = server.request("POST", "/orders", ORDER, key("rush"))
            assert answer.status in (201, 409), answer
            return answer if answer.status == 201 else None
        got.append(eventually(answered, "an answer"))
    threads = [threading.Thread(target=buy) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 32 and len({answer.body for answer in got}) == 1
    assert len(server.rows("/orders")) == len(server.rows("/payments")) == 1


@case("G8 what failed has left no key: a repeat runs; what was answered and stored is kept whatever its status")
def failed():
    server = desk()
    for status in (400, 409, 500, 503):
        for _ in range(2):
            answer = server.request("POST", "/fail", {"status": status}, key(f"f{status}"))
            assert answer.status == status and "Idempotency-Replayed" not in answer.headers, answer
    assert server.rows("/notes") == []
    for repeated in (False, True):
        answer = server.request("POST", "/no", {}, key("no"))
        assert answer.status == 404 and answer.json == {"no": True}
        assert ("Idempotency-Replayed" in answer.headers) == repeated
    assert len(server.rows("/notes")) == 1
    bad = server.request("POST", "/notes", b"{", {"Content-Type": "application/json", **key("bad")})
    assert bad.status == 400
    assert server.request("POST", "/notes", {"n": 1}, key("bad")).status == 201, "a refused request kept its key"


@case("G8 keys: what is no key is 400; quotes are the header's, not the key's; reads ignore it")
def syntax():
    server = desk()
    for bad in ("", "a b", "x" * 256, "kéy", '"', '"open', '"a"b', '"a\\b"', '""'):
        answer = server.request("POST", "/till", {}, {"Idempotency-Key": bad})
        assert answer.status == 400, (bad, answer)
    assert server.request("POST", "/till", {}, key("x" * 255)).status == 200
    assert server.request("POST", "/till", {}, key('"a-1"')).status == 200
    assert "Idempotency-Replayed" in server.request("POST", "/till", {}, key("a-1")).headers
    assert server.request("POST", "/till", {}, key('"with space \\"and\\" quotes"')).status == 200
    assert len(server.rows("/sums")) == 3
    for _ in range(2):
        assert "Idempotency-Replayed" not in server.request("GET", "/read", None, key("a-1")).headers


@case("G8 a request that changes nothing is kept too, and a large answer without its body")
def kept():
    server = desk()
    first = server.request("DELETE", "/nothing", None, key("d"))
    again = server.request("DELETE", "/nothing", None, key("d"))
    assert first.status == again.status == 200 and first.json == again.json
    large = server.request("POST", "/large", {"n": 300 * 1024}, key("l"))
    again = server.request("POST", "/large", {"n": 300 * 1024}, key("l"))
    assert len(large.body) == 300 * 1024 and again.status == 200 and again.body == b""
    assert again.headers["Idempotency-Replayed"] == "true"
    assert len(server.rows("/notes")) == 1


if __name__ == "__main__":
    main()
