"""Lost commands of two 1 kHz loops against a server of libfranka's protocol: aiofranka's in C++, and pylibfranka's calls in a Python process.

    tools/check_libfranka.sh --run python benchmarks/driver_loops.py --seconds 30

Both hold the arm by joint impedance, each in a process of its own with what the driver has beside the loop: a thread that takes the robot's state
and sends it away, 100 times a second; with SCHED_FIFO and without, on the machine as it is and beside two processes that compute without pause.
Seconds are the robot's, so that a simulator that is slowed down is not counted against the loop. A loop that the robot stops is begun anew.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

KP = (600.0, 600.0, 600.0, 600.0, 250.0, 150.0, 50.0)
KD = (30.0, 30.0, 30.0, 30.0, 10.0, 10.0, 5.0)


@contextmanager
def burners(count: int) -> Iterator[None]:
    """Processes that compute without pause."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def report(take: Callable[[], object]) -> None:
    """Take the state and send it away at 100 Hz, from a thread of its own."""
    read, write = os.pipe()
    threading.Thread(target=lambda: [None for _ in iter(lambda: os.read(read, 1 << 16), b"")], daemon=True).start()

    def run() -> None:
        while True:
            os.write(write, pickle.dumps(take()))
            time.sleep(0.01)

    threading.Thread(target=run, daemon=True).start()


def cpp(robot_ip: str, seconds: float, priority: int) -> dict[str, float]:
    """The driver's own arm, whose loop is C++."""
    from cdp_franka_driver.config import ControlConfig
    from cdp_franka_driver.libfranka_arm import LibfrankaArm

    arm = LibfrankaArm(robot_ip, ControlConfig(realtime_priority=priority))
    report(lambda: arm.state() if arm.controlling() else None)
    rates, reflexes, cycles = [], 0, 0
    while cycles < 1000 * seconds:
        arm.recover()
        arm.start_control()
        recording = arm._controller.record(["time", "control_command_success_rate"], seconds=600.0)
        while arm.controlling() and cycles + recording.rows < 1000 * seconds:
            time.sleep(0.05)
        reflexes += 0 if arm.controlling() else 1
        arm.stop_control()
        rates += recording.stop()["control_command_success_rate"][200:].tolist()
        cycles += recording.rows
    return result(rates, reflexes, cycles)


def python(robot_ip: str, seconds: float, priority: int) -> dict[str, float]:
    """libfranka's calls from Python, with plain floats and without garbage collection."""
    import pylibfranka

    newest: list[object] = [None]
    report(lambda: newest[0] and (newest[0].q, newest[0].dq, newest[0].tau_J, newest[0].O_T_EE))
    if priority:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
    gc.disable()
    robot = pylibfranka.Robot(robot_ip, pylibfranka.RealtimeConfig.kIgnore)
    rates, reflexes, cycles = [], 0, 0
    while cycles < 1000 * seconds:
        robot.automatic_error_recovery()
        control, first, begun = robot.start_torque_control(), None, cycles
        try:
            while cycles < 1000 * seconds:
                state, _ = control.readOnce()
                q, dq = state.q, state.dq
                first = first or q
                control.writeOnce(pylibfranka.Torques([KP[i] * (first[i] - q[i]) - KD[i] * dq[i] for i in range(7)]))
                cycles += 1
                newest[0] = state
                if cycles - begun > 200:
                    rates.append(state.control_command_success_rate)
        except (pylibfranka.ControlException, RuntimeError):
            reflexes += 1
        robot.stop()
        del control
    return result(rates, reflexes, cycles)


def say(line: str) -> None:
    """One line, at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def result(rates: list[float], reflexes: int, cycles: int) -> dict[str, float]:
    """Mean and lowest share of commands in time, stops by the robot."""
    return {"cycles": cycles, "mean": sum(rates) / max(len(rates), 1), "lowest": min(rates, default=0.0), "reflexes": reflexes}


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--robot-ip", default="127.0.0.1")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--priority", type=int, default=80)
    parser.add_argument("--loop", choices=("cpp", "python"))
    args = parser.parse_args()
    if args.loop:
        say(json.dumps({"cpp": cpp, "python": python}[args.loop](args.robot_ip, args.seconds, args.priority)))
        os._exit(0)
    say("loop    SCHED_FIFO  beside      commands in time: mean  lowest of 100   stopped by the robot   cycles")
    for priority, count, loop in itertools.product((args.priority, 0), (0, 2), ("cpp", "python")):
        command = [sys.executable, __file__, "--loop", loop, "--robot-ip", args.robot_ip]
        with burners(count):
            command += ["--seconds", str(args.seconds), "--priority", str(priority)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        line = f"{loop:7} {priority or 'no':>10}  {count} burning"
        if done.returncode != 0:
            say(f"{line}   failed: {done.stderr.strip().splitlines()[-1:]}")
            continue
        found = json.loads(done.stdout.strip().splitlines()[-1])
        say(f"{line}   {found['mean']:23.4f} {found['lowest']:14.2f} {found['reflexes']:22} {found['cycles']:8}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
