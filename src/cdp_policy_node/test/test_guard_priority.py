import os

from cdp_policy_node import guard_priority
from cdp_policy_node.guard_priority import ask_for_priority


def refuse(*arguments):
    raise PermissionError(1, "Operation not permitted")


def test_a_refusal_is_said_with_what_allows_it_and_changes_nothing(monkeypatch):
    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    monkeypatch.setattr(os, "setpriority", refuse)
    granted, text = ask_for_priority(20)
    assert not granted
    assert "Operation not permitted" in text
    assert "rtprio" in text
    assert "SYS_NICE" in text


def test_a_nice_value_is_the_second_best(monkeypatch):
    asked = []
    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    monkeypatch.setattr(os, "setpriority", lambda *a: asked.append(a))
    granted, text = ask_for_priority(20)
    assert not granted
    assert asked[0][2] < 0
    assert "granted" in text


def test_every_thread_is_asked_for_and_zero_asks_for_none(monkeypatch):
    asked = []
    monkeypatch.setattr(os, "sched_setscheduler", lambda *a: asked.append(a))
    assert ask_for_priority(0)[0]
    assert not asked
    granted, text = ask_for_priority(20)
    assert granted
    assert "20" in text
    assert {thread for thread, _, _ in asked} == set(guard_priority._threads())
