"""The rate of a camera's topic, and how old its images are when they come."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cdp_teleop_recorder.doctor.finding import Finding

NS_PER_S = 1_000_000_000
_SLOW, _FAR_TOO_SLOW = 0.9, 0.5
_OLD_S, _FUTURE_S = 0.1, -0.05
_START = "ros2 launch cdp_policy_node bringup.launch.py robot_ip:=172.16.0.2 camera:=realsense"


@dataclass(frozen=True)
class Heard:
    """Images of a topic: how many publish there, header stamps and times of arrival [ns], by one clock."""

    publishers: int
    stamp_ns: Sequence[int]
    arrival_ns: Sequence[int]


def camera_rate(topic: str, nominal_hz: float, heard: Heard) -> Iterator[Finding]:
    """Rate by the times of arrival, the largest gap, and the age at arrival."""
    if not heard.publishers:
        yield Finding("camera", "warn", f"nobody publishes {topic}: no camera runs, or in another ROS domain", _START)
        return
    if len(heard.arrival_ns) < 2:
        look = f"the driver's log says why; does it send at all?\nros2 topic hz {topic}"
        yield Finding("camera", "fail", f"{topic} has a publisher, and {len(heard.arrival_ns)} images came", look)
        return
    gaps_s = np.diff(np.asarray(heard.arrival_ns, dtype=np.int64)) / NS_PER_S
    rate = 1.0 / float(np.mean(gaps_s))
    age_s = float(np.median(np.asarray(heard.arrival_ns) - np.asarray(heard.stamp_ns))) / NS_PER_S
    text = f"{topic}: {rate:.1f} Hz of {nominal_hz:.0f}, {1e3 * float(gaps_s.max()):.0f} ms at most between two, {1e3 * age_s:.0f} ms old on arrival"
    slow_fix = f"USB 3 port and cable, exposure below one frame's period, the profile of config/fastdds.xml\nros2 topic hz {topic}"
    if heard.publishers > 1:
        text = f"{text}; {heard.publishers} publishers, whose images mix"
        yield Finding("camera", "fail", text, f"end all but one\nros2 topic info -v {topic}")
        return
    if rate < _FAR_TOO_SLOW * nominal_hz:
        yield Finding("camera", "fail", text, slow_fix)
    elif rate < _SLOW * nominal_hz:
        yield Finding("camera", "warn", text, slow_fix)
    else:
        yield Finding("camera", "ok", text)
    if not _FUTURE_S <= age_s <= _OLD_S:
        late = "a busy machine or a slow link, or clocks that differ: " if age_s > 0 else ""
        clocks = f"{late}synchronise both machines (chrony), or put the camera's driver on this one"
        where = "in the future" if age_s < 0 else "old"
        yield Finding("camera clock", "warn", f"images of {topic} come {1e3 * abs(age_s):.0f} ms {where} by their stamps", clocks)


def listen(topic: str, seconds: float) -> Heard:
    """Images of ``topic`` over some seconds, on a node of its own."""
    from cdp_teleop_recorder.hear import hear_images

    stamps: list[int] = []
    arrivals: list[int] = []

    def note(message: Any) -> bool:
        stamps.append(message.header.stamp.sec * NS_PER_S + message.header.stamp.nanosec)
        arrivals.append(time.time_ns())
        return False

    publishers = hear_images(topic, seconds, note)
    return Heard(publishers, tuple(stamps), tuple(arrivals))
