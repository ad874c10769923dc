"""SpaceMouse teleoperation and the episode recorder."""
