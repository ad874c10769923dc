"""franky-sim's arm in a scene of ours, and the stack of the libfranka checks on it, hand included."""

import os
import socket
from pathlib import Path

import numpy as np
from cdp_ros.call import Call
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.parameter import Parameter
from scene_client import SceneClient
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger
from wire_stack import POLICY, Server, Stack

# Of the machine's time; the robot's may go at a twentieth of it.
PATIENCE_S = 240.0
HERE = Path(__file__).parent
DRIVER = "import sys; from cdp_franka_driver.driver_node import DriverNode; from cdp_ros.main import run_node; "
DRIVER += "sys.exit(run_node('franka_driver', lambda: DriverNode('robot_time_arm:RobotTimeArm'), refusals=(Exception,), close=DriverNode.close))"
HAND = "import sys; from cdp_franka_driver.hand_node import main; sys.exit(main())"
BRIDGE = f"import runpy, sys; sys.argv[0] = {str(HERE / 'franky_bridge.py')!r}; runpy.run_path(sys.argv[0], run_name='__main__')"


class Scene:
    """The server's process, and questions about what is in its scene."""

    def __init__(self, folder, name):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        command = [os.environ["CDP_FRANKY_SIM"], "-u", str(HERE / "franky_server.py"), name, str(self.port)]
        self._server = Server(folder / "franky-sim.log", command, b"ready")
        self._client = SceneClient(self.port)
        self.name, self.ask = name, self._client.ask

    def start(self):
        self._server.start()

    def stop(self):
        self._server.stop()
        self._client.close()


class FrankyStack(Stack):
    """Every node goes by the robot's clock; the fingers are measured where there is a hand."""

    driver = DRIVER

    def __init__(self, folder, interface, scene):
        super().__init__(folder, interface, Parameter("use_sim_time", value=True))
        self.environment |= {"PYTHONPATH": f"{HERE}{os.pathsep}{self.environment['PYTHONPATH']}", "CDP_SCENE_PORT": str(scene.port)}
        self.widths = []
        super().start("bridge", BRIDGE, arguments=[str(scene.port), scene.name])
        self.node.create_subscription(JointState, "/franka_gripper/joint_states", lambda m: self.widths.append(sum(m.position)), 10)

    def until(self, condition, what, deadline_s=PATIENCE_S, each=lambda: None):
        super().until(condition, what, deadline_s, each)

    def start(self, name, code, *settings, arguments=()):
        return super().start(name, code, "use_sim_time:=true", *settings, arguments=arguments)

    def start_driver(self, *more):
        # A machine that stalls makes the guard's next target a far one; the loop reaches it no faster for that.
        super().start_driver("max_step_rad:=0.3", "max_step_m:=0.1", *more)

    def go(self, place, within_m=0.03):
        """The operator takes the hand to ``place``, and engages again where a stall of the machine has ended that."""
        self.wish = lambda now_ns: self._towards(place)
        self.until(
            lambda: np.linalg.norm(place - self.here()) < within_m,
            f"the arm at {place}, it is at {self.here()}",
            PATIENCE_S,
            self.engage_after_a_stall,
        )

    def refused(self):
        """Targets that the driver has refused so far."""
        return int(self.status.get("refused_targets", 0))

    def start_hand(self):
        self.fingers_m = None
        # The hand's patience is of the machine's time.
        self.start("hand", HAND, "robot_ip:=127.0.0.1", "goal_timeout_s:=120.0")
        self.until(self._measured, "the hand's width")

    def _measured(self):
        return bool(self.widths)

    def load_policy(self, bundle):
        """The policy node, inactive."""
        self.start("policy", POLICY, f"bundle:={bundle}", "steps:=3", "image_timeout_s:=1.0", "state_timeout_s:=1.0")
        client = self.node.create_client(ChangeState, "/cdp_policy/change_state")
        self.until(client.service_is_ready, "the policy node")
        future = client.call_async(ChangeState.Request(transition=Transition(id=Transition.TRANSITION_CONFIGURE)))
        self.until(future.done, "the policy's model")

    def trigger(self, name):
        client = self.node.create_client(Trigger, name)
        self.until(client.service_is_ready, name)
        call = Call(client, Trigger.Request())
        self.until(call.done, f"an answer of {name}")
        self.node.destroy_client(client)
        return call.result()

    def script(self, code, *settings):
        """Run a node to its end, which goes by the stamps that it hears; its exit status."""
        process = super().start("script", code, *settings)
        self.until(lambda: process.poll() is not None, "the end of the script", 600.0)
        return self.processes.pop("script").returncode
