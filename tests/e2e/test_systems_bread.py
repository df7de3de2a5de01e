# SPDX-License-Identifier: MIT
"""bread as its users know it: an order pays once by the price list, the bakery confirms it, and a page shows it whole."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import Server, case, eventually, main  # noqa: E402

CAKE = {"item": "cake", "qty": 1}
TABLES = ("/orders", "/payments", "/bakeries", "/mypages")


def bakery(*args):
    return Server("bread", args=list(args))


def order(server, body=None):
    answer = server.request("POST", "/orders", body or CAKE)
    assert answer.status == 201, answer
    return answer.id


def of_order(server, path, order_id):
    return [row for row in server.rows(path) if row["orderId"] == order_id][0]


def page(server, order_id):
    return of_order(server, "/mypages", order_id)


def confirmed(server, order_id):
    eventually(lambda: page(server, order_id)["status"] == "Confirmed", f"order {order_id} is confirmed")
    return order_id


def canceled(server, order_id, action):
    """Payment, bakery and page of the order say so."""
    def everywhere():
        assert page(server, order_id)["status"] == "Canceled" and page(server, order_id)["action"] == action
        assert of_order(server, "/payments", order_id)["action"] == action
        assert of_order(server, "/bakeries", order_id)["status"] == "Canceled"
        return True
    eventually(everywhere, f"order {order_id} is canceled")


@case("SYSTEMS-4a an order of a cake pays 25000.0, is confirmed, and the page reads as in the recorded transcript")
def story():
    server = bakery()
    placed = server.request("POST", "/orders", CAKE)
    assert placed.status == 201 and placed.headers["location"].endswith("/orders/1"), placed
    assert list(placed.row.items()) == [("id", 1), ("item", "cake"), ("qty", 1), ("status", None)], placed
    confirmed(server, 1)
    answer = server.request("GET", "/mypages")
    links = {"href": f"http://{server.gateway}/mypages/1"}
    assert answer.json == {
        "_embedded": {"mypages": [{
            "action": "apply", "bakeryId": 1, "item": "cake", "orderId": 1, "paymentId": 1, "price": 25000.0, "qty": 1,
            "status": "Confirmed", "_links": {"self": links, "mypage": links},
        }]},
        "_links": {
            "self": {"href": f"http://{server.gateway}/mypages"},
            "profile": {"href": f"http://{server.gateway}/profile/mypages"},
            "search": {"href": f"http://{server.gateway}/mypages/search"},
        },
    }, answer
    assert '"price":25000.0,' in answer.text, answer.text
    eventually(lambda: server.request("GET", "/orders/1").json["status"] == "Confirmed", "the order is confirmed")
    payload = server.events(type="PayApproved")[0]["payload"]
    assert [payload[name] for name in ("id", "orderId", "price", "action")] == [1, 1, 25000.0, "apply"], payload


@case("SYSTEMS-4a the payment and the confirmation by hand, as the transcript did them, find the order paid and confirmed")
def by_hand():
    server = bakery()
    confirmed(server, order(server))
    assert server.request("POST", "/payments", {"orderId": "1", "price": "25000", "action": "apply"}).status == 200
    assert server.request("POST", "/bakeries", {"orderId": "1", "status": "Confirmed"}).status == 200
    confirmed(server, order(server))
    assert len(server.rows("/payments")) == 2 and len(server.rows("/bakeries")) == 2
    assert len(server.events(type="PayApproved")) == 2 and len(server.events(type="OrderConfirmed")) == 2
    assert server.letters() == []


@case("SYSTEMS-4b pay is stopped, or slower than 610 ms: a 5xx and nothing is left; it is up: 201; killed: what was taken is whole")
def pay_away():
    server = bakery()
    conf = server.admin("GET", "/admin/breakers").json["breakers"][0]["conf"]
    assert (conf["timeout_ms"], conf["limit"]) == (610, 200), conf
    server.stop_service("pay")
    assert server.request("POST", "/orders", CAKE).status == 502
    server.start_service("pay")
    server.faults(pay={"delay_ms": 2000})
    assert server.request("POST", "/orders", CAKE).status == 504
    server.faults()
    for path in TABLES:
        assert server.rows(path) == [], path
    assert server.events() == []
    first = confirmed(server, order(server))
    server.stop_service("bakery")
    second = order(server)
    server.kill9()
    server.start()
    server.start_service("bakery")
    confirmed(server, first)
    confirmed(server, second)
    assert len(server.rows("/bakeries")) == 2


@case("SYSTEMS-4c a cancel by action, in either spelling and either way, and by DELETE reaches payment, bakery and page")
def cancels():
    server = bakery()
    for action in ("cancle", "cancel"):
        posted, patched = confirmed(server, order(server)), confirmed(server, order(server))
        assert server.request("POST", "/payments", {"orderId": posted, "action": action}).status == 200
        payment = of_order(server, "/payments", patched)["id"]
        assert server.request("PATCH", f"/payments/{payment}", {"action": action}).status == 200
        for one in (posted, patched):
            canceled(server, one, action)
            eventually(lambda: server.request("GET", f"/orders/{one}").json["status"] == "Canceled", "the order says so")
    deleted = confirmed(server, order(server))
    assert server.request("DELETE", f"/orders/{deleted}").status == 204
    canceled(server, deleted, "cancel")
    assert server.request("GET", f"/orders/{deleted}").status == 404
    assert len(server.events(type="PayCanceled")) == 5
    assert server.letters() == []


@case("SYSTEMS-5a with json.indent an order has 213, 215 and 217 bytes and the empty collection 344, as recorded")
def sizes():
    server = bakery("--set", "json.indent=true")
    with server.connect() as connection:
        empty = connection.request("GET", "/orders", None, {"Host": "order:8080"})
        assert len(empty.body) == 344, empty
        seen = {}
        for _ in range(100):
            placed = connection.request("POST", "/orders", CAKE, {"Host": "localhost:8081"})
            assert placed.status == 201, placed
            seen.setdefault(len(str(placed.id)), set()).add(len(placed.body))
    assert seen == {1: {213}, 2: {215}, 3: {217}}, seen


if __name__ == "__main__":
    main()
