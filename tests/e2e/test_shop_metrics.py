# SPDX-License-Identifier: MIT
"""GET /metrics: read strictly, and every number against what was done."""
import os
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from exposition import Malformed, parse  # noqa: E402
from harness import Server, case, eventually, main, request, temp_dir, write_files  # noqa: E402

ORDER = {"bookId": 10, "qty": 1, "customerId": 1002}
DURATION = "http_server_request_duration_seconds"


def metrics(server):
    answer = request(server.admin_address, "GET", "/metrics")
    assert answer.status == 200 and answer.headers["content-type"].startswith("text/plain; version=0.0.4"), answer
    return parse(answer.text)


def count(found, method, route, status):
    return found[DURATION].sum("_count", http_request_method=method, http_route=route,
                               http_response_status_code=str(status))


@case("SHOP-4f the test's reader of the exposition format refuses what is malformed")
def strict():
    good = '# HELP a_total b\n# TYPE a_total counter\na_total{x="1\\n\\"",y=""} 1\n'
    assert parse(good)["a_total"].value(x='1\n"', y="") == 1
    head = "# HELP a b\n# TYPE a gauge\n"
    buckets = '# HELP h b\n# TYPE h histogram\nh_bucket{le="1"} 2\nh_bucket{le="+Inf"} 2\nh_sum 1\nh_count 2\n'
    assert parse(buckets)["h"].value("_count") == 2
    for bad in (good[:-1], "a 1\n", head + "b 1\n", head + "a 1\na 1\n", head + "a one\n", head + 'a{x="1",} 1\n',
                head + 'a{x="1" y="2"} 1\n', head + "a  1\n", head + head, "# TYPE a gauge\na 1\n", head + "\n",
                "# HELP a b\n# TYPE a counter\na 1\n", buckets.replace("h_sum 1\n", ""),
                buckets.replace('"1"} 2', '"1"} 3'), buckets.replace("h_count 2", "h_count 3")):
        try:
            parse(bad)
        except Malformed:
            continue
        raise AssertionError(f"taken for good: {bad!r}")


@case("SHOP-4f requests are counted by method, route template and status, over all workers")
def requests():
    server = Server("bookmarket", args=["--workers", "2"])
    before = metrics(server)
    assert before[DURATION].sum("_count") == 0
    for _ in range(7):
        assert server.request("POST", "/orders", ORDER).status == 201
    for number in range(1, 6):
        assert server.request("GET", f"/orders/{number}").status == 200
    assert server.request("GET", "/orders/999999").status == 404
    assert server.request("GET", "/orders").status == 200
    assert server.request("POST", "/orders", "{", {"Content-Type": "application/json"}).status == 400
    assert server.request("GET", "/no/such/path").status == 404
    assert server.request("DELETE", "/orders").status == 405
    assert server.request("BREW", "/orders").status in (405, 501, 400)
    found = metrics(server)
    expected = {("POST", "/orders", 201): 7, ("GET", "/orders/{id}", 200): 5, ("GET", "/orders/{id}", 404): 1,
                ("GET", "/orders", 200): 1, ("POST", "/orders", 400): 1, ("GET", "", 404): 1, ("DELETE", "", 405): 1}
    for (method, route, status), number in expected.items():
        assert count(found, method, route, status) == number, (method, route, status, found[DURATION].samples)
    known = {(l["http_request_method"], l["http_route"], int(l["http_response_status_code"]))
             for _, l, _ in found[DURATION].samples}
    assert {k for k in known if k[0] != "_OTHER"} == set(expected), known
    assert all(v == 0 for _, _, v in found["http_server_active_requests"].samples)
    edges = [l["le"] for n, l, _ in found[DURATION].samples if n.endswith("_bucket") and l["http_route"] == "/orders/{id}"
             and l["http_response_status_code"] == "404"]
    assert edges == ["0.005", "0.01", "0.025", "0.05", "0.075", "0.1", "0.25", "0.5", "0.75", "1", "2.5", "5", "7.5",
                     "10", "+Inf"], edges


@case("SHOP-4f a request's duration lies in its bucket, and while it waits it is active")
def duration():
    server = Server("bookmarket")
    assert server.admin("PUT", "/admin/faults", {"payment": {"delay_ms": 300}}).status == 200
    answers = []
    thread = threading.Thread(target=lambda: answers.append(server.request("GET", "/payments/1")))
    thread.start()
    active = eventually(lambda: metrics(server)["http_server_active_requests"].value(http_request_method="GET"),
                        "the request is active")
    thread.join(30)
    assert active == 1 and answers[0].status == 404, (active, answers)
    found = metrics(server)
    labels = {"http_request_method": "GET", "http_route": "/payments/{id}", "http_response_status_code": "404"}
    assert found[DURATION].value("_bucket", le="0.25", **labels) == 0
    assert found[DURATION].value("_count", **labels) == 1 and found[DURATION].value("_sum", **labels) >= 0.3
    assert found["http_server_active_requests"].value(http_request_method="GET") == 0


@case("SHOP-4f a list that is streamed is counted once, also when its reader goes away")
def streamed():
    folder = temp_dir()
    write_files(folder, {
        "systems/wide.lua": "return { services = { wide = {} } }\n",
        "routes/wide/things.lua": """return {
  resource "things" { service = "wide", fields = { text "what" } },
  route "fill" { service = "wide", method = "POST", path = "/fill", handle = function()
    local text = string.rep("x", 4000)
    for i = 1, 900 do store.create("things", { what = text }) end
    return { done = true }
  end },
}
"""})
    server = Server("wide", scripts=folder)
    answer = server.request("POST", "/fill", {})
    assert answer.status == 200, answer
    answer = server.request("GET", "/things?size=1000")
    assert answer.status == 200 and len(answer.json["_embedded"]["things"]) == 900
    assert count(metrics(server), "GET", "/things", 200) == 1
    connection = server.connect()
    connection.send_request("GET", "/things?size=1000")
    connection.close()
    eventually(lambda: count(metrics(server), "GET", "/things", 200) == 2, "the one that went is counted")
    assert metrics(server)["http_server_active_requests"].value(http_request_method="GET") == 0


@case("SHOP-4f what the process takes has the usual names")
def process():
    server = Server("bookmarket")
    began = time.time()
    found = metrics(server)
    with open(f"/proc/{server.process.pid}/status", encoding="utf-8") as file:
        status = dict(line.split(":", 1) for line in file)
    resident = int(status["VmRSS"].split()[0]) * 1024
    assert resident / 2 < found["process_resident_memory_bytes"].value() < resident * 2
    assert found["process_virtual_memory_bytes"].value() > found["process_resident_memory_bytes"].value()
    descriptors = len(os.listdir(f"/proc/{server.process.pid}/fd"))
    assert abs(found["process_open_fds"].value() - descriptors) <= 2, descriptors
    assert found["process_max_fds"].value() > descriptors
    assert 0 < began - found["process_start_time_seconds"].value() < 300
    assert found["process_cpu_seconds_total"].value() > 0
    version = server.admin("GET", "/admin/status").json["version"]
    assert found["moontide_info"].value(system="bookmarket", version=version) == 1
    assert found["moontide_store_bytes"].value(file="db") == os.path.getsize(os.path.join(server.data, "moontide.db"))
    assert found["moontide_store_bytes"].value(file="wal") > 0 and found["moontide_generation"].value() == 1


@case("SHOP-4f policies, letters, services, commits and events are counted")
def policies():
    server = Server("bookmarket")
    policy = {"service": "delivery", "policy": "delivery starts when paid"}
    assert server.admin("POST", "/admin/services/delivery/stop").status == 200
    assert server.request("POST", "/orders", ORDER).status == 201
    found = eventually(lambda: (
        lambda m: m["moontide_policy_behind"].value(**policy) > 0 and m["moontide_commit_queue"].value() == 0 and m)(
        metrics(server)), "delivery is behind, and nothing waits for its commit")
    assert found["moontide_service_up"].value(service="delivery") == 0
    assert found["moontide_service_up"].value(service="order") == 1
    assert found["moontide_letters"].value(**policy) == 0 and found["moontide_policy_held"].value(**policy) == 0
    assert found["moontide_commits_total"].sum() >= 1
    assert server.admin("POST", "/admin/services/delivery/start").status == 200
    found = eventually(lambda: (
        lambda m: m["moontide_policy_behind"].value(**policy) == 0 and m["moontide_events_total"].value() == 6 and m)(
            metrics(server)), "delivery has caught up: four events of the order, the stop and the start")
    assert found["moontide_breaker_state"].value(breaker="payment", state="closed") == 1
    assert found["moontide_deliveries_total"].sum() >= 4
    assert found["moontide_commit_to_handler_seconds"].value("_count") >= 1


if __name__ == "__main__":
    main()
