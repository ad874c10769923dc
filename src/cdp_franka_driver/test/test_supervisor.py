"""What the driver makes of a robot that stops, is stopped, or goes: with a robot of the test's own behind the small interface."""

import weakref

import numpy as np
import pytest
from driver_arm import READY, FakeArm

from cdp_franka_driver import layout
from cdp_franka_driver.arm import Mode
from cdp_franka_driver.problems import FIXES, Kind, of_exception
from cdp_franka_driver.supervisor import Phase, Supervisor

REFLEX = 'libfranka: Move command aborted: motion aborted by reflex! ["communication_constraints_violation"]'


class Bench:
    def __init__(self, **options):
        self.arms, self.failure, self.now_s = [], None, 0.0
        self.supervisor = Supervisor(self.make, **options)

    def make(self):
        if self.failure is not None:
            raise self.failure
        self.arms.append(FakeArm())
        return self.arms[-1]

    @property
    def arm(self):
        return self.arms[-1]

    def step(self, seconds=0.01):
        self.now_s += seconds
        return self.supervisor.step(self.now_s)

    def until(self, phase, steps=500):
        for _ in range(steps):
            report = self.step()
            if report.phase is phase:
                return report
        raise AssertionError(f"never {phase}: {report}")


@pytest.fixture
def bench():
    made = Bench()
    made.until(Phase.CONTROLLING)
    return made


def target(offset):
    return layout.joint_target(0.02, READY + offset, np.zeros(7), np.zeros(7))


def test_control_begins_by_holding_the_arm(bench):
    states = [bench.step().state for _ in range(20)]
    assert all(np.array_equal(state.q_desired_rad, READY) for state in states[1:])


def test_a_reflex_is_named_and_waits_for_the_recovery_and_control_begins_where_the_arm_is(bench):
    """A driver that moved on to the old target after a recovery would jump."""
    for k in range(100):
        bench.supervisor.follow(target(0.002 * k))
        bench.step()
    bench.arm.mode, bench.arm.end_with, bench.arm.errors = Mode.REFLEX, REFLEX, ("communication_constraints_violation",)
    reflex = bench.until(Phase.WAITING)
    assert reflex.problem.kind is Kind.REFLEX
    assert reflex.problem.reflexes == ("communication_constraints_violation",)
    stopped = bench.arm.q.copy()
    bench.supervisor.follow(target(0.5))
    for _ in range(300):
        report = bench.step()
        assert report.phase is Phase.WAITING
        assert report.problem.reflexes == ("communication_constraints_violation",)
    recovery = bench.supervisor.recover(bench.now_s)
    assert recovery.success
    assert "communication_constraints_violation" in recovery.message
    bench.until(Phase.CONTROLLING)
    for _ in range(100):
        assert np.array_equal(bench.step().state.q_desired_rad, stopped)
    assert bench.arm.starts == 2


def test_a_reflex_of_which_the_mode_says_nothing_yet_is_not_taken_for_recovered(bench):
    bench.arm.end_with = REFLEX
    bench.until(Phase.WAITING)
    for _ in range(300):
        assert bench.step().phase is Phase.WAITING


def test_a_robot_that_somebody_else_recovered_is_taken_under_control(bench):
    bench.arm.mode, bench.arm.end_with = Mode.REFLEX, REFLEX
    bench.until(Phase.WAITING)
    bench.step()
    bench.arm.mode = Mode.IDLE
    bench.until(Phase.CONTROLLING)


@pytest.mark.parametrize(("mode", "kind"), [(Mode.USER_STOPPED, Kind.USER_STOP), (Mode.OTHER, Kind.LOCKED), (Mode.GUIDING, Kind.WRONG_MODE)])
def test_what_a_person_ends_goes_on_when_the_person_lets_it(bench, mode, kind):
    bench.arm.mode, bench.arm.end_with = mode, "libfranka: Move command aborted: User Stop pressed!"
    bench.until(Phase.WAITING)
    for _ in range(200):
        report = bench.step()
        assert (report.phase, report.problem.kind) == (Phase.WAITING, kind)
    bench.arm.mode = Mode.IDLE
    bench.until(Phase.CONTROLLING)
    assert bench.step().problem is None


def test_a_connection_that_is_lost_is_made_anew(bench):
    bench.arm.end_with = "libfranka: UDP receive: Timeout"
    bench.failure = RuntimeError("libfranka: Connection to FCI refused. Please install FCI feature or enable FCI mode in Desk.")
    lost = bench.until(Phase.CONNECTING)
    assert lost.problem.kind is Kind.CONNECTION
    for _ in range(150):
        report = bench.step()
    assert report.problem.kind is Kind.FCI_OFF
    bench.failure = None
    bench.until(Phase.CONTROLLING)
    assert len(bench.arms) == 2


def test_a_control_that_is_refused_is_tried_again_each_second(bench):
    bench.arm.end_with, bench.arm.refuse = "libfranka: motion preempted", RuntimeError("libfranka: Move command rejected: already connected")
    bench.until(Phase.WAITING)
    kinds = {bench.step().problem.kind for _ in range(250)}
    assert Kind.BUSY in kinds
    bench.arm.refuse = None
    bench.until(Phase.CONTROLLING)


def test_a_recovery_that_fails_says_why(bench):
    bench.arm.mode, bench.arm.end_with = Mode.REFLEX, REFLEX
    bench.until(Phase.WAITING)
    bench.arm.refuse = RuntimeError("libfranka: Automatic Error Recovery command rejected due to activated safety function!")
    recovery = bench.supervisor.recover(bench.now_s)
    assert not recovery.success
    assert "safety function" in recovery.message


ENDS = {
    "user stop": (Mode.USER_STOPPED, "libfranka: Move command aborted: User Stop pressed!"),
    "guided": (Mode.GUIDING, "libfranka: motion preempted"),
    "connection": (Mode.IDLE, "libfranka: UDP receive: Timeout"),
}


@pytest.mark.parametrize(("mode", "ends"), ENDS.values(), ids=ENDS)
def test_control_that_has_ended_waits_for_a_word_where_that_is_asked_for(mode, ends):
    """Catches a driver that takes a word of before the release for one, and one that asks the robot to recover from nothing."""
    bench = Bench(ask=True)
    bench.until(Phase.CONTROLLING)
    bench.arm.mode, bench.arm.end_with = mode, ends
    for _ in range(200):
        bench.step()
    if mode is Mode.USER_STOPPED:
        assert bench.supervisor.recover(bench.now_s).success
    bench.arm.mode, starts, recoveries = Mode.IDLE, bench.arm.starts, bench.arm.recoveries
    for _ in range(300):
        report = bench.step()
    assert (report.phase, report.problem.kind, bench.arm.starts) == (Phase.WAITING, Kind.RESUME, starts)
    assert bench.supervisor.recover(bench.now_s).success
    bench.until(Phase.CONTROLLING)
    assert bench.arm.recoveries == recoveries


def test_the_recovery_of_a_reflex_is_the_word_and_a_robot_recovered_by_others_waits_for_it():
    bench = Bench(ask=True)
    bench.until(Phase.CONTROLLING)
    bench.arm.mode, bench.arm.end_with = Mode.REFLEX, REFLEX
    bench.until(Phase.WAITING)
    assert bench.supervisor.recover(bench.now_s).success
    bench.until(Phase.CONTROLLING)
    bench.arm.mode, bench.arm.end_with = Mode.REFLEX, REFLEX
    bench.until(Phase.WAITING)
    bench.step()
    bench.arm.mode = Mode.IDLE
    for _ in range(300):
        report = bench.step()
    assert (report.phase, report.problem.kind) == (Phase.WAITING, Kind.RESUME)


def test_a_process_that_follows_another_waits_for_a_word_where_that_is_asked_for():
    bench = Bench(ask=True, again=True)
    for _ in range(300):
        report = bench.step()
    assert (report.phase, report.problem.kind) == (Phase.WAITING, Kind.RESUME)
    assert bench.supervisor.recover(bench.now_s).success
    bench.until(Phase.CONTROLLING)


def test_an_arm_whose_motion_is_ended_is_not_destroyed(bench):
    """libfranka's destructors may wait forever, or end the process: its end closes the connection."""
    arm = weakref.ref(bench.arms.pop())
    bench.supervisor.close()
    assert arm() is not None
    assert not arm().controlling()


def test_without_a_robot_a_recovery_says_so():
    bench = Bench()
    bench.failure = RuntimeError("libfranka: Connection timeout. Please check your network connection or settings.")
    report = bench.step()
    assert (report.phase, report.problem.kind) == (Phase.CONNECTING, Kind.UNREACHABLE)
    assert not bench.supervisor.recover(0.0).success


# What libfranka 0.21 says, letter by letter, and what a person is told.
SAID = [
    ("libfranka: Connection to FCI refused. Please install FCI feature or enable FCI mode in Desk.", Kind.FCI_OFF),
    ("libfranka: Connection timeout. Please check your network connection or settings.", Kind.UNREACHABLE),
    ("libfranka: Connection error: No route to host", Kind.UNREACHABLE),
    ("libfranka: Incompatible library version (server version: 9, library version: 10).", Kind.VERSION),
    ("libfranka: Running kernel does not have realtime capabilities.", Kind.REALTIME),
    (
        'libfranka: Move command rejected: command not possible in the current mode ("Other")! Did you open the brakes?',
        Kind.LOCKED,
    ),
    ('libfranka: Move command rejected: command not possible in the current mode ("Guiding")!', Kind.WRONG_MODE),
    ("libfranka: Move command aborted: User Stop pressed!", Kind.USER_STOP),
    ('libfranka: Move command rejected: command not possible in the current mode ("User stopped")!', Kind.USER_STOP),
    ('libfranka: Set Load command rejected: command not possible in the current mode ("Reflex")!', Kind.REFLEX),
    ("libfranka: Move command preempted due to activated safety function! Please disable all safety functions.", Kind.SAFETY),
    ("libfranka: Move command rejected due to activated safety function! Please disable all safety functions.", Kind.SAFETY),
    (REFLEX, Kind.REFLEX),
    ("libfranka: UDP receive: Timeout", Kind.CONNECTION),
    ("libfranka: TCP connection got interrupted.", Kind.CONNECTION),
    ("libfranka: server closed connection", Kind.CONNECTION),
    ("something else", Kind.OTHER),
]


@pytest.mark.parametrize(("text", "kind"), SAID)
def test_what_libfranka_says_is_understood(text, kind):
    problem = of_exception(RuntimeError(text))
    assert problem.kind is kind
    assert FIXES[kind] in str(problem)


def test_a_missing_library_names_the_requirements():
    assert "requirements/libfranka.txt" in str(of_exception(ModuleNotFoundError("No module named 'pylibfranka'")))


def test_every_reflex_of_a_motion_is_named():
    text = 'libfranka: Move command aborted: motion aborted by reflex! ["joint_velocity_violation", "cartesian_reflex"]\nsuccess_rate: 0.9'
    assert of_exception(text).reflexes == ("joint_velocity_violation", "cartesian_reflex")
