# SPDX-License-Identifier: MIT
# timeout: 400
"""README and the guides are true: what they tell to type is typed, what they show is what comes.

A page is read from top to bottom in a fresh copy of scripts/, by the rules that a reader follows:

    ```sh       run line by line, but for the lines of NOT_TYPED; `./dev run` and `moontide run` start the server
    ```         after sh: the output. Else: lines of the log ({"ts":...), or a part of what was printed before
    ```diff     is applied to the script that was named last, and saved
    ```lua      after "Make `FILE`" or "Save this as `FILE`" is that file; after any other naming of a file, a quotation of it
    <!-- undo --> takes the last change back
    other       is there to be read: a kind of block that READ_ONLY does not have fails
    indented    lines of what the last commands printed, shortened; else NOT_SHOWN has its first line

Times, correlation ids, ports and durations differ; all else must be as shown. What only reads is asked again until it
shows what the page shows: effects of events come a little later.
"""
import glob
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import ROOT, Server, binary, case, environment, main, temp_dir  # noqa: E402

# Lines that are not run, and why. A word of ./dev must be one that `./dev help` has.
NOT_TYPED = {
    "git clone URL-OF-THIS-REPOSITORY moontide": "a network; the reader is in a checkout",
    "cd moontide": "the reader is there",
    "./dev test            # everything, under the address, undefined-behaviour and thread sanitizers": "runs this test",
    "./dev test --quick    # unit tests, specs and lint": "a part of the run that this one is a part of",
    "./dev test PATH-7a    # the cases whose name has this in it": "likewise",
    "./dev test --list     # every case with its last result": "likewise",
}
OUTSIDE = re.compile(r"\b(sudo|apt|apt-get|git|systemctl|pip|npm|docker|wget|useradd)\b|https?://(?!127\.0\.0\.1|localhost)|[ =](/|~)\w")
NOT_SHOWN = {
    "# useradd --system --home /var/lib/moontide moontide": "root, and a user of the machine",
    "[Unit]": "a file for systemd; its command line is that of `moontide help run`",
    "# journalctl -u moontide -o cat | jq -r 'select(.level == \"error\") | [.ts, .msg, .script, .line, .error] | @tsv'": "systemd",
    "BREAKER          STATE   SUCCESS  FAILURE  TIMEOUT  REFUSED  LIMITED  IN FLIGHT": "counts of the last ten seconds",
    "moontide: data folder is in use by process 27291 (data/bookmarket/moontide.lock); stop it, or name another folder with "
    "--data DIR": "a process that the page does not start",
}
READ_ONLY = {"java": "Hystrix' side of a comparison", "mermaid": "a picture"}

FILE = re.compile(r"`((?:scripts|tests)/[\w./-]+\.lua)`")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$|^<!-- (undo) -->$|(?<=\n\n)((?:^    [^\n]*\n|\n(?=    ))+)", re.MULTILINE | re.DOTALL)
WRITES = re.compile(r"\bcurl\b.* (-d|-X (?!GET))|\b(stop|start|set|retry|discard|activate|reload|rebuild|backup|init)\b|=\$\(|kill")
SILENT = re.compile(WRITES.pattern + r"|\brun\b")  # may print nothing
VOLATILE = [
    (re.compile(r"\b\d{4}-\d\d-\d\dT[\d:.]+(Z|\+0000)"), "TIME"),
    (re.compile(r"\b\w{3}, \d\d \w{3} \d{4} [\d:]+ GMT"), "TIME"),
    (re.compile(r'"timestamp":"\d{14}"'), '"timestamp":"TIME"'),
    (re.compile(r"\b[0-9a-f]{16}\b"), "CORRELATION"),
    (re.compile(r"\b\d+ ms\b(?! of CPU)"), "N ms"),
    (re.compile(r"\b\d+ files\b"), "N files"),
    (re.compile(r"/mypages/\d+"), "/mypages/N"),  # a view in memory: its ids are of one run
    (re.compile(r"\btime = \d{13}\b"), "time = TIME"),
    (re.compile(r'"seq":\d+'), '"seq":N'),
    (re.compile(r"[ \t\r]+"), " "),
]


def plain(text):
    """What is compared: lines without what differs from run to run."""
    for pattern, replacement in VOLATILE:
        text = pattern.sub(replacement, text)
    return [line.strip() for line in text.strip().split("\n")]


def free_port(taken=()):
    """One of four digits, as in the pages: Content-Length counts them."""
    for port in range(7001 + os.getpid() % 900, 9990):
        with socket.socket() as probe:
            try:
                if port not in (8088, 8090, *taken):
                    probe.bind(("127.0.0.1", port))
                    return port
            except OSError:
                continue
    raise AssertionError("no free port of four digits")


class Reader:
    """Somebody who follows a page."""

    def __init__(self):
        self.folder = temp_dir()
        shutil.copytree(os.path.join(ROOT, "scripts"), os.path.join(self.folder, "scripts"))
        os.mkdir(os.path.join(self.folder, "build"))
        os.symlink(binary(), os.path.join(self.folder, "build/moontide"))
        gateway = free_port()
        self.ports = [("8088", str(gateway)), ("8090", str(free_port((gateway,))))]
        self.server, self.settings, self.printed, self.undo, self.asked, self.since = None, [], [], [], [], 0

    # -- the server ----------------------------------------------------------------------------------------------

    def run_server(self, args):
        if self.server and self.server.running():
            self.server.stop()
        system = next((word for word in args if re.fullmatch(r"[a-z][a-z-]*", word)), "bookmarket")
        if not self.server or self.server.system != system:
            self.server = Server(system, data=os.path.join(self.folder, "data", system), cwd=self.folder, wait=False,
                                 start=False)
        self.server.args = [*self.addresses(), *(word for word in args if word != system)]
        self.server.start()

    def addresses(self):
        return ["--listen", f"127.0.0.1:{self.ports[0][1]}", "--admin", f"127.0.0.1:{self.ports[1][1]}"]

    def wait_reload(self, count):
        def seen():
            return [e for e in self.server.logs if e.get("msg") in ("generation is live", "reload failed, nothing changed")]
        if self.server and self.server.running():
            self.until(lambda: len(seen()) > count or None, "the save is noticed")

    def reloads(self):
        return sum(e.get("msg") in ("generation is live", "reload failed, nothing changed")
                   for e in (self.server.logs if self.server else []))

    # -- what is typed -------------------------------------------------------------------------------------------

    def type(self, line, is_shown):
        """One command line: what it prints, in the words of the page. It must succeed unless the page shows how it fails."""
        for page, here in self.ports:
            line = line.replace(f":{page}", f":{here}")
        words = line.split()
        if line in NOT_TYPED:
            if words[0] == "./dev":
                shown = subprocess.run(["./dev", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
                assert f"./dev {words[1]}" in shown, f"./dev help does not know: {line}"
            return ""
        outside = OUTSIDE.search(line.replace("/dev/null", ""))
        assert not outside, f"this leaves the folder of the page; if it must, NOT_TYPED names it and says why: {line}"
        if words[1:2] == ["run"]:
            if not (self.server and self.server.running()):
                self.run_server((["--watch"] if words[0] == "./dev" else []) + words[2:])
                return ""
            line += " " + " ".join(self.addresses())
        path = os.path.join(self.folder, "build") + ":" + os.environ["PATH"]
        done = subprocess.run(["bash", "-c", "\n".join([*self.settings, line])], cwd=self.folder, text=True, timeout=60,
                              capture_output=True, env={**environment(), "PATH": path}, check=False)
        assert "Sanitizer" not in done.stderr, done.stderr
        assert is_shown or done.returncode == 0, f"$ {line}\nends with {done.returncode}:\n{done.stdout}{done.stderr}"
        if re.match(r"\w+=", line):
            self.settings.append(line)
        if re.match(r"kill\b", line):
            self.server.wait_exit()
        text = done.stdout + "".join(l for l in done.stderr.splitlines(True) if l.startswith("moontide: "))
        for page, here in self.ports:
            text = text.replace(f":{here}", f":{page}")
        self.printed.append(text)
        return text

    def until(self, attempt, what, seconds=25):
        deadline = time.monotonic() + seconds
        while (value := attempt()) is None:
            assert time.monotonic() < deadline, what() if callable(what) else f"not within {seconds} s: {what}"
            time.sleep(0.05)
        return value

    def commands(self, text, expected):
        """Types the lines of a block; with expected, what they print is the next lines of it."""
        left = plain(expected) if expected is not None else None
        self.asked, self.since = [], len(self.printed)
        typed = [line for line in text.replace("\\\n", " ").splitlines() if line.strip() and not line.startswith("#")]
        for number, line in enumerate(typed, 1):
            if not WRITES.search(line):
                self.asked.append(line)
            shown = ""

            def attempt(line=line, is_last=number == len(typed)):
                nonlocal shown
                try:
                    shown = self.type(line, left is not None)
                except AssertionError as error:  # what only reads may have come too early
                    assert not WRITES.search(line), error
                    shown = str(error)
                    return None
                lines = plain(shown) if shown.strip() else []
                if left is None or lines == left[:None if is_last else len(lines)] and (lines or SILENT.search(line)):
                    return lines
                assert not WRITES.search(line), f"$ {line}\n{shown}\nbut the page shows\n" + "\n".join(left)
                return None
            lines = self.until(attempt, lambda line=line: f"$ {line}\n{shown}\nbut the page shows\n" +
                               "\n".join(left or []))  # noqa: B023
            if left is not None:
                left = left[len(lines):]

    # -- what is read --------------------------------------------------------------------------------------------

    def shown(self, text):
        """A block that is not the output of the commands right before it."""
        if text.startswith('{"ts"'):
            for line in text.strip().splitlines():
                wanted = self.log_line(json.loads(line))
                self.until(lambda wanted=wanted: any(wanted.items() <= self.log_line(e).items()
                                                     for e in self.server.logs) or None, f"in the log: {line}")
            return
        wanted = "\n".join(plain(text))

        def known():
            everything = "\n".join(self.printed) + (self.server.stderr() if self.server else "")
            return wanted in "\n".join(plain(everything)) or None
        self.until(known, f"this was printed:\n{text}")

    def shortened(self, text):
        """Lines of what the last commands printed, in their order; some are left out."""
        lines = plain(text)
        if text.strip().split("\n")[0] in NOT_SHOWN:
            return

        def found():
            printed = iter(plain("\n".join(self.printed[self.since:])))
            if all(line in printed for line in lines):
                return True
            for line in self.asked:
                self.type(line, True)
            return None
        self.until(found, lambda: f"this was not printed:\n{text}only\n" + "\n".join(self.printed[-3:]))

    def log_line(self, entry):
        text = json.dumps({k: v for k, v in entry.items() if k not in ("ts", "correlationId", "seq", "took_ms")})
        for page, here in self.ports:
            text = text.replace(f":{here}", f":{page}")
        return {k: json.dumps(v) for k, v in json.loads("\n".join(plain(text))).items()}

    # -- what is edited ------------------------------------------------------------------------------------------

    def save(self, name, text):
        path, before = os.path.join(self.folder, name), None
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                before = file.read()
        count = self.reloads()
        if text is None:
            os.remove(path)
        else:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path + ".new", "w", encoding="utf-8") as file:
                file.write(text)
            os.replace(path + ".new", path)
        if name.startswith("scripts/"):
            self.wait_reload(count)
        return name, before

    def read(self, name):
        with open(os.path.join(self.folder, name), encoding="utf-8") as file:
            return file.read()

    def patch(self, name, diff):
        lines = diff.splitlines()
        old = "".join(line[1:] + "\n" for line in lines if not line.startswith("+"))
        new = "".join(line[1:] + "\n" for line in lines if not line.startswith("-"))
        text = self.read(name)
        assert text.count(old) == 1, f"{name} does not have once:\n{old}it is:\n{text}"
        self.undo.append(self.save(name, text.replace(old, new)))

    def quoted(self, name, text):
        wanted = "\n".join(line.strip() for line in text.strip().splitlines())
        assert wanted in "\n".join(line.strip() for line in self.read(name).splitlines()), f"{name} is not:\n{text}"

    def follow(self, page):
        """Reads a page to its end."""
        with open(os.path.join(ROOT, page), encoding="utf-8") as file:
            text = file.read()
        blocks = list(BLOCK.finditer(text))
        skip = None
        for index, block in enumerate(blocks):
            kind, body, undo, indented = block.groups()
            before = text[:block.start()]
            paragraph = before.rstrip().rpartition("\n\n")[2]
            where = f"{page}:{before.count(chr(10)) + 1}"
            try:
                if indented:
                    self.shortened(indented)
                elif undo:
                    self.save(*self.undo.pop())
                elif kind == "sh":
                    after = blocks[index + 1] if index + 1 < len(blocks) else None
                    shows = after and after.group(1) == "" and not after.group(3) and \
                        not text[block.end():after.start()].strip()
                    skip = after if shows else None
                    self.commands(body, after.group(2) if shows else None)
                elif kind == "diff":
                    self.patch([name for name in FILE.findall(before) if name.startswith("scripts/")][-1], body)
                elif kind == "lua" and FILE.search(paragraph):
                    name = FILE.findall(paragraph)[-1]
                    if re.search(r"\b(Make|Save this as)\s`", paragraph):
                        self.undo.append(self.save(name, body))
                    else:
                        self.quoted(name, body)
                elif kind == "":
                    if block is not skip:
                        self.shown(body)
                else:
                    assert kind == "lua" or kind in READ_ONLY, f"what is a block of {kind}?"
            except AssertionError as error:
                raise AssertionError(f"{where}: {error}\n{self.server.tail() if self.server else ''}") from None


def pages(pattern):
    return sorted(os.path.relpath(path, ROOT) for path in glob.glob(os.path.join(ROOT, pattern)))


@case("SHOP-9a README: every command runs and prints what is shown", seconds=120)
def readme():
    Reader().follow("README.md")


@case("SHOP-9a guides 1 and 2, one after the other in one shop: every command, edit and output", seconds=120)
def first_guides():
    reader = Reader()
    for page in pages("docs/guide/0[12]-*.md"):
        reader.follow(page)


@case("SHOP-9a every other guide, each in a shop of its own", seconds=240)
def other_guides():
    for page in sorted({*pages("docs/guide/*.md")} - {*pages("docs/guide/0[12]-*.md")}):
        Reader().follow(page)


@case("SHOP-9a the systems' pages: their walks by curl", seconds=120)
def systems():
    for page in pages("docs/systems/*.md"):
        Reader().follow(page)


if __name__ == "__main__":
    main()
