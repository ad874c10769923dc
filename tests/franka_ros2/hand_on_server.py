"""franka-sim, with Franka's hand as the end effector: on the arm that is set in Desk, and franka_ros2 publishes the pose that comes of it.

Runs in franka-sim's own environment.
"""

import numpy as np
from franka_sim.robot_state import RobotState
from franka_sim.run_server import main

# What the server calls its flange is link 7: from there to the flange, and to the hand's TCP; the hand is turned by 45 degrees [m, rad].
FLANGE_M, TCP_M, TURNED_RAD = 0.107, 0.1034, -np.pi / 4
_made = RobotState.__init__


def with_hand(self):
    """Every connection begins with such a state, and by it the server places the end effector."""
    _made(self)
    cos, sin = np.cos(TURNED_RAD), np.sin(TURNED_RAD)
    # Column by column.
    self.state["F_T_NE"] = [cos, sin, 0.0, 0.0, -sin, cos, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, FLANGE_M + TCP_M, 1.0]


if __name__ == "__main__":
    RobotState.__init__ = with_hand
    main()
