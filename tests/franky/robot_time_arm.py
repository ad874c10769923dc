"""The driver's own arm, whose stamps are the simulated robot's time: beside a server that is slower than real time, all nodes go by that clock."""

import dataclasses
import os

from scene_client import SceneClient

from cdp_franka_driver.libfranka_arm import LibfrankaArm


class RobotTimeArm(LibfrankaArm):
    """The robot counts its milliseconds from the connection; the scene knows when that was."""

    def __init__(self, robot_ip, config):
        super().__init__(robot_ip, config)
        scene = SceneClient(int(os.environ["CDP_SCENE_PORT"]))
        self._connected_ns = scene.ask()["connected_ns"]
        scene.close()

    def state(self):
        state = super().state()
        return None if state is None else dataclasses.replace(state, stamp_ns=self._connected_ns + round(1e9 * state.robot_time_s))
