"""`cdp hand-eye`: where the camera stands in the frame of the robot's base, and whether it still stands there."""
