"""Figures of a motion that is made of chunks: how it moves where one takes over, and how within one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from cdp.geometry import FloatArray
from cdp.studies.joins_replay import Motion, Recording, Sent


def join_figures(sent: Sequence[Sent], recording: Recording) -> dict[str, FloatArray]:
    """One recording's values, to be pooled: ``jump_m`` at each join, ``jerk_join`` and ``jerk_within`` [m/s^3], ``error_m`` of each row.

    The jump is how far the new chunk's first row is from where the old one would have been sent to by then. Jerk is the third difference of the
    commanded position once a policy period: over a join where the four positions come from more than one chunk, else within a chunk. The error is the
    distance to what the demonstrator did.
    """
    motion, dt_ns = Motion(sent), sent[0].chunk.dt_ns
    at_ns = np.arange(sent[0].at_ns, int(recording.stamp_ns[-1]) + 1, dt_ns)
    dt_s = dt_ns / 1e9
    jerk = np.linalg.norm(np.diff(motion.position(at_ns), n=3, axis=0), axis=1) / dt_s**3
    # When a chunk comes the arm is still where the one before it has sent it.
    part = motion.part(at_ns - 1)
    joined = part[3:] != part[:-3]
    first_ns = np.array([each.chunk.start_ns for each in sent[1:]], dtype=np.int64)
    jumps = [float(np.linalg.norm(each.chunk.rows[0, :3] - motion.position(first_ns[k : k + 1], k)[0])) for k, each in enumerate(sent[1:])]
    # What was done is for one period after what was seen; before the first chunk nothing is sent.
    done_ns = recording.stamp_ns + dt_ns
    follows = done_ns >= sent[0].chunk.start_ns
    error = np.linalg.norm(motion.position(done_ns[follows]) - recording.action[follows], axis=1)
    return {"jump_m": np.array(jumps), "jerk_join": jerk[joined], "jerk_within": jerk[~joined], "error_m": error}


def pooled(recordings: Sequence[Mapping[str, FloatArray]]) -> dict[str, float]:
    """Root mean squares and largest values over all recordings."""
    of = {name: np.concatenate([each[name] for each in recordings]) for name in recordings[0]}
    within = rms(of["jerk_within"])
    return {
        "jump_mm": 1e3 * rms(of["jump_m"]),
        "jump_max_mm": 1e3 * float(np.max(of["jump_m"])),
        "jerk_join": rms(of["jerk_join"]),
        "jerk_join_max": float(np.max(of["jerk_join"])),
        "jerk_within": within,
        "jerk_ratio": rms(of["jerk_join"]) / within,
        "error_mm": 1e3 * rms(of["error_m"]),
    }


def seed_spread(by_seed: Sequence[Sequence[Sequence[Sent]]]) -> float:
    """Root mean square distance [mm] of a row's position from its mean over seeds, of chunks for the same observation; 0 for one seed."""
    chunks = [np.stack([each.chunk.rows[:, :3] for sent in recordings for each in sent]) for recordings in by_seed]
    rows = np.stack(chunks)
    return 1e3 * rms(np.linalg.norm(rows - rows.mean(axis=0), axis=-1).ravel())


def rms(values: FloatArray) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(np.square(values))))
