"""Lifecycle policy node and command guard: the ROS edge of cdp and cdp_franka."""
