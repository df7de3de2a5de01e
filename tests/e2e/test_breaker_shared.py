# SPDX-License-Identifier: MIT
"""Calls made once for several, in a process that reloads: a generation shares nothing with the one before it."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import Server, case, eventually, main, temp_dir, write_files  # noqa: E402


def tree(name, waits):
    """Two ways to one call, whose result names the generation; it waits until the cache says go."""
    wait = "while not cache.get('go') do task.sleep(5) end" if waits else ""
    return {
        "systems/t.lua": 'return { services = { "a" }, breakers = { guard = { timeout_enabled = false, limit = 100 } } }',
        "routes/t/a.lua": f"""
            local guard = breaker "guard"
            local function one()
              cache.add("began", 1)
              {wait}
              return "{name}"
            end
            local batched = guard:collapser {{ scope = "worker", wait = 1, body = function(list)
              return {{ one(), table.unpack(list) }}
            end }}
            local function get(path, handle)
              return route(path) {{ service = "a", method = "GET", path = path, handle = function(request)
                cache.add("asked", 1)
                return handle(request)
              end }}
            end
            return {{
              get("/go", function() cache.set("go", true) end),
              get("/coalesced", function()
                return {{ by = guard:call(one, {{ cache_key = "k", coalesce = true }}) }}
              end),
              get("/batched", function() return {{ by = batched("k") }} end),
              route "counts" {{ service = "a", method = "GET", path = "/counts", handle = function()
                return {{ asked = cache.get("asked") or 0, began = cache.get("began") or 0 }}
              end }},
            }}"""}


def stays_apart(path):
    """Two requests share a call; a reload; a third one, which must make its own."""
    scripts = os.path.join(temp_dir(), "scripts")
    write_files(scripts, tree("old", waits=True))
    server = Server("t", scripts=scripts, args=["--workers", "1"])

    def counts():
        return server.request("GET", "/counts").json
    with server.connect() as first, server.connect() as second:
        first.send_request("GET", path)
        second.send_request("GET", path)
        eventually(lambda: counts()["asked"] == 2 and counts()["began"] >= 1, "both wait for one call")
        began = counts()["began"]
        write_files(scripts, tree("new", waits=False))
        assert server.admin("POST", "/admin/reload").status == 200
        assert server.request("GET", path).json == {"by": "new"}
        assert counts()["began"] == began + 1
        assert server.request("GET", "/go").status == 200
        assert [first.answer().json, second.answer().json] == [{"by": "old"}, {"by": "old"}]


@case("BREAKER-6g a coalesced call under way in an old generation is shared by its own requests, by none of the new one")
def coalesced():
    stays_apart("/coalesced")


@case("BREAKER-6g a batch under way in an old generation takes nobody of the new one along")
def batched():
    stays_apart("/batched")


if __name__ == "__main__":
    main()
