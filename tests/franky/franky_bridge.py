"""``franky_bridge.py PORT SCENE``: the clock of the server at PORT, and of the slide scene the simulator's topics, for policy and episode runner.

Pictures are the agent view of our own simulation, drawn from the positions that franky-sim has; TaskState is the server's verdict.
"""

import json
import socket
import sys
import time

import rclpy
from cdp_msgs.msg import TaskState
from cdp_msgs.srv import ResetScene
from cdp_ros.signals import stop_on_signals
from cdp_ros.stamps import ns_to_stamp
from rclpy.qos import QoSProfile
from rclpy.signals import SignalHandlerOptions
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image

from cdp_franka.kinematics import forward
from cdp_franka.rotation import quat_of
from cdp_franka_sim import scene
from cdp_franka_sim import sim_messages as messages
from cdp_franka_sim.physics import FrankaSim
from cdp_franka_sim.render_thread import RenderThread
from cdp_franka_sim.tasks import make_task

PERIOD_NS = 33_333_333
TASK = "slide"


class Bridge:
    """The clock, each 10 ms of it."""

    def __init__(self, port):
        self._node = rclpy.create_node("scene_bridge")
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect(("127.0.0.1", port))
        self._socket.settimeout(0.005)
        self._clock = self._node.create_publisher(Clock, "/clock", 10)
        self._newest = None
        self._ask({"watch": True})

    def _ask(self, question):
        self._socket.send(json.dumps(question).encode())

    def _read(self):
        try:
            found = json.loads(self._socket.recv(4096))
        except TimeoutError:
            return
        # Answers to questions are of an instant that the clock may have passed.
        if self._newest is None or found["stamp_ns"] > self._newest["stamp_ns"]:
            self._newest = found
            self._clock.publish(Clock(clock=ns_to_stamp(found["stamp_ns"])))
            self._look(found)

    def _look(self, found):
        """Nothing to see."""

    def run(self, stop):
        while not stop.is_set():
            self._read()
            rclpy.spin_once(self._node, timeout_sec=0.0)

    def close(self):
        self._socket.close()


class SlideBridge(Bridge):
    """Camera and truth besides; pictures are drawn in a thread of their own."""

    def __init__(self, port):
        super().__init__(port)
        self._sim = FrankaSim(make_task(TASK))
        self._render = RenderThread(self._sim.make_camera)
        model, joints = self._sim.model, (*scene.ARM_JOINTS, *scene.FINGER_JOINTS)
        self._places = [int(model.joint(name).qposadr[0]) for name in joints]
        block = int(model.joint("block").qposadr[0])
        self._block = slice(block, block + 7)
        self._due_ns = 0
        self._image = self._node.create_publisher(Image, "/agentview/image_raw", QoSProfile(depth=30))
        self._info = self._node.create_publisher(CameraInfo, "/agentview/camera_info", 10)
        self._task = self._node.create_publisher(TaskState, "/cdp_sim/task", QoSProfile(depth=30))
        self._node.create_service(ResetScene, "/cdp_sim/reset", self._on_reset)

    def _on_reset(self, request, response):
        """The objects only: a robot does not jump to where an episode begins."""
        self._ask({"reset": request.seed})
        end = time.monotonic() + 10.0
        while self._newest is None or self._newest["seed"] != request.seed:
            if time.monotonic() > end:
                response.message = "the scene does not answer"
                return response
            self._read()
        response.stamp = ns_to_stamp(self._newest["stamp_ns"])
        response.success, response.message = True, f"objects of seed {request.seed}"
        return response

    def _look(self, found):
        if found["stamp_ns"] < self._due_ns or self._render.waiting > 1:
            return
        self._due_ns = max(self._due_ns + PERIOD_NS, found["stamp_ns"])
        qpos, stamp = self._sim.positions(), ns_to_stamp(found["stamp_ns"])
        qpos[self._places], qpos[self._block] = found["joints"], found["thing"]
        position, rotation = forward(qpos[self._places[:7]])
        x, y, z, *wxyz = found["thing"]
        truth = TaskState(task=TASK, seed=found["seed"], episode=found["episode"], success=found["success"], distance_m=found["distance_m"])
        truth.header.stamp, truth.header.frame_id = stamp, messages.BASE_FRAME
        truth.object = messages.pose([x, y, z, *wxyz[1:], wxyz[0]])
        truth.goal, truth.eef = messages.pose(found["goal"]), messages.pose([*position, *quat_of(rotation)])

        def deliver(picture):
            self._info.publish(messages.camera_info(self._render.camera.intrinsics, stamp))
            self._image.publish(messages.image(picture, stamp))
            self._task.publish(truth)

        self._render.draw(qpos, deliver)

    def close(self):
        self._render.close()
        super().close()


if __name__ == "__main__":
    with stop_on_signals() as stop:
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
        bridge = (SlideBridge if sys.argv[2] == TASK else Bridge)(int(sys.argv[1]))
        bridge.run(stop)
        bridge.close()
        rclpy.shutdown()
