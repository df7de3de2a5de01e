# SPDX-License-Identifier: MIT
"""Clients that others wrote: siege with the command lines of the original systems' own load tests (only shorter, and for
this server), and halchemy, a HAL client from PyPI, which knows a system by its root and follows links from there."""
import collections
import glob
import os
import re
import shlex
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import BUILD, Server, case, eventually, main, row_of, skip, temp_dir  # noqa: E402

# -- siege ---------------------------------------------------------------------------------------------------------

RECORDED = {
    "cna-note": """siege -c1 -t10S -r5 -v --content-type "application/json"
        'http://localhost:8084/orders POST {"branchId":"1","sauceId":"1", "qty":10, "price":10000}'""",
    "concert": """siege -c100 -t60S -r10 -v --content-type "application/json"
        'http://localhost:8082/bookings/ POST {"concertId":1,"userId":1,"qty":5}'""",
    "bookstore": """siege -c10 -t60S -v --content-type "application/json" 'http://localhost:8088/requestPayment?payment=1000'""",
    "bread": """siege -c100 -t20S -r10 -v --content-type "application/json"
        'http://localhost:8081/orders POST {"item":"cake","qty":1}'""",
}


def siege(server, seconds=1):
    """The recorded command line of the server's system, for so long: how many transactions there were. Each is a 201."""
    words = shlex.split(RECORDED[server.system])
    words = [re.sub(r"^-t\d+S$", f"-t{seconds}S", re.sub(r"//localhost:\d+/", f"//{server.gateway}/", word))
             for word in words]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False,
                          env={**os.environ, "HOME": temp_dir()})  # it writes a file of settings there
    told = {name: float(value) for name, value in re.findall(r'"?([a-z_]+)"?:\s+([\d.]+)', done.stdout)}
    assert told["availability"] == 100 and told["failed_transactions"] == 0, (told, done.stderr)
    assert told["transactions"] > 0, told
    return int(told["transactions"])


def rest(server, path, table, field, status, at_least):
    """Each row of path has one row in each of these tables, with this field and status in the last one. Requests that
    siege left when its time was over may have been answered too."""
    def whole():
        ids = collections.Counter(row["id"] for row in server.rows(path))
        assert len(ids) >= at_least
        rows = server.rows(table)
        assert collections.Counter(row[field] for row in rows) == ids
        assert not status or {row[status[0]] for row in rows} == {status[1]}
        return True
    eventually(whole, f"each of {path} has its own of {table}", 60)


@case("SYSTEMS-7a siege of cna-note: every order is a 201, and is prepared")
def siege_cna_note():
    server = Server("cna-note")
    orders = siege(server)
    rest(server, "/orders", "/payments", "orderId", None, orders)
    rest(server, "/orders", "/orderDashboards", "orderId", ("state", "Preparing"), orders)
    assert server.letters() == []


@case("SYSTEMS-7a siege of concert: every booking is a 201, also with the delays of the original's payment; each has its "
      "payment in the end", seconds=120)
def siege_concert():
    server = Server("concert")
    bookings = siege(server)
    server.faults(payment={"delay_ms": [400, 620]})
    bookings += siege(server, 2)
    server.faults()
    rest(server, "/bookings", "/payments", "bookingId", None, bookings)
    rest(server, "/bookings", "/bookingHistories", "bookingId", None, bookings)
    assert server.letters() == []


@case("SYSTEMS-7a siege of bookstore's VAN: every answer is a 200, and the breaker's own")
def siege_bookstore():
    server = Server("bookstore")
    calls = siege(server)
    breaker, = (one for one in server.admin("GET", "/admin/breakers").json["breakers"] if one["name"] == "van")
    assert breaker["total"]["SUCCESS"] >= calls and breaker["state"] == "closed", breaker


@case("SYSTEMS-7a siege of bread: every order is a 201, and is confirmed")
def siege_bread():
    server = Server("bread")
    orders = siege(server)
    rest(server, "/orders", "/payments", "orderId", ("price", 25000.0), orders)
    rest(server, "/orders", "/mypages", "orderId", ("status", "Confirmed"), orders)
    assert server.letters() == []


# -- halchemy ------------------------------------------------------------------------------------------------------


def client(server):
    """A client that knows nothing but the address."""
    sys.path += glob.glob(os.path.join(BUILD, "clients", "lib", "python3*", "site-packages"))
    os.environ["NO_PROXY"] = "*"
    try:
        import halchemy
    except ImportError:
        skip("no halchemy: ./dev test installs it into build/clients when PyPI is in reach")
    api = halchemy.Api(f"http://{server.gateway}")
    api.error_handling.raise_for_status_codes = ">399"
    return api


def to(api, resource, rel, **values):
    return api.follow(resource).to(rel).with_template_values(values)


def status(resource):
    return resource._halchemy.response.status_code


def pages(api, home, rel):
    """All rows of a collection, two a page, and its last page; a view has one page."""
    page, rows = to(api, home, rel, page="0", size="2").get(), []
    while True:
        rows += page.embedded_many(rel)
        if not page.has_rel("next"):
            return rows, page
        page = to(api, page, "next").get()


def walk_finders(api, page, rel, row):
    search = to(api, page, "search").get()
    for finder in search.links:
        if finder == "self":
            continue
        names = re.search(r"{\?(.*)}", search["_links"][finder]["href"]).group(1).split(",")
        found = to(api, search, finder, **{name: str(row[name]) for name in names}).get()
        assert row in found.embedded_many(rel), (finder, found)
        assert to(api, found, "self").get() == found


def walk(server, api):
    """From the root through every page, row, finder and profile: {collection: how many rows}."""
    home, counts = api.home.get(), {}
    assert to(api, home, "self").get() == home
    assert status(to(api, home, "profile").get()) == 200
    for rel in home.links:
        if rel in ("self", "profile"):
            continue
        rows, page = pages(api, home, rel)
        counts[rel] = len(rows)
        assert [row_of(row) for row in rows] == server.rows(f"/{rel}"), rel
        for row in rows:
            own = set(row.links)
            assert "self" in own and len(own) == 2, own
            assert all(to(api, row, link).get() == row for link in own), row
        assert status(to(api, page, "profile").get()) == 200
        if page.has_rel("first"):
            assert to(api, to(api, page, "first").get(), "last").get() == page
        if rows and page.has_rel("search"):
            walk_finders(api, page, rel, rows[0])
    return counts


def settled(server):
    """No policy has anything left to do, so that rows no longer change."""
    def idle():
        return not any(value for name, value in server.metrics().items()
                       if name.startswith(("moontide_policy_behind", "moontide_policy_open")))
    eventually(idle, "the policies are done")


def add(api, rel, body):
    made = to(api, api.home.get(), rel).post(body)
    assert status(made) == 201, made
    return made


@case("SYSTEMS-7b halchemy walks cna-note from its root by links alone: pages, rows, finders, profiles")
def walk_cna_note():
    server = Server("cna-note")
    api = client(server)
    for _ in range(5):
        add(api, "orders", {"branchId": 1, "sauceId": "1", "qty": 10, "price": 10000})
    settled(server)
    assert walk(server, api) == {"orders": 5, "payments": 5, "deliveries": 5, "orderDashboards": 5}


@case("SYSTEMS-7b halchemy books, pays and cancels in concert by links alone, and walks through all of it")
def walk_concert():
    server = Server("concert")
    api = client(server)
    home = api.home.get()
    moon = add(api, "concerts", {"name": "Moon", "ticketQty": 10})
    kim = add(api, "users", {"name": "Kim"})
    ids = [one["_links"]["self"]["href"].rpartition("/")[2] for one in (moon, kim)]
    bookings = [add(api, "bookings", {"concertId": ids[0], "userId": ids[1], "qty": 2}) for _ in range(3)]
    payments, _ = pages(api, home, "payments")
    for payment in payments:
        paid = to(api, payment, "self").patch({"status": "PaymentApproved"})
        assert status(paid) == 200 and paid["status"] == "PaymentApproved", paid
    settled(server)
    assert to(api, moon, "self").get()["ticketQty"] == 4
    approved = to(api, bookings[0], "self").get()
    assert approved["status"] == "BookingApproved" and status(to(api, approved, "self").delete()) == 204
    settled(server)
    assert to(api, moon, "self").get()["ticketQty"] == 6
    histories, _ = pages(api, home, "bookingHistories")
    assert [row["status"] for row in sorted(histories, key=lambda row: row["bookingId"])] == ["PaymentCanceled", "BookingApproved", "BookingApproved"]
    counts = walk(server, api)
    assert {rel: counts[rel] for rel in ("concerts", "bookings", "payments", "users", "bookingHistories")} == {
        "concerts": 1, "bookings": 2, "payments": 2, "users": 1, "bookingHistories": 3}, counts


@case("SYSTEMS-7b halchemy orders, stocks up, delivers and cancels in bookstore by links alone, and walks through all of it")
def walk_bookstore():
    server = Server("bookstore")
    api = client(server)
    home = api.home.get()
    kim = add(api, "customers", {"customerName": "Kim"})
    lua = add(api, "books", {"bookName": "Lua", "stock": 10})
    customer, book = (int(one["_links"]["self"]["href"].rpartition("/")[2]) for one in (kim, lua))
    orders = [add(api, "orders", {"customerId": customer, "bookId": book, "quantity": n, "payAmount": 1000})
              for n in (3, 20, 5)]
    settled(server)
    assert [to(api, order, "self").get()["orderStatus"] for order in orders] == ["Shipped", "ORDERED", "Shipped"]
    assert to(api, lua, "self").get()["stock"] == 2
    for delivery in pages(api, home, "deliveries")[0]:
        if delivery["deliveryStatus"] == "Shipped":
            assert status(to(api, delivery, "self").patch({"deliveryStatus": "Delivered"})) == 200
    assert status(to(api, orders[1], "self").delete()) == 204
    settled(server)
    rows = {row["orderId"]: (row["orderStatus"], row["deliveryStatus"]) for row in pages(api, home, "myPages")[0]}
    assert sorted(rows.values()) == [("CANCELED", "CancelDelivery"), ("ORDERED", "Delivered"), ("ORDERED", "Delivered")], rows
    counts = walk(server, api)
    assert counts == {"customers": 1, "books": 1, "orders": 2, "deliverables": 3, "deliveries": 3, "payments": 3,
                      "myPages": 3, "paymentHistories": 4}, counts


@case("SYSTEMS-7b halchemy orders and cancels in bread by links alone; its second change of an old state is refused")
def walk_bread():
    server = Server("bread")
    api = client(server)
    orders = [add(api, "orders", {"item": "cake", "qty": 1}) for _ in range(3)]
    settled(server)
    order = to(api, orders[0], "self").get()
    assert to(api, order, "self").patch({"qty": 2})["qty"] == 2  # with If-Match, from the ETag that it was given
    api.error_handling.raise_for_status_codes = None
    assert status(to(api, order, "self").patch({"qty": 3})) == 412
    assert to(api, order, "self").get()["qty"] == 2
    search = to(api, to(api, api.home.get(), "payments").get(), "search").get()
    payment, = to(api, search, "findByOrderId", orderId="2").get().embedded_many("payments")
    assert to(api, payment, "self").patch({"action": "cancel"})["action"] == "cancel"
    settled(server)
    shown, _ = pages(api, api.home.get(), "mypages")
    statuses = [row["status"] for row in sorted(shown, key=lambda row: row["orderId"])]
    assert statuses == ["Confirmed", "Canceled", "Confirmed"], statuses
    assert walk(server, api) == {"orders": 3, "payments": 3, "bakeries": 3, "mypages": 3}


if __name__ == "__main__":
    main()
