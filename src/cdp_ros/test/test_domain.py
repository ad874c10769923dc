"""Domains of one's own, against other processes and real participants."""

import subprocess
import sys

import pytest
import rclpy
from cdp_ros import domain
from cdp_ros.domain import KEPT, DomainError, own_domain

HOLD = "import sys; from cdp_ros.domain import own_domain; print(*[own_domain() for _ in range({count})], flush=True); sys.stdin.read()"
LEAVE = """
import subprocess, sys
from cdp_ros.domain import own_domain
print(own_domain(), flush=True)
subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdout=subprocess.DEVNULL, close_fds=False)
"""


def start(code):
    return subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


@pytest.fixture
def free(monkeypatch):
    """A domain that is the only one to choose from; nobody has it reserved, and nobody is in it."""
    with start(HOLD.format(count=1)) as process:
        free = int(process.stdout.readline())
        process.stdin.close()
    monkeypatch.setattr(domain, "DOMAINS", (free,))
    return free


class Participant:
    """A real one."""

    def __init__(self, domain_id):
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=domain_id)
        self.node = rclpy.create_node("inhabitant", context=self.context)

    def leave(self):
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)
        self.context.destroy()


def test_processes_beside_one_another_never_have_the_same():
    """Forty numbers out of a hundred, drawn without asking anybody, hold none twice in one of two thousand runs."""
    processes = [start(HOLD.format(count=10)) for _ in range(4)]
    try:
        taken = [int(word) for process in processes for word in process.stdout.readline().split()]
    finally:
        for process in processes:
            process.communicate()
    assert len(taken) == 40 == len(set(taken))
    assert set(taken) <= set(range(1, 101))


@pytest.mark.parametrize("reach", ["LOCALHOST", "SUBNET"])
def test_where_a_participant_is_nobody_else_goes(monkeypatch, free, reach):
    """Catches a look at the multicast port alone, which LOCALHOST leaves unbound, and one at the first participant's alone."""
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", reach)
    first, second = Participant(free), Participant(free)
    try:
        with pytest.raises(DomainError):
            own_domain()
        first.leave()
        with pytest.raises(DomainError):
            own_domain()
    finally:
        second.leave()
    assert own_domain() == free


def test_the_end_of_the_process_gives_it_back_though_its_child_lives_on(monkeypatch):
    with start(LEAVE) as process:
        left = int(process.stdout.readline())
        process.wait()
        monkeypatch.setattr(domain, "DOMAINS", (left,))
        assert own_domain() == left
        process.stdin.close()


def test_a_process_keeps_its_last_ones():
    """Catches a process of hundreds of benches that runs out, and one that gives up what it still needs."""
    code = f"""
from cdp_ros import domain
taken = [domain.own_domain() for _ in range({KEPT})]
domain.DOMAINS = taken[:1]
try:
    domain.own_domain()
except domain.DomainError:
    domain.DOMAINS = range(1, 101)
    another = domain.own_domain()
    domain.DOMAINS = taken[:1]
    print(another not in taken, domain.own_domain() == taken[0])
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split() == ["True", "True"]


def test_where_all_are_taken_the_way_out_is_said(free):
    assert own_domain() == free
    with pytest.raises(DomainError, match="export ROS_DOMAIN_ID="):
        own_domain()
