# SPDX-License-Identifier: MIT
# timeout: 240
"""Crashes of the other systems: clients do whatever they like while the process is killed again and again; afterwards
tickets, stock and money add up, and nothing that was acknowledged is lost."""
import collections
import contextlib
import os
import sqlite3
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import Connection, Server, case, eventually, main, note, rng  # noqa: E402

ROUNDS = 8
CLIENTS = 6


class Clients:
    """Threads that repeat act(connection, chance, told), through every crash. What was acknowledged they put into
    `told`: {kind: set of ids}; an answer that never came is counted, and tells nothing."""

    def __init__(self, server, act, chance):
        self.server, self.act = server, act
        self.told = collections.defaultdict(set)
        self.broken, self.rounds = 0, 0
        self._open, self._over = threading.Event(), threading.Event()
        seeds = [chance.random() for _ in range(CLIENTS)]
        self._threads = [threading.Thread(target=self._live, args=(type(chance)(seed),), daemon=True) for seed in seeds]
        for thread in self._threads:
            thread.start()

    def _live(self, chance):
        while not self._over.is_set():
            if not self._open.wait(0.1):
                continue
            try:
                with Connection(self.server.gateway, 30) as connection:
                    while self._open.is_set() and not self._over.is_set():
                        self.act(connection, chance, self.told)
                        self.rounds += 1
            except (OSError, ValueError):
                self.broken += 1
                self._over.wait(0.005)

    def open(self):
        self._open.set()

    def close(self):
        self._open.clear()

    def leave(self):
        self._over.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), "a client still waits for an answer"


def kill_and_settle(server, act):
    """ROUNDS kills under load, then waits until every event is through; what the clients were told."""
    chance = rng()
    clients = Clients(server, act, chance)
    for _ in range(ROUNDS):
        clients.open()
        time.sleep(chance.uniform(0.1, 0.7))  # the random moment itself: nothing is waited for
        assert server.running(), f"it ended by itself\n{server.tail()}"
        assert server.kill9() == -9
        clients.close()
        server.start()
    enough = clients.rounds + 30
    clients.open()
    eventually(lambda: clients.rounds > enough, "clients are served after the last crash")
    clients.leave()
    settle(server)
    note(f"{clients.rounds} rounds of clients, {clients.broken} connections broken; told: "
         + ", ".join(f"{len(ids)} {kind}" for kind, ids in sorted(clients.told.items())))
    return clients.told


def settle(server):
    def quiet():
        status = server.admin("GET", "/admin/status").json
        policies = status["policies"]
        assert (policies["behind"], policies["open"], policies["held"], status["commitQueue"]) == (0, 0, 0, 0), policies
        return True
    eventually(quiet, "every event is through", 60)
    letters = server.admin("GET", "/admin/letters").json["letters"]
    assert letters == [], letters[:3]


def by(rows, name):
    """{value of the field: row}; each value is there once."""
    found = {}
    for row in rows:
        assert row[name] not in found, f"two rows with {name} {row[name]}: {found[row[name]]} and {row}"
        found[row[name]] = row
    return found


def table(server, name):
    """The rows of a table that the gateway does not show, out of the data file."""
    with contextlib.closing(sqlite3.connect(os.path.join(server.data, "moontide.db"))) as file:
        file.row_factory = sqlite3.Row
        return [dict(row) for row in file.execute(f'SELECT * FROM "{name}"')]


def same_after_restart(server, *paths):
    """Views in memory are made from the log at each start: they come out as they were."""
    before = {path: server.rows(path) for path in paths}
    assert server.stop() == 0
    server.start()
    settle(server)
    for path in paths:
        # ids of views may differ from one making to the next; what the rows say may not
        strip = [sorted(str(sorted((k, v) for k, v in row.items() if k != "id")) for row in rows)
                 for rows in (before[path], server.rows(path))]
        assert strip[0] == strip[1], f"{path} is another one after a restart"


# -- concert ---------------------------------------------------------------------------------------------------------

TICKETS = 150


def go_to_concert(connection, chance, told):
    answer = connection.request("POST", "/bookings", {
        "concertId": chance.randint(1, 3), "userId": chance.randint(1, 9), "qty": chance.randint(1, 3)})
    if answer.status != 201:
        return
    booking = answer.id
    told["booked"].add(booking)
    if chance.random() < 0.8:
        found = connection.request("GET", f"/payments/search/findByBookingId?bookingId={booking}").json
        for payment in found["_embedded"]["payments"]:
            path = payment["_links"]["self"]["href"].partition(connection.address)[2]
            if connection.request("PATCH", path, {}).status == 200:
                told["paid"].add(booking)
    if chance.random() < 0.3 and connection.request("DELETE", f"/bookings/{booking}").status == 204:
        told["canceled"].add(booking)


@case("SYSTEMS-2 concert under kill -9: no ticket is sold twice or lost, and every booking ends as it must (G1, G3)",
      seconds=200)
def concert():
    server = Server("concert", args=["--workers", "4"])
    for name in ("Moon", "Tide", "Night"):
        assert server.request("POST", "/concerts", {"name": name, "ticketQty": TICKETS}).status == 201
    told = kill_and_settle(server, go_to_concert)

    bookings, reservations = by(server.rows("/bookings"), "id"), by(table(server, "concert.reservations"), "bookingId")
    payments, histories = by(server.rows("/payments"), "bookingId"), by(server.rows("/bookingHistories"), "bookingId")
    gone = set(reservations) - set(bookings)
    assert told["booked"] <= set(reservations) and set(bookings) <= set(reservations), "a booking is lost"
    assert told["canceled"] <= gone, "a cancelled booking is still there"
    assert set(histories) == set(reservations)

    for concert_row in server.rows("/concerts"):
        taken = sum(row["qty"] for row in reservations.values()
                    if row["concertId"] == concert_row["id"] and row["state"] == "taken")
        assert concert_row["ticketQty"] == TICKETS - taken and concert_row["ticketQty"] >= 0, (concert_row, taken)
    for number, reservation in reservations.items():
        booking, state = bookings.get(number), reservation["state"]
        if booking is None:
            assert state == "canceled" and number not in payments, (reservation, payments.get(number))
        elif state == "refused":
            assert booking["status"] == "BookingRejected" and number not in payments, (booking, reservation)
        else:
            assert booking["status"] == ("BookingApproved" if state == "taken" else "BookingRequested"), (
                booking, reservation)
            assert number in payments, f"booking {number} has no payment"
            assert (payments[number]["status"] == "PaymentApproved") == (state == "taken"), (payments[number], state)
    unpaid = [number for number in told["paid"] if reservations[number]["state"] == "asked"]
    assert not unpaid, f"paid, and nothing came of it: {unpaid[:5]}"
    assert len({row["state"] for row in reservations.values()}) >= 3, "the clients did hardly anything"
    same_after_restart(server, "/bookingHistories")


# -- bread -----------------------------------------------------------------------------------------------------------

PRICES = {"cake": 25000.0, "bagel": 2500.0, "pie": 18000.0}


def eat_bread(connection, chance, told):
    answer = connection.request("POST", "/orders", {"item": chance.choice(list(PRICES)), "qty": chance.randint(1, 4)})
    if answer.status != 201:
        return
    order, way = answer.id, chance.random()
    told["ordered"].add(order)
    if way < 0.2 and connection.request("DELETE", f"/orders/{order}").status == 204:
        told["deleted"].add(order)
    elif way > 0.8:
        cancel = {"orderId": order, "action": chance.choice(["cancel", "cancle"])}
        if connection.request("POST", "/payments", cancel).status in (200, 201):
            told["canceled"].add(order)


@case("SYSTEMS-4 bread under kill -9: each order is paid once by the price list, or cancelled whole (G1, G3)",
      seconds=200)
def bread():
    server = Server("bread", args=["--workers", "4"])
    told = kill_and_settle(server, eat_bread)

    orders, pages = by(server.rows("/orders"), "id"), by(server.rows("/mypages"), "orderId")
    payments, bakeries = by(server.rows("/payments"), "orderId"), by(server.rows("/bakeries"), "orderId")
    assert told["ordered"] <= set(payments) and set(orders) <= set(payments), "an order is lost"
    assert set(payments) == set(bakeries) == set(pages), "an order without payment, bakery or page"
    assert told["deleted"] <= set(payments) - set(orders), "a deleted order is still there"
    for number, payment in payments.items():
        order, page, bakery = orders.get(number), pages[number], bakeries[number]
        off = payment["action"] in ("cancel", "cancle")
        assert off or order, f"order {number} is gone and its payment is not cancelled"
        assert payment["price"] == PRICES[page["item"]] * page["qty"] == page["price"], (payment, page)
        assert (bakery["status"] == "Canceled") == off, (payment, bakery)
        assert page["action"] == payment["action"] and page["bakeryId"] == bakery["id"], (page, payment, bakery)
        assert page["status"] == bakery["status"], (page, bakery)
        assert order is None or order["status"] == bakery["status"], (order, bakery)
    missed = [number for number in told["canceled"] if payments[number]["action"] == "apply"]
    assert not missed, f"acknowledged as cancelled, and not: {missed[:5]}"
    same_after_restart(server, "/mypages")


# -- bookstore -------------------------------------------------------------------------------------------------------

STOCK = 60


def buy_books(connection, chance, told):
    if chance.random() < 0.05:
        came = {"bookId": chance.randint(1, 3), "quantity": chance.randint(5, 30), "inCharger": "Kim"}
        connection.request("POST", "/stockInputs", came)
        return
    answer = connection.request("POST", "/orders", {
        "bookId": chance.randint(1, 3), "customerId": chance.randint(1, 2), "quantity": chance.randint(1, 5),
        "deliveryAddress": "Seoul", "payAmount": 1000})
    if answer.status != 201 or answer.json["orderStatus"] != "ORDERED":
        return
    told["ordered"].add(answer.id)
    if chance.random() < 0.3 and connection.request("DELETE", f"/orders/{answer.id}").status == 204:
        told["canceled"].add(answer.id)


@case("SYSTEMS-3 bookstore under kill -9: stock and money add up, and only what is paid and prepared is shipped (G1, G3)",
      seconds=200)
def bookstore():
    server = Server("bookstore", args=["--workers", "4"])
    for name in ("Kim", "Lee"):
        assert server.request("POST", "/customers", {"customerName": name}).status == 201
    for name in ("Lua", "SQLite", "Redis"):
        assert server.request("POST", "/books", {"bookName": name, "stock": STOCK}).status == 201
    told = kill_and_settle(server, buy_books)

    orders = {number: row for number, row in by(server.rows("/orders"), "id").items()
              if not row["orderStatus"].endswith("Not_Verified")}
    aside, payments = by(server.rows("/deliverables"), "orderId"), by(server.rows("/payments"), "orderId")
    deliveries, pages = by(server.rows("/deliveries"), "orderId"), by(server.rows("/myPages"), "orderId")
    assert told["ordered"] <= set(aside) and set(orders) <= set(aside), "an order is lost"
    assert set(aside) == set(payments) == set(deliveries) == set(pages), "an order without one of its parts"
    assert told["canceled"] <= set(aside) - set(orders), "a cancelled order is still there"

    inputs = server.request("GET", "/stockInputs").json
    for book in server.rows("/books"):
        came = STOCK + sum(row["quantity"] for row in inputs if row["bookId"] == book["id"])
        out = sum(row["quantity"] for row in aside.values()
                  if row["bookId"] == book["id"] and row["status"] == "Delivery_Prepared")
        assert book["stock"] + out == came and book["stock"] >= 0, (book, out, came)
    for number, part in aside.items():
        story = (part["status"], payments[number]["status"], deliveries[number]["deliveryStatus"])
        if number not in orders:
            assert story == ("DeliveryCanceled", "PAYMENT_CANCELED", "CancelDelivery"), (number, story)
            assert pages[number]["orderStatus"] == "CANCELED", pages[number]
        elif part["status"] == "Delivery_Prepared":
            assert story[1:] == ("PAYMENT_COMPLETED", "Shipped"), (number, story)
            assert orders[number]["orderStatus"] == "Shipped", orders[number]
        else:
            assert story == ("Stock_Lacked", "PAYMENT_COMPLETED", "CreateDelivery"), (number, story)
    histories = collections.Counter((row["orderId"], row["payStatus"]) for row in server.rows("/paymentHistories"))
    assert set(histories.values()) == {1}, "a payment is in the history twice"
    expected = {(number, "PAYMENT_COMPLETED") for number in aside}
    expected |= {(number, "PAYMENT_CANCELED") for number in set(aside) - set(orders)}
    assert set(histories) == expected, set(histories) ^ expected
    same_after_restart(server, "/paymentHistories")


if __name__ == "__main__":
    main()
