"""What the panel can be told. Folder and cameras have the recorder's names and defaults, so that one file of parameters serves both."""

from __future__ import annotations

from dataclasses import dataclass, fields

from cdp.config import setting
from cdp_teleop_recorder.recorder_parameters import RecorderParameters

_RECORDER = {field.name: field for field in fields(RecorderParameters)}


@dataclass(frozen=True)
class PanelParameters:
    """Parameters of the node ``cdp_panel``; read once, at its start."""

    host: str = setting(
        "127.0.0.1", help="address to serve the page at; any other than this machine's own lets everyone on that network control the recording"
    )
    port: int = setting(8090, low=1, high=65535, help="port to serve the page at")
    directory: str = setting(_RECORDER["directory"].default, help="folder of the finished episodes, the recorder's directory")
    image_topic: str = setting(_RECORDER["image_topic"].default, help="camera image, the recorder's image_topic")
    image_transport: str = setting("raw", choices=("raw", "compressed"), help="raw: sensor_msgs/Image, compressed: sensor_msgs/CompressedImage")
    cameras: tuple[str, ...] = setting((), help="names of further cameras, each set up by camera.<name>.topic and .transport, as the recorder's")
    picture_rate_hz: float = setting(5.0, low=0.2, high=15.0, help="how often a picture of each camera is taken while a page is open [Hz]")
    picture_width: int = setting(640, low=80, high=1920, help="wider pictures are scaled down to this [pixels]")
    stale_after_s: float = setting(1.5, low=0.5, high=60.0, help="a picture, and what a node said, is marked as stale when it is older [s]")
