"""A scripted operator: what a person with a SpaceMouse would do, from the task's ground truth. No ROS.

The motion is a function of what the camera and the end-effector position show: no timers, no hidden phases. Far from the block the hand goes to
the staging point behind it, sinking as it closes in; low and behind the block it pushes towards the goal and slows down as the distance shrinks;
when it has lost the block it rises and starts again. Only a little smoothing and noise, and the episode's pace, are hidden, as a person's are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cdp.config import setting
from cdp.geometry import FloatArray


@dataclass(frozen=True)
class OperatorConfig:
    """Manner of the scripted operator. Speeds are those meant in the base frame; the teleop's scales turn them into deflections."""

    linear_scale_m_s: float = setting(0.20, low=0.01, high=1.0, help="the teleop's speed at full deflection [m/s]")
    move_speed_m_s: float = setting(0.16, low=0.01, high=0.5, help="largest speed while moving freely [m/s]")
    push_speed_m_s: float = setting(0.09, low=0.01, high=0.3, help="largest speed while pushing [m/s]")
    approach_gain_per_s: float = setting(2.0, low=0.1, high=5.0, help="speed per distance to the staging point [1/s]")
    push_gain_per_s: float = setting(1.6, low=0.1, high=5.0, help="speed per distance of the block to the goal [1/s]")
    push_height_m: float = setting(0.025, low=0.005, high=0.1, help="height of the fingertips while pushing [m]")
    safe_height_m: float = setting(0.11, low=0.05, high=0.3, help="height at which the hand passes over the block [m]")
    standoff_m: float = setting(0.075, low=0.04, high=0.2, help="staging point's distance behind the block's centre [m]")
    smoothing_s: float = setting(0.12, low=0.0, high=1.0, help="time constant of the hand on the device [s]")
    noise: float = setting(0.03, low=0.0, high=0.3, help="standard deviation of the slow noise on each linear axis [share of full deflection]")
    pace_spread: float = setting(0.1, low=0.0, high=0.5, help="an episode's speeds are drawn within 1 -/+ this")


@dataclass(frozen=True)
class OperatorView:
    """What the operator sees: time [s], end-effector position (3,), object and goal poses (7,) in the base frame, the task's verdict."""

    time_s: float
    eef_position_m: FloatArray
    object_pose: FloatArray
    goal_pose: FloatArray
    success: bool


@dataclass(frozen=True)
class OperatorCommand:
    """SpaceMouse output: twist (6,) linear then angular, each axis in [-1, 1], and the two buttons."""

    twist: FloatArray
    deadman: bool
    gripper_toggle: bool = False


# The block counts as in front of the fingers while the hand is this far behind its centre ...
_BEHIND_M = (0.03, 0.12)
# ... and this little beside the line of push,
_BESIDE_M = 0.03
# with the fingertips this little above the height of pushing.
_LOW_M = 0.02
_STOP_DISTANCE_M = 0.008
_REST_GAIN_PER_S = 1.5
_NOISE_TIME_S = 0.4
# Sinking starts this near the staging point; one metre nearer sinks this many metres.
_FUNNEL_RADIUS_M = 0.012
_FUNNEL_SLOPE = 2.5
_ALIGN_GAIN_PER_S = 1.5
_SLIP_GAIN_PER_S = 0.3
# From the block's centre to the line on which the two fingers touch it.
_CONTACT_DEPTH_M = 0.04
# Fingers this far behind the block's centre touch it, yawed or not.
_TOUCHING_M = 0.055
_EARLY_STEERING = 1.6
# Friction carries the block sideways up to a slope of about 1; keep well below.
_LARGEST_SLOPE = 0.7
_NEAR_M = 0.05


class ScriptedOperator:
    """One episode at a time: :meth:`reset`, then :meth:`command` for every view, with growing times."""

    def __init__(self, config: OperatorConfig | None = None, seed: int = 0) -> None:
        self.config = config if config is not None else OperatorConfig()
        self.reset(seed)

    def reset(self, seed: int) -> None:
        """Start an episode; ``seed`` draws its noise and its pace."""
        self._rng = np.random.default_rng([abs(seed), 0x0B])
        self._pace = 1.0 + self._rng.uniform(-self.config.pace_spread, self.config.pace_spread)
        self._noise = np.zeros(3)
        self._twist = np.zeros(3)
        self._last_s: float | None = None

    def command(self, view: OperatorView) -> OperatorCommand:
        """Deflections for the present view. The deadman is let go when the task is done."""
        elapsed_s = 0.0 if self._last_s is None else max(0.0, view.time_s - self._last_s)
        self._last_s = view.time_s
        if view.success:
            self._twist = np.zeros(3)
            return OperatorCommand(np.zeros(6), deadman=False)
        wanted = self.velocity(view) * self._pace / self.config.linear_scale_m_s
        wanted = wanted + self._advance_noise(elapsed_s) * float(np.linalg.norm(wanted) > 0.0)
        keep = np.exp(-elapsed_s / self.config.smoothing_s) if self.config.smoothing_s > 0.0 else 0.0
        self._twist = np.clip(keep * self._twist + (1.0 - keep) * wanted, -1.0, 1.0)
        return OperatorCommand(np.concatenate([self._twist, np.zeros(3)]), deadman=True)

    def velocity(self, view: OperatorView) -> FloatArray:
        """Velocity of the end effector (3,) [m/s] that this view asks for, before pace, noise and smoothing."""
        to_goal = view.goal_pose[:2] - view.object_pose[:2]
        slope = push_slope(to_goal)
        offset = view.eef_position_m[:2] - view.object_pose[:2]
        if self._in_contact_place(view.eef_position_m[2], offset, slope):
            return self._push(view.eef_position_m[2], offset, slope, to_goal)
        if float(np.linalg.norm(to_goal)) < _STOP_DISTANCE_M:
            return np.zeros(3)
        return self._approach(view, slope)

    def _in_contact_place(self, height_m: float, offset: FloatArray, slope: float) -> bool:
        behind = _BEHIND_M[0] < -offset[0] < _BEHIND_M[1]
        beside = abs(offset[1] - _lateral_offset(slope)) < _BESIDE_M
        return bool(behind and beside and height_m < self.config.push_height_m + _LOW_M)

    def _push(self, height_m: float, offset: FloatArray, slope: float, to_goal: FloatArray) -> FloatArray:
        config = self.config
        vertical = _REST_GAIN_PER_S * (config.push_height_m - height_m)
        forward = min(config.push_speed_m_s, config.push_gain_per_s * float(to_goal[0]))
        if float(np.linalg.norm(to_goal)) < _STOP_DISTANCE_M or forward <= 0.0:
            return np.array([0.0, 0.0, vertical])
        # Two fingers on one face carry the block with them; before they touch it, and where they slip, they go to where the line of push wants them.
        touching = -offset[0] < _TOUCHING_M
        gain = _SLIP_GAIN_PER_S if touching else _ALIGN_GAIN_PER_S
        sideways = slope * forward if touching else 0.0
        sideways += gain * (_lateral_offset(slope) - offset[1]) * forward / config.push_speed_m_s
        return np.array([forward, sideways, vertical])

    def _approach(self, view: OperatorView, slope: float) -> FloatArray:
        config = self.config
        stage = view.object_pose[:2] + np.array([-config.standoff_m, _lateral_offset(slope)])
        planar = stage - view.eef_position_m[:2]
        error_m = float(np.linalg.norm(planar))
        rise_m = float(np.clip(_FUNNEL_SLOPE * (error_m - _FUNNEL_RADIUS_M), 0.0, config.safe_height_m - config.push_height_m))
        velocity = config.approach_gain_per_s * np.array([*planar, config.push_height_m + rise_m - view.eef_position_m[2]])
        speed = float(np.linalg.norm(velocity))
        return velocity * min(1.0, config.move_speed_m_s / max(speed, 1e-6))

    def _advance_noise(self, elapsed_s: float) -> FloatArray:
        """Ornstein-Uhlenbeck noise (3,)."""
        keep = float(np.exp(-elapsed_s / _NOISE_TIME_S))
        self._noise = keep * self._noise + self.config.noise * np.sqrt(1.0 - keep * keep) * self._rng.standard_normal(3)
        return self._noise


def push_slope(to_goal: FloatArray) -> float:
    """Sideways per forward motion for a block that lacks ``to_goal`` (2,) [m]: more than the straight line, to arrive from straight behind."""
    return float(np.clip(_EARLY_STEERING * to_goal[1] / max(float(to_goal[0]), _NEAR_M), -_LARGEST_SLOPE, _LARGEST_SLOPE))


def _lateral_offset(slope: float) -> float:
    """Where the middle of the fingers belongs, along y from the block's centre [m], for the line of push to pass through it."""
    return -_CONTACT_DEPTH_M * slope
