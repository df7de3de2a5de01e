# SPDX-License-Identifier: MIT
"""Breakers from outside: forced, tuned, watched, told as events and streamed."""
import base64
import contextlib
import json
import os
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import Server, at_end, case, eventually, main, temp_dir, write_files  # noqa: E402

ORDER = {"bookId": "10", "qty": "1", "customerId": "1002"}


def breaker(server):
    return {b["name"]: b for b in server.admin("GET", "/admin/breakers").json["breakers"]}["payment"]


def put(server, settings, name="payment"):
    return server.admin("PUT", f"/admin/breakers/{name}", settings)


def host_events(server):
    lines = server.admin("GET", "/admin/events?service=moontide").text.splitlines()
    return [json.loads(line)["type"] for line in lines if line]


@case("BREAKER-7a a breaker is forced and tuned while it runs, under either name; nonsense changes nothing")
def tuned():
    server = Server("bookmarket")
    assert put(server, {"force": "open"}).status == 200
    shown = breaker(server)
    assert (shown["state"], shown["is_open"], shown["forced"]) == ("closed", True, "open"), shown
    answer = server.request("POST", "/orders", ORDER)
    assert answer.status == 503 and answer.json["code"] == "circuit_open", answer
    assert put(server, {"force": None}).status == 200
    assert breaker(server)["set"] == {}, "null goes back to what the files say"
    assert server.request("POST", "/orders", ORDER).status == 201
    assert put(server, {"circuitBreaker.requestVolumeThreshold": 7, "limit": 3}).status == 200
    shown = breaker(server)
    assert (shown["conf"]["volume"], shown["conf"]["limit"], shown["set"]["volume"]) == (7, 3, 7), shown
    for wrong in ({"volume": 0}, {"volum": 5}, {"slow_ms": 5000}, {"timeout_ms": "soon"}, {"force": "half"}):
        refused = put(server, wrong)
        assert refused.status == 400 and list(wrong)[0][:5] in refused.json["message"], (wrong, refused)
    assert breaker(server)["conf"] == shown["conf"]
    assert put(server, {"volume": 1}, "paymint").status == 404
    assert server.admin("POST", "/admin/reload").status == 200
    assert breaker(server)["conf"]["volume"] == 7, "what was set holds over a reload"
    assert put(server, {"volume": None}).status == 200
    assert breaker(server)["conf"]["volume"] == 20
    assert put(server, {"sleep_ms": 1234, "limit": 9}, "default").status == 200
    assert breaker(server)["conf"]["sleep_ms"] == 1234
    assert breaker(server)["conf"]["limit"] == 3, "what is set for the one goes before what is set for all"


@case("BREAKER-7b opening, trial and closing are events of the host, and the alarm policy reacts to one")
def told():
    server = Server("bookmarket", args=["--set", "hystrix.command.payment.circuitBreaker.requestVolumeThreshold=2",
                                        "--set", "breakers.payment.circuitBreaker.sleepWindowInMilliseconds=1"])
    assert server.admin("PUT", "/admin/faults", {"payment": {"error_rate": 1.0}}).status == 200
    assert [server.request("POST", "/orders", ORDER).status for _ in range(2)] == [502, 502]
    assert server.admin("DELETE", "/admin/faults").status == 204
    eventually(lambda: server.request("POST", "/orders", ORDER).status == 201, "a trial closes it")
    eventually(lambda: host_events(server) == ["BreakerOpened", "BreakerHalfOpened", "BreakerClosed"],
               "the events are in the log")
    eventually(lambda: [a["message"] for a in server.rows("/breakerAlarms")]
               == ["Breaker Opened : payment"], "the policy has made an alarm")
    shown = breaker(server)
    assert shown["state"] == "closed" and shown["total"]["FAILURE"] == 2, shown


def changes(server):
    lines = server.admin("GET", "/admin/events?service=moontide").text.splitlines()
    rows = [json.loads(line) for line in lines if line]
    return [(row["type"], row["payload"]["from"], row["payload"]["to"]) for row in rows]


@case("BREAKER-7d being forced is an event, and so is its end; the computed state goes on beside it")
def forced_told():
    server = Server("bookmarket", args=["--set", "breakers.payment.volume=1",
                                        "--set", "breakers.payment.sleep_ms=600000"])
    assert put(server, {"force": "open"}).status == 200
    assert put(server, {"force": "open"}).status == 200, "again: no news"
    assert put(server, {"force": "closed"}).status == 200
    assert server.admin("PUT", "/admin/faults", {"payment": {"error_rate": 1.0}}).status == 200
    assert [server.request("POST", "/orders", ORDER).status for _ in range(2)] == [502, 502]
    assert put(server, {"force": None}).status == 200
    expected = [("BreakerOpened", "closed", "forced_open"), ("BreakerClosed", "forced_open", "forced_closed"),
                ("BreakerOpened", "closed", "open"), ("BreakerOpened", "forced_closed", "open")]
    eventually(lambda: changes(server) == expected, "the four events")


@case("BREAKER-7e with keep, what is forced by hand and an open state outlast a kill -9; without it they do not")
def kept():
    server = Server("bookmarket", args=["--set", "breakers.payment.keep=true", "--set", "breakers.payment.volume=2",
                                        "--set", "breakers.payment.sleep_ms=600000"])
    path = os.path.join(server.data, "breakers.json")
    assert put(server, {"force": "open", "limit": 7}).status == 200
    server.kill9()
    server.restart()
    shown = breaker(server)
    assert (shown["forced"], shown["conf"]["limit"], shown["state"]) == ("open", 7, "closed"), shown
    assert server.request("POST", "/orders", ORDER).status == 503
    assert put(server, {"force": None}).status == 200
    assert server.admin("PUT", "/admin/faults", {"payment": {"error_rate": 1.0}}).status == 200
    assert [server.request("POST", "/orders", ORDER).status for _ in range(3)] == [502, 502, 503]
    eventually(lambda: "open_until" in open(path, encoding="utf-8").read(), "its state is in the file")
    before = changes(server)
    server.kill9()
    server.restart()
    shown = breaker(server)
    assert shown["state"] == "open" and 0 < shown["retry_after_ms"] <= 600000, shown
    assert server.request("POST", "/orders", ORDER).status == 503
    assert changes(server) == before, "coming back is no news"
    assert put(server, {"sleep_ms": 1}).status == 200
    eventually(lambda: server.request("POST", "/orders", ORDER).status == 201, "the faults are gone: a trial closes it")
    server.args = []
    server.restart()
    shown = breaker(server)
    assert (shown["state"], shown["set"]) == ("closed", {}), "the settings no longer say keep"
    assert put(server, {"force": "open"}).status == 200
    server.restart()
    assert breaker(server)["forced"] is None and not os.path.exists(path)


@case("BREAKER-7f a breakers.json that cannot be read is an error in the log, and the start goes on")
def unreadable():
    server = Server("bookmarket", args=["--set", "breakers.default.keep=true"])
    assert put(server, {"limit": 9}, "default").status == 200
    server.stop()
    server.start()
    assert server.admin("GET", "/admin/breakers").json["default"] == {"limit": 9}
    server.stop()
    with open(os.path.join(server.data, "breakers.json"), "w", encoding="utf-8") as file:
        file.write("[{")
    server.start()
    assert server.log_lines(level="error", msg="what breakers had kept is not restored"), server.tail()
    assert server.request("POST", "/orders", ORDER).status == 201


def read_stream(server, headers, until=2):
    """The objects of the first ticks of /hystrix.stream, checked line by line."""
    host, port = server.admin_address.rsplit(":", 1)
    connection = socket.create_connection((host, int(port)), 30)
    at_end(connection.close)
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    connection.sendall(f"GET /hystrix.stream HTTP/1.0\r\nHost: x\r\n{lines}\r\n".encode())
    data = b""
    while data.count(b"ping: \n\n") < until:
        more = connection.recv(65536)
        assert more, data
        data += more
    head, body = data.split(b"\r\n\r\n", 1)
    return head.decode(), body.decode(), connection


REQUIRED = """isCircuitBreakerOpen errorPercentage errorCount requestCount rollingCountCollapsedRequests
rollingCountExceptionsThrown rollingCountFailure rollingCountFallbackFailure rollingCountFallbackRejection
rollingCountFallbackSuccess rollingCountResponsesFromCache rollingCountSemaphoreRejected rollingCountShortCircuited
rollingCountSuccess rollingCountThreadPoolRejected rollingCountTimeout currentConcurrentExecutionCount
latencyExecute_mean latencyExecute propertyValue_circuitBreakerRequestVolumeThreshold
propertyValue_circuitBreakerSleepWindowInMilliseconds propertyValue_circuitBreakerErrorThresholdPercentage
propertyValue_circuitBreakerForceOpen propertyValue_circuitBreakerForceClosed propertyValue_executionIsolationStrategy
propertyValue_executionIsolationThreadTimeoutInMilliseconds propertyValue_executionIsolationThreadInterruptOnTimeout
propertyValue_executionIsolationSemaphoreMaxConcurrentRequests
propertyValue_fallbackIsolationSemaphoreMaxConcurrentRequests
propertyValue_metricsRollingStatisticalWindowInMilliseconds propertyValue_requestCacheEnabled
propertyValue_requestLogEnabled reportingHosts name group currentTime""".split()


def no_decimals(text):
    raise AssertionError(f"a decimal: {text}")


@case("BREAKER-8a /hystrix.stream: framing, every field that the dashboard wants, integers only")
def streamed():
    server = Server("bookmarket")
    assert server.request("POST", "/orders", ORDER).status == 201
    head, body, _ = read_stream(server, {"Authorization": f"Bearer {server.token()}"})
    assert " 200 " in head and "text/event-stream;charset=UTF-8" in head, head
    kinds = {}
    for block in body.split("\n\n"):
        assert block in ("", "ping: ") or (block.startswith("data: {") and "\n" not in block), block
        if block.startswith("data: "):
            event = json.loads(block[6:], parse_float=no_decimals)
            kinds[event["type"]] = event
    assert set(kinds) == {"HystrixCommand", "HystrixThreadPool"}, kinds
    command = kinds["HystrixCommand"]
    missing = [field for field in REQUIRED if command.get(field) is None]
    assert not missing, missing
    assert command["name"] == "payment" and command["rollingCountSuccess"] == 1, command
    assert list(command["latencyExecute"]) == ["0", "25", "50", "75", "90", "95", "99", "99.5", "100"]


@case("BREAKER-8b /hystrix.stream wants the token, also as a password; at most 5 clients, and a place is given back")
def guarded():
    server = Server("bookmarket")
    assert server.admin("GET", "/hystrix.stream", headers={"Authorization": "Bearer wrong-wrong-wrong-x"}).status == 401
    basic = base64.b64encode(f"dashboard:{server.token()}".encode()).decode()
    clients = [read_stream(server, {"Authorization": f"Basic {basic}"}, 1)[2] for _ in range(5)]
    refused = server.admin("GET", "/hystrix.stream")
    assert refused.status == 503 and refused.text == "MaxConcurrentConnections reached: 5", refused
    clients[0].close()

    def let_in():
        host, port = server.admin_address.rsplit(":", 1)
        with socket.create_connection((host, int(port)), 30) as connection:
            connection.sendall(f"GET /hystrix.stream HTTP/1.0\r\nHost: x\r\nAuthorization: Basic {basic}\r\n\r\n".encode())
            return b" 200 " in connection.recv(4096)
    eventually(let_in, "the place of a client that has gone")


@case("BREAKER-8d /hystrix.stream drops who does not read, and gives the place to another; who reads stays")
def slow():
    many = ", ".join(f"breaker_{i} = {{}}" for i in range(600))  # a few ticks are more than kernel and server hold
    scripts = os.path.join(temp_dir(), "scripts")
    write_files(scripts, {
        "systems/many.lua": f"return {{ services = {{ \"a\" }}, breakers = {{ {many} }} }}",
        "routes/many/a.lua": 'return resource "rows" { service = "a", fields = { text "name" } }'})
    server = Server("many", scripts=scripts)
    auth = {"Authorization": f"Bearer {server.token()}"}
    host, port = server.admin_address.rsplit(":", 1)
    reader = read_stream(server, auth, 1)[2]
    lazy = []
    for _ in range(4):
        connection = socket.socket()
        at_end(connection.close)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(30)
        connection.connect((host, int(port)))
        connection.sendall(f"GET /hystrix.stream HTTP/1.0\r\nHost: x\r\nAuthorization: {auth['Authorization']}\r\n\r\n"
                           .encode())
        lazy.append(connection)
    pings, gone = 0, 0
    while pings < 4:  # four ticks, each read whole
        data = reader.recv(1 << 20)
        assert data, "who reads was dropped"
        pings += data.count(b"ping: \n\n")
    for connection in lazy:
        with contextlib.suppress(ConnectionError):
            while connection.recv(1 << 20):
                pass
        gone += 1
    assert gone == 4, gone
    assert " 200 " in read_stream(server, auth, 1)[0], "a place of theirs"


@case("BREAKER-8e /hystrix.stream as Turbine takes it in: by type and name, a line each, the same keys, numbers in objects")
def turbine():
    server = Server("bookmarket")
    _, body, connection = read_stream(server, {"Authorization": f"Bearer {server.token()}"}, 1)
    assert server.request("POST", "/orders", ORDER).status == 201
    assert put(server, {"force": "open"}).status == 200
    assert server.request("POST", "/orders", ORDER).status == 503
    while body.count("ping: \n\n") < 3:
        body += connection.recv(65536).decode()
    series = {}
    for line in body.splitlines():
        if not line.startswith("data: "):  # Turbine passes the others over
            assert line in ("", "ping: "), line
            continue
        event = json.loads(line[6:], parse_float=no_decimals)
        assert abs(time.time() * 1000 - event["currentTime"]) < 60000 and event["reportingHosts"] == 1, event
        for value in event.values():
            assert not isinstance(value, dict) or all(type(n) is int for n in value.values()), event
        series.setdefault((event["type"], event["name"]), []).append(event)
    assert {kind for kind, _ in series} == {"HystrixCommand", "HystrixThreadPool"}, list(series)
    for events in series.values():
        assert len(events) >= 3 and len({tuple(event) for event in events}) == 1, "the keys, in order, are the same"
        assert [e["currentTime"] for e in events] == sorted(e["currentTime"] for e in events)
    last = series["HystrixCommand", "payment"][-1]
    assert (last["isCircuitBreakerOpen"], last["propertyValue_circuitBreakerForceOpen"]) == (True, True), last
    assert (last["rollingCountSuccess"], last["rollingCountShortCircuited"]) == (1, 1), last


@case("BREAKER-8f a refused call has no latency, with a fallback or without; a failed one has one of each kind")
def not_timed():
    scripts = os.path.join(temp_dir(), "scripts")
    write_files(scripts, {
        "systems/t.lua": 'return { services = { "a" }, breakers = { open = { force_open = true }, closed = {} } }',
        "routes/t/a.lua": """
            local open, closed = breaker "open", breaker "closed"
            local function broken() error("broken") end
            local function fallback() return 1 end
            return route "go" { service = "a", method = "GET", path = "/go", handle = function()
              pcall(open.call, open, broken)
              return { open:call(broken, fallback), closed:call(broken, fallback) }
            end }"""})
    server = Server("t", scripts=scripts)
    assert server.request("GET", "/go").json == [1, 1]
    shown = {b["name"]: b for b in server.admin("GET", "/admin/breakers").json["breakers"]}
    counts = {name: (b["latency_ms"]["count"], b["latency_total_ms"]["count"]) for name, b in shown.items()}
    assert counts == {"open": (0, 0), "closed": (1, 1)}, counts
    assert shown["closed"]["latency_total_ms"]["100"] < 60000, shown["closed"]


@case("BREAKER-8c /metrics has Resilience4j's names")
def measured():
    server = Server("bookmarket")
    assert server.request("POST", "/orders", ORDER).status == 201
    metrics = server.metrics()
    assert metrics['resilience4j_circuitbreaker_state{name="payment",state="closed"}'] == 1
    assert metrics['resilience4j_circuitbreaker_calls_total{name="payment",kind="successful"}'] == 1
    assert metrics['resilience4j_circuitbreaker_failure_rate{name="payment"}'] == -1
    assert metrics['resilience4j_bulkhead_max_allowed_concurrent_calls{name="payment"}'] == 200
    assert metrics['resilience4j_circuitbreaker_slow_call_rate{name="payment"}'] == -1
    assert put(server, {"force_open": True, "slow_ms": 900, "slow_volume": 1}).status == 200
    metrics = server.metrics()
    assert metrics['resilience4j_circuitbreaker_state{name="payment",state="forced_open"}'] == 1
    assert metrics['resilience4j_circuitbreaker_slow_call_rate{name="payment"}'] == 0, "slow calls have a volume of their own"
    assert metrics['resilience4j_circuitbreaker_failure_rate{name="payment"}'] == -1


if __name__ == "__main__":
    main()
