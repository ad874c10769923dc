"""The recorder as a process of its own over DDS: what is sent is in the file, and no end of it leaves half a file."""

import signal
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from action_msgs.msg import GoalStatus
from cdp_msgs.action import RecordEpisode
from cdp_msgs.msg import RecorderStatus
from geometry_msgs.msg import WrenchStamped
from rclpy.action import ActionClient
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import serialize_message
from recorder_robot import DEADLINE_S, ENTRY, MS, Robot, record
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import SetBool, Trigger

from cdp.data.collect import collect
from cdp.data.episode import EpisodeReader
from cdp.data.images import encode_jpeg
from cdp.data.journal import episode_of, journals
from cdp.data.mcap_recover import mcap_parts
from cdp.data.spec import ObservationSpec


@pytest.fixture
def robot():
    robot = Robot()
    yield robot
    robot.close()


def test_episode_is_what_was_sent_and_gives_a_demonstration(robot, tmp_path):
    robot.launch(tmp_path)
    assert "agentview_image has not been received" in robot.start().message
    stamps = record(robot, 100)
    done = robot.call(robot.stop_client, keep=True, task_success=True, note="by test")
    assert done.success and done.frames == 10 and done.message.startswith("kept slide_")
    with EpisodeReader(robot.written(done.path)) as episode:
        for stream in ("joint_pos", "joint_vel", "eef_pose", "gripper_width"):
            assert episode.stamps_ns(stream).tolist() == stamps
        assert episode.stamps_ns("agentview_image").tolist() == episode.column("action", "observation_stamp_ns").tolist() == stamps[::10]
        assert episode.stamps_ns("task_state").tolist() == stamps[::10]
        assert episode.column("joint_pos")[0].tolist() == [1, 2, 3, 4, 5, 6, 7]
        np.testing.assert_allclose(episode.column("eef_pose")[:, 0], 0.3 + 1e-4 * np.arange(100))
        np.testing.assert_allclose(episode.column("gripper_width"), 0.03)
        assert [int(episode.image(i)[0, 0, 0]) for i in range(10)] == [10 + 10 * i for i in range(10)]
        assert np.all(np.diff(episode.column("joint_pos", "receive_ns")) >= 0)
        assert episode.info.seed == 3 and episode.labels.success and episode.labels.note == "by test" and episode.info.clock == "system"
        assert sum(episode.labels.dropped.values()) == 0 and episode.labels.warnings == ()
    report = collect(tmp_path, tmp_path / "out" / "demos.hdf5", ObservationSpec(camera_rate_hz=10.0))
    assert report.demos == 1 and report.rows == 10


def test_a_pose_in_a_frame_that_is_not_the_base_is_not_recorded(robot, tmp_path):
    robot.launch(tmp_path)
    robot.pose_frame = "world"

    def told():
        robot.moment(robot.now_ns(), 0, 0)
        robot.answer = robot.start().message
        return "image" not in robot.answer and "eef_pose" in robot.answer

    robot.until(told, "a start that is refused for want of the pose alone")
    robot.pose_frame = "base"
    robot.start_when_alive()


def test_a_second_start_and_an_idle_stop_are_refused_and_discard_leaves_nothing(robot, tmp_path):
    robot.launch(tmp_path)
    assert robot.call(robot.stop_client, keep=True).message == "no episode is being recorded"
    record(robot, 20)
    assert "stop it first" in robot.start().message
    assert robot.call(robot.stop_client, keep=False).message.startswith("discarded slide_")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_signal_in_the_middle_leaves_a_complete_interrupted_episode(robot, tmp_path, ending):
    robot.launch(tmp_path)
    robot.start_when_alive()

    def recorded():
        robot.moment(robot.now_ns(), 1, 7)
        return robot.status.duration_s > 2.0 and robot.received()["joint_pos"] > 20

    robot.until(recorded, "two seconds of an episode")
    robot.process.send_signal(ending)
    robot.until(lambda: robot.process.poll() is not None, "the end of the recorder")
    assert robot.process.returncode == 0, robot.process.stdout.read()
    (path,) = tmp_path.iterdir()
    with EpisodeReader(path) as episode:
        assert not episode.labels.success and episode.labels.note == "interrupted" and len(episode.column("joint_pos")) > 20


def test_kill_in_the_middle_leaves_the_finished_and_the_next_start_recovers_the_rest(robot, tmp_path):
    robot.launch(tmp_path, "flush_period_s:=0.05")
    stamps = record(robot, 30)
    path = robot.written(robot.call(robot.stop_client, keep=True, task_success=True).path)
    robot.until(lambda: not journals(tmp_path), "the end of the writing")
    later = record(robot, 30)
    (rest,) = journals(tmp_path)
    # The status says what has arrived, the journal what is safe: it has stopped growing.
    size = -1
    while size != (size := rest.stat().st_size):
        robot.heard = 0
        robot.until(lambda: robot.heard >= 2, "the recorder's status")
    robot.process.kill()
    robot.process.wait(DEADLINE_S)
    robot.status = None
    robot.launch(tmp_path)
    robot.process.send_signal(signal.SIGINT)
    said, _ = robot.process.communicate(timeout=DEADLINE_S)
    assert f"recovered {episode_of(rest).name}: 3 agentview_image" in said and robot.process.returncode == 0
    assert {p.name for p in tmp_path.iterdir()} == {path.rsplit("/", 1)[-1], episode_of(rest).name}
    for file, sent in ((path, stamps), (episode_of(rest), later)):
        with EpisodeReader(file) as episode:
            assert episode.stamps_ns("joint_pos").tolist() == sent and episode.labels.recovered == (file != path)


def raw_messages(path):
    """Of an MCAP file: by topic, publish time, log time and bytes of each message, and the messages themselves by mcap_ros2's decoder."""
    from mcap.reader import make_reader
    from mcap_ros2.decoder import DecoderFactory

    stored, decoded = defaultdict(list), defaultdict(list)
    with Path(path).open("rb") as file:
        for _, channel, message, value in make_reader(file, validate_crcs=True, decoder_factories=[DecoderFactory()]).iter_decoded_messages():
            stored[channel.topic].append((message.publish_time, message.log_time, message.data))
            decoded[channel.topic].append(value)
    return stored, decoded


def test_raw_messages_beside_the_episode_are_the_bytes_that_were_sent(robot, tmp_path):
    pytest.importorskip("mcap_ros2", reason="mcap-ros2-support is not installed: pip install -r requirements/mcap.txt")
    qos = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)
    robot.publishers["wrench"] = robot.node.create_publisher(WrenchStamped, "/wrench", qos)
    robot.launch(tmp_path, "mcap:=true", "mcap_topics:=['/wrench geometry_msgs/msg/WrenchStamped']", "mcap_compression:=zstd")
    sent = defaultdict(list)
    for name, publisher in robot.publishers.items():

        def publish(message, topic=publisher.topic_name, publish=publisher.publish):
            # As bytes: what lies between two fields to align them is not the same each time a message is serialized.
            sent[topic].append(serialize_message(message))
            publish(sent[topic][-1])

        robot.publishers[name].publish = publish
    robot.start_when_alive()
    sent.clear()
    first_ns = robot.now_ns()
    stamps = [first_ns + k * 10 * MS for k in range(50)]
    for k, t_ns in enumerate(stamps):
        robot.moment(t_ns, k, 10 + k)
        wrench = WrenchStamped().wrench
        wrench.force.y = float(k)
        robot.say("wrench", t_ns, wrench=wrench)
        robot.executor.spin_once(timeout_sec=0.001)
    robot.until(lambda: robot.received()["joint_pos"] >= 50 and robot.received()["task_state"] >= 5, "the messages")
    done = robot.call(robot.stop_client, keep=True, task_success=True)
    assert done.path and robot.written(done.path)
    stored, decoded = raw_messages(Path(done.path).with_suffix(".mcap"))
    assert set(stored) == {p.topic_name for p in robot.publishers.values()}
    with EpisodeReader(done.path) as episode:
        for topic, stream in (("/joint_states", "joint_pos"), ("/agentview/image_raw", "agentview_image"), ("/wrench", None)):
            published, arrived, data = zip(*stored[topic], strict=True)
            assert list(data) == sent[topic] and list(published) == (stamps[::10] if topic == "/agentview/image_raw" else stamps)
            if stream is not None:
                np.testing.assert_allclose(arrived, episode.column(stream, "receive_ns"), atol=50 * MS)
        assert episode.labels.verdict["mcap"]["topics"]["/joint_states"] == {"taken": 50, "lost": 0}
    picture, joints = decoded["/agentview/image_raw"][3], decoded["/joint_states"][7]
    assert (picture.height, picture.width, picture.encoding) == (240, 320, "rgb8") and set(bytes(picture.data)) == {40}
    assert joints.name == [f"fr3_joint{i}" for i in range(7, 0, -1)] and joints.position == [float(i) for i in range(7, 0, -1)]
    assert decoded["/wrench"][9].wrench.force.y == 9.0 and decoded["/cdp/action/operator"][2].horizon == 1


def test_kill_in_the_middle_leaves_the_raw_messages_of_the_whole_chunks(robot, tmp_path):
    pytest.importorskip("mcap_ros2", reason="mcap-ros2-support is not installed: pip install -r requirements/mcap.txt")
    robot.launch(tmp_path, "mcap:=true", "flush_period_s:=0.05")
    record(robot, 60)
    (part,) = mcap_parts(tmp_path)
    begun = part.stat().st_size
    robot.until(lambda: part.stat().st_size > begun + 10_000, "a chunk")
    robot.process.kill()
    robot.process.wait(DEADLINE_S)
    robot.status = None
    robot.launch(tmp_path, "mcap:=true")
    robot.process.send_signal(signal.SIGINT)
    said, _ = robot.process.communicate(timeout=DEADLINE_S)
    (episode,) = tmp_path.glob("*.hdf5")
    assert f"recovered {episode.stem}.mcap" in said and f"recovered {episode.name}" in said
    assert {p.suffix for p in tmp_path.iterdir()} == {".hdf5", ".mcap"}
    stored, _ = raw_messages(episode.with_suffix(".mcap"))
    with EpisodeReader(episode) as reader:
        published = [t for t, *_ in stored["/joint_states"]]
        assert len(published) > 10 and published == reader.stamps_ns("joint_pos").tolist()[: len(published)]


def test_cameras_and_topics_by_configuration(robot, tmp_path):
    """A second, compressed camera stored raw; a typed topic by fields; one without a header and of a width that only its messages know."""
    qos = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)
    kinds = {"wrist": (CompressedImage, "/wrist/compressed"), "wrench": (WrenchStamped, "/wrench"), "tactile": (Float64MultiArray, "/tactile")}
    added = {name: robot.node.create_publisher(kind, topic, qos) for name, (kind, topic) in kinds.items()}
    parameters = ["cameras:=[wrist]", "topics:=[wrench, tactile]", "required_streams:=[wrist, wrench]"]
    parameters += ["camera.wrist.topic:=/wrist/compressed", "camera.wrist.transport:=compressed", "camera.wrist.rate_hz:=10.0"]
    parameters += ["camera.wrist.encoding:=raw", "camera.wrist.reliable:=true"]
    parameters += ["topic.wrench.topic:=/wrench", "topic.wrench.type:=geometry_msgs/msg/WrenchStamped", "topic.wrench.reliable:=true"]
    parameters += ["topic.wrench.fields:=[wrench.force, wrench.torque.z]", "topic.wrench.rate_hz:=10.0"]
    parameters += ["topic.tactile.topic:=/tactile", "topic.tactile.type:=std_msgs/msg/Float64MultiArray", "topic.tactile.fields:=[data]"]
    robot.publishers |= added
    robot.launch(tmp_path, *parameters, "topic.tactile.reliable:=true")
    jpeg = encode_jpeg(np.full((8, 16, 3), 90, np.uint8)).tobytes()

    def say(k, t_ns):
        robot.say("wrist", t_ns, format="jpeg", data=jpeg)
        wrench = WrenchStamped().wrench
        wrench.force.y, wrench.torque.z, wrench.torque.x = float(k), -1.0, 99.0
        robot.say("wrench", t_ns, wrench=wrench)
        robot.publishers["tactile"].publish(Float64MultiArray(data=[float(k), 0.5]))

    def started():
        say(0, robot.now_ns())
        robot.answer = robot.start().message
        return robot.answer.startswith("recording")

    assert "wrist has not been received" in robot.start().message
    robot.until(started, "the start")
    robot.call(robot.stop_client, keep=False)
    robot.heard = 0
    robot.until(lambda: robot.heard >= 3, "the recorder's status")
    first_ns = robot.now_ns()
    assert robot.start().success
    stamps = [first_ns + 100 * MS * k for k in range(5)]
    for k, t_ns in enumerate(stamps):
        say(k, t_ns)
    robot.until(lambda: all(robot.received()[name] >= 5 for name in added), "the messages")
    done = robot.call(robot.stop_client, keep=True, task_success=True)
    assert done.success and done.verdict == "suspect" and list(done.warnings) == ["there is no action in it, so it gives no demonstration"]
    with EpisodeReader(robot.written(done.path)) as episode:
        assert episode.streams == ("tactile", "wrench", "wrist")
        assert episode.stamps_ns("wrist").tolist() == episode.stamps_ns("wrench").tolist() == stamps
        assert episode.column("wrench").tolist() == [[0.0, k, 0.0, -1.0] for k in range(5)]
        assert episode.column("tactile").tolist() == [[k, 0.5] for k in range(5)]
        assert episode.column("tactile", "stamp_ns").tolist() == episode.column("tactile", "receive_ns").tolist()
        about = episode.stream_attributes("wrench")
        assert about["fields"] == ["wrench.force.x", "wrench.force.y", "wrench.force.z", "wrench.torque.z"]
        assert episode.stream_attributes("tactile")["fields"] == ["data.0", "data.1"] and about["type"] == "geometry_msgs/msg/WrenchStamped"
        assert np.abs(episode.image(4, "wrist").astype(int) - 90).max() <= 2 and episode.column("wrist").shape == (5, 8, 16, 3)


def test_buttons_call_small_services(robot, tmp_path):
    robot.launch(tmp_path)
    names = ("begin", "keep", "discard", "redo", "toggle")
    clients = {name: robot.node.create_client(Trigger, f"/cdp/recorder/{name}") for name in names}
    label = robot.node.create_client(SetBool, "/cdp/recorder/label")
    robot.until(lambda: all(c.service_is_ready() for c in (*clients.values(), label)), "the services")
    assert not robot.call(clients["keep"]).success and not robot.call(clients["discard"]).success
    record(robot, 20)
    assert robot.call(label, data=True).success
    robot.until(lambda: robot.status.label == RecorderStatus.LABEL_SUCCESS, "the label in the status")
    kept = robot.call(clients["toggle"])
    assert kept.success and kept.message.startswith("kept slide_")
    (path,) = [episode_of(journal) for journal in journals(tmp_path)] or tmp_path.glob("*.hdf5")
    robot.written(path)
    with EpisodeReader(path) as episode:
        assert episode.labels.success and episode.labels.labelled
    assert robot.call(clients["begin"]).success
    assert robot.call(clients["redo"]).success and robot.call(clients["discard"]).success
    assert list(tmp_path.glob("*.hdf5")) == [path] and not journals(tmp_path)


def test_an_action_records_one_episode_by_time_by_service_or_not_at_all(robot, tmp_path):
    client = ActionClient(robot.node, RecordEpisode, "/cdp/recorder/record")
    robot.launch(tmp_path)
    robot.until(client.server_is_ready, "the action")
    feedback = []

    def send(**goal):
        future = client.send_goal_async(RecordEpisode.Goal(**goal), feedback_callback=lambda f: feedback.append(f.feedback.duration_s))
        robot.until(future.done, "the answer to the goal")
        return future.result()

    def result(handle):
        future = handle.get_result_async()

        def done():
            robot.moment(robot.now_ns(), 10, 7)
            return future.done()

        robot.until(done, "the result")
        return future.result().status, future.result().result

    status, refused = result(send(task="slide"))
    assert status == GoalStatus.STATUS_ABORTED and "has not been received" in refused.message
    robot.start_when_alive()
    robot.call(robot.stop_client, keep=False)
    timed = send(task="slide", operator_name="anna", seed=4, duration_s=1.0)
    assert timed.accepted and not send(task="slide").accepted
    status, kept = result(timed)
    assert status == GoalStatus.STATUS_SUCCEEDED and kept.success and feedback
    with EpisodeReader(kept.path) as episode:
        assert episode.info.operator == "anna" and episode.info.seed == 4 and not episode.labels.labelled
    by_service = send()
    assert by_service.accepted and robot.call(robot.stop_client, keep=True, task_success=True).success
    status, kept = result(by_service)
    assert status == GoalStatus.STATUS_SUCCEEDED and kept.path.endswith(".hdf5")
    cancelled = send()
    robot.until(cancelled.cancel_goal_async().done, "the cancelling")
    status, dropped = result(cancelled)
    assert status == GoalStatus.STATUS_CANCELED and dropped.path == "" and len(list(tmp_path.glob("*.hdf5"))) == 2 and not journals(tmp_path)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        (["topics:=[a]", "topic.a.topic:=/a"], "topic.a.type: missing"),
        (
            ["topics:=[a]", "topic.a.topic:=/a", "topic.a.type:=nowhere_msgs/msg/A"],
            "the package nowhere_msgs of 'nowhere_msgs/msg/A' is not installed",
        ),
        (
            ["topics:=[a]", "topic.a.topic:=/a", "topic.a.type:=std_msgs/msg/Header", "topic.a.fields:=[frame_id]"],
            "topic.a.fields: 'frame_id' of Header holds no number",
        ),
        (["topics:=[a]", "topic.a.topic:=/a", "topic.a.type:=std_msgs/msg/Header", "topic.a.fields:=[stamp.day]"], "has no field 'stamp.day'"),
        (["cameras:=[joint_pos]"], "cameras: 'joint_pos' is the name of another stream already"),
        (["mcap:=true", "mcap_topics:=['/tf']"], "mcap_topics: the recorder does not subscribe to /tf; a further topic is named with its type"),
        (["mcap:=true", "mcap_topics:=['/a nowhere_msgs/msg/A']"], "the package nowhere_msgs of 'nowhere_msgs/msg/A' is not installed"),
        (["required_streams:=[wrist]"], "required_streams: 'wrist' is not one of agentview_image"),
    ],
)
def test_a_stream_that_cannot_be_is_refused_by_name(parameters, said):
    if "mcap:=true" in parameters:
        pytest.importorskip("mcap", reason="mcap is not installed: pip install -r requirements/mcap.txt")
    flags = [part for argument in parameters for part in ("-p", argument)]
    done = subprocess.run([sys.executable, "-c", ENTRY, "--ros-args", *flags], capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.returncode == 2 and said in done.stderr


def test_bad_parameter_ends_the_node_with_its_name(tmp_path):
    command = [sys.executable, "-c", ENTRY, "--ros-args", "-p", "jpeg_quality:=3"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.returncode == 2 and "jpeg_quality out of range. Min: 50, Max: 100, value: 3" in done.stderr
