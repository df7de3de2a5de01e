# SPDX-License-Identifier: MIT
"""timeout: 300
Clients that are slow, silent, many or mad: each costs what its limits allow, and the others are served meanwhile.
"""
import os
import resource
import select
import socket
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import Server, at_end, case, eventually, main, note, rng, skip, temp_dir, write_files  # noqa: E402
from wire import Connection, split_address  # noqa: E402

ORDER = {"bookId": 10, "qty": 1, "customerId": 1002}
HEAD = b"POST /orders HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
MIB = 1 << 20
HOUR = 3600000

WIDE = {
    "systems/wide.lua": "return { services = { wide = {} } }\n",
    "routes/wide/wide.lua": """
        return route "wide" {
          service = "wide", method = "GET", path = "/wide", handle = function() return ("x"):rep(6 * 1024 * 1024) end,
        }
    """,
}


def settings(**values):
    """--set http.NAME=VALUE for each."""
    return [word for name, value in values.items() for word in ("--set", f"http.{name}={value}")]


def descriptors(server):
    return len(os.listdir(f"/proc/{server.process.pid}/fd"))


def settled(server):
    """Descriptors once the connections of earlier requests are gone."""
    seen = []

    def same():
        seen.append(descriptors(server))
        return len(seen) > 20 and len(set(seen[-20:])) == 1
    eventually(same, "connections of earlier requests are gone")
    return seen[-1]


def resident_kib(server):
    with open(f"/proc/{server.process.pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS:"))


def is_problem(answer, status):
    assert answer.status == status and answer.json["status"] == status, answer
    assert answer.headers["Connection"].lower() == "close", answer.headers.all


def drip(connection, byte):
    """Sends a byte again and again until there is an answer or the other side closes."""
    while not select.select([connection.sock], [], [], 0.02)[0]:
        connection.send(byte)


@case("SHOP-6d a head that is not whole in time is 408 and the connection closes, whether it drips or stays away")
def slow_head():
    server = Server("bookmarket", args=settings(header_timeout_ms=200))
    with server.connect() as silent, server.connect() as begun, server.connect() as dripping:
        begun.send(b"GET /orders HTTP/1.1\r\nHo")
        dripping.send(b"GET /orders HTTP/1.1\r\nHost: x\r\nX: ")
        drip(dripping, b"y")
        for connection in (silent, begun, dripping):
            is_problem(connection.answer(), 408)
            assert connection.is_closed()
    assert server.request("GET", "/orders").status == 200


@case("SHOP-6d a body that stalls, or comes drop by drop, is 408, and nothing of it is stored")
def slow_body():
    server = Server("bookmarket", args=settings(body_timeout_ms=300, body_bytes_per_s=1000000))
    framings = {b"Content-Length: 100000\r\n\r\n": b" ", b"Transfer-Encoding: chunked\r\n\r\n": b"1\r\n \r\n"}
    for framing, drop in framings.items():
        with server.connect() as stalled, server.connect() as dripping:
            stalled.send(HEAD + framing)
            dripping.send(HEAD + framing)
            drip(dripping, drop)
            for connection in (stalled, dripping):
                is_problem(connection.answer(), 408)
                assert connection.is_closed()
    assert server.request("POST", "/orders", ORDER).status == 201
    assert server.request("GET", "/orders/1").status == 200
    assert server.request("GET", "/orders/2").status == 404


@case("SHOP-6d a kept connection that asks nothing more is closed without a word")
def idle():
    server = Server("bookmarket", args=settings(keep_alive_ms=200))
    with server.connect() as connection:
        assert connection.request("GET", "/orders").status == 200
        assert connection.is_closed()
        assert connection.buffer == b""


@case("SHOP-6d clients that do not read their answers are closed after the write timeout; what waited for them is freed")
def slow_readers():
    folder = temp_dir()
    write_files(folder, WIDE)
    server = Server("wide", scripts=folder, args=settings(write_timeout_ms=500))
    assert len(server.request("GET", "/wide").body) == 6 * MIB
    before = settled(server)
    readers = []
    for _ in range(8):
        reader = Connection.__new__(Connection)
        reader.address, reader.buffer, reader.sock = server.gateway, b"", socket.socket()
        reader.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.sock.settimeout(30)
        reader.sock.connect(split_address(server.gateway))
        reader.send_request("GET", "/wide")
        readers.append(reader)
    assert server.request("GET", "/wide").status == 200  # meanwhile
    eventually(lambda: descriptors(server) <= before, "the server gives up its silent readers")
    for reader in readers:
        got = 0
        try:
            while data := reader.sock.recv(65536):
                got += len(data)
        except ConnectionError:
            pass
        assert got < 6 * MIB, "it was not closed"
        reader.close()
    assert server.request("GET", "/wide").status == 200
    note(f"{resident_kib(server)} KiB resident after eight answers of 6 MiB that nobody read")


@case("SHOP-6e the limit of connections holds for all workers together; room that is left is given again")
def limit():
    server = Server("bookmarket", args=["--workers", "4", *settings(connections=7)])
    kept = [server.connect() for _ in range(7)]
    for connection in kept:
        assert connection.request("GET", "/orders").status == 200
    with server.connect() as beyond:
        answer = beyond.answer()
        is_problem(answer, 503)
        assert answer.headers["Retry-After"], answer.headers.all
        assert beyond.is_closed()
    kept.pop().close()

    def again():
        connection = server.connect()
        at_end(connection.close)
        return connection.request("GET", "/orders").status == 200
    eventually(again, "there is room again")
    for connection in kept:
        assert connection.request("GET", "/orders").status == 200
        connection.close()


def open_idle(server, count):
    """That many connections, opened side by side."""
    sockets = []
    for _ in range(count):
        sock = socket.socket()
        at_end(sock.close)
        sock.settimeout(60)
        sock.connect(split_address(server.gateway))
        sockets.append(sock)
    return sockets


def as_connection(server, sock):
    connection = Connection.__new__(Connection)
    connection.address, connection.buffer, connection.sock = server.gateway, b"", sock
    return connection


@case("SHOP-6e 10,000 idle connections: served beside them and on them, the next is 503, all is given back", seconds=200)
def ten_thousand():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 11000:
        skip(f"this system allows {hard} descriptors a process")
    at_end(lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard)))
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))  # the server begins with what a shell gives
    server = Server("bookmarket", args=settings(header_timeout_ms=HOUR, keep_alive_ms=HOUR))
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard if hard != resource.RLIM_INFINITY else 20000, hard))
    assert server.request("POST", "/orders", ORDER).status == 201
    before, before_kib = settled(server), resident_kib(server)
    sockets = open_idle(server, 9999)
    eventually(lambda: descriptors(server) >= before + 9999, "all are accepted", 60)
    each = (resident_kib(server) - before_kib) / 9999
    note(f"{each:.1f} KiB of resident memory for each idle connection, in this build with sanitizers")
    assert each < 64
    with server.connect() as last:
        assert last.request("POST", "/orders", ORDER).status == 201
        for sock in sockets[::500]:
            assert as_connection(server, sock).request("GET", "/orders/1").status == 200
        with server.connect() as beyond:
            is_problem(beyond.answer(), 503)
        assert last.request("GET", "/orders/2").status == 200
    for sock in sockets:
        sock.close()
    eventually(lambda: descriptors(server) <= before, "all descriptors are given back", 60)
    assert server.request("POST", "/orders", ORDER).status == 201


@case("SHOP-6e without descriptors accepting pauses; who is connected is served, and who waits is served later")
def no_descriptors():
    server = Server("bookmarket", args=["--workers", "2"])
    with server.connect() as first:
        assert first.request("POST", "/orders", ORDER).status == 201
        few = settled(server) + 8
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (few, few))
        waiting = [server.connect() for _ in range(40)]
        server.wait_log(msg="cannot accept connections")
        for _ in range(20):
            assert first.request("POST", "/orders", ORDER).status == 201
        for connection in waiting[:30]:
            connection.close()
        for connection in waiting[30:]:
            assert connection.request("GET", "/orders/1").status == 200
            connection.close()
    assert server.request("GET", "/orders/21").status == 200


def garbage(random):
    """Bytes that are nearly requests, or nothing of the kind."""
    good = HEAD + b"Content-Length: 39\r\n\r\n" + b'{"bookId":10,"qty":1,"customerId":1002}'
    kind = random.randrange(4)
    if kind == 0:
        return random.randbytes(random.randrange(1, 4096))
    if kind == 1:  # one byte is another one, in the head so that it cannot become an order
        at = random.randrange(4)
        return good[:at] + bytes([random.randrange(0, 32)]) + good[at + 1:]
    if kind == 2:
        return good[:random.randrange(1, len(good))]
    return b"GET /orders/1 HTTP/1.1\r\nHost: x\r\n\r\n" * random.randrange(1, 50)


def flood(server, seed_source, over, failures):
    while not over.is_set():
        try:
            with server.connect() as connection:
                connection.send(garbage(seed_source))
                if seed_source.randrange(2):
                    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        except ConnectionError:
            pass
        except Exception as error:  # told by the case
            failures.append(repr(error))
            return


@case("SHOP-6e a flood of connections that send garbage and go: each order of a good client succeeds, none is invented",
      seconds=120)
def flooded():
    server = Server("bookmarket")
    random, over, failures = rng(), threading.Event(), []
    assert server.request("POST", "/orders", ORDER).status == 201
    before = settled(server)
    threads = [threading.Thread(target=flood, args=(server, type(random)(random.random()), over, failures))
               for _ in range(6)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(60):
            assert server.request("POST", "/orders", ORDER).status == 201
        with server.connect() as connection:
            for _ in range(60):
                assert connection.request("POST", "/orders", ORDER).status == 201
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert not failures, failures
    eventually(lambda: descriptors(server) <= before, "what the flood left is given back", 30)
    answer = server.request("GET", "/orders?size=1000")
    listed = answer.json if isinstance(answer.json, list) else answer.json["_embedded"]["orders"]
    assert len(listed) == 121, len(listed)


if __name__ == "__main__":
    main()
