# SPDX-License-Identifier: MIT
"""cna-note as its users know it: an order is paid while it is placed, prepared when paid, and the dashboard shows it."""
import os
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import Server, case, eventually, main, scripts_copy  # noqa: E402

ORDER = {"branchId": "1", "sauceId": "1", "qty": 10, "price": 10000}
TABLES = ("/orders", "/payments", "/deliveries", "/orderDashboards")


def kitchen():
    return Server("cna-note")


def order(server, body=None):
    answer = server.request("POST", "/orders", body or ORDER)
    assert answer.status == 201, answer
    return answer


def shown(server, order_id):
    """What the dashboard says about an order."""
    answer = server.request("GET", f"/orderDashboards/search/findByOrderId?orderId={order_id}")
    assert answer.status == 200, answer
    return answer.json["_embedded"]["orderDashboards"][0]["state"]


def delivery_of(server, order_id):
    return [row for row in server.rows("/deliveries") if row["orderId"] == order_id][0]


def is_whole(server, orders):
    """Each of these orders, and none but these, has one payment, one delivery and its line on the dashboard."""
    def whole():
        assert sorted(row["id"] for row in server.rows("/orders")) == sorted(orders)
        for path in TABLES[1:]:
            found = sorted(row["orderId"] for row in server.rows(path))
            assert found == sorted(orders), f"{path}: {len(found)} of {len(orders)}"
        assert {row["state"] for row in server.rows("/orderDashboards")} == {"Preparing"}
        return True
    eventually(whole, "each order is paid, prepared and on the dashboard", 60)
    assert server.letters() == []


@case("SYSTEMS-1a an order is registered, paid, prepared, and on the dashboard; its events have their fields in order")
def story():
    server = kitchen()
    placed = order(server)
    assert placed.headers["location"] == f"http://{server.gateway}/orders/1", placed.headers
    assert server.request("GET", "/isHealthy").status == 200  # where its operators' liveness probe looks
    assert list(placed.row.items()) == [("id", 1), ("branchId", 1), ("sauceId", "1"), ("qty", 10), ("price", 10000),
                                        ("state", "Registered")]
    eventually(lambda: len(server.events()) == 3 and shown(server, 1) == "Preparing", "the dashboard shows it")
    assert server.rows("/payments") == [{"id": 1, "price": 10000, "orderId": 1}]
    assert server.rows("/deliveries") == [{"id": 1, "orderId": 1, "branchLoc": None, "sauceId": None, "qty": None,
                                           "state": "Preparing"}]
    fields = {event["type"]: [name for name in event["payload"] if name not in ("eventType", "timestamp", "me")]
              for event in server.events()}
    assert fields == {"Ordered": ["id", "branchId", "sauceId", "qty", "price", "state"], "Paid": ["id", "orderId"],
                      "Delivered": ["id", "orderId", "state"]}
    dashboards = server.request("GET", "/orderDashboards").json
    assert "page" not in dashboards and list(dashboards["_links"]) == ["self", "profile", "search"], dashboards


LATE_ORDER = """return route "order without its payment" {
  service = "order", method = "POST", path = "/orders/unpaid",
  handle = function(request) bus.emit("Ordered", request.body) end,
}
"""


@case("SYSTEMS-1a the dashboard comes out the same whether Ordered or Paid is first")
def either_order():
    server = Server("cna-note", scripts=scripts_copy({"routes/cna-note/unpaid.lua": LATE_ORDER}))
    server.stop_service("delivery")
    ordered = {"id": 7, "branchId": 1, "sauceId": "1", "qty": 10, "price": 10000, "state": "Registered"}
    assert server.request("POST", "/orders/unpaid", ordered).status < 300
    eventually(lambda: shown(server, 7) == "Registered", "it is on the dashboard")
    assert server.request("POST", "/payments", {"orderId": 7, "price": 10000}).status == 201
    eventually(lambda: shown(server, 7) == "Preparing", "the dashboard says that it is paid")
    assert order(server).id == 1
    whole = dict(ordered, id=0, orderId=0, state="Preparing")
    eventually(lambda: [dict(row, id=0, orderId=0) for row in server.rows("/orderDashboards")] == [whole] * 2,
               "the dashboard says so of the other one, whole")


@case("SYSTEMS-1b payment is down, then slower than 680 ms: a 5xx, and no row and no event of the order; when it is back, 201")
def payment_away():
    server = kitchen()
    conf = server.admin("GET", "/admin/breakers").json["breakers"][0]["conf"]
    assert (conf["timeout_ms"], conf["limit"]) == (680, 200), conf
    server.stop_service("payment")
    assert server.request("POST", "/orders", ORDER).status == 502
    server.start_service("payment")
    server.faults(payment={"delay_ms": 2000})
    assert server.request("POST", "/orders", ORDER).status == 504
    server.faults(payment={"error_rate": 1})
    assert server.request("POST", "/orders", ORDER).status == 502
    server.faults()
    for path in TABLES:
        assert server.rows(path) == [], path
    assert server.events() == []
    is_whole(server, [order(server).id])


@case("SYSTEMS-1c a delivery is done by a PATCH, with nothing in it or with its state; the dashboard follows")
def delivered():
    server = kitchen()
    for body, state in (({}, "Complete"), (None, "Complete"), ({"branchLoc": "Seoul"}, "Complete"),
                        ({"state": "Returned"}, "Returned")):
        placed = order(server).id
        delivery = eventually(lambda: delivery_of(server, placed), "it is prepared")["id"]
        answer = server.request("PATCH", f"/deliveries/{delivery}", body, {"Content-Type": "application/json"})
        assert answer.status == 200 and answer.json["state"] == state, (body, answer)
        eventually(lambda: shown(server, placed) == state, f"the dashboard says {state}")
        assert server.events(type="Delivered")[-1]["payload"]["state"] == state
        assert delivery_of(server, placed)["state"] == state


@case("SYSTEMS-1d a body with an unknown property, as the test without downtime sent it, is accepted")
def unknown_property():
    server = kitchen()
    placed = order(server, {"brancdId": "1", "sauceId": "1", "qty": 10, "price": 10000})
    assert placed.json["branchId"] is None and "brancdId" not in placed.json, placed
    is_whole(server, [placed.id])


@case("SYSTEMS-1e delivery is stopped: orders are taken and paid; it is killed with the process, starts, and catches up",
      seconds=120)
def delivery_away():
    server = kitchen()
    orders = [order(server).id]
    eventually(lambda: server.rows("/deliveries"), "the first one is prepared")
    server.stop_service("delivery")
    orders += [order(server).id for _ in range(20)]
    assert server.request("GET", "/deliveries").status >= 500
    assert len(server.rows("/payments")) == 21
    server.kill9()
    server.start()
    server.start_service("delivery")
    is_whole(server, orders)
    server.stop_service("delivery")
    orders += [order(server).id for _ in range(20)]
    server.start_service("delivery")
    is_whole(server, orders)


@case("SYSTEMS-1e kill -9 while orders are placed: each 201 stands, and what is there becomes whole, once", seconds=120)
def killed():
    server = kitchen()
    accepted, enough = [], threading.Event()

    def customer():
        try:
            with server.connect() as connection:
                while True:
                    answer = connection.request("POST", "/orders", ORDER)
                    assert answer.status == 201, answer
                    accepted.append(answer.id)
                    if len(accepted) >= 150:
                        enough.set()
        except OSError:
            pass  # the server is gone
    customers = [threading.Thread(target=customer) for _ in range(4)]
    for thread in customers:
        thread.start()
    assert enough.wait(60)
    server.kill9()
    for thread in customers:
        thread.join()
    server.start()
    orders = [row["id"] for row in server.rows("/orders")]
    assert set(accepted) <= set(orders), sorted(set(accepted) - set(orders))
    is_whole(server, orders)


if __name__ == "__main__":
    main()
