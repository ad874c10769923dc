"""Questions to ``franky_server.py``."""

import json
import socket


class SceneClient:
    """One question at a time."""

    def __init__(self, port):
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect(("127.0.0.1", port))
        self._socket.settimeout(10.0)

    def ask(self, **question):
        """What is so in the scene; ``question`` as the server's module says."""
        self._socket.send(json.dumps(question).encode())
        return json.loads(self._socket.recv(4096))

    def close(self):
        self._socket.close()
