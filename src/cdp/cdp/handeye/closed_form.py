"""The camera's pose in closed form, by the method of Park and Martin (1994) for A Z = Z B.

With the hand H_i in the base, the board C_i in the camera, the camera Z in the base and the board Y in the hand, H_i Y = Z C_i for every view. Two
views give A = H_i H_j^-1 and B = C_i C_j^-1 with A Z = Z B: Z turns the rotation vector of B into that of A, and its position follows linearly.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from cdp.geometry import FloatArray, matrix_to_rotvec
from cdp.handeye.pose import Pose, mean

# Towards half a turn the rotation vector changes its sign.
_MOST_TURN_RAD = 2.6


def camera_and_board(hands: Pose, boards: Pose) -> tuple[Pose, Pose]:
    """The camera in the base and the board in the hand, from N poses of the hand in the base and of the board in the camera.

    Exact without noise where the hand turned about two axes at least; where it did not, the result means nothing.
    """
    first, second = np.triu_indices(len(hands.position_m), 1)
    motions = [Pose(p.position_m[first], p.rotation[first]) @ Pose(p.position_m[second], p.rotation[second]).inverse() for p in (hands, boards)]
    turns = [matrix_to_rotvec(motion.rotation) for motion in motions]
    clear = np.maximum(*(np.linalg.norm(turn, axis=1) for turn in turns)) < _MOST_TURN_RAD
    rotation = Rotation.align_vectors(turns[0][clear], turns[1][clear])[0].as_matrix()
    position = _position(motions[0], motions[1].position_m, rotation)
    camera = Pose(position, rotation)
    return camera, mean(hands.inverse() @ (camera @ boards))


def _position(motion: Pose, shifts_m: FloatArray, rotation: FloatArray) -> FloatArray:
    """(R_A - 1) t_Z = R_Z t_B - t_A over all pairs, by least squares."""
    left = (motion.rotation - np.eye(3)).reshape(-1, 3)
    right = (shifts_m @ rotation.T - motion.position_m).reshape(-1)
    return np.asarray(np.linalg.lstsq(left, right, rcond=None)[0])
