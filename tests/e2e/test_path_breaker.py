# SPDX-License-Identifier: MIT
"""One breaker for the whole process, seen from outside."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import Server, at_end, case, eventually, main  # noqa: E402

ORDER = {"bookId": "10", "qty": "1", "customerId": "1002"}


def per_worker(server, name):
    return [value for key, value in server.metrics().items() if key.startswith(name + "{")]


def trip(build):
    server = Server("bookmarket", build=build, args=[
        "--workers", "4", "--set", "breakers.payment.volume=20", "--set", "breakers.payment.sleep_ms=600000"])
    assert server.admin("PUT", "/admin/faults", {"payment": {"error_rate": 1.0}}).status == 200
    connections = [server.connect() for _ in range(32)]
    for connection in connections:
        at_end(connection.close)
    statuses = [connection.request("POST", "/orders", ORDER).status for connection in connections]
    assert statuses == [502] * 20 + [503] * 12, statuses
    served = [count for count in per_worker(server, "moontide_requests_total") if count > 0]
    assert len(served) > 1, f"one worker had all connections: {served}"
    assert max(served) < 20, f"one worker alone reached the volume: {served}"


@case("PATH-8e four workers, one breaker: it trips on the sum")
def sum_of_workers():
    trip("asan")


@case("PATH-8e four workers, one breaker: the same under the thread sanitizer")
def sum_under_tsan():
    trip("tsan")


@case("PATH-5j a refused order says when to come back, and the circuit is shown as open")
def shown():
    server = Server("bookmarket", args=["--set", "breakers.payment.volume=2",
                                        "--set", "breakers.payment.sleep_ms=600000"])
    assert server.admin("PUT", "/admin/faults", {"payment": {"error_rate": 1.0}}).status == 200
    assert [server.request("POST", "/orders", ORDER).status for _ in range(2)] == [502, 502]
    answer = server.request("POST", "/orders", ORDER)
    assert answer.status == 503 and answer.json["code"] == "circuit_open", answer
    assert 500 < int(answer.headers["Retry-After"]) <= 600, answer.headers.all
    breakers = {b["name"]: b for b in server.admin("GET", "/admin/breakers").json["breakers"]}
    assert breakers["payment"]["state"] == "open", breakers
    eventually(lambda: server.metrics().get('moontide_breaker_state{breaker="payment",state="open"}') == 1,
               "the metric shows it")


if __name__ == "__main__":
    main()
