"""A call whose answer is lost on the way."""

import pytest
from cdp_ros.call import Call


class Answer:
    def __init__(self, value):
        self.value = value

    def done(self):
        return self.value is not None

    def result(self):
        return self.value


class Client:
    """Its first requests are never answered, as those are that a server gets before it has found its client."""

    srv_name = "/unheard"

    def __init__(self, lost):
        self.lost, self.asked = lost, []

    def call_async(self, request):
        self.asked.append(request)
        return Answer(None if len(self.asked) <= self.lost else f"answer {len(self.asked)}")


def test_an_answer_that_comes_is_asked_for_once():
    client = Client(lost=0)
    call = Call(client, "request", again_s=0.0)
    assert call.done() and call.result() == "answer 1" and client.asked == ["request"]


def test_a_request_whose_answer_is_lost_is_made_again_after_the_patience_and_not_before(monkeypatch):
    now_s = [100.0]
    monkeypatch.setattr("cdp_ros.call.time.monotonic", lambda: now_s[0])
    client = Client(lost=2)
    call = Call(client, "request", again_s=5.0)
    for passed_s, asked in ((104.9, 1), (105.1, 2), (109.9, 2), (110.2, 3)):
        now_s[0] = passed_s
        assert not call.done() and len(client.asked) == asked
    assert call.done() and call.result() == "answer 3"


def test_the_late_answer_to_the_first_request_counts():
    client = Client(lost=9)
    call = Call(client, "request", again_s=0.0)
    assert not call.done() and not call.done() and len(client.asked) == 3
    call._futures[0].value = "late"
    assert call.done() and call.result() == "late"


def test_what_may_be_asked_once_only_is_never_asked_again(monkeypatch):
    client = Client(lost=1)
    call = Call(client, "request", again_s=None)
    asked_s = call._asked_s
    monkeypatch.setattr("cdp_ros.call.time.monotonic", lambda: asked_s + 1e6)
    assert not call.done() and len(client.asked) == 1
    with pytest.raises(RuntimeError, match="no answer of /unheard yet"):
        call.result()
