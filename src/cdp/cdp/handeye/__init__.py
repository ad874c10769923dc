"""Where a fixed camera stands in the frame of the robot's base, from views of a board that the hand holds (eye-to-hand calibration).

Arrays only: who moves the arm, reads the camera and knows the hand's pose is elsewhere.
"""
