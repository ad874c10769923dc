"""``franky_bridge.py PORT``: the slide scene of the server at PORT as the simulator's topics, for the policy and for who runs the episodes.

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
from sensor_msgs.msg import CameraInfo, Image

from cdp_franka.kinematics import forward
from cdp_franka.rotation import quat_of
from cdp_franka_sim import scene
from cdp_franka_sim import sim_messages as messages
from cdp_franka_sim.physics import FrankaSim
from cdp_franka_sim.tasks import make_task

RATE_HZ = 30.0
TASK = "slide"


class Bridge:
    """One thread: read, draw, publish."""

    def __init__(self, port):
        self._node = rclpy.create_node("scene_bridge")
        self._sim = FrankaSim(make_task(TASK))
        self._camera = self._sim.make_camera()
        model, joints = self._sim.model, (*scene.ARM_JOINTS, *scene.FINGER_JOINTS)
        self._places = [int(model.joint(name).qposadr[0]) for name in joints]
        block = int(model.joint("block").qposadr[0])
        self._block = slice(block, block + 7)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect(("127.0.0.1", port))
        self._socket.setblocking(False)
        self._newest = None
        self._image = self._node.create_publisher(Image, "/agentview/image_raw", QoSProfile(depth=30))
        self._info = self._node.create_publisher(CameraInfo, "/agentview/camera_info", 10)
        self._task = self._node.create_publisher(TaskState, "/cdp_sim/task", QoSProfile(depth=30))
        self._node.create_service(ResetScene, "/cdp_sim/reset", self._on_reset)
        self._ask({"watch": True})

    def _ask(self, question):
        self._socket.send(json.dumps(question).encode())

    def _on_reset(self, request, response):
        """The objects only: a robot does not jump to where an episode begins."""
        self._ask({"reset": request.seed})
        response.stamp = self._node.get_clock().now().to_msg()
        end = time.monotonic() + 5.0
        while self._newest is None or self._newest["seed"] != request.seed:
            if time.monotonic() > end:
                response.message = "the scene does not answer"
                return response
            self._read()
        response.success, response.message = True, f"objects of seed {request.seed}"
        return response

    def _read(self):
        try:
            while True:
                self._newest = json.loads(self._socket.recv(4096))
        except BlockingIOError:
            pass

    def _show(self, found):
        qpos, stamp = self._sim.positions(), ns_to_stamp(found["stamp_ns"])
        qpos[self._places], qpos[self._block] = found["joints"], found["thing"]
        picture = self._camera.render(qpos)
        self._info.publish(messages.camera_info(self._camera.intrinsics, stamp))
        self._image.publish(messages.image(picture, stamp))
        state = TaskState(task=TASK, seed=found["seed"], episode=found["episode"], success=found["success"], distance_m=found["distance_m"])
        state.header.stamp, state.header.frame_id = stamp, messages.BASE_FRAME
        position, rotation = forward(qpos[self._places[:7]])
        x, y, z, *wxyz = found["thing"]
        state.object = messages.pose([x, y, z, *wxyz[1:], wxyz[0]])
        state.goal, state.eef = messages.pose(found["goal"]), messages.pose([*position, *quat_of(rotation)])
        self._task.publish(state)

    def run(self, stop):
        due = time.monotonic()
        while not stop.is_set():
            rclpy.spin_once(self._node, timeout_sec=max(0.0, due - time.monotonic()))
            self._read()
            if time.monotonic() >= due and self._newest is not None:
                due = max(due + 1.0 / RATE_HZ, time.monotonic())
                self._show(self._newest)
                self._newest = None
        self._camera.close()


if __name__ == "__main__":
    with stop_on_signals() as stop:
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
        Bridge(int(sys.argv[1])).run(stop)
        rclpy.shutdown()
