# SPDX-License-Identifier: MIT
# timeout: 300
"""SHOP-5: calls that leave the process. The bookmarket as two processes, and http.* against a host whose every byte is
the test's."""
import os
import socket
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import ROOT, Server, case, command, eventually, fix_address, main, temp_dir, write_files  # noqa: E402
from peer import Peer  # noqa: E402
from tap import at_end  # noqa: E402

ORDER = {"bookId": 10, "qty": 1, "customerId": 1002}


def two_processes(*, order_args=(), payment_args=()):
    """The bookmarket's payment in one process and its order in another, each with its own data folder."""
    payment = Server("bookmarket", args=["--only", "payment", *payment_args])
    order = Server("bookmarket", args=["--only", "order", "--set", f"services.payment.url=http://{payment.gateway}",
                                       *order_args])
    return order, payment


CUT = "\0"  # at the end of an answer: the connection is closed behind it


class Host(Peer):
    """Answers each request with what `answers` says, and keeps what it heard."""

    def __init__(self, *answers):
        self.answers, self.heard = list(answers), []
        super().__init__()

    def _talk(self, peer):
        try:
            self._answer(peer)
        except OSError:
            pass  # the server has closed the connection

    def _answer(self, peer):
        with peer, peer.makefile("rb") as stream:
            while True:
                lines = []
                while (line := stream.readline()) not in (b"\r\n", b""):
                    lines.append(line.decode().rstrip("\r\n"))
                if not lines:
                    return
                headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
                body = stream.read(int(headers.get("content-length", 0)))
                self.heard.append((lines[0], headers, body))
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                if answer is None:
                    return
                peer.sendall(answer.removesuffix(CUT).encode())
                if answer.endswith(CUT):
                    return


def answer(status, body="", headers=""):
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n{body}"


def caller(host, body, *, extra="", allow=None):
    """A server with POST /go that runs `body`; `host` is what the scripts may call."""
    folder = temp_dir()
    allowed = ", ".join(f'"{name}"' for name in (allow if allow is not None else [host]))
    write_files(folder, {
        "systems/desk.lua": f"return {{ services = {{ desk = {{}}, other = {{}} }}, http = {{ allow = {{ {allowed} }} }} }}\n",
        "routes/desk/go.lua": f"""
            local host = "http://{host}"
            local ONE = {{ headers = {{ ["X-One"] = "a" }} }}
            return {{
              {extra}
              route "go" {{ service = "desk", method = "POST", path = "/go", handle = function(request)
                {body}
              end }},
            }}
        """,
    })
    return Server("desk", scripts=folder)


@case("SHOP-5a an order in one process is paid in another, under the same correlation id")
def paid_elsewhere():
    order, payment = two_processes()
    placed = order.request("POST", "/orders", ORDER, {"X-Correlation-Id": "story-1"})
    assert placed.status == 201 and placed.id == 1, placed
    paid = payment.request("GET", "/payments/1").json
    assert (paid["orderId"], paid["customerId"]) == (1, 1002), paid
    assert order.request("GET", "/payments/1").json == paid, "the gateway of the order process leads to the other one"
    assert payment.request("GET", "/orders/1").status == 404
    ordered, paid = order.events(), payment.events()
    assert [event["type"] for event in ordered] == ["Ordered"] and [event["type"] for event in paid] == ["Paid"]
    assert ordered[0]["correlationId"] == paid[0]["correlationId"] == "story-1"


@case("SHOP-5a a payment process that is gone: 502, and nothing is left of the order")
def gone():
    order, payment = two_processes()
    assert order.request("POST", "/orders", ORDER).status == 201
    assert payment.stop() == 0
    for _ in range(3):
        refused = order.request("POST", "/orders", ORDER)
        assert refused.status == 502 and refused.json["code"] == "unreachable", refused
    assert [row["id"] for row in order.rows("/orders")] == [1]
    assert len(order.events(type="Ordered")) == 1


@case("SHOP-5a a slow payment: 504 in the breaker's time, then the breaker opens: 503 at once, and it closes again")
def slow():
    order, payment = two_processes(order_args=["--set", "breakers.payment.timeout_ms=200", "--set",
                                               "breakers.payment.volume=3", "--set", "breakers.payment.sleep_ms=300"])
    assert payment.admin("PUT", "/admin/faults", {"payment": {"delay_ms": [5000, 5000]}}).status == 200
    for _ in range(3):
        late = order.request("POST", "/orders", ORDER)
        assert late.status == 504 and late.json["code"] == "timeout", late
    eventually(lambda: order.request("POST", "/orders", ORDER).status == 503, "the breaker opens")
    opened = order.request("POST", "/orders", ORDER)
    assert opened.status in (503, 504), opened
    assert order.rows("/orders") == [] and order.events(type="Ordered") == []
    assert payment.admin("DELETE", "/admin/faults").status in (200, 204)
    eventually(lambda: order.request("POST", "/orders", ORDER).status == 201, "the breaker closes")


@case("SHOP-5a what the other process refuses is 502 with its reason, and a fault set here acts on the call")
def refused():
    order, payment = two_processes()
    assert payment.admin("PUT", "/admin/faults", {"payment": {"error_rate": 1.0}}).status == 200
    failed = order.request("POST", "/orders", ORDER)
    assert failed.status == 502 and failed.json["code"] == "http", failed
    assert "answered 500: a fault set by the operator" in failed.json["message"], failed
    payment.admin("DELETE", "/admin/faults")
    order.admin("PUT", "/admin/faults", {"payment": {"error_rate": 1.0}})
    failed = order.request("POST", "/orders", ORDER)
    assert failed.status == 502 and failed.json["code"] == "http", failed
    assert payment.rows("/payments") == [] and order.rows("/orders") == []


@case("SHOP-5b what is sent: JSON, correlation, depth and a key; what comes back is decoded")
def sent():
    host = Host(answer("201 Created", '{"id":7,"list":[]}',
                       "Content-Type: application/hal+json\r\nLocation: /things/7\r\nX-Two: b\r\n"))
    server = caller(host.address, """
        local answer = http.post(host .. "/things?x=1", { a = 1 }, ONE)
        return { status = answer.status, location = answer.headers.location, two = answer.headers["x-two"],
                 id = answer.body.id }
    """)
    got = server.request("POST", "/go", {}, {"X-Correlation-Id": "c-1"})
    assert got.status == 200, got
    assert got.json == {"status": 201, "location": "/things/7", "two": "b", "id": 7}, got
    line, headers, body = host.heard[0]
    assert line == "POST /things?x=1 HTTP/1.1" and body == b'{"a":1}', host.heard
    assert headers["host"] == host.address and headers["content-type"] == "application/json"
    assert headers["x-correlation-id"] == "c-1" and headers["x-request-depth"] == "1" and headers["x-one"] == "a"
    assert len(headers["idempotency-key"]) == 32
    assert server.request("POST", "/go", {}).status == 200
    assert host.heard[1][1]["idempotency-key"] != headers["idempotency-key"], "two requests had one key"


@case("SHOP-5b keys: the client's own names them, each call has another, key = ... is sent as it is, GET has none")
def keys():
    host = Host(answer("200 OK", "plain", "Content-Type: text/plain\r\n"))
    server = caller(host.address, """
        http.put(host .. "/a", "text")
        http.put(host .. "/a", "text")
        http.delete(host .. "/b", { key = "by-hand-1" })
        return http.get(host .. "/c").body
    """)
    got = server.request("POST", "/go", {"n": 1}, {"Idempotency-Key": "client-1"})
    assert got.status == 200 and got.body == b"plain", got
    first, second, third, fourth = host.heard
    assert first[1]["content-type"] == "text/plain;charset=UTF-8" and first[2] == b"text"
    assert first[1]["idempotency-key"] != second[1]["idempotency-key"]
    assert third[1]["idempotency-key"] == "by-hand-1" and "idempotency-key" not in fourth[1]


@case("SHOP-5b a request that failed and comes again under its key sends the keys that it sent before")
def same_keys():
    host = Host(answer("200 OK"))
    server = caller(host.address, """
        http.post(host .. "/charge", { a = 1 })
        fail(503, "not yet")
    """)
    for _ in range(2):
        assert server.request("POST", "/go", {}, {"Idempotency-Key": "client-2"}).status == 503
        server.kill9()
        server.start()
    assert server.request("POST", "/go", {}, {"Idempotency-Key": "client-3"}).status == 503
    first, again, other = (heard[1]["idempotency-key"] for heard in host.heard)
    assert first == again != other, host.heard


@case("SHOP-5b a task that runs again after a conflict sends the same key")
def rerun():
    host = Host(answer("200 OK", "{}", "Content-Type: application/json\r\n"))
    server = caller(host.address, """
        local row = store.get("counts", 1) or store.create("counts", { n = 0 })
        http.post(host .. "/charge", { once = request.body.id })
        store.update("counts", row.id, { n = row.n + 1 })
        return "ok"
    """, extra='resource "counts" { service = "desk", fields = { integer "n" } },')
    assert server.request("POST", "/go", {"id": "first"}).status == 200
    threads = [threading.Thread(target=server.request, args=("POST", "/go", {"id": f"r{n}"})) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.request("GET", "/counts/1").json["n"] == 17
    by_body = {}
    for _, headers, body in host.heard:
        by_body.setdefault(body, set()).add(headers["idempotency-key"])
    assert len(by_body) == 17 and all(len(found) == 1 for found in by_body.values()), by_body
    assert len(set().union(*by_body.values())) == 17


@case("SHOP-5c no whole answer, none in time, an answer that is none: each has its code, and try() gives it")
def no_answer():
    codes = (("unreachable", None), ("timeout", ""), ("protocol", "SSH-2.0\r\n\r\n"),
             ("unreachable", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf" + CUT),
             ("too_large", "HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n" + "x" * 1100000))
    hosts = [Host(said) for _, said in codes]
    server = caller("127.0.0.1:1", """
        local _, err = try(http.get, request.body.url, { timeout = "500ms" })
        return { code = err.code, retryable = err.retryable, message = err.message }
    """, allow=[host.address for host in hosts])
    for (code, _), host in zip(codes, hosts):
        url = f"http://{host.address}/x"
        got = server.request("POST", "/go", {"url": url})
        assert got.status == 200 and got.json["code"] == code, (code, got.json)
        assert got.json["message"].startswith(f"GET {url}: "), got.json
        assert got.json["retryable"] == (code != "too_large"), got.json


@case("SHOP-5c 4xx and 5xx raise with their status; a redirect is an answer and is not followed")
def statuses():
    host = Host(answer("404 Not Found", '{"message":"no such thing"}', "Content-Type: application/problem+json\r\n"),
                answer("302 Found", "", "Location: http://169.254.169.254/\r\n"))
    server = caller(host.address, """
        local _, err = try(http.get, host .. "/x")
        local moved = http.get(host .. "/y")
        return { code = err.code, status = err.status, message = err.message, moved = moved.status,
                 to = moved.headers.location }
    """)
    got = server.request("POST", "/go", {}).json
    assert (got["code"], got["status"], got["moved"]) == ("http", 404, 302), got
    assert got["message"].endswith("answered 404: no such thing") and got["to"] == "http://169.254.169.254/"
    assert len(host.heard) == 2


@case("SHOP-5d only hosts of http.allow; never link-local addresses, the admin side, or https")
def forbidden():
    host = Host(answer("200 OK", "x"))
    server = caller(host.address, "return (http.get(request.body.url).body)",
                    allow=[host.address, "169.254.169.254", "[fe80::1]"])
    assert server.request("POST", "/go", {"url": f"http://{host.address}/"}).body == b"x"
    port = host.address.split(":")[1]
    for url, part in ((f"http://localhost:{port}/", "http.allow does not list"), ("http://othr/", 'did you mean "other"'),
                      ("http://169.254.169.254/latest", "link-local"), ("http://[fe80::1]/", "link-local"),
                      (f"https://{host.address}/", "https is not available"), ("nonsense", "is no URL")):
        got = server.request("POST", "/go", {"url": url})
        found = server.log_lines(level="error") + [got.json]
        assert got.status >= 400 and any(part in str(entry) for entry in found), (url, got, found[-1:])
    assert len(host.heard) == 1
    own = caller("127.0.0.1:1", "return (http.get(request.body.url).body)")
    address = own.admin_address
    again = caller("127.0.0.1:1", "return (http.get(request.body.url).body)", allow=[address])
    own.close()
    again.stop()
    fix_address(again, "--admin", address)
    again.start()
    got = again.request("POST", "/go", {"url": f"http://{address}/livez"})
    assert got.status == 403 and "admin side" in got.json["message"], got


@case("SHOP-5d options that cannot be: each is named, with the nearest right one")
def options():
    server = caller("127.0.0.1:9", """
        local options = { { timout = 1 }, { headers = { ["X-A"] = "a\\r\\nb" } }, { headers = { ["a b"] = "c" } },
          { headers = { Host = "x" } }, { key = "" }, { timeout = "soon" } }
        local messages = {}
        for i, option in ipairs(options) do
          local _, err = try(http.get, host .. "/", option)
          messages[i] = err.message
        end
        return messages
    """)
    got = server.request("POST", "/go", {}).json
    for message, part in zip(got, ('did you mean "timeout"', "CR, LF", "is no header name", "set by the host",
                                   "1 to 255", "timeout")):
        assert part in message, got


@case("SHOP-5e calls nest 8 deep over processes too")
def depth():
    folder = temp_dir()
    write_files(folder, {
        "systems/ring.lua": "return { services = { ping = {}, pong = {} } }",
        "routes/ring/ring.lua": """
            return {
              route "ping" { service = "ping", method = "POST", path = "/ping", handle = function()
                return http.post("http://pong/pong", {}).body end },
              route "pong" { service = "pong", method = "POST", path = "/pong", handle = function()
                return http.post("http://ping/ping", {}).body end },
            }
        """})
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        pong_address = "127.0.0.1:%d" % reserved.getsockname()[1]
    ping = Server("ring", scripts=folder, args=["--only", "ping", "--set", f"services.pong.url=http://{pong_address}"])
    pong = Server("ring", scripts=folder, wait=False,
                  args=["--only", "pong", "--set", f"services.ping.url=http://{ping.gateway}"])
    pong.kill9()
    fix_address(pong, "--listen", pong_address)
    pong.start()
    got = ping.request("POST", "/ping", {})
    assert got.status == 502 and "answered 50" in got.json["message"], got
    served = [sum(value for name, value in server.metrics().items() if name.startswith("moontide_requests_total"))
              for server in (ping, pong)]
    assert served == [5, 4], served


@case("SHOP-5f --only: an unknown service ends with 78 and the nearest name, a call that leads nowhere with its line")
def only():
    data = os.path.join(temp_dir(), "data")
    code, _, err = command("run", "bookmarket", "--only", "order,paymnt", "--data", data)
    assert code == 78 and 'there is no service "paymnt"; did you mean "payment"?' in err, (code, err)
    code, _, err = command("run", "bookmarket", "--only", "order", "--data", data)
    with open(os.path.join(ROOT, "scripts/routes/bookmarket/orders.lua"), encoding="utf-8") as file:
        line = next(number for number, text in enumerate(file, 1) if "http://payment/" in text)
    assert code == 78 and f"orders.lua:{line}: service payment is not in this process (--only) and has no url" in err, err
    code, _, err = command("run", "bookmarket", "--only", "order", "--data", data,
                           "--set", "services.payment.url=ftp://x")
    assert code == 78 and 'services.payment.url: expected http://HOST:PORT, got "ftp://x"' in err, err
    code, _, err = command("run", "bookmarket", "--data", data, "--set", "services.paymnt.url=http://127.0.0.1:1")
    assert code == 78 and 'did you mean "services.payment"' in err, err


@case("SHOP-5f a service of another process has no tables, routes or policies here, nor rows of them")
def absent():
    order, payment = two_processes()
    policies = {service["name"]: [policy["name"] for policy in service["policies"]]
                for service in payment.admin("GET", "/admin/services").json["services"]}
    assert policies.pop("payment") == ["payment is canceled with its order"] and not any(policies.values()), policies
    assert order.request("POST", "/orders", ORDER).status == 201
    here = {service["name"]: service for service in order.admin("GET", "/admin/services").json["services"]}
    assert len(here["order"]["policies"]) == 2 and not here.get("delivery", {}).get("policies"), here
    assert order.request("GET", "/deliveries").status == 404 and payment.request("GET", "/orders").status == 404


@case("SHOP-5g a kept connection that the other process closed by its restart does no harm")
def stale():
    order, payment = two_processes()
    fix_address(payment, "--listen", payment.gateway)
    for number in range(1, 4):
        for _ in range(4):
            assert order.request("POST", "/orders", ORDER).status == 201
        assert payment.stop() == 0
        payment.start()
        assert len(payment.rows("/payments")) == number * 4
    assert order.request("POST", "/orders", ORDER).status == 201


@case("SHOP-5g a request that is given up closes its call: the other process sees the connection end")
def given_up():
    ended = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))
    at_end(listener.close)

    def serve():
        peer = listener.accept()[0]
        with peer:
            while peer.recv(65536):
                continue
            ended.set()
    threading.Thread(target=serve, daemon=True).start()
    host = "127.0.0.1:%d" % listener.getsockname()[1]
    server = caller(host, 'local _, err = try(http.get, host .. "/x", { timeout = 150 }) return err.code')
    assert server.request("POST", "/go", {}).body == b"timeout"
    assert ended.wait(20), "the connection stayed open"


if __name__ == "__main__":
    main()
