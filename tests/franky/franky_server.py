"""``franky_server.py SCENE PORT``: franky-sim's arm in our scene, over libfranka's protocol; PORT answers questions about the scene.

SCENE is ``slide``, the task's, or ``bench``: a post to run into and a cube to grasp. Arm, hand, their frictions and their physics are franky-sim's.
Questions are JSON datagrams: {"reset": seed}, {"start": seed}, {"post": whether it is there}, {"watch": true}, {}; each is answered with what is
so at that instant, "watch" again and again, each 10 ms of simulated time. Stamps are simulated time, from the machine's clock at the beginning.
"""

import json
import signal
import socket
import sys
import time
import xml.etree.ElementTree as ET

import contact_reflex
import grasping_hand
import mujoco
import numpy as np
from franky_sim.mujoco_simulator import MujocoSimulator
from franky_sim.simulation_server import SimulationServer

from cdp_franka_sim import scene
from cdp_franka_sim.config import SimConfig
from cdp_franka_sim.tasks import make_task
from cdp_franka_sim.tasks.judge import JUDGE_PERIOD_S, Judge

ADDRESS = "127.0.0.1"
STEP_S = 0.001
# A server that is later than this gives the time up instead of rushing after it: a robot's milliseconds do not come in bursts.
MAX_BEHIND_S = 0.005
# A driver that the machine holds up is waited for: franky-sim would repeat its last torque for as long.
PATIENCE_S = 0.1
CUBE_M, POST_X_M = 0.04, 0.62
JOINTS = (*(f"robot0_{name}" for name in scene.ARM_JOINTS), "robot0_finger_joint1", "robot0_finger_joint2")


def add_bench(spec):
    """A fixed post, and a cube of 100 g that fits between the fingers."""
    spec.worldbody.add_geom(name="post", type=mujoco.mjtGeom.mjGEOM_BOX, size=[0.03, 0.15, 0.125], pos=[POST_X_M + 0.03, 0.0, 0.125])
    cube = spec.worldbody.add_body(name="cube", pos=[0.45, -0.2, 0.5 * CUBE_M])
    cube.add_freejoint(name="cube")
    cube.add_geom(type=mujoco.mjtGeom.mjGEOM_BOX, size=[0.5 * CUBE_M] * 3, mass=0.1, condim=4)


class Simulator(MujocoSimulator):
    """franky-sim's, its ground and lights exchanged for our table, camera and task."""

    def __init__(self, name):
        super().__init__()
        self.task = make_task("slide") if name == "slide" else None

    def _start(self):
        spec = mujoco.MjSpec.from_string(ET.tostring(self.scene, encoding="unicode"))
        for thing in (spec.geom("ground"), *spec.lights):
            spec.delete(thing)
        spec.body("robot0_hand").add_site(name="robot0_tcp", pos=[0.0, 0.0, scene.HAND_TO_TCP_M])
        scene.add_surroundings(spec, SimConfig())
        if self.task is None:
            add_bench(spec)
        else:
            self.task.add_to(spec)
        self._scene = ET.fromstring(spec.to_xml())
        super()._start()


class Watch:
    """Answers about the scene, and resets of what lies in it."""

    def __init__(self, simulator, port):
        self._simulator, self._task = simulator, simulator.task
        self._judge = None if self._task is None else Judge(self._task)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((ADDRESS, port))
        self._socket.setblocking(False)
        self._watcher, self._steps, self._seed, self._episode = None, 0, 0, 0
        self._begun_s, self._begun_ns = time.monotonic(), time.time_ns()

    def step(self):
        self._steps += 1
        if self._steps % round(JUDGE_PERIOD_S / STEP_S):
            return
        if self._judge is not None:
            self._judge.look(self._simulator.data)
        try:
            question, sender = self._socket.recvfrom(4096)
            self._answer(json.loads(question), sender)
        except BlockingIOError:
            pass
        if self._watcher is not None:
            self._send({}, self._watcher)

    def _answer(self, question, sender):
        more = {}
        if "reset" in question:
            self._seed, self._episode = question["reset"], self._episode + 1
            self._task.reset(self._simulator.data, np.random.default_rng(self._seed))
            self._judge.begin()
        if "start" in question:
            start = self._task.reset(mujoco.MjData(self._simulator.model), np.random.default_rng(question["start"]))
            more = {"start_m": start.eef_position_m.tolist(), "width_m": start.gripper_width_m}
        if "post" in question:
            post = self._simulator.model.geom("post")
            post.contype = post.conaffinity = int(question["post"])
        if "watch" in question:
            self._watcher = sender
        self._send(more, sender)

    def _send(self, more, receiver):
        data, robot = self._simulator.data, self._simulator.robots[0]
        thing = data.joint("cube" if self._task is None else "block")
        found = {
            "stamp_ns": self._begun_ns + 1_000_000 * self._steps,
            # The robot's own milliseconds are the numbers of its states.
            "connected_ns": self._begun_ns + 1_000_000 * (self._steps - robot.server._FrankaServer__message_id),
            "simulated_s": self._steps * STEP_S,
            "wall_s": time.monotonic() - self._begun_s,
            "joints": [float(data.joint(name).qpos[0]) for name in JOINTS],
            "thing": thing.qpos.tolist(),
            "seed": self._seed,
            "episode": self._episode,
            "torque_nm": robot.server._torque.tolist(),
            "wrench": robot.server._wrench.tolist(),
            **more,
        }
        if self._task is not None:
            found |= {"success": self._judge.success, "distance_m": self._task.distance_m(data), "goal": self._task.goal_pose(data).tolist()}
        self._socket.sendto(json.dumps(found).encode(), receiver)


def main(name, port):
    running = True

    def stop(number, frame):
        nonlocal running
        running = False

    signal.signal(signal.SIGTERM, stop)
    contact_reflex.install()
    grasping_hand.install()
    with Simulator(name) as simulator:
        simulator.add_robot()
        with SimulationServer(simulator, hostname_candidates=[ADDRESS]) as server:
            watch = Watch(simulator, port)
            print("ready", flush=True)
            due = time.monotonic()
            while running:
                simulator.robots[0].server.await_command(PATIENCE_S)
                server.run_once(realtime=False)
                watch.step()
                due = max(due + STEP_S, time.monotonic() - MAX_BEHIND_S)
                time.sleep(max(0.0, due - time.monotonic()))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
