"""libfranka driver for labs without ros2_control: the topics of franka_ros2 on one side, a 1 kHz loop in C++ on the other."""
