"""The recorder's services, awaited from the page's event loop while another thread works off ROS."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from cdp_msgs.srv import StartEpisode
from rclpy.node import Node
from std_srvs.srv import SetBool, Trigger

from cdp_teleop_recorder.panel.heard import START_RECORDER, Board, Mood

# A service that brings an episode to the disk answers after that; one that is silent for so long otherwise is not going to.
PATIENCE_S = 10.0
_LONGEST_S = 180.0
_LOOK_S = 0.25
_UNKNOWN_SEED = -1


@dataclass(frozen=True)
class Answer:
    """What came of a request; ``message`` is for the page."""

    success: bool
    message: str


class RecorderClient:
    """Requests to the recorder. None of them raises: what goes wrong is in the answer, with what to do."""

    def __init__(self, node: Node, board: Board) -> None:
        self._board = board
        self._start = node.create_client(StartEpisode, "/cdp/recorder/start")
        self._label = node.create_client(SetBool, "/cdp/recorder/label")
        self._triggers = {name: node.create_client(Trigger, f"/cdp/recorder/{name}") for name in ("keep", "discard", "redo")}

    async def begin(self, task: str, operator: str) -> Answer:
        """Start an episode."""
        return await self._call(self._start, StartEpisode.Request(task=task, operator_name=operator, seed=_UNKNOWN_SEED))

    async def label(self, success: bool) -> Answer:
        """Label the episode in progress, or the last one."""
        return await self._call(self._label, SetBool.Request(data=success))

    async def keep(self) -> Answer:
        """End the episode and keep it."""
        return await self._call(self._triggers["keep"], Trigger.Request())

    async def discard(self) -> Answer:
        """Drop the episode in progress."""
        return await self._call(self._triggers["discard"], Trigger.Request())

    async def redo(self) -> Answer:
        """Drop the episode in progress and start it anew."""
        return await self._call(self._triggers["redo"], Trigger.Request())

    async def _call(self, client: Any, request: Any) -> Answer:
        name = client.srv_name
        if not client.service_is_ready():
            return Answer(False, f"{name} was not called: the recorder is not running; {START_RECORDER}")
        loop = asyncio.get_running_loop()
        answered = asyncio.Event()

        def wake(_: Any) -> None:
            # The page may have ended before the answer comes.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(answered.set)

        future = client.call_async(request)
        future.add_done_callback(wake)
        began_s = loop.time()
        while not answered.is_set():
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(answered.wait(), _LOOK_S)
            waited_s = loop.time() - began_s
            if not answered.is_set() and self._in_vain(waited_s):
                client.remove_pending_request(future)
                return Answer(
                    False,
                    f"{name} was not answered within {waited_s:.0f} s; look at the recorder's terminal, and at the list for what was done",
                )
        try:
            response = future.result()
        except Exception as error:  # noqa: BLE001  whatever the middleware raises, the page goes on
            return Answer(False, f"{name} failed: {error}; look at the recorder's terminal")
        return Answer(bool(response.success), str(response.message))

    def _in_vain(self, waited_s: float) -> bool:
        """Whether to give up: soon, unless an episode is being brought to the disk."""
        return waited_s > (_LONGEST_S if self._board.recorder().mood is Mood.WRITING else PATIENCE_S)
