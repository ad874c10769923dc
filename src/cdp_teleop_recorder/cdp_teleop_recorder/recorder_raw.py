"""Which topics go into the MCAP file, as what, and how their serialized messages are taken in."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message

from cdp.config import ConfigError
from cdp.data.mcap_file import INSTALL
from cdp.data.mcap_writer import McapTopic
from cdp_teleop_recorder.recorder_fields import message_type
from cdp_teleop_recorder.recorder_parameters import RecorderParameters
from cdp_teleop_recorder.recorder_schemas import begins_with_header, header_stamp_ns, message_definition

_KEY = "mcap_topics"
_DEPTH = 500
#: Takes topic, header stamp and time of arrival [ns], and the serialized message.
Take = Callable[[str, int, int, bytes], None]


class RawTopics:
    """Subscribes on ``node``; what goes into the MCAP file is received serialized, once, and taken apart here for whoever wants the message itself.

    ``topics`` fills with what is subscribed to. Raises :class:`cdp.config.ConfigError` where the library is missing or a topic or type is refused.
    """

    def __init__(self, node: Node, parameters: RecorderParameters, now_ns: Callable[[], int], take: Take) -> None:
        self._node, self._now_ns, self._take, self._on = node, now_ns, take, parameters.mcap
        self.topics: dict[str, McapTopic] = {}
        if self._on and find_spec("mcap") is None:
            raise ConfigError(f"mcap: {INSTALL}, or start with mcap:=false")
        self._chosen: set[str] = set()
        self._further: dict[str, str] = {}
        for entry in parameters.mcap_topics:
            found = re.fullmatch(r"(\S+)(?:\s+(\S+))?", entry.strip())
            if found is None:
                raise ConfigError(
                    f"{_KEY}: {entry!r} is no topic; write '/a' for one of the recorder's own, '/tf tf2_msgs/msg/TFMessage' for a further one"
                )
            topic, kind = node.resolve_topic_name(found.group(1)), found.group(2)
            if kind is None:
                self._chosen.add(topic)
            else:
                self._further[topic] = kind

    def subscribe(self, kind: type, topic: str, qos: QoSProfile, receive: Callable[[Any], None]) -> None:
        """Subscribe to one of the recorder's own topics."""
        name = self._node.resolve_topic_name(topic)
        if not self._on or name in self.topics or (self._chosen and name not in self._chosen):
            self._node.create_subscription(kind, topic, receive, qos)
            return
        keep = self._keep(name, f"{kind.__module__.partition('.')[0]}/msg/{kind.__name__}")

        def receive_raw(data: bytes) -> None:
            keep(data)
            receive(deserialize_message(data, kind))

        self._node.create_subscription(kind, topic, receive_raw, qos, raw=True)

    def subscribe_further(self) -> None:
        """Subscribe to the further topics; called when the recorder's own are subscribed to."""
        if not self._on:
            return
        if unknown := self._chosen - set(self.topics):
            topic = min(unknown)
            raise ConfigError(
                f"{_KEY}: the recorder does not subscribe to {topic}; a further topic is named with its type: '{topic} package/msg/Type'"
            )
        qos = QoSProfile(depth=_DEPTH, reliability=ReliabilityPolicy.BEST_EFFORT)
        for topic, name in self._further.items():
            if topic not in self.topics:
                kind = message_type(name, _KEY)
                self._node.create_subscription(kind, topic, self._keep(topic, name), qos, raw=True)

    def _keep(self, topic: str, name: str) -> Callable[[bytes], None]:
        self.topics[topic] = McapTopic(name, message_definition(name, _KEY))
        stamped = begins_with_header(name, _KEY)

        def keep(data: bytes) -> None:
            now_ns = self._now_ns()
            # A stamp before 1970, or of a message without one, is no time at which it can have been published.
            stamp_ns = header_stamp_ns(data) if stamped else now_ns
            self._take(topic, max(0, stamp_ns), now_ns, data)

        return keep
