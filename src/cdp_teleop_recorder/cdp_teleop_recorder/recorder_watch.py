"""Watches all streams of the recorder: what is wrong now, and the verdict on an episode."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cdp.data.episode_writer import EpisodeWriter
from cdp.data.sample_bytes import Repeats
from cdp_teleop_recorder.recorder_idle import IdleWatch
from cdp_teleop_recorder.recorder_parameters import RecorderParameters
from cdp_teleop_recorder.recorder_streams import NS_PER_S, StreamMonitor, out_of_sync

_IDLE_STREAM = "joint_pos"
_ACTION_STREAM = "action"


class Watch:
    """Monitors by stream, of nominal ``rates_hz``; a stream without one is in it as None."""

    def __init__(self, parameters: RecorderParameters, rates_hz: Mapping[str, float | None]) -> None:
        self._parameters = parameters
        self.monitors = {name: StreamMonitor(rate) for name, rate in rates_hz.items()}
        self._idle = IdleWatch(round(parameters.idle_after_s * NS_PER_S), parameters.idle_joint_rad)
        self._counted: dict[str, tuple[int, int, int]] = {}

    def restart(self) -> None:
        """Begin an episode."""
        self._idle.restart()
        self._counted = {}
        for monitor in self.monitors.values():
            monitor.restart()

    def see(self, stream: str, stamp_ns: int, receive_ns: int, values: Mapping[str, Any], counting: bool) -> None:
        """A sample has arrived; ``counting`` while an episode is in progress."""
        self.monitors[stream].see(stamp_ns, counting, receive_ns)
        if stream == _IDLE_STREAM and counting:
            self._idle.see(stamp_ns, values["data"])

    def silent(self, streams: Iterable[str], now_ns: int) -> list[str]:
        """Why each of the ``streams`` that is silent counts as that."""
        reasons = (self.monitors[name].silence(name, now_ns, self._parameters.silent_after_s) for name in streams)
        return [reason for reason in reasons if reason]

    def idle_s(self) -> float:
        """For so long the arm has stood still now [s]."""
        return self._idle.idle_s

    def idle_ns(self) -> tuple[tuple[int, int], ...]:
        """The times of the episode at which it stood still."""
        return self._idle.intervals_ns()

    def dropped(self) -> dict[str, int]:
        """Messages of the episode that never arrived, by stream."""
        return {name: monitor.dropped for name, monitor in self.monitors.items()}

    def snapshot(self, lost: Mapping[str, int]) -> dict[str, Any]:
        """The streams in a :class:`cdp_teleop_recorder.recorder_types.Snapshot`; ``lost`` by the writer, by stream."""
        monitors = self.monitors
        return {
            "streams": tuple(monitors),
            "received": tuple(m.received for m in monitors.values()),
            "dropped": tuple(m.dropped + lost.get(name, 0) for name, m in monitors.items()),
            "rate_hz": tuple(m.newest_rate_hz() or 0.0 for m in monitors.values()),
            "lag_s": tuple((m.lag_ns or 0.0) / NS_PER_S for m in monitors.values()),
        }

    def warnings_now(self, writer: EpisodeWriter, now_ns: int) -> dict[str, str]:
        """What is wrong with the episode in progress, by stream and kind of fault."""
        p = self._parameters
        found: dict[str, str] = {}
        repeats, lost = writer.repeats, writer.lost
        late = out_of_sync(self.monitors, p.sync_tolerance_s)
        for name, monitor in self.monitors.items():
            began = monitor.rate_hz is not None and monitor.first_ns is not None
            new = self._new(name, monitor, lost.get(name, 0))
            candidates = {
                "silent": monitor.silence(name, now_ns, p.silent_after_s) if began else None,
                "slow": monitor.slow_now(name, p.min_rate_fraction) if began else None,
                "sync": late.get(name) if began else None,
                "frozen": self._frozen(name, monitor, repeats[name].run if name in repeats else 0, "shows"),
                "dropped": f"{new[0]} of {name} never arrived" if new[0] else None,
                "lost": f"{new[1]} of {name} were dropped: the writer cannot keep up, or they are no such thing" if new[1] else None,
                "repeated": f"{new[2]} of {name} repeat a stamp" if new[2] else None,
            }
            found |= {f"{name}/{kind}": text for kind, text in candidates.items() if text}
        return found

    def warnings(self, writer: EpisodeWriter) -> list[str]:
        """What the finished episode lacks."""
        p, repeats, lost = self._parameters, writer.repeats, writer.lost
        late = out_of_sync(self.monitors, p.sync_tolerance_s)
        found = ["there is no action in it, so it gives no demonstration"] if writer.received.get(_ACTION_STREAM) == 0 else []
        for name, monitor in self.monitors.items():
            gone = monitor.dropped + lost.get(name, 0)
            candidates = (
                f"{gone} of {name} were dropped" if gone else None,
                monitor.slow(name, p.min_rate_fraction),
                late.get(name) if monitor.received else None,
                f"{monitor.repeated} of {name} repeat a stamp" if monitor.repeated else None,
                self._frozen(name, monitor, repeats[name].longest_run if name in repeats else 0, "showed"),
            )
            found += [text for text in candidates if text]
        return found

    def verdict(self, writer: EpisodeWriter, warnings: list[str]) -> dict[str, Any]:
        """The figures behind the warnings, for the file; a stream that sent nothing is left out."""
        repeats, lost, received = writer.repeats, writer.lost, writer.received
        idle = self.idle_ns()
        return {
            "good": not warnings,
            "idle_s": sum(last - first for first, last in idle) / NS_PER_S,
            "writer": {
                "write_latency_ms": writer.write_latency.summary_ms(),
                "sync_ms": writer.sync_latency.summary_ms(),
                "most_images_waiting": writer.most_images_waiting,
            },
            "streams": {
                name: _figures(m, received.get(name, 0), lost.get(name, 0), repeats.get(name)) for name, m in self.monitors.items() if m.received
            },
        }

    def _new(self, name: str, monitor: StreamMonitor, lost: int) -> tuple[int, int, int]:
        """Messages that never arrived, were lost, or repeat a stamp, since this was asked the last time."""
        counts = (monitor.dropped, lost, monitor.repeated)
        before = self._counted.get(name, (0, 0, 0))
        self._counted[name] = counts
        return counts[0] - before[0], counts[1] - before[1], counts[2] - before[2]

    def _frozen(self, name: str, monitor: StreamMonitor, run: int, verb: str) -> str | None:
        same_s = run / (monitor.rate_hz or 1.0)
        return f"{name} {verb} the same picture for {same_s:.1f} s" if 0 < self._parameters.frozen_after_s < same_s else None


def _figures(monitor: StreamMonitor, stored: int, lost: int, repeats: Repeats | None) -> dict[str, Any]:
    rate = monitor.mean_rate_hz()
    return {
        "received": monitor.received,
        "stored": stored,
        "dropped": monitor.dropped,
        "lost": lost,
        "nominal_hz": monitor.rate_hz,
        "rate_hz": None if rate is None else round(rate, 3),
        "longest_gap_s": monitor.longest_gap_ns / NS_PER_S,
        "lag_s": None if monitor.lag_ns is None else round(monitor.lag_ns / NS_PER_S, 6),
        "repeated_stamps": monitor.repeated,
        "repeated_pictures": None if repeats is None else repeats.count,
    }
