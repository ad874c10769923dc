"""The agent-view camera: pictures from joint positions, and the pinhole model that belongs to them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from cdp.geometry import FloatArray
from cdp_franka_sim import scene


class RenderError(RuntimeError):
    """No OpenGL context could be made; the message says what to install or set."""


@dataclass(frozen=True)
class Intrinsics:
    """Pinhole camera without distortion: focal lengths and principal point [pixels], pixel centres at whole numbers."""

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float

    @classmethod
    def from_fovy(cls, width: int, height: int, fovy_deg: float) -> Intrinsics:
        """Intrinsics of a picture with the vertical opening angle ``fovy_deg`` [deg] and square pixels."""
        focal = 0.5 * height / np.tan(0.5 * np.deg2rad(fovy_deg))
        return cls(width, height, float(focal), float(focal), 0.5 * (width - 1), 0.5 * (height - 1))

    def project(self, points_m: FloatArray) -> FloatArray:
        """Pixels (..., 2) of points (..., 3) [m] in the optical frame: x right, y down, z forward."""
        p = np.asarray(points_m, dtype=np.float64)
        return np.stack([self.fx * p[..., 0] / p[..., 2] + self.cx, self.fy * p[..., 1] / p[..., 2] + self.cy], axis=-1)


class AgentCamera:
    """Renders the agent view. Make, use and close it in one thread: the OpenGL context belongs to the thread that made it."""

    def __init__(self, model: Any, width: int, height: int) -> None:
        """Raises :class:`RenderError` where neither EGL nor OSMesa gives a context."""
        self._model = model
        self._data = mujoco.MjData(model)
        self._camera = int(model.camera(scene.CAMERA).id)
        self._renderer = _make_renderer(model, width, height)
        for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
            self._renderer.scene.flags[flag] = 0
        self._image = np.empty((height, width, 3), dtype=np.uint8)
        self.intrinsics = Intrinsics.from_fovy(width, height, float(model.cam_fovy[self._camera]))

    def render(self, qpos: FloatArray) -> NDArray[np.uint8]:
        """RGB picture (height, width, 3) of the scene with the positions ``qpos`` (nq,)."""
        self._data.qpos[:] = qpos
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_camlight(self._model, self._data)
        self._renderer.update_scene(self._data, camera=self._camera)
        return np.array(self._renderer.render(out=self._image), dtype=np.uint8)

    def pose(self) -> tuple[FloatArray, FloatArray]:
        """Position (3,) [m] and rotation (3, 3) of the optical frame (x right, y down, z forward) in fr3_link0."""
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_camlight(self._model, self._data)
        rotation = self._data.cam_xmat[self._camera].reshape(3, 3) @ np.diag([1.0, -1.0, -1.0])
        return self._data.cam_xpos[self._camera].copy(), rotation

    def close(self) -> None:
        """Free the OpenGL context."""
        self._renderer.close()


def _make_renderer(model: Any, width: int, height: int) -> Any:
    backend = os.environ.get("MUJOCO_GL", "the platform's default")
    try:
        return mujoco.Renderer(model, height=height, width=width)
    except (mujoco.FatalError, RuntimeError, ImportError, AttributeError, OSError) as error:
        raise RenderError(
            f"no OpenGL context with MUJOCO_GL={backend} ({error}); without a display install libegl1 and libgl1-mesa-dri (MUJOCO_GL=egl) "
            "or libosmesa6 (MUJOCO_GL=osmesa)"
        ) from error
