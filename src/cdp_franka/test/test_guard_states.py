"""Retreat, recovery, watchdogs and the look ahead, on the bench of ``guard_harness``."""

import numpy as np
import pytest
from guard_harness import MS, POSITION, QUAT, Bench, Q
from test_guard import assert_within_limits

from cdp_franka.guard_types import Reason, Source, State
from cdp_franka.kinematics import forward

NEAR = POSITION + np.array([0.05, 0.03, 0.02])


def rotate(quat, by):
    """The rotation ``by``, in the base's frame, after ``quat``; both xyzw."""
    from cdp.geometry import matrix_to_quat, quat_to_matrix

    return matrix_to_quat(quat_to_matrix(by) @ quat_to_matrix(quat))


def s_curve(t):
    """A demonstration: 0.2 m in 1.5 s, a quintic whose speed rises to 0.25 m/s."""
    s = np.clip(np.atleast_1d(t) / 1.5, 0.0, 1.0)
    return POSITION + np.outer(10 * s**3 - 15 * s**4 + 6 * s**5, [0.0, 0.2, 0.0])


@pytest.mark.parametrize(("horizon", "noise_m", "most_m"), [(16, 0.0, 0.8e-3), (1, 0.0, 2.3e-3), (16, 2e-3, 8e-3)])
def test_a_demonstration_at_a_quarter_of_a_metre_per_second_is_followed_without_visible_lag(horizon, noise_m, most_m):
    """Largest distance from the demonstration at the same time. One tick of lag would be 2.5 mm. The noisy rows are themselves up to 6 mm off it."""
    rng, bench = np.random.default_rng(0), Bench(max_next_within_s=1.0, max_observation_age_s=1.0).engaged()
    bench.run(200)
    begin_ms, gaps = bench.now_ms, []
    for k in range(20):
        elapsed = (bench.now_ms - begin_ms) / 1e3
        if horizon == 1 or k % 4 == 0:
            rows = s_curve(elapsed + 0.1 * np.arange(1, horizon + 1))
            bench.act(rows + noise_m * rng.normal(size=rows.shape), next_within_s=0.5 if horizon > 1 else 0.1)
        for _ in range(10):
            out = bench.run(10)
            gaps.append(np.linalg.norm(out.position_m - s_curve((bench.now_ms - begin_ms) / 1e3)[0]))
    assert out.state is State.POLICY
    assert max(gaps) < most_m
    assert_within_limits(bench.outputs, bench.config)


def held_after(bench, reason, **last):
    """Milliseconds from the last message until the guard holds for ``reason``."""
    bench.act(NEAR, **last)
    for k in range(1, 500):
        if bench.run(1, step_ms=1).reason is reason:
            return k
    raise AssertionError(bench.outputs[-1])


@pytest.mark.parametrize("source", list(Source))
def test_a_silent_source_is_held_within_100_ms_of_its_last_message(source):
    """Half a camera period is what the policy promises."""
    bench = Bench().engaged()
    bench.stream(NEAR, 300, source=source)
    assert 90 <= held_after(bench, Reason.SOURCE_STALE, source=source, next_within_s=0.5 / 30) <= 100


def test_a_source_that_answers_the_same_picture_again_and_again_is_held_within_100_ms():
    """Catches a watchdog that takes any message for a sign of life: the camera behind the policy is dead."""
    bench = Bench().engaged()
    bench.stream(NEAR, 300)
    seen_ns, elapsed = bench.now_ns, 0
    while bench.run(10).reason is not Reason.OBSERVATION_STALE:
        elapsed += 10
        bench.act(NEAR, observation_stamp_ns=seen_ns, next_within_s=0.5 / 30)
        assert elapsed <= 110
    assert bench.outputs[-1].state is State.HOLDING
    assert "camera" in bench.outputs[-1].message


def test_a_source_that_answers_ever_older_pictures_is_held():
    bench = Bench().engaged()
    bench.stream(NEAR, 300)
    start = bench.now_ns
    for k in range(1, 30):
        bench.act(NEAR, observation_stamp_ns=start + k * 5 * MS, next_within_s=0.05)
        out = bench.run(30)
        if out.state is State.HOLDING:
            break
    assert out.reason is Reason.OBSERVATION_STALE
    # It fell behind by 25 ms a time, from 100 ms.
    assert 25 * k <= 1e3 * bench.config.max_observation_age_s + 30


def test_stale_states_are_a_fault_after_100_ms():
    bench = Bench().engaged()
    bench.run(50)
    elapsed = next(k for k in range(1, 300) if bench.run(1, step_ms=1, sense=False).state is State.FAULT)
    assert 100 <= elapsed <= 101


def test_a_released_deadman_is_a_hold_at_the_next_tick():
    bench = Bench().engaged()
    bench.stream(NEAR, 300, source=Source.OPERATOR)
    bench.keep_alive(source=Source.OPERATOR, deadman=False)
    assert bench.run(10).reason is Reason.DEADMAN_RELEASED


def test_out_of_a_fault_it_recovers_before_a_source_is_followed():
    bench = Bench().engaged()
    bench.stream(NEAR, 200)
    bench.act([np.nan, 0.0, 0.3])
    assert not bench.guard.engage(bench.now_ns)[0]
    bench.run(400)
    bench.re_engaged()
    bench.act(bench.measured[0])
    out = bench.run(90)
    assert (out.state, out.reason) == (State.RECOVERING, Reason.RECOVERY)
    assert "not finite" in out.message
    assert bench.stream(bench.measured[0], 200).state is State.POLICY


def test_a_cause_that_comes_back_while_recovering_is_a_fault_again():
    bench = Bench().engaged()
    bench.run(20)
    bench.run(150, sense=False)
    assert bench.guard.state is State.FAULT
    bench.run(300)
    bench.re_engaged()
    bench.run(20)
    out = bench.run(150, sense=False)
    assert (out.state, out.reason) == (State.FAULT, Reason.STATE_STALE)


def test_an_engage_while_the_target_still_brakes_is_refused():
    """Catches a restart from rest in the middle of a motion: a jump of the velocity."""
    bench = Bench().engaged()
    bench.stream(NEAR, 200)
    bench.act([np.inf, 0.0, 0.3])
    bench.run(20)
    ok, message = bench.guard.engage(bench.now_ns)
    assert not ok
    assert "rest" in message


def retreat(bench, seconds):
    ok, message = bench.guard.retreat(bench.now_ns)
    assert ok, message
    outs = []
    for _ in range(round(seconds / 0.01)):
        outs.append(bench.run(10))
        if outs[-1].state is not State.RETREATING:
            break
    return outs


def test_a_retreat_goes_straight_up_then_over_slowly_and_the_policy_waits_for_an_engage():
    bench = Bench(retreat_position_m=(0.5, 0.05, 0.55)).engaged()
    bench.stream(POSITION, 200)
    outs = retreat(bench, 60.0)
    assert (outs[-1].state, outs[-1].reason) == (State.HOLDING, Reason.RETREATED)
    places = np.array([o.position_m for o in outs])
    np.testing.assert_allclose(places[-1], [0.5, 0.05, 0.55], atol=2e-3)
    rising = places[places[:, 2] < 0.54]
    assert np.max(np.abs(rising[:, :2] - POSITION[:2])) < 1e-3
    assert np.max(np.linalg.norm(np.diff(places, axis=0), axis=1)) <= 0.05 * 0.01
    assert bench.stream(places[-1], 300).reason is Reason.RETREATED
    assert bench.guard.engage(bench.now_ns)[0]
    assert bench.stream(places[-1], 300).state is State.POLICY
    assert_within_limits(bench.outputs, bench.config)


def test_a_retreat_along_the_path_ends_where_it_was_engaged():
    bench = Bench(retreat_by="path").engaged()
    bench.stream(NEAR, 1000)
    bench.stream(NEAR + np.array([0.0, 0.05, 0.0]), 1000)
    outs = retreat(bench, 30.0)
    assert outs[-1].reason is Reason.RETREATED
    np.testing.assert_allclose(outs[-1].position_m, POSITION, atol=6e-3)
    ways = np.array([o.position_m for o in outs])
    corner = np.min(np.linalg.norm(ways - NEAR, axis=1))
    assert corner < 8e-3
    assert_within_limits(bench.outputs, bench.config)


def test_a_retreat_is_cancelled_or_ended_by_the_operator_who_is_followed_at_once():
    bench = Bench(retreat_position_m=(0.5, 0.05, 0.55)).engaged()
    retreat(bench, 0.5)
    assert bench.guard.cancel_retreat()[0]
    assert bench.run(10).reason is Reason.RETREATED
    retreat(bench, 0.5)
    bench.act(bench.measured[0], source=Source.OPERATOR)
    assert bench.run(20).state is State.OPERATOR
    ok, message = bench.guard.retreat(bench.now_ns)
    assert not ok
    assert "operator" in message
    assert not bench.guard.cancel_retreat()[0]
    assert_within_limits(bench.outputs, bench.config)


def test_a_retreat_leads_out_of_a_workspace_fault_and_not_out_of_lost_states():
    bench = Bench().engaged()
    bench.stream(POSITION, 100)
    low = bench.config.box.low_m[0]
    for _ in range(30):
        bench.act(np.array([max(bench.measured[0][0] - 0.1, low - 0.03), POSITION[1], POSITION[2]]))
        if bench.run(100).state is State.FAULT:
            break
    assert bench.outputs[-1].reason is Reason.WORKSPACE
    assert "/cdp/guard/retreat" in bench.outputs[-1].message
    bench.run(400)
    assert retreat(bench, 0.3)[-1].state is State.RETREATING
    bench.run(150, sense=False)
    assert bench.guard.state is State.FAULT
    assert not bench.guard.retreat(bench.now_ns)[0]


def test_no_retreat_before_engaging():
    assert not Bench().guard.retreat(0)[0]


@pytest.mark.parametrize("interface", ["cartesian", "joint"])
def test_the_hand_is_stopped_before_the_table_and_may_leave_again(interface):
    """The box bounds the point between the fingertips; a hand that is tilted touches the table with its side. Catches a look at the target alone."""
    bench = Bench(command_interface=interface, table_margin_m=0.05, max_target_turn_rad=1.5, leash_rad=1.4, workspace_z_m=(0.0, 0.6)).engaged()
    down = POSITION.copy()
    while bench.guard.state is not State.FAULT and down[2] > 0.01:
        down = down - [0.0, 0.0, 0.01]
        sense_joints(bench, interface, lambda p=down: bench.stream(p, 100, source=Source.OPERATOR))
    assert bench.outputs[-1].reason is Reason.TABLE, bench.outputs[-1].message
    assert "the table" in bench.outputs[-1].message
    sense_joints(bench, interface, lambda: bench.run(400))
    model = bench.guard._collision._model
    assert model.clearances(bench.q)[1].metres > 0.045
    bench.keep_alive(source=Source.OPERATOR, deadman=False)
    sense_joints(bench, interface, lambda: retreat(bench, 1.0))
    assert bench.guard.state is State.RETREATING
    assert bench.measured[0][2] > down[2] + 0.01


@pytest.mark.parametrize("interface", ["cartesian", "joint"])
@pytest.mark.parametrize(("margin_m", "lowest_m"), [(0.0, 0.0), (0.02, 0.02)])
def test_fingertips_of_a_tilted_hand_are_stopped_before_the_table(interface, margin_m, lowest_m):
    """The box bounds the TCP alone: 12 mm above the table a fingertip of a hand that is rolled by 12 degrees would be 6 mm below it."""
    bench = Bench(command_interface=interface, fingers_margin_m=margin_m, max_target_turn_rad=1.5, leash_rad=1.4).engaged()
    half = np.deg2rad(12.0) / 2
    tilted = rotate(QUAT, [np.sin(half), 0.0, 0.0, np.cos(half)])
    for _ in range(8):
        sense_joints(bench, interface, lambda: bench.stream(POSITION, 100, source=Source.OPERATOR, quat=tilted))
    down = POSITION.copy()
    while bench.guard.state is not State.FAULT and down[2] > 0.012:
        down = down - [0.0, 0.0, 0.005]
        sense_joints(bench, interface, lambda p=down: bench.stream(p, 100, source=Source.OPERATOR, quat=tilted))
    assert bench.outputs[-1].reason is Reason.TABLE, bench.outputs[-1].message
    assert "the fingertips" in bench.outputs[-1].message
    sense_joints(bench, interface, lambda: bench.run(400))
    tip = bench.guard._collision._model.clearances(bench.q, 0.06)[2].metres
    assert lowest_m - 0.006 < tip < lowest_m + 0.02


def sense_joints(bench, interface, act):
    """``act`` with joint angles that agree with the commanded pose afterwards."""
    from cdp_franka.kinematics import joint_velocity, pose_error

    act()
    if interface == "joint":
        bench.q = bench.outputs[-1].q_rad
        return
    from cdp.geometry import quat_to_matrix

    for _ in range(30):
        error = pose_error(*forward(bench.q), np.asarray(bench.measured[0]), quat_to_matrix(bench.measured[1]))
        bench.q = bench.q + joint_velocity(bench.q, 0.5 * error, 0.02, Q, 0.0)
    bench.sense()


def test_the_bench_begins_clear_of_itself_and_of_the_table():
    bench = Bench().engaged()
    for clearance in bench.guard._collision._model.clearances(np.asarray(Q)):
        assert clearance.metres > 0.03
    assert bench.run(100).state is State.HOLDING
    np.testing.assert_allclose(bench.outputs[-1].quat_xyzw, QUAT, atol=1e-9)


@pytest.mark.parametrize("interface", ["cartesian", "joint"])
def test_an_arm_that_was_away_is_sent_nothing_of_before_and_an_engage_begins_where_it_is(interface):
    """Catches an old target that moves an arm whose controller has started anew and holds it elsewhere."""
    bench = Bench(command_interface=interface).engaged()
    bench.stream(NEAR, 300)
    bench.outputs.clear()
    bench.run(2000, sense=False)
    sent = [out for out in bench.outputs if out.send]
    resting = [out for out in sent if np.array_equal(out.position_m, sent[-1].position_m)]
    assert 0.4 <= 0.01 * len(resting) <= 0.6
    assert bench.outputs[len(sent) - 1] is sent[-1], "once silent, silent"
    out = bench.run(500)
    assert (out.state, out.reason, out.send) == (State.FAULT, Reason.STATE_STALE, False)
    ok, message = bench.guard.retreat(bench.now_ns)
    assert not ok and "engage" in message
    bench.measured = (bench.measured[0] + np.array([0.0, 0.0, 0.01]), bench.measured[1])
    bench.re_engaged()
    out = bench.run(10)
    assert out.send
    np.testing.assert_allclose(out.position_m, bench.measured[0], atol=1e-4)


def test_an_arm_that_is_heard_again_at_once_is_sent_its_target_all_the_while():
    bench = Bench().engaged()
    bench.stream(NEAR, 300)
    bench.outputs.clear()
    bench.run(300, sense=False)
    bench.run(2000)
    assert bench.guard.state is State.FAULT
    assert all(out.send for out in bench.outputs)
