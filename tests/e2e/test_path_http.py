# SPDX-License-Identifier: MIT
"""HTTP/1.1 as seen from a socket: connections, limits, back-pressure, draining, and JSON that loses nothing."""
import json
import os
import signal
import socket
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import Server, case, command, eventually, main, request, temp_dir, write_files  # noqa: E402
from wire import Connection, row_of, split_address  # noqa: E402

ORDER = b'{"bookId":10,"qty":1,"customerId":1002}'
JSON = {"Content-Type": "application/json"}
KIB = 1024

SHELF = {
    "systems/shelf.lua": "return { services = { shelf = {} } }\n",
    "routes/shelf/items.lua": """
        return {
          resource "items" {
            service = "shelf",
            fields = { integer "n", number "x", text "t", boolean "b", json "j" },
          },
          route "fill" {
            service = "shelf", method = "POST", path = "/fill",
            handle = function(request)
              for i = 1, request.body.count do
                store.create("items", { n = i, t = ("x"):rep(request.body.width) })
              end
              return { done = request.body.count }
            end,
          },
        }
    """,
}


def shelf(**options):
    folder = temp_dir()
    write_files(folder, SHELF)
    return Server("shelf", scripts=folder, **options)


def post(connection, body=ORDER, headers=None):
    return connection.request("POST", "/orders", body, {**JSON, **(headers or {})})


@case("PATH-2a one connection serves many requests, and closes when the client asks for it")
def keep_alive():
    server = Server("bookmarket")
    with server.connect() as connection:
        for number in range(1, 51):
            answer = post(connection)
            assert answer.status == 201 and answer.id == number, answer
            assert answer.headers.get("connection", "keep-alive").lower() != "close", answer.headers.all
        answer = connection.request("GET", "/orders/50", None, {"Connection": "close"})
        assert answer.status == 200 and answer.headers["Connection"].lower() == "close", answer.headers.all
        assert connection.is_closed()
    with server.connect() as connection:
        connection.send(b"GET /orders/50 HTTP/1.0\r\nHost: x\r\n\r\n")
        answer = connection.answer()
        assert answer.status == 200 and answer.id == 50, answer
        assert connection.is_closed()


@case("PATH-2b 200 pipelined requests, slow and quick ones mixed, are answered in their order")
def pipelining():
    server = Server("bookmarket")
    head = f"Host: {server.gateway}\r\n"
    create = f"POST /orders HTTP/1.1\r\n{head}Content-Type: application/json\r\nContent-Length: {len(ORDER)}\r\n\r\n"
    with server.connect() as connection:
        batch = b""
        for number in range(100):
            batch += create.encode() + ORDER
            batch += f"GET /orders/{100000 + number} HTTP/1.1\r\n{head}\r\n".encode()
        writer = threading.Thread(target=connection.send, args=(batch,))
        writer.start()
        answers = [connection.answer() for _ in range(200)]
        writer.join(30)
    assert [answer.status for answer in answers] == [201, 404] * 100, [answer.status for answer in answers]
    created = [answer.id for answer in answers[::2]]
    assert created == sorted(set(created)), created
    assert [answer.json["path"] for answer in answers[1::2]] == [f"/orders/{100000 + n}" for n in range(100)]
    assert len(server.rows("/orders")) == 100


@case("PATH-2b requests one byte at a time and torn anywhere are understood")
def torn():
    server = Server("bookmarket")
    with server.connect() as connection:
        whole = f"POST /orders HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(ORDER)}"
        for byte in whole.encode() + b"\r\n\r\n" + ORDER:
            connection.send(bytes([byte]))
        assert connection.answer().status == 201
        assert connection.request("GET", "/orders/1").status == 200


@case("PATH-2c a chunked request body is read whole, with extensions and trailers")
def chunked():
    server = Server("bookmarket")
    with server.connect() as connection:
        connection.send_request("POST", "/orders", b"", {**JSON, "Transfer-Encoding": "chunked"})
        pieces = [ORDER[:1], ORDER[1:20], ORDER[20:]]
        for piece in pieces:
            connection.send(f"{len(piece):x};note=1\r\n".encode() + piece + b"\r\n")
        connection.send(b"0\r\nX-Trailer: 1\r\n\r\n")
        answer = connection.answer()
        assert answer.status == 201 and answer.json["bookId"] == 10, answer
        assert connection.request("GET", "/orders/1").json["bookId"] == 10


@case("PATH-2d HEAD answers without a body, and the connection goes on")
def head():
    server = Server("bookmarket")
    with server.connect() as connection:
        assert post(connection).status == 201
        eventually(lambda: connection.request("GET", "/orders/1").json["status"] == "Shipped", "the order is Shipped")
        got, whole = connection.request("GET", "/orders/1"), connection.request("GET", "/profile")
        for path, status in (("/orders/1", 204), ("/orders/9", 404), ("/orders", 204), ("/profile", 200)):
            answer = connection.request("HEAD", path)
            assert answer.status == status and answer.body == b"", answer
        one = connection.request("HEAD", "/profile")
        assert int(one.headers["Content-Length"]) == len(whole.body), one.headers.all
        assert connection.request("GET", "/orders/1").body == got.body


@case("PATH-2e a client that waits for 100 Continue gets it, or the refusal instead")
def continues():
    server = Server("bookmarket")
    with server.connect() as connection:
        connection.send_request("POST", "/orders", b"", {
            **JSON, "Expect": "100-continue", "Content-Length": str(len(ORDER))})
        status, headers = connection.head()
        assert status == 100 and "content-length" not in headers, (status, headers.all)
        connection.send(ORDER)
        assert connection.answer().status == 201
    with server.connect() as connection:
        connection.send_request("POST", "/orders", b"", {
            **JSON, "Expect": "100-continue", "Content-Length": str(1024 * KIB + 1)})
        status, _ = connection.head()
        assert status == 413, status


@case("PATH-2f what is over its limit is refused by name and the connection closes")
def limits():
    server = Server("bookmarket")
    line = b"GET /orders/1 HTTP/1.1\r\nHost: x\r\n"
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    over = {
        "a request line of more than 8 KiB": (414, b"GET /" + b"x" * 9 * KIB + b" HTTP/1.1\r\nHost: x\r\n\r\n"),
        "headers of more than 64 KiB": (431, line + b"".join(
            b"X-%d: %s\r\n" % (i, b"y" * 4 * KIB) for i in range(17)) + b"\r\n"),
        "more than 100 headers": (431, line + b"".join(b"X-%d: y\r\n" % i for i in range(101)) + b"\r\n"),
        "a body of more than 1 MiB": (413, b"POST /orders HTTP/1.1\r\nHost: x\r\nContent-Length: 1048577\r\n\r\n"),
        "chunks of more than 1 MiB": (413, b"POST /orders HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                                      b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 17),
    }
    for what, (status, data) in over.items():
        with server.connect() as connection:
            sender = threading.Thread(target=send_what_goes, args=(connection, data))
            sender.start()
            answer = connection.answer()
            sender.join(30)
            assert answer.status == status, (what, answer)
            assert answer.json["status"] == status and answer.json["code"], (what, answer)
            assert answer.headers["Connection"].lower() == "close", (what, answer.headers.all)
            assert connection.is_closed(), what
    assert server.rows("/orders") == []


def send_what_goes(connection, data):
    try:
        connection.send(data)
    except OSError:
        pass  # refused before all of it was sent


@case("PATH-2f what is just within its limit is served")
def within_limits():
    server = Server("bookmarket")
    with server.connect() as connection:
        body = ORDER[:-1] + b" " * (1024 * KIB - len(ORDER)) + b"}"
        assert len(body) == 1024 * KIB
        assert post(connection, body).status == 201
        connection.send(b"GET /orders/1?x=" + b"y" * (8 * KIB - 100) + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.answer().status == 200
        many = {f"X-{i}": "y" for i in range(98)}
        assert connection.request("GET", "/orders/1", None, many).status == 200


def resident_kib(server):
    with open(f"/proc/{server.process.pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS:"))


def stalled(server, count):
    """Opens `count` connections that ask for all rows and do not read; returns them when the server waits for them."""
    readers = []
    for _ in range(count):
        connection = Connection.__new__(Connection)
        connection.address, connection.buffer = server.gateway, b""
        connection.sock = socket.socket()
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * KIB)
        connection.sock.settimeout(60)
        connection.sock.connect(split_address(server.gateway))
        connection.send_request("GET", "/items?size=1000")
        readers.append(connection)
    ticks, quiet = [0], [0]

    def idle():
        with open(f"/proc/{server.process.pid}/stat", encoding="ascii") as file:
            used = sum(int(field) for field in file.read().rpartition(")")[2].split()[11:13])
        quiet[0] = quiet[0] + 1 if used == ticks[0] else 0
        ticks[0] = used
        return quiet[0] >= 25  # half a second of polls without a tick of CPU time
    eventually(idle, "the server waits for its slow readers", 60)
    return readers


@case("PATH-2g slow readers of 20,000 rows hold up their own answer only, in bounded memory", seconds=240)
def back_pressure():
    # The address sanitizer keeps freed memory for a while; here it must not, the case is about memory.
    server = shelf(env={"ASAN_OPTIONS": "detect_leaks=1:quarantine_size_mb=1"})
    with server.connect() as connection:
        for _ in range(10):
            answer = connection.request("POST", "/fill", {"count": 100, "width": 12000})
            assert answer.status == 200, answer
        warm = connection.request("GET", "/items?size=1000")
        assert warm.headers["Transfer-Encoding"] == "chunked", warm.headers.all
        size = len(warm.body) // KIB
        assert size > 10000, size
        before = resident_kib(server)
        readers = stalled(server, 8)
        grown = resident_kib(server) - before
        assert grown < 2 * size, f"8 readers of {size} KiB each made the server grow by {grown} KiB"
        assert connection.request("GET", "/items/1000").status == 200
        for reader in readers:
            assert reader.answer().body == warm.body
            reader.close()
    listed = [row_of(item) for item in json.loads(warm.body)["_embedded"]["items"]]
    assert [row["id"] for row in listed] == list(range(1, 1001))
    assert all(len(row["t"]) == 12000 for row in listed)


@case("PATH-2g a reader that goes away in the middle of a large answer harms nobody", seconds=120)
def reader_leaves():
    server = shelf()
    for _ in range(10):
        assert server.request("POST", "/fill", {"count": 100, "width": 12000}).status == 200
    for reader in stalled(server, 4):
        reader.close()
    assert len(server.rows("/items")) == 1000
    assert server.stop() == 0


@case("PATH-2h SIGTERM drains: a waiting request is answered with Connection: close, and the exit code is 0")
def drain():
    server = Server("bookmarket", args=["--workers", "1"])
    waiting, other, idle = server.connect(), server.connect(), server.connect()
    for connection in (waiting, other, idle):
        assert connection.request("GET", "/orders").status == 200
    assert server.admin("PUT", "/admin/faults", {"payment": {"delay_ms": 700}}).status == 200
    waiting.send_request("POST", "/orders", ORDER, JSON)
    # The one worker has read the POST by now, and it is not done.
    assert other.request("GET", "/orders").json["page"]["totalElements"] == 0
    server.signal(signal.SIGTERM)
    assert idle.is_closed(), "an idle connection stays open"
    answer = waiting.answer()
    assert answer.status == 201, answer
    assert answer.headers["Connection"].lower() == "close", answer.headers.all
    assert waiting.is_closed()
    assert server.wait_exit() == 0, server.tail()
    for connection in (waiting, other, idle):
        connection.close()
    server.start()
    assert [row["id"] for row in server.rows("/orders")] == [answer.id]


@case("PATH-2h SIGTERM with nothing to do ends at once with exit code 0; the port is free again")
def drain_idle():
    server = Server("bookmarket")
    gateway = server.gateway
    assert server.stop() == 0
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(split_address(gateway))


@case("PATH-2h a second SIGTERM ends it at once: what waits is cancelled with 503, and no slow reader holds it up")
def drain_twice():
    server = shelf(args=["--workers", "1"])
    for _ in range(10):
        assert server.request("POST", "/fill", {"count": 100, "width": 12000}).status == 200
    readers = stalled(server, 2)
    waiting, other = server.connect(), server.connect()
    for connection in (waiting, other):
        assert connection.request("GET", "/items/1").status == 200
    assert server.admin("PUT", "/admin/faults", {"shelf": {"delay_ms": 25000}}).status == 200
    waiting.send_request("GET", "/items/1")
    assert other.request("GET", "/nothing").status == 404  # the one worker has read the request before this one
    server.signal(signal.SIGTERM)
    server.wait_log(msg="stopping")
    server.signal(signal.SIGTERM)
    assert waiting.answer().status == 503
    assert server.wait_exit(8) == 0, server.tail()
    for connection in (*readers, waiting, other):
        connection.close()


@case("PATH-2i JSON loses nothing on its way in, through the store and out")
def json_whole():
    server = shelf()
    samples = [
        ("n", b"9223372036854775807"), ("n", b"-9223372036854775807"), ("n", b"9007199254740993"), ("n", b"0"),
        ("x", b"0.1"), ("x", b"25000.0"), ("x", b"1e+300"), ("x", b"-0.30000000000000004"), ("x", b"5e-324"),
        ("t", '"Grüße, 世界 😀"'.encode()), ("t", b'"a\\"b\\\\c\\n\\t\\u0001"'), ("t", b'""'),
        ("b", b"true"), ("b", b"false"), ("b", b"null"),
        ("j", b'{"empty":[],"none":{},"deep":[1,2.5,null,true,[9007199254740993]],"0.1":0.1}'), ("j", b"[]"),
    ]
    for field, value in samples:
        made = server.request("POST", "/items", b'{"%s":%s}' % (field.encode(), value), JSON)
        assert made.status == 201, (field, value, made)
        for answer in (made, server.request("GET", f"/items/{made.id}")):
            assert exact(answer.body, field) == exact(b'{"%s":%s}' % (field.encode(), value), field), (value, answer)
    assert b'"x":25000.0' in server.request("POST", "/items", b'{"x":25000}', JSON).body
    escaped = server.request("POST", "/items", b'{"t":"\\ud83d\\ude00\\u00e9"}', JSON)
    assert escaped.json["t"] == "😀é", escaped


def exact(body, field):
    """The member's value with its numbers as kind and value: 1 is not 1.0, and no digit is lost."""
    return json.loads(body, parse_int=lambda s: ("int", int(s)), parse_float=lambda s: ("float", float(s)))[field]


@case("PATH-2i JSON that cannot be kept whole is refused with 400")
def json_refused():
    server = shelf()
    bad = [b'{"n":9223372036854775808}', b'{"n":1.5}', b'{"n":"1x"}', b'{"t":"\xff\xfe"}', b'{"t":"\\ud800"}',
           b'{"x":1e999}', b'{"n":01}', b'{"n":1,}', b"{'n':1}", b'{"n":1} {}', b'{"n":NaN}', b"",
           b'{"j":' + b"[" * 65 + b"]" * 65 + b"}"]
    for body in bad:
        answer = server.request("POST", "/items", body, JSON)
        assert answer.status == 400, (body, answer)
        assert answer.json["status"] == 400, (body, answer)
    assert server.rows("/items") == []


def listeners(address):
    """The inodes of the sockets that listen on the port."""
    _, port = split_address(address)
    with open("/proc/net/tcp", encoding="ascii") as file:
        rows = [line.split() for line in file.readlines()[1:]]
    return [row[9] for row in rows if row[3] == "0A" and row[1].endswith(f":{port:04X}")]


@case("PATH-2j one listening socket serves any number of workers")
def one_socket():
    server = Server("bookmarket", args=["--workers", "4"])
    assert len(listeners(server.gateway)) == 1, listeners(server.gateway)
    with open(f"/proc/{server.process.pid}/status", encoding="ascii") as file:
        threads = next(int(line.split()[1]) for line in file if line.startswith("Threads:"))
    assert threads >= 6, f"{threads} threads: main, 4 workers and the writer are expected"
    connections = [server.connect() for _ in range(64)]
    for connection in connections:
        assert post(connection).status == 201
    for connection in connections:
        connection.close()
    assert len(server.rows("/orders")) == 64


@case("PATH-2j a second process on the same port says so in one line and ends with 78")
def port_taken():
    server = Server("bookmarket")
    code, out, err = command("run", "bookmarket", "--data", temp_dir(), "--listen", server.gateway,
                             "--admin", "127.0.0.1:0", seconds=20)
    assert code == 78, (code, out, err)
    port = server.gateway.rpartition(":")[2]
    assert len([line for line in (out + err).splitlines() if port in line]) == 1, (out, err)
    assert request(server.gateway, "GET", "/orders").status == 200


if __name__ == "__main__":
    main()
