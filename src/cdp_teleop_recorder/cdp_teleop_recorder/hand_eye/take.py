"""Taking views with a person at the terminal: Enter, or by itself when the arm stands still elsewhere."""

from __future__ import annotations

import argparse
import queue
import sys
import threading
from pathlib import Path

from cdp.handeye.board import Board
from cdp.handeye.capture import elsewhere
from cdp.handeye.detect import find_corners, usable
from cdp.handeye.errors import HandEyeError
from cdp.handeye.pose import Pose, stack
from cdp.handeye.poses_enough import turns_of
from cdp.handeye.shots import Shot, begin_folder, leave_out, load_shots, next_name, save_shot
from cdp_teleop_recorder.hand_eye.ear import Ear, Rest
from cdp_teleop_recorder.hand_eye.offline import hand_pose

_PERIOD_S = 0.05
_SILENT_S = 10.0
_LISTEN_FIRST_S = 0.3
_KEYS = "Enter takes a view, u takes the last one back, q ends and solves (each with Enter); Ctrl-C keeps the views"


class Taking:
    """The views of one sitting."""

    def __init__(self, folder: Path, board: Board, wanted: int) -> None:
        """``wanted``: beyond those that the folder has. Raises :class:`HandEyeError` for a folder with views of another board."""
        begin_folder(folder, board)
        self._folder, self._board = folder, board
        self._taken: list[tuple[str, Pose]] = [(shot.name, hand_pose(shot.joint_position_rad)) for shot, _ in load_shots(folder)]
        self._wanted = len(self._taken) + wanted
        self._refused: list[Pose] = []

    def __len__(self) -> int:
        return len(self._taken)

    @property
    def full(self) -> bool:
        """Whether there are as many as wanted."""
        return len(self) >= self._wanted

    def elsewhere(self, rest: Rest) -> bool:
        """Whether the hand is where it was in no view yet, nor in the last one that the board was not in or that was taken back."""
        return elsewhere(hand_pose(rest.joint_rad.tolist()), [*(hand for _, hand in self._taken), *self._refused[-1:]])

    def take(self, rest: Rest, ear: Ear) -> str:
        """Save the view if the board is in it; what to say."""
        corners = find_corners(rest.picture, self._board)
        if not usable(corners, self._board):
            self._refused.append(hand_pose(rest.joint_rad.tolist()))
            return f"  {len(corners)} corners of the board are seen: no view; turn it to the camera, bring it nearer, look for glare"
        name = next_name(self._folder)
        joints = tuple(float(q) for q in rest.joint_rad)
        save_shot(self._folder, Shot(name, rest.stamp_ns, joints, rest.frame, ear.lens()), rest.picture)
        self._taken.append((name, hand_pose(joints)))
        turns = turns_of(stack([hand for _, hand in self._taken]))
        about = ", ".join(f"{axis} {deg:.0f}" for axis, deg in zip("xyz", turns.about_deg, strict=True))
        text = f"  {name}: {len(corners)} corners, {len(self)} of {self._wanted} views; the hand turned about its {about} degrees between two"
        return text if turns.enough or len(self) < 3 else f"{text}\n  -> {turns.advice}"

    def back(self) -> str:
        """Take the last view out; its files stay."""
        if not self._taken:
            return "  no view to take back"
        name, hand = self._taken.pop()
        self._refused.append(hand)
        leave_out(self._folder, name)
        return f"  {name} taken back"


def take_views(args: argparse.Namespace, folder: Path, board: Board) -> None:
    """Fill ``folder`` with views until there are enough or the user ends it. Raises HandEyeError, and KeyboardInterrupt with what is kept."""
    keys = _keys()
    with Ear(args.image_topic, args.joint_topic, args.still_s) as ear:
        _wait_for_both(ear)
        taking = Taking(folder, board, args.views)
        kept = f", which has {len(taking)}" if len(taking) else ""
        _say(f"views go to {folder}{kept}; the board: {board}\n{_KEYS}")
        try:
            _loop(args, ear, taking, keys)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"interrupted; {len(taking)} views are kept: cdp hand-eye --from {folder}") from None


def _loop(args: argparse.Namespace, ear: Ear, taking: Taking, keys: queue.SimpleQueue[str]) -> None:
    asked = False
    while not taking.full:
        ear.listen(_PERIOD_S)
        key = "" if keys.empty() else keys.get()
        if key == "q":
            return
        if key == "u":
            _say(taking.back())
        if key == "take":
            asked = True
            if not args.auto:
                _say("  as soon as the arm stands still")
        rest = ear.at_rest()
        if rest is not None and (asked or (args.auto and taking.elsewhere(rest))):
            _say(taking.take(rest, ear))
            asked = False


def _wait_for_both(ear: Ear) -> None:
    """Raises :class:`HandEyeError` where pictures or joint states do not come; camera_info comes with the pictures or not at all."""
    for _ in range(round(_SILENT_S / _PERIOD_S)):
        ear.listen(_PERIOD_S)
        if not ear.missing():
            break
    else:
        raise HandEyeError(ear.missing())
    ear.listen(_LISTEN_FIRST_S)
    if ear.lens() is None:
        _say("camera_info is silent or not calibrated: the lens comes from the views; tilt the board by 30 degrees and more, fill the picture")


def _keys() -> queue.SimpleQueue[str]:
    """Lines of the terminal, as they are typed; an empty one is "take"."""
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            lines.put(line.strip().lower() or "take")

    threading.Thread(target=read, daemon=True).start()
    return lines


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
