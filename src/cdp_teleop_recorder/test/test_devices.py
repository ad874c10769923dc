"""Each device read by the library that a person's machine has, against hardware that does not exist."""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import termios
import time

import numpy as np
import pytest
from fake_devices import FakeSpacenavd, VirtualSpaceMouse, lacks_hidraw, lacks_spacenavd, until

from cdp.config import ConfigError, from_mapping
from cdp_teleop_recorder.commands import register_devices
from cdp_teleop_recorder.devices.base import DeviceError
from cdp_teleop_recorder.devices.choose import AUTO, DeviceConfig, choose, joy_topic, spacenav_topics
from cdp_teleop_recorder.devices.feed import DeviceFeed, Level
from cdp_teleop_recorder.devices.hidraw import Hidraw
from cdp_teleop_recorder.devices.keyboard import Keyboard
from cdp_teleop_recorder.devices.keys import KeysConfig
from cdp_teleop_recorder.devices.spacenavd import Spacenavd
from cdp_teleop_recorder.devices.topics import JoyConfig, TopicDevice, joy_deflection
from cdp_teleop_recorder.devices.udev import RULE, UdevError, by_hand, install

needs_spacenavd = pytest.mark.skipif(bool(lacks_spacenavd()), reason=lacks_spacenavd())
needs_hidraw = pytest.mark.skipif(bool(lacks_hidraw()), reason=lacks_hidraw())


def collect(device, enough):
    """Readings until ``enough`` of them says so; returns them all."""
    readings = []
    until(lambda: readings.extend(device.read()) or (readings and enough(readings)), "readings")
    return readings


@pytest.fixture(params=[1, 0], ids=["protocol 1", "protocol 0"])
def daemon(request, tmp_path, monkeypatch):
    fake = FakeSpacenavd(tmp_path / "spnav.sock", request.param)
    monkeypatch.setenv("SPNAV_SOCKET", str(fake.path))
    yield fake
    fake.close()


@needs_spacenavd
def test_spacenavd_deflection_is_forward_left_up_and_in_counts_of_full_scale(daemon):
    device = Spacenavd(350.0, time.monotonic_ns)
    try:
        assert "spacenavd" in device.open()
        until(lambda: daemon.clients == 1, "the connection")
        # The daemon's frame: x right, y up, z forward.
        for counts, axes in (((350, 0, 0), [0, -1, 0, 0, 0, 0]), ((0, 175, 0), [0, 0, 0.5, 0, 0, 0]), ((0, 0, 700), [1, 0, 0, 0, 0, 0])):
            daemon.axes(*counts)
            np.testing.assert_allclose(collect(device, lambda r, a=axes: np.allclose(r[-1].axes, a))[-1].axes, axes)
        daemon.axes(rx=350, ry=-350, rz=175)
        collect(device, lambda r: np.allclose(r[-1].axes, [0, 0, 0, 0.5, -1, -1]))
        daemon.axes()
        collect(device, lambda r: not np.any(r[-1].axes))
    finally:
        device.close()


@needs_spacenavd
def test_spacenavd_keeps_every_press_of_a_button_however_late_it_is_read(daemon):
    device = Spacenavd(350.0, time.monotonic_ns)
    try:
        device.open()
        until(lambda: daemon.clients == 1, "the connection")
        for pressed in (True, False, True, False):
            daemon.button(1, pressed)
        readings = collect(device, lambda r: len(r) >= 5)
        assert [r.button(1) for r in readings] == [False, True, False, True, False]
        assert not any(r.button(0) or r.button(7) or r.button(-1) for r in readings)
        # A button renews no deflection: a hand that lies on it does not move the arm.
        assert len({r.stamp_ns for r in readings}) == 1
    finally:
        device.close()


@needs_spacenavd
def test_spacenavd_that_ends_is_a_lost_device_with_its_fix(daemon):
    device = Spacenavd(350.0, time.monotonic_ns)
    device.open()
    until(lambda: daemon.clients == 1, "the connection")
    daemon.close()
    with pytest.raises(DeviceError, match=r"the daemon ended.*systemctl restart spacenavd"):
        until(lambda: device.read(), "the end")
    device.close()
    with pytest.raises(DeviceError, match=r"no daemon answers at .*spnav.sock.*apt-get install spacenavd"):
        device.open()


@needs_spacenavd
def test_spacenavd_tells_of_an_unplugged_device_and_opens_again_after_it(tmp_path, monkeypatch):
    daemon = FakeSpacenavd(tmp_path / "s", 1)
    monkeypatch.setenv("SPNAV_SOCKET", str(daemon.path))
    device = Spacenavd(350.0, time.monotonic_ns)
    try:
        assert device.open() == "Fake SpaceMouse through spacenavd"
        daemon.axes(z=350)
        collect(device, lambda r: r[-1].axes[0] == 1.0)
        daemon.unplug()
        with pytest.raises(DeviceError, match="unplugged"):
            until(lambda: device.read() and None, "the loss")
        device.close()
        with pytest.raises(DeviceError, match="the daemon runs but has no SpaceMouse; plug it in"):
            device.open()
        daemon.plug()
        device.open()
        at_rest = device.read()
        assert len(at_rest) == 1 and not np.any(at_rest[0].axes) and not at_rest[0].button(0)
    finally:
        device.close()
        daemon.close()


def test_a_missing_library_is_named_with_its_package():
    def load():
        raise OSError("the library libspnav is not installed")

    with pytest.raises(DeviceError, match=r"spacenavd: the library libspnav is not installed; sudo apt-get install libspnav0 spacenavd"):
        Spacenavd(350.0, time.monotonic_ns, load).open()


READER = """
import json, sys, time
from cdp_teleop_recorder.commands import register_devices
from cdp_teleop_recorder.devices.base import DeviceError
from cdp_teleop_recorder.devices.hidraw import Hidraw
device = Hidraw(time.monotonic_ns)
for line in sys.stdin:
    try:
        if line.strip() == "open":
            answer = device.open()
        else:
            answer = [[r.axes.tolist(), list(r.buttons)] for r in device.read()]
    except DeviceError as error:
        device.close()
        answer = "lost: " + str(error)
    print(json.dumps(answer), flush=True)
"""


@needs_hidraw
def test_a_hidraw_spacemouse_read_by_pyspacemouse_unplugged_and_plugged_in_again():
    mouse = VirtualSpaceMouse()
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    reader = subprocess.Popen([sys.executable, "-c", READER], env={**os.environ, **mouse.environment}, **pipes)

    def ask(word="read"):
        reader.stdin.write(word + "\n")
        reader.stdin.flush()
        return json.loads(reader.stdout.readline())

    def last(condition):
        return until(lambda: (got := ask()) and condition(*got[-1]) and got, "a reading")[-1]

    try:
        assert ask("open") == "SpaceMouseCompact at /dev/hidraw0"
        assert ask() == [[[0.0] * 6, []]]
        assert ask() == []
        # HID: y towards the person, z down; a turn about y and z accordingly.
        mouse.axes(0, -350, 0, 0, 0, 175)
        last(lambda axes, _: np.allclose(axes, [1, 0, 0, 0, 0, -0.5]))
        mouse.axes(350, 0, -175, 0, 0, 0)
        last(lambda axes, _: np.allclose(axes, [0, -1, 0.5, 0, 0, 0]))
        mouse.axes(0, 0, 0, 0, 0, 0)
        last(lambda axes, _: not np.any(axes))
        mouse.buttons(2)
        assert last(lambda _, buttons: any(buttons))[1] == [False, True]
        mouse.unplug()
        lost = until(lambda: isinstance(got := ask(), str) and got, "the loss")
        assert "unplugged" in lost and "plug it in again" in lost
        assert "no SpaceMouse is plugged in" in ask("open")
        mouse.plug()
        assert ask("open") == "SpaceMouseCompact at /dev/hidraw1"
        # What the library remembered of the buttons is not what is down now.
        mouse.axes(0, -350, 0, 0, 0, 0)
        assert last(lambda axes, _: axes[0] == 1.0)[1] == [False, False]
    finally:
        reader.stdin.close()
        reader.wait(timeout=20)
        reader.stdout.close()
        mouse.close()


def test_hidraw_without_its_library_names_the_package(monkeypatch):
    def missing(name):
        raise OSError(f"{name}: no such file")

    monkeypatch.setattr("ctypes.CDLL", missing)
    with pytest.raises(
        DeviceError, match=r"hidraw: the library hidapi is not installed \(.*\); sudo apt-get install libhidapi-hidraw0 && pip install"
    ):
        Hidraw(time.monotonic_ns).open()


def test_hidraw_without_the_right_to_open_names_the_rule(monkeypatch):
    class Library:
        AxisConvention = type("AxisConvention", (), {"ROS": "ros"})

        @staticmethod
        def get_connected_devices_by_path():
            return {"/dev/hidraw3": "SpaceMouseCompact"}

        @staticmethod
        def open_by_path(path, axis_convention):
            raise RuntimeError("Failed to open device")

    device = Hidraw(time.monotonic_ns)
    monkeypatch.setattr(device, "_library", lambda: Library)
    with pytest.raises(
        DeviceError, match=r"SpaceMouseCompact at /dev/hidraw3 cannot be opened \(Failed to open device\); cdp devices --install-udev"
    ):
        device.open()


def test_the_udev_rule_names_both_makers_and_spares_other_logitech_devices():
    assert 'ATTRS{idVendor}=="256f", MODE="0660"' in RULE
    for line in RULE.splitlines():
        assert line.startswith(("#", 'KERNEL=="hidraw*"'))
        assert '"046d"' not in line or "idProduct" in line
        assert line in by_hand()


@pytest.mark.parametrize("fails", [False, True])
def test_the_udev_rule_is_written_and_udev_told(tmp_path, monkeypatch, fails):
    told = tmp_path / "told"
    udevadm = tmp_path / "udevadm"
    udevadm.write_text(f"#!/bin/sh\necho $@ >> {told}\nexit {int(fails)}\n")
    udevadm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    if fails:
        with pytest.raises(UdevError, match=r"is written, but udev was not told .*unplug the SpaceMouse"):
            install(tmp_path / "70.rules")
    else:
        install(tmp_path / "70.rules")
        assert told.read_text().splitlines() == ["control --reload-rules", "trigger --subsystem-match=hidraw"]
    assert (tmp_path / "70.rules").read_text() == RULE


def test_a_rule_that_cannot_be_written_is_told_with_the_commands_that_do_it_by_hand(tmp_path, monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 0)
    with pytest.raises(UdevError, match=r"was not written .*sudo tee /etc/udev/rules.d/70-spacemouse.rules"):
        install(tmp_path / "nowhere" / "70.rules")


def test_the_command_lists_every_device_with_its_fix(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SPNAV_SOCKET", str(tmp_path / "none"))
    parser = argparse.ArgumentParser()
    register_devices(parser.add_subparsers())
    args = parser.parse_args(["devices"])
    args.run(args)
    shown = capsys.readouterr().out
    for name in (*AUTO, "keyboard"):
        assert f"\n{name}" in "\n" + shown
    assert "-> sudo apt-get install" in shown


@pytest.fixture
def terminal():
    ours, theirs = os.openpty()
    yield ours, os.ttyname(theirs)
    for fd in (ours, theirs):
        with contextlib.suppress(OSError):
            os.close(fd)


def test_the_keyboard_of_a_terminal(terminal):
    ours, path = terminal
    before = termios.tcgetattr(ours)
    device = Keyboard(KeysConfig(), time.monotonic_ns, path)
    try:
        assert path in device.open()
        os.write(ours, b"w")
        collect(device, lambda r: len(r) >= 2)  # without the deadman a key moves nothing
        os.write(ours, b" 9w")
        armed = collect(device, lambda r: r[-1].button(0) and r[-1].axes[0] > 0)[-1]
        np.testing.assert_allclose(armed.axes, [1, 0, 0, 0, 0, 0])
        os.write(ours, b"\x1b[D\x1b[6~u")
        collect(device, lambda r: np.all(np.sign(r[-1].axes) == [r[-1].axes[0] > 0, 1, -1, 0, 0, 1]))
        os.write(ours, b"gt")
        readings = collect(device, lambda r: any(x.button(2) for x in r))
        assert any(x.button(1) for x in readings) and not readings[-1].button(1)
        os.write(ours, b"x")
        collect(device, lambda r: not r[-1].button(0) and not np.any(r[-1].axes))
        # Ctrl-C still interrupts, what is typed is not shown.
        assert termios.tcgetattr(ours)[3] & termios.ISIG and not termios.tcgetattr(ours)[3] & termios.ECHO
    finally:
        device.close()
    assert termios.tcgetattr(ours) == before


def test_a_terminal_that_is_closed_is_a_lost_keyboard(terminal):
    ours, path = terminal
    device = Keyboard(KeysConfig(), time.monotonic_ns, path)
    device.open()
    os.close(ours)
    with pytest.raises(DeviceError, match="was closed"):
        until(lambda: device.read() and None, "the loss")
    device.close()


def test_a_keyboard_without_a_terminal_says_where_to_run():
    with pytest.raises(DeviceError, match=r"keyboard: no terminal at /nowhere .*ros2 run cdp_teleop_recorder teleop_node"):
        Keyboard(KeysConfig(), time.monotonic_ns, "/nowhere").open()
    with pytest.raises(DeviceError, match="is no terminal"):
        Keyboard(KeysConfig(), time.monotonic_ns, "/dev/null").open()


class Hand:
    """A clock and a topic."""

    def __init__(self, silence_ns=None):
        self.now_ns, self.publishers = 10**12, 0
        self.topic = TopicDevice("joy", "/joy", "run it", lambda: self.publishers, lambda: self.now_ns, silence_ns)


def test_a_topic_that_leaves_out_buttons_means_those_it_said_before():
    hand = Hand()
    hand.publishers = 1
    hand.topic.open()
    hand.topic.put(buttons=[1, 0])
    hand.topic.put(axes=[0.5, 0, 0, 0, 0, 0])
    hand.topic.put(buttons=[])
    readings = hand.topic.read()
    assert [r.button(0) for r in readings] == [True, True, True]
    assert readings[-1].axes[0] == 0.5


def test_a_deflection_before_any_button_is_no_release():
    """Or a deadman that is held while the driver comes back would count as let go and pressed anew."""
    hand = Hand()
    hand.publishers = 1
    hand.topic.open()
    hand.topic.put(axes=[0.5, 0, 0, 0, 0, 0])
    assert hand.topic.read() == []
    hand.topic.put(buttons=[1])
    assert [r.button(0) for r in hand.topic.read()] == [True]


def test_a_silent_gamepad_and_a_vanished_publisher_are_lost_devices():
    hand = Hand(silence_ns=500_000_000)
    with pytest.raises(DeviceError, match="nothing comes on /joy; run it"):
        hand.topic.open()
    hand.topic.put(axes=[1] * 6, buttons=[1])
    hand.topic.open()
    hand.now_ns += 600_000_000
    with pytest.raises(DeviceError, match="nothing comes"):
        hand.topic.read()
    hand = Hand()
    hand.publishers = 1
    hand.topic.open()
    hand.publishers = 0
    hand.now_ns += 300_000_000
    with pytest.raises(DeviceError, match="nobody publishes"):
        hand.topic.read()


def test_a_gamepads_axes_are_chosen_and_missing_ones_are_zero():
    assert joy_deflection(JoyConfig(), [0.1, 0.2, 0.3]) == [0.2, 0.1, 0.0, 0.0, 0.0, 0.3]
    with pytest.raises(ConfigError, match="joy_axes"):
        from_mapping(JoyConfig, {"joy_axes": [0, 0, 1, 2, 3, 4]})


class Scripted:
    """A device that is told what to do."""

    def __init__(self, name):
        self.name, self.there, self.readings, self.closed = name, False, [], 0

    def open(self):
        if not self.there:
            raise DeviceError(self.name, "is not there", "plug it in")
        return self.name

    def read(self):
        if not self.there:
            raise DeviceError(self.name, "was unplugged", "plug it in again")
        return self.readings

    def close(self):
        self.closed += 1


def test_the_feed_takes_the_first_that_opens_says_what_is_wrong_once_and_finds_a_lost_one_again():
    now = [0]
    first, second = Scripted("first"), Scripted("second")
    feed = DeviceFeed([first, second], lambda: now[0], retry_s=1.0, patience_s=2.0)

    def poll(seconds=0.1):
        now[0] += round(seconds * 1e9)
        return feed.poll()

    said = [text for _ in range(100) for _, text in poll().says]
    assert len(said) == 1 and "first: is not there; plug it in" in said[0] and "second: is not there" in said[0]
    second.there = True
    said = [text for _ in range(11) for _, text in poll().says]
    assert said == ["moved by second"] and feed.active is second
    first.there = True
    assert poll().says == []  # what works is kept
    second.there = False
    lost = poll()
    assert lost.lost and lost.readings == [] and lost.says[0][0] is Level.ERROR and "the arm stops" in lost.says[0][1]
    assert second.closed == 1 and feed.active is None
    said = [text for _ in range(11) for _, text in poll().says]
    assert said == ["moved by first"]


def test_auto_never_takes_the_keyboard_and_each_name_makes_its_device():
    args = (KeysConfig(), spacenav_topics(lambda _: 0, time.monotonic_ns), joy_topic(JoyConfig(), lambda _: 0, time.monotonic_ns), time.monotonic_ns)
    assert tuple(d.name for d in choose(DeviceConfig(), *args)) == AUTO
    for name in (*AUTO, "keyboard"):
        assert [d.name for d in choose(DeviceConfig(device=name), *args)] == [name]
    with pytest.raises(ConfigError, match="device"):
        from_mapping(DeviceConfig, {"device": "mouse"})
