"""Episodes and demonstration files for tests, made through the recorder's own writer: a reach along a line, with known numbers."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from cdp.actions import eef_row
from cdp.data.collect import collect
from cdp.data.episode import EpisodeInfo, EpisodeLabels
from cdp.data.episode_writer import EpisodeWriter
from cdp.data.spec import ObservationSpec

MS = 1_000_000


@dataclass
class Reach:
    """A reach of ``ticks`` rows from ``start_m``: images at 30 Hz, state at 100 Hz, operator actions at 10 Hz, as the operator sends them."""

    ticks: int = 6
    start_m: float = 0.3
    step_m: float = 0.01
    height: int = 30
    width: int = 40
    start_ns: int = 1_000_000_000_000
    success: bool = True
    deadman: bool = True
    lost_images: tuple[int, ...] = ()
    lost_state_ms: tuple[int, int] = (0, 0)
    lost_actions: tuple[int, ...] = ()
    operator_late_ms: int = 0

    def position_m(self, t_ns: float) -> np.ndarray:
        return np.array([self.start_m + self.step_m * (t_ns - self.start_ns) / (100 * MS), 0.01, 0.4])

    def quat(self, t_ns: float) -> np.ndarray:
        half_rad = 0.05 * (t_ns - self.start_ns) / (100 * MS)
        return np.array([np.cos(half_rad), np.sin(half_rad), 0.0, 0.0])

    def image(self, k: int) -> np.ndarray:
        y, x = np.mgrid[: self.height, : self.width]
        return np.stack([(x * 4 + k * 9) % 256, (y * 5) % 256, np.full_like(x, k * 7 % 256)], axis=-1).astype(np.uint8)

    def image_stamp_ns(self, k: int) -> int:
        return self.start_ns + k * 100 * MS // 3

    def write(self, folder: Path, seed: int = 0) -> Path:
        writer = EpisodeWriter(folder, EpisodeInfo("reach", "test", seed, self.start_ns, "sim"))
        for stream, stamp_ns, values in self.messages():
            assert writer.append(stream, stamp_ns, stamp_ns + 5 * MS, values)
        return writer.finish(EpisodeLabels(self.success, "", self.start_ns + self.ticks * 100 * MS))

    def messages(self):
        for k in range(3 * self.ticks):
            if k not in self.lost_images:
                yield "agentview_image", self.image_stamp_ns(k), {"data": self.image(k)}
        for ms in range(-50, 100 * self.ticks + 50, 10):
            if not self.lost_state_ms[0] < ms < self.lost_state_ms[1]:
                yield from self.state(self.start_ns + ms * MS + 3 * MS)
        for k in set(range(self.ticks)) - set(self.lost_actions):
            seen_ns = self.image_stamp_ns(3 * k) + self.operator_late_ms * MS
            goal_ns = seen_ns + 100 * MS
            row = eef_row(self.position_m(goal_ns), self.quat(goal_ns), 0.08 if k < self.ticks // 2 else 0.0)
            yield (
                "action",
                seen_ns + 2 * MS,
                {"data": row, "observation_stamp_ns": seen_ns, "source": 1, "deadman": self.deadman, "intervention": False},
            )

    def state(self, t_ns: int):
        joints = np.linspace(0, 1, 7) + (t_ns - self.start_ns) / 1e9
        yield "joint_pos", t_ns, {"data": joints}
        yield "joint_vel", t_ns, {"data": np.ones(7)}
        yield "eef_pose", t_ns, {"data": np.concatenate([self.position_m(t_ns), self.quat(t_ns)])}
        yield "gripper_width", t_ns, {"data": [0.05]}
        yield "task_state", t_ns, {"object": np.arange(7), "goal": np.arange(7) + 0.5, "success": 0}


@pytest.fixture(scope="session")
def reach() -> type[Reach]:
    return Reach


@pytest.fixture
def make_demo_file(tmp_path: Path) -> Callable[..., Path]:
    """``make_demo_file(demos=3, ticks=6, image_size=None)`` -> a collected file of demonstrations."""

    def make(demos: int = 3, ticks: int = 6, image_size: int | None = None, **changes: object) -> Path:
        folder = tmp_path / f"episodes_{demos}_{ticks}_{image_size}"
        paths = [Reach(ticks=ticks + i, start_m=0.3 + 0.02 * i, **changes).write(folder, seed=i) for i in range(demos)]
        out = tmp_path / f"{folder.name}.hdf5"
        collect(paths, out, ObservationSpec(), image_size=image_size, valid_fraction=0.3)
        return out

    return make
