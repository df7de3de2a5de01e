# SPDX-License-Identifier: MIT
"""HTTP/1.1 over plain sockets: what is sent is what the test wrote, and nothing is repaired on the way back."""
import json
import socket


class Headers(dict):
    """Names without case; repeated headers are joined by ', ' (all of them: `all`, as pairs in their order)."""

    def __init__(self, pairs=()):
        super().__init__()
        self.all = list(pairs)
        for name, value in self.all:
            key = name.lower()
            self[key] = f"{dict.__getitem__(self, key)}, {value}" if key in self else value

    def __getitem__(self, name):
        return super().__getitem__(name.lower())

    def __contains__(self, name):
        return super().__contains__(name.lower())

    def get(self, name, default=None):
        return super().get(name.lower(), default)


def id_of(href):
    return int(href.rpartition("/")[2])


def row_of(item):
    """A HAL item as a plain row: its id first, no links."""
    return {"id": id_of(item["_links"]["self"]["href"]), **{k: v for k, v in item.items() if k != "_links"}}


class Answer(tuple):
    """(status, headers, body) with names; body is bytes."""

    def __new__(cls, status, headers, body):
        return super().__new__(cls, (status, headers, body))

    status = property(lambda self: self[0])
    headers = property(lambda self: self[1])
    body = property(lambda self: self[2])
    text = property(lambda self: self[2].decode())
    json = property(lambda self: json.loads(self[2]))

    @property
    def id(self):
        """The id of the row that the answer is about: of its Location, else of its link to itself."""
        return id_of(self.headers.get("location") or self.json["_links"]["self"]["href"])

    row = property(lambda self: row_of(self.json))

    def __repr__(self):
        return f"<{self.status} {self.body[:300]!r}>"


def split_address(address):
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def encode_body(body, headers):
    """bytes as they are, text as UTF-8, anything else as JSON with its content type."""
    if body is None or isinstance(body, bytes):
        return body
    if isinstance(body, str):
        return body.encode()
    if not any(name.lower() == "content-type" for name in headers):
        headers["Content-Type"] = "application/json"
    return json.dumps(body, separators=(",", ":")).encode()


class Connection:
    """One keep-alive connection. `with Connection(address) as c: c.request("GET", "/orders")`."""

    def __init__(self, address, seconds=30):
        self.address = address
        self.sock = socket.create_connection(split_address(address), timeout=seconds)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def send(self, data):
        """Bytes as they are."""
        self.sock.sendall(data)

    def send_request(self, method, path, body=None, headers=None):
        headers = dict(headers or {})
        body = encode_body(body, headers)
        names = {name.lower() for name in headers}
        lines = [f"{method} {path} HTTP/1.1"]
        if "host" not in names:
            lines.append(f"Host: {self.address}")
        if "accept" not in names:
            lines.append("Accept: */*")
        if body is not None and "content-length" not in names and "transfer-encoding" not in names:
            lines.append(f"Content-Length: {len(body)}")
        lines += [f"{name}: {value}" for name, value in headers.items() if value is not None]
        self.send("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (body or b""))

    def request(self, method, path, body=None, headers=None):
        self.send_request(method, path, body, headers)
        return self.answer(method)

    def _more(self):
        data = self.sock.recv(65536)
        self.buffer += data
        return bool(data)

    def _line(self):
        while b"\r\n" not in self.buffer:
            if not self._more():
                raise ConnectionError(f"closed in the middle of a line: {self.buffer[:200]!r}")
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        return line

    def _exactly(self, count):
        while len(self.buffer) < count:
            if not self._more():
                raise ConnectionError(f"closed {count - len(self.buffer)} bytes too early")
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def head(self):
        """Reads the status line and headers of the next answer: (status, Headers)."""
        if not self.buffer and not self._more():
            raise ConnectionError("closed without an answer")
        version, status, _ = (self._line() + b" ").split(b" ", 2)
        assert version in (b"HTTP/1.1", b"HTTP/1.0"), f"not an HTTP answer: {version!r}"
        pairs = []
        while line := self._line():
            name, colon, value = line.decode("latin-1").partition(":")
            assert colon and name and name == name.strip(), f"not a header: {line!r}"
            pairs.append((name, value.strip(" \t")))
        return int(status), Headers(pairs)

    def chunks(self):
        """Yields the chunks of a chunked body as they arrive, up to its end."""
        while size := int(self._line().split(b";")[0], 16):
            yield self._exactly(size)
            assert self._exactly(2) == b"\r\n", "a chunk without its end of line"
        while self._line():
            pass  # trailers

    def answer(self, method="GET"):
        """Reads one whole answer; interim ones (1xx) are passed over."""
        status, headers = self.head()
        while 100 <= status < 200:
            status, headers = self.head()
        if method == "HEAD" or status in (204, 304):
            body = b""
        elif "chunked" in headers.get("transfer-encoding", ""):
            body = b"".join(self.chunks())
        elif "content-length" in headers:
            body = self._exactly(int(headers["content-length"]))
        else:
            body = self.rest()
        return Answer(status, headers, body)

    def rest(self):
        """Everything up to the end of the connection."""
        while self._more():
            pass
        data, self.buffer = self.buffer, b""
        return data

    def is_closed(self):
        """Waits for the other side to close; False if it sends something instead, or nothing within the timeout."""
        try:
            return not self.buffer and not self._more()
        except ConnectionError:
            return True
        except TimeoutError:
            return False


def request(address, method, path, body=None, headers=None, seconds=30):
    """One request on a connection of its own: Answer(status, headers, body)."""
    with Connection(address, seconds) as connection:
        headers = dict(headers or {})
        headers.setdefault("Connection", "close")
        return connection.request(method, path, body, headers)


def stream_lines(address, path, headers=None, seconds=30):
    """Yields the lines of a streamed answer (NDJSON, SSE) as they arrive, without their end; `seconds` bound each wait."""
    with Connection(address, seconds) as connection:
        connection.send_request("GET", path, None, headers)
        status, answered = connection.head()
        assert status == 200, f"GET {path} answered {status}"
        pieces = connection.chunks() if "chunked" in answered.get("transfer-encoding", "") else iter(
            [connection.rest()])
        pending = b""
        for piece in pieces:
            *lines, pending = (pending + piece).split(b"\n")
            for line in lines:
                yield line.decode()
        if pending:
            yield pending.decode()
