# SPDX-License-Identifier: MIT
# timeout: 200
"""Clients that nobody here wrote: siege as the original systems were loaded with, HTTPie, and a client of HAL."""
import glob
import json
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import BUILD, Server, case, eventually, main, skip, temp_dir  # noqa: E402

ORDER = '{"bookId":"10","qty":"1","customerId":"1002"}'


# -- siege ---------------------------------------------------------------------------------------------------------


def siege(server, seconds):
    """The originals' command line, but for the time; what siege reports, by its names."""
    done = subprocess.run(["siege", "-c100", f"-t{seconds}S", "--content-type", "application/json",
                           f"http://{server.gateway}/orders POST {ORDER}"], capture_output=True, text=True, check=False,
                          env={**os.environ, "HOME": temp_dir()}, timeout=60)
    found = re.search(r"^\{.*^\}", done.stdout + done.stderr, re.MULTILINE | re.DOTALL)
    assert found, (done.stdout, done.stderr)
    return json.loads(found.group(0))


@case("SHOP-8a siege -c100 on POST /orders, payment 400 to 620 ms late: what is too late leaves nothing, the rest is whole")
def siege_late():
    server = Server("bookmarket", args=["--set", "breakers.payment.timeout_ms=610"])
    assert server.admin("PUT", "/admin/faults", {"payment": {"delay_ms": [400, 620]}}).status == 200
    report = siege(server, 3)
    assert report["transactions"] >= 100, report  # each of the hundred users got through
    assert server.admin("DELETE", "/admin/faults").status in (200, 204)
    eventually(lambda: breaker(server)["in_flight"] == 0, "no payment is under way")
    counts = breaker(server)["total"]
    eventually(lambda: len(server.rows("/orders")) == counts["SUCCESS"], f"as many orders as payments: {counts}")
    orders = server.rows("/orders")
    assert [counts[name] for name in ("FAILURE", "SHORT_CIRCUITED", "SEMAPHORE_REJECTED")] == [0, 0, 0], counts
    # What siege was told is true; when its time is over it does not wait for the last answer of each user.
    accepted, failed = report["successful_transactions"], report["failed_transactions"]
    assert accepted <= len(orders) <= accepted + 100, (report, len(orders))
    assert failed <= counts["TIMEOUT"] + 100, (report, counts)
    ids = sorted(order["id"] for order in orders)
    assert sorted(row["orderId"] for row in server.rows("/payments")) == ids
    assert sorted(int(event["key"].partition("/")[2]) for event in server.events(type="Ordered")) == ids
    eventually(lambda: sorted(row["orderId"] for row in server.rows("/deliveries")) == ids, "all are delivered")


def breaker(server):
    return {b["name"]: b for b in server.admin("GET", "/admin/breakers").json["breakers"]}["payment"]


# -- HTTPie --------------------------------------------------------------------------------------------------------


def httpie(server, *words):
    """`http WORDS` as in a shell: (exit code, status, headers by lower name, body). An address begins with a slash."""
    words = [f"http://{server.gateway}{word}" if word.startswith("/") else word for word in words]
    done = subprocess.run(["http", "--ignore-stdin", "--check-status", "--pretty=none", "--print=hb", *words],
                          capture_output=True, text=True, check=False, env={**os.environ, "HOME": temp_dir()}, timeout=30)
    head, _, body = done.stdout.replace("\r\n", "\n").partition("\n\n")
    assert head.startswith("HTTP/1.1 "), (words, done)
    lines = head.split("\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
    return done.returncode, int(lines[0].split()[1]), headers, body.strip()


@case("SHOP-8b HTTPie: an order placed, read, paged, its delivery changed, cancelled; errors by status and exit code")
def with_httpie():
    server = Server("bookmarket")
    code, status, headers, body = httpie(server, "POST", "/orders", "bookId=10", "qty=1", "customerId=1002")
    assert (code, status) == (0, 201) and headers["location"].endswith("/orders/1"), (status, headers)
    assert json.loads(body)["bookId"] == 10, body
    assert httpie(server, "POST", "/orders", "bookId:=11")[1] == 201
    code, status, headers, body = httpie(server, "/orders", "size==1", "page==1", "sort==bookId,desc")
    page = json.loads(body)
    assert status == 200 and headers["content-type"].startswith("application/hal+json"), headers
    assert [row["bookId"] for row in page["_embedded"]["orders"]] == [10] and page["page"]["totalPages"] == 2, page
    eventually(lambda: httpie(server, "/deliveries/1")[1] == 200, "the first one is under way")
    code, status, headers, body = httpie(server, "/deliveries/1")
    change = ("PATCH", "/deliveries/1", "status=Delivered", f"If-Match:{headers['etag']}")
    assert httpie(server, *change)[:2] == (0, 200)
    assert httpie(server, *change)[:2] == (4, 412)
    code, status, headers, body = httpie(server, "HEAD", "/orders/1")
    assert (code, status, body) == (0, 204, "") and headers["etag"], (status, headers)
    assert "POST" in httpie(server, "OPTIONS", "/orders")[2]["allow"]
    assert httpie(server, "DELETE", "/orders/1")[:2] == (0, 204)
    assert httpie(server, "/orders/1")[:2] == (4, 404)
    code, status, headers, body = httpie(server, "POST", "/orders", "qty=1")
    assert (code, status) == (4, 400) and json.loads(body)["errors"][0]["property"] == "bookId", body
    assert httpie(server, "--form", "POST", "/orders", "bookId=10")[:2] == (4, 415)
    assert httpie(server, "/selectBookAlarmInfo", "id==999")[3] == "CircuitBreaker!!!"


# -- a client of HAL -----------------------------------------------------------------------------------------------


def hal_client(server):
    """halchemy's Api, which knows nothing but the address."""
    sys.path += glob.glob(os.path.join(BUILD, "clients", "lib", "python3*", "site-packages"))
    try:
        from halchemy import Api
    except ImportError:
        skip("no halchemy: ./dev test installs it into build/clients when PyPI is in reach")
    return Api(f"http://{server.gateway}")


@case("SHOP-8c a client of HAL (halchemy) goes by links alone: collections, pages, finders, conditional changes")
def with_halchemy():
    server = Server("bookmarket")
    api = hal_client(server)
    root = api.home.get()
    orders = api.follow(root).to("orders").get()
    placed = [api.follow(orders).to("self").post({"bookId": number, "customerId": number % 3}) for number in range(7)]
    assert all(order._halchemy.response.status_code == 201 for order in placed), placed
    page, seen = api.follow(root).to("orders").with_template_values({"size": 3, "sort": "bookId,desc"}).get(), []
    while True:
        seen += [order["bookId"] for order in page.embedded_many("orders")]
        if not page.has_rel("next"):
            break
        page = api.follow(page).to("next").get()
    assert seen == [6, 5, 4, 3, 2, 1, 0], seen
    assert [o["bookId"] for o in api.follow(page).to("first").get().embedded_many("orders")] == [6, 5, 4]
    assert [o["bookId"] for o in api.follow(page).to("prev").get().embedded_many("orders")] == [3, 2, 1]
    assert api.follow(page).to("profile").get()._halchemy.response.status_code == 200

    def delivery_of(order):
        deliveries = api.follow(root).to("deliveries").get()
        finder = api.follow(api.follow(deliveries).to("search").get()).to("findByOrderId")
        return finder.with_template_values({"orderId": order}).get().embedded_many("deliveries")
    number = int(placed[4]["_links"]["self"]["href"].rpartition("/")[2])
    (found,) = eventually(lambda: delivery_of(number), "the delivery is found by its order")
    assert found["orderId"] == number, found
    mine, theirs = api.follow(found).to("self").get(), api.follow(found).to("delivery").get()
    assert mine == theirs and mine._halchemy.response.headers["ETag"], mine
    assert api.follow(mine).to("self").patch({"status": "Delivered"})["status"] == "Delivered"  # halchemy sends If-Match
    late = api.follow(theirs).to("self").patch({"status": "Lost"})
    assert late._halchemy.response.status_code == 412, late._halchemy.response
    order = api.follow(placed[4]).to("order").get()
    eventually(lambda: api.follow(order).to("self").get()["status"] == "Delivered", "the order follows")
    order = api.follow(order).to("self").get()
    assert api.follow(order).to("self").delete()._halchemy.response.status_code == 204
    assert api.follow(order).to("self").get()._halchemy.response.status_code == 404
    pages = api.follow(root).to("mypages").get()
    eventually(lambda: {page["status"] for page in api.follow(pages).to("self").get().embedded_many("mypages")
                        if page["orderId"] == number} == {"DeliveryCanceled"}, "the customer's page keeps it")


if __name__ == "__main__":
    main()
