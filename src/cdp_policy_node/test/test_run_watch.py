"""When a run of the policy ends, and what is counted until then."""

import pytest

from cdp_policy_node.run_watch import Guard, Policy, Reason, RunWatch

S = 1_000_000_000
START = 100 * S


def watch(**settings):
    return RunWatch(START, **{"timeout_s": 10.0, "lost_s": 2.0, "end_on_takeover": False, **settings})


def reason(run, at_s=0.0, policy=Policy.RUNNING):
    end = run.check(START + round(at_s * S), round(at_s * S) + 1, policy, "the policy's words")
    return end and end.reason


def feed(run, *states, at_s=1.0, operator=False):
    for state in states:
        run.on_guard(START + round(at_s * S), state, "the guard's words", operator)


def test_the_numbers_are_those_of_the_messages():
    pytest.importorskip("rclpy")
    from cdp_msgs.action import RunPolicy
    from cdp_msgs.msg import GuardStatus, PolicyStatus

    assert {r.name: r.value for r in Reason} == {r.name: getattr(RunPolicy.Result, f"REASON_{r.name}") for r in Reason}
    states = {name.removeprefix("STATE_"): getattr(GuardStatus, name) for name in dir(GuardStatus) if name.startswith("STATE_")}
    assert {name: Guard[name].value for name in states} == states
    assert Guard.UNKNOWN == RunPolicy.Feedback.GUARD_UNKNOWN
    assert all(p.value == getattr(PolicyStatus, f"STATE_{p.name}") for p in Policy)


@pytest.mark.parametrize("timeout_s", [0.0, 10.0])
def test_the_limit_is_exact_and_zero_is_none(timeout_s):
    run = watch(timeout_s=timeout_s)
    assert reason(run, 10.0 - 1e-9) is None
    assert reason(run, 10.0) is (Reason.TIMEOUT if timeout_s else None)


def test_what_was_said_before_the_start_says_nothing():
    run = watch()
    run.on_task(START - 1, True)
    feed(run, Guard.FAULT, at_s=-1.0)
    assert reason(run) is None and run.guard is Guard.UNKNOWN
    run.on_task(START, True)
    assert reason(run) is Reason.SUCCESS


def test_the_first_cause_counts():
    run = watch()
    feed(run, Guard.POLICY, Guard.FAULT)
    run.succeed()
    assert reason(run, 20.0, Policy.FAULT) is Reason.GUARD_FAULT


def test_a_guard_that_was_never_engaged_ends_nothing_one_that_is_disengaged_does():
    run = watch()
    feed(run, Guard.REFUSING, Guard.REFUSING)
    assert reason(run) is None
    feed(run, Guard.HOLDING, Guard.REFUSING)
    assert reason(run) is Reason.GUARD_DISENGAGED
    run = watch()
    feed(run, Guard.RECOVERING, Guard.HOLDING, Guard.POLICY)
    assert reason(run) is None
    feed(run, Guard.RETREATING)
    assert reason(run) is Reason.GUARD_DISENGAGED


def test_strokes_of_one_takeover_are_one_intervention():
    run = watch()
    feed(run, Guard.HOLDING, Guard.POLICY)
    feed(run, Guard.HOLDING, operator=True)
    feed(run, Guard.OPERATOR, Guard.HOLDING, Guard.OPERATOR, operator=True)
    assert (run.interventions, run.guard_holds) == (1, 0)
    feed(run, Guard.POLICY, Guard.POLICY, Guard.OPERATOR, operator=True)
    assert (run.interventions, run.guard_holds) == (2, 0) and reason(run) is None


def test_an_operator_who_drove_before_the_policy_intervenes_in_nothing():
    run = watch(end_on_takeover=True)
    feed(run, Guard.OPERATOR, Guard.HOLDING, Guard.OPERATOR, operator=True)
    assert run.interventions == 0 and reason(run) is None
    feed(run, Guard.POLICY, Guard.OPERATOR, operator=True)
    assert reason(run) is Reason.OPERATOR_TOOK_OVER


def test_a_hold_is_counted_once_and_the_operator_after_it_too():
    run = watch()
    feed(run, Guard.POLICY, Guard.HOLDING, Guard.HOLDING, Guard.POLICY, Guard.HOLDING)
    assert run.guard_holds == 2
    feed(run, Guard.OPERATOR, operator=True)
    assert run.interventions == 1


def test_an_observation_is_lost_after_waiting_in_one_piece():
    run = watch()
    assert reason(run, 0.0, Policy.WAITING) is None
    assert reason(run, 1.5, Policy.WAITING) is None
    assert reason(run, 1.9, Policy.RUNNING) is None
    assert reason(run, 2.5, Policy.WAITING) is None
    assert reason(run, 4.5, Policy.WAITING) is None
    assert reason(run, 4.6, Policy.WAITING) is Reason.OBSERVATION_LOST


@pytest.mark.parametrize("state", [Policy.UNCONFIGURED, Policy.READY])
def test_a_policy_that_somebody_stopped_ends_the_run(state):
    assert reason(watch(), 1.0, state) is Reason.DEACTIVATED
    assert reason(watch(), 1.0, Policy.FAULT) is Reason.POLICY_FAULT
