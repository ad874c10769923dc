"""What the guard's output becomes at the robot's controllers: one small class for each kind of controller."""
