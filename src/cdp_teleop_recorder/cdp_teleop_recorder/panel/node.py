"""The node ``cdp_panel``: the operator's page at http://127.0.0.1:8090 while it runs."""

from __future__ import annotations

import signal
from pathlib import Path

from cdp_msgs.msg import GuardStatus, PolicyStatus, RecorderStatus
from cdp_ros.main import run_node
from cdp_ros.parameters import declare, read
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy

from cdp.config import ConfigError
from cdp_teleop_recorder.panel.cameras import Camera, Cameras
from cdp_teleop_recorder.panel.episode_list import EpisodeList
from cdp_teleop_recorder.panel.heard import Board
from cdp_teleop_recorder.panel.page import Panel, make_app
from cdp_teleop_recorder.panel.recorder_client import RecorderClient
from cdp_teleop_recorder.panel.same_host import SameHost
from cdp_teleop_recorder.panel.server import PageServer, PortError, bind, is_local
from cdp_teleop_recorder.panel.settings import PanelParameters
from cdp_teleop_recorder.recorder_parameters import CameraParameters

_STATUS = "/cdp/recorder/status"
_AGENT_VIEW = "agentview"


class PanelNode(Node):
    """Listens in the main thread; the page is served from another, pictures are taken in a third."""

    def __init__(self) -> None:
        """Raises ConfigError for a parameter, PortError for an address at which no page can be served."""
        super().__init__("cdp_panel")
        declare(self, PanelParameters)
        self._settings = p = read(self, PanelParameters)
        cameras = self._cameras_of(p)
        listening = bind(p.host, p.port)
        self.failed = False
        self._board = Board(lambda: int(self.count_publishers(_STATUS)))
        # Best effort: no node ever waits for a page to have read what it said.
        newest = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        self.create_subscription(RecorderStatus, _STATUS, self._board.hear_recorder, newest)
        self.create_subscription(GuardStatus, "/cdp/guard/status", self._board.hear_guard, newest)
        self.create_subscription(PolicyStatus, "/cdp/policy/status", self._board.hear_policy, newest)
        self._cameras = Cameras(cameras, p.picture_rate_hz, p.picture_width)
        panel = Panel(p, self._board, RecorderClient(self, self._board), self._cameras, EpisodeList(Path(p.directory)))
        self._server = PageServer(SameHost(make_app(panel), p.host), listening, self._on_end)

    def begin(self) -> None:
        """Serve the page."""
        p = self._settings
        self._cameras.start()
        self._server.start()
        host = f"[{p.host}]" if ":" in p.host else p.host
        self.get_logger().info(f"the panel is at http://{host}:{p.port}")
        if not is_local(p.host):
            self.get_logger().warning(
                f"host:={p.host} lets anyone on that network control the recording and delete episodes: there is no password; 127.0.0.1 does not"
            )

    def end(self) -> None:
        """Close the page, then the cameras."""
        self._server.close()
        self._cameras.close()

    def _cameras_of(self, p: PanelParameters) -> list[Camera]:
        found = [Camera(_AGENT_VIEW, p.image_topic, p.image_transport)] if p.image_topic else []
        for name in p.cameras:
            declare(self, CameraParameters, prefix=f"camera.{name}.")
            settings = read(self, CameraParameters, prefix=f"camera.{name}.")
            if not settings.topic:
                raise ConfigError(f"camera.{name}.topic: missing; it has no default")
            found.append(Camera(name, settings.topic, settings.transport))
        return found

    def _on_end(self, reason: str) -> None:
        self.failed = True
        self.get_logger().error(f"{reason}; the recorder goes on. Start the panel again: ros2 run cdp_teleop_recorder panel_node")
        signal.raise_signal(signal.SIGTERM)


def run() -> int:
    """Run the panel until SIGINT or SIGTERM, 0 then; 2 where a parameter or the port is refused, 1 where the web server failed."""
    made: list[PanelNode] = []

    def make() -> PanelNode:
        made.append(PanelNode())
        return made[0]

    status = run_node("cdp_panel", make, refusals=(ConfigError, PortError), begin=PanelNode.begin, close=PanelNode.end)
    return status or int(any(node.failed for node in made))
