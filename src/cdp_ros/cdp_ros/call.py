"""A call of a service that outlives the loss of its answer."""

from __future__ import annotations

import time
from typing import Any

UNANSWERED_S = 5.0


class Call:
    """A request that is made at once, and again every ``again_s`` while ``done`` is asked and no answer has come.

    A client finds its server before it is sure that the server has found the client too. Fast DDS waits 100 ms for that, then drops the answer, and
    the client waits forever (rmw_fastrtps, issues 556 and 706). Only for what may be asked twice; ``again_s`` None where it may not.
    """

    def __init__(self, client: Any, request: Any, again_s: float | None = UNANSWERED_S) -> None:
        self._client, self._request, self._again_s = client, request, again_s
        self._futures: list[Any] = []
        self._ask()

    def done(self) -> bool:
        """Whether there is an answer to any of the requests; the caller spins meanwhile."""
        if any(future.done() for future in self._futures):
            return True
        if self._again_s is not None and time.monotonic() - self._asked_s > self._again_s:
            self._ask()
        return False

    def result(self) -> Any:
        """The first answer. Raises RuntimeError before there is one, and whatever the middleware raised."""
        for future in self._futures:
            if future.done():
                return future.result()
        raise RuntimeError(f"no answer of {self._client.srv_name} yet")

    def _ask(self) -> None:
        self._futures.append(self._client.call_async(self._request))
        self._asked_s = time.monotonic()
