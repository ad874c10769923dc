"""MuJoCo Franka with camera and tasks behind the topics of the real robot."""
