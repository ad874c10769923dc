"""Which OpenGL MuJoCo renders with on a machine without a display."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def choose_backend(loads: Callable[[str], bool] = _loads) -> str | None:
    """Set MUJOCO_GL to `egl`, or to `osmesa` where only that library is there, unless it is set already or there is a display.

    Returns the value set, None when it was left alone. Where neither library is there nothing is set: the camera says so when it is first used.
    """
    if os.environ.get("MUJOCO_GL") or os.environ.get("DISPLAY"):
        return None
    for backend, library in (("egl", "libEGL.so.1"), ("osmesa", "libOSMesa.so.8")):
        if loads(library):
            os.environ["MUJOCO_GL"] = backend
            return backend
    return None
