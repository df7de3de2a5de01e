# SPDX-License-Identifier: MIT
"""timeout: 300
Bad input, as tables: what is sent, the status, and whether the connection can be used afterwards. Each refusal is a problem
document, nothing is stored, and the server answers the next client.
"""
import os
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import Server, case, main, temp_dir, write_files  # noqa: E402

KIB = 1024
CLOSED, OPEN = "closed", "usable"

THINGS = {
    "systems/things.lua": "return { services = { thing = {} } }\n",
    "routes/things/things.lua": """
        return {
          resource "things" {
            service = "thing",
            fields = {
              integer "n" { min = 0, max = 9 }, number "x", decimal(2) "price", text "t" { length = 5 },
              boolean "b", timestamp "at", json "j",
            },
          },
        }
    """,
}


def things(**options):
    folder = temp_dir()
    write_files(folder, THINGS)
    return Server("things", scripts=folder, **options)


def send_all(connection, data):
    try:
        connection.send(data)
    except OSError:
        pass  # refused and closed before all of it was sent


def is_problem(answer, status, what):
    assert answer.status == status, (what, answer)
    assert answer.headers["Content-Type"].startswith("application/problem+json"), (what, answer.headers.all)
    body = answer.json
    assert body["status"] == status and body["code"] and body["message"] and body["correlationId"], (what, body)


def try_one(server, status, state, data, what, path):
    with server.connect() as connection:
        send_all(connection, data)
        is_problem(connection.answer(), status, what)
        if state == CLOSED:
            assert connection.is_closed(), (what, "the connection is still open")
        else:
            assert connection.request("GET", path).status == 200, what


def try_all(server, table, path="/things"):
    """table: {what: (status, state, bytes)}; tells all lines that do not hold."""
    wrong = []
    for what, (status, state, data) in table.items():
        try:
            try_one(server, status, state, data, what, path)
        except (AssertionError, OSError, ValueError, KeyError) as error:
            wrong.append(f"{what}: {error!r}")
    assert not wrong, "\n".join(wrong)
    assert server.running()
    assert rows(server, path) == 0


def rows(server, path="/things"):
    answer = server.request("GET", path)
    assert answer.status == 200, answer
    listed = answer.json
    return len(listed) if isinstance(listed, list) else sum(len(of) for of in listed["_embedded"].values())


def post(body, headers=b"Content-Type: application/json\r\n", path=b"/things"):
    return b"POST %s HTTP/1.1\r\nHost: x\r\n%sContent-Length: %d\r\n\r\n%s" % (path, headers, len(body), body)


def get(target=b"/things", headers=b"Host: x\r\n", version=b"HTTP/1.1"):
    return b"GET %s %s\r\n%s\r\n" % (target, version, headers)


def framed(headers, body=b"", method=b"POST", version=b"HTTP/1.1"):
    return b"%s /things %s\r\nHost: x\r\nContent-Type: application/json\r\n%s\r\n%s" % (method, version, headers, body)


GOOD = b'{"n":1}'
CHUNKED = b"Transfer-Encoding: chunked\r\n"
SMUGGLED = post(GOOD)  # what a second reader might take for a request


@case("SHOP-6a request lines that two readers could take differently are refused, and the connection closes")
def request_lines():
    try_all(things(), {
        "two spaces before the target": (400, CLOSED, b"GET  /things HTTP/1.1\r\nHost: x\r\n\r\n" + SMUGGLED),
        "two spaces before the version": (400, CLOSED, b"GET /things  HTTP/1.1\r\nHost: x\r\n\r\n" + SMUGGLED),
        "a tab for a space": (400, CLOSED, b"GET\t/things HTTP/1.1\r\nHost: x\r\n\r\n"),
        "a space at the start": (400, CLOSED, b" GET /things HTTP/1.1\r\nHost: x\r\n\r\n"),
        "a space at the end": (400, CLOSED, b"GET /things HTTP/1.1 \r\nHost: x\r\n\r\n"),
        "two empty lines before it": (400, CLOSED, b"\r\n\r\nGET /things HTTP/1.1\r\nHost: x\r\n\r\n"),
        "HTTP/0.9": (400, CLOSED, b"GET /things\r\n\r\n"),
        "HTTP/2.0": (505, CLOSED, get(version=b"HTTP/2.0")),
        "HTTP/1.2": (505, CLOSED, get(version=b"HTTP/1.2")),
        "http/1.1": (400, CLOSED, get(version=b"http/1.1")),
        "HTTP/1.01": (400, CLOSED, get(version=b"HTTP/1.01")),
        "HTTP/2 preface": (505, CLOSED, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        "a TLS hello": (400, CLOSED, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(64))),
        "bytes of another protocol": (400, CLOSED, b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
        "NUL in the target": (400, CLOSED, get(b"/thi\0ngs")),
        "raw UTF-8 in the target": (400, CLOSED, get("/caf\u00e9".encode())),
        "a fragment": (400, CLOSED, get(b"/things#x")),
        "authority-form": (400, CLOSED, get(b"x:80")),
        "a proxy's CONNECT": (501, CLOSED, b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n"),
        "a target without a slash": (400, CLOSED, get(b"things")),
        "* for GET": (400, CLOSED, get(b"*")),
        "another host in absolute-form": (400, CLOSED, get(b"http://y/things")),
        "a user in absolute-form": (400, CLOSED, get(b"http://u@x/things")),
        "another scheme": (400, CLOSED, get(b"ftp://x/things")),
        "bare LF": (400, CLOSED, b"GET /things HTTP/1.1\nHost: x\n\n"),
        "bare CR": (400, CLOSED, b"GET /things HTTP/1.1\rHost: x\r\r"),
        "a method that is no token": (400, CLOSED, b"GE(T /things HTTP/1.1\r\nHost: x\r\n\r\n"),
    })


@case("SHOP-6a header lines beyond the grammar are refused, and the connection closes")
def header_lines():
    host = b"Host: x\r\n"
    try_all(things(), {
        "no Host": (400, CLOSED, get(headers=b"")),
        "two Hosts": (400, CLOSED, get(headers=host + host)),
        "an empty Host": (400, CLOSED, get(headers=b"Host:\r\n")),
        "a Host with a path": (400, CLOSED, get(headers=b"Host: x/y\r\n")),
        "a Host with a user": (400, CLOSED, get(headers=b"Host: u@x\r\n")),
        "a Host list": (400, CLOSED, get(headers=b"Host: x, y\r\n")),
        "a Host with a port too large": (400, CLOSED, get(headers=b"Host: x:65536\r\n")),
        "a space before the colon": (400, CLOSED, get(headers=b"Host : x\r\n")),
        "a folded line": (400, CLOSED, get(headers=host + b"X: a\r\n b\r\n")),
        "a folded first line": (400, CLOSED, get(headers=b" X: a\r\n" + host)),
        "a line without a colon": (400, CLOSED, get(headers=host + b"X\r\n")),
        "an empty name": (400, CLOSED, get(headers=host + b": x\r\n")),
        "a name that is no token": (400, CLOSED, get(headers=host + b"X(y): z\r\n")),
        "NUL in a value": (400, CLOSED, get(headers=host + b"X: a\0b\r\n")),
        "a control byte in a value": (400, CLOSED, get(headers=host + b"X: a\x01b\r\n")),
        "DEL in a value": (400, CLOSED, get(headers=host + b"X: a\x7fb\r\n")),
        "bare CR in a value": (400, CLOSED, get(headers=host + b"X: a\rY: b\r\n")),
        "bare LF between headers": (400, CLOSED, get(headers=b"Host: x\nX: y\r\n")),
        "an unknown expectation": (417, CLOSED, framed(b"Expect: wonders\r\nContent-Length: 7\r\n", GOOD)),
        "a request line of 9 KiB": (414, CLOSED, get(b"/" + b"x" * 9 * KIB)),
        "one header of 65 KiB": (431, CLOSED, get(headers=host + b"X: " + b"y" * 65 * KIB + b"\r\n")),
        "65 KiB without an end": (431, CLOSED, b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 65 * KIB),
        "9 KiB without an end of line": (414, CLOSED, b"GET /" + b"x" * 9 * KIB),
        "101 headers": (431, CLOSED, get(headers=host + b"".join(b"X-%d: y\r\n" % i for i in range(100)))),
    })


@case("SHOP-6b a body whose length is said twice or wrongly is refused; nothing behind it is taken for a request")
def framing():
    length = b"Content-Length: 7\r\n"
    try_all(things(), {
        "two lengths": (400, CLOSED, framed(length + b"Content-Length: 8\r\n", GOOD + SMUGGLED)),
        "two equal lengths": (400, CLOSED, framed(length + length, GOOD + SMUGGLED)),
        "a list of lengths": (400, CLOSED, framed(b"Content-Length: 7, 7\r\n", GOOD + SMUGGLED)),
        "length and chunked": (400, CLOSED, framed(length + CHUNKED, b"0\r\n\r\n" + SMUGGLED)),
        "chunked and length": (400, CLOSED, framed(CHUNKED + length, b"0\r\n\r\n" + SMUGGLED)),
        "a length with a sign": (400, CLOSED, framed(b"Content-Length: +7\r\n", GOOD)),
        "a negative length": (400, CLOSED, framed(b"Content-Length: -7\r\n", GOOD)),
        "a length in hex": (400, CLOSED, framed(b"Content-Length: 0x7\r\n", GOOD)),
        "no length at all in the header": (400, CLOSED, framed(b"Content-Length:\r\n", GOOD)),
        "a length with a blank inside": (400, CLOSED, framed(b"Content-Length: 7 7\r\n", GOOD)),
        "a length beyond 64 bits": (400, CLOSED, framed(b"Content-Length: 18446744073709551623\r\n", GOOD)),
        "chunked twice": (400, CLOSED, framed(CHUNKED + CHUNKED, b"0\r\n\r\n" + SMUGGLED)),
        "chunked, chunked": (400, CLOSED, framed(b"Transfer-Encoding: chunked, chunked\r\n", b"0\r\n\r\n" + SMUGGLED)),
        "gzip, chunked": (501, CLOSED, framed(b"Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n")),
        "identity": (501, CLOSED, framed(b"Transfer-Encoding: identity\r\n", SMUGGLED)),
        "xchunked": (501, CLOSED, framed(b"Transfer-Encoding: xchunked\r\n", SMUGGLED)),
        "chunked behind a blank name": (400, CLOSED, framed(b"Transfer-Encoding : chunked\r\n", b"0\r\n\r\n")),
        "chunked with a vertical tab": (400, CLOSED, framed(b"Transfer-Encoding: \x0bchunked\r\n", b"0\r\n\r\n")),
        "chunked under 1.0": (400, CLOSED, framed(CHUNKED, b"0\r\n\r\n" + SMUGGLED, version=b"HTTP/1.0")),
        "a chunk without a size": (400, CLOSED, framed(CHUNKED, b"\r\n" + GOOD)),
        "a chunk size that is no number": (400, CLOSED, framed(CHUNKED, b"7g\r\n" + GOOD)),
        "a chunk size with a sign": (400, CLOSED, framed(CHUNKED, b"-7\r\n" + GOOD)),
        "a chunk size in 0x": (400, CLOSED, framed(CHUNKED, b"0x7\r\n" + GOOD)),
        "a chunk larger than memory": (413, CLOSED, framed(CHUNKED, b"7fffffffffffffff\r\n" + GOOD)),
        "a chunk size beyond 64 bits": (400, CLOSED, framed(CHUNKED, b"10000000000000007\r\n" + GOOD)),
        "a chunk longer than its size": (400, CLOSED, framed(CHUNKED, b"6\r\n" + GOOD + b"\r\n0\r\n\r\n")),
        "a chunk ended by bare LF": (400, CLOSED, framed(CHUNKED, b"7\r\n" + GOOD + b"\n0\r\n\r\n")),
        "a size ended by bare LF": (400, CLOSED, framed(CHUNKED, b"7\n" + GOOD + b"\r\n0\r\n\r\n")),
        "a folded trailer": (400, CLOSED, framed(CHUNKED, b"7\r\n" + GOOD + b"\r\n0\r\nX: y\r\n z\r\n\r\n")),
        "NUL in a trailer": (400, CLOSED, framed(CHUNKED, b"7\r\n" + GOOD + b"\r\n0\r\nX: \0\r\n\r\n")),
        "bare CR in a trailer": (400, CLOSED, framed(CHUNKED, b"7\r\n" + GOOD + b"\r\n0\r\nX: \ry\r\n\r\n")),
        "trailers of 65 KiB": (431, CLOSED, framed(CHUNKED, b"7\r\n" + GOOD + b"\r\n0\r\nX: " + b"y" * 65 * KIB)),
        "an extension of 80 KiB": (400, CLOSED, framed(CHUNKED, b"7;" + b"x" * 80 * KIB + b"\r\n" + GOOD)),
        "2 MiB announced": (413, CLOSED, framed(b"Content-Length: 2097152\r\n", b"x")),
        "2 MiB in chunks": (413, CLOSED, framed(CHUNKED, (b"8000\r\n" + b" " * 32768 + b"\r\n") * 64)),
        "2 MiB, to be continued": (413, CLOSED, framed(b"Content-Length: 2097152\r\nExpect: 100-continue\r\n")),
        "refused in a pipeline": (400, CLOSED, b"BAD\r\n\r\n" + SMUGGLED + SMUGGLED),
    })


@case("SHOP-6c JSON that cannot be read is 400 with its place, and the connection goes on")
def malformed_json():
    server = things()
    table = {
        "unfinished": (b'{"n":1', "line 1, column 7"),
        "a comma too many": (b'{"n":1,}', "line 1, column 8"),
        "on the third line": (b'{\n  "n" : 1,\n  "t" : x\n}', "line 3, column 9"),
        "single quotes": (b"{'n':1}", "line 1, column 2"),
        "no quotes": (b"{n:1}", "line 1, column 2"),
        "a leading zero": (b'{"n":01}', "line 1, column 7"),
        "NaN": (b'{"n":NaN}', "line 1, column 6"),
        "a number beyond doubles": (b'{"x":1e999}', "line 1, column 6"),
        "something behind it": (b"{} {}", "line 1, column 4"),
        "white space only": (b" \r\n\t ", "line 2"),
        "a byte order mark": (b'\xef\xbb\xbf{"n":1}', "line 1, column 1"),
        "invalid UTF-8": (b'{"t":"\xff"}', "line 1, column 7"),
        "overlong UTF-8": (b'{"t":"\xc0\xaf"}', "line 1, column 7"),
        "a surrogate in UTF-8": (b'{"t":"\xed\xa0\x80"}', "line 1, column 7"),
        "torn UTF-8": (b'{"t":"\xe2\x82', "line 1, column 7"),
        "a lone high surrogate": (b'{"t":"\\ud800"}', "surrogate"),
        "a lone low surrogate": (b'{"t":"\\udc00x"}', "surrogate"),
        "surrogates in the wrong order": (b'{"t":"\\udc00\\ud800"}', "surrogate"),
        "NUL escaped": (b'{"t":"\\u0000"}', "u0000"),
        "NUL raw": (b'{"t":"\0"}', "control character"),
        "a raw line feed": (b'{"t":"a\nb"}', "control character"),
        "an unknown escape": (b'{"t":"\\x41"}', "escape"),
        "65 deep": (b'{"j":' + b"[" * 64 + b"]" * 64 + b"}", "deep"),
        "100,000 deep": (b'{"j":' + b"[" * 100000, "deep"),
        "UTF-16": ('{"n":1}'.encode("utf-16"), "line 1, column 1"),
    }
    with server.connect() as connection:
        for what, (body, place) in table.items():
            connection.send(post(body))
            answer = connection.answer()
            is_problem(answer, 400, what)
            assert place in answer.json["message"], (what, answer.json["message"])
    assert rows(server) == 0


@case("SHOP-6c values that do not fit their field are 400 and name it")
def wrong_types():
    server = things()
    table = [
        ("n", b'"x"'), ("n", b"true"), ("n", b"{}"), ("n", b"[]"), ("n", b"1.5"), ("n", b"9223372036854775808"),
        ("n", b"-1"), ("n", b"10"), ("x", b'"1x"'), ("x", b"[1]"), ("x", b"false"), ("price", b'"x"'),
        ("price", b"123456789012345678"), ("t", b"{}"), ("t", b"[]"), ("t", b'"six123"'), ("b", b'"maybe"'), ("b", b"2"),
        ("at", b'"yesterday"'), ("at", b'"2026-13-01T00:00:00Z"'), ("at", b"{}"), ("at", b"true"),
    ]
    with server.connect() as connection:
        for name, value in table:
            connection.send(post(b'{"%s":%s}' % (name.encode(), value)))
            answer = connection.answer()
            is_problem(answer, 400, (name, value))
            assert [e["property"] for e in answer.json["errors"]] == [name], (name, value, answer.json)
        for body in (b"[]", b"7", b'"x"', b"null", b"true", b""):
            connection.send(post(body))
            is_problem(connection.answer(), 400, body)
    assert rows(server) == 0


@case("SHOP-6c of a member that comes twice the last one counts")
def duplicates():
    server = things()
    answer = server.request("POST", "/things", b'{"n":1,"t":"a","n":2}', {"Content-Type": "application/json"})
    assert answer.status == 201 and (answer.json["n"], answer.json["t"]) == (2, "a"), answer


@case("SHOP-6c bodies of other types are 415; unknown paths, methods, ids and escapes have their status; the connection goes on")
def routing():
    server = things()

    def other(method, target):
        return b"%s %s HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n" % (method, target)

    types = [b"text/plain", b"application/xml", b"application/x-www-form-urlencoded", b"multipart/form-data; boundary=x",
             b"application/json-patch+json", b"application/jsonx", b"json", b"*/*"]
    table = {f"a body of {name.decode()}": (415, OPEN, post(GOOD, b"Content-Type: " + name + b"\r\n")) for name in types}
    table.update({f"GET {path}": (404, OPEN, get(path.encode())) for path in (
        "/thing", "/Things", "/things/1", "/things/9223372036854775807", "/../things", "/x/../things", "/./things",
        "//things", "/things//1", "/admin/services", "/things/search/x/y", "/" + "a/" * 100, "/%2e%2e/things")})
    table.update({f"the id {name}": (404, OPEN, get(b"/things/" + name.encode())) for name in (
        "abc", "1x", "-1", "0", "+1", "1.0", "0x1", "9223372036854775808", "%20", "1%20", "..", "%D9%A1")})
    table.update({f"the path {path}": (400, OPEN, get(path.encode())) for path in (
        "/things/%", "/things/%4", "/things/%zz", "/%00", "/things/%c0%af", "/things/%ed%a0%80", "/%ff")})
    table.update({f"{method.decode()} {target.decode()}": (405, OPEN, other(method, target)) for method, target in (
        (b"DELETE", b"/things"), (b"PUT", b"/things"), (b"TRACE", b"/things"), (b"PROPFIND", b"/things"), (b"POST", b"/things/1"))})
    table["a method that nobody knows"] = (501, CLOSED, other(b"BREW", b"/things"))
    table["a method in lower case"] = (501, CLOSED, other(b"get", b"/things"))
    try_all(server, table)
    with server.connect() as connection:
        connection.send(other(b"DELETE", b"/things"))
        assert "GET" in connection.answer().headers["Allow"]


@case("SHOP-6b after a refusal nothing more of the connection is read, whatever was pipelined before it is answered")
def pipelined():
    server = things()
    with server.connect() as connection:
        connection.send(post(GOOD) + get() + b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n" + SMUGGLED)
        assert connection.answer().status == 201
        assert connection.answer().status == 200
        is_problem(connection.answer(), 400, "the third")
        assert connection.is_closed()
    assert rows(server) == 1


@case("SHOP-6b what looks odd and is legal is served")
def legal():
    server = things()
    table = {
        "absolute-form": get(b"http://x/things"),
        "an empty line before": b"\r\n" + get(),
        "a query of escapes": get(b"/things?%zz=%"),
        "a slash behind": get(b"/things/"),
        "blanks around a value": get(headers=b"Host: \t x \t \r\n"),
        "an empty value": get(headers=b"Host: x\r\nX:\r\n"),
        "bytes beyond ASCII in a value": get(headers=b"Host: x\r\nX: caf\xe9\r\n"),
        "an offer of another protocol": get(headers=b"Host: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"),
        "a body that nobody wanted": framed(b"Content-Length: 7\r\n", GOOD, b"GET"),
        "an escaped letter": get(b"/%74hings"),
    }
    for what, data in table.items():
        with server.connect() as connection:
            connection.send(data)
            assert connection.answer().status == 200, what
            assert connection.request("GET", "/things").status == 200, what
    chunks = b"3;a;c=\"d e\"\r\n" + GOOD[:3] + b"\r\n004\r\n" + GOOD[3:] + b"\r\n000\r\nX: y\r\n\r\n"
    with server.connect() as connection:
        connection.send(framed(CHUNKED, chunks) + get())
        answer = connection.answer()
        assert answer.status == 201, answer
        assert len(connection.answer().body) > 2
    assert rows(server) == 1


@case("SHOP-6b a request that ends too early stores nothing")
def truncated():
    server = things()
    whole = post(GOOD)
    for end in range(1, len(whole)):
        with server.connect() as connection:
            connection.send(whole[:end])
            if end % 2:
                connection.sock.shutdown(socket.SHUT_WR)
                assert connection.is_closed(), end
            else:  # closed with a reset
                connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    assert rows(server) == 0


if __name__ == "__main__":
    main()
