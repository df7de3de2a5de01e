# SPDX-License-Identifier: MIT
# timeout: 300
"""The book shop as its users know it: what a customer, a browser, whoever delivers and whoever keeps the shop sees."""
import contextlib
import json
import os
import select
import sqlite3
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import Server, case, command, eventually, main, row_of  # noqa: E402

ORDER = {"bookId": "10", "qty": "1", "customerId": "1002"}
FALLBACK = b"CircuitBreaker!!!"


def place(server):
    answer = server.request("POST", "/orders", ORDER)
    assert answer.status == 201, answer
    return answer.id


def of_order(server, path, order):
    """The rows that the finder of a resource finds for an order."""
    answer = server.request("GET", f"{path}/search/findByOrderId?orderId={order}")
    assert answer.status == 200, answer
    (rows,) = answer.json["_embedded"].values()
    return [row_of(row) for row in rows]


def messages(server, order):
    return [row for row in server.rows("/bookAlarms") if row["orderId"] == order]


def page(server, order):
    (row,) = of_order(server, "/mypages", order)
    return row


def told(server, order):
    """The types of the events of one order, as the log has them."""
    return [event["type"] for event in server.events(key=f"order/{order}")]


def delivered(server):
    """A new order whose story has been told to its end."""
    order = place(server)
    eventually(lambda: page(server, order)["messageId"], "the customer's page knows the message")
    eventually(lambda: server.request("GET", f"/orders/{order}").json["status"] == "Shipped", "the order knows")
    return order


@case("SHOP-2a an order is paid, delivered, its customer told; mypages shows status and message")
def ordered():
    server = Server("bookmarket")
    order = delivered(server)
    assert told(server, order) == ["Paid", "Ordered", "Shipped", "MessageSended"]
    (payment,) = of_order(server, "/payments", order)
    assert payment == {"id": payment["id"], "orderId": order, "status": "Ordered", "customerId": 1002}
    (delivery,) = of_order(server, "/deliveries", order)
    assert delivery == {"id": delivery["id"], "orderId": order, "customerId": 1002, "status": "Shipped"}
    (message,) = messages(server, order)
    assert message == {"id": message["id"], "deliveryId": delivery["id"], "deliveryStatus": "Shipped",
                       "bookMessage": "Book Delivery Status Changed : Shipped", "orderId": order}
    shown = page(server, order)
    assert shown == {"id": shown["id"], "orderId": order, "customerId": 1002, "bookId": 10, "qty": 1,
                     "messageId": message["id"], "status": "Shipped"}


@case("SHOP-2b DELETE of an order: 204, payment and delivery are cancelled, the customer is told, mypages keeps it")
def canceled():
    server = Server("bookmarket")
    order, other = delivered(server), delivered(server)
    before = page(server, order)
    answer = server.request("DELETE", f"/orders/{order}")
    assert answer.status == 204 and answer.body == b"", answer
    assert server.request("GET", f"/orders/{order}").status == 404
    eventually(lambda: len(messages(server, order)) == 2, "the customer is told")
    message = messages(server, order)[1]
    assert message["bookMessage"] == "Book Delivery Status Changed : DeliveryCanceled", message
    eventually(lambda: page(server, order)["messageId"] == message["id"], "the page knows the second message")
    assert page(server, order) == {**before, "status": "DeliveryCanceled", "messageId": message["id"]}
    assert [row["status"] for row in of_order(server, "/payments", order)] == ["PayCanceled"]
    assert [row["status"] for row in of_order(server, "/deliveries", order)] == ["DeliveryCanceled"]
    assert told(server, order) == ["Paid", "Ordered", "Shipped", "MessageSended", "OrderCanceled", "PayCanceled",
                                   "DeliveryCanceled", "MessageSended"]
    letters = server.admin("GET", "/admin/letters").json["letters"]
    assert letters == [], letters  # "order status follows delivery" finds no order, which is no fault
    assert [row["id"] for row in server.rows("/orders")] == [other]
    assert [row["status"] for row in of_order(server, "/deliveries", other)] == ["Shipped"]
    assert server.request("DELETE", f"/orders/{order}").status == 404
    assert len(told(server, order)) == 8


@case("SHOP-2c PATCH of a delivery's status: order, message and mypage follow; the same status again says nothing")
def patched():
    server = Server("bookmarket")
    order = delivered(server)
    (delivery,) = of_order(server, "/deliveries", order)
    for number, status in ((2, "OutForDelivery"), (3, "Delivered")):
        answer = server.request("PATCH", f"/deliveries/{delivery['id']}", {"status": status})
        assert answer.status in (200, 204), answer
        eventually(lambda: len(messages(server, order)) == number, "the customer is told")
        message = messages(server, order)[-1]
        assert message["bookMessage"] == f"Book Delivery Status Changed : {status}", message
        eventually(lambda: server.request("GET", f"/orders/{order}").json["status"] == status, "the order follows")
        eventually(lambda: page(server, order)["messageId"] == message["id"], "the page follows")
        assert page(server, order)["status"] == status
    count = len(told(server, order))
    assert server.request("PATCH", f"/deliveries/{delivery['id']}", {"status": "Delivered"}).status in (200, 204)
    assert len(told(server, order)) == count
    assert of_order(server, "/deliveries", order) == [{**delivery, "status": "Delivered"}]


@case("SHOP-2h only a change to the cancelled status cancels: of a delivery, of a payment, by PATCH and PUT, and once")
def canceled_by_hand():
    server = Server("bookmarket")
    order, other = delivered(server), delivered(server)
    (delivery,), (payment,) = of_order(server, "/deliveries", order), of_order(server, "/payments", other)
    path = f"/deliveries/{delivery['id']}"
    count = len(server.events())
    for body in ({"status": None}, {"orderId": None}, {"status": {"a": 1}}):
        assert server.request("PATCH", path, body).status == 400, body
    assert server.request("PUT", path, {"orderId": order, "customerId": 1002, "status": "Shipped"}).status == 200
    assert server.request("PATCH", path, {"customerId": 7}).status == 200
    assert server.request("PATCH", f"/payments/{payment['id']}", {"status": "Checked"}).status == 200
    assert len(server.events()) == count  # nothing of this is news
    for _ in range(2):
        assert server.request("PATCH", path, {"status": "DeliveryCanceled"}).status == 200
        body = {"orderId": other, "customerId": 1002, "status": "PayCanceled"}
        assert server.request("PUT", f"/payments/{payment['id']}", body).status == 200
    for one in (order, other):
        eventually(lambda one=one: page(server, one)["status"] == "DeliveryCanceled", "the page follows")
        eventually(lambda one=one: server.request("GET", f"/orders/{one}").json["status"] == "DeliveryCanceled",
                   "the order follows")
        eventually(lambda one=one: len(messages(server, one)) == 2, "the customer is told")
    before = ["Paid", "Ordered", "Shipped", "MessageSended"]
    assert told(server, order) == before + ["DeliveryCanceled", "MessageSended"]
    assert told(server, other) == before + ["PayCanceled", "DeliveryCanceled", "MessageSended"]
    assert server.admin("GET", "/admin/letters").json["letters"] == []


@case("SHOP-2i the shop is five services; what customerview shows is kept in memory and there again after a kill")
def five_services():
    server = Server("bookmarket")
    names = [service["name"] for service in server.admin("GET", "/admin/services").json["services"]]
    assert sorted(names) == ["bookalarm", "customerview", "delivery", "order", "payment"], names
    orders = [delivered(server) for _ in range(3)]
    assert server.request("DELETE", f"/orders/{orders[1]}").status == 204
    eventually(lambda: page(server, orders[1])["messageId"] == 4, "its page knows of the cancellation")
    shown = [{**page(server, order), "id": 0} for order in orders]
    with contextlib.closing(sqlite3.connect(f"file:{server.data}/moontide.db?mode=ro", uri=True)) as file:
        tables = {name for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert any("orders" in name for name in tables) and not any("mypages" in name for name in tables), tables
    server.kill9()
    server.start()
    assert [{**page(server, order), "id": 0} for order in orders] == shown
    assert [row["status"] for row in shown] == ["Shipped", "DeliveryCanceled", "Shipped"], shown


def lookup(server, query):
    return server.request("GET", "/selectBookAlarmInfo" + query)


def breaker(server, name):
    return {b["name"]: b for b in server.admin("GET", "/admin/breakers").json["breakers"]}[name]


def is_fallback(answer):
    assert answer.status == 200 and answer.body == FALLBACK, answer
    assert answer.headers["content-type"] == "text/plain;charset=UTF-8", answer.headers
    assert answer.headers["content-length"] == "17", answer.headers
    return True


@case("SHOP-2d id=0 answers CircuitBreaker!!! after its timeout; one worker serves others meanwhile")
def lookup_slow():
    server = Server("bookmarket", args=["--workers", "1"])
    before = 0
    with server.connect() as slow, server.connect() as other:
        slow.send_request("GET", "/selectBookAlarmInfo?id=0")
        eventually(lambda: breaker(server, "bookAlarmLookup")["in_flight"] == 1, "the lookup runs")
        while not select.select([slow.sock], [], [], 0)[0]:
            assert other.request("POST", "/orders", ORDER).status == 201
            before += 1
        is_fallback(slow.answer())
    assert before >= 5, before
    counts = breaker(server, "bookAlarmLookup")["total"]
    assert counts["TIMEOUT"] == 1 and counts["FALLBACK_SUCCESS"] == 1, counts


@case("SHOP-2d a real id answers its message's text; an unknown one the fallback; without an id it is 400")
def lookup_answers():
    server = Server("bookmarket")
    delivered(server)
    answer = lookup(server, "?id=1")
    assert answer.status == 200 and answer.body == b"Book Delivery Status Changed : Shipped", answer
    assert answer.headers["content-type"] == "text/plain;charset=UTF-8", answer.headers
    is_fallback(lookup(server, "?id=999"))
    for query in ("", "?id=", "?other=1"):
        answer = lookup(server, query)
        assert answer.status == 400 and "id" in answer.json["message"], (query, answer)
    assert lookup(server, "").json["message"] == "Required long parameter 'id' is not present"
    assert lookup(server, "?id=x").json["message"].endswith('NumberFormatException: For input string: "x"')
    counts = breaker(server, "bookAlarmLookup")["total"]
    assert counts["SUCCESS"] == 1 and counts["FAILURE"] == 1, counts  # what is wrong with a request is no verdict


@case("SHOP-2d while it is open every id is answered at once, real ones too; after the sleep window one trial closes it")
def lookup_open():
    server = Server("bookmarket")
    delivered(server)
    settings = breaker(server, "bookAlarmLookup")["conf"]
    assert settings["timeout_ms"] == 5000 and settings["sleep_ms"] == 10000, settings
    for _ in range(20):
        is_fallback(lookup(server, "?id=999"))
    assert breaker(server, "bookAlarmLookup")["state"] == "open"
    for query in ("?id=0", "?id=1", "?id=-5"):
        is_fallback(lookup(server, query))
    counts = breaker(server, "bookAlarmLookup")["total"]
    assert counts["SHORT_CIRCUITED"] == 3 and counts["FAILURE"] == 20 and not counts["TIMEOUT"], counts
    alarm = eventually(lambda: server.rows("/breakerAlarms"), "an alarm for whoever keeps the shop")
    assert [row["breaker"] for row in alarm] == ["bookAlarmLookup"], alarm
    assert server.admin("PUT", "/admin/breakers/bookAlarmLookup", {"sleep_ms": 1}).status == 200
    eventually(lambda: lookup(server, "?id=1").body.startswith(b"Book Delivery"), "a trial passes")
    assert breaker(server, "bookAlarmLookup")["state"] == "closed"


@case("SHOP-2e /autoScaleTest answers 200 with an empty text; requests that came later are answered before it")
def auto_scale():
    server = Server("bookmarket", args=["--workers", "1"])
    before = 0
    with server.connect() as slow, server.connect() as other:
        slow.send_request("GET", "/autoScaleTest?id=1")
        while not select.select([slow.sock], [], [], 0)[0]:
            assert other.request("GET", "/orders").status == 200
            before += 1
        answer = slow.answer()
    assert answer.status == 200 and answer.body == b"", answer
    assert before >= 5, before


@case("SHOP-2f the gateway serves every service under its paths, messages in both spellings")
def gateway_paths():
    server = Server("bookmarket")
    order = delivered(server)
    for path, rel in (("/orders", "orders"), ("/payments", "payments"), ("/deliveries", "deliveries"),
                      ("/mypages", "mypages"), ("/bookAlarms", "bookAlarms"), ("/bookalarms", "bookAlarms")):
        for spelling in (path, path + "/"):
            answer = server.request("GET", spelling)
            assert answer.status == 200 and list(answer.json["_embedded"]) == [rel], (spelling, answer)
    small, camel = server.request("GET", "/bookalarms/1"), server.request("GET", "/bookAlarms/1")
    assert small.status == camel.status == 200 and small.json == camel.json, (small, camel)
    assert small.json["orderId"] == order
    healthy = server.request("GET", "/isHealthy")  # where its operators' liveness probe looks
    assert healthy.status == 200 and healthy.headers["content-length"] == "0", healthy
    for path in ("/ORDERS", "/order", "/admin/services", "/metrics", "/selectBookAlarmInfo/1", "/bookalarmsx"):
        assert server.request("GET", path).status == 404, path


@case("SHOP-2f CORS: the origin is echoed with credentials, a preflight is answered and places no order")
def cors():
    server = Server("bookmarket")
    origin = {"Origin": "http://shop.example"}
    asked = {**origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    answer = server.request("OPTIONS", "/orders", None, asked)
    assert answer.status == 200 and answer.body == b"", answer
    assert answer.headers["access-control-allow-origin"] == "http://shop.example", answer.headers
    assert answer.headers["access-control-allow-credentials"] == "true", answer.headers
    assert "POST" in answer.headers["access-control-allow-methods"], answer.headers
    assert answer.headers["access-control-allow-headers"].lower() == "content-type", answer.headers
    assert server.rows("/orders") == []
    for method, path in (("PATCH", "/deliveries/1"), ("DELETE", "/orders/1"), ("GET", "/mypages"),
                         ("GET", "/selectBookAlarmInfo"), ("GET", "/bookalarms")):
        answer = server.request("OPTIONS", path, None, {**origin, "Access-Control-Request-Method": method})
        assert answer.status == 200 and method in answer.headers["access-control-allow-methods"], (path, answer)
        assert answer.headers["access-control-allow-origin"] == "http://shop.example", (path, answer.headers)
    for method, path, body, status in (("POST", "/orders", ORDER, 201), ("GET", "/orders", None, 200),
                                       ("GET", "/orders/99", None, 404), ("POST", "/orders", {"qty": 0}, 400)):
        answer = server.request(method, path, body, origin)
        assert answer.status == status, (method, path, answer)
        assert answer.headers["access-control-allow-origin"] == "http://shop.example", answer.headers
        assert answer.headers["access-control-allow-credentials"] == "true", answer.headers
    assert "access-control-allow-origin" not in server.request("GET", "/orders").headers


@case("SHOP-2g mypages comes whole, without a page block, and is found by order")
def mypages():
    server = Server("bookmarket")
    orders = [place(server) for _ in range(30)]  # more than a page of a resource
    eventually(lambda: len(server.request("GET", "/mypages").json["_embedded"]["mypages"]) == 30, "all are there")
    answer = server.request("GET", "/mypages?size=5&page=1")
    assert "page" not in answer.json, answer
    rows = [row["orderId"] for row in answer.json["_embedded"]["mypages"]]
    assert sorted(rows) == sorted(orders), (rows, orders)  # in the order in which events came: each order has its own
    assert not {"next", "last", "first"} & set(answer.json["_links"]), answer.json["_links"]
    assert "search" in answer.json["_links"], answer.json["_links"]
    search = server.request("GET", "/mypages/search")
    assert "orderId" in search.json["_links"]["findByOrderId"]["href"], search
    assert page(server, orders[7])["orderId"] == orders[7]
    assert of_order(server, "/mypages", 999999) == []
    paged = server.request("GET", "/orders").json
    assert paged["page"]["totalElements"] == 30 and "next" in paged["_links"], paged


def moontide(server, *words):
    """As whoever keeps the shop types it."""
    code, out, err = command(*words, "--data", server.data)
    assert code == 0, (words, code, out, err)
    return out


def story_of(server, order):
    """The log's events of an order that its delivery makes."""
    return [kind for kind in told(server, order) if kind in ("Shipped", "DeliveryCanceled")]


@case("SHOP-4f by commands, as the originals show it: payment stopped, an order is 5xx and leaves nothing; started, 201")
def demonstration_payment():
    server = Server("bookmarket")
    moontide(server, "services", "stop", "payment")
    rows = [line.split() for line in moontide(server, "services").splitlines()]
    assert ["payment", "down"] in [row[:2] for row in rows], rows
    answer = server.request("POST", "/orders", ORDER)
    assert 500 <= answer.status <= 599, answer
    assert server.rows("/orders") == [] and server.rows("/mypages") == [] and server.events() == []
    moontide(server, "services", "start", "payment")
    order = delivered(server)
    assert [row["id"] for row in server.rows("/orders")] == [order]


@case("SHOP-4f delivery stopped, orders and cancellations go on; over a restart, then started: each once, in order")
def demonstration_delivery():
    server = Server("bookmarket")
    moontide(server, "services", "stop", "delivery")
    orders = [place(server) for _ in range(30)]
    gone = orders[::3]
    for order in gone:
        assert server.request("DELETE", f"/orders/{order}").status == 204
    server.kill9()
    server.start()
    orders += [place(server) for _ in range(5)]
    assert server.request("GET", "/deliveries").status == 503
    assert json.loads(moontide(server, "events", "--type", "Shipped", "-o", "json") or "[]") == []
    moontide(server, "services", "start", "delivery")
    eventually(lambda: len(server.rows("/bookAlarms")) == len(orders) + len(gone), "all customers are told", 60)
    for order in orders:
        expected = ["Shipped", "DeliveryCanceled"] if order in gone else ["Shipped"]
        assert story_of(server, order) == expected, (order, story_of(server, order))
        assert [row["status"] for row in of_order(server, "/deliveries", order)] == expected[-1:], order
    eventually(lambda: all(page(server, order)["status"] == ("DeliveryCanceled" if order in gone else "Shipped")
                           for order in orders), "all pages follow")
    left = [row["id"] for row in server.rows("/orders")]
    assert left == [order for order in orders if order not in gone], left


if __name__ == "__main__":
    main()
