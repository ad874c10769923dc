"""Where the recorder's streams come from: the robot's own, and those that the user adds by name."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from cdp_ros.parameters import declare, read
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image

from cdp.config import ConfigError
from cdp.data.streams import BY_FIRST_SAMPLE, HEADER_STAMP, IMAGE_STREAM, RECEIVE_STAMP, STREAM_SPECS, Column, StreamSpec
from cdp_teleop_recorder.recorder_fields import MessageFields, message_type
from cdp_teleop_recorder.recorder_parameters import CameraParameters, RecorderParameters, TopicParameters

_NAME = re.compile(r"[a-z][a-z0-9_]*")


class Sources:
    """The streams of a recorder: ``cameras`` and ``topics`` that the user added, by name, and what all streams are.

    Declares their parameters at ``node``. Raises :class:`cdp.config.ConfigError` for a name, a topic, a type or a field that is refused.
    """

    def __init__(self, node: Node, parameters: RecorderParameters) -> None:
        self._parameters = parameters
        taken = set(STREAM_SPECS)
        self.cameras: dict[str, CameraParameters] = {}
        self.topics: dict[str, TopicParameters] = {}
        self.types: dict[str, type] = {}
        self.fields: dict[str, MessageFields] = {}
        for name in _checked("cameras", parameters.cameras, taken):
            self.cameras[name] = _read(node, CameraParameters, f"camera.{name}.", ("topic",))
        for name in _checked("topics", parameters.topics, taken):
            settings = self.topics[name] = _read(node, TopicParameters, f"topic.{name}.", ("topic", "type"))
            self.types[name] = message_type(settings.type, f"topic.{name}.type")
            self.fields[name] = MessageFields(self.types[name], settings.fields, f"topic.{name}.fields")
        known = self.specs()
        for name in parameters.required_streams:
            if name not in known:
                raise ConfigError(f"required_streams: {name!r} is not one of {', '.join(known)}")

    def specs(self) -> dict[str, StreamSpec]:
        """What each stream is, as far as it is known now."""
        p, rates = self._parameters, self._parameters.rates_hz()
        topics = p.topic_of()
        own = {n: replace(spec, rate_hz=rates.get(n), topic=topics[n]) for n, spec in STREAM_SPECS.items() if topics[n]}
        if IMAGE_STREAM in own:
            own[IMAGE_STREAM] = replace(own[IMAGE_STREAM], encoding=p.image_encoding, type=image_type_name(p.image_transport))
        cameras = {
            name: StreamSpec(encoding=c.encoding, rate_hz=c.rate_hz, topic=c.topic, type=image_type_name(c.transport))
            for name, c in self.cameras.items()
        }
        numbers = {"data": Column((BY_FIRST_SAMPLE,), "f8")}
        added = {
            name: StreamSpec(
                numbers,
                rate_hz=t.rate_hz or None,
                topic=t.topic,
                type=t.type,
                fields=self.fields[name].names,
                stamped=HEADER_STAMP if self.fields[name].stamped else RECEIVE_STAMP,
            )
            for name, t in self.topics.items()
        }
        return {**own, **cameras, **added}


def image_type(transport: str) -> type:
    """Message of an image topic."""
    return CompressedImage if transport == "compressed" else Image  # type: ignore[no-any-return]


def image_type_name(transport: str) -> str:
    """Name of :func:`image_type`."""
    return f"sensor_msgs/msg/{image_type(transport).__name__}"


def _checked(key: str, names: tuple[str, ...], taken: set[str]) -> tuple[str, ...]:
    for name in names:
        if not _NAME.fullmatch(name):
            raise ConfigError(f"{key}: {name!r} is no name of a stream; use small letters, digits and _, a letter first")
        if name in taken:
            raise ConfigError(f"{key}: {name!r} is the name of another stream already")
        taken.add(name)
    return names


def _read(node: Node, cls: type[Any], prefix: str, needed: tuple[str, ...]) -> Any:
    declare(node, cls, prefix=prefix)
    settings = read(node, cls, prefix=prefix)
    for name in needed:
        if not getattr(settings, name):
            raise ConfigError(f"{prefix}{name}: missing; it has no default")
    return settings
