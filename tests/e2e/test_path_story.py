# SPDX-License-Identifier: MIT
"""The main story of the bookmarket: an order becomes a payment, a delivery and a message, or nothing at all."""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import Server, case, eventually, main, request  # noqa: E402

ORDER = {"bookId": "10", "qty": "1", "customerId": "1002"}
TABLES = ("/orders", "/payments", "/deliveries", "/bookAlarms")
FIELDS = {
    "Paid": ["id", "orderId", "status", "customerId"],
    "Ordered": ["id", "bookId", "qty", "status", "customerId"],
    "Shipped": ["id", "orderId", "customerId", "status"],
    "MessageSended": ["id", "deliveryId", "bookMessage", "deliveryStatus", "orderId"],
}
LINE = ["seq", "id", "type", "key", "service", "time", "correlationId", "causationId", "generation", "payload"]
ALARM = "Book Delivery Status Changed : Shipped"


def place(server, **headers):
    """Places an order and returns its id."""
    answer = server.request("POST", "/orders", ORDER, headers)
    assert answer.status == 201, answer
    return answer.id


def rows(server, path):
    return server.rows(path)


def story(server, count=1):
    """All events once `count` orders are told to their customers."""
    return eventually(lambda: (lambda log: len([e for e in log if e["type"] == "MessageSended"]) >= count and log)(
        server.events()), f"{count} x MessageSended")


def assert_nothing_happened(server):
    for path in TABLES:
        assert rows(server, path) == [], f"{path} is not empty: {rows(server, path)}"
    assert server.events() == [], server.events()


def assert_problem(answer, status):
    assert answer.status == status, answer
    assert answer.headers["Content-Type"].startswith("application/problem+json"), answer.headers.all
    assert answer.json["status"] == status, answer
    assert answer.json["code"] and answer.json["title"], answer


@case("PATH-6a POST /orders takes numbers in strings and answers 201 with Location and the row")
def order():
    server = Server("bookmarket")
    answer = server.request("POST", "/orders", ORDER)
    assert answer.status == 201, answer
    assert answer.headers["Content-Type"].startswith("application/hal+json"), answer.headers.all
    assert answer.headers["Location"] == f"http://{server.gateway}/orders/1", answer.headers.all
    assert list(answer.row.items()) == [
        ("id", 1), ("bookId", 10), ("qty", 1), ("status", None), ("customerId", 1002)], answer
    story(server)
    found = request(server.gateway, "GET", answer.headers["Location"].removeprefix(f"http://{server.gateway}"))
    assert found.status == 200, found
    assert list(found.row) == ["id", "bookId", "qty", "status", "customerId"], found
    assert (found.json["bookId"], found.json["qty"], found.json["customerId"]) == (10, 1, 1002), found


@case("PATH-6a an order that breaks its declaration is refused with 400 and leaves nothing")
def refused():
    server = Server("bookmarket")
    for body in ({"qty": 1}, {"bookId": "ten"}, {"bookId": 10, "qty": 0}, {"bookId": 10.5}, b'{"bookId":10', b"[]"):
        headers = {"Content-Type": "application/json"}
        assert_problem(server.request("POST", "/orders", body, headers), 400)
    assert_nothing_happened(server)
    number = place(server)
    story(server)
    assert [row["id"] for row in rows(server, "/orders")] == [number]


@case("PATH-6b Paid starts the delivery, Shipped reaches the order and the customer's alarm")
def chain():
    server = Server("bookmarket")
    number = place(server)
    eventually(lambda: server.request("GET", f"/orders/{number}").json["status"] == "Shipped", "the order is Shipped")
    story(server)
    assert rows(server, "/payments") == [{"id": 1, "orderId": number, "status": "Ordered", "customerId": 1002}]
    assert rows(server, "/deliveries") == [{"id": 1, "orderId": number, "customerId": 1002, "status": "Shipped"}]
    assert rows(server, "/bookAlarms") == [
        {"id": 1, "deliveryId": 1, "bookMessage": ALARM, "deliveryStatus": "Shipped", "orderId": number}]


@case("PATH-6b every one of 100 orders gets exactly one payment, one delivery and one alarm")
def many():
    server = Server("bookmarket")
    with server.connect() as connection:
        placed = [connection.request("POST", "/orders", ORDER).id for _ in range(100)]
    story(server, 100)
    eventually(lambda: all(row["status"] == "Shipped" for row in rows(server, "/orders")), "all orders are Shipped")
    assert [row["id"] for row in rows(server, "/orders")] == sorted(placed)
    for path in ("/payments", "/deliveries", "/bookAlarms"):
        assert sorted(row["orderId"] for row in rows(server, path)) == sorted(placed), path


@case("PATH-6c the log tells the story in its order, each event with its cause")
def log():
    server = Server("bookmarket")
    number = place(server, **{"X-Correlation-Id": "story-1"})
    events = story(server)
    assert [e["type"] for e in events] == ["Paid", "Ordered", "Shipped", "MessageSended"], events
    assert [e["seq"] for e in events] == sorted({e["seq"] for e in events}), events
    assert [e["service"] for e in events] == ["payment", "order", "delivery", "bookalarm"], events
    assert {e["key"] for e in events} == {f"order/{number}"}, events
    assert {e["correlationId"] for e in events} == {"story-1"}, events
    assert len({e["id"] for e in events}) == 4, events
    paid, ordered, shipped, message = events
    assert (paid["causationId"], ordered["causationId"]) == (None, None), events
    assert shipped["causationId"] == paid["id"] and message["causationId"] == shipped["id"], events


@case("PATH-6c an event's line and payload have their fields in their order")
def payloads():
    server = Server("bookmarket")
    number = place(server)
    events = story(server)
    for event in events:
        assert list(event) == LINE, event
        payload = event["payload"]
        assert list(payload) == ["eventType", "timestamp", *FIELDS[event["type"]], "me"], event
        assert payload["eventType"] == event["type"] and payload["me"] is True, event
        assert re.fullmatch(r"20\d\d(0[1-9]|1[0-2])([0-2]\d|3[01])([01]\d|2[0-3])[0-5]\d[0-5]\d", payload["timestamp"])
    own = [{k: v for k, v in e["payload"].items() if k in FIELDS[e["type"]]} for e in events]
    assert own == [
        {"id": 1, "orderId": number, "status": "Ordered", "customerId": 1002},
        {"id": number, "bookId": 10, "qty": 1, "status": "Ordered", "customerId": 1002},
        {"id": 1, "orderId": number, "customerId": 1002, "status": "Shipped"},
        {"id": 1, "deliveryId": 1, "bookMessage": ALARM, "deliveryStatus": "Shipped", "orderId": number}], own


@case("PATH-6d a payment that fails leaves no order, no payment and no event (G2)")
def payment_fails():
    server = Server("bookmarket")
    assert server.admin("PUT", "/admin/faults", {"payment": {"error_rate": 1.0}}).status == 200
    for _ in range(5):
        assert_problem(server.request("POST", "/orders", ORDER), 502)
    assert server.admin("DELETE", "/admin/faults").status == 204
    assert_nothing_happened(server)
    number = place(server)
    assert [e["payload"]["orderId"] for e in story(server) if e["type"] == "Paid"] == [number]
    assert [row["id"] for row in rows(server, "/orders")] == [number]


@case("PATH-6e a payment slower than its timeout is 504, and nothing of it comes later")
def payment_slow():
    server = Server("bookmarket", args=["--set", "breakers.payment.timeout_ms=200"])
    slow = {"payment": {"delay_ms": 1500}}
    assert server.admin("PUT", "/admin/faults", slow).status == 200
    assert_problem(server.request("POST", "/orders", ORDER), 504)
    # A payment without an order is asked for later and waits as long: when it is there, the first one's delay is over.
    alone = server.request("POST", "/payments", {"orderId": 999, "status": "Alone"})
    assert alone.status == 201, alone
    assert rows(server, "/orders") == []
    assert [row["orderId"] for row in rows(server, "/payments")] == [999]
    assert [e["payload"]["orderId"] for e in server.events() if e["type"] in ("Paid", "Ordered")] == [999]
    assert server.admin("DELETE", "/admin/faults").status == 204
    number = place(server)
    assert [row["id"] for row in rows(server, "/orders")] == [number]


@case("PATH-6e after many timeouts the circuit opens: 503 with Retry-After, and closes again when payment is well")
def payment_open():
    server = Server("bookmarket", args=[
        "--set", "breakers.payment.timeout_ms=100", "--set", "breakers.payment.volume=4",
        "--set", "breakers.payment.sleep_ms=300"])
    assert server.admin("PUT", "/admin/faults", {"payment": {"delay_ms": 3000}}).status == 200
    answers = []

    def opened():
        answers.append(server.request("POST", "/orders", ORDER))
        return answers[-1].status == 503
    eventually(opened, "the circuit is open")
    assert {answer.status for answer in answers} == {504, 503}, answers
    assert len(answers) > 4, f"opened after {len(answers)} answers, before the volume was reached"
    assert_problem(answers[-1], 503)
    assert answers[-1].json["code"] == "circuit_open", answers[-1]
    assert int(answers[-1].headers["Retry-After"]) >= 1, answers[-1].headers.all
    assert server.admin("DELETE", "/admin/faults").status == 204
    assert_nothing_happened(server)
    answer = eventually(lambda: (lambda a: a.status == 201 and a)(server.request("POST", "/orders", ORDER)),
                        "an order is accepted again")
    assert [row["id"] for row in rows(server, "/orders")] == [answer.id]


@case("PATH-6f every table is readable by id and as a collection in ascending id")
def tables():
    server = Server("bookmarket")
    for path in TABLES:
        answer = server.request("GET", path)
        assert answer.status == 200 and answer.json["_embedded"] == {path[1:]: []}, (path, answer)
    for _ in range(3):
        place(server)
    story(server, 3)
    for path in TABLES:
        listed = rows(server, path)
        assert [row["id"] for row in listed] == [1, 2, 3], (path, listed)
    for path in TABLES:
        one = server.request("GET", f"{path}/2")
        assert one.status == 200 and one.id == 2, (path, one)


@case("PATH-6f a missing row or path is a 404 problem, a method that a path does not know 405 with Allow")
def missing():
    server = Server("bookmarket")
    for path in ("/orders/1", "/orders/0", "/orders/-1", "/orders/99999999999999999999", "/orders/x", "/nothing",
                 "/orders/1/2"):
        answer = server.request("GET", path)
        assert_problem(answer, 404)
        assert answer.json["code"] == "not_found", answer
    answer = server.request("DELETE", "/orders")
    assert_problem(answer, 405)
    assert {"GET", "HEAD", "POST"} <= {word.strip() for word in answer.headers["Allow"].split(",")}, answer.headers.all


@case("PATH-6f the story survives a stop and a start, and ids go on")
def restart():
    server = Server("bookmarket")
    first = place(server)
    before = story(server)
    eventually(lambda: server.request("GET", f"/orders/{first}").json["status"] == "Shipped", "the order is Shipped")
    tables_before = {path: rows(server, path) for path in TABLES}
    assert server.stop() == 0
    server.start()
    assert server.events() == before
    assert {path: rows(server, path) for path in TABLES} == tables_before
    assert place(server) > first
    assert len(story(server, 2)) == 8


if __name__ == "__main__":
    main()
