# SPDX-License-Identifier: MIT
"""Stopping and starting services: what depends on them at once fails, what depends on them by events waits."""
import os
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import Server, case, command, eventually, main, request, temp_dir, write_files  # noqa: E402

ORDER = {"bookId": 10, "qty": 1, "customerId": 1002}

SLOW = {
    "systems/slow.lua": "return { services = { front = {}, back = {}, aside = {} } }\n",
    "routes/slow/front.lua": """return {
  event "Asked" { service = "front", key = { ask = "name" }, fields = { text "name" } },
  event "Rang" { service = "back", key = { ask = "name" }, fields = { text "name" } },
  resource "asks" { service = "front", fields = { text "name" } },
  resource "answers" { service = "back", fields = { text "name", integer "try" } },
  resource "rings" { service = "aside", fields = { text "name" } },
  route "ask" { service = "front", method = "POST", path = "/ask", handle = function(request)
    http.post("http://back/answer", request.body)
    store.create("asks", { name = request.body.name })
    return { ok = true }
  end },
  route "answer" { service = "back", method = "POST", path = "/answer", handle = function(request)
    if request.body.sleep then task.sleep(request.body.sleep) end
    store.create("answers", { name = request.body.name })
    if request.body.again then http.post("http://back/answer", { name = request.body.again }) end
    return { ok = true }
  end },
  route "ring" { service = "back", method = "POST", path = "/ring", handle = function(request)
    bus.emit_in(request.body.after, "Rang", { name = request.body.name })
    return { ok = true }
  end },
  route "emit" { service = "front", method = "POST", path = "/emit", handle = function(request)
    bus.emit("Asked", { name = request.body.name })
    return { ok = true }
  end },
}
""",
    "policies/slow/back.lua": """return policy "back listens" { service = "back", on = "Asked",
  handle = function(event, meta)
    if event.name == "slow" and meta.try == 1 and cache.add("slow") == 1 then task.sleep("20s") end
    store.create("answers", { name = event.name, try = meta.try })
  end }
""",
    "policies/slow/aside.lua": """return policy "aside rings" { service = "aside", on = "Rang",
  handle = function(event) store.create("rings", { name = event.name }) end }
""",
}


def slow(**options):
    folder = temp_dir()
    write_files(folder, SLOW)
    return Server("slow", scripts=folder, **options)


def stop(server, name):
    answer = server.admin("POST", f"/admin/services/{name}/stop", seconds=40)
    assert answer.status == 200 and answer.json == {"name": name, "state": "down"}, answer


def start(server, name):
    answer = server.admin("POST", f"/admin/services/{name}/start")
    assert answer.status == 200 and answer.json == {"name": name, "state": "up"}, answer


def service(server, name):
    answer = server.admin("GET", "/admin/services")
    assert answer.status == 200, answer
    return next(s for s in answer.json["services"] if s["name"] == name)


def order(server):
    answer = server.request("POST", "/orders", ORDER)
    assert answer.status == 201, answer
    return answer.id


def names(server, path):
    return [row["name"] for row in server.rows(path)]


@case("SHOP-4a payment is stopped: an order is a 5xx and leaves no row and no event; payment is started: 201")
def stop_payment():
    server = Server("bookmarket")
    order(server)
    eventually(lambda: len(server.events()) == 4, "the first order is told")
    eventually(lambda: server.rows("/orders")[0]["status"] == "Shipped", "the order hears of it")
    orders, payments = server.rows("/orders"), server.rows("/payments")
    stop(server, "payment")
    for _ in range(5):
        answer = server.request("POST", "/orders", ORDER)
        assert answer.status == 502 and "service payment is stopped" in answer.json["message"], answer
    answer = server.request("GET", "/payments")
    assert answer.status == 503 and answer.json["code"] == "stopped", answer
    assert int(answer.headers["retry-after"]) >= 1, answer.headers
    assert server.rows("/orders") == orders
    assert len(server.events()) == 4, server.events()
    start(server, "payment")
    assert server.rows("/payments") == payments
    made = order(server)
    eventually(lambda: len(server.events()) == 8, "the second order is told")
    assert [e["payload"]["orderId"] for e in server.events(type="Paid")] == [orders[0]["id"], made]


def deliveries_are_complete(server, orders):
    """Each order has one delivery, in the order of the log where the key is the same, and one alarm."""
    eventually(lambda: len(server.rows("/bookAlarms")) == len(orders), "an alarm for each order", 60)
    rows = server.rows("/deliveries")
    assert sorted(row["orderId"] for row in rows) == sorted(orders)
    shipped = server.events(type="Shipped")
    assert sorted(e["payload"]["orderId"] for e in shipped) == sorted(orders)
    caused = {e["causationId"] for e in shipped}
    assert caused == {e["id"] for e in server.events(type="Paid")}, "each Paid has its one Shipped"


@case("SHOP-4b delivery is stopped: 300 orders are 201; it is started: every delivery comes, once")
def stop_delivery():
    server = Server("bookmarket", args=["--set", "bus.max_outstanding=20"])
    stop(server, "delivery")
    orders = [order(server) for _ in range(300)]
    eventually(lambda: all(p["behind"] == 0 and p["open"] == 0 for p in service(server, "order")["policies"]),
               "the order service is not held up")
    assert server.request("GET", "/deliveries").status == 503
    lag = service(server, "delivery")
    assert lag["state"] == "down" and lag["policies"][0]["behind"] >= 300, lag
    start(server, "delivery")
    deliveries_are_complete(server, orders)


@case("SHOP-4c delivery is stopped, the process killed and started between: it is still stopped, then catches up")
def stop_delivery_over_kill():
    server = Server("bookmarket")
    orders = [order(server) for _ in range(20)]
    stop(server, "delivery")
    orders += [order(server) for _ in range(50)]
    server.kill9()
    server.start()
    assert service(server, "delivery")["state"] == "down"
    assert server.request("GET", "/deliveries").status == 503
    orders += [order(server) for _ in range(50)]
    server.restart()
    orders += [order(server) for _ in range(20)]
    start(server, "delivery")
    deliveries_are_complete(server, orders)
    server.restart()
    assert service(server, "delivery")["state"] == "up"
    deliveries_are_complete(server, orders)


@case("SHOP-4c a kill while a service is being stopped loses nothing, whichever side it falls on")
def kill_in_the_middle():
    server = Server("bookmarket", env={"MOONTIDE_LOG_LEVEL": "info"})
    orders = []
    for round_number in range(4):
        orders += [order(server) for _ in range(20)]
        asker = threading.Thread(target=lambda: try_stop(server))
        asker.start()
        if round_number % 2:
            asker.join()
        server.kill9()
        asker.join()
        server.start()
        orders += [order(server) for _ in range(5)]
        start(server, "delivery")
    deliveries_are_complete(server, orders)


def try_stop(server):
    try:
        server.admin("POST", "/admin/services/delivery/stop")
    except (OSError, AssertionError, ValueError):
        pass


@case("SHOP-4d stop and start answer 200 when it is so already; an unknown service is 404 with the nearest name")
def idempotent():
    server = Server("bookmarket")
    for _ in range(2):
        stop(server, "payment")
    for _ in range(2):
        start(server, "payment")
    answer = server.admin("POST", "/admin/services/paymnet/stop")
    assert answer.status == 404 and 'did you mean "payment"' in answer.json["message"], answer
    answer = server.admin("POST", "/admin/services/zzzzzzzz/start")
    assert answer.status == 404 and "there are" in answer.json["message"], answer
    assert server.admin("GET", "/admin/services/payment/stop").status == 405
    assert [e["type"] for e in server.events(service="moontide")] == ["ServiceStopped", "ServiceStarted"]
    assert server.events(type="ServiceStopped")[0]["payload"]["service"] == "payment"


@case("SHOP-4d stop answers when what began in the service has ended; nothing new begins meanwhile")
def drains():
    server = slow()
    answers = []
    asker = threading.Thread(target=lambda: answers.append(
        server.request("POST", "/ask", {"name": "first", "sleep": "2s", "again": "second"})))
    asker.start()
    stopper = None
    try:
        eventually(lambda: server.metrics()['moontide_requests_total{worker="0"}'] +
                   server.metrics().get('moontide_requests_total{worker="1"}', 0) >= 1, "the request runs")
        stopped = []
        stopper = threading.Thread(target=lambda: stopped.append(
            server.admin("POST", "/admin/services/back/stop", seconds=40)))
        stopper.start()
        eventually(lambda: service(server, "back")["state"] == "draining", "it drains")
        assert server.request("POST", "/ask", {"name": "late"}).status == 502
        assert server.admin("POST", "/admin/services/back/start").status == 409
        asker.join()
        assert answers[0].status == 200, answers
        stopper.join()
        assert stopped[0].json["state"] == "down", stopped
        start(server, "back")
        assert names(server, "/answers") == ["first", "second"] and names(server, "/asks") == ["first"]
    finally:
        asker.join()
        if stopper:
            stopper.join()


@case("SHOP-4d what does not end within 10 s is cancelled: callers get 5xx, events are not counted as tried")
def cancels():
    server = slow()
    answers = []
    asker = threading.Thread(target=lambda: answers.append(
        server.request("POST", "/ask", {"name": "never", "sleep": "25s"}, seconds=60)))
    asker.start()
    assert server.request("POST", "/emit", {"name": "slow"}).status == 200
    eventually(lambda: server.metrics()['moontide_requests_total{worker="0"}'] +
               server.metrics().get('moontide_requests_total{worker="1"}', 0) >= 2, "the request runs")
    eventually(lambda: service(server, "back")["policies"][0]["open"] == 1, "the try runs")
    stop(server, "back")
    asker.join()
    assert answers[0].status == 503 and answers[0].json["code"] == "stopped", answers
    assert names(server, "/asks") == []
    start(server, "back")
    rows = eventually(lambda: server.rows("/answers"), "the event is tried again")
    assert [(row["name"], row["try"]) for row in rows] == [("slow", 1)], rows


@case("SHOP-4d timers of a stopped service wait for it")
def timers_wait():
    server = slow()
    assert server.request("POST", "/ring", {"name": "bell", "after": "100ms"}).status == 200
    eventually(lambda: names(server, "/rings") == ["bell"], "a timer rings")
    assert server.request("POST", "/ring", {"name": "late", "after": "1s"}).status == 200
    stop(server, "back")
    server.restart()
    assert server.request("POST", "/emit", {"name": "x"}).status == 200
    due = eventually(lambda: server.events(type="Asked"), "later events pass")
    assert due and names(server, "/rings") == ["bell"]
    start(server, "back")
    eventually(lambda: names(server, "/rings") == ["bell", "late"], "the timer rings")
    assert [e["payload"]["name"] for e in server.events(type="Rang")] == ["bell", "late"]


@case("SHOP-4d a stopped service stays so over reloads, also one that vanishes and returns")
def over_reloads():
    server = slow()
    folder = server.scripts
    stop(server, "back")
    assert server.request("POST", "/emit", {"name": "one"}).status == 200
    assert server.admin("POST", "/admin/reload").status == 200
    assert service(server, "back")["state"] == "down"
    gone = {path: text for path, text in SLOW.items() if "policies" not in path}
    for path in SLOW:
        os.remove(os.path.join(folder, path))
    small = gone["systems/slow.lua"].replace("back = {}, ", "")
    front = """return { resource "asks" { service = "front", fields = { text "name" } } }"""
    write_files(folder, {"systems/slow.lua": small, "routes/slow/front.lua": front})
    assert server.admin("POST", "/admin/reload").status == 200
    assert server.admin("POST", "/admin/services/back/start").status == 404
    write_files(folder, SLOW)
    assert server.admin("POST", "/admin/reload").status == 200
    assert service(server, "back")["state"] == "down"
    assert server.request("POST", "/emit", {"name": "two"}).status == 200
    assert server.request("POST", "/answer", {"name": "x"}).status == 503
    start(server, "back")
    eventually(lambda: sorted(names(server, "/answers")) == ["one", "two"], "both events")


@case("SHOP-4e a service stopped on purpose leaves readyz at 200 and is listed")
def readiness():
    server = Server("bookmarket")
    stop(server, "delivery")
    for path in ("/readyz", "/livez", "/actuator/health"):
        answer = request(server.admin_address, "GET", path)
        assert answer.status == 200, answer
    assert request(server.admin_address, "GET", "/readyz").json == {"status": "ready", "stopped": ["delivery"]}
    start(server, "delivery")
    assert request(server.admin_address, "GET", "/readyz").json == {"status": "ready"}


HELD = {
    "systems/lab.lua": "return { services = { shop = {}, desk = {} } }\n",
    "routes/lab/shop.lua": """return {
  event "Sold" { service = "shop", key = { sale = "n" }, fields = { integer "n" } },
  route "sell" { service = "shop", method = "POST", path = "/sell", handle = function(request)
    bus.emit("Sold", { n = request.body.n })
  end },
}
""",
    "policies/lab/desk.lua": """return policy "desk notes" { service = "desk", on = "Sold", handle = function(event)
  if event.n % 2 == 1 then error("odd") end
end }
""",
}


@case("SHOP-7k what is held for a stopped service is still counted: services, status, metrics")
def held_while_stopped():
    folder = temp_dir()
    write_files(folder, HELD)
    server = Server("lab", scripts=folder)

    def held():
        rows = server.admin("GET", "/admin/services").json["services"]
        desk = next(row for row in rows if row["name"] == "desk")
        return (desk["held"], desk["policies"][0]["held"], server.admin("GET", "/admin/status").json["policies"]["held"],
                server.metrics()['moontide_policy_held{service="desk",policy="desk notes"}'])
    for n in range(1, 7):
        assert server.request("POST", "/sell", {"n": n}).status == 200
    eventually(lambda: held() == (3, 3, 3, 3), "three are held")
    stop(server, "desk")
    assert held() == (3, 3, 3, 3), held()
    server.restart()
    assert held() == (3, 3, 3, 3), held()
    start(server, "desk")
    eventually(lambda: held() == (3, 3, 3, 3), "three are held again")


@case("SHOP-7k a service of another process is listed as remote with its url; stopping it here is 409 and says where")
def remote():
    payment = Server("bookmarket", args=["--only", "payment"])
    url = f"http://{payment.gateway}"
    order = Server("bookmarket", args=["--only", "order", "--set", f"services.payment.url={url}"])
    found = {row["name"]: (row["state"], row["url"]) for row in order.admin("GET", "/admin/services").json["services"]}
    assert found["order"] == ("up", None) and found["payment"] == ("remote", url), found
    assert found["delivery"] == ("remote", None), found  # nobody said where
    for verb in ("stop", "start"):
        answer = order.admin("POST", f"/admin/services/payment/{verb}")
        assert answer.status == 409 and answer.json["code"] == "conflict", answer
        assert f"runs in another process, at {url}; {verb} it at that one's admin side" in answer.json["detail"], answer
        assert order.admin("POST", f"/admin/services/delivery/{verb}").status == 409
    assert "remote" in command("services", "--data", order.data)[1]
    assert 'moontide_service_up{service="payment"}' not in order.metrics()
    assert request(order.admin_address, "GET", "/readyz").json == {"status": "ready"}


@case("SHOP-7k a service stopped here that moves to another process is called there all the same")
def moved():
    payment = Server("bookmarket", args=["--only", "payment"])
    shop = Server("bookmarket")
    stop(shop, "payment")
    assert shop.request("POST", "/orders", ORDER).status == 502
    shop.args = ["--set", f"services.payment.url=http://{payment.gateway}"]
    shop.restart()
    assert "stopped" not in request(shop.admin_address, "GET", "/readyz").json
    assert shop.request("POST", "/orders", ORDER).status == 201
    shop.args = []
    shop.restart()
    assert service(shop, "payment")["state"] == "down"


if __name__ == "__main__":
    main()
