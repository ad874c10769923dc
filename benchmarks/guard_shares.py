"""How much of each limit the guard's commands used: divided differences over the motion's time, independent of the guard's own code."""

from __future__ import annotations

import numpy as np

from cdp_franka.guard_config import GuardConfig
from cdp_franka.guard_types import GuardOutput

# Shares that say yes or no: anything but zero is a failure.
YES_NO = ("a tick of no length moves", "not finite", "outside of the box", "outside of the joint range")
# A command that moves slower than this share of the speed limits counts as at rest.
_MOVING = 0.01


def shares(run: list[tuple[float, GuardOutput]], config: GuardConfig) -> tuple[dict[str, float], int]:
    """Of commands that follow one another, each with its seconds: the greatest share of each limit, and how many ticks moved."""
    steps = np.array([dt for dt, _ in run])
    places = np.array([out.position_m for _, out in run])
    quats = np.array([out.quat_xyzw for _, out in run])
    still = steps[1:] == 0.0
    found = {"a tick of no length moves": float(np.any((places[1:] != places[:-1])[still]) or np.any((quats[1:] != quats[:-1])[still]))}
    found["not finite"] = float(not (np.all(np.isfinite(places)) and np.all(np.isfinite(quats))))
    low, high = config.box.low_m, config.box.high_m
    found["outside of the box"] = float(np.max(np.maximum(low - places, places - high)) > 0.0)
    found["box, from its middle"] = float(np.max(np.abs(places - 0.5 * (low + high)) / (0.5 * (high - low))))
    # A tick of no length sends the same again; it has no velocity.
    moved = np.concatenate([[True], ~still])
    steps, places, angles = steps[moved][1:], places[moved], turned(quats[moved])
    moving = 0
    for what, rows, limits in (
        ("linear", places, (config.linear_speed_m_s, config.linear_acceleration_m_s2, config.linear_jerk_m_s3)),
        ("angular", angles, (config.angular_speed_rad_s, config.angular_acceleration_rad_s2, config.angular_jerk_rad_s3)),
    ):
        lengths = [np.linalg.norm(value, axis=1) for value in divided(rows, steps)]
        for name, length, limit in zip(("speed", "acceleration", "jerk"), lengths, limits, strict=True):
            found[f"{what} {name}"] = float(np.max(length, initial=0.0) / limit)
        found[f"{what} step of the longest tick"] = float(np.max(lengths[0] * steps, initial=0.0) / (limits[0] * config.max_tick_s))
        moving = max(moving, int(np.sum(lengths[0] > _MOVING * limits[0])))
    if run[0][1].q_rad is not None:
        found |= joint_shares([out for (_, out), keep in zip(run, moved, strict=True) if keep], steps, config)
    return found, moving


def joint_shares(outs: list[GuardOutput], steps: np.ndarray, config: GuardConfig) -> dict[str, float]:
    """The same of the joints, by ``steps`` (N - 1,)."""
    q, dq, robot = np.array([o.q_rad for o in outs]), np.array([o.dq_rad_s for o in outs]), config.limits
    low, high = robot.velocity_bounds_rad_s(q)
    outside = np.max(np.maximum(robot.q_min_rad + config.joint_margin_rad - q, q - robot.q_max_rad + config.joint_margin_rad))
    bound = np.where(dq == 0.0, 0.0, np.abs(dq) / np.maximum(np.where(dq > 0.0, high, -low), 1e-12))
    found = {
        "not finite": float(not (np.all(np.isfinite(q)) and np.all(np.isfinite(dq)))),
        "outside of the joint range": float(outside > 0.0),
        "joint speed near the stops": float(np.max(bound)),
    }
    limits = (
        config.joint_speed_share * robot.dq_max_rad_s,
        config.joint_acceleration_share * robot.ddq_max_rad_s2,
        config.joint_jerk_share * robot.dddq_max_rad_s3,
    )
    for name, value, limit in zip(("speed", "acceleration", "jerk"), divided(q, steps), limits, strict=True):
        found[f"joint {name}"] = float(np.max(np.abs(value) / limit, initial=0.0))
    return found


def turned(quats: np.ndarray) -> np.ndarray:
    """Sums (N, 3) [rad] of the rotation vectors from each quaternion (N, 4) xyzw to the next, in the base frame."""
    (a, u), (b, v) = (quats[1:, 3:], quats[1:, :3]), (quats[:-1, 3:], -quats[:-1, :3])
    cosine = a * b - np.sum(u * v, axis=1, keepdims=True)
    vector = (a * v + b * u + np.cross(u, v)) * np.where(cosine < 0.0, -1.0, 1.0)
    sine = np.linalg.norm(vector, axis=1, keepdims=True)
    angle = 2.0 * np.arctan2(sine, np.abs(cosine))
    turns = vector * np.where(sine > 1e-12, angle / np.maximum(sine, 1e-12), 2.0)
    return np.concatenate([np.zeros((1, 3)), np.cumsum(turns, axis=0)])


def divided(rows: np.ndarray, steps: np.ndarray) -> list[np.ndarray]:
    """Velocity, acceleration and jerk of rows (N, D), steps (N - 1,) apart: divided differences times 1, 2 and 6."""
    times, values, factor, found = np.concatenate([[0.0], np.cumsum(steps)]), rows, 1.0, []
    for order in (1, 2, 3):
        factor *= order
        values = (values[1:] - values[:-1]) / (times[order:] - times[:-order])[:, None] if len(values) > 1 else np.zeros((0, rows.shape[1]))
        found.append(values * factor)
    return found
