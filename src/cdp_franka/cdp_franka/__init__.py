"""What is true of the arm: limits, kinematics, the safety filter. No ROS."""
