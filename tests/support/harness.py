# SPDX-License-Identifier: MIT
"""What end-to-end and fault tests stand on: a real server process, plain sockets, bounded waiting.

    import os, sys
    sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
    from harness import Server, case, eventually, main, request

    @case("PATH-6a an order is answered with 201")
    def order():
        server = Server("bookmarket")
        assert server.request("POST", "/orders", {"bookId": 10, "qty": 1, "customerId": 7}).status == 201

    if __name__ == "__main__":
        main()

Servers and folders of a case go away with it; a sanitizer's report on a server's stderr fails the case.
"""
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time

from tap import at_end, case, main, note, rng, skip  # noqa: F401 (handed on to the tests)
from wire import Answer, Connection, Headers, request, row_of, stream_lines  # noqa: F401 (likewise)

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("MOONTIDE_BUILD") or os.path.join(ROOT, "build")
SANITIZER = re.compile(r"(ERROR|WARNING): \w+Sanitizer|runtime error:|SUMMARY: \w+Sanitizer")
SANITIZER_ENV = {
    "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0:halt_on_error=1",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1",
}

if os.path.exists(os.path.join(ROOT, "tests/support/tsan.supp")):
    SANITIZER_ENV["TSAN_OPTIONS"] += f":suppressions={ROOT}/tests/support/tsan.supp"


def binary(build="asan"):
    """The program under test; MOONTIDE_BIN names another one for the default build."""
    if build == "asan" and os.environ.get("MOONTIDE_BIN"):
        return os.environ["MOONTIDE_BIN"]
    return os.path.join(BUILD, build, "moontide") if build != "release" else os.path.join(BUILD, "moontide")


def environment(extra=None):
    env = {name: value for name, value in os.environ.items() if not name.startswith("MOONTIDE_")}
    env.update(SANITIZER_ENV)
    env.update(extra or {})
    return env


def eventually(condition, what, seconds=20):
    """Polls until condition() is true and returns its value; a failing check or a refused connection counts as not yet."""
    deadline = time.monotonic() + seconds
    while True:
        last = None
        try:
            value = condition()
            if value:
                return value
        except (AssertionError, OSError, KeyError, IndexError, ValueError) as error:
            last = error
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}" + (f" (last: {last!r})" if last else ""))
        time.sleep(0.02)


def temp_dir():
    """A folder that goes away with the case."""
    path = tempfile.mkdtemp(prefix="moontide-test-")
    at_end(lambda: shutil.rmtree(path, ignore_errors=True))
    return path


def write_files(folder, files):
    """{"routes/x/hello.lua": "return ..."} below folder."""
    for name, text in files.items():
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)


def scripts_copy(changes=None):
    """A copy of scripts/ that goes away with the case, with `changes` (as for write_files) on top."""
    folder = os.path.join(temp_dir(), "scripts")
    shutil.copytree(os.path.join(ROOT, "scripts"), folder)
    write_files(folder, changes or {})
    return folder


def command(*args, build="asan", stdin=None, seconds=60, env=None, cwd=ROOT):
    """Runs `moontide ARGS` to its end: (exit code, stdout, stderr)."""
    done = subprocess.run([binary(build), *args], input=stdin, capture_output=True, text=True, timeout=seconds,
                          env=environment(env), cwd=cwd, check=False)
    assert not SANITIZER.search(done.stderr), f"a sanitizer reported:\n{done.stderr}"
    return done.returncode, done.stdout, done.stderr


class Server:
    """A `moontide run` process on free ports with a data folder of its own. Started and answering when made."""

    def __init__(self, system=None, *, scripts=None, data=None, args=(), env=None, build="asan", wait=True,
                 cwd=ROOT, start=True):
        self.system, self.scripts, self.args, self.env, self.build = system, scripts, list(args), dict(env or {}), build
        self.data = data or os.path.join(temp_dir(), "data")
        self.process, self.cwd = None, cwd
        self.logs = []       # parsed lines of this run, all fields as logged
        self.gateway = None  # "127.0.0.1:NNN"
        self.admin_address = None
        self._stderr = tempfile.TemporaryFile()
        at_end(self.close)
        if start:
            self.start(wait=wait)

    # -- life ----------------------------------------------------------------------------------------------------

    def argv(self):
        argv = [binary(self.build), "run"] + ([self.system] if self.system else [])
        argv += ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--data", self.data]
        return argv + (["--scripts", self.scripts] if self.scripts else []) + self.args

    def start(self, wait=True, env=None):
        """Starts the process; with wait, returns when it answers. env replaces this run's additions."""
        assert not self.running(), "it runs already"
        if env is not None:
            self.env = dict(env)
        self.logs, self.gateway, self.admin_address = [], None, None
        self.process = subprocess.Popen(self.argv(), cwd=self.cwd, env=environment(self.env), stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=self._stderr)
        self._reader = threading.Thread(target=self._read_log, args=(self.process, self.logs), daemon=True)
        self._reader.start()
        if wait:
            self.wait_listening()
        return self

    def _read_log(self, process, logs):
        for line in process.stdout:
            try:
                entry = json.loads(line)
            except ValueError:
                entry = {"level": "unreadable", "msg": line.decode(errors="replace").rstrip()}
            if entry.get("msg") == "listening":
                if entry.get("role") == "gateway":
                    self.gateway = entry["address"]
                elif entry.get("role") == "admin":
                    self.admin_address = entry["address"]
            logs.append(entry)

    def wait_listening(self, seconds=30):
        def ready():
            if not self.running():
                raise RuntimeError(f"the server ended with {self.process.returncode} before it listened\n{self.tail()}")
            return self.gateway and self.admin_address
        try:
            eventually(ready, "the server listens", seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.tail()}") from None

    def running(self):
        return self.process is not None and self.process.poll() is None

    def signal(self, number):
        self.process.send_signal(number)

    def wait_exit(self, seconds=30):
        """Waits for the process to end by itself; returns its exit code (-9 after a SIGKILL)."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the server did not end within {seconds} s\n{self.tail()}") from None
        self._reader.join(10)
        return code

    def stop(self, seconds=30):
        """SIGTERM; returns the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait_exit(seconds)

    def kill9(self):
        self.signal(signal.SIGKILL)
        return self.wait_exit()

    def restart(self, env=None):
        """Stops it if it runs, and starts it on the same data folder; the ports are new ones."""
        if self.running():
            self.stop()
        return self.start(env=env)

    def _end(self):
        """As an operator who is in a hurry does it, so that leaks are found; whoever hangs is killed."""
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):
            self.signal(number)
            try:
                return self.wait_exit(2)
            except AssertionError:
                continue

    def close(self):
        """Ends it for good, however it stands; the end of a case does it by itself. Fails if a sanitizer reported."""
        if self._stderr.closed:
            return
        if self.running():
            self._end()
        if self.process is not None:
            self.process.wait(30)
            self._reader.join(10)
        report = self.stderr()
        self._stderr.close()
        assert not SANITIZER.search(report), f"a sanitizer reported:\n{report[-6000:]}"

    # -- what it says --------------------------------------------------------------------------------------------

    def stderr(self):
        self._stderr.seek(0)
        return self._stderr.read().decode(errors="replace")

    def tail(self, lines=15):
        """The last lines of log and stderr, for a failure's message."""
        log = [json.dumps(entry) for entry in self.logs[-lines:]]
        return "\n".join(log + self.stderr().splitlines()[-lines:])

    def log_lines(self, **fields):
        """The log lines that have all these fields with these values; level="error" for instance."""
        return [entry for entry in list(self.logs) if all(entry.get(k) == v for k, v in fields.items())]

    def wait_log(self, seconds=20, **fields):
        """The first such log line, waited for."""
        return eventually(lambda: self.log_lines(**fields), f"a log line with {fields}", seconds)[0]

    # -- talking to it -------------------------------------------------------------------------------------------

    def request(self, method, path, body=None, headers=None, seconds=30):
        """One request to the gateway: Answer(status, headers, body)."""
        return request(self.gateway, method, path, body, headers, seconds)

    def rows(self, path, seconds=60):
        """All rows of a collection, page by page, as plain rows (row_of)."""
        found, after = [], path + "?size=1000"
        with self.connect(seconds) as connection:
            while after:
                answer = connection.request("GET", after)
                assert answer.status == 200, f"{after}: {answer}"
                found += [row_of(item) for item in next(iter(answer.json["_embedded"].values()))]
                after = answer.json["_links"].get("next", {}).get("href", "").partition(self.gateway)[2]
        return found

    def connect(self, seconds=30):
        """A keep-alive connection to the gateway."""
        return Connection(self.gateway, seconds)

    def token(self):
        with open(os.path.join(self.data, "admin.token"), encoding="utf-8") as file:
            return file.read().strip()

    def admin(self, method, path, body=None, headers=None, seconds=30):
        """One request to the admin side, with the token."""
        headers = {"Authorization": f"Bearer {self.token()}", **(headers or {})}
        return request(self.admin_address, method, path, body, headers, seconds)

    def stop_service(self, name):
        answer = self.admin("POST", f"/admin/services/{name}/stop", seconds=40)
        assert answer.status == 200 and answer.json == {"name": name, "state": "down"}, answer

    def start_service(self, name):
        answer = self.admin("POST", f"/admin/services/{name}/start")
        assert answer.status == 200 and answer.json == {"name": name, "state": "up"}, answer

    def faults(self, **table):
        """The table of artificial faults becomes this one: faults(payment={"delay_ms": 700}); none without arguments."""
        answer = self.admin("PUT", "/admin/faults", table)
        assert answer.status < 300, answer

    def letters(self):
        """The dead letters, as /admin/letters lists them."""
        answer = self.admin("GET", "/admin/letters?limit=1000")
        assert answer.status == 200, answer
        return answer.json["letters"]

    def events(self, **query):
        """The event log as a list; events(type="Paid"), events(**{"from": 10}), ..."""
        query.setdefault("limit", 1000000)
        answer = self.admin("GET", "/admin/events?" + "&".join(f"{k}={v}" for k, v in query.items()))
        assert answer.status == 200, f"/admin/events answered {answer}"
        return [json.loads(line) for line in answer.body.splitlines() if line.strip()]

    def metrics(self):
        """{name with labels as written: number} of GET /metrics."""
        answer = request(self.admin_address, "GET", "/metrics")
        assert answer.status == 200, f"/metrics answered {answer}"
        return parse_metrics(answer.text)


def fix_address(server, option, address):
    """From its next start on the server has this address instead of a free one."""
    words = server.argv()
    server.argv = lambda: [address if words[at - 1] == option else word for at, word in enumerate(words)]


def parse_metrics(text):
    found = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            found[name] = float(value)
    return found
