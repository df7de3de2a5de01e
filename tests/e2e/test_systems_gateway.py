# SPDX-License-Identifier: MIT
# timeout: 300
"""SYSTEMS-6h to 6j: the gateway before other hosts. Behind it stands a host of the test's own, its every byte known."""
import hashlib
import os
import socket
import sqlite3
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import Server, case, command, eventually, main, temp_dir, write_files  # noqa: E402
from peer import Peer  # noqa: E402

MIB = 1 << 20
FRUGAL = {"ASAN_OPTIONS": "detect_leaks=1:halt_on_error=1:quarantine_size_mb=1"}  # where memory is measured


class Upstream(Peer):
    """`answer(request, peer)` writes what it likes; request is (line, [(name, value)], body). It returns False to close
    the connection. With `whole` False the body is a file to read it from."""

    def __init__(self, answer, whole=True):
        self.answer, self.heard, self.ended, self.whole = answer, [], 0, whole
        super().__init__()

    def _talk(self, peer):
        try:
            with peer, peer.makefile("rb") as stream:
                while (asked := self._read(stream)) and self.answer(asked, peer) is not False:
                    pass
        except OSError:
            pass
        self.ended += 1

    def _read(self, stream):
        lines = []
        while (line := stream.readline()) not in (b"\r\n", b""):
            lines.append(line.decode("latin-1").rstrip("\r\n"))
        if not lines:
            return None
        headers = [tuple(line.split(": ", 1)) for line in lines[1:]]
        length = next((int(value) for name, value in headers if name.lower() == "content-length"), 0)
        self.heard.append((lines[0], headers, stream.read(length) if self.whole else stream))
        return self.heard[-1]


def values(asked, name):
    return [value for key, value in asked[1] if key.lower() == name.lower()]


def plain(body, status="200 OK", headers=""):
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n{body}".encode()


def says(body, status="200 OK", headers=""):
    return lambda asked, peer: peer.sendall(plain(body, status, headers))


def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def tree(folder, routes, extra="", scripts=None):
    write_files(folder, {"systems/front.lua": f"""return {{
        services = {{ desk = {{}} }},
        breakers = {{ weather = {{ timeout_ms = 300, volume = 2, sleep_ms = 400, limit = 1 }} }},
        gateway = {{ {extra} routes = {{ {routes} }} }},
    }}\n""", "routes/front/desk.lua": scripts or """return {
        route "sorry" { service = "desk", method = "GET", path = "/sorry", handle = function() return "sorry" end },
    }\n"""})
    return folder


def front(routes, extra="", args=(), env=None):
    """A gateway of one worker with these routes."""
    return Server("front", scripts=tree(temp_dir(), routes, extra), args=["--workers", "1", *args], env=env)


def in_flight(server):
    return sum(value for name, value in server.metrics().items() if name.startswith("http_server_active_requests"))


def memory(server):
    """Resident bytes."""
    with open(f"/proc/{server.process.pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


@case("SYSTEMS-6h a request reaches the other host with its body, its headers and where it came from")
def request_as_sent():
    host = Upstream(says("done"))
    server = front(f"""{{ path = "/far/**", url = "{host.url}", strip_prefix = 1,
        request_headers = {{ set = {{ ["X-Put"] = "put" }}, remove = {{ "X-Secret" }} }} }}""")
    body = "x" * 100000
    answer = server.request("POST", "/far/a%20b/c?x=1&y=%2F", body, {
        "X-Kept": "kept", "X-Secret": "no", "X-Put": "mine", "Connection": "close, X-Hop", "X-Hop": "1", "TE": "trailers",
        "Idempotency-Key": "k-1", "X-Correlation-Id": "c-1", "Upgrade": "h2c", "Content-Type": "text/plain"})
    assert (answer.status, answer.text) == (200, "done"), answer
    asked = host.heard[0]
    assert asked[0] == "POST /a%20b/c?x=1&y=%2F HTTP/1.1" and asked[2].decode() == body, asked[:2]
    for name, value in (("X-Kept", "kept"), ("X-Put", "put"), ("Idempotency-Key", "k-1"), ("X-Correlation-Id", "c-1"),
                        ("X-Forwarded-For", "127.0.0.1"), ("X-Forwarded-Host", server.gateway), ("Host", host.address),
                        ("X-Forwarded-Proto", "http"), ("Content-Type", "text/plain"), ("Content-Length", "100000")):
        assert values(asked, name) == [value], (name, asked[1])
    for name in ("X-Secret", "X-Hop", "TE", "Upgrade", "Connection", "Transfer-Encoding"):
        assert values(asked, name) == [], (name, asked[1])
    assert server.request("POST", "/far/empty").status == 200
    assert values(host.heard[1], "Content-Length") == ["0"], host.heard[1]
    assert server.request("GET", "/far").status == 200
    assert host.heard[2][0] == "GET / HTTP/1.1" and values(host.heard[2], "Content-Length") == [], host.heard[2]
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        assert server.request(method, "/far/any").status == 200, method
        assert host.heard[-1][0] == f"{method} /any HTTP/1.1", host.heard[-1]


@case("SYSTEMS-6h an answer comes back whole: every header, the length also of HEAD, no body with 204 and 304")
def answer_as_given():
    many = "".join(f"X-Number-{i}: {i}\r\n" for i in range(60))

    def answer(asked, peer):
        what = asked[0].split()[1]
        if what == "/interim":
            peer.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + plain("after"))
        elif what == "/chunks":
            peer.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
        elif what in ("/204", "/304"):
            peer.sendall(f"HTTP/1.1 {what[1:]} So\r\nETag: \"1\"\r\n\r\n".encode())
        elif asked[0].startswith("HEAD"):
            peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 12345\r\nContent-Type: text/css\r\n\r\n")
        else:
            peer.sendall(plain("teapot", "418 Teapot", many + "Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nX-Gone: 1\r\n"
                               "Content-Type: text/odd\r\nX-Correlation-Id: theirs\r\nConnection: X-Hop\r\nX-Hop: 1\r\n"
                               "Access-Control-Allow-Origin: *\r\nVary: Accept\r\n"))

    host = Upstream(answer)
    server = front(f"""{{ path = "/**", url = "{host.url}",
        response_headers = {{ set = {{ ["X-Set"] = "set" }}, remove = {{ "X-Gone" }} }} }}""",
                   'cors = { origins = { "http://shop.example" } },')
    with server.connect() as client:
        got = client.request("GET", "/", None, {"Origin": "http://shop.example", "X-Correlation-Id": "mine"})
        assert (got.status, got.text, got.headers["Content-Length"]) == (418, "teapot", "6"), got
        assert [got.headers[f"X-Number-{i}"] for i in range(60)] == [str(i) for i in range(60)]
        assert [value for name, value in got.headers.all if name == "Set-Cookie"] == ["a=1", "b=2"]
        for name, value in (("X-Set", "set"), ("Content-Type", "text/odd"), ("X-Correlation-Id", "mine"),
                            ("Access-Control-Allow-Origin", "http://shop.example")):
            assert got.headers[name] == value, (name, got.headers)
        for name in ("X-Gone", "X-Hop", "Connection", "Transfer-Encoding"):
            assert name not in got.headers, (name, got.headers)
        assert "Accept" in got.headers["Vary"] and "Origin" in got.headers["Vary"], got.headers
        head = client.request("HEAD", "/x")
        assert (head.status, head.headers["Content-Length"]) == (200, "12345"), head
        for status in (204, 304):
            bare = client.request("GET", f"/{status}")
            assert (bare.status, bare.headers["ETag"]) == (status, '"1"'), bare
            assert "Content-Length" not in bare.headers and "Transfer-Encoding" not in bare.headers, bare.headers
        assert client.request("GET", "/chunks").text == "abcde"
        assert client.request("GET", "/interim").text == "after"


@case("SYSTEMS-6h a Content-Type that the route sets replaces the other host's")
def content_type():
    host = Upstream(says("x", headers="Content-Type: text/odd\r\n"))
    server = front(f"""{{ path = "/**", url = "{host.url}",
        response_headers = {{ set = {{ ["Content-Type"] = "text/even" }} }} }}""")
    assert server.request("GET", "/").headers["Content-Type"] == "text/even"


def read_body(client, count):
    """The SHA-256 of the next count bytes, read piece by piece."""
    digest, space = hashlib.sha256(), memoryview(bytearray(256 << 10))
    first, client.buffer = client.buffer[:count], client.buffer[count:]
    digest.update(first)
    left = count - len(first)
    while left:
        n = client.sock.recv_into(space, min(left, len(space)))
        assert n > 0, f"closed {left} bytes too early"
        digest.update(space[:n])
        left -= n
    return digest.digest()


@case("SYSTEMS-6h 100 MiB go through no faster than the client reads, and memory stays where it was")
def back_pressure():
    block, blocks, sent = os.urandom(MIB), 100, [0]

    def answer(asked, peer):
        count = 8 if "/few" in asked[0] else blocks
        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (count * MIB))
        for _ in range(count):
            view = memoryview(block)
            while view:
                n = peer.send(view[:256 << 10])
                sent[0], view = sent[0] + n, view[n:]

    host = Upstream(answer)
    server = front(f'{{ path = "/**", url = "{host.url}" }}', env=FRUGAL)
    whole = hashlib.sha256()
    for _ in range(blocks):
        whole.update(block)
    with server.connect(60) as client:
        client.send_request("GET", "/few")
        assert client.head()[0] == 200
        read_body(client, 8 * MIB)
        before, sent[0] = memory(server), 0
        client.send_request("GET", "/many")
        status, headers = client.head()
        assert (status, headers["Content-Length"]) == (200, str(blocks * MIB)), (status, headers)
        seen = [-1, 0]

        def rests():
            seen[1] = seen[1] + 1 if seen[0] == sent[0] else 0
            seen[0] = sent[0]
            return seen[1] == 10
        eventually(rests, "the other host is made to wait", 60)
        assert 0 < sent[0] < blocks * MIB // 2, sent[0]
        assert memory(server) < before + 16 * MIB, (before, memory(server))
        assert read_body(client, blocks * MIB) == whole.digest()
        assert memory(server) < before + 16 * MIB, (before, memory(server))


def take_chunks(stream):
    """(SHA-256, bytes) of a chunked body."""
    digest, count = hashlib.sha256(), 0
    while size := int(stream.readline(), 16):
        piece = stream.read(size)
        assert len(piece) == size and stream.read(2) == b"\r\n"
        digest.update(piece)
        count += size
    assert stream.readline() == b"\r\n"
    return digest.hexdigest(), count


def take_length(stream, count):
    """The SHA-256 of so many bytes."""
    digest, left = hashlib.sha256(), count
    while left:
        piece = stream.read(min(left, 256 << 10))
        assert piece, f"{left} bytes are missing"
        digest.update(piece)
        left -= len(piece)
    return digest.hexdigest()


@case("SYSTEMS-6i 100 MiB are sent on no faster than the other host takes them, with their length, and memory stays")
def upload():
    block, blocks, go = os.urandom(MIB), 100, threading.Event()

    def answer(asked, peer):
        if asked[0].startswith("POST /many"):
            assert go.wait(60)
        peer.sendall(plain(take_length(asked[2], int(values(asked, "Content-Length")[0]))))

    host = Upstream(answer, whole=False)
    server = front(f'{{ path = "/**", url = "{host.url}" }}', env=FRUGAL)
    whole = hashlib.sha256()
    for _ in range(blocks):
        whole.update(block)
    with server.connect(60) as client:
        few = client.request("POST", "/few", block * 8)
        assert (few.status, few.text) == (200, hashlib.sha256(block * 8).hexdigest()), few
        before, sent = memory(server), [0]
        client.send(f"POST /many HTTP/1.1\r\nHost: x\r\nContent-Length: {blocks * MIB}\r\n\r\n".encode())

        def send():
            for _ in range(blocks):
                client.send(block)
                sent[0] += 1

        sender = threading.Thread(target=send)
        sender.start()
        seen = [-1, 0]

        def rests():
            seen[1] = seen[1] + 1 if seen[0] == sent[0] and len(host.heard) == 2 else 0
            seen[0] = sent[0]
            return seen[1] == 10
        eventually(rests, "the client is made to wait", 60)
        assert sent[0] < blocks // 2, sent
        assert memory(server) < before + 16 * MIB, (before, memory(server))
        go.set()
        many = client.answer()
        sender.join()
        assert (many.status, many.text) == (200, whole.hexdigest()), many
        assert memory(server) < before + 16 * MIB, (before, memory(server))
        assert values(host.heard[1], "Transfer-Encoding") == [], host.heard[1]
        assert client.request("POST", "/few", "after").text == hashlib.sha256(b"after").hexdigest()


@case("SYSTEMS-6i a body in chunks goes on in chunks; a client that waits for 100 gets it, and is not hurried")
def upload_chunks():
    came = threading.Event()

    def answer(asked, peer):
        assert values(asked, "Transfer-Encoding") == ["chunked"] and values(asked, "Content-Length") == [], asked
        came.set()
        peer.sendall(plain("%s %d" % take_chunks(asked[2])))

    host = Upstream(answer, whole=False)
    server = front(f'{{ path = "/**", url = "{host.url}", timeout = "200ms", retry = {{ methods = {{ "POST" }} }} }}')
    pieces = [os.urandom(n) for n in (1, 100, 70000, 3 * MIB)]
    whole = b"".join(pieces)
    head = b"POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
    with server.connect() as client:
        for _ in range(2):
            came.clear()
            client.send(head)
            assert client.head()[0] == 100
            assert came.wait(20)
            time.sleep(0.3)  # the route's time begins when the request has been sent
            for piece in pieces:
                client.send(b"%x\r\n%s\r\n" % (len(piece), piece))
            client.send(b"0\r\nX-Trailer: 1\r\n\r\n")
            got = client.answer()
            assert (got.status, got.text) == (200, f"{hashlib.sha256(whole).hexdigest()} {len(whole)}"), got


@case("SYSTEMS-6i what breaks a body off for the gateway breaks it off for the other host, and nothing is left")
def upload_broken():
    ends = []

    def answer(asked, peer):
        ends.append(len(asked[2].read()))
        return False

    host = Upstream(answer, whole=False)
    server = front(f"""{{ path = "/weather/**", url = "{host.url}", breaker = "weather", fallback = {{ body = "instead" }} }},
        {{ path = "/**", url = "{host.url}" }}""", args=["--set", "breakers.weather.timeout_ms=20000"])
    length = b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 50000
    chunks = b"POST %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nc350\r\n" + b"x" * 50000 + b"\r\n"
    for number, (request, rest) in enumerate([(length % b"/a", b""), (chunks % b"/b", b""), (chunks % b"/c", b"nonsense\r\n"),
                                              (length % b"/weather/a", b"")]):
        client = server.connect()
        client.send(request)
        eventually(lambda: len(host.heard) == number + 1, "the request has reached the other host")
        if rest:
            client.send(rest)
            assert client.rest() == b""
        client.close()
        eventually(lambda: len(ends) == number + 1, "its body has ended there")
        eventually(lambda: in_flight(server) == 0, "nothing is left under way")
    assert all(0 <= end < 60000 for end in ends), ends
    with server.connect() as client:  # its limit is one at a time, and a client that goes is no failure
        client.send(length % b"/weather/b")
        eventually(lambda: len(host.heard) == 5, "the breaker has let another one in")
        host.close()


@case("SYSTEMS-6i another host may answer before it has read: the answer arrives, and the connection ends with it")
def upload_answered():
    def answer(asked, peer):
        what = asked[0].split()[1]
        if what == "/dies":
            asked[2].read(50000)
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            return False
        if what == "/refuses":
            peer.sendall(plain("too much", "413 Content Too Large"))
        else:  # a part before all of the request is there
            piece = asked[2].read(50000)
            peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + piece)
            peer.sendall(asked[2].read(50000))
        asked[2].read()
        return False

    host = Upstream(answer, whole=False)
    server = front(f"""{{ path = "/instead/**", url = "{host.url}", strip_prefix = 1, fallback = {{ body = "instead" }},
        retry = {{ methods = {{ "POST" }} }} }}, {{ path = "/**", url = "{host.url}" }}""")
    head = "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + "x" * 50000
    for path, status, text in (("/refuses", 413, "too much"), ("/dies", 502, None), ("/instead/dies", 200, "instead")):
        with server.connect() as client:
            client.send((head % path).encode())
            got = client.answer()
            assert got.status == status and text in (None, got.text), (path, got)
            assert got.headers["Connection"] == "close", got.headers
            assert client.rest() == b""
    with server.connect() as client:
        client.send((head % "/echo").encode())
        assert client.head()[0] == 200
        client.send(b"y" * 50000)
        assert client._exactly(100000) == b"x" * 50000 + b"y" * 50000  # noqa: SLF001
    assert len(host.heard) == 4, [asked[0] for asked in host.heard]
    eventually(lambda: in_flight(server) == 0, "nothing is left under way")


@case("SYSTEMS-6i a body for a service of the process has its limit; one that a route refuses is not read")
def upload_refused():
    host = Upstream(says("x"), whole=False)
    server = front(f"""{{ path = "/sorry", service = "desk", methods = {{ "GET", "POST" }} }},
        {{ path = "/once", url = "{host.url}", rate_limit = {{ rate = 1, burst = 1, tokens = 1, key = "header:X-Who" }} }}""")
    for path, status in (("/sorry", 413), ("/nowhere", 413), ("/once", 403)):
        with server.connect() as client:
            client.send(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000\r\n\r\n".encode())
            got = client.answer()
            assert (got.status, got.headers["Connection"]) == (status, "close"), (path, got)
            assert client.rest() == b""
    assert host.heard == []


@case("SYSTEMS-6h an answer that breaks off is cut off for the client: with a length, in chunks, and to the end")
def breaks_off():
    heads = {"/length": b"Content-Length: 100\r\n", "/chunks": b"Transfer-Encoding: chunked\r\n"}

    def answer(asked, peer):
        peer.sendall(b"HTTP/1.1 200 OK\r\n" + heads[asked[0].split()[1]] + b"\r\n5\r\nabcde\r\n")
        return False

    host = Upstream(answer)
    server = front(f'{{ path = "/**", url = "{host.url}", fallback = {{ body = "instead" }}, retry = {{ retries = 2 }} }}')
    for path in heads:
        with server.connect() as client:
            client.send_request("GET", path)
            assert client.head()[0] == 200
            rest = client.rest()
            assert b"abcde" in rest and not rest.endswith(b"0\r\n\r\n"), rest
    assert len(server.wait_log(level="warn", msg="an answer broke off on its way through the gateway")) > 0
    eventually(lambda: in_flight(server) == 0, "nothing is left under way")
    assert len(host.heard) == 2, host.heard


@case("SYSTEMS-6h nobody there is 502, silence 504; the breaker opens, and lets through again when it has answered")
def no_answer():
    slow = threading.Event()
    host = Upstream(lambda asked, peer: slow.wait(20) and peer.sendall(plain("late")))
    server = front(f"""{{ path = "/nobody", url = "http://127.0.0.1:{closed_port()}" }},
        {{ path = "/slow", url = "{host.url}", timeout = "200ms" }},
        {{ path = "/weather", url = "{host.url}", breaker = "weather" }}""")
    refused = server.request("GET", "/nobody")
    assert (refused.status, refused.json["code"]) == (502, "unreachable"), refused
    late = server.request("GET", "/slow")
    assert (late.status, late.json["code"]) == (504, "timeout"), late
    for _ in range(2):
        assert server.request("GET", "/weather").status == 504
    eventually(lambda: server.request("GET", "/weather").status == 503, "the breaker opens")
    slow.set()
    answer = eventually(lambda: [a for a in [server.request("GET", "/weather")] if a.status == 200], "it closes")[0]
    assert answer.text == "late", answer
    eventually(lambda: in_flight(server) == 0, "nothing is left under way")


@case("SYSTEMS-6h a host that fails is asked again, then answered for")
def flaky():
    failures = [2]

    def answer(asked, peer):
        failures[0] -= 1
        if failures[0] >= 0 and "/silent" in asked[0]:
            return False
        peer.sendall(plain("broken", "503 No", "X-Theirs: 1\r\n") if failures[0] >= 0 else plain("well"))
        return True

    host = Upstream(answer)
    server = front(f"""{{ path = "/silent", url = "{host.url}", retry = {{ retries = 2, statuses = {{ 502 }} }} }},
        {{ path = "/again", methods = {{ "GET", "POST" }}, url = "{host.url}", retry = {{ retries = 2 }} }},
        {{ path = "/fixed", url = "{host.url}", fallback = {{ status = 203, body = {{ kept = true }} }} }},
        {{ path = "/other", url = "{host.url}", fallback = "/sorry" }},
        {{ path = "/sorry", service = "desk" }}""")
    got = server.request("GET", "/again")
    assert (got.status, got.text) == (200, "well") and "X-Theirs" not in got.headers and len(host.heard) == 3, got
    failures[0] = 1
    assert server.request("POST", "/again", "{}").status == 503 and len(host.heard) == 4
    failures[0] = 9
    assert server.request("GET", "/again").status == 503 and len(host.heard) == 7
    got = server.request("GET", "/fixed")
    assert (got.status, got.json) == (203, {"kept": True}) and "X-Theirs" not in got.headers, got
    assert server.request("GET", "/other").text == "sorry"
    failures[0] = 2
    got = server.request("GET", "/silent")
    assert (got.status, got.text) == (200, "well"), got
    assert server.stop() == 0  # and nothing of the answers in between was kept


@case("SYSTEMS-6h requests beyond the rate of an address do not reach the other host, also not by trying again")
def limited():
    host = Upstream(says("x"))
    server = front(f"""{{ path = "/**", url = "{host.url}", rate_limit = {{ rate = 1, burst = 3, key = "ip" }},
        retry = {{ statuses = {{ 429 }} }} }}""")
    statuses = [server.request("GET", "/").status for _ in range(4)]
    assert statuses == [200, 200, 200, 429] and len(host.heard) == 3, statuses


@case("SYSTEMS-6h behind a trusted proxy the limit is the client's, and the other host hears of what it asked for")
def limited_behind_proxy():
    host = Upstream(says("x"))
    server = front(f"""{{ path = "/**", url = "{host.url}", rate_limit = {{ rate = 1, burst = 1, key = "ip" }} }}""",
                   args=["--set", "http.trusted_proxies=127.0.0.1"])

    def ask(chain):
        return server.request("GET", "/", None, {"X-Forwarded-For": chain, "X-Forwarded-Host": "shop.example",
                                                 "X-Forwarded-Proto": "https"}).status
    assert [ask("198.51.100.1"), ask("198.51.100.2"), ask("spoofed, 198.51.100.2")] == [200, 200, 429]
    for name, value in (("X-Forwarded-For", "198.51.100.1, 127.0.0.1"), ("X-Forwarded-Host", "shop.example"),
                        ("X-Forwarded-Proto", "https")):
        assert values(host.heard[0], name) == [value], host.heard[0]


@case("SYSTEMS-6h a long value that a limit counts by takes no more memory than a short one")
def limited_by_long_values():
    server = front("""{ path = "/sorry", service = "desk",
        rate_limit = { rate = 1, burst = 1, key = "header:X-Who" } }""", env=FRUGAL)
    with server.connect() as client:
        for i in range(20):
            assert client.request("GET", "/sorry", None, {"X-Who": f"{i}a" * 7000}).status == 200
        before = memory(server)
        for i in range(600):
            assert client.request("GET", "/sorry", None, {"X-Who": f"{i:04}" * 15000}).status == 200
        assert client.request("GET", "/sorry", None, {"X-Who": "0599" * 15000}).status == 429
        assert client.request("GET", "/sorry", None, {"X-Who": "0599" * 14999 + "0598"}).status == 200
    assert memory(server) < before + 16 * MIB, (before, memory(server))


@case("SYSTEMS-6h what a client says of itself or of its connection takes nothing from what the gateway says")
def says_nothing_for_others():
    host = Upstream(says("x"))
    route = f"""{{ path = "/**", url = "{host.url}",
        request_headers = {{ set = {{ ["X-Put"] = "put", ["X-Forwarded-Prefix"] = "/ours" }} }} }}"""
    claims = {"Forwarded": "for=198.51.100.1;host=evil.example;proto=https", "X-Real-IP": "198.51.100.1",
              "X-Forwarded-Port": "1", "X-Forwarded-For": "198.51.100.1", "X-Forwarded-Host": "evil.example",
              "X-Forwarded-Prefix": "/theirs", "Connection": "X-Put, X-Forwarded-For, X-Correlation-Id"}
    server = front(route)
    assert server.request("GET", "/", None, claims).status == 200
    for name, value in (("X-Put", ["put"]), ("X-Forwarded-Prefix", ["/ours"]), ("X-Forwarded-For", ["127.0.0.1"]),
                        ("X-Forwarded-Host", [server.gateway]), ("Forwarded", []), ("X-Real-IP", []), ("X-Forwarded-Port", [])):
        assert values(host.heard[0], name) == value, (name, host.heard[0])
    assert len(values(host.heard[0], "X-Correlation-Id")) == 1, host.heard[0]
    behind = front(route, args=["--set", "http.trusted_proxies=127.0.0.1"])
    assert behind.request("GET", "/", None, claims).status == 200
    for name in ("Forwarded", "X-Real-IP", "X-Forwarded-Port"):
        assert values(host.heard[1], name) == [claims[name]], (name, host.heard[1])
    assert values(host.heard[1], "X-Forwarded-For") == ["198.51.100.1, 127.0.0.1"], host.heard[1]


@case("SYSTEMS-6h a path with dots is not handed on, nor what a limit refused: also not by trying again")
def dots():
    host = Upstream(says("x"))
    server = front(f"""{{ path = "/near/**", service = "desk" }}, {{ path = "/far/**", url = "{host.url}", strip_prefix = 1,
        retry = {{ statuses = {{ 400, 403 }} }},
        rate_limit = {{ rate = 9, key = "header:X-Who" }} }}""")
    for path in ("/far/../x", "/far/%2E./x", "/far/a/..%2fx", "/far/..;a/x", "/far/.", "/far/..%5cx"):
        got = server.request("GET", path, None, {"X-Who": "me"})
        assert (got.status, got.json["code"]) == (400, "invalid"), (path, got)
    assert server.request("GET", "/near/../x").status == 404
    assert server.request("GET", "/far/x").status == 403
    assert host.heard == []
    assert server.request("GET", "/far/.x/..y?../z=/..", None, {"X-Who": "me"}).status == 200
    assert host.heard[0][0] == "GET /.x/..y?../z=/.. HTTP/1.1", host.heard


@case("SYSTEMS-6h a length beyond all numbers is not written as another one; too large a head is the other host's fault")
def too_much():
    def answer(asked, peer):
        if "/head" in asked[0]:
            peer.sendall(b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 70000 + b"\r\n\r\n")
        else:
            peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\nab")
        return False

    host = Upstream(answer)
    server = front(f'{{ path = "/**", url = "{host.url}" }}')
    with server.connect() as client:
        client.send_request("GET", "/length")
        status, headers = client.head()
        assert status == 200 and "Content-Length" not in headers, headers
        assert client.rest() == b"2\r\nab\r\n"
    got = server.request("GET", "/head")
    assert (got.status, got.json["code"]) == (502, "protocol"), got


@case("SYSTEMS-6h connections to the other host are used again")
def reused():
    host = Upstream(says("x"))
    server = front(f'{{ path = "/**", url = "{host.url}" }}')
    with server.connect() as client:
        assert [client.request("GET", "/").status for _ in range(20)] == [200] * 20
    assert (host.connections, len(host.heard)) == (1, 20)


@case("SYSTEMS-6h a client that goes away takes its call along, before and during the answer; its permit comes back")
def client_goes():
    begun = threading.Event()

    def answer(asked, peer):
        if asked[0].startswith("GET /begun"):
            peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc")
        if asked[0].startswith("GET /quick"):
            peer.sendall(plain("quick"))
            return True
        begun.set()
        peer.settimeout(20)
        return peer.recv(1) != b""  # the gateway closes

    host = Upstream(answer)
    server = front(f"""{{ path = "/weather/**", url = "{host.url}", breaker = "weather", strip_prefix = 1,
                          retry = {{ retries = 3 }}, fallback = "/quick" }},
        {{ path = "/**", url = "{host.url}" }}""", args=["--set", "breakers.weather.timeout_ms=20000"])
    for path in ("/before", "/begun", "/weather/before"):
        begun.clear()
        ended = host.ended
        client = server.connect()
        client.send_request("GET", path)
        assert begun.wait(20)
        if path == "/begun":
            assert client.head()[0] == 200
        client.close()
        eventually(lambda: host.ended == ended + 1, f"the call of {path} ends")
        eventually(lambda: in_flight(server) == 0, "nothing is left under way")
    assert server.request("GET", "/weather/quick").text == "quick"  # its limit is one at a time
    assert len(host.heard) == 4, host.heard


@case("SYSTEMS-6h a service that runs in another process is reached through the gateway")
def other_process():
    scripts = """return {
        resource "notes" { service = "%s", rel = "note", fields = { text "name" } },
    }\n"""
    folder = temp_dir()
    write_files(folder, {
        "systems/two.lua": """return { services = { near = {}, far = {} }, gateway = { routes = {
            { path = "/near/**", service = "near", strip_prefix = 1 }, { path = "/far/**", service = "far", strip_prefix = 1 },
        } } }\n""",
        "routes/two/near.lua": scripts % "near", "routes/two/far.lua": scripts.replace("notes", "memos") % "far"})
    behind = Server("two", scripts=folder, args=["--only", "far"])
    server = Server("two", scripts=folder, args=["--only", "near", "--set",
                                                 f"services.far.url=http://{behind.gateway}"])
    near = server.request("POST", "/near/notes", {"name": "near"})
    assert near.status == 201, near
    far = server.request("POST", "/far/far/memos", {"name": "far"})
    assert far.status == 201 and far.row["name"] == "far", far
    assert behind.request("GET", "/far/memos/1").json["name"] == "far"
    wrong = server.request("POST", "/far/far/memos", {"name": 5, "nmae": 1})
    assert wrong.status == behind.request("POST", "/far/memos", {"name": 5, "nmae": 1}).status, wrong


@case("SYSTEMS-6h a reload changes where requests go, and none of those under way fails")
def reload():
    go = threading.Event()

    def slowly(name):
        def answer(asked, peer):
            if "/wait" in asked[0]:
                go.wait(20)
            peer.sendall(plain(name))
        return answer

    old, new = Upstream(slowly("old")), Upstream(slowly("new"))
    folder = tree(temp_dir(), f'{{ path = "/**", url = "{old.url}" }}')
    server = Server("front", scripts=folder, args=["--workers", "2"])
    waiting = server.connect()
    waiting.send_request("GET", "/wait")
    eventually(lambda: old.heard, "the request waits at the old host")
    stop, wrong, seen = threading.Event(), [], set()

    def ask():
        with server.connect() as client:
            while not stop.is_set():
                got = client.request("GET", "/")
                seen.add(got.text)
                if got.status != 200:
                    wrong.append(got)

    askers = [threading.Thread(target=ask) for _ in range(4)]
    for asker in askers:
        asker.start()
    eventually(lambda: "old" in seen, "requests go to the old host")
    tree(folder, f'{{ path = "/**", url = "{new.url}" }}')
    assert server.admin("POST", "/admin/reload").status == 200
    assert server.request("GET", "/").text == "new"
    eventually(lambda: "new" in seen, "requests go to the new host")
    stop.set()
    for asker in askers:
        asker.join()
    go.set()
    assert waiting.answer().text == "old" and wrong == [], wrong


@case("SYSTEMS-6h a stop lets calls end; a second one ends them at once")
def stopped():
    go, begun = threading.Event(), threading.Semaphore(0)

    def answer(asked, peer):
        begun.release()
        if "/begun" in asked[0]:
            peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc")
        go.wait(30)
        peer.sendall(plain("late"))

    host = Upstream(answer)
    server = front(f'{{ path = "/**", url = "{host.url}" }}')
    client = server.connect()
    client.send_request("GET", "/")
    assert begun.acquire(timeout=20)
    server.signal(15)
    server.wait_log(msg="stopping")
    go.set()
    assert client.answer().text == "late"
    assert server.wait_exit() == 0
    go.clear()
    server.start()
    clients = [server.connect(), server.connect()]
    for client, path in zip(clients, ("/", "/begun")):
        client.send_request("GET", path)
        assert begun.acquire(timeout=20)
    assert clients[1].head()[0] == 200
    server.signal(15)
    server.wait_log(msg="stopping")
    server.signal(15)
    server.wait_exit()
    go.set()


@case("SYSTEMS-6i an upload outlives a reload, and a stop waits for it; a second one breaks it off")
def upload_lifetimes():
    ends, part = [], 50000

    def answer(asked, peer):
        count = len(asked[2].read(4 * part))
        ends.append(count)
        if count < 4 * part:
            return False
        peer.sendall(plain(str(count)))
        return True

    host = Upstream(answer, whole=False)
    folder = tree(temp_dir(), f'{{ path = "/**", url = "{host.url}" }}')
    server = Server("front", scripts=folder, args=["--workers", "1"])

    def begin():
        client, before = server.connect(), len(host.heard)
        client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (4 * part) + b"x" * part)
        eventually(lambda: len(host.heard) == before + 1, "the other host has the head")
        return client

    client = begin()
    tree(folder, '{ path = "/sorry", service = "desk" }')
    assert server.admin("POST", "/admin/reload").status == 200
    assert server.request("GET", "/x").status == 404
    client.send(b"x" * 3 * part)
    assert client.answer().text == str(4 * part)
    tree(folder, f'{{ path = "/**", url = "{host.url}" }}')
    assert server.admin("POST", "/admin/reload").status == 200
    client = begin()
    server.signal(15)
    server.wait_log(msg="stopping")
    client.send(b"x" * 3 * part)
    assert client.answer().text == str(4 * part)
    assert server.wait_exit() == 0
    server.start()
    client = begin()
    server.signal(15)
    server.wait_log(msg="stopping")
    server.signal(15)
    server.wait_exit()
    eventually(lambda: len(ends) == 3, "the other host sees that it broke off")
    assert ends[2] < 4 * part, ends


def guarded(folder, routes, guard):
    """A gateway whose file begins with a guard, and a way to open what waits for `opened`."""
    tree(folder, routes + """,
        { path = "/open", service = "desk", guard = function() cache.set("opened", true) fail(418) end },
        { path = "/waiting", service = "desk", guard = function() fail(cache.get("waiting") and 418 or 404) end }""")
    path = os.path.join(folder, "systems/front.lua")
    with open(path, encoding="utf-8") as file:
        rest = file.read()
    write_files(folder, {"systems/front.lua": f"local function guard(context, action)\n  {guard}\nend\n{rest}"})
    return folder


KEY = 'if context.request.headers["x-key"] ~= "key" then fail(401, "who is it?") end'
WAIT = 'cache.set("waiting", true)\n  while not cache.get("opened") do task.sleep("20ms") end'


@case("SYSTEMS-6j another host gets what its route's guard lets pass, uploads too; what is refused is not read")
def guard_before_another_host():
    def answer(asked, peer):
        chunked = values(asked, "Transfer-Encoding") == ["chunked"]
        length = int((values(asked, "Content-Length") or ["0"])[0])
        peer.sendall(plain(take_chunks(asked[2])[0] if chunked else take_length(asked[2], length)))

    host = Upstream(answer, whole=False)
    server = Server("front", args=["--workers", "1"], scripts=guarded(temp_dir(), f"""{{ path = "/far/**", guard = guard,
        url = "{host.url}", strip_prefix = 1, request_headers = {{ remove = "X-Key" }} }}""", KEY))
    body, key = os.urandom(3 * MIB), {"X-Key": "key"}
    digest = hashlib.sha256(body).hexdigest()
    refused = server.request("GET", "/far/a")
    assert (refused.status, refused.json["message"]) == (401, "who is it?"), refused
    with server.connect() as client:  # the other host may read the one or the other
        client.send(b"GET /far/a HTTP/1.1\r\nHost: x\r\nX-Key: other\r\nx-key: key\r\n\r\n")
        assert client.answer().status == 401
    for extra in ("", "Expect: 100-continue\r\n"):
        with server.connect() as client:
            client.send(f"POST /far/a HTTP/1.1\r\nHost: x\r\n{extra}Content-Length: 5000000\r\n\r\n".encode())
            got = client.answer()
            assert (got.status, got.headers["Connection"]) == (401, "close"), got
            assert client.rest() == b""
    assert host.heard == []
    assert server.request("GET", "/far/a", headers=key).text == hashlib.sha256(b"").hexdigest()
    assert host.heard[0][0] == "GET /a HTTP/1.1" and values(host.heard[0], "X-Key") == [], host.heard[0]
    assert server.request("POST", "/far/b", "small", key).text == hashlib.sha256(b"small").hexdigest()
    with server.connect() as client:
        for _ in range(2):
            answer = client.request("POST", "/far/c", body, key)
            assert (answer.status, answer.text) == (200, digest), answer
        client.send(b"POST /far/d HTTP/1.1\r\nHost: x\r\nX-Key: key\r\nTransfer-Encoding: chunked\r\n"
                    b"Expect: 100-continue\r\n\r\n")
        assert client.head()[0] == 100
        client.send(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
        assert client.answer().text == digest
    assert in_flight(server) == 0


@case("SYSTEMS-6j what is sent while a guard thinks is kept; a client that goes meanwhile is forgotten, its guard too")
def guard_waits():
    host = Upstream(lambda asked, peer: peer.sendall(plain(take_length(asked[2], 4 * MIB))), whole=False)
    server = Server("front", args=["--workers", "1"], scripts=guarded(temp_dir(),
        f'{{ path = "/far/**", guard = guard, url = "{host.url}" }}', WAIT), env=FRUGAL)
    head, body = b"POST /far/a HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (4 * MIB), os.urandom(4 * MIB)
    for part in (b"", body[:1000], body[:100000]):  # the last is more than the gateway reads ahead
        client = server.connect()
        client.send(head + part)
        eventually(lambda: in_flight(server) > 0, "the request is there")
        client.close()
        eventually(lambda: in_flight(server) == 0, "nothing is left under way")
    assert host.heard == [] and server.running
    with server.connect() as client:
        client.send(head)
        sender = threading.Thread(target=client.send, args=(body,), daemon=True)
        sender.start()
        eventually(lambda: in_flight(server) > 0, "the request is there")
        assert host.heard == []
        assert server.request("GET", "/open").status == 418
        got = client.answer()
        assert (got.status, got.text) == (200, hashlib.sha256(body).hexdigest()), got
        sender.join()
    assert len(host.heard) == 1


@case("SYSTEMS-6j a guard that goes wrong is 500, with file and line in the log; one that is none is refused with both")
def guard_wrong():
    host = Upstream(says("reached"))
    folder = guarded(temp_dir(), f'{{ path = "/far", guard = guard, fallback = "/sorry", url = "{host.url}" }}',
                     "local x = context.nothing.more")
    server = Server("front", scripts=folder, args=["--workers", "1"])
    answer = server.request("GET", "/far", headers={"X-Correlation-Id": "c-9"})
    assert (answer.status, answer.json["code"]) == (500, "script"), answer
    logged = server.wait_log(msg="script error", correlationId="c-9")
    assert (logged["script"], logged["line"]) == ("scripts/systems/front.lua", 2) and logged["service"] == "the gateway", logged
    assert host.heard == []
    tree(folder, f"""{{ path = "/far", url = "{host.url}",
        guard = "guard" }}""")
    text = 'scripts/systems/front.lua:5: gateway.routes[1]: option "guard" must be a function, got a string'
    code, out, said = command("check", "front", "--scripts", folder)
    assert code == 3 and text in out + said, (code, out, said)
    refused = server.admin("POST", "/admin/reload")
    assert refused.status == 422, refused
    assert refused.json["errors"][0]["file"].endswith("systems/front.lua") and refused.json["errors"][0]["line"] == 5
    assert server.request("GET", "/far").status == 500


@case("G5 a request that a guard holds back goes on by the rules that it began with, later ones by the new")
def guard_generations():
    old, new = Upstream(says("old")), Upstream(says("new"))
    folder = guarded(temp_dir(), f'{{ path = "/far", guard = guard, url = "{old.url}" }}', WAIT)
    server = Server("front", scripts=folder, args=["--workers", "1"])
    with server.connect() as client:
        client.send_request("GET", "/far")
        eventually(lambda: server.request("GET", "/waiting").status == 418, "the guard waits")
        guarded(folder, f'{{ path = "/far", guard = guard, url = "{new.url}" }}', KEY)
        assert server.admin("POST", "/admin/reload").status == 200
        assert server.request("GET", "/far").status == 401
        assert server.request("GET", "/far", headers={"X-Key": "key"}).text == "new"
        assert old.heard == []
        assert server.request("GET", "/open").status == 418
        assert client.answer().text == "old"
    with server.connect() as client:  # a stop waits for what a guard holds
        guarded(folder, f'{{ path = "/far", guard = guard, url = "{new.url}" }}', 'task.sleep("1s")')
        assert server.admin("POST", "/admin/reload").status == 200
        client.send_request("GET", "/far")
        eventually(lambda: in_flight(server) > 0, "the request is there")
        server.signal(15)
        assert client.answer().text == "new"
    assert server.wait_exit() == 0


@case("SYSTEMS-6j a second stop ends what the writer holds back, too: what a guard lets pass then, what would run again")
def second_stop():
    scripts = """return {
        resource "notes" { service = "desk", fields = { text "text" } },
        route "slow" { service = "desk", method = "GET", path = "/slow", handle = function()
            cache.set("ran", "guarded")
            task.sleep("20s")
        end },
        route "again" { service = "desk", method = "POST", path = "/again", handle = function()
            local runs = (cache.get("runs") or 0) + 1
            cache.set("runs", runs)
            if runs > 3 then task.sleep("20s") end
            store.update("notes", 1, { text = store.get("notes", 1).text .. runs })
        end },
    }\n"""
    folder = tree(temp_dir(), """{ path = "/slow", service = "desk",
            guard = function() http.post("http://desk/notes", { text = "asked" }) end },
        { path = "/again", service = "desk" }, { path = "/notes", service = "desk" }""", scripts=scripts)
    server = Server("front", scripts=folder, args=["--workers", "1"])
    assert server.request("POST", "/notes", {"text": "first"}).status == 201
    other = sqlite3.connect(os.path.join(server.data, "moontide.db"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")  # the writer waits
    clients = [server.connect() for _ in range(4)]
    for client, (method, path) in zip(clients, [("GET", "/slow")] + 3 * [("POST", "/again")]):
        client.send_request(method, path, None)
        eventually(lambda: in_flight(server) == clients.index(client) + 1, "the request is there")
    server.signal(15)
    server.wait_log(msg="stopping")
    server.signal(15)
    server.wait_log(msg="cancelling what is still running")
    other.execute("ROLLBACK")
    other.close()
    answers = [client.answer() for client in clients]
    assert (answers[0].status, answers[0].json["message"]) == (503, "the server is stopping"), answers
    assert sorted(answer.status for answer in answers[1:]) == [200, 503, 503], answers
    assert server.wait_exit() == 0


if __name__ == "__main__":
    main()
