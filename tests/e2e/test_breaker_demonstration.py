# SPDX-License-Identifier: MIT
# timeout: 200
"""The original's demonstration: payment is slow by chance, orders come from many clients at once, and a breaker of 610 ms
stands between them. What fails is what took longer, and nothing else; nothing of a failed order remains."""
import concurrent.futures
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import Server, case, eventually, main  # noqa: E402

ORDER = {"bookId": "10", "qty": "1", "customerId": "1002"}
CLIENTS, EACH = 20, 4


def breaker(server):
    return {b["name"]: b for b in server.admin("GET", "/admin/breakers").json["breakers"]}["payment"]


def load(server):
    """The statuses of all orders of all clients."""
    def client(_):
        connection = server.connect()
        try:
            return [connection.request("POST", "/orders", ORDER).status for _ in range(EACH)]
        finally:
            connection.close()
    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        return [status for statuses in pool.map(client, range(CLIENTS)) for status in statuses]


@case("BREAKER-10a bookmarket, payment delayed 400 to 620 ms, timeout 610: late ones fail and leave nothing, the rest is whole")
def delayed():
    server = Server("bookmarket", args=["--set", "breakers.payment.timeout_ms=610",
                                        "--set", "breakers.payment.error_percent=100"])
    assert server.admin("PUT", "/admin/faults", {"payment": {"delay_ms": [400, 620]}}).status == 200
    statuses = load(server)
    assert set(statuses) <= {201, 504}, statuses
    done, shown = statuses.count(201), breaker(server)
    assert done > 0, statuses
    assert shown["total"]["SUCCESS"] == done and shown["total"]["TIMEOUT"] == len(statuses) - done, shown["total"]
    assert shown["total"]["FAILURE"] == shown["total"]["SHORT_CIRCUITED"] == 0, shown["total"]
    assert shown["in_flight"] == 0, shown
    assert len(server.rows("/orders")) == len(server.rows("/payments")) == done


@case("BREAKER-10b every payment beyond the timeout: opens, refuses at once, half-open, closes again; each seen as an event")
def opens_and_closes():
    server = Server("bookmarket", args=["--set", "breakers.payment.timeout_ms=200",
                                        "--set", "breakers.payment.volume=5", "--set", "breakers.payment.sleep_ms=600000"])
    assert server.admin("PUT", "/admin/faults", {"payment": {"delay_ms": 3000}}).status == 200
    statuses = load(server)
    assert set(statuses) == {503, 504} and statuses.count(503) > statuses.count(504), statuses
    shown = breaker(server)
    assert shown["state"] == "open" and shown["is_open"] and shown["retry_after_ms"] > 0, shown
    assert server.rows("/orders") == [] and server.rows("/payments") == []
    assert server.admin("PUT", "/admin/faults", {"payment": {"delay_ms": 100}}).status == 200
    assert server.admin("PUT", "/admin/breakers/payment", {"sleep_ms": 1}).status == 200
    eventually(lambda: server.request("POST", "/orders", ORDER).status == 201, "a trial passes and closes it")
    assert breaker(server)["state"] == "closed"

    def told():
        lines = server.admin("GET", "/admin/events?service=moontide").text.splitlines()
        return [json.loads(line)["type"] for line in lines if line]
    eventually(lambda: told() == ["BreakerOpened", "BreakerHalfOpened", "BreakerClosed"], "the events")


if __name__ == "__main__":
    main()
