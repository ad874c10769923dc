"""Numbers out of messages of any type, by dotted paths."""

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped, PoseWithCovariance, WrenchStamped
from sensor_msgs.msg import JointState, Joy
from std_msgs.msg import Bool, String

from cdp.config import ConfigError
from cdp_teleop_recorder.recorder_fields import MessageFields, message_type


def test_a_number_a_message_a_fixed_array_and_a_sequence():
    pose = PoseStamped()
    pose.pose.position.y, pose.pose.orientation.w = 2.0, 3.0
    fields = MessageFields(PoseStamped, ("pose.position.y", "pose.orientation"), "k")
    assert fields.stamped and fields(pose).tolist() == [2.0, 0.0, 0.0, 0.0, 3.0]
    assert fields.names == ("pose.position.y", *(f"pose.orientation.{axis}" for axis in "xyzw"))
    covariance = MessageFields(PoseWithCovariance, ("covariance",), "k")
    assert covariance(PoseWithCovariance(covariance=np.arange(36.0))).tolist() == list(range(36)) and not covariance.stamped
    joints = MessageFields(JointState, ("position", "velocity.1"), "k")
    assert joints.names == ()
    assert joints(JointState(position=[1.0, 2.0], velocity=[3.0, 4.0])).tolist() == [1.0, 2.0, 4.0]
    assert joints.names == ("position.0", "position.1", "velocity.1")
    with pytest.raises(IndexError):
        joints(JointState(position=[1.0, 2.0]))


def test_without_paths_everything_but_the_header_and_the_texts():
    assert len(MessageFields(WrenchStamped, (), "k").names) == 6
    assert MessageFields(Bool, (), "k")(Bool(data=True)).tolist() == [1.0]
    assert MessageFields(Joy, (), "k")(Joy(axes=[0.5], buttons=[1, 0])).tolist() == [0.5, 1.0, 0.0]
    assert MessageFields(JointState, (), "k")(JointState(name=["a"], position=[2.0])).tolist() == [2.0]


@pytest.mark.parametrize(
    ("cls", "paths", "said"),
    [
        (PoseStamped, ("pose.place",), "has no field 'pose.place'; it has header, pose"),
        (JointState, ("name",), "'name' of JointState holds no number"),
        (String, (), "String holds no number"),
    ],
)
def test_a_path_that_gives_no_number_is_refused_by_name(cls, paths, said):
    with pytest.raises(ConfigError, match=f"^topic.a.fields: .*{said}"):
        MessageFields(cls, paths, "topic.a.fields")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Wrench", "is no message type"),
        ("geometry_msgs/srv/Wrench", "is no message type"),
        ("geometry_msgs/msg/Nothing", "has no message Nothing"),
        ("nowhere_msgs/msg/A", "is not installed"),
    ],
)
def test_types_are_found_by_name(name, said):
    assert message_type("geometry_msgs/msg/WrenchStamped", "k") is WrenchStamped
    with pytest.raises(ConfigError, match=said):
        message_type(name, "k")
