"""Each command interface against a stand-in for its controller, over real DDS; what is said of a controller that is not there."""

import copy

import controller_peers as peers
import numpy as np
import pytest
from cdp_ros.stamps import ns_to_stamp
from command_rig import POSITION, ROTATION, TICK_NS, Rig
from geometry_msgs.msg import PoseStamped
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from cdp.config import ConfigError
from cdp.geometry import matrix_to_quat, quat_to_matrix
from cdp_franka.guard_config import GuardConfig
from cdp_franka.rotation import turn_between, turn_matrix
from cdp_policy_node.command.build import NAMES
from cdp_policy_node.command.config import TAKES, CommandConfig

JTC = "/fr3_arm_controller/joint_trajectory"
IMPEDANCE = "/cartesian_impedance_example_controller/equilibrium_pose"
# controller, name of the stand-in's node, topic, stand-in
PEERS = [
    ("joint_trajectory_controller", "fr3_arm_controller", JTC, peers.JointTrajectoryPeer),
    ("cartesian_impedance", "cartesian_impedance_example_controller", IMPEDANCE, peers.PosePeer),
    ("crisp_pose", "cartesian_impedance_controller", "/target_pose", peers.CrispPosePeer),
    ("crisp_joint", "joint_impedance_controller", "/target_joint", peers.CrispJointPeer),
    ("crisp_joint", "joint_impedance_controller", "/target_joint", peers.CrispReversedPeer),
    ("forward_position", "forward_position_controller", "/forward_position_controller/commands", peers.ForwardPeer),
    ("servo_twist", "servo_node", "/servo_node/delta_twist_cmds", peers.ServoTwistPeer),
    ("servo_pose", "servo_node", "/servo_node/pose_target_cmds", peers.ServoPosePeer),
]
OFFSETS = [(0.03, 0.02, 0.02), (0.0, -0.04, 0.05), (0.0, 0.0, 0.0)]


@pytest.fixture
def rig():
    made = []

    def make(controller, **settings):
        made.append(Rig(controller, TAKES[controller], **settings))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.mark.parametrize(("controller", "name", "topic", "kind"), PEERS, ids=[p[3].__name__ for p in PEERS])
def test_a_motion_of_the_guard_is_taken_whole(rig, request, controller, name, topic, kind):
    if controller.startswith("servo"):
        request.getfixturevalue("robot_environment")
    bench = rig(controller)
    peer = kind(bench.add(name), topic)
    bench.ready()
    bench.engage()
    bench.follow(OFFSETS, peer)
    assert peer.refused == []
    assert len(peer.accepted) == len(bench.sent) == 60
    moved = np.ptp([out.position_m for out in bench.sent], axis=0)
    assert moved.max() > 0.01, "nothing moved, so nothing was tested"


def point(q=0.1, dq=0.2, stamp_ns=2_000_000_000, lead_ns=TICK_NS):
    msg = JointTrajectory(joint_names=[f"fr3_joint{i + 1}" for i in range(7)])
    msg.header.stamp = ns_to_stamp(stamp_ns)
    msg.points.append(one_point(q, dq, lead_ns))
    return msg


def one_point(q, dq, lead_ns):
    made = JointTrajectoryPoint(positions=[0.0, -0.2 + q, 0.0, -2.3, 0.0, 2.1, 0.7], velocities=[0.0, dq, 0.0, 0.0, 0.0, 0.0, 0.0])
    made.time_from_start.nanosec = lead_ns
    return made


JOINT_FAULTS = {
    "time goes backwards": lambda msg: setattr(msg.header, "stamp", ns_to_stamp(1_999_000_000)),
    "ends in the past": lambda msg: setattr(msg.points[0].time_from_start, "nanosec", 1_000_000),
    "positions or velocities missing": lambda msg: setattr(msg.points[0], "velocities", []),
    "joints in another order": lambda msg: setattr(msg, "joint_names", msg.joint_names[::-1]),
    "joints do not match the controller's": lambda msg: setattr(msg, "joint_names", msg.joint_names[1:]),
    "discontinuous positions": lambda msg: msg.points[0].positions.__setitem__(1, 0.5),
    "discontinuous velocities": lambda msg: msg.points[0].velocities.__setitem__(1, 0.5),
    "outside the joint limits": lambda msg: msg.points[0].positions.__setitem__(3, 0.2),
}


@pytest.mark.parametrize("fault", JOINT_FAULTS)
def test_the_stand_in_refuses_what_the_trajectory_controller_refuses(rig, fault):
    bench = rig("joint_trajectory_controller")
    peer = peers.JointTrajectoryPeer(bench.add("fr3_arm_controller"), JTC)
    peer.now_ns = 2_003_000_000
    peer.receive(point())
    good = point(0.102, stamp_ns=2_010_000_000)
    bad = copy.deepcopy(good)
    JOINT_FAULTS[fault](bad)
    peer.now_ns += TICK_NS
    peer.receive(bad)
    peer.receive(good)
    assert peer.refused == [fault]
    assert len(peer.accepted) == 2


def pose(x=0.4, frame="fr3_link0", stamp_ns=2_000_000_000, w=1.0):
    msg = PoseStamped()
    msg.header.stamp, msg.header.frame_id = ns_to_stamp(stamp_ns), frame
    msg.pose.position.x, msg.pose.orientation.w = x, w
    return msg


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("wrong frame", pose(frame="world", stamp_ns=2_010_000_000)),
        ("time goes backwards", pose(stamp_ns=1_990_000_000)),
        ("stamped in the future", pose(stamp_ns=2_050_000_000)),
        ("degenerate quaternion", pose(w=0.0, stamp_ns=2_010_000_000)),
        ("discontinuous poses", pose(0.5, stamp_ns=2_010_000_000)),
    ],
)
def test_the_stand_in_refuses_what_a_cartesian_controller_must_not_get(rig, fault, message):
    bench = rig("cartesian_impedance")
    peer = peers.PosePeer(bench.add("cartesian_impedance_example_controller"), IMPEDANCE)
    peer.now_ns = 2_013_000_000
    peer.receive(pose())
    peer.receive(message)
    assert peer.refused == [fault]


def test_a_second_publisher_is_named_and_crisp_would_ignore_both(rig):
    bench = rig("crisp_pose")
    peer = peers.CrispPosePeer(bench.add("cartesian_impedance_controller"), "/target_pose")
    bench.ready()
    bench.engage()
    bench.tick(peer)
    lost = []
    bench.output.on_problem = lost.append
    bench.add("somebody_else").create_publisher(PoseStamped, "/target_pose", 1)
    bench.until(lambda: bench.output.problem() is not None, "the second publisher is seen")
    assert "/somebody_else" in bench.output.problem()
    assert "only one" in bench.output.problem()
    bench.until(lambda: len(peer.node.get_publishers_info_by_topic("/target_pose")) == 2, "the stand-in sees it too")
    bench.tick(peer)
    assert peer.refused == ["multiple publishers"]
    bench.output.check()
    assert len(lost) == 1
    bench.remove("somebody_else")
    bench.ready()


@pytest.mark.parametrize(("controller", "name", "topic", "kind"), PEERS, ids=[p[3].__name__ for p in PEERS])
def test_a_controller_that_is_not_there_is_asked_for_by_name(rig, request, controller, name, topic, kind):
    if controller.startswith("servo"):
        request.getfixturevalue("robot_environment")
    problem = rig(controller).output.problem()
    assert topic in problem
    assert "nobody reads it" in problem
    assert ("MoveIt Servo" if "servo" in controller else f"spawner {NAMES[controller]}") in problem


def test_a_reader_of_another_type_is_named_with_its_type(rig):
    bench = rig("joint_trajectory_controller")
    reader = bench.apart("fr3_arm_controller")
    reader.create_subscription(String, JTC, print, 1)
    bench.until(lambda: "std_msgs" in bench.output.problem(), bench.output.problem)
    assert "/fr3_arm_controller reads it as std_msgs/msg/String" in bench.output.problem()
    assert "trajectory_msgs/msg/JointTrajectory" in bench.output.problem()
    reader.destroy_node()


@pytest.mark.parametrize("listener", ["cdp_recorder_streams", "cdp_episode_runner"])
def test_who_only_listens_is_not_taken_for_the_controller(rig, listener):
    """The runner ends after its last episode, and the guard then said that the controller had started anew."""
    bench = rig("joint_trajectory_controller")
    bench.add(listener).create_subscription(JointTrajectory, JTC, print, 1)
    bench.until(lambda: bench.node.count_subscribers(JTC) == 1, "the listener is seen")
    assert "nobody reads it" in bench.output.problem()


def test_a_controller_that_disappears_is_reported_once_and_may_come_back(rig):
    bench = rig("joint_trajectory_controller")
    lost = []
    bench.output.on_problem = lost.append
    bench.output.check()
    bench.output.check()
    assert len(lost) == 1
    peers.JointTrajectoryPeer(bench.add("fr3_arm_controller"), JTC)
    bench.ready()
    bench.output.check()
    bench.remove("fr3_arm_controller")
    bench.until(lambda: len(lost) == 2, "the loss is noticed", bench.output.check)
    bench.output.check()
    assert len(lost) == 2
    peers.JointTrajectoryPeer(bench.add("fr3_arm_controller"), JTC)
    bench.ready()


def test_a_controller_that_starts_anew_between_two_looks_is_noticed(rig):
    """It holds the arm where it is, which is not where the target is: as if it had been away for long."""
    bench = rig("joint_trajectory_controller")
    peer = peers.JointTrajectoryPeer(bench.add("fr3_arm_controller"), JTC)
    bench.ready()
    lost = []
    bench.output.on_problem = lost.append
    before = bench.node.get_subscriptions_info_by_topic(JTC)[0].endpoint_gid
    peers.JointTrajectoryPeer(bench.add("fr3_arm_controller_again"), JTC)
    peer.node.destroy_subscription(peer.subscription)
    bench.until(lambda: before not in [info.endpoint_gid for info in bench.node.get_subscriptions_info_by_topic(JTC)], "the old one has gone")
    assert bench.output.problem() is None, "for a look that knows nothing of the one before, all is well"
    bench.output.check()
    assert lost == ["it has started anew"]


def test_a_controller_that_was_killed_and_runs_again_is_noticed_beside_its_dead_reader(rig):
    """DDS keeps the dead one for some 20 s, in which the new one would be sent to where the old one had been told to go."""
    bench = rig("joint_trajectory_controller")
    peers.JointTrajectoryPeer(bench.add("fr3_arm_controller"), JTC)
    bench.ready()
    lost = []
    bench.output.on_problem = lost.append
    successor = bench.apart("fr3_arm_controller")
    successor.create_subscription(JointTrajectory, JTC, print, 1)
    bench.until(lambda: lost, "the successor is noticed")
    assert lost == ["it has started anew"]
    successor.destroy_node()


def test_a_reader_of_another_name_is_no_controller_that_started_anew(rig):
    """Catches a guard that a monitor of the user's stops."""
    bench = rig("joint_trajectory_controller")
    peers.JointTrajectoryPeer(bench.add("fr3_arm_controller"), JTC)
    bench.ready()
    lost = []
    bench.output.on_problem = lost.append
    bench.add("a_monitor").create_subscription(JointTrajectory, JTC, print, 1)
    bench.until(lambda: len(bench.output._readers) == 2, "the monitor is seen")
    assert lost == []


def test_another_guard_of_the_same_name_is_a_second_publisher(rig):
    bench = rig("joint_trajectory_controller")
    peers.JointTrajectoryPeer(bench.add("fr3_arm_controller"), JTC)
    bench.ready()
    twin = bench.apart("cdp_guard")
    twin.create_publisher(JointTrajectory, JTC, 1)
    bench.until(lambda: bench.output.problem() is not None, "the twin is seen")
    assert "published by /cdp_guard too" in bench.output.problem()
    twin.destroy_node()


def test_the_order_of_a_forward_controller_is_asked_again_when_it_comes_back(rig):
    bench = rig("forward_position")
    peers.ForwardPeer(bench.add("forward_position_controller"), "/forward_position_controller/commands")
    bench.ready()
    bench.remove("forward_position_controller")
    bench.until(lambda: bench.output.problem() is not None, "its end", bench.output.check)
    bench.output.check()
    peers.ForwardPeer(bench.add("forward_position_controller"), "/forward_position_controller/commands", interface_name="effort")
    bench.until(lambda: "effort" in (bench.output.problem() or ""), bench.output.problem, bench.output.check)
    assert "interface_name is 'effort'" in bench.output.problem()


def test_servo_in_joystick_units_is_refused(rig, robot_environment):
    bench = rig("servo_twist")
    peers.ServoTwistPeer(bench.add("servo_node"), "/servo_node/delta_twist_cmds", units="unitless")
    bench.until(lambda: "unitless" in (bench.output.problem() or ""), bench.output.problem, bench.output.check)
    assert "speed_units" in bench.output.problem()


def test_twists_bring_an_arm_that_only_integrates_them_to_the_target(rig, robot_environment):
    """Catches a twist of the wrong sign, in the wrong frame, and one without the pull by which the arm's lag does not add up."""
    bench = rig("servo_twist")
    peer = peers.ServoTwistPeer(bench.add("servo_node"), "/servo_node/delta_twist_cmds")
    bench.ready()
    bench.engage()
    position, rotation = POSITION + np.array([0.01, -0.005, 0.0]), turn_matrix(np.array([0.0, 0.03, 0.05])) @ ROTATION
    for _ in range(250):
        bench.pose = position, matrix_to_quat(rotation)
        bench.tick(peer)
        linear, angular = (peers.values(part, "xyz") for part in (peer.accepted[-1].twist.linear, peer.accepted[-1].twist.angular))
        position, rotation = position + 0.01 * linear, turn_matrix(0.01 * angular) @ rotation
    assert np.linalg.norm(position - bench.sent[-1].position_m) < 1e-3
    assert np.linalg.norm(turn_between(rotation, quat_to_matrix(bench.sent[-1].quat_xyzw))) < 1e-3


@pytest.mark.parametrize(
    ("name", "plugin", "state", "words"),
    [
        ("another_controller", "x/Y", "active", ("no controller 'fr3_arm_controller'", "another_controller", "spawner")),
        ("fr3_arm_controller", "x/Y", "active", ("x/Y", "joint_trajectory_controller/JointTrajectoryController")),
        ("fr3_arm_controller", "joint_trajectory_controller/JointTrajectoryController", "inactive", ("inactive", "--activate fr3_arm_controller")),
    ],
)
def test_what_the_controller_manager_says_counts(rig, robot_environment, name, plugin, state, words):
    from controller_manager_msgs.msg import ControllerState
    from controller_manager_msgs.srv import ListControllers

    bench = rig("joint_trajectory_controller")
    peers.JointTrajectoryPeer(bench.add("fr3_arm_controller"), JTC)
    listed = [ControllerState(name=name, type=plugin, state=state)]

    def answer(request, response):
        response.controller = listed
        return response

    bench.add("controller_manager").create_service(ListControllers, "/controller_manager/list_controllers", answer)
    bench.until(lambda: all(word in (bench.output.problem() or "") for word in words), bench.output.problem, bench.output.check)
    listed[:] = [ControllerState(name="fr3_arm_controller", type="joint_trajectory_controller/JointTrajectoryController", state="active")]
    bench.ready()


@pytest.mark.parametrize("controller", TAKES)
def test_a_contradictory_pair_is_refused_by_name(controller):
    other = "joint" if TAKES[controller] == "cartesian" else "cartesian"
    with pytest.raises(ConfigError, match=f"'{controller}' takes {TAKES[controller]} commands and command_interface is '{other}'"):
        CommandConfig(controller=controller).chosen(GuardConfig(command_interface=other))
    assert CommandConfig(controller=controller).chosen(GuardConfig(command_interface=TAKES[controller])) == controller


def test_auto_follows_the_command_interface_and_our_driver_takes_either():
    assert CommandConfig().chosen(GuardConfig()) == "cartesian_impedance"
    assert CommandConfig().chosen(GuardConfig(command_interface="joint")) == "joint_trajectory_controller"
    for interface in ("joint", "cartesian"):
        assert CommandConfig(controller="franka_driver").chosen(GuardConfig(command_interface=interface)) == "franka_driver"


@pytest.mark.parametrize(
    ("interface", "topic", "kind"), [("joint", "joint_trajectory", JointTrajectory), ("cartesian", "equilibrium_pose", PoseStamped)]
)
def test_our_driver_is_ready_only_while_it_reads_the_topic(interface, topic, kind):
    """A driver that lost control closes its topic: the guard must see that, and must not take a driver that is back for the one before."""
    bench = Rig("franka_driver", interface)
    try:
        assert f"/franka_driver/{topic}" in bench.output.problem()
        assert "/franka_driver/status" in bench.output.problem()
        driver, problems = bench.add("franka_driver"), []
        bench.output.on_problem = problems.append
        listening = driver.create_subscription(kind, f"/franka_driver/{topic}", lambda msg: None, 1)
        bench.ready()
        driver.destroy_subscription(listening)
        bench.until(lambda: bench.output.check() is not None, "the driver that went")
        driver.create_subscription(kind, f"/franka_driver/{topic}", lambda msg: None, 1)
        bench.ready()
        assert "nobody reads it" in problems[-1] or "started anew" in problems[-1]
    finally:
        bench.close()
