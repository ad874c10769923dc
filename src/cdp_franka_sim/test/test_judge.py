"""Success asks for the whole dwell time without a break."""

from types import SimpleNamespace

from cdp_franka_sim.tasks.judge import JUDGE_PERIOD_S, Judge

TASK = SimpleNamespace(dwell_s=5 * JUDGE_PERIOD_S, satisfied=lambda data: data)


def looked(*verdicts):
    judge = Judge(TASK)
    for verdict in verdicts:
        judge.look(verdict)
    return judge


def test_success_is_the_dwell_time_and_not_a_look_less():
    assert not looked(*[True] * 4).success
    assert looked(*[True] * 5).success


def test_a_break_begins_the_dwell_time_anew():
    assert not looked(*[True] * 4, False, *[True] * 4).success


def test_success_ends_with_the_condition():
    assert not looked(*[True] * 9, False).success


def test_an_episode_takes_nothing_over_from_the_last():
    judge = looked(*[True] * 9)
    judge.begin()
    assert not judge.success
