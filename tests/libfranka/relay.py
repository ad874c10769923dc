"""The cable between driver and robot, a process of its own: ``relay.py FILE``. While FILE exists it is cut: nothing gets through, nobody is told.

libfranka connects by TCP and names the UDP port for the robot's states; the client answers to where the states come from. So the relay puts a port of
its own into that message, by libfranka's protocol (version 10), and hands on the rest as it is.
"""

import contextlib
import os
import selectors
import socket
import struct
import sys
from pathlib import Path

ROBOT = ("127.0.0.1", 1437)
DOOR = ("127.0.0.1", 1337)
# Command, its number, size; version and UDP port of Connect.
CONNECT = struct.Struct("<IIIHH")


class Line:
    """One client's connection."""

    def __init__(self, client, selector):
        self.client, self.robot, self._selector = client, socket.create_connection(ROBOT), selector
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", 0))
        command, number, size, version, port = CONNECT.unpack(client.recv(CONNECT.size, socket.MSG_WAITALL))
        self._states_to, self._commands_to = ("127.0.0.1", port), None
        self.robot.sendall(CONNECT.pack(command, number, size, version, self.udp.getsockname()[1]))
        for end in (self.client, self.robot, self.udp):
            selector.register(end, selectors.EVENT_READ, self)

    def hand_on(self, end, cut):
        if end is self.udp:
            data, sender = self.udp.recvfrom(65536)
            to = self._commands_to if sender == self._states_to else self._states_to
            if to is self._states_to:
                self._commands_to = sender
            if not cut and to is not None:
                self.udp.sendto(data, to)
            return
        data = end.recv(65536)
        if not data:
            self.close()
        elif not cut:
            (self.robot if end is self.client else self.client).sendall(data)

    def close(self):
        for end in (self.client, self.robot, self.udp):
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(end)
            end.close()


def main(file):
    """Until the process is ended."""
    with contextlib.suppress(PermissionError):
        # A cable takes no time: before whatever else the machine does, as the driver's loop.
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(70))
    selector, listener, line, was_cut = selectors.DefaultSelector(), socket.create_server(DOOR), None, False
    selector.register(listener, selectors.EVENT_READ)
    print("ready", flush=True)
    while True:
        ready, cut = selector.select(0.01), file.exists()
        if was_cut and not cut and line is not None:
            # Both have given up what went through the old cable.
            line.close()
            line = None
        was_cut = cut
        for key, _ in ready:
            with contextlib.suppress(OSError, struct.error):
                if key.fileobj is not listener:
                    key.data.hand_on(key.fileobj, cut)
                elif cut:
                    listener.accept()[0].close()
                else:
                    if line is not None:
                        line.close()
                    line = Line(listener.accept()[0], selector)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
