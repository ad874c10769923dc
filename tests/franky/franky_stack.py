"""franky-sim's arm in a scene of ours, and the stack of the libfranka checks on it, hand included."""

import json
import os
import socket
from pathlib import Path

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger
from wire_stack import POLICY, Server, Stack

HERE = Path(__file__).parent
DRIVER = "import sys; from cdp_franka_driver.driver_node import main; sys.exit(main())"
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
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.settimeout(5.0)

    def start(self):
        self._server.start()

    def stop(self):
        self._server.stop()
        self._socket.close()

    def ask(self, **question):
        """What is so in the scene; {"reset": seed}, {"start": seed} as the server's module says."""
        self._socket.sendto(json.dumps(question).encode(), ("127.0.0.1", self.port))
        return json.loads(self._socket.recv(4096))


class FrankyStack(Stack):
    """The genuine driver; the fingers are measured where there is a hand."""

    driver = DRIVER

    def __init__(self, folder, interface):
        super().__init__(folder, interface)
        self.widths = []
        self.node.create_subscription(JointState, "/franka_gripper/joint_states", lambda m: self.widths.append(sum(m.position)), 10)

    def start_hand(self):
        self.fingers_m = None
        self.start("hand", HAND, "robot_ip:=127.0.0.1")
        self.until(self._measured, "the hand's width")

    def _measured(self):
        return bool(self.widths)

    def start_slide(self, bundle, port):
        """The policy node, inactive, and the scene's topics."""
        self.start("bridge", BRIDGE, arguments=[str(port)])
        self.start("policy", POLICY, f"bundle:={bundle}", "steps:=3", "image_timeout_s:=1.0", "state_timeout_s:=1.0")
        client = self.node.create_client(ChangeState, "/cdp_policy/change_state")
        self.until(client.service_is_ready, "the policy node")
        future = client.call_async(ChangeState.Request(transition=Transition(id=Transition.TRANSITION_CONFIGURE)))
        self.until(future.done, "the policy's model")

    def trigger(self, name):
        client = self.node.create_client(Trigger, name)
        self.until(client.service_is_ready, name)
        future = client.call_async(Trigger.Request())
        self.until(future.done, f"an answer of {name}")
        self.node.destroy_client(client)
        return future.result()

    def script(self, code, *settings):
        """Run a node to its end; its exit status."""
        process = self.start("script", code, *settings)
        self.until(lambda: process.poll() is not None, "the end of the script", 300.0)
        return self.processes.pop("script").returncode
