import pytest

from cdp_franka.frames import POSE_FRAMES, pose_frame_problem


@pytest.mark.parametrize("frame", ["fr3_link0", "base"])
def test_the_base_under_either_name(frame):
    """franka_ros2 names its URDF's root link, our driver the arm's base: the numbers are the same."""
    assert pose_frame_problem(frame, POSE_FRAMES) is None


@pytest.mark.parametrize("frame", ["", "world", "fr3_hand_tcp", "base_link"])
def test_any_other_frame_is_named_with_those_that_are_meant(frame):
    problem = pose_frame_problem(frame, POSE_FRAMES)
    assert problem is not None
    assert repr(frame) in problem and "'fr3_link0' or 'base'" in problem and "pose_frames" in problem
