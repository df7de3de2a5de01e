# SPDX-License-Identifier: MIT
"""A host on loopback whose every byte is the test's own: what a server under test calls."""
import socket
import threading

from tap import at_end


class Peer:
    """Accepts connections until the case ends; a subclass talks on each, in a thread of its own: _talk(connection)."""

    def __init__(self):
        self.connections = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.url = "http://" + self.address
        at_end(self.close)
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self):
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()

    def _serve(self):
        while True:
            try:
                connection = self.listener.accept()[0]
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()
