"""Lets only this page's own requests through: no other page in the operator's browser may drive the recorder.

A page from elsewhere can make a browser send requests to 127.0.0.1, under its own name by DNS rebinding or under ours with its own Origin; neither
passes. Requests without an Origin come from navigation and from programs on this machine.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOCAL_NAMES = ("127.0.0.1", "localhost", "::1")
_EVERYWHERE = ("0.0.0.0", "::", "")


class SameHost:
    """ASGI application around ``app`` that refuses requests for another host than ``host`` or this machine's own, or from another page."""

    def __init__(self, app: ASGIApp, host: str) -> None:
        self.app = app
        self._names = {*LOCAL_NAMES, host.lower()} - set(_EVERYWHERE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, or refuse with 403."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
        elif reason := self._refusal(scope):
            if scope["type"] == "websocket":
                await receive()
                await send({"type": "websocket.close", "code": 1008, "reason": reason})
            else:
                await PlainTextResponse(reason, status_code=403)(scope, receive, send)
        else:
            await self.app(scope, receive, _framed_by_none(send))

    def _refusal(self, scope: Scope) -> str:
        headers = Headers(scope=scope)
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        if len(hosts) != 1 or _name(hosts[0]) not in self._names | _reached(scope):
            return f"refused: the panel is not called {', '.join(hosts) or 'nothing'}; open it by its address, or by localhost on its own machine"
        if any(urlsplit(origin).netloc.lower() != hosts[0].lower() for origin in origins):
            return "refused: another page sent this request"
        return ""


def _name(host: str) -> str:
    """Host without its port; "" where it is none."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _reached(scope: Scope) -> set[str]:
    """The address at which this connection arrived: a name that is rebound is never an address."""
    server = scope.get("server")
    return {str(server[0]).lower()} if server else set()


def _framed_by_none(send: Send) -> Send:
    async def framed(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["Content-Security-Policy"] = "frame-ancestors 'none'"
            headers["X-Content-Type-Options"] = "nosniff"
        await send(message)

    return framed
