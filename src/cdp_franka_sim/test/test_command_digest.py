"""The line that stands for an episode's commands."""

import numpy as np
from geometry_msgs.msg import PoseStamped
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from cdp_franka_sim.command_digest import CommandDigest

MS = 1_000_000


def pose(x):
    message = PoseStamped()
    message.pose.position.x = x
    return message


def digest(commands, begin_ns=0, end_ns=10**12):
    made = CommandDigest()
    made.begin(begin_ns)
    for stamp_ns, message in commands:
        made.add(stamp_ns, message)
    return made.until(end_ns)


def test_the_last_bit_shows():
    assert digest([(0, pose(0.5))]) == digest([(0, pose(0.5))])
    assert digest([(0, pose(0.5))]) != digest([(0, pose(np.nextafter(0.5, 1.0)))])


def test_times_count_from_the_beginning():
    late = 7_000 * MS
    run = [(10 * MS, pose(0.1)), (20 * MS, pose(0.2))]
    assert digest(run) == digest([(late + t, m) for t, m in run], begin_ns=late)
    assert digest(run) != digest([(10 * MS, pose(0.1)), (30 * MS, pose(0.2))])


def test_what_lies_outside_or_was_sent_again_does_not_count():
    run = [(10 * MS, pose(0.1)), (20 * MS, pose(0.2))]
    around = [(5 * MS, pose(9.0)), (10 * MS, pose(0.1)), *run, (30 * MS, pose(9.0))]
    assert digest(around, begin_ns=10 * MS, end_ns=20 * MS) == digest(run, begin_ns=10 * MS)
    assert digest(run).startswith("2 sha256:")
    assert digest([]).startswith("0 sha256:")


def test_joint_commands_count_with_their_velocities():
    def point(velocity):
        return JointTrajectory(points=[JointTrajectoryPoint(positions=[0.1] * 7, velocities=[velocity] * 7)])

    assert digest([(0, point(0.1))]) != digest([(0, point(0.2))])
