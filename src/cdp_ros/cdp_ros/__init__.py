"""What every node of this stack does alike at its ROS edge: parameters from typed settings, stamps, signals, the main function."""
