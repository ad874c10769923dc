"""Serves the page in a thread of its own; the socket is bound before, so that a port in use is known before anything starts."""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Callable

import uvicorn
from starlette.types import ASGIApp

from cdp_teleop_recorder.panel.same_host import LOCAL_NAMES

# Open pages hold a connection: it is cut, and they come back by themselves.
_GRACE_S = 1
_JOIN_S = 5.0


class PortError(Exception):
    """The page cannot be served at that address; the message says which, who has it, and which parameter is another."""


def bind(host: str, port: int) -> socket.socket:
    """A listening socket. Raises :class:`PortError`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
        made.listen()
    except OSError as error:
        made.close()
        if error.errno == errno.EADDRINUSE:
            raise PortError(
                f"port {port} of {host} is in use; `ss -ltnp 'sport = :{port}'` says by whom, perhaps another panel; another one: -p port:=<number>, "
                "or panel_port:= of the launch file"
            ) from None
        raise PortError(f"the page cannot be served at {host}, port {port}: {error}; choose others by -p host:= and -p port:=") from None
    return made


def is_local(host: str) -> bool:
    """Whether only this machine reaches that address."""
    return host in LOCAL_NAMES


class PageServer:
    """Serves ``app`` at ``listening`` from :meth:`start` until :meth:`close`; ``on_end`` is called with the reason where it ends otherwise."""

    def __init__(self, app: ASGIApp, listening: socket.socket, on_end: Callable[[str], None]) -> None:
        self._listening, self._on_end = listening, on_end
        # Signals are the node's; uvicorn takes them in the main thread only, and this is another.
        config = uvicorn.Config(
            app, log_level="warning", log_config=None, access_log=False, timeout_graceful_shutdown=_GRACE_S, ws_ping_interval=None
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, name="cdp_panel_page", daemon=True)

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def close(self) -> None:
        """End, with pages open or not."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(_JOIN_S)
        self._server.force_exit = True
        if self._thread.is_alive():
            self._thread.join(_JOIN_S)
        self._listening.close()

    def _run(self) -> None:
        reason = "the web server ended"
        try:
            self._server.run(sockets=[self._listening])
        except BaseException as error:  # noqa: BLE001  uvicorn raises SystemExit where it cannot start
            reason = f"the web server failed: {error!r}"
        if not self._server.should_exit:
            self._on_end(reason)
