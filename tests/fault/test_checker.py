# SPDX-License-Identifier: MIT
"""The check that all crash cases stand on finds each kind of broken promise."""
import copy
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import case, main  # noqa: E402
from shop import ALARM, CHAIN, check_invariants  # noqa: E402
from wire import Answer, Headers  # noqa: E402

STORY = (("Paid", None), ("Ordered", None), ("Shipped", 0), ("MessageSended", 2))


class Ledger:
    """A shop on paper: what a server would answer after three orders that went well."""

    def __init__(self):
        self.letters, self.log = [], []
        self.tables = {path: [] for path in ("/orders", *CHAIN.values())}
        for number in (1, 2, 3):
            self.tables["/orders"].append({"id": number, "status": "Shipped"})
            for path in CHAIN.values():
                row = {"id": 10 + number, "orderId": number}
                if path == "/bookAlarms":
                    row.update(bookMessage=ALARM, deliveryId=10 + number)
                self.tables[path].append(row)
            first = len(self.log) + 1
            for place, (name, cause) in enumerate(STORY):
                payload = {"id": number} if name == "Ordered" else {"id": 10 + number, "orderId": number}
                self.log.append({
                    "seq": first + place, "id": f"x-{first + place}", "type": name, "key": f"order/{number}",
                    "causationId": None if cause is None else f"x-{first + cause}", "payload": payload})

    def events(self, **query):
        return [copy.deepcopy(event) for event in self.log if event["seq"] >= query["from"]]

    def rows(self, path):
        return copy.deepcopy(self.tables[path])

    def admin(self, _method, _path):
        return Answer(200, Headers(), json.dumps({"letters": self.letters}).encode())


def drop_order(ledger):
    del ledger.tables["/orders"][1]


def drop_payment(ledger):
    del ledger.tables["/payments"][0]


def pay_twice(ledger):
    ledger.tables["/payments"].append({"id": 99, "orderId": 2})


def ship_unordered(ledger):
    ledger.tables["/deliveries"].append({"id": 99, "orderId": 77})


def alarm_twice(ledger):
    ledger.tables["/bookAlarms"].append({**ledger.tables["/bookAlarms"][0], "id": 99})


def wrong_alarm(ledger):
    ledger.tables["/bookAlarms"][0]["deliveryId"] = 12


def not_shipped(ledger):
    ledger.tables["/orders"][0]["status"] = "Ordered"


def event_missing(ledger):
    ledger.log = [event for event in ledger.log if event["id"] != "x-7"]


def event_twice(ledger):
    ledger.log.append({**ledger.log[2], "seq": 13, "id": "x-13"})


def phantom_event(ledger):
    for place, name in enumerate(name for name, _ in STORY):
        ledger.log.append({"seq": 13 + place, "id": f"x-{13 + place}", "type": name, "key": "order/9",
                           "causationId": "x-1", "payload": {"id": 9, "orderId": 9}})


def id_reused(ledger):
    ledger.tables["/deliveries"][2]["id"] = 11


def stranger_cause(ledger):
    ledger.log[2]["causationId"] = "x-5"


def letter_written(ledger):
    ledger.letters.append({"id": 1})


BREAKAGES = (drop_order, drop_payment, pay_twice, ship_unordered, alarm_twice, wrong_alarm, not_shipped, event_missing,
             event_twice, phantom_event, id_reused, stranger_cause, letter_written)


@case("PATH-7a the check of promises passes an honest ledger and finds every way of breaking one")
def finds():
    assert check_invariants(Ledger(), [1, 3], seconds=0.1) == [1, 2, 3]
    for breakage in BREAKAGES:
        ledger = Ledger()
        breakage(ledger)
        try:
            check_invariants(ledger, [1, 2], seconds=0.1)
        except AssertionError:
            continue
        raise AssertionError(f"{breakage.__name__} was not found")
    for accepted in ([1, 4], [1, 1]):
        try:
            check_invariants(Ledger(), accepted, seconds=0.1)
        except AssertionError:
            continue
        raise AssertionError(f"acknowledged {accepted} was taken for true")


if __name__ == "__main__":
    main()
