"""Commands that are spoilt on their way, over real DDS: each stand-in refuses, by name, what its controller would, and takes the next sound one."""

import controller_peers as peers
import pytest
from cdp_ros.stamps import ns_to_stamp, stamp_to_ns
from command_rig import TICK_NS, Rig
from test_command_interfaces import PEERS

from cdp_policy_node.command.config import TAKES


def stamp(shift_ns):
    def spoil(msg):
        msg.header.stamp = ns_to_stamp(stamp_to_ns(msg.header.stamp) + shift_ns)

    return spoil


def frame(msg):
    msg.header.frame_id = "world"


def entry(names, index, value):
    """Sets one number of the array that ``names`` leads to."""

    def spoil(msg):
        for name in names:
            msg = msg[name] if isinstance(name, int) else getattr(msg, name)
        if isinstance(index, str):
            setattr(msg, index, value)
        else:
            msg[index] += value

    return spoil


def reverse(name):
    def spoil(msg):
        setattr(msg, name, getattr(msg, name)[::-1])

    return spoil


def leave_out(*names):
    def spoil(msg):
        for name in names[:-1]:
            msg = msg[name] if isinstance(name, int) else getattr(msg, name)
        setattr(msg, names[-1], [])

    return spoil


def no_turn(msg):
    msg.pose.orientation.x = msg.pose.orientation.y = msg.pose.orientation.z = msg.pose.orientation.w = 0.0


TIME = {"time goes backwards": stamp(-2 * TICK_NS), "stamped in the future": stamp(5 * TICK_NS)}
POSE = {**TIME, "wrong frame": frame, "degenerate quaternion": no_turn, "discontinuous poses": entry(("pose", "position"), "x", 0.6)}
FAULTS = {
    "JointTrajectoryPeer": {
        **TIME,
        "ends in the past": entry(("points", 0, "time_from_start"), "nanosec", 1_000_000),
        "positions or velocities missing": leave_out("points", 0, "velocities"),
        "joints in another order": reverse("joint_names"),
        "discontinuous positions": entry(("points", 0, "positions"), 1, 0.3),
        "discontinuous velocities": entry(("points", 0, "velocities"), 1, 0.5),
    },
    "PosePeer": POSE,
    "CrispPosePeer": POSE,
    "CrispJointPeer": {
        **TIME,
        "positions or velocities missing": leave_out("velocity"),
        "joints in another order": reverse("position"),
        "discontinuous positions": entry(("position",), 1, 0.3),
    },
    "ForwardPeer": {
        "command size does not match number of interfaces": leave_out("data"),
        "joints in another order": reverse("data"),
        "discontinuous positions": entry(("data",), 1, 0.3),
    },
    "ServoTwistPeer": {
        "time goes backwards": stamp(-2 * TICK_NS),
        "wrong frame": frame,
        "not finite": entry(("twist", "linear"), "x", float("nan")),
        "faster than the arm": entry(("twist", "angular"), "z", 4.0),
        "discontinuous twists": entry(("twist", "linear"), "y", 1.0),
    },
    "ServoPosePeer": {"time goes backwards": stamp(-2 * TICK_NS), "wrong frame": frame, "discontinuous poses": entry(("pose", "position"), "x", 0.6)},
}
SPOILT = [(controller, name, topic, kind) for controller, name, topic, kind in PEERS if kind.__name__ in FAULTS]


@pytest.fixture
def bench(request, controller, name, topic, kind):
    """A stand-in that takes what the guard sends, and the guard in motion."""
    if controller.startswith("servo"):
        request.getfixturevalue("robot_environment")
    made = Rig(controller, TAKES[controller])
    try:
        made.peer = kind(made.add(name), topic)
        made.ready()
        made.engage()
        made.follow([(0.03, 0.02, 0.02)], made.peer)
        yield made
    finally:
        made.close()


def spoilt(bench, spoil):
    """One tick whose command is spoilt after the guard has made it; why it was refused."""
    command = getattr(bench.output._interface, "_command", bench.output._interface)
    publisher, before = command._publisher, len(bench.peer.refused)

    class Spoiler:
        def publish(self, msg):
            spoil(msg)
            publisher.publish(msg)

    command._publisher = Spoiler()
    try:
        bench.tick(bench.peer)
    finally:
        command._publisher = publisher
    return bench.peer.refused[before:]


@pytest.mark.parametrize(("controller", "name", "topic", "kind"), SPOILT, ids=[p[3].__name__ for p in SPOILT])
def test_a_spoilt_command_is_refused_by_name_and_the_next_is_taken(bench, kind):
    """Catches a stand-in that takes everything, which would make its other tests worthless."""
    assert bench.peer.refused == []
    for fault, spoil in FAULTS[kind.__name__].items():
        taken = len(bench.peer.accepted)
        assert spoilt(bench, spoil) == [fault]
        bench.tick(bench.peer)
        assert len(bench.peer.accepted) == taken + 1, (fault, bench.peer.refused)
    if kind.__name__.startswith("Servo"):
        # Without newer ones before it, or its stamp would go backwards.
        bench.peer.accepted.clear()
        assert spoilt(bench, stamp(-200_000_000)) == ["stale"]


def test_every_stand_in_is_spoilt():
    """Catches one that is added without its refusals."""
    assert set(FAULTS) | {"CrispReversedPeer"} == {kind.__name__ for *_, kind in PEERS}
    assert issubclass(peers.CrispReversedPeer, peers.CrispJointPeer)
