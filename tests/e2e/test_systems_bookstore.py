# SPDX-License-Identifier: MIT
# timeout: 240
"""The book store's user scenario over real sockets: customers, books, orders, stock, VAN, payment history, MyPage, cancel."""
import concurrent.futures
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import Server, case, command, eventually, fix_address, main, row_of  # noqa: E402

REFUSED_CANCEL = "Order can be canceled ONLY during ORDERED status!!!"
VAN_CALLERS = 25  # more than the breaker's volume of 20


class Store:
    """A book store that runs, with what its customers, managers and operators do."""

    def __init__(self, *, data=None, args=()):
        self.server = Server("bookstore", data=data, args=args)

    def post(self, path, **body):
        return self.server.request("POST", path, body)

    def patch(self, path, **body):
        return self.server.request("PATCH", path, body)

    def get(self, path):
        return self.server.request("GET", path)

    def register(self, name="Kim"):
        answer = self.post("/customers", customerName=name)
        assert answer.status == 201, answer
        return answer.id

    def stock_up(self, stock, name="Lua"):
        answer = self.post("/books", bookName=name, stock=stock)
        assert answer.status == 201, answer
        return answer.id

    def order(self, customer, book, quantity=1, amount=1000):
        answer = self.post("/orders", bookId=book, customerId=customer, quantity=quantity, deliveryAddress="Seoul",
                           payAmount=amount, payType="card")
        assert answer.status == 201, answer
        return answer

    def stock(self, book):
        return self.get(f"/books/{book}").json["stock"]

    def status(self, order):
        return self.get(f"/orders/{order}").json["orderStatus"]

    def until(self, order, status):
        eventually(lambda: self.status(order) == status, f"order {order} is {status}")

    def found(self, path, **keys):
        """The rows that a finder of a collection finds."""
        query = "&".join(f"{name}={value}" for name, value in keys.items())
        answer = self.get(f"{path}?{query}")
        assert answer.status == 200, answer
        return next(iter(answer.json["_embedded"].values()))

    def page(self, order):
        """The order's row of MyPage."""
        rows = self.found("/myPages/search/findByOrderId", orderId=order)
        assert len(rows) == 1, rows
        return {name: value for name, value in rows[0].items() if name != "_links"}

    def history(self, order):
        return [row["payStatus"] for row in self.found("/paymentHistories/search/findByOrderId", orderId=order)]

    def payments(self, order):
        return [row["status"] for row in self.server.rows("/payments") if row["orderId"] == order]

    def delivery(self, order):
        return row_of(self.found("/deliveries/search/findFirstByOrderId", orderId=order)[0])

    def deliverable(self, order):
        return self.found("/deliverables/search/findByOrderId", orderId=order)[0]["status"]

    def payloads(self, order):
        """(type, the event's own fields) of what happened to an order, in the order of the log."""
        own = []
        for event in self.server.events(key=f"order/{order}"):
            payload = event["payload"]
            assert list(payload)[:2] == ["eventType", "timestamp"] and list(payload)[-1] == "me", payload
            assert payload["eventType"] == event["type"] and payload["me"] is True, event
            own.append((event["type"], {name: payload[name] for name in list(payload)[2:-1]}))
        return own

    def van(self):
        return {b["name"]: b for b in self.server.admin("GET", "/admin/breakers").json["breakers"]}["van"]

    def services(self, *words):
        """`moontide services WORDS`, as an operator types it."""
        code, out, err = command("services", *words, "--admin", self.server.admin_address,
                                 env={"MOONTIDE_ADMIN_TOKEN": self.server.token()})
        assert code == 0, (out, err)

    def no_letters(self):
        assert self.server.admin("GET", "/admin/letters").json["letters"] == []


@case("SYSTEMS-3a points 1-3, 8: known customer, known book: 201, paid, prepared, shipped; its events and their fields")
def ordered():
    store = Store()
    customer, book = store.register("Kim"), store.stock_up(100)
    placed = store.order(customer, book, 10)
    assert placed.headers["location"].endswith("/orders/1"), placed.headers.all
    assert list(placed.json)[:-1] == ["bookId", "customerId", "quantity", "deliveryAddress", "payAmount", "payType",
                                      "orderStatus"], placed
    assert placed.json["orderStatus"] == "ORDERED" and placed.json["payAmount"] == 1000.0, placed
    store.until(1, "Shipped")
    assert store.stock(book) == 90
    eventually(lambda: store.page(1)["deliveryStatus"] == "Shipped" and store.history(1), "the views have it")
    assert store.page(1) == {
        "customerId": 1, "customerName": "Kim", "orderStatus": "ORDERED", "orderId": 1, "bookId": 1,
        "deliveryStatus": "Shipped", "quantity": 10, "deliveryAddress": "Seoul", "deliveryId": 1}
    assert store.history(1) == store.payments(1) == ["PAYMENT_COMPLETED"]
    payloads = store.payloads(1)
    assert payloads[:2] == [
        ("CustomerVerified", {"orderId": 1, "customerId": 1, "customerName": "Kim"}),
        ("Ordered", {"orderId": 1, "bookId": 1, "customerId": 1, "quantity": 10, "deliveryAddress": "Seoul",
                     "orderStatus": "ORDERED", "payAmount": 1000.0, "payType": "card"})], payloads
    assert sorted(payloads[2:], key=lambda event: event[0]) == [
        ("DeliveryPrepared", {"id": 1, "orderId": 1, "status": "Delivery_Prepared"}),
        ("DeliveryStatusChanged", {"id": 1, "orderId": 1, "deliveryStatus": "Shipped"}),
        ("Payed", {"orderId": 1, "paymentId": 1, "payStatus": "PAYMENT_COMPLETED"})], payloads
    assert [event[0] for event in payloads][-1] == "DeliveryStatusChanged", payloads
    assert [list(fields) for name, fields in payloads if name == "Payed"] == [["orderId", "paymentId", "payStatus"]]
    store.no_letters()


@case("SYSTEMS-3a point 1, 2: customers and books are created, edited and removed; each change of a customer is an event")
def managed():
    store = Store()
    customer, book = store.register("Kim"), store.stock_up(1)
    assert store.patch(f"/customers/{customer}", customerName="Lee").json["customerName"] == "Lee"
    assert store.patch(f"/books/{book}", stock=7, bookName="Lua 5.4").status == 200
    assert store.get(f"/books/{book}").row == {"id": book, "bookName": "Lua 5.4", "stock": 7}
    assert store.server.request("DELETE", f"/customers/{customer}").status == 204
    told = [(event["type"], event["payload"]["customerId"]) for event in store.server.events(service="customer")]
    assert told == [("Registered", 1), ("Changed", 1), ("Deleted", 1)], told


@case("SYSTEMS-3b point 4: the customer service stopped: 201, Customer_Not_Verified, Location .../orders/1, nothing passed on")
def not_verified():
    store = Store()
    customer, book = store.register(), store.stock_up(100)
    store.services("stop", "customer")
    placed = store.order(customer, book)
    assert placed.headers["location"] == f"http://{store.server.gateway}/orders/1", placed.headers.all
    assert placed.json["orderStatus"] == "Customer_Not_Verified", placed
    store.services("start", "customer")
    assert store.order(77, book).json["orderStatus"] == "Customer_Not_Verified"
    assert store.order(customer, 77).json["orderStatus"] == "Book_Not_Verified"
    assert store.order(77, 77).json["orderStatus"] == "Customer_Not_Verified"
    store.services("stop", "bookInventory")
    assert store.order(customer, book).json["orderStatus"] == "Book_Not_Verified"
    store.services("start", "bookInventory")
    good = store.order(customer, book).id
    store.until(good, "Shipped")  # all that came before it has been passed on by now, had it been
    for order in range(1, good):
        assert store.payloads(order) == [], order
        assert store.server.request("DELETE", f"/orders/{order}").status == 409
    assert [row["orderId"] for row in store.server.rows("/payments")] == [good]
    eventually(lambda: [row["orderId"] for row in store.found("/myPages")] == [good], "MyPage has that one")
    assert store.stock(book) == 99


@case("SYSTEMS-3c points 5, 7: stock short: Stock_Lacked; POST /stockInputs serves the waiting greedily by orderId")
def stock_lacked():
    store = Store()
    customer, book = store.register(), store.stock_up(50)
    first, second, third = (store.order(customer, book, quantity).id for quantity in (100, 300, 60))
    for order in (first, second, third):
        eventually(lambda order=order: store.deliverable(order) == "Stock_Lacked" and store.history(order), "it waits")
        assert store.status(order) == "ORDERED" and store.delivery(order)["deliveryStatus"] == "CreateDelivery"
    answer = store.post("/stockInputs", bookId=book, quantity="200")
    assert answer.status == 200 and "location" not in answer.headers, answer
    assert answer.body == b'{"id":1,"bookId":1,"quantity":200,"inCharger":null}', answer
    assert answer.headers["content-type"] == "application/json;charset=UTF-8", answer.headers.all
    assert store.get("/stockInputs").body == b"[" + answer.body + b"]"
    assert store.get("/stockInputs/1").body == answer.body
    store.until(first, "Shipped")
    store.until(third, "Shipped")
    assert store.status(second) == "ORDERED" and store.deliverable(second) == "Stock_Lacked"
    assert store.stock(book) == 50 + 200 - 100 - 60
    missing = store.post("/stockInputs", bookId=99, quantity=1)
    assert missing.status == 500 and missing.json["message"] == "No book for book id 99", missing
    assert store.post("/stockInputs", bookId=book, quantity="many").status == 400


@case("SYSTEMS-3c books come in while an order for them is looked at: no order waits for books that are there")
def stocked_while_ordered():
    store = Store()
    customer = store.register()

    def order_and_stock_up(_):
        book = store.stock_up(0)
        order = store.order(customer, book).id
        assert store.post("/stockInputs", bookId=book, quantity=1).status == 200
        return order, book

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        orders = list(pool.map(order_and_stock_up, range(100)))
    for order, book in orders:
        store.until(order, "Shipped")
        assert store.stock(book) == 0
    store.no_letters()


@case("SYSTEMS-3c orders and stock inputs of one book at the same moment: no piece is lost or given twice")
def stocked_and_ordered():
    store = Store()
    customer, book = store.register(), store.stock_up(0)

    def order_or_stock_up(at):
        if at % 2:
            return store.order(customer, book, 1 + at % 3).status
        return store.post("/stockInputs", bookId=book, quantity=2).status

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(order_or_stock_up, range(200)))
    assert answers == [200, 201] * 100, answers
    deliverables = eventually(lambda: len(store.server.rows("/deliverables")) == 100 and store.server.rows("/deliverables"),
                              "all orders are with the stock")
    left = store.stock(book)
    ready = sum(row["quantity"] for row in deliverables if row["status"] == "Delivery_Prepared")
    lacking = [row for row in deliverables if row["status"] == "Stock_Lacked" and row["quantity"] <= left]
    assert left + ready == 200 and lacking == [], (left, ready, lacking)
    store.no_letters()


@case("SYSTEMS-3c the seed's transcript: order 4 of 100 copies, stock 50, 200 come in, 150 are left, events in order")
def transcript():
    store = Store()
    customer, book = store.register(), store.stock_up(53)
    for _ in range(3):
        store.until(store.order(customer, book).id, "Shipped")
    assert store.stock(book) == 50
    assert store.order(customer, book, 100).id == 4
    eventually(lambda: store.deliverable(4) == "Stock_Lacked" and store.history(4), "order 4 waits for stock")
    before = len(store.server.events())
    assert store.post("/stockInputs", bookId=book, quantity=200).status == 200
    store.until(4, "Shipped")
    told = store.server.events(**{"from": before + 1})
    assert [event["type"] for event in told] == ["DeliveryPrepared", "DeliveryStatusChanged"], told
    assert store.payloads(4)[-2:] == [
        ("DeliveryPrepared", {"id": 4, "orderId": 4, "status": "Delivery_Prepared"}),
        ("DeliveryStatusChanged", {"id": 4, "orderId": 4, "deliveryStatus": "Shipped"})]
    assert store.stock(book) == 150


@case("SYSTEMS-3d VAN: payment=100 completes in 17 bytes; wrong ones are 400 with the original's texts; other methods do nothing")
def van_answers():
    store = Store()
    answer = store.get("/requestPayment?payment=100")
    assert answer.status == 200 and answer.body == b"PAYMENT_COMPLETED", answer
    assert answer.headers["content-type"] == "text/plain;charset=UTF-8", answer.headers.all
    assert answer.headers["content-length"] == "17", answer.headers.all
    missing = store.get("/requestPayment")
    assert missing.status == 400, missing
    assert missing.json["message"] == "Required long parameter 'payment' is not present", missing
    wrong = store.get("/requestPayment?payment=x")
    assert wrong.status == 400 and 'For input string: "x"' in wrong.json["message"], wrong
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        nothing = store.server.request(method, "/requestPayment")
        assert nothing.status == 200 and nothing.body == b"", (method, nothing)


@case("SYSTEMS-3d payment=0 fails after VAN's timeout of 5000 ms; more than 20 at once open the circuit, which answers by itself")
def van_opens():
    store = Store()
    customer, book = store.register(), store.stock_up(10)
    settings = store.van()["conf"]
    assert (settings["timeout_ms"], settings["sleep_ms"]) == (5000, 10000), settings
    with concurrent.futures.ThreadPoolExecutor(VAN_CALLERS) as pool:
        answers = list(pool.map(lambda _: store.get("/requestPayment?payment=0"), range(VAN_CALLERS)))
    for answer in answers:
        assert answer.status == 200 and answer.body == b"PAYMENT_FAILED", answer
        assert answer.headers["content-length"] == "14", answer.headers.all
    shown = store.van()
    assert shown["state"] == "open" and shown["total"]["TIMEOUT"] == VAN_CALLERS, shown
    assert store.get("/requestPayment?payment=100").body == b"PAYMENT_FAILED"  # also a good one
    failed = store.order(customer, book, 3).id
    store.until(failed, "Payment_Failed")
    shown = store.van()
    assert shown["total"]["SHORT_CIRCUITED"] == 2 and shown["total"]["TIMEOUT"] == VAN_CALLERS, shown
    eventually(lambda: store.history(failed) == ["PAYMENT_FAILED"] and store.stock(book) == 10, "the books are back")
    eventually(lambda: store.delivery(failed)["deliveryStatus"] == "CancelDelivery", "it is not delivered")
    eventually(lambda: store.page(failed)["orderStatus"] == "Payment_Failed", "MyPage says so")
    assert store.server.admin("PUT", "/admin/breakers/van", {"sleep_ms": 1}).status == 200
    eventually(lambda: store.get("/requestPayment?payment=100").body == b"PAYMENT_COMPLETED", "a trial closes it")
    store.until(store.order(customer, book).id, "Shipped")


@case("SYSTEMS-3d points 11, 12: VAN stopped: the order is taken, its payment fails, the history says so; VAN back: paid")
def van_stopped():
    store = Store()
    customer, book = store.register(), store.stock_up(10)
    store.services("stop", "van")
    failed = store.order(customer, book, 4).id
    store.until(failed, "Payment_Failed")
    store.services("start", "van")
    good = store.order(customer, book, 1).id
    store.until(good, "Shipped")
    eventually(lambda: store.history(good), "the history has both")
    assert store.history(failed) == store.payments(failed) == ["PAYMENT_FAILED"]
    assert store.history(good) == store.payments(good) == ["PAYMENT_COMPLETED"]
    eventually(lambda: store.stock(book) == 9, "the failed order's books are back")
    failures = [fields for name, fields in store.payloads(failed) if name == "PaymentFailed"]
    assert failures == [{"orderId": failed, "paymentId": 1, "payStatus": "PAYMENT_FAILED"}], failures
    listed = store.get("/paymentHistories?size=1").json
    assert list(listed) == ["_embedded", "_links"], listed  # not paged
    assert len(listed["_embedded"]["paymentHistories"]) == 2, listed
    assert listed["_links"]["self"] == {"href": f"http://{store.server.gateway}/paymentHistories"}, listed
    assert "page" in store.get("/payments").json
    store.no_letters()


@case("SYSTEMS-3d VAN is a company of its own: another process; killed in the middle of a payment: failed; away: failed; back: paid")
def van_outside():
    company = Server("bookstore", args=["--only", "van"])
    fix_address(company, "--listen", company.gateway)
    store = Store(args=["--set", f"services.van.url=http://{company.gateway}"])
    customer, book = store.register(), store.stock_up(10)
    store.until(store.order(customer, book).id, "Shipped")
    assert company.admin("PUT", "/admin/faults", {"van": {"delay_ms": 600000}}).status == 200
    killed = store.order(customer, book, 4).id
    eventually(lambda: store.deliverable(killed) == "Delivery_Prepared", "the books lie ready")
    company.kill9()
    store.until(killed, "Payment_Failed")
    away = store.order(customer, book, 2).id
    store.until(away, "Payment_Failed")
    for order in (killed, away):
        assert store.payments(order) == ["PAYMENT_FAILED"], order
    eventually(lambda: store.stock(book) == 9, "their books are back")
    company.start()
    store.until(store.order(customer, book).id, "Shipped")
    store.no_letters()


@case("SYSTEMS-3e points 3, 6, 10: cancel only while ORDERED, else 409; refund, history, stock; MyPage keeps all orders; no change")
def canceled():
    store = Store()
    customer, other, book = store.register("Kim"), store.register("Lee"), store.stock_up(5)
    shipped, waiting, others = (store.order(c, book, n).id for c, n in ((customer, 2), (customer, 100), (other, 1)))
    for order in (shipped, others):
        store.until(order, "Shipped")
    refused = store.server.request("DELETE", f"/orders/{shipped}")
    assert refused.status == 409 and refused.json["message"] == REFUSED_CANCEL, refused
    for method in ("PUT", "PATCH"):
        answer = store.server.request(method, f"/orders/{waiting}", {"quantity": 1})
        assert answer.status == 405 and "DELETE" in answer.headers["allow"], answer
    eventually(lambda: store.history(waiting) == ["PAYMENT_COMPLETED"], "it is paid")
    assert store.server.request("DELETE", f"/orders/{waiting}").status == 204
    assert store.get(f"/orders/{waiting}").status == 404
    eventually(lambda: store.history(waiting) == ["PAYMENT_COMPLETED", "PAYMENT_CANCELED"], "it is refunded")
    eventually(lambda: store.delivery(waiting)["deliveryStatus"] == "CancelDelivery", "it is not delivered")
    eventually(lambda: store.deliverable(waiting) == "DeliveryCanceled", "it waits for no books")
    assert store.payments(waiting) == ["PAYMENT_CANCELED"]
    told = dict(store.payloads(waiting))
    assert told["OrderCanceled"] == {"orderId": waiting, "status": "CANCELED"}, told
    payment = next(row["id"] for row in store.server.rows("/payments") if row["orderId"] == waiting)
    assert told["PaymentCanceled"] == {"orderId": waiting, "paymentId": payment, "payStatus": "PAYMENT_CANCELED"}, told
    eventually(lambda: store.page(waiting)["deliveryStatus"] == "CancelDelivery", "MyPage has it all")
    eventually(lambda: sorted((row["orderId"], row["orderStatus"]) for row in store.found(
        "/myPages/search/findByCustomerId", customerId=customer)) == [(shipped, "ORDERED"), (waiting, "CANCELED")],
        "both orders of the customer are on MyPage")
    assert store.post("/stockInputs", bookId=book, quantity=200).status == 200
    assert store.stock(book) == 202  # all of it: nobody waits
    store.no_letters()


@case("SYSTEMS-3e cancelled while its payment is still at VAN, and the process dies: paid, then refunded, not delivered")
def canceled_while_paying():
    store = Store()
    customer, book = store.register(), store.stock_up(5)
    assert store.server.admin("PUT", "/admin/faults", {"van": {"delay_ms": 600000}}).status == 200
    order = store.order(customer, book, 9).id
    eventually(lambda: store.deliverable(order) == "Stock_Lacked", "it waits for books, and for VAN")
    assert store.payments(order) == []
    assert store.server.request("DELETE", f"/orders/{order}").status == 204
    store.server.kill9()
    store.server.start()
    eventually(lambda: store.history(order) == ["PAYMENT_COMPLETED", "PAYMENT_CANCELED"], "paid, then refunded")
    eventually(lambda: store.page(order)["deliveryStatus"] == "CancelDelivery", "it is not delivered")
    assert store.page(order)["orderStatus"] == "CANCELED" and store.stock(book) == 5
    assert "Shipped" not in [fields.get("deliveryStatus") for _, fields in store.payloads(order)]
    store.no_letters()


@case("SYSTEMS-3e orders and their cancels at the same moment: what was cancelled is refunded and back in stock, the rest shipped")
def canceled_at_once():
    store = Store()
    customer, book = store.register(), store.stock_up(1000)

    def place_and_cancel(_):
        order = store.order(customer, book, 3).id
        return order, store.server.request("DELETE", f"/orders/{order}").status

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = dict(pool.map(place_and_cancel, range(60)))
    assert set(answers.values()) <= {204, 409}, answers
    for order, status in answers.items():
        if status == 409:
            store.until(order, "Shipped")
        else:
            eventually(lambda order=order: store.payments(order) == ["PAYMENT_CANCELED"], f"order {order} is refunded")
            eventually(lambda order=order: store.deliverable(order) == "DeliveryCanceled", f"order {order} has no books")
            eventually(lambda order=order: store.page(order)["orderStatus"] == "CANCELED", f"order {order} is on MyPage")
    assert store.stock(book) == 1000 - 3 * list(answers.values()).count(409)
    store.no_letters()


@case("SYSTEMS-3f points 8, 9: steps of a delivery by PATCH reach the order and MyPage; the same step again tells nobody")
def delivery_steps():
    store = Store()
    order = store.order(store.register(), store.stock_up(5)).id
    store.until(order, "Shipped")
    delivery = store.delivery(order)["id"]
    for step in ("OnTheWay", "ShippingCompleted", "ShippingCompleted"):
        assert store.patch(f"/deliveries/{delivery}", deliveryStatus=step).status == 200
        store.until(order, step)
    eventually(lambda: store.page(order)["deliveryStatus"] == "ShippingCompleted", "MyPage follows")
    steps = [fields for name, fields in store.payloads(order) if name == "DeliveryStatusChanged"]
    assert steps == [{"id": delivery, "orderId": order, "deliveryStatus": step}
                     for step in ("Shipped", "OnTheWay", "ShippingCompleted")], steps
    known = store.get(f"/selectDeliveryInfo?deliveryId={delivery}")
    assert known.text == "ShippingCompleted" and known.headers["content-type"] == "text/plain;charset=UTF-8", known
    assert store.get("/selectDeliveryInfo?deliveryId=99").text == "CircuitBreaker!!!"


@case("SYSTEMS-3g /isHealthy, /makeZombie, /isReady: 200 and empty; a zombie is ready but not healthy until its restart")
def zombie():
    store = Store()
    for path in ("/isHealthy", "/isReady", "/makeZombie"):
        answer = store.get(path)
        assert answer.status == 200 and answer.body == b"" and answer.headers["content-length"] == "0", (path, answer)
    sick = store.get("/isHealthy")
    assert sick.status == 500 and sick.json["message"] == "Zombie...", sick
    assert store.get("/isReady").status == 200
    store.server.restart()
    assert store.get("/isHealthy").status == 200


@case("SYSTEMS-3h kill -9 in the middle of VAN calls, twice: each order has one payment, one history row a status, one shipment")
def killed_while_paying():
    store = Store()
    customer, book = store.register(), store.stock_up(1000)
    orders = []
    for _ in range(2):
        assert store.server.admin("PUT", "/admin/faults", {"van": {"delay_ms": [0, 2000]}}).status == 200
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            orders += [answer.id for answer in pool.map(lambda _: store.order(customer, book, 2), range(20))]
        paid = eventually(lambda: store.server.rows("/payments"), "some are paid")
        assert len(paid) < len(orders), "all are paid: nothing was in the middle"
        store.server.kill9()
        store.server.start()
    for order in orders:
        store.until(order, "Shipped")
    eventually(lambda: len(store.found("/paymentHistories")) == len(orders), "the history has all")
    payments = store.server.rows("/payments")
    assert sorted(row["orderId"] for row in payments) == sorted(orders), payments
    assert {row["status"] for row in payments} == {"PAYMENT_COMPLETED"}, payments
    assert {(row["orderId"], row["payStatus"]) for row in store.found("/paymentHistories")} == {
        (order, "PAYMENT_COMPLETED") for order in orders}
    for order in orders:
        told = sorted(name for name, _ in store.payloads(order))
        assert told == ["CustomerVerified", "DeliveryPrepared", "DeliveryStatusChanged", "Ordered", "Payed"], told
    assert store.stock(book) == 1000 - 2 * len(orders)
    store.no_letters()


if __name__ == "__main__":
    main()
