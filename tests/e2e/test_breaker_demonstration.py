# SPDX-License-Identifier: MIT
# timeout: 200
"""The originals' demonstrations: payment is slow by chance, orders come from many clients at once, and a breaker of 610 ms
stands between them. What fails is what took longer, and nothing else; nothing of a failed order remains; where there is
a fallback nothing fails. (Bookstore's VAN: SYSTEMS-3d in test_systems_bookstore.py. Siege itself: SYSTEMS-7a.)"""
import concurrent.futures
import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import Server, case, eventually, main  # noqa: E402

ORDER = {"bookId": "10", "qty": "1", "customerId": "1002"}
CLIENTS, EACH = 20, 4


def breaker(server, name="payment"):
    return {b["name"]: b for b in server.admin("GET", "/admin/breakers").json["breakers"]}[name]


def load(server, path="/orders", body=None):
    """The statuses of all orders of all clients."""
    def client(_):
        connection = server.connect()
        try:
            return [connection.request("POST", path, body or ORDER).status for _ in range(EACH)]
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


@case("BREAKER-10c concert, payment delayed 400 to 620 ms and then far more: every booking is a 201, paid at once or later")
def falls_back():
    server = Server("concert", args=["--set", "config.payment_again_ms=500"])
    moon = server.request("POST", "/concerts", {"name": "Moon", "ticketQty": 1000}).id
    booking = {"concertId": moon, "userId": 1, "qty": 5}
    assert server.admin("PUT", "/admin/faults", {"payment": {"delay_ms": [400, 620]}}).status == 200
    assert set(load(server, "/bookings/", booking)) == {201}
    assert server.admin("PUT", "/admin/faults", {"payment": {"delay_ms": 3000}}).status == 200
    assert set(load(server, "/bookings/", booking)) == {201}
    shown, total = breaker(server), breaker(server)["total"]
    assert shown["is_open"] and total["SHORT_CIRCUITED"] > 0 and total["FALLBACK_REJECTION"] == 0, shown
    assert total["FALLBACK_SUCCESS"] == total["TIMEOUT"] + total["SHORT_CIRCUITED"], total
    assert server.admin("DELETE", "/admin/faults").status == 204
    assert server.admin("PUT", "/admin/breakers/payment", {"sleep_ms": 1}).status == 200
    all_of_them = 2 * CLIENTS * EACH
    eventually(lambda: len(server.rows("/payments")) == all_of_them, "each booking has its payment, once", 60)
    assert len(server.rows("/bookings")) == all_of_them and breaker(server)["state"] == "closed"


@case("BREAKER-10d bread, pay slow and well again, twice: refused in bursts, taken in between; paid is what was taken")
def bursts():
    server = Server("bread", args=["--set", "breakers.pay.timeout_ms=200", "--set", "breakers.pay.volume=5",
                                   "--set", "breakers.pay.error_percent=10", "--set", "breakers.pay.sleep_ms=600000"])
    order, taken = {"item": "cake", "qty": 1}, 0
    for _ in range(2):
        assert server.admin("PUT", "/admin/breakers/pay", {"sleep_ms": 600000}).status == 200
        assert server.admin("PUT", "/admin/faults", {"pay": {"delay_ms": 3000}}).status == 200
        statuses = load(server, body=order)
        assert set(statuses) == {503, 504} and statuses.count(503) > statuses.count(504), statuses
        assert breaker(server, "pay")["state"] == "open"
        assert server.admin("DELETE", "/admin/faults").status == 204
        assert server.admin("PUT", "/admin/breakers/pay", {"sleep_ms": 1}).status == 200
        eventually(lambda: server.request("POST", "/orders", order).status == 201, "a trial passes and closes it")
        taken += 1
        statuses = load(server, body=order)
        assert set(statuses) == {201}, statuses
        taken += len(statuses)
    assert len(server.rows("/orders")) == len(server.rows("/payments")) == taken


if __name__ == "__main__":
    main()
