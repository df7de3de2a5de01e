# SPDX-License-Identifier: MIT
"""What an operator does lies in the log as events of the host, and policies may react to it."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import Server, case, eventually, main, temp_dir, write_files  # noqa: E402

TREE = {
    "systems/desk.lua": "return { services = { desk = {} } }\n",
    "routes/desk/desk.lua": """return {
  event "Wished" { service = "desk", key = { wish = "id" }, fields = { integer "id" } },
  resource "wishes" { service = "desk", fields = { text "what" }, on_create = function(w) bus.emit("Wished", w) end },
  resource "notes" { service = "desk", fields = { integer "number" } },
}
""",
    "policies/desk/refuse.lua": """return policy "refuse" { service = "desk", on = "Wished",
  handle = function() fail(422, "no") end }
""",
    "policies/desk/notes.lua": """return policy "notes" { service = "desk",
  on = "GenerationActivated", handle = function(event) store.create("notes", { number = event.generation }) end }
""",
}


def desk():
    folder = temp_dir()
    write_files(folder, TREE)
    return Server("desk", scripts=folder)


def own(server):
    return server.events(service="moontide")


@case("SHOP-7f what an operator does is in the log as events of service moontide, listed only when asked for")
def listed_when_asked():
    server = desk()
    assert server.request("POST", "/wishes", {"what": "x"}).status == 201
    letter = eventually(lambda: server.admin("GET", "/admin/letters").json["letters"], "a letter")[0]["id"]
    assert server.admin("POST", "/admin/reload", headers={"X-Correlation-Id": "by-me"}).status == 200
    assert server.admin("POST", f"/admin/letters/{letter}/retry").status == 202
    assert server.admin("DELETE", f"/admin/letters/{letter}", headers={"X-Correlation-Id": "by-me"}).status == 204
    log = eventually(lambda: len(own(server)) == 3 and own(server), "three events of the host")
    assert [e["type"] for e in log] == ["GenerationActivated", "LetterRetried", "LetterDiscarded"], log
    assert [e["key"] for e in log] == ["generation/2", f"letter/{letter}", f"letter/{letter}"], log
    assert {"generation": 2, "previous": 1, "origin": "reload"}.items() <= log[0]["payload"].items(), log[0]
    assert log[2]["correlationId"] == "by-me", log[2]
    assert [e["type"] for e in server.events()] == ["Wished"]
    assert [e["key"] for e in server.events(type="LetterDiscarded")] == [f"letter/{letter}"]


@case("SHOP-7f a policy reacts to an event of the host, once each, over a restart too")
def policies_react():
    server = desk()
    for _ in range(3):
        assert server.admin("POST", "/admin/reload").status == 200
    eventually(lambda: len(server.rows("/notes")) == 3, "three notes")
    server.restart()
    assert server.admin("POST", "/admin/reload").status == 200
    eventually(lambda: len(server.rows("/notes")) == 4, "a fourth note")
    numbers = sorted(n["number"] for n in server.rows("/notes"))
    assert numbers == sorted(e["payload"]["generation"] for e in own(server)), numbers


if __name__ == "__main__":
    main()
