import itertools

import numpy as np
import pytest
from guard_harness import MS, POSITION, QUAT, ROTATION, Bench
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from cdp.config import ConfigError, from_mapping
from cdp.geometry import matrix_to_quat, quat_to_matrix, rotvec_to_matrix
from cdp_franka.guard import GuardCore
from cdp_franka.guard_config import GuardConfig
from cdp_franka.guard_types import Reason, Source, Space, State
from cdp_franka.kinematics import forward
from cdp_franka.limits import FR3
from cdp_franka.rotation import turn_between

NEAR = POSITION + np.array([0.05, 0.03, 0.02])


def divided(positions, dt_s):
    """Velocity, acceleration and jerk of rows (N, D) that are ``dt_s`` apart and begin at rest."""
    rows = np.concatenate([np.repeat(positions[:1], 3, axis=0), positions])
    return [np.diff(rows, order, axis=0) / dt_s**order for order in (1, 2, 3)]


def assert_within_limits(outputs, config, dt_s=0.01):
    """Every commanded step of consecutive sent outputs: finite, in the box, within speed, acceleration and jerk."""
    sent = [o for o in outputs if o.send]
    if not sent:
        return
    positions = np.array([o.position_m for o in sent])
    assert np.all(np.isfinite(positions))
    assert np.all(positions >= config.box.low_m)
    assert np.all(positions <= config.box.high_m)
    # The clip to the box moves a position by a nanometre at most: 8e-9 / dt^3 in a third difference.
    slack = 8e-9 / dt_s**3
    limits = (config.linear_speed_m_s, config.linear_acceleration_m_s2, config.linear_jerk_m_s3)
    for values, limit in zip(divided(positions, dt_s), limits, strict=True):
        assert np.max(np.linalg.norm(values, axis=1)) <= limit * (1 + 1e-6) + slack
    rotations = [quat_to_matrix(o.quat_xyzw) for o in sent]
    turns = np.array([turn_between(a, b) for a, b in itertools.pairwise(rotations)]).reshape(-1, 3)
    angles = np.concatenate([np.zeros((1, 3)), np.cumsum(turns, axis=0)])
    limits = (config.angular_speed_rad_s, config.angular_acceleration_rad_s2, config.angular_jerk_rad_s3)
    for values, limit in zip(divided(angles, dt_s), limits, strict=True):
        # Quaternions are kept to about 1e-15; their third differences over 10 ms to 1e-8.
        assert np.max(np.linalg.norm(values, axis=1), initial=0) <= limit * (1 + 1e-5) + 1e-6


def assert_joints_within_limits(outputs, config, dt_s=0.01):
    """Joint commands: within the margin of the position limits and the shares of velocity, acceleration and jerk limits."""
    q = np.array([o.q_rad for o in outputs if o.send])
    limits = config.limits
    assert np.all(q >= limits.q_min_rad + config.joint_margin_rad)
    assert np.all(q <= limits.q_max_rad - config.joint_margin_rad)
    bounds = (
        config.joint_speed_share * limits.dq_max_rad_s,
        config.joint_acceleration_share * limits.ddq_max_rad_s2,
        config.joint_jerk_share * limits.dddq_max_rad_s3,
    )
    for values, bound in zip(divided(q, dt_s), bounds, strict=True):
        assert np.all(np.abs(values) <= bound * (1 + 1e-6) + 8e-9 / dt_s**3)
    for o in (o for o in outputs if o.send):
        low, high = limits.velocity_bounds_rad_s(o.q_rad)
        assert np.all((o.dq_rad_s >= low - 1e-9) & (o.dq_rad_s <= high + 1e-9))


def test_refuses_before_the_first_engage():
    bench = Bench()
    bench.act(NEAR)
    out = bench.run(500)
    assert (out.state, out.reason, out.send, out.position_m) == (State.REFUSING, Reason.NOT_ENGAGED, False, None)


def test_engage_starts_at_the_measured_pose_and_holds_it():
    bench = Bench().engaged()
    out = bench.run(500)
    assert (out.state, out.reason, out.send) == (State.HOLDING, Reason.NO_SOURCE, True)
    np.testing.assert_allclose(out.position_m, POSITION, atol=1e-12)
    np.testing.assert_allclose(out.quat_xyzw, QUAT, atol=1e-9)
    assert out.gripper_width_m == 0.06


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda b: None, "none received"),
        (lambda b: (b.sense(), setattr(b, "now_ms", b.now_ms + 150)), "old"),
        (lambda b: (b.sense(), b.guard.on_pose(b.now_ns, POSITION + np.array([0.0, 0.0, 0.1]), QUAT)), "forward kinematics"),
        (lambda b: (b.sense(), b.guard.on_pose(b.now_ns, POSITION * [1, 1, 0] - [0, 0, 0.01], QUAT)), "outside the workspace"),
        (lambda b: (setattr(b, "q", np.array([2.74, -0.2, 0, -2.3, 0, 2.1, 0])), b.sense()), "fr3_joint1"),
        (lambda b: (b.guard.on_joints(b.now_ns, np.full(7, np.nan), np.zeros(7)), b.guard.on_pose(b.now_ns, POSITION, QUAT)), "none received"),
    ],
)
def test_engage_is_refused_with_the_reason(spoil, words):
    bench = Bench()
    spoil(bench)
    ok, message = bench.guard.engage(bench.now_ns)
    assert not ok
    assert words in message
    assert bench.guard.state is State.REFUSING


@pytest.mark.parametrize("interface", ["cartesian", "joint"])
def test_an_arm_that_settled_outside_of_the_box_is_engaged_where_it_is_and_comes_in(interface):
    bench = Bench(command_interface=interface)
    floor = bench.config.box.low_m[2]
    begin = np.array([0.45, 0.0, floor - 0.005])
    bench.measured = (begin, QUAT)
    bench.re_engaged()
    out = bench.run(300)
    assert out.state is State.HOLDING
    np.testing.assert_allclose(out.position_m, begin, atol=1e-4)
    first = out.position_m
    # Aimed at still lower, which is cut off at the floor: the arm comes up to that.
    out = bench.stream(begin - [0.0, 0.0, 0.004], 1500)
    assert out.state is State.POLICY
    np.testing.assert_allclose(out.position_m[2], floor, atol=1e-6)
    heights = np.array([o.position_m[2] for o in bench.outputs if o.send])
    assert heights.min() >= first[2] - 1e-9 and np.all(np.diff(heights) >= -1e-9), "further out than where it began"
    steps = np.diff([o.position_m for o in bench.outputs if o.send], axis=0)
    assert np.linalg.norm(steps, axis=1).max() <= bench.config.linear_speed_m_s * 0.01 * (1 + 1e-6)
    # From then on the box holds.
    count = len(bench.outputs)
    bench.stream(begin + np.array([0.0, 0.0, 0.1]), 1500)
    bench.stream(begin - [0.0, 0.0, 0.004], 2500)
    assert min(o.position_m[2] for o in bench.outputs[count:]) >= floor - 1e-8


@pytest.mark.parametrize("by", ["up", "path"])
def test_a_retreat_from_outside_of_the_box_comes_to_its_end(by):
    bench = Bench(retreat_by=by)
    begin = np.array([0.45, 0.0, bench.config.box.low_m[2] - 0.008])
    bench.measured = (begin, QUAT)
    bench.re_engaged()
    bench.stream(begin + np.array([0.0, 0.05, 0.02]), 1500)
    ok, message = bench.guard.retreat(bench.now_ns)
    assert ok, message
    bench.run(30_000)
    assert bench.outputs[-1].reason is Reason.RETREATED


def test_engage_waits_for_the_gripper():
    bench = Bench()
    bench.guard.on_joints(bench.now_ns, bench.q, np.zeros(7))
    bench.guard.on_pose(bench.now_ns, POSITION, QUAT)
    assert "gripper" in bench.guard.engage(bench.now_ns)[1]
    bench = Bench(has_gripper=False)
    bench.guard.on_joints(bench.now_ns, bench.q, np.zeros(7))
    bench.guard.on_pose(bench.now_ns, POSITION, QUAT)
    assert bench.guard.engage(bench.now_ns)[0]
    assert bench.run(10).gripper_width_m is None


def test_follows_an_action_and_reaches_it():
    bench = Bench().engaged()
    out = bench.stream(NEAR, 1500)
    assert (out.state, out.reason) == (State.POLICY, Reason.NONE)
    np.testing.assert_allclose(out.position_m, NEAR, atol=1e-4)
    assert out.gripper_width_m == 0.05
    assert_within_limits(bench.outputs, bench.config)


def test_a_chunk_is_a_motion_in_time():
    """A straight line at 0.1 m/s: row i is reached at start + i dt, positions between rows are on the line."""
    bench = Bench().engaged()
    rows = POSITION + np.outer(np.arange(1, 17), [0.0, 0.01, 0.0])
    bench.act(rows)
    for k in range(1, 161):
        bench.keep_alive()
        out = bench.run(10)
        if k > 30:  # after the start from rest
            assert out.position_m[1] == pytest.approx(POSITION[1] + 0.001 * k, abs=5e-4)


def test_keep_alive_goes_on_with_the_last_chunk_until_it_is_exhausted():
    bench = Bench().engaged()
    bench.act(POSITION + np.outer(np.arange(1, 5), [0.0, 0.01, 0.0]))
    for _ in range(20):
        bench.keep_alive()
        out = bench.run(100)
    assert (out.state, out.reason) == (State.HOLDING, Reason.CHUNK_EXHAUSTED)
    assert out.position_m[1] == pytest.approx(POSITION[1] + 0.04, abs=1e-3)


def test_silence_holds_the_last_commanded_target_and_the_source_may_come_back():
    bench = Bench().engaged()
    bench.stream(NEAR, 500)
    moving = bench.run(250)
    bench.measured = (POSITION, QUAT)  # a sagging arm: what is held is the command, not the measurement
    out = bench.run(1000, follow=False)
    assert (out.state, out.reason) == (State.HOLDING, Reason.SOURCE_STALE)
    assert np.linalg.norm(out.position_m - moving.position_m) < 0.25**2 / (2 * 1.5) + 0.01
    bench.measured = (out.position_m, QUAT)
    out = bench.stream(NEAR, 1000)
    assert out.state is State.POLICY
    np.testing.assert_allclose(out.position_m, NEAR, atol=1e-3)
    assert_within_limits(bench.outputs, bench.config)


def test_operator_takes_over_from_the_policy_without_a_jump_and_gives_back():
    bench = Bench().engaged()
    bench.stream(NEAR, 400)
    target = bench.outputs[-1].position_m
    for _ in range(5):
        bench.act(NEAR)
        bench.act(target - [0.0, 0.02, 0.0], source=Source.OPERATOR, width=0.02)
        out = bench.run(100)
    assert out.state is State.OPERATOR
    assert out.position_m[1] == pytest.approx(target[1] - 0.02, abs=2e-3)
    assert out.gripper_width_m == 0.02
    released_ns = bench.now_ns
    bench.keep_alive(source=Source.OPERATOR, deadman=False)
    bench.act(NEAR, observation_stamp_ns=released_ns - 10 * MS)
    out = bench.run(50)
    assert (out.state, out.reason) == (State.HOLDING, Reason.DEADMAN_RELEASED)
    bench.act(NEAR)
    assert bench.run(50).state is State.POLICY
    assert_within_limits(bench.outputs, bench.config)


def test_an_operator_with_the_authority_keeps_the_policy_out_with_the_deadman_released():
    bench = Bench().engaged()
    bench.stream(POSITION, 300)
    assert bench.outputs[-1].state is State.POLICY
    for _ in range(4):
        bench.keep_alive(source=Source.OPERATOR, deadman=False, authority=True)
        bench.act(POSITION)
        out = bench.run(100)
    assert (out.state, out.reason) == (State.HOLDING, Reason.DEADMAN_RELEASED)
    # A node that dies with the authority does not hand over by dying.
    out = bench.stream(POSITION, 1000)
    assert (out.state, out.reason) == (State.HOLDING, Reason.SOURCE_STALE)
    bench.keep_alive(source=Source.OPERATOR, deadman=False)
    assert bench.stream(POSITION, 200).state is State.POLICY


def test_a_silent_operator_with_the_deadman_held_is_not_replaced_by_the_policy():
    bench = Bench().engaged()
    bench.stream(NEAR, 200, source=Source.OPERATOR)
    out = bench.stream(NEAR, 1000)
    assert (out.state, out.reason) == (State.HOLDING, Reason.SOURCE_STALE)


def test_an_observation_from_before_the_engage_is_ignored():
    bench = Bench().engaged()
    bench.run(10)
    bench.act(NEAR, observation_stamp_ns=bench.now_ns - 30 * MS)
    assert bench.run(50).reason is Reason.NO_SOURCE


def test_a_nan_is_a_fault_that_latches_until_engaged_again():
    bench = Bench().engaged()
    bench.stream(NEAR, 300)
    bench.act([np.nan, 0.0, 0.3])
    out = bench.run(500)
    assert (out.state, out.reason) == (State.FAULT, Reason.NOT_FINITE)
    held = out.position_m
    out = bench.stream(NEAR, 500)
    assert out.state is State.FAULT
    np.testing.assert_array_equal(out.position_m, held)
    assert bench.re_engaged().stream(NEAR, 500).state is State.POLICY


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"frame_id": "world"}, Reason.MALFORMED),
        ({"space": Space.JOINT_POSITION}, Reason.MALFORMED),
        ({"next_within_s": 1e9}, Reason.MALFORMED),
        ({"next_within_s": float("nan")}, Reason.MALFORMED),
        ({"dt_s": 0.0}, Reason.MALFORMED),
        ({"rows": np.zeros((2, 9))}, Reason.MALFORMED),
        ({"rows": np.concatenate([POSITION, np.zeros(6), [0.05]])[None]}, Reason.MALFORMED),
        ({"width": 40.0}, Reason.MALFORMED),
        ({"observation_stamp_ns": 0}, Reason.MALFORMED),
        ({"observation_stamp_ns": 99_400 * MS}, Reason.OBSERVATION_STALE),
        ({"observation_stamp_ns": 101_000 * MS}, Reason.MALFORMED),
        ({"start_stamp_ns": 200_000 * MS}, Reason.MALFORMED),
        ({"position": POSITION + np.array([0.2, 0.0, 0.0])}, Reason.TARGET_JUMP),
        ({"quat": matrix_to_quat(ROTATION @ rotvec_to_matrix([1.0, 0, 0]))}, Reason.TARGET_JUMP),
        ({"position": POSITION + np.array([[0.1, 0.0, 0.0], [-0.1, 0.0, 0.0]])}, Reason.TARGET_JUMP),
    ],
)
def test_an_unfit_action_is_refused_and_the_reason_is_told(changes, reason):
    bench = Bench().engaged()
    bench.run(10)
    bench.act(**{"position": NEAR, **changes})
    out = bench.run(100)
    assert (out.state, out.reason) == (State.HOLDING, reason), out.message
    np.testing.assert_allclose(out.position_m, POSITION, atol=1e-12)
    assert bench.guard.rejected_actions == 1


def test_a_policy_target_outside_the_box_is_a_fault_that_names_axis_and_excess():
    bench = Bench().engaged()
    low = np.array([POSITION[0], POSITION[1], bench.config.box.low_m[2]])
    while bench.run(10).position_m[2] > low[2] + 0.05:
        bench.stream(bench.outputs[-1].position_m - [0, 0, 0.04], 100)
    bench.act(low - [0, 0, 0.03])
    out = bench.run(300)
    assert (out.state, out.reason) == (State.FAULT, Reason.WORKSPACE)
    assert "z = -0.0180 m is 0.0300 m outside" in out.message
    assert_within_limits(bench.outputs, bench.config)


def test_the_operator_feels_the_wall_and_a_table_at_zero_is_solid():
    bench = Bench(workspace_z_m=(-0.5, 0.6), table_z_m=0.0).engaged()
    for _ in range(60):
        bench.act(bench.measured[0] - [0.0, 0.0, 0.08], source=Source.OPERATOR)
        out = bench.run(100)
    assert out.state is State.OPERATOR
    assert out.position_m[2] == pytest.approx(0.0, abs=1e-6)
    assert out.limited
    assert_within_limits(bench.outputs, bench.config)


def test_the_leash_keeps_the_command_near_an_arm_that_is_stuck():
    bench = Bench().engaged()
    for k in range(30):
        bench.act(POSITION + np.array([0.0, 0.01 * k, 0.0]), source=Source.OPERATOR)
        out = bench.run(100, follow=False)
    assert np.linalg.norm(out.position_m - POSITION) == pytest.approx(bench.config.leash_m, abs=1e-3)
    assert bench.guard.limited_ticks > 0


def test_stale_state_is_a_fault():
    bench = Bench().engaged()
    bench.stream(NEAR, 200)
    for _ in range(3):
        bench.act(NEAR)
        out = bench.run(100, sense=False)
    assert (out.state, out.reason) == (State.FAULT, Reason.STATE_STALE)


@pytest.mark.parametrize(
    ("inject", "reason"),
    [
        (lambda b: b.guard.on_joints(b.now_ns, np.full(7, np.nan), np.zeros(7)), Reason.NOT_FINITE),
        (lambda b: b.guard.on_pose(b.now_ns, [0.5, np.inf, 0.2], QUAT), Reason.NOT_FINITE),
        (lambda b: setattr(b, "q", np.array([0.0, -0.2, 0, -0.16, 0, 2.1, 0])), Reason.JOINT_LIMIT),
    ],
)
def test_a_bad_state_is_a_fault(inject, reason):
    bench = Bench().engaged()
    bench.run(50)
    inject(bench)
    assert bench.run(20).reason is reason


def test_a_joint_that_moves_too_fast_is_a_fault():
    bench = Bench().engaged()
    bench.guard.on_joints(bench.now_ns, bench.q, np.full(7, 3.0))
    bench.now_ms += 10
    assert bench.guard.tick(bench.now_ns).reason is Reason.JOINT_VELOCITY


def test_time_going_back_is_a_fault_and_stamps_from_before_do_not_count():
    bench = Bench().engaged()
    bench.stream(NEAR, 300)
    bench.now_ms -= 5000
    out = bench.run(20)
    assert (out.state, out.reason) == (State.FAULT, Reason.CLOCK)
    bench.run(400)
    assert bench.re_engaged().run(200).state is State.HOLDING


def test_disengaging_stops_the_commands():
    bench = Bench().engaged()
    bench.stream(NEAR, 300)
    assert bench.guard.disengage(bench.now_ns)[0]
    out = bench.stream(NEAR, 300)
    assert (out.state, out.reason, out.send) == (State.REFUSING, Reason.DISENGAGED, False)


def test_joint_commands_follow_within_the_joint_limits():
    bench = Bench(command_interface="joint").engaged()
    goal = POSITION + np.array([0.05, 0.1, -0.08])
    turned = matrix_to_quat(rotvec_to_matrix([0, 0, 0.4]) @ ROTATION)
    out = bench.stream(goal, 2500, quat=turned)
    assert out.state is State.POLICY, out.message
    position, rotation = forward(out.q_rad)
    assert np.linalg.norm(position - goal) < 1e-3
    assert np.linalg.norm(turn_between(rotation, quat_to_matrix(turned))) < 5e-3
    dq = np.array([o.dq_rad_s for o in bench.outputs])
    assert np.all(np.abs(dq) <= bench.config.joint_speed_share * FR3.dq_max_rad_s + 1e-9)
    assert_joints_within_limits(bench.outputs, bench.config)


def test_lock_step_waits_for_state_and_for_the_followed_source():
    bench = Bench().engaged()
    t = bench.now_ns
    assert bench.guard.waiting_for(t, t) is None
    assert bench.guard.waiting_for(t + 1, t) == "joint states"
    bench.guard.on_joints(t + 1, bench.q, np.zeros(7))
    assert bench.guard.waiting_for(t + 1, t) == "the measured pose"
    bench.guard.on_pose(t + 1, *bench.measured)
    assert bench.guard.waiting_for(t + 1, t) == "the gripper's state"
    bench.guard.on_gripper(t + 1, 0.06)
    assert bench.guard.waiting_for(t + 1, t) is None
    bench.stream(NEAR, 100)
    t = bench.now_ns  # the action answered an observation 100 ms ago and promised the next within 100 ms
    assert bench.guard.waiting_for(t, t - 1) is None
    assert bench.guard.waiting_for(t, t) == "the policy"
    bench.keep_alive()
    assert bench.guard.waiting_for(t, t) is None


def test_lock_step_waits_for_a_policy_that_is_held_back_too():
    """Catches runs that differ by when, in wall-clock time, the policy's next good chunk comes."""
    bench = Bench().engaged()
    bench.stream(NEAR, 100)
    bench.act(POSITION + np.array([0.0, 0.0, 0.5]))  # too far: refused, so that what was sent before runs out
    out = bench.run(200)
    assert (out.state, out.reason) == (State.HOLDING, Reason.TARGET_JUMP), out.message
    assert bench.guard.waiting_for(bench.now_ns, bench.now_ns + 200_000_000) == "the policy"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("state_timeout_s", 0.0),
        ("linear_speed_m_s", 10.0),
        ("workspace_x_m", [0.7, 0.3]),
        ("source_margin_s", float("inf")),
        ("workspace_z_m", [-0.4, 0.01]),
    ],
)
def test_a_config_that_would_open_a_hole_is_refused_by_name(key, value):
    with pytest.raises(ConfigError, match=key):
        from_mapping(GuardConfig, {key: value})


# Shrinking sequences of events takes minutes; the seed that is printed repeats a failure.
quick = settings(deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
number = st.one_of(st.floats(-0.3, 0.3), st.floats(allow_nan=True, allow_infinity=True, width=32))
sources = st.sampled_from(list(Source))
offsets = st.tuples(number, number, number)
events = st.one_of(
    st.tuples(st.just("act"), sources, offsets, st.integers(-700, 100), st.booleans(), st.integers(1, 4)),
    st.tuples(
        st.just("near"), st.sampled_from(list(Source)), st.tuples(*[st.floats(-0.1, 0.1)] * 3), st.integers(-60, 10), st.just(True), st.integers(1, 4)
    ),
    st.tuples(st.just("turn"), sources, st.tuples(*[st.floats(-0.6, 0.6)] * 3), st.just(0), st.just(True), st.just(1)),
    st.tuples(st.just("run"), st.integers(10, 400), st.booleans()),
    st.tuples(st.just("engage")),
)


@settings(quick, max_examples=60)
@given(st.lists(events, min_size=3, max_size=14))
def test_whatever_comes_every_command_is_safe(sequence):
    bench = Bench().engaged()
    for event in sequence:
        if event[0] == "run":
            bench.run(event[1], sense=event[2])
        elif event[0] == "engage":
            if bench.guard.state is State.FAULT:
                # The new start is the measured pose: what came before is another motion, and comes to rest first.
                bench.run(400)
                assert_within_limits(bench.outputs, bench.config)
                bench.outputs[:] = [bench.re_engaged().guard.tick(bench.now_ns)]
        else:
            send(bench, *event)
    bench.run(300)
    assert_within_limits(bench.outputs, bench.config)


def send(bench, kind, source, offset, age_ms, deadman, rows):
    stamps = {"observation_stamp_ns": bench.now_ns + age_ms * MS, "deadman": deadman, "source": source}
    with np.errstate(all="ignore"):
        if kind == "turn":
            bench.act(bench.measured[0], quat=matrix_to_quat(rotvec_to_matrix(offset) @ ROTATION), **stamps)
        else:
            base = np.asarray(bench.measured[0])
            bench.act(base + np.outer(np.arange(1, rows + 1) / rows, offset), **stamps)


@settings(quick, max_examples=30)
@given(st.lists(events.filter(lambda e: e[0] != "engage"), max_size=12))
def test_never_a_command_before_engaging(sequence):
    bench = Bench()
    for event in sequence:
        if event[0] == "run":
            bench.run(event[1], sense=event[2])
        else:
            send(bench, *event)
    assert not any(o.send for o in bench.outputs)


def test_the_same_inputs_give_the_same_outputs():
    def trace():
        bench = Bench().engaged()
        bench.stream(NEAR, 500)
        return np.array([o.position_m for o in bench.outputs])

    np.testing.assert_array_equal(trace(), trace())


def test_the_core_needs_a_config():
    assert GuardCore(GuardConfig()).state is State.REFUSING
