"""What the guard knows of each source of actions, and whether an action is fit to follow."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from cdp.actions import EEF_WIDTH
from cdp.geometry import rot6d_to_matrix
from cdp_franka.chunk import ChunkMotion, Pose, to_ns
from cdp_franka.guard_config import GuardConfig
from cdp_franka.guard_types import ActionData, Finding, Reason, Source, Space
from cdp_franka.rotation import turn_between

MAX_ROWS = 1024


@dataclass
class SourceTrack:
    """One source since the last engage. ``observation_ns`` and ``next_within_ns`` are of the newest message heard, refused or not."""

    source: Source
    epoch_ns: int = 0
    heard: bool = False
    observation_ns: int = -1
    next_within_ns: int = 0
    received_ns: int = 0
    seen_ns: int = -1
    renewed_ns: int = 0
    deadman: bool = False
    motion: ChunkMotion | None = None
    motion_dt_ns: int = 0
    refusal: Finding | None = None

    def restart(self, epoch_ns: int) -> None:
        """Forget everything; actions that answer an observation before ``epoch_ns`` are ignored from now on."""
        self.__init__(self.source, epoch_ns)  # type: ignore[misc]

    def hear(self, action: ActionData, now_ns: int) -> None:
        """Note that the source is alive, and whether what it sees is."""
        if action.observation_stamp_ns > self.seen_ns:
            self.seen_ns, self.renewed_ns = action.observation_stamp_ns, now_ns
        self.heard, self.received_ns, self.deadman = True, now_ns, bool(action.deadman)

    def answered(self, observation_ns: int) -> bool:
        """Whether the source has kept its promise for an observation of this time."""
        return self.observation_ns + self.next_within_ns > observation_ns

    def silence(self, now_ns: int, config: GuardConfig) -> Finding | None:
        """The complaint where the source can not be followed now; None where it can."""
        name, margin_ns = self.source.name.lower(), to_ns(config.source_margin_s)
        allowed_ns = self.next_within_ns + margin_ns
        if now_ns - self.received_ns > allowed_ns:
            finding = Finding(
                Reason.SOURCE_STALE, f"the {name} has sent nothing for {(now_ns - self.received_ns) / 1e9:.2f} s ({allowed_ns / 1e9:.2f} s allowed)"
            )
        elif now_ns - self.renewed_ns > allowed_ns:
            finding = Finding(
                Reason.OBSERVATION_STALE,
                f"the {name} has answered the same observation for {(now_ns - self.renewed_ns) / 1e9:.2f} s ({allowed_ns / 1e9:.2f} s allowed); "
                "does its camera send?",
            )
        elif now_ns - self.seen_ns > to_ns(config.max_observation_age_s):
            age_s = (now_ns - self.seen_ns) / 1e9
            finding = Finding(
                Reason.OBSERVATION_STALE,
                f"the newest observation that the {name} has answered is {age_s:.2f} s old; at most {config.max_observation_age_s} s",
            )
        elif self.motion is None:
            finding = Finding(Reason.NO_SOURCE, f"the {name} has sent no action to follow yet")
        elif now_ns - self.motion.end_ns > max(self.motion_dt_ns, self.next_within_ns) + margin_ns:
            finding = Finding(Reason.CHUNK_EXHAUSTED, f"the {name}'s last action was for {(now_ns - self.motion.end_ns) / 1e9:.2f} s ago")
        else:
            return None
        return self.refusal or finding


def check_form(action: ActionData, config: GuardConfig) -> Finding | None:
    """Whether the message is well formed: source, space, frame, times, shape, rotations, finite numbers."""
    finding = _check_header(action, config)
    if finding is None and len(action.rows) > 0:
        finding = _check_rows(action, config)
    return finding


def _malformed(text: str) -> Finding:
    return Finding(Reason.MALFORMED, text)


def _check_header(action: ActionData, config: GuardConfig) -> Finding | None:
    if action.space != Space.EEF_POSE:
        return _malformed(f"action space {action.space} is not followed here; send SPACE_EEF_POSE ({int(Space.EEF_POSE)})")
    if action.frame_id != config.base_frame:
        return _malformed(f"actions are in frame {action.frame_id!r}, not in {config.base_frame!r}")
    if not math.isfinite(action.next_within_s) or not 0.0 < action.next_within_s <= config.max_next_within_s:
        return _malformed(f"next_within_s = {action.next_within_s} is outside (0, {config.max_next_within_s}]")
    if action.observation_stamp_ns <= 0:
        return _malformed("the observation stamp is missing")
    return None


def _check_rows(action: ActionData, config: GuardConfig) -> Finding | None:
    rows = action.rows
    if rows.ndim != 2 or rows.shape[1] != EEF_WIDTH or len(rows) > MAX_ROWS:
        return _malformed(f"rows of shape {rows.shape}, not (1..{MAX_ROWS}, {EEF_WIDTH})")
    if not np.all(np.isfinite(rows)):
        return Finding(Reason.NOT_FINITE, f"row {int(np.argmin(np.all(np.isfinite(rows), axis=1)))} has a number that is not finite")
    if not math.isfinite(action.dt_s) or not 1e-3 <= action.dt_s <= 1.0:
        return _malformed(f"dt_s = {action.dt_s} is outside [0.001, 1]")
    if abs(action.start_stamp_ns - action.observation_stamp_ns) > to_ns(config.max_start_lead_s):
        lead_s = (action.start_stamp_ns - action.observation_stamp_ns) / 1e9
        return _malformed(f"row 0 is for {lead_s:.3f} s from the observation; at most {config.max_start_lead_s} s")
    widths = rows[:, -1]
    if np.min(widths) < -config.gripper_tolerance_m or np.max(widths) > config.gripper_max_width_m + config.gripper_tolerance_m:
        return _malformed(f"gripper widths {np.min(widths):.3f}..{np.max(widths):.3f} m are outside [0, {config.gripper_max_width_m}] m")
    try:
        rot6d_to_matrix(rows[:, 3:9])
    except ValueError as error:
        return _malformed(str(error))
    return None


def check_time(action: ActionData, track: SourceTrack, config: GuardConfig, now_ns: int) -> Finding | None:
    """Whether the observation answered is neither too old, nor in the future, nor older than the last one answered."""
    age_ns = now_ns - action.observation_stamp_ns
    if age_ns > to_ns(config.max_observation_age_s):
        return Finding(
            Reason.OBSERVATION_STALE, f"the action answers an observation {age_ns / 1e9:.3f} s old; at most {config.max_observation_age_s} s"
        )
    if -age_ns > to_ns(config.future_tolerance_s):
        return _malformed(f"the observation is stamped {-age_ns / 1e9:.3f} s in the future; are the clocks the same?")
    if action.observation_stamp_ns < track.observation_ns:
        return _malformed("the action answers an older observation than the one before it")
    return None


def check_jump(motion: ChunkMotion, commanded: Pose, config: GuardConfig, now_ns: int) -> Finding | None:
    """Whether the chunk is near the commanded pose now, and its rows near each other."""
    heading, _ = motion.heading(now_ns)
    step_m, step_rad = motion.largest_step()
    gap_m = float(np.linalg.norm(heading.position_m - commanded.position_m))
    gap_rad = float(np.linalg.norm(turn_between(commanded.rotation, heading.rotation)))
    for what, value, limit, unit in (
        ("the next row is", gap_m, config.max_target_jump_m, "m from the commanded target"),
        ("the next row is turned", gap_rad, config.max_target_turn_rad, "rad from the commanded target"),
        ("neighbouring rows are", step_m, config.max_target_jump_m, "m apart"),
        ("neighbouring rows are turned", step_rad, config.max_target_turn_rad, "rad apart"),
    ):
        if value > limit:
            return Finding(Reason.TARGET_JUMP, f"{what} {value:.3f} {unit}; at most {limit}")
    return None
