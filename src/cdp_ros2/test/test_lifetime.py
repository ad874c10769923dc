"""Ends: of nodes, of the launch, and of everything when the launch is killed."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

SOON = """
    soon = {"sigterm_timeout": "0.3", "sigkill_timeout": "0.3"}
"""


def launch_and_note(ws, body: str):
    """Start a launch of one probe and return the process with what the probe noted."""
    process = ws.start("launch", ws.launch_file(body))
    return process, ws.note()


def end_of(process) -> tuple[int, str]:
    """Status and output of a launch that is ending."""
    output, _ = process.communicate(timeout=20)
    return process.returncode, output


def test_ctrl_c_reaches_every_node_and_returns_zero(ws, is_alive):
    process = ws.start("launch", ws.launch_file('probe("polite", output="screen"), probe("polite", output="screen")'))
    pids = [ws.note(n)["pid"] for n in (0, 1)]
    process.send_signal(signal.SIGINT)
    status, output = end_of(process)
    assert status == 0
    assert output.count("] saved") == 2
    assert not any(map(is_alive, pids))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_requests_to_end_are_as_gentle(ws, is_alive, subset_only, number):
    process, note = launch_and_note(ws, 'probe("polite", output="screen")')
    process.send_signal(number)
    status, output = end_of(process)
    assert status == 0
    assert "] saved" in output
    assert not is_alive(note["pid"])


def test_an_interrupt_that_the_shell_ignores_still_counts(ws, subset_only):
    # `ros2 launch ... &` in a script starts with SIGINT ignored.
    path = ws.launch_file('probe("polite", output="screen")')
    process = subprocess.Popen(["sh", "-c", 'ros2 launch "$0" & echo $! >"$1"; wait', str(path), str(ws.root / "pid")], env=ws.env)
    ws.started.append(process)
    ws.note()
    os.kill(int((ws.root / "pid").read_text()), signal.SIGINT)
    assert process.wait(timeout=20) == 0


@pytest.mark.parametrize(("mode", "signals"), [("deaf", ["SIGINT", "SIGTERM"]), ("stubborn", ["SIGINT", "SIGTERM", "SIGKILL"])])
def test_a_stop_is_escalated(ws, is_alive, mode, signals):
    process, note = launch_and_note(ws, f'probe("{mode}", sigterm_timeout="0.3", sigkill_timeout="0.3")')
    process.send_signal(signal.SIGINT)
    _, output = end_of(process)
    assert not is_alive(note["pid"])
    found = [name for name in ("SIGINT", "SIGTERM", "SIGKILL") if f"sending signal '{name}' to process[probe-1]" in output]
    assert found == signals


def test_asking_again_escalates_at_once(ws, is_alive, wait, subset_only):
    process, note = launch_and_note(ws, 'probe("stubborn", sigterm_timeout="60", sigkill_timeout="60")')
    began = time.monotonic()
    while process.poll() is None and time.monotonic() - began < 10:
        process.send_signal(signal.SIGINT)
        with_deadline = time.monotonic() + 0.2
        wait(lambda deadline=with_deadline: time.monotonic() > deadline or process.poll() is not None, "a pause between two key presses")
    assert process.poll() is not None
    assert not is_alive(note["pid"])


def test_what_a_node_started_ends_with_it(ws, is_alive, subset_only):
    process, note = launch_and_note(ws, 'probe("parent", output="screen")')
    process.send_signal(signal.SIGTERM)
    assert end_of(process)[0] == 0
    assert not is_alive(note["pid"]) and not is_alive(note["grandchild"])


def test_what_a_dead_node_left_behind_is_stopped(ws, is_alive, wait, subset_only):
    process = ws.start("launch", ws.launch_file('probe("parent", output="screen"), probe("polite")'))
    note = next(note for note in (ws.note(0), ws.note(1)) if note["argv"] == ["parent"])
    os.kill(note["pid"], signal.SIGKILL)
    wait(lambda: not is_alive(note["grandchild"]), "the grandchild is stopped")
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert end_of(process)[0] == 0


def test_a_killed_launch_leaves_nothing(ws, is_alive, wait, subset_only):
    process = ws.start(
        "launch", ws.launch_file('probe("parent"), probe("polite", output="screen"), *[probe(m, **soon) for m in ("deaf", "stubborn")]', imports=SOON)
    )
    notes = [ws.note(n) for n in range(4)]
    process.kill()
    pids = [note["pid"] for note in notes] + [note["grandchild"] for note in notes if "grandchild" in note]
    assert len(pids) == 5
    wait(lambda: not any(map(is_alive, pids)), "every process of the killed launch has ended")


def test_killing_all_that_is_called_ros2_leaves_nothing(ws, is_alive, wait, subset_only):
    process, note = launch_and_note(ws, 'probe("polite")')
    guardians = [int(pid) for pid in subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True).stdout.split()]
    (guardian,) = set(guardians) - {note["pid"]}
    arguments = Path(f"/proc/{guardian}/cmdline").read_bytes().split(b"\0")[1:]
    assert not any(b"ros2" in word for word in arguments)
    process.kill()
    wait(lambda: not is_alive(note["pid"]), "the node has ended")
    wait(lambda: not is_alive(guardian), "the guardian has ended")


@pytest.mark.parametrize(("code", "status"), [(0, 0), (3, 1)])
@pytest.mark.parametrize(
    "end",
    [
        'probe("exit", "{code}", on_exit=Shutdown(reason="done"))',
        '*and_then(probe("exit", "{code}"), EmitEvent(event=ShutdownEvent(reason="done")))',
        '*and_then(probe("exit", "{code}"), TimerAction(period=0.1, actions=[Shutdown()]))',
    ],
    ids=["on_exit", "handler", "timer"],
)
def test_the_end_of_a_required_node_is_the_end_of_the_launch(ws, is_alive, subset_only, end, code, status):
    imports = """
        def and_then(process, action):
            return [process, RegisterEventHandler(OnProcessExit(target_action=process, on_exit=[action]))]
    """
    process = ws.start("launch", ws.launch_file('probe("polite"), ' + end.format(code=code), imports=imports))
    result, output = end_of(process)
    assert result == status
    assert ("exit code 3" in output) == (code == 3)
    pids = [int(pid) for pid in re.findall(r"process started with pid \[(\d+)\]", output)]
    assert len(pids) == 2
    assert not any(map(is_alive, pids))


def test_the_end_of_another_node_is_not(ws):
    body = 'probe("polite"), probe("exit", "3", on_exit=TimerAction(period=0.2, actions=[probe("note")]))'
    process = ws.start("launch", ws.launch_file(body))
    assert ws.note(2)["argv"] == ["note"]
    process.send_signal(signal.SIGINT)
    assert end_of(process)[0] == 0


def test_a_launch_ends_with_its_last_node(ws):
    assert ws.run("launch", ws.launch_file('probe("note"), probe("note")'))[0] == 0


def test_a_log_directory_that_cannot_be_made_is_no_reason_to_fail(ws, subset_only):
    ws.env["ROS_LOG_DIR"] = "/proc/nowhere"
    status, output = ws.run("launch", ws.launch_file('probe("note", output="screen")'))
    assert status == 0
    assert "ROS_LOG_DIR" in output and "out of note" in output


def test_respawn(ws, is_alive):
    process = ws.start("launch", ws.launch_file('probe("exit", "1", respawn=True, respawn_delay=0.05)'))
    pids = [ws.note(n)["pid"] for n in range(3)]
    assert len(set(pids)) == 3
    process.send_signal(signal.SIGINT)
    assert end_of(process)[0] == 0
    assert not any(map(is_alive, pids))


def test_an_error_while_running_stops_what_runs(ws, is_alive, subset_only):
    path = ws.launch_file('probe("polite"), TimerAction(period=0.3, actions=[LogInfo(msg=LaunchConfiguration("nowhere"))])')
    process = ws.start("launch", path)
    note = ws.note()
    status, output = end_of(process)
    assert status == 1
    assert "nowhere" in output
    assert not is_alive(note["pid"])


def test_a_reader_that_goes_away_ends_the_launch(ws, is_alive, wait, subset_only):
    path = ws.launch_file('probe("polite", output="screen"), TimerAction(period=0.5, actions=[LogInfo(msg="more")])')
    process = ws.start("launch", path)
    note = ws.note()
    process.stdout.close()
    wait(lambda: process.poll() is not None, "the launch has ended")
    assert not is_alive(note["pid"])
