"""The one `openvino.Core` of a process."""

from __future__ import annotations

import threading
from functools import cache
from typing import Any

_LOCK = threading.Lock()


def openvino_core() -> Any:
    """The core for every model of this process. Raises ImportError where OpenVINO is not installed.

    One, and kept: the CPU plugin of a core gives the thread an alternate signal stack of its own, and the one that it found when it goes
    (OpenVINO 2026.4). Cores that go in another order than that in which they came leave a stack that is no longer there, and the next signal
    with a handler in Python, Ctrl-C for one, is a segmentation fault.
    """
    with _LOCK:
        return _made()


@cache
def _made() -> Any:
    import openvino

    return openvino.Core()
