# SPDX-License-Identifier: MIT
"""nginx as the measure beside Moontide: `return 200`, and a JSON answer made by its Lua with cjson."""
import glob
import os
import socket
import subprocess

from harness import eventually
from wire import request

CONF = """
{modules}
{user}
worker_processes auto;
worker_rlimit_nofile 8192;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 2048; }}
http {{
    access_log off;
    keepalive_requests 1000000;
    keepalive_timeout 75s;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    default_type application/json;
    lua_package_cpath "{cpath};;";
    init_by_lua_block {{ cjson = require "cjson" }}
    server {{
        listen 127.0.0.1:{port} backlog=2048;
        location = /return {{ return 200 '{{"message":"hello"}}'; }}
        location = /lua {{ content_by_lua_block {{ ngx.print(cjson.encode({{ message = "hello" }})) }} }}
    }}
}}
"""
MODULES = ["/usr/lib/nginx/modules/ndk_http_module.so", "/usr/lib/nginx/modules/ngx_http_lua_module.so"]


def cjson_path():
    """cjson for Lua 5.1, which is what nginx's LuaJIT loads, or None."""
    found = glob.glob("/usr/lib/*/lua/5.1/cjson.so")
    return os.path.join(os.path.dirname(found[0]), "?.so") if found else None


def missing():
    """What of nginx's side is not installed."""
    absent = [path for path in MODULES if not os.path.exists(path)]
    return absent + ([] if cjson_path() else ["cjson.so for Lua 5.1 (package lua-cjson)"])


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Nginx:
    def __init__(self, folder):
        os.makedirs(folder, exist_ok=True)
        self.address = f"127.0.0.1:{free_port()}"
        conf = os.path.join(folder, "nginx.conf")
        with open(conf, "w", encoding="utf-8") as file:
            file.write(CONF.format(folder=folder, port=self.address.split(":")[1], cpath=cjson_path(),
                                   modules="\n".join(f"load_module {path};" for path in MODULES),
                                   user="user root;" if os.geteuid() == 0 else ""))
        self.process = subprocess.Popen(["nginx", "-p", folder, "-c", conf, "-e", f"{folder}/error.log"],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        for path in ("/return", "/lua"):
            eventually(lambda path=path: self.answers(path), f"nginx answers {path} (see {folder}/error.log)")

    def answers(self, path):
        answer = request(self.address, "GET", path)
        return answer.status == 200 and answer.json == {"message": "hello"}

    def close(self):
        self.process.terminate()
        self.process.wait(20)
