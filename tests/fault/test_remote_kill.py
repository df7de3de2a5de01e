# SPDX-License-Identifier: MIT
# timeout: 400
"""SHOP-5: order and payment in two processes, both killed at random moments under load."""
import collections
import os
import sys
import threading
import time
import uuid

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import Server, case, eventually, main, note, rng  # noqa: E402
from tap import at_end  # noqa: E402
from wire import Connection  # noqa: E402

ROUNDS = 12
ORDER = {"bookId": 10, "qty": 1, "customerId": 1002}


def fix_addresses(server):
    """From its next start on the server has the addresses that it has now."""
    words = server.argv()
    fixed = {"--listen": server.gateway, "--admin": server.admin_address}
    server.argv = lambda: [fixed.get(words[at - 1], word) for at, word in enumerate(words)]


class Shoppers:
    """Threads that place each order under a key of its own and say it again until they know what became of it."""

    def __init__(self, server, count=6):
        self.address, self.accepted, self.refused = server.gateway, [], collections.Counter()
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._shop, daemon=True) for _ in range(count)]
        for thread in self._threads:
            thread.start()
        at_end(self._over.set)

    def _shop(self):
        while not self._over.is_set():
            self._order(uuid.uuid4().hex)

    def _order(self, key):
        for _ in range(200):
            try:
                with Connection(self.address, 30) as connection:
                    answer = connection.request("POST", "/orders", ORDER, {"Idempotency-Key": key})
            except (OSError, AssertionError, ValueError):
                self._over.wait(0.02)
                continue
            if answer.status == 201:
                self.accepted.append(answer.id)
                return
            self.refused[answer.status] += 1
            if answer.status == 502 and "422" in answer.json["message"]:
                return  # paid under this key for an order that was lost: never paid again
            self._over.wait(0.01)

    def leave(self):
        self._over.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), "a shopper still waits for an answer"


def check(order, payment, accepted):
    orders = {row["id"] for row in order.rows("/orders")}
    payments = collections.Counter(row["orderId"] for row in payment.rows("/payments"))
    paid = collections.Counter(event["payload"]["orderId"] for event in payment.events(type="Paid"))
    assert len(accepted) == len(set(accepted)), "one order was acknowledged under two keys"
    assert set(accepted) <= orders, "an acknowledged order is lost"
    assert payments == paid, "payments and their events differ"
    twice = [number for number, count in payments.items() if count != 1]
    assert not twice, f"{len(twice)} orders were paid twice, for instance {twice[0]}"
    unpaid = orders - set(payments)
    assert not unpaid, f"{len(unpaid)} orders have no payment, for instance {min(unpaid)}"
    return len(set(payments) - orders)


@case("SHOP-5a both processes killed at random under load: an acknowledged order has exactly one payment (G1, G8)",
      seconds=300)
def killed():
    random = rng()
    payment = Server("bookmarket", args=["--only", "payment"])
    fix_addresses(payment)
    order = Server("bookmarket", args=["--only", "order", "--set", f"services.payment.url=http://{payment.gateway}"])
    fix_addresses(order)
    shoppers = Shoppers(order)
    for number in range(1, ROUNDS + 1):
        enough = len(shoppers.accepted) + 5
        eventually(lambda enough=enough: len(shoppers.accepted) >= enough, f"5 more orders in round {number}", 60)
        time.sleep(random.uniform(0, 0.3))  # any moment
        victims = random.choice(([order], [payment], [order, payment]))
        for victim in victims:
            victim.kill9()
        for victim in victims:
            victim.start()
    shoppers.leave()
    lost = check(order, payment, shoppers.accepted)
    note(f"{len(shoppers.accepted)} orders, {lost} payments without one; other answers: {dict(shoppers.refused)}")
    for server in (order, payment):
        assert server.stop() == 0, server.tail()
        server.start()
    assert check(order, payment, shoppers.accepted) == lost


if __name__ == "__main__":
    main()
