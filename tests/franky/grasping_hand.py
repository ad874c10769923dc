"""What franky-sim's hand leaves out of a grasp: it closes until something stops it.

franky-sim 1.0.4 servoes the fingers to the width of the goal, and calls that a grasp where they arrive: nothing is then grasped as well as
something of that width. This hand closes with the force of the goal, and the width at which it stands tells whether it holds what was meant.
"""

import franky_sim.franka_robot_server as robot_server
from franky_sim.franka_gripper_server import FrankaGripperServer


class GraspingHand(FrankaGripperServer):
    """Closes on whatever is there."""

    def start_grasp(self, width, speed, force, *arguments):
        super().start_grasp(width, speed, force, *arguments)
        self._robot.set_hand_goal(0.0, speed, force)


def install():
    """Give the robots of this process such a hand."""
    robot_server.FrankaGripperServer = GraspingHand
