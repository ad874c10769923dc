"""Chunks of every bad kind, in any order, with ticks of any length. benchmarks/guard_check.py does it a million times."""

import itertools

import numpy as np
import pytest
from guard_harness import MS, QUAT, Bench
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from cdp.geometry import matrix_to_quat, quat_to_matrix, rotvec_to_matrix
from cdp_franka.guard_types import Source, State
from cdp_franka.rotation import turn_between

quick = settings(deadline=None, max_examples=40, phases=(Phase.explicit, Phase.reuse, Phase.generate))
KINDS = ("near", "near", "near", "near", "nan", "inf", "jump", "old", "repeated", "future", "past", "empty", "long", "huge_dt", "zero_dt")
events = st.tuples(
    st.sampled_from(KINDS),
    st.sampled_from(list(Source)),
    st.tuples(*[st.floats(-0.08, 0.08)] * 3),
    st.tuples(*[st.floats(-0.4, 0.4)] * 3),
    st.integers(1, 8),
    st.lists(st.sampled_from([0, 1, 2, 5, 10, 10, 17, 60, 400]), min_size=1, max_size=8),
)


def divided(rows, steps):
    """Velocity, acceleration and jerk of rows (N, D) at times steps (N - 1,) apart: divided differences times 1, 2 and 6."""
    times, values, factor, found = np.concatenate([[0.0], np.cumsum(steps)]), np.asarray(rows), 1.0, []
    for order in (1, 2, 3):
        factor *= order
        values = (values[1:] - values[:-1]) / (times[order:] - times[:-order])[:, None]
        found.append(values * factor)
    return found


def assert_safe(bench, run):
    """``run``: (seconds of the tick, output) in order, from rest."""
    config = bench.config
    for (_, before), (dt, after) in itertools.pairwise(run):
        if dt == 0.0:
            np.testing.assert_array_equal(before.position_m, after.position_m)
    run = [run[0], *(step for step in run[1:] if step[0] > 0.0)]
    if len(run) < 5:
        return
    steps, outs = [min(dt, config.max_tick_s) for dt, _ in run[1:]], [out for _, out in run]
    places = np.array([o.position_m for o in outs])
    assert np.all(np.isfinite(places))
    # One that began outside of the box comes no further out.
    assert np.all(places >= np.minimum(config.box.low_m, places[0])) and np.all(places <= np.maximum(config.box.high_m, places[0]))
    for along, low, high in zip(places.T, config.box.low_m, config.box.high_m, strict=True):
        excess = np.maximum(np.maximum(low - along, along - high), 0.0)
        # Once inside, back out at most to what the stop has to reach: no further than two ticks before it came in. A wall is met to 1e-12 m.
        came_in = int(np.argmax(excess == 0.0))
        assert came_in == 0 or np.all(excess[came_in:] <= excess[max(came_in - 2, 0)] + 1e-11)
    rotations = [quat_to_matrix(o.quat_xyzw) for o in outs]
    turns = np.array([turn_between(a, b) for a, b in itertools.pairwise(rotations)])
    angles = np.concatenate([np.zeros((1, 3)), np.cumsum(turns, axis=0)])
    linear = (config.linear_speed_m_s, config.linear_acceleration_m_s2, config.linear_jerk_m_s3)
    angular = (config.angular_speed_rad_s, config.angular_acceleration_rad_s2, config.angular_jerk_rad_s3)
    for rows, limits in ((places, linear), (angles, angular)):
        for order, (values, limit) in enumerate(zip(divided(rows, steps), limits, strict=True), 1):
            # Rounding of what is sent, 1e-15, over the shortest tick of 1 ms to the power of the order; the walls are met to 1e-12 m.
            slack = 1e-5 * limit + 8e-12 / 1e-3**order
            assert np.max(np.linalg.norm(values, axis=1)) <= limit + slack
    if outs[0].q_rad is not None:
        assert_joints_safe(config, outs, steps)


def assert_joints_safe(config, outs, steps):
    q, dq, robot = np.array([o.q_rad for o in outs]), np.array([o.dq_rad_s for o in outs]), config.limits
    assert np.all(q >= robot.q_min_rad + config.joint_margin_rad)
    assert np.all(q <= robot.q_max_rad - config.joint_margin_rad)
    low, high = robot.velocity_bounds_rad_s(q)
    assert np.all((dq >= low) & (dq <= high))
    limits = (
        config.joint_speed_share * robot.dq_max_rad_s,
        config.joint_acceleration_share * robot.ddq_max_rad_s2,
        config.joint_jerk_share * robot.dddq_max_rad_s3,
    )
    for order, (values, limit) in enumerate(zip(divided(q, steps), limits, strict=True), 1):
        assert np.all(np.abs(values) <= limit * (1 + 1e-5) + 8e-12 / 1e-3**order)


def send(bench, kind, source, offset, turn, rows):
    rows = {"empty": 0, "long": 1024}.get(kind, rows)
    base, rotation = np.asarray(bench.measured[0]), quat_to_matrix(bench.measured[1])
    offset = np.array(offset) * (6.0 if kind == "jump" else 1.0)
    positions = base + np.outer(np.arange(1, rows + 1) / max(rows, 1), offset)
    quats = matrix_to_quat(rotvec_to_matrix(np.outer(np.arange(1, rows + 1) / max(rows, 1), turn)) @ rotation) if rows else bench.measured[1]
    if kind in ("nan", "inf"):
        positions[-1, rows % 3] = {"nan": np.nan, "inf": np.inf}[kind]
    observed = bench.now_ns + {"old": -900 * MS, "future": 800 * MS, "past": -20 * MS}.get(kind, 0)
    observed = getattr(bench, "seen_ns", observed) if kind == "repeated" else observed
    bench.seen_ns = observed
    changes = {"observation_stamp_ns": observed, "next_within_s": 0.1, "dt_s": {"huge_dt": 1e30, "zero_dt": 0.0}.get(kind, 0.1)}
    if kind == "huge_dt":
        changes["start_stamp_ns"] = 1 << 62
    if kind == "past":
        changes["start_stamp_ns"] = bench.now_ns - 700 * MS
    with np.errstate(all="ignore"):
        bench.act(positions if rows else np.zeros((0, 10)), source=source, quat=quats if rows else bench.measured[1], **changes)


def ticked(bench, ticks):
    """(seconds of the tick, output) of ticks of these lengths [ms]; the arm follows the command perfectly."""
    run = []
    for length in ticks:
        bench.now_ms += length
        bench.sense()
        out = bench.guard.tick(bench.now_ns)
        run.append((length / 1e3, out))
        bench.measured = (out.position_m, out.quat_xyzw)
        bench.q = bench.q if out.q_rad is None else out.q_rad
    return run


def begin_outside(bench, wall, excess_m):
    """Engaged ``excess_m`` outside of one of the six walls."""
    low, high = bench.config.box.low_m, bench.config.box.high_m
    place = np.clip([0.45, 0.0, 0.3], low, high)
    place[wall % 3] = (low if wall < 3 else high)[wall % 3] + (-excess_m if wall < 3 else excess_m)
    bench.measured = (place, QUAT)
    return bench.re_engaged()


@pytest.mark.parametrize("interface", ["cartesian", "joint"])
@quick
@given(st.integers(0, 5), st.floats(0.0, 0.0099), st.lists(events, min_size=2, max_size=8))
def test_from_outside_of_the_box_the_way_leads_in_within_every_limit(interface, wall, excess_m, sequence):
    bench = Bench(command_interface=interface, workspace_x_m=(0.3, 0.6), workspace_y_m=(-0.2, 0.2), workspace_z_m=(0.15, 0.5))
    begin_outside(bench, wall, excess_m)
    run = [(0.0, bench.guard.tick(bench.now_ns))]
    for kind, source, offset, turn, rows, ticks in sequence:
        send(bench, kind, source, offset, turn, rows)
        run += ticked(bench, ticks)
    assert_safe(bench, run)


@pytest.mark.parametrize("interface", ["cartesian", "joint"])
@quick
@given(st.lists(events, min_size=2, max_size=16))
@example(
    [("near", Source.POLICY, (0.08, 0.0, -0.08), (0.4, 0.0, 0.0), 1, [10] * 8), ("nan", Source.POLICY, (0.0, 0.0, 0.0), (0.0, 0.0, 0.0), 1, [1] * 8)]
)
def test_whatever_is_sent_at_whatever_times_every_command_is_within_every_limit(interface, sequence):
    """Catches, among others, a tick whose length is forgotten, a stop under the wrong bounds, and a bound of 0.0 m that is taken for none."""
    bench = Bench(command_interface=interface, workspace_z_m=(0.0, 0.6)).engaged()
    run = [(0.0, bench.guard.tick(bench.now_ns))]
    for kind, source, offset, turn, rows, ticks in sequence:
        if bench.guard.state is State.FAULT:
            for _ in range(40):
                run.append((0.01, bench.run(10)))
            assert_safe(bench, run)
            if interface == "joint":
                bench.q = run[-1][1].q_rad
            try:
                bench.re_engaged()
            except AssertionError:
                return  # the arm is somewhere that it may not begin from
            run = [(0.0, bench.guard.tick(bench.now_ns))]
        send(bench, kind, source, offset, turn, rows)
        run += ticked(bench, ticks)
    assert_safe(bench, run)
