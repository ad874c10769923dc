"""Who may stand at the robot's door instead of a robot that lets the driver in, by libfranka's protocol (version 10), in threads of a test."""

import contextlib
import socket
import struct
import threading

PORT = 1337
# Command, its number, size of the message; then status and version of Connect's answer, packed.
HEADER, CONNECT_ANSWER = struct.Struct("<III"), struct.Struct("<BH")
INCOMPATIBLE = 1
OLD_VERSION = 9


class Doorman:
    """``kind``: ``absent`` (nobody listens), ``deaf`` (no answer to a connection), ``mute`` (lets in and says nothing), ``old`` (another version)."""

    def __init__(self, kind):
        self._let_in = []
        self._listener = None
        if kind == "absent":
            return
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", PORT))
        self._listener.listen(0 if kind == "deaf" else 8)
        if kind == "deaf":
            # Linux answers nobody when as many wait as may.
            with contextlib.suppress(TimeoutError):
                while True:
                    self._let_in.append(socket.create_connection(("127.0.0.1", PORT), 0.3))
        else:
            threading.Thread(target=self._accept, args=(kind == "old",), daemon=True).start()

    def _accept(self, answers):
        with contextlib.suppress(OSError):
            while True:
                visitor, _ = self._listener.accept()
                self._let_in.append(visitor)
                if answers:
                    self._answer(visitor)

    def _answer(self, visitor):
        with contextlib.suppress(OSError, struct.error):
            command, number, _ = HEADER.unpack(visitor.recv(HEADER.size, socket.MSG_WAITALL))
            size = HEADER.size + CONNECT_ANSWER.size
            visitor.sendall(HEADER.pack(command, number, size) + CONNECT_ANSWER.pack(INCOMPATIBLE, OLD_VERSION))

    def close(self):
        """Leave the port to the next."""
        if self._listener is not None:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        for visitor in self._let_in:
            visitor.close()
