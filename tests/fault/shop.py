# SPDX-License-Identifier: MIT
"""Customers of the bookmarket who remember, outside the process, what they were promised; and the check that every
promise was kept, whatever happened to the process in between."""
import collections
import os
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import eventually  # noqa: E402
from wire import Connection  # noqa: E402

ORDER = {"bookId": 10, "qty": 1, "customerId": 1002}
CHAIN = {"Paid": "/payments", "Shipped": "/deliveries", "MessageSended": "/bookAlarms"}
ALARM = "Book Delivery Status Changed : Shipped"


class Customers:
    """Threads that place orders as fast as they are answered, through every crash, until they are told to go."""

    def __init__(self, server, count=8):
        self.server = server
        self.accepted = []               # ids that were answered with 201
        self.refused = collections.Counter()  # other statuses
        self.broken = 0                  # answers that never came
        self._open = threading.Event()   # the shop is open: there is somebody to talk to
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._shop, daemon=True) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def _shop(self):
        while not self._over.is_set():
            if not self._open.wait(0.1):
                continue
            try:
                with Connection(self.server.gateway, 30) as connection:
                    self._buy(connection)
            except (OSError, AssertionError, ValueError):
                self.broken += 1
                self._over.wait(0.005)

    def _buy(self, connection):
        while self._open.is_set() and not self._over.is_set():
            answer = connection.request("POST", "/orders", ORDER)
            if answer.status == 201:
                self.accepted.append(answer.id)
            else:
                self.refused[answer.status] += 1
                self._over.wait(0.005)

    def open(self):
        self._open.set()

    def close(self):
        self._open.clear()

    def leave(self):
        """The customers go; their last answers are counted."""
        self._over.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), "a customer still waits for an answer"


class Log:
    """The event log, read on from where it was read to."""

    def __init__(self, server):
        self.server, self.events = server, []
        self.orders = {name: collections.Counter() for name in ("Ordered", *CHAIN)}

    def read(self):
        start = self.events[-1]["seq"] + 1 if self.events else 1
        for event in self.server.events(**{"from": start}):
            self.events.append(event)
            payload = event["payload"]
            self.orders[event["type"]][payload["id"] if event["type"] == "Ordered" else payload["orderId"]] += 1
        return self

    def settled(self):
        """True when the story of every order was told to its end; else says whose was not."""
        self.read()
        for name in CHAIN:
            missing = set(self.orders["Ordered"]) - set(self.orders[name])
            assert not missing, f"{len(missing)} orders without {name}, for instance order {min(missing)}"
        return True


def all_shipped(server):
    other = {row["id"]: row["status"] for row in rows(server, "/orders") if row["status"] != "Shipped"}
    assert not other, f"{len(other)} orders are not Shipped, for instance {min(other.items())}"
    return True


def rows(server, path):
    return server.rows(path)


def assert_each_once(what, counted, expected):
    """Every expected order has exactly one, and nobody else has any."""
    twice = [number for number, count in counted.items() if count != 1]
    missing, extra = expected - set(counted), set(counted) - expected
    assert not twice, f"{what}: {len(twice)} orders have more than one, for instance order {twice[0]}"
    assert not missing, f"{what}: {len(missing)} orders have none, for instance order {min(missing)}"
    assert not extra, f"{what}: {len(extra)} belong to no order, for instance order {min(extra)}"


def assert_ids_once(what, ids):
    twice = [number for number, count in collections.Counter(ids).items() if count > 1]
    assert not twice, f"{what}: {len(twice)} ids were used twice, for instance {twice[0]}"


def check_rows(server, orders):
    """One payment, delivery and alarm an order, and none without its order."""
    deliveries = {}
    for path in CHAIN.values():
        table = rows(server, path)
        assert_each_once(path, collections.Counter(row["orderId"] for row in table), orders)
        assert_ids_once(path, [row["id"] for row in table])
        if path == "/deliveries":
            deliveries = {row["id"]: row["orderId"] for row in table}
        if path == "/bookAlarms":
            wrong = [row for row in table
                     if row["bookMessage"] != ALARM or deliveries[row["deliveryId"]] != row["orderId"]]
            assert not wrong, f"alarms that tell something wrong: {wrong[:3]}"


def check_log(log, orders):
    """One Ordered, Paid, Shipped and MessageSended an order, each caused by the one before."""
    for name, counted in log.orders.items():
        assert_each_once(name, counted, orders)
    seqs = [event["seq"] for event in log.events]
    assert seqs == sorted(set(seqs)), "the log is out of order"
    assert_ids_once("event ids", [event["id"] for event in log.events])
    by_id = {event["id"]: event for event in log.events}
    for event in log.events:
        if event["type"] in ("Shipped", "MessageSended"):
            cause = by_id[event["causationId"]]
            assert cause["key"] == event["key"] and cause["seq"] < event["seq"], (cause, event)


def check_invariants(server, accepted, seconds=25):
    """Waits until the story of every order is over, then checks that every promise was kept, each effect once."""
    log = Log(server)
    eventually(log.settled, "every order has its delivery and its message", seconds)
    eventually(lambda: all_shipped(server), "every order is Shipped", seconds)
    listed = [row["id"] for row in rows(server, "/orders")]
    assert listed == sorted(set(listed)), "orders are not listed by ascending id, once each"
    assert_ids_once("acknowledged orders", accepted)
    lost = set(accepted) - set(listed)
    assert not lost, f"{len(lost)} acknowledged orders are lost, for instance {min(lost)}"
    check_rows(server, set(listed))
    check_log(log.read(), set(listed))
    letters = server.admin("GET", "/admin/letters")
    assert letters.status == 200 and letters.json["letters"] == [], f"letters were written: {letters}"
    return listed
