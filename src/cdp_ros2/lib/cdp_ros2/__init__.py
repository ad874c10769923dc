"""A clean-room subset of ROS 2's launch system.

The modules `launch` and `launch_ros` beside this package re-export it under the names that launch files import. Where a genuine ROS 2 is
installed this package is not: the genuine modules win. The subset differs from them on purpose in four points: no child process outlives its
launch, whatever ends it; an unknown argument is refused; the failure of a node whose end ends the launch is the exit status; and every stop is
escalated until it succeeds.
"""
