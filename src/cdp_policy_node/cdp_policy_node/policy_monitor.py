"""The policy node's monitor: a thread that reads a window now and then, and what the node says and does about it.

It has networks of its own and a low priority, and what comes while it reads is left out: no chunk waits for it.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, fields
from queue import SimpleQueue
from typing import Any, Protocol

from cdp_msgs.msg import PolicyStatus
from cdp_ros.stamps import ns_to_stamp

from cdp.bundle import Bundle, BundleError
from cdp.config import setting
from cdp.data.spec import NS_PER_S
from cdp.data.window import WindowArrays
from cdp.runtime import RuntimeConfig
from cdp.runtime.monitor import MonitorReading, SamplerMonitor
from cdp.runtime.monitor_verdict import Judge, Verdict, VerdictConfig

# Behind what plans and talks, and no further: a thread that is starved while it holds the interpreter's lock would keep it from the rest.
_NICER, _LOWEST = 10, 19


@dataclass(frozen=True)
class MonitorParameters:
    """Parameters of the monitor within the node ``cdp_policy``; read when it is configured."""

    monitor: bool = setting(True, help="measure now and then how far the sampler can be trusted on what it sees: a thread of low priority")
    monitor_rate_hz: float = setting(
        1.0, low=0.01, high=10.0, help="readings a second, by the observations' stamps; what comes meanwhile is left out"
    )
    monitor_seeds: int = setting(0, low=0, high=64, help="noises, and pairs of them, of a reading; 0: as many as the bundle's thresholds are of")
    monitor_factor: float = setting(1.0, low=0.1, high=100.0, help="uncertain above this many times the bundle's thresholds")
    monitor_resume: float = setting(0.9, low=0.01, high=1.0, help="certain again below this part of what makes it uncertain")
    monitor_after: int = setting(3, low=1, high=1000, help="readings in a row that it takes to become uncertain, or certain again")
    monitor_hold: bool = setting(False, help="send no actions while uncertain: the guard holds the arm until the observation is familiar again")

    def verdict(self) -> VerdictConfig:
        """When the policy is called uncertain."""
        return VerdictConfig(self.monitor_factor, self.monitor_resume, self.monitor_after)


MONITOR_PARAMETERS = tuple(field.name for field in fields(MonitorParameters))


@dataclass(frozen=True)
class StampedReading:
    """A reading, the stamp of the observation that it is of, and the verdict with it."""

    stamp_ns: int
    reading: MonitorReading
    verdict: Verdict


class Reader(Protocol):
    """What reads a window: :class:`cdp.runtime.monitor.SamplerMonitor`, or a test's."""

    def read(self, window: WindowArrays) -> MonitorReading:
        """The reading of one window."""


@dataclass
class _Episode:
    """What belongs to one activation: its judge, the stamp last taken, the newest reading. Written by one thread each, never cleared."""

    judge: Judge
    offered_ns: int = 0
    latest: StampedReading | None = None


class PolicyMonitor:
    """Reads offered windows in a thread. ``make`` is called there, so that the threads of the networks are of low priority too.

    Returns once the networks are loaded; raises what ``make`` raises. ``notify`` is called in that thread after each reading. The caller takes no
    lock that the thread could hold: it would wait for a thread of lower priority than its own.
    """

    def __init__(self, make: Callable[[], Reader], parameters: MonitorParameters, notify: Callable[[], None] = lambda: None) -> None:
        self.parameters = parameters
        self._make, self._notify = make, notify
        self._offers: SimpleQueue[tuple[_Episode, int, WindowArrays] | None] = SimpleQueue()
        self._busy = False
        self._error: Exception | None = None
        self._loaded = threading.Event()
        self.restart()
        self._thread = threading.Thread(target=self._run, name="cdp-monitor", daemon=True)
        self._thread.start()
        self._loaded.wait()
        if self._error is not None:
            self._thread.join()
            raise self._error

    def due(self, stamp_ns: int) -> bool:
        """Whether :meth:`offer` would take a window of this stamp: a period after the last one, and nothing is being read."""
        offered_ns = self._episode.offered_ns
        since_ns = stamp_ns - offered_ns
        period_over = offered_ns == 0 or since_ns < 0 or since_ns >= NS_PER_S / self.parameters.monitor_rate_hz
        return period_over and not self._busy and self._error is None

    def offer(self, window: WindowArrays, stamp_ns: int) -> bool:
        """Read ``window`` in the thread; False, and it is left out, where that is not due. Never waits for a reading."""
        if not self.due(stamp_ns):
            return False
        self._busy, self._episode.offered_ns = True, stamp_ns
        self._offers.put((self._episode, stamp_ns, window))
        return True

    def latest(self) -> StampedReading | None:
        """The newest reading of this episode."""
        return self._episode.latest

    @property
    def verdict(self) -> Verdict:
        """The newest verdict. Where reading has failed: uncertain, if the policy is to hold when it is."""
        if self._error is not None:
            return Verdict(self.parameters.monitor_hold, self.failure)
        latest = self.latest()
        return latest.verdict if latest is not None else Verdict()

    @property
    def failure(self) -> str:
        """Why nothing is read any more, empty while all is well."""
        return "" if self._error is None else f"the monitor failed ({self._error}) and reads nothing more; configure the node again"

    @property
    def hold_reason(self) -> str:
        """Why no action is to be sent now, empty where they may be."""
        verdict = self.verdict
        return verdict.reason if verdict.uncertain and self.parameters.monitor_hold else ""

    def restart(self) -> None:
        """Begin an episode: no reading, no verdict; what is being read counts for nothing."""
        self._episode = _Episode(Judge(self.parameters.verdict()))

    def close(self) -> None:
        """Wait for the reading under way and end the thread."""
        self._offers.put(None)
        self._thread.join()

    def _run(self) -> None:
        # Of this thread alone, since Linux gives each one of its own; a real-time priority that it inherited would be before everything.
        thread = threading.get_native_id()
        os.sched_setscheduler(thread, os.SCHED_OTHER, os.sched_param(0))
        os.setpriority(os.PRIO_PROCESS, thread, min(_LOWEST, os.getpriority(os.PRIO_PROCESS, thread) + _NICER))
        try:
            reader = self._make()
            self._loaded.set()
            while (offer := self._offers.get()) is not None:
                self._read(reader, *offer)
                self._notify()
        except Exception as error:  # noqa: BLE001
            # Whatever it was: the node goes on without a monitor and says so, and holds where it was told to hold when in doubt.
            self._error = error
            told = self._loaded.is_set()
            self._loaded.set()
            if told:
                self._notify()

    def _read(self, reader: Reader, episode: _Episode, stamp_ns: int, window: WindowArrays) -> None:
        reading = reader.read(window)
        episode.latest = StampedReading(stamp_ns, reading, episode.judge.judge(reading))
        self._busy = False


def open_monitor(bundle: Bundle, config: RuntimeConfig, parameters: MonitorParameters) -> tuple[PolicyMonitor, str]:
    """The monitor of a bundle, warmed up, and a line for the log.

    Raises :class:`BundleError` where the policy is to hold when uncertain and the bundle has no thresholds, and what
    :class:`cdp.runtime.monitor.SamplerMonitor` raises.
    """
    made: list[SamplerMonitor] = []
    cost_ms: list[float] = []

    def make() -> SamplerMonitor:
        monitor = SamplerMonitor(bundle, config, parameters.monitor_seeds or None)
        if parameters.monitor_hold and monitor.reference is None:
            raise BundleError(
                f"monitor_hold is true, but bundle {bundle.name} has no thresholds: add them with `cdp monitor {bundle.path}`, or set it false"
            )
        cost_ms.append(monitor.warm_up())
        made.append(monitor)
        return monitor

    monitor = PolicyMonitor(make, parameters)
    hold = "the policy holds when uncertain" if parameters.monitor_hold else "it is told, nothing is held"
    lacking = made[0].without_thresholds
    rate = f"{parameters.monitor_rate_hz:g} Hz, {made[0].seeds} noise seeds, {cost_ms[0]:.0f} ms of low priority a reading"
    return monitor, f"monitor: {rate}; {hold}{f'; {lacking}' if lacking else ''}"


def fill_status(status: PolicyStatus, monitor: PolicyMonitor | None) -> None:
    """Write the newest reading into ``status``; NaN where there is none."""
    newest = monitor.latest() if monitor is not None else None
    status.uncertain = monitor.verdict.uncertain if monitor is not None else False
    status.monitor_stamp = ns_to_stamp(newest.stamp_ns if newest is not None else 0)
    figures = newest.reading.figures if newest is not None else None
    status.spread = figures.spread if figures is not None else math.nan
    status.spread_position_m = figures.spread_si.position_m if figures is not None else math.nan
    status.lipschitz = figures.lipschitz if figures is not None else math.nan
    status.ood_share = newest.reading.ood_share if newest is not None else math.nan


def diagnostic_values(monitor: PolicyMonitor | None) -> dict[str, str]:
    """What /diagnostics shows of the newest reading."""
    if monitor is None:
        return {"monitor": "off"}
    newest = monitor.latest()
    if newest is None:
        return {"monitor": monitor.failure or "no reading yet"}
    figures, shares = newest.reading.figures, newest.reading.shares
    values: dict[str, Any] = {
        "monitor": monitor.failure or newest.verdict.reason or "certain",
        "monitor_spread": figures.spread,
        "monitor_spread_position_m": figures.spread_si.position_m,
        "monitor_spread_rotation_rad": figures.spread_si.rotation_rad,
        "monitor_spread_gripper_m": figures.spread_si.gripper_m,
        "monitor_lipschitz": figures.lipschitz,
        "monitor_distance_quantile": newest.reading.distance_quantile,
        **{f"monitor_share_{name}": share for name, share in shares.items()},
        "monitor_cost_ms": newest.reading.cost_ms,
    }
    return {name: value if isinstance(value, str) else f"{value:.4g}" for name, value in values.items()}
