# SPDX-License-Identifier: MIT
# timeout: 400
"""Crashes: the process dies at any moment, and nothing acknowledged is lost and nothing happens twice."""
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import Server, case, eventually, main, note, rng, scripts_copy  # noqa: E402
from shop import Customers, check_invariants  # noqa: E402

ROUNDS = 20


def killed_at(server, customers, fault):
    """Runs the server with a fault point until that kills it; false if it died before it listened."""
    server.start(wait=False, env={"MOONTIDE_FAULT": fault})
    eventually(lambda: not server.running() or (server.gateway and server.admin_address),
               f"{fault}: it listens or dies")
    listened = server.running()
    if listened:
        customers.open()
    code = server.wait_exit(30)
    customers.close()
    assert code == -9, f"{fault}: the process ended with {code}\n{server.tail()}"
    return listened


@case("PATH-7a kill -9 at random moments under load, 20 rounds: nothing acknowledged is lost, every effect once (G1, G3)",
      seconds=300)
def kill_under_load():
    chance = rng()
    server = Server("bookmarket", args=["--workers", "4"])
    customers = Customers(server)
    for _ in range(ROUNDS):
        customers.open()
        time.sleep(chance.uniform(0.05, 0.6))  # the random moment itself: nothing is waited for
        assert server.running(), f"it ended by itself\n{server.tail()}"
        assert server.kill9() == -9
        customers.close()
        server.start()
    customers.open()
    enough = len(customers.accepted) + 50
    eventually(lambda: len(customers.accepted) > enough, "orders are accepted after the last crash")
    customers.leave()
    orders = check_invariants(server, customers.accepted, seconds=60)
    note(f"{len(customers.accepted)} orders acknowledged, {len(orders)} there, {customers.broken} connections broken, "
         f"refused: {dict(customers.refused)}")
    assert len(customers.accepted) > ROUNDS, "hardly any order was placed"
    assert server.stop() == 0


@case("PATH-7a what a crash left half told is told to its end by the next process alone")
def settles_alone():
    server = Server("bookmarket")
    customers = Customers(server)
    customers.open()
    eventually(lambda: len(customers.accepted) >= 200, "200 orders")
    server.kill9()
    customers.leave()
    server.start()
    orders = check_invariants(server, customers.accepted)
    server.restart()
    assert check_invariants(server, customers.accepted) == orders


@case("PATH-7a SIGTERM under load, 5 rounds: each ends with 0, nothing acknowledged is lost, every effect once",
      seconds=120)
def stop_under_load():
    server = Server("bookmarket", args=["--workers", "4"])
    customers = Customers(server)
    for round_number in range(1, 6):
        customers.open()
        enough = 150 * round_number
        eventually(lambda enough=enough: len(customers.accepted) >= enough, f"{enough} orders")
        assert server.stop() == 0, server.tail()
        customers.close()
        server.start()
    customers.leave()
    check_invariants(server, customers.accepted)
    assert server.stop() == 0, server.tail()


def crash_everywhere(point, passes):
    """Dies at each of these passes of the point, on one growing data folder, and checks after each."""
    server = Server("bookmarket")
    assert server.stop() == 0
    customers, under_load = Customers(server, 4), 0
    for number in passes:
        under_load += killed_at(server, customers, f"{point}=kill@{number}")
        server.start(env={})
        check_invariants(server, list(customers.accepted))
        assert server.stop() == 0
    customers.leave()
    assert under_load >= len(passes) // 2, f"only {under_load} of {len(passes)} crashes came under load"


@case("PATH-7b a crash between commit and notification loses nothing and repeats nothing", seconds=120)
def crash_committed():
    crash_everywhere("writer.committed", (1, 2, 3, 5, 8, 13, 40))


@case("PATH-7b a crash before the commit leaves nothing of its batch (G2)", seconds=120)
def crash_before_commit():
    crash_everywhere("writer.before_commit", (2, 3, 5, 8, 13, 40))


@case("PATH-7b a crash between notification and the next batch loses nothing and repeats nothing", seconds=120)
def crash_notified():
    crash_everywhere("writer.notified", (2, 3, 5, 8, 13, 40))


@case("PATH-7b a crash before and after the events of a commit are handed to their policies loses none", seconds=120)
def crash_dispatch():
    crash_everywhere("bus.committed", (3, 5, 8, 40))
    crash_everywhere("bus.dispatch", (3, 5, 8, 40))


WITNESS = """return policy "witness" {
  service = "delivery", on = "Paid",
  handle = function(event)
    store.find("deliveries", { orderId = event.orderId })
    log.info("delivered", { order = event.orderId })
  end,
}
"""


@case("PATH-7c every event delivered twice has each effect once", seconds=120)
def twice():
    scripts = scripts_copy({"policies/bookmarket/witness.lua": WITNESS})
    server = Server("bookmarket", scripts=scripts, env={"MOONTIDE_FAULT": "bus.twice=fail@*"})
    customers = Customers(server)
    customers.open()
    eventually(lambda: len(customers.accepted) >= 200, "200 orders")
    customers.leave()
    orders = check_invariants(server, customers.accepted)
    note(f"{len(orders)} orders; {len(server.log_lines(msg='delivered'))} runs of a policy on their {len(orders)} Paid")
    server.restart(env={})
    assert check_invariants(server, customers.accepted) == orders


@case("PATH-7c every policy run twice for an event: the mark in the store lets only one effect through", seconds=120)
def run_twice():
    scripts = scripts_copy({"policies/bookmarket/witness.lua": WITNESS})
    server = Server("bookmarket", scripts=scripts, env={"MOONTIDE_FAULT": "bus.twice=fail@*,bus.again=fail@*"})
    customers = Customers(server)
    customers.open()
    eventually(lambda: len(customers.accepted) >= 200, "200 orders")
    customers.leave()
    orders = check_invariants(server, customers.accepted)
    runs = len(server.log_lines(msg="delivered"))
    note(f"{len(orders)} orders; {runs} runs of a policy on their {len(orders)} Paid")
    assert runs > len(orders), "no policy ran twice: the fault did not reach it"
    server.restart(env={})
    assert check_invariants(server, customers.accepted) == orders


@case("PATH-7c every event delivered twice, and a crash: each effect once", seconds=120)
def twice_and_crash():
    server = Server("bookmarket", env={"MOONTIDE_FAULT": "bus.twice=fail@*"})
    customers = Customers(server)
    for round_number in range(1, 4):
        customers.open()
        enough = 60 * round_number
        eventually(lambda enough=enough: len(customers.accepted) >= enough, f"{enough} orders")
        server.kill9()
        customers.close()
        server.start()
    customers.leave()
    check_invariants(server, customers.accepted)


if __name__ == "__main__":
    main()
