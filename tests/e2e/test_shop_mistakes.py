# SPDX-License-Identifier: MIT
"""Deliberate mistakes: each is refused with a line that names the thing and says what to do."""
import json
import os
import shutil
import socket
import stat
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import ROOT, Server, binary, case, command, environment, main, scripts_copy, skip, temp_dir  # noqa: E402

FREE = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]


def refused(code, *words, env=None, says=()):
    """The command fails with this exit code and one line on stderr that has all of these."""
    got, out, err = command(*words, env=env)
    assert got == code, (words, got, out, err)
    assert err.startswith("moontide: ") and err.count("\n") == 1, err
    for text in says:
        assert text in err, (text, err)
    return err


@case("SHOP-7i a typo in a command or a flag names the nearest one, and nothing is done")
def typos():
    data = os.path.join(temp_dir(), "data")
    refused(2, "rnu", says=['unknown command "rnu"', 'did you mean "run"?'])
    refused(2, "staus", says=['did you mean "status"?'])
    refused(2, "run", "--lisen", "127.0.0.1:0", "--data", data, says=["--lisen", "did you mean --listen?"])
    refused(2, "status", "--dta", data, says=["--dta", "did you mean --data?"])
    refused(2, "run", "--listen", says=["--listen needs a value"])
    refused(78, "run", "--data", data, "--set", "bus.max_outstandin=5", says=['did you mean "bus.max_outstanding"?'])
    assert not os.path.exists(data)


@case("SHOP-7i a system that is not there: its file and the nearest name; no data folder is made")
def no_system():
    data = os.path.join(temp_dir(), "data")
    says = ['there is no system "bokmarket"', "systems/bokmarket.lua", 'did you mean "bookmarket"?']
    refused(78, "run", "bokmarket", "--data", data, *FREE, says=says)
    refused(3, "check", "bokmarket", says=says)
    assert not os.path.exists(data)


@case("SHOP-7i a scripts folder that is missing or unreadable is named, with the flag")
def no_scripts():
    folder = temp_dir()
    missing, data = os.path.join(folder, "none"), os.path.join(folder, "data")
    refused(78, "run", "--scripts", missing, "--data", data, *FREE, says=[missing, "No such file", "--scripts DIR"])
    refused(3, "check", "--scripts", missing, says=[missing, "--scripts DIR"])
    assert not os.path.exists(data)
    scripts = scripts_copy()
    os.chmod(os.path.dirname(scripts), 0o755)
    closed = os.path.join(scripts, "routes", "bookmarket")
    os.chmod(closed, 0)
    user = {"user": 65534} if os.geteuid() == 0 else {}
    done = subprocess.run([binary(), "check", "--scripts", scripts], capture_output=True, text=True, check=False,
                          env=environment(), cwd="/", **user)
    os.chmod(closed, stat.S_IRWXU)
    assert done.returncode == 3 and closed in done.stderr and "Permission denied" in done.stderr, done


@case("SHOP-7i a port that is taken is named with its flag, for both sides")
def port_taken():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = "127.0.0.1:%d" % taken.getsockname()[1]
        for flag, other in (("--listen", "--admin"), ("--admin", "--listen")):
            refused(78, "run", "--data", os.path.join(temp_dir(), "d"), flag, address, other, "127.0.0.1:0",
                    says=[f"cannot listen on {address}", "already in use", f"{flag} HOST:PORT"])


@case("SHOP-7i a data folder that another process has locked: which process, and what to do; the other one goes on")
def locked():
    server = Server("bookmarket")
    refused(78, "run", "--data", server.data, *FREE,
            says=[server.data, f"in use by process {server.process.pid}", "--data DIR"])
    assert server.request("GET", "/orders").status == 200
    assert command("status", "--data", server.data)[0] == 0


@case("SHOP-7i a wrong token: which server, and where tokens come from")
def wrong_token():
    server = Server("bookmarket")
    refused(1, "status", "--data", server.data, env={"MOONTIDE_ADMIN_TOKEN": "x" * 20},
            says=[server.admin_address, "does not take this admin token", "MOONTIDE_ADMIN_TOKEN"])
    refused(1, "services", "--admin", server.admin_address, says=["no admin token", "--admin-token-file", "--data"])
    short = os.path.join(temp_dir(), "short")
    with open(short, "w", encoding="utf-8") as file:
        file.write("abc")
    refused(78, "status", "--data", server.data, "--admin-token-file", short, says=[short, "16 to 1024 bytes"])


@case("SHOP-7i the run.json of a killed server: the process that left it, and how to go on; a start heals it")
def stale():
    server = Server("bookmarket")
    pid = server.process.pid
    server.kill9()
    gone = [f"no server runs in {server.data}", f"process {pid}", "moontide run"]
    refused(4, "status", "--data", server.data, says=gone)
    path, other = os.path.join(server.data, "run.json"), Server("bookmarket")
    with open(path, encoding="utf-8") as file:
        run = json.load(file)
    with open(path, "w", encoding="utf-8") as file:
        json.dump({**run, "admin": other.admin_address}, file)  # whose port it has got
    refused(4, "status", "--data", server.data, says=gone)
    server.start()
    code, out, err = command("status", "-o", "json", "--data", server.data)
    assert code == 0 and json.loads(out)["pid"] == server.process.pid, (out, err)
    server.stop()
    refused(4, "status", "--data", server.data, says=[f"no server runs in {server.data}"])


@case("SHOP-7i a wrong --admin: nothing there, no address, or the gateway instead")
def wrong_admin():
    server = Server("bookmarket")
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        address = "127.0.0.1:%d" % nobody.getsockname()[1]
        refused(4, "status", "--admin", address, says=[address, "refused", "is it running"])
    refused(78, "status", "--admin", "nonsense", says=['"nonsense"', "HOST:PORT"])
    refused(1, "status", "--admin", server.gateway, "--data", server.data,
            says=[server.gateway, "no Moontide admin side", "--admin"])


@case("SHOP-7i a full disk at the start: the file and the reason; with room the same command starts")
def disk_full():
    if os.geteuid() != 0 or shutil.which("mount") is None:
        skip("a small tmpfs can only be mounted as root")
    from harness import at_end
    folder = temp_dir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True, check=False)
    if done.returncode != 0:
        skip("no tmpfs can be mounted here")
    at_end(lambda: subprocess.run(["umount", folder], check=True))
    data = os.path.join(folder, "data")
    os.mkdir(data)
    ballast = os.path.join(folder, "ballast")
    with open(ballast, "wb", buffering=0) as file:
        try:
            while file.write(b"x" * 4096):
                pass
        except OSError:
            pass
    err = refused(78, "run", "--data", data, *FREE)
    assert data in err and ("full" in err or "No space left" in err), err
    os.unlink(ballast)
    subprocess.run(["mount", "-o", "remount,size=64m", folder], check=True)
    server = Server("bookmarket", data=data)
    assert server.request("GET", "/orders").status == 200
    server.close()


if __name__ == "__main__":
    main()
