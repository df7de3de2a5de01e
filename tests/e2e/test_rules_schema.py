# SPDX-License-Identifier: MIT
"""What becomes of tables when declarations change in a running server."""
import json
import os
import re
import sqlite3
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import Server, case, command, eventually, main, temp_dir, write_files  # noqa: E402

SYSTEM = "systems/lab.lua"
NOTES = "routes/lab/notes.lua"
SLOW = "routes/lab/slow.lua"


def notes(*fields, more=""):
    lines = "".join(f"      {field},\n" for field in fields)
    return f"""return {{
  resource "notes" {{
    service = "lab",
    fields = {{
{lines}    }},
{more}  }},
}}
"""


# Writes after a while, as a generation that is on its way out does.
def slow(field):
    return f"""return route "slow" {{ service = "lab", method = "POST", path = "/slow",
  handle = function()
    log.info("asleep")
    task.sleep("1s")
    local made = store.create("notes", {{ {field} = "by the old one" }})
    return {{ id = made.id, said = store.get("notes", made.id).{field} }}
  end }}
"""


def lab(*fields, more="", **files):
    folder = temp_dir()
    write_files(folder, {SYSTEM: "return { services = { lab = {} } }\n", NOTES: notes(*fields, more=more), **files})
    return Server("lab", scripts=folder)


def reload(server, query=""):
    answer = server.admin("POST", "/admin/reload" + query)
    assert answer.status == 200, answer
    return answer.json


def refused(server, query=""):
    answer = server.admin("POST", "/admin/reload" + query)
    assert answer.status == 422, answer
    return answer.json["errors"][0]


def put(server, *fields, more="", **files):
    write_files(server.scripts, {NOTES: notes(*fields, more=more), **files})


def create(server, row):
    answer = server.request("POST", "/notes", row)
    assert answer.status == 201, answer
    return answer.json


def rows(server):
    return server.rows("/notes")


@case("RULES-3c renamed_from keeps the values, while the old generation still writes by the old name, and back again")
def renamed():
    server = lab('text "what" { index = true }', "integer \"n\"", **{SLOW: slow("what")})
    create(server, {"what": "first", "n": 1})
    answers = []
    late = threading.Thread(target=lambda: answers.append(server.request("POST", "/slow")))
    late.start()
    eventually(lambda: any(line.get("msg") == "asleep" for line in server.logs), "the old generation is at work")
    put(server, 'text "title" { index = true, renamed_from = "what" }', 'integer "n"', **{SLOW: slow("title")})
    dry = reload(server, "?dry_run=true")["changes"]
    assert dry == ["rename notes.what to title"], dry
    assert reload(server)["changes"] == dry
    assert rows(server)[0] == {"id": 1, "title": "first", "n": 1}, rows(server)
    create(server, {"title": "by the new one"})
    late.join(20)
    assert answers and answers[0].status == 200 and answers[0].json["said"] == "by the old one", answers
    assert [row["title"] for row in rows(server)] == ["first", "by the old one", "by the new one"] or \
        [row["title"] for row in rows(server)] == ["first", "by the new one", "by the old one"], rows(server)
    server.restart()
    assert rows(server)[0]["title"] == "first", rows(server)
    activated = server.admin("POST", "/admin/generations/1/activate")
    assert activated.status == 200 and activated.json["changes"] == [], activated
    assert rows(server)[0] == {"id": 1, "what": "first", "n": 1}, rows(server)
    assert {row["what"] for row in rows(server)} == {"first", "by the old one", "by the new one"}, rows(server)


@case("RULES-3d a changed type and a unique key over equal rows are 422 with the line of the field, dry or not")
def refusals():
    server = lab('text "what"', 'integer "n"')
    for _ in range(2):
        create(server, {"what": "same", "n": 1})
    for query in ("?dry_run=true", ""):
        put(server, 'text "what"', 'text "n"')
        error = refused(server, query)
        assert error["file"] == "scripts/" + NOTES and error["line"] == 6, error
        assert "declared as text, stored as integer" in error["message"], error
        put(server, 'text "what" { unique = true }', 'integer "n"')
        error = refused(server, query)
        assert error["file"] == "scripts/" + NOTES and error["line"] == 5, error
        assert "unique (what) is declared, but rows with equal values exist" in error["message"], error
        put(server, 'text "what"', 'integer "n"', more='    unique = { "what", "n" },\n')
        error = refused(server, query)
        assert error["file"] == "scripts/" + NOTES and error["line"] == 8, error
    create(server, {"what": "same", "n": 1})  # nothing of it stayed
    assert server.admin("GET", "/admin/generations").json["generations"][0]["number"] == 1


@case("RULES-3e a row that only the new generation's key forbids is 409 `exists` for a request of the old one")
def newer_key():
    server = lab('text "what"', **{SLOW: slow("what")})
    answers = []
    late = threading.Thread(target=lambda: answers.append(server.request("POST", "/slow")))
    late.start()
    eventually(lambda: any(line.get("msg") == "asleep" for line in server.logs), "the old generation is at work")
    put(server, 'text "what" { unique = true }')
    reload(server)
    create(server, {"what": "by the old one"})
    late.join(20)
    assert answers and answers[0].status == 409 and answers[0].json["code"] == "exists", answers
    assert len(rows(server)) == 1, rows(server)


def schema(server, *args, code=0):
    done = command("schema", *args, "--data", server.data)
    assert done[0] == code, done
    return done[1] if code == 0 else done[2]


STAMPS = """return resource "stamps" { service = "lab", fields = { text "colour" } }
"""


@case("RULES-3f schema show: tables, columns, types, hidden ones, indexes, rows, while the server runs and when it is gone")
def show():
    server = lab('text "what" { unique = true }', 'decimal(2) "n"', **{"routes/lab/stamps.lua": STAMPS})
    for what in ("a", "b"):
        create(server, {"what": what, "n": 1.5})
    os.remove(os.path.join(server.scripts, "routes/lab/stamps.lua"))
    put(server, 'text "title" { renamed_from = "what", unique = true }', 'text "more"')
    reload(server)
    expected = {"generation": 2, "tables": [
        {"table": "lab.notes", "rows": 2, "hidden": False, "columns": [
            {"name": "title", "column": "what", "type": "text", "hidden": False},
            {"name": "n", "column": "n", "type": "decimal(2)", "hidden": True},
            {"name": "more", "column": "more", "type": "text", "hidden": False}],
         "indexes": [{"fields": ["title"], "unique": True}]},
        {"table": "lab.stamps", "rows": 0, "hidden": True, "columns": [
            {"name": "colour", "column": "colour", "type": "text", "hidden": True}], "indexes": []}]}
    assert json.loads(schema(server, "show", "-o", "json")) == expected
    assert server.stop() == 0
    assert json.loads(schema(server, "show", "-o", "json")) == expected
    text = schema(server, "show")
    assert re.search(r"^lab.notes +2 rows$", text, re.M) and re.search(r"decimal\(2\) +n +hidden$", text, re.M), text
    assert re.search(r"text +title +column what$", text, re.M) and re.search(r"unique +title$", text, re.M), text
    assert "lab.stamps" in text and "0 rows, hidden" in text, text
    assert "there is no data" in command("schema", "show", "--data", server.data + "-not")[2]


def ask(path, sql):
    connection = sqlite3.connect(path)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


@case("RULES-3g schema prune drops what is hidden, only offline and after a backup, and says so first")
def prune():
    server = lab('text "what"', "integer \"n\" { index = true }", **{"routes/lab/stamps.lua": STAMPS})
    create(server, {"what": "kept", "n": 7})
    assert server.request("POST", "/stamps", {"colour": "blue"}).id == 1
    os.remove(os.path.join(server.scripts, "routes/lab/stamps.lua"))
    put(server, 'text "title" { renamed_from = "what" }')
    reload(server)
    backup = os.path.join(temp_dir(), "before.db")
    assert "wants the server stopped" in schema(server, "prune", "--backup", backup, code=1)
    assert not os.path.exists(backup)
    assert server.stop() == 0
    data = os.path.join(server.data, "moontide.db")
    assert "needs --backup" in schema(server, "prune", code=2)
    said = schema(server, "prune", "--dry-run").splitlines()
    assert said == ["would drop column lab.notes.n (1 rows)", "would drop table lab.stamps (1 rows)"], said
    with open(backup, "w", encoding="utf-8") as file:
        file.write("somebody's")
    assert "is there already" in schema(server, "prune", "--backup", backup, code=1)
    assert ask(data, 'SELECT what, n FROM "lab.notes"') == [("kept", 7)]
    os.remove(backup)
    done = json.loads(schema(server, "prune", "--backup", backup, "-o", "json"))
    assert done == {"dry_run": False, "dropped": ["column lab.notes.n (1 rows)", "table lab.stamps (1 rows)"]}, done
    assert ask(data, 'SELECT what FROM "lab.notes"') == [("kept",)]
    assert ask(data, "SELECT name FROM pragma_table_info('lab.notes')") == [("id",), ("_version",), ("what",)]
    assert ask(data, "SELECT count(*) FROM sqlite_schema WHERE name='lab.stamps'") == [(0,)]
    assert ask(backup, 'SELECT what, n FROM "lab.notes"') == [("kept", 7)]
    assert ask(backup, 'SELECT colour FROM "lab.stamps"') == [("blue",)]
    assert "nothing to drop" in schema(server, "prune", "--backup", backup)
    server.start()
    assert rows(server) == [{"id": 1, "title": "kept"}], rows(server)
    write_files(server.scripts, {"routes/lab/stamps.lua": STAMPS})
    put(server, 'text "title" { renamed_from = "what" }', 'text "n"')  # of another type than the one that is gone
    reload(server)
    assert server.rows("/stamps") == []
    assert server.request("POST", "/stamps", {"colour": "red"}).id > 1  # an id is never used again


if __name__ == "__main__":
    main()
