"""The monitor's thread with a reader that the test steps by hand: what is left out, when the policy holds and when it goes on."""

import math
import os
import threading

import numpy as np
import pytest

pytest.importorskip("rclpy")

from cdp_msgs.msg import PolicyStatus

from cdp.bundle import Bundle, BundleError
from cdp.runtime import RuntimeConfig
from cdp.runtime.monitor import Figures, MonitorReading
from cdp.runtime.monitor_figures import ActionSpreadSI
from cdp_policy_node.policy_monitor import MonitorParameters, PolicyMonitor, diagnostic_values, fill_status, open_monitor

S = 1_000_000_000
START_NS = 100 * S
DEADLINE_S = 20.0
WINDOW = {"image": np.zeros((2, 8, 8, 3), np.uint8), "lowdim": np.zeros((2, 3), np.float32)}


def reading(share):
    return MonitorReading(
        Figures(0.1, ActionSpreadSI(0.002, 0.01, 0.0), 0.03, 0.4, 9.0), {"extent": 0.2, "distance": share, "spread": 0.3}, 0.5, 12.0
    )


class SteppedReader:
    """Gives the next of ``shares`` once the test lets it."""

    def __init__(self, *shares, free=True):
        self.shares, self.allowed, self.entered = list(shares), threading.Semaphore(0), threading.Semaphore(0)
        self.free, self.priority = free, None

    def __call__(self):
        self.priority = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
        return self

    def read(self, window):
        self.entered.release()
        if not self.free:
            assert self.allowed.acquire(timeout=DEADLINE_S)
        share = self.shares.pop(0)
        if isinstance(share, Exception):
            raise share
        return reading(share)


@pytest.fixture
def opened():
    """``opened(reader, **parameters)`` -> a monitor, and a function that offers a window, unless told not to, and waits for the reading."""
    monitors, told = [], threading.Semaphore(0)

    def open_one(reader, **parameters):
        monitor = PolicyMonitor(reader, MonitorParameters(**parameters), told.release)
        monitors.append(monitor)
        clock = [START_NS]

        def step(offer=True):
            assert not offer or monitor.offer(WINDOW, clock[0])
            assert told.acquire(timeout=DEADLINE_S), "no reading"
            clock[0] += S
            return monitor

        return monitor, step

    yield open_one
    for monitor in monitors:
        monitor.close()


def test_the_policy_holds_after_so_many_and_goes_on_after_as_many(opened):
    monitor, step = opened(SteppedReader(1.5, 1.5, 0.95, 0.5, 0.5), monitor_hold=True, monitor_after=2)
    assert step().hold_reason == ""
    assert "unlike the training data" in step().hold_reason
    assert step().hold_reason != "", "0.95 is above what ends it"
    assert step().hold_reason != ""
    assert step().hold_reason == "" and not monitor.verdict.uncertain


def test_without_the_wish_to_hold_it_only_tells(opened):
    monitor, step = opened(SteppedReader(1.5), monitor_after=1)
    assert step().verdict.uncertain and monitor.hold_reason == ""


def test_what_comes_while_it_reads_or_within_a_period_is_left_out_and_never_waited_for(opened):
    reader = SteppedReader(0.1, 0.2, free=False)
    monitor, read = opened(reader, monitor_rate_hz=2.0)
    assert monitor.offer(WINDOW, START_NS)
    assert reader.entered.acquire(timeout=DEADLINE_S)
    assert not monitor.offer(WINDOW, START_NS + 5 * S) and not monitor.due(START_NS + 5 * S)
    assert monitor.latest() is None
    reader.allowed.release()
    read(offer=False)
    assert not monitor.offer(WINDOW, START_NS + S // 2 - 1)
    assert monitor.offer(WINDOW, START_NS + S // 2)
    reader.allowed.release()


def test_a_clock_that_went_back_does_not_end_the_readings(opened):
    monitor, step = opened(SteppedReader(0.1, 0.2))
    step()
    assert monitor.offer(WINDOW, START_NS - 50 * S)


def test_a_reading_of_the_last_episode_counts_for_nothing(opened):
    reader = SteppedReader(5.0, 0.1, free=False)
    monitor, read = opened(reader, monitor_after=1, monitor_hold=True)
    assert monitor.offer(WINDOW, START_NS) and reader.entered.acquire(timeout=DEADLINE_S)
    monitor.restart()
    reader.allowed.release()
    read(offer=False)
    assert monitor.latest() is None and monitor.hold_reason == ""
    assert monitor.offer(WINDOW, START_NS), "a new episode may be read at once"
    reader.allowed.release()


def test_a_reader_that_fails_is_told_and_holds_only_where_it_is_asked_to(opened):
    for hold in (True, False):
        monitor, step = opened(SteppedReader(ValueError("no such window")), monitor_hold=hold)
        assert step().verdict.uncertain is hold
        assert "no such window" in monitor.failure and bool(monitor.hold_reason) is hold
        assert not monitor.offer(WINDOW, START_NS + 60 * S)
        assert "no such window" in diagnostic_values(monitor)["monitor"]


def test_what_cannot_be_loaded_is_raised_where_the_node_is_configured():
    def refuse():
        raise BundleError("no thresholds")

    with pytest.raises(BundleError, match="no thresholds"):
        PolicyMonitor(refuse, MonitorParameters())


def test_the_thread_has_a_lower_priority_and_the_caller_keeps_its_own(opened):
    before = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    reader = SteppedReader()
    opened(reader)
    assert reader.priority > before
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == before


def test_status_and_diagnostics_tell_the_newest_reading(opened):
    status = PolicyStatus()
    fill_status(status, None)
    assert math.isnan(status.spread) and math.isnan(status.ood_share) and not status.uncertain and status.monitor_stamp.sec == 0
    monitor, step = opened(SteppedReader(1.25), monitor_after=1)
    fill_status(status, monitor)
    assert math.isnan(status.lipschitz)
    step()
    fill_status(status, monitor)
    assert (status.spread, status.spread_position_m, status.lipschitz, status.ood_share) == (0.1, 0.002, 0.03, 1.25)
    assert status.uncertain and status.monitor_stamp.sec == START_NS // S
    values = diagnostic_values(monitor)
    assert values["monitor_share_distance"] == "1.25" and values["monitor_spread_rotation_rad"] == "0.01" and "unlike" in values["monitor"]
    assert diagnostic_values(None) == {"monitor": "off"}


def test_a_bundle_without_thresholds_is_read_but_cannot_be_held_by(tiny_bundle):
    bundle, config = Bundle.open(tiny_bundle), RuntimeConfig(backend="onnxruntime")
    monitor, line = open_monitor(bundle, config, MonitorParameters(monitor_seeds=2))
    monitor.close()
    assert "out-of-distribution detection is off" in line and "cdp monitor" in line
    with pytest.raises(BundleError, match=r"monitor_hold is true, but bundle tiny has no thresholds.*cdp monitor"):
        open_monitor(bundle, config, MonitorParameters(monitor_hold=True))
