"""What an MCAP file says of a type is what rosbag2 writes, and a stamp is read without taking the message apart."""

import struct

import pytest
from cdp_msgs.msg import ActionChunk
from geometry_msgs.msg import PoseStamped
from rclpy.serialization import serialize_message
from std_msgs.msg import Header

from cdp.config import ConfigError
from cdp_teleop_recorder.recorder_schemas import begins_with_header, header_stamp_ns, message_definition


def parts(name):
    """Further types of a definition, by their names, with what stands in front as ``""``."""
    first, *others = message_definition(name, "k").split("=" * 80 + "\nMSG: ")
    return {"": first} | dict(other.split("\n", 1) for other in others)


def test_every_type_within_a_type_is_there_once_with_its_package():
    found = parts("sensor_msgs/msg/PointCloud2")
    assert set(found) == {"", "std_msgs/Header", "builtin_interfaces/Time", "sensor_msgs/PointField"}
    assert "PointField[] fields" in found[""] and "uint32 nanosec" in found["builtin_interfaces/Time"]
    # A type of its own package without a prefix, and one that two others need.
    assert set(parts("geometry_msgs/msg/PoseStamped")) == {
        "",
        *(f"geometry_msgs/{n}" for n in ("Pose", "Point", "Quaternion")),
        "std_msgs/Header",
    } | {"builtin_interfaces/Time"}
    # Constants and bounded strings are no types.
    assert set(parts("cdp_msgs/msg/ActionChunk")) == {"", "std_msgs/Header", "builtin_interfaces/Time"}


def test_a_definition_that_is_not_installed_is_refused_by_name():
    with pytest.raises(ConfigError, match="mcap_topics: the definition of std_msgs/msg/Nothing is not installed"):
        message_definition("std_msgs/msg/Nothing", "mcap_topics")


@pytest.mark.parametrize(
    ("name", "first"),
    [("cdp_msgs/msg/ActionChunk", True), ("geometry_msgs/msg/PoseStamped", True), ("std_msgs/msg/Header", False), ("std_msgs/msg/String", False)],
)
def test_a_type_with_constants_before_its_header_still_begins_with_it(name, first):
    assert begins_with_header(name, "k") is first


@pytest.mark.parametrize("kind", [PoseStamped, ActionChunk])
def test_the_stamp_is_read_from_the_bytes_of_either_order(kind):
    message = kind(header=Header(frame_id="abc"))
    message.header.stamp.sec, message.header.stamp.nanosec = 1_700_000_001, 999_999_998
    assert header_stamp_ns(serialize_message(message)) == 1_700_000_001_999_999_998
    assert header_stamp_ns(b"\x00\x00\x00\x00" + struct.pack(">iI", 5, 6)) == 5_000_000_006
