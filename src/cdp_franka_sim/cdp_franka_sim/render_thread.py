"""The camera in a thread of its own: its OpenGL context lives there, and physics goes on while a picture is drawn."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from cdp.geometry import FloatArray
from cdp_franka_sim.camera import AgentCamera

Deliver = Callable[[NDArray[np.uint8]], None]


class RenderThread:
    """Draws requested pictures in order and hands each to its receiver, which is called in this thread."""

    def __init__(self, make_camera: Callable[[], AgentCamera]) -> None:
        """Start the thread and wait for its camera. Raises what making the camera raised."""
        self._requests: queue.Queue[tuple[FloatArray, Deliver, threading.Event] | None] = queue.Queue()
        self._ready = threading.Event()
        self._failure: Exception | None = None
        self._camera: AgentCamera | None = None
        self._thread = threading.Thread(target=self._run, args=(make_camera,), name="render", daemon=True)
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            raise self._failure

    @property
    def camera(self) -> AgentCamera:
        """The camera; only its constants may be read from another thread."""
        assert self._camera is not None
        return self._camera

    @property
    def waiting(self) -> int:
        """Pictures that were asked for and not begun."""
        return self._requests.qsize()

    def draw(self, positions: FloatArray, deliver: Deliver) -> threading.Event:
        """Ask for a picture of the joint positions (nq,); the event is set once it has been delivered. Raises what an earlier one raised."""
        if self._failure is not None:
            raise self._failure
        done = threading.Event()
        self._requests.put((positions, deliver, done))
        return done

    def close(self) -> None:
        """Finish what was asked for and free the context."""
        self._requests.put(None)
        self._thread.join()

    def _run(self, make_camera: Callable[[], AgentCamera]) -> None:
        try:
            self._camera = make_camera()
        except RuntimeError as error:
            self._failure = error
        self._ready.set()
        while self._failure is None and (request := self._requests.get()) is not None:
            positions, deliver, done = request
            try:
                deliver(self.camera.render(positions))
            except RuntimeError as error:
                self._failure = error
            done.set()
        if self._camera is not None:
            self._camera.close()
