"""Rollouts of policies on an arm, one by one with a person beside it: the plan, the session, the results and their comparison. Without ROS."""
