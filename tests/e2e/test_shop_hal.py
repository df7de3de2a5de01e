# SPDX-License-Identifier: MIT
"""Resources over real sockets: the sizes that were recorded with the original systems, and both layouts."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import Server, case, command, main, temp_dir, write_files  # noqa: E402

BAKERY = {
    "systems/bakery.lua": "return { services = { order = {}, booking = {} } }\n",
    "routes/bakery/tables.lua": """return {
  resource "orders" { service = "order", rel = "order", fields = { text "item", integer "qty", text "status" } },
  resource "bookings" { service = "booking", rel = "booking",
    fields = { integer "concertId", integer "userId", text "status", integer "qty" } },
}
""",
}


def bakery(*args):
    folder = temp_dir()
    write_files(folder, BAKERY)
    return Server("bakery", scripts=folder, args=list(args))


@case("SHOP-1k with json.indent bodies have the sizes that were recorded with the original systems")
def sizes():
    server = bakery("--set", "json.indent=true")
    with server.connect() as connection:
        empty = connection.request("GET", "/orders", None, {"Host": "order:8080"})
        assert len(empty.body) == 344 and empty.headers["Content-Length"] == "344", empty
        seen = {}
        for _ in range(100):
            made = connection.request("POST", "/orders", {"item": "cake", "qty": 1}, {"Host": "localhost:8081"})
            assert made.status == 201, made
            seen[len(str(made.id))] = len(made.body)
        assert seen == {1: 213, 2: 215, 3: 217}, seen
        for _ in range(1000):
            made = connection.request("POST", "/bookings", {"concertId": 1, "userId": 1, "qty": 5}, {"Accept": None})
            assert made.status == 201 and made.body == b"" and "content-type" not in made.headers, made
        for host, size in (("localhost:8082", 241), ("booking:8080", 237)):
            read = connection.request("GET", "/bookings/1000", None, {"Host": host})
            assert len(read.body) == size, (host, len(read.body), read)


@case("SHOP-1k without it they are compact; the collection is the same document in both layouts")
def layouts():
    compact, indented = bakery(), bakery("--set", "json.indent=true")
    answers = []
    for server in (compact, indented):
        with server.connect() as connection:
            for number in range(600):
                assert connection.request("POST", "/orders", {"item": f"i{number}"}).status == 201
            answers.append(connection.request("GET", "/orders?size=1000", None, {"Host": "h"}))
    assert answers[0].json == answers[1].json and len(answers[0].json["_embedded"]["orders"]) == 600
    assert b"\n" not in answers[0].body and answers[1].body.count(b'      "item" : ') == 600
    assert answers[0].headers["Transfer-Encoding"] == "chunked", answers[0].headers.all


FORWARDED = {"Host": "inside:80", "X-Forwarded-Host": "shop.example", "X-Forwarded-Proto": "https",
             "X-Forwarded-For": "203.0.113.7"}


@case("SHOP-1l links are of the host that a trusted proxy was asked for, and of the request's own without one")
def forwarded():
    for proxies, base in (("10.0.0.0/8,127.0.0.1", "https://shop.example"), ("10.0.0.0/8", "http://inside:80")):
        server = bakery("--set", f"http.trusted_proxies={proxies}")
        made = server.request("POST", "/orders", {"item": "cake", "qty": 1}, FORWARDED)
        assert made.headers["Location"] == made.json["_links"]["self"]["href"] == f"{base}/orders/1", made
        page = server.request("GET", "/orders", None, FORWARDED).json
        assert page["_links"]["self"]["href"].startswith(f"{base}/orders"), page
        assert server.request("GET", "/orders/1", None, {**FORWARDED, "X-Forwarded-Host": "no host"}).json["_links"][
            "self"]["href"].endswith("inside:80/orders/1")
    status, _, errors = command("run", "bakery", "--scripts", server.scripts, "--data", temp_dir(), "--set",
                                "http.trusted_proxies=10.0.0.0/8,localhost")
    assert status == 78 and "http.trusted_proxies" in errors and "127.0.0.1,10.0.0.0/8" in errors, (status, errors)


if __name__ == "__main__":
    main()
