# SPDX-License-Identifier: MIT
# timeout: 240
"""The whole process under the thread sanitizer: a data race ends it with a report, which fails the case."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import Server, case, eventually, main  # noqa: E402
from shop import Customers, check_invariants, rows  # noqa: E402


@case("PATH-2j four workers under load, with readers, faults and restarts, have no data race", seconds=200)
def races():
    server = Server("bookmarket", args=["--workers", "4", "--set", "breakers.payment.timeout_ms=50"], build="tsan")
    customers = Customers(server)
    for enough in (100, 200, 300):
        customers.open()
        eventually(lambda enough=enough: len(customers.accepted) >= enough, f"{enough} orders", 60)
        faults = {"payment": {"delay_ms": [0, 100], "error_rate": 0.2}}
        assert server.admin("PUT", "/admin/faults", faults).status == 200
        refused = sum(customers.refused.values())
        eventually(lambda refused=refused: sum(customers.refused.values()) >= refused + 50, "orders are refused", 60)
        assert server.admin("DELETE", "/admin/faults").status == 204
        for path in ("/orders", "/payments", "/deliveries", "/bookAlarms"):
            assert rows(server, path)
        assert server.metrics()["moontide_events_total"] > 0
        assert server.stop() == 0, server.tail()
        customers.close()
        server.start()
    customers.leave()
    assert set(customers.refused) <= {502, 503, 504}, dict(customers.refused)
    check_invariants(server, customers.accepted)
    assert server.stop() == 0, server.tail()


@case("PATH-2j a service that stops and starts under load, with four workers and clients that come and go, is no data race",
      seconds=200)
def stop_and_start():
    server = Server("bookmarket", args=["--workers", "4"], build="tsan")
    customers = Customers(server)
    customers.open()
    for name in ("delivery", "payment") * 3:
        enough = len(customers.accepted) + 20
        eventually(lambda enough=enough: len(customers.accepted) >= enough, f"{enough} orders", 60)
        assert server.admin("POST", f"/admin/services/{name}/stop", seconds=60).status == 200
        for _ in range(8):  # a connection each: the workers share them out
            assert server.request("GET", "/orders?size=1").status == 200
        assert server.admin("POST", f"/admin/services/{name}/start", seconds=60).status == 200
    customers.leave()
    assert set(customers.refused) <= {502, 503}, dict(customers.refused)
    check_invariants(server, customers.accepted)
    assert server.stop() == 0, server.tail()


if __name__ == "__main__":
    main()
