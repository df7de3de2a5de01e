# SPDX-License-Identifier: MIT
"""concert as its users know it: booked, paid, approved; given back; and a rush of a thousand for a hundred tickets."""
import collections
import os
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import Server, case, eventually, main  # noqa: E402

JSON = {"Content-Type": "application/json"}


def office(*args):
    return Server("concert", args=list(args))


def concert(server, tickets):
    answer = server.request("POST", "/concerts", {"name": "Moon", "ticketQty": tickets})
    assert answer.status == 201 and answer.json["ticketQty"] == tickets, answer
    return answer.id


def book(server, concert_id, qty=1):
    answer = server.request("POST", "/bookings/", {"concertId": concert_id, "userId": 1, "qty": qty})
    assert answer.status == 201 and answer.json["status"] is None, answer
    return answer.id


def payment_of(server, booking):
    answer = server.request("GET", f"/payments/search/findByBookingId?bookingId={booking}")
    assert answer.status == 200, answer
    return [row["_links"]["self"]["href"].rpartition("/")[2] for row in answer.json["_embedded"]["payments"]]


def pay(server, booking, body=None):
    payment, = payment_of(server, booking)
    answer = server.request("PATCH", f"/payments/{payment}", body, JSON)
    assert answer.status == 200 and answer.json["status"] == "PaymentApproved", answer


def tickets(server, concert_id):
    return server.request("GET", f"/concerts/{concert_id}").json["ticketQty"]


def status(server, booking):
    return server.request("GET", f"/bookings/{booking}").json["status"]


def history(server, booking):
    answer = server.request("GET", f"/bookingHistories/search/findByBookingId?bookingId={booking}")
    return answer.json["_embedded"]["bookingHistories"][0]["status"]


def becomes(server, booking, name):
    eventually(lambda: status(server, booking) == name and history(server, booking) == name, f"{booking} is {name}")


@case("SYSTEMS-2a registered, signed up, booked, paid with an empty change or none, approved: the tickets go down")
def story():
    server = office()
    moon = concert(server, 100)
    user = server.request("POST", "/users", {"name": "Kim"})
    assert user.status == 201 and list(user.row.items()) == [("id", 1), ("name", "Kim")], user
    left = 100
    for body in ({}, None, {"status": "PaymentApproved"}):
        booking = book(server, moon, 5)
        becomes(server, booking, "BookingRequested")
        pay(server, booking, body)
        pay(server, booking, body)
        becomes(server, booking, "BookingApproved")
        left -= 5
        assert tickets(server, moon) == left
    fields = {event["type"]: [name for name in event["payload"] if name not in ("eventType", "timestamp", "me")]
              for event in server.events()}
    booking_fields = ["id", "concertId", "userId", "status", "qty"]
    assert fields == {
        "ConcertRegistered": ["id", "name", "ticketQty"], "TicketUpdated": ["id", "name", "ticketQty"],
        "BookingRequested": booking_fields, "BookingApproved": booking_fields,
        "PaymentRequested": ["id", "bookingId", "status"], "PaymentApproved": ["id", "bookingId", "status"],
        "TicketsTaken": ["bookingId", "concertId", "qty"],
    }, fields
    histories = server.request("GET", "/bookingHistories").json
    assert "page" not in histories and list(histories["_links"]) == ["self", "profile", "search"], histories
    assert list(server.rows("/bookingHistories")[0]) == ["id", "bookingId", "concertId", "userId", "status"]
    assert server.letters() == []


@case("SYSTEMS-2b a cancel gives back what was taken, only that, and cancels the payment; the history says so last")
def cancel():
    server = office()
    moon = concert(server, 100)
    paid, unpaid = book(server, moon, 5), book(server, moon, 7)
    pay(server, paid)
    becomes(server, paid, "BookingApproved")
    assert tickets(server, moon) == 95
    for booking in (paid, unpaid):
        assert server.request("DELETE", f"/bookings/{booking}").status == 204
        eventually(lambda: history(server, booking) == "PaymentCanceled", "the history ends")
        assert payment_of(server, booking) == []
    eventually(lambda: tickets(server, moon) == 100, "the tickets are back")
    later = book(server, moon, 1)
    pay(server, later)
    becomes(server, later, "BookingApproved")
    assert tickets(server, moon) == 99


@case("SYSTEMS-2c payment is slower than 610 ms, then stopped: the booking is a 201 without a payment, which follows by itself, "
      "also after kill -9")
def deferred():
    server = office()
    conf = server.admin("GET", "/admin/breakers").json["breakers"][0]["conf"]
    assert (conf["timeout_ms"], conf["limit"]) == (610, 200), conf
    moon = concert(server, 10)
    server.faults(payment={"delay_ms": 2000})
    slow = book(server, moon)
    assert payment_of(server, slow) == [] and status(server, slow) is not None
    becomes(server, slow, "BookingRequested")
    assert server.events(type="PaymentDeferred")[0]["payload"]["bookingId"] == slow
    server.faults()
    eventually(lambda: payment_of(server, slow), "the payment follows")
    server.stop_service("payment")
    down = book(server, moon)
    assert len(server.events(type="PaymentDeferred", key=f"booking/{down}")) == 1
    server.kill9()
    server.start()
    server.start_service("payment")
    eventually(lambda: payment_of(server, down), "the payment follows", 40)
    for booking in (slow, down):
        pay(server, booking)
        becomes(server, booking, "BookingApproved")
    assert tickets(server, moon) == 8 and server.letters() == []


@case("SYSTEMS-2e the concert service is stopped: bookings and payments go on, and are approved when it is back")
def concert_away():
    server = office()
    moon = concert(server, 100)
    server.stop_service("concert")
    bookings = [book(server, moon, 2) for _ in range(10)]
    for booking in bookings:
        pay(server, booking)
    assert server.request("GET", "/concerts/1").status >= 500
    eventually(lambda: {history(server, booking) for booking in bookings} == {"PaymentApproved"}, "they are paid")
    server.start_service("concert")
    for booking in bookings:
        becomes(server, booking, "BookingApproved")
    assert tickets(server, moon) == 80


class Rush:
    """Many customers with connections of their own share a list of work; what was cut off is done again."""

    def __init__(self, server, work, do, customers=16):
        self.server, self.work, self.do = server, collections.deque(work), do
        self.done, self.failures = [], []
        self.threads = [threading.Thread(target=self._customer) for _ in range(customers)]
        for thread in self.threads:
            thread.start()

    def _customer(self):
        item = None
        try:
            with self.server.connect() as connection:
                while self.work:
                    item = self.work.popleft()
                    self.done.append(self.do(connection, item))
                    item = None
        except IndexError:
            pass  # another one took the last
        except OSError:
            if item is not None:
                self.work.append(item)
        except AssertionError as error:
            self.failures.append(error)

    def join(self):
        for thread in self.threads:
            thread.join()
        assert not self.failures, self.failures[:3]
        return self.done


def book_one(moon):
    def do(connection, _):
        answer = connection.request("POST", "/bookings/", {"concertId": moon, "userId": 1, "qty": 1})
        assert answer.status == 201, answer
        return answer.id
    return do


def pay_one(connection, payment):
    answer = connection.request("PATCH", f"/payments/{payment}", {}, JSON)
    assert answer.status == 200, answer
    return payment


def pay_again(connection, payment):
    """As pay_one, where an answer may have been lost: rejected meanwhile, the payment is gone."""
    answer = connection.request("PATCH", f"/payments/{payment}", {}, JSON)
    assert answer.status in (200, 404), answer
    return payment


def assert_sold_out(server, moon, bookings):
    """100 of them have a ticket each, the others are rejected and their payments are gone; each of it happened once."""
    def told(path):
        return collections.Counter(row["status"] for row in server.rows(path))
    expected = {"BookingApproved": 100, "BookingRejected": bookings - 100}
    eventually(lambda: told("/bookings") == expected and told("/bookingHistories") == expected
               and len(server.rows("/payments")) == 100, "all of them are told", 120)
    assert tickets(server, moon) == 0
    approved = sorted(row["id"] for row in server.rows("/bookings") if row["status"] == "BookingApproved")
    assert sorted(row["bookingId"] for row in server.rows("/payments")) == approved
    count = collections.Counter(event["type"] for event in server.events())
    assert {name: count[name] for name in ("TicketsTaken", "TicketsRefused", "PaymentCanceled", "BookingApproved",
                                           "BookingRejected")} == {
        "TicketsTaken": 100, "TicketsRefused": bookings - 100, "PaymentCanceled": bookings - 100,
        "BookingApproved": 100, "BookingRejected": bookings - 100}, count
    assert all(event["payload"]["ticketQty"] >= 0 for event in server.events(type="TicketUpdated"))
    assert server.letters() == []


@case("SYSTEMS-2d a thousand bookings at once for a hundred tickets: exactly a hundred approved, the rest rejected, "
      "their payments gone", seconds=300)
def rush():
    server = office()
    moon = concert(server, 100)
    assert len(Rush(server, range(1000), book_one(moon)).join()) == 1000
    payments = [row["id"] for row in server.rows("/payments")]
    assert len(payments) == 1000
    Rush(server, payments, pay_one).join()
    assert_sold_out(server, moon, 1000)


@case("SYSTEMS-2d the same with kill -9 while they book and while they pay: the same end", seconds=300)
def rush_killed():
    server = office()
    moon = concert(server, 100)
    booking = Rush(server, range(1000), book_one(moon))
    eventually(lambda: len(booking.done) >= 400, "they book", 60)
    server.kill9()
    accepted = booking.join()
    server.start()
    accepted += Rush(server, booking.work, book_one(moon)).join()
    bookings = {row["id"] for row in server.rows("/bookings")}
    assert len(accepted) == 1000 and set(accepted) <= bookings
    eventually(lambda: len(server.rows("/payments")) == len(bookings), "each has a payment")
    paying = Rush(server, [row["id"] for row in server.rows("/payments")], pay_one)
    eventually(lambda: len(paying.done) >= 400, "they pay", 60)
    server.kill9()
    paying.join()
    server.start()
    Rush(server, paying.work, pay_again).join()
    assert_sold_out(server, moon, len(bookings))


@case("SYSTEMS-5b with json.indent a booking has 241 bytes at localhost:8082 and 237 at booking:8080, as recorded",
      seconds=120)
def sizes():
    server = office("--set", "json.indent=true")
    Rush(server, range(999), book_one(1)).join()
    for host, size in (("localhost:8082", 241), ("booking:8080", 237)):
        answer = server.request("POST", "/bookings/", {"concertId": 1, "userId": 1, "qty": 5}, {"Host": host})
        assert answer.status == 201 and answer.id >= 1000 and len(answer.body) == size, (host, len(answer.body), answer)


if __name__ == "__main__":
    main()
