"""Names of the frame that a measured pose is given in."""

from __future__ import annotations

BASE_FRAME = "fr3_link0"
# Whoever sends the pose: our driver names the arm's base; franka_ros2 names the root link of its URDF, which is `base` in franka_description and
# coincides with the base. Its numbers are libfranka's O_T_EE, in the arm's base whatever the root is called.
POSE_FRAMES = (BASE_FRAME, "base")
POSE_FRAMES_HELP = "frames that a measured pose may name, all meaning the arm's base: franka_ros2 names its URDF's root link"


def pose_frame_problem(frame: str, frames: tuple[str, ...]) -> str | None:
    """What is wrong with a measured pose in ``frame`` where one of ``frames`` is meant, or None."""
    if frame in frames:
        return None
    return f"it is in frame {frame!r}, not in {' or '.join(map(repr, frames))} (parameter pose_frames)"
