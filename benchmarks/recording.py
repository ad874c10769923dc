"""What the recorder loses, and how late and how large it is: cameras at 30 Hz and joint states at 1 kHz, through real nodes, on two cores.

``python benchmarks/recording.py [--seconds 60] [--cameras 3] [--seed 0] [--mcap lz4] [--no-check]``

Publishers are processes of their own; each message bears the time at which it was due, so that what was published is known to the last frame and a
lost one is a hole in the stamps. Before the recorder, a bare subscriber that only counts hears the same publishers for a quarter of the time. It
fails where a frame was lost that the episode does not own up to, where a row whose frame was stored is not aligned within half a period or one whose
frame was lost is given another, or where the recorder ended badly; never for being slow.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from cdp.data.align import select_ticks
from cdp.data.episode import EpisodeReader
from cdp.data.mcap_file import mcap_of
from cdp.data.resample import NEAREST, NONE, half_period_ns, resample
from cdp.data.spec import ObservationSpec

NS = 1_000_000_000
WIDTH, HEIGHT = 640, 480
CAMERA_HZ, JOINT_HZ = 30.0, 1000.0
PICTURES = 8
# In a serialised message whose first field is a header: four bytes of encapsulation, then the stamp's two numbers.
STAMP_AT = 4
LATE_NS = NS // 10
DEADLINE_S = 60.0
CORES = 2
RECORDER = "from cdp_teleop_recorder.recorder_node import main; raise SystemExit(main())"
CAMERAS = ("agentview_image", "wrist", "side", "top", "rear")
JOINTS = "joint_pos"


@dataclass(frozen=True)
class Published:
    """What a publisher sent: ``count`` messages ``period_ns`` apart from ``first_ns`` on, but for ``skipped`` ones that it could not send in time."""

    first_ns: int
    period_ns: float
    count: int
    skipped: int = 0

    def numbers(self, stamps_ns: NDArray[np.int64]) -> NDArray[np.int64]:
        """Which messages these stamps belong to."""
        return np.round((stamps_ns - self.first_ns) / self.period_ns).astype(np.int64)


def topic_of(stream: str) -> str:
    """Topic of a camera or of the joints."""
    return "/joint_states" if stream == JOINTS else f"/{stream}/image_raw"


# ---- publishers ----------------------------------------------------------------------------------------------------------------------------------


def publish(streams: list[str], seed: int) -> None:
    """Publish ``streams`` until SIGTERM, then print what was sent."""
    import rclpy
    from rclpy.qos import QoSProfile, ReliabilityPolicy
    from sensor_msgs.msg import Image, JointState

    ended: list[bool] = []
    signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
    rclpy.init(signal_handler_options=rclpy.signals.SignalHandlerOptions.NO)
    node = rclpy.create_node(f"publisher_{os.getpid()}")
    qos = QoSProfile(depth=60, reliability=ReliabilityPolicy.RELIABLE)
    publishers = [node.create_publisher(JointState if s == JOINTS else Image, topic_of(s), qos) for s in streams]
    contents = [joint_states() if s == JOINTS else pictures(seed + i) for i, s in enumerate(streams)]
    rates = [JOINT_HZ if s == JOINTS else CAMERA_HZ for s in streams]
    start_ns = time.time_ns() + NS // 10
    # Cameras are not in step with one another.
    firsts = [start_ns + round(i * NS / (rate * len(streams))) for i, rate in enumerate(rates)]
    counts, skipped = [0] * len(streams), [0] * len(streams)
    while not ended:
        due = [first + round(count * NS / rate) for first, count, rate in zip(firsts, counts, rates, strict=True)]
        i = int(np.argmin(due))
        wait_ns = due[i] - time.time_ns()
        if wait_ns < -LATE_NS:
            # As a camera does: what cannot be sent in time is a hole in the stamps, which the recorder has to find.
            behind = int(-wait_ns * rates[i] / NS)
            counts[i], skipped[i] = counts[i] + behind, skipped[i] + behind
            continue
        if wait_ns > 0:
            time.sleep(wait_ns / NS)
        message = contents[i][counts[i] % len(contents[i])]
        message[STAMP_AT : STAMP_AT + 8] = np.array([due[i] // NS, due[i] % NS], "<u4").tobytes()
        if streams[i] != JOINTS:
            message[-8:] = counts[i].to_bytes(8, "little")
        publishers[i].publish(bytes(message))
        counts[i] += 1
    sent = {s: [first, NS / rate, count, lost] for s, first, rate, count, lost in zip(streams, firsts, rates, counts, skipped, strict=True)}
    sys.stdout.write(json.dumps(sent))
    sys.stdout.flush()
    os._exit(0)


def joint_states() -> list[bytearray]:
    """One serialised message."""
    from rclpy.serialization import serialize_message
    from sensor_msgs.msg import JointState

    names = [f"fr3_joint{i}" for i in range(1, 8)]
    return [bytearray(serialize_message(JointState(name=names, position=[0.1] * 7, velocity=[0.0] * 7, effort=[0.0] * 7)))]


def pictures(seed: int) -> list[bytearray]:
    """Serialised images of smoothed noise: about as long as JPEG as a cluttered table."""
    from rclpy.serialization import serialize_message
    from sensor_msgs.msg import Image

    rng = np.random.default_rng(seed)
    messages = []
    for _ in range(PICTURES):
        coarse = cv2.resize(rng.integers(0, 255, (60, 80, 3), dtype=np.uint8), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
        pixels = np.clip(coarse.astype(int) + rng.integers(-6, 7, coarse.shape), 0, 255).astype(np.uint8)
        image = Image(height=HEIGHT, width=WIDTH, step=3 * WIDTH, encoding="rgb8", data=pixels.tobytes())
        messages.append(bytearray(serialize_message(image)))
    return messages


def listen(streams: list[str]) -> None:
    """Count what arrives until SIGTERM, then print the stamps' extent and number by stream."""
    import rclpy
    from cdp_ros.executor import make_executor
    from cdp_ros.signals import spin_until, stop_on_signals
    from cdp_ros.stamps import stamp_to_ns
    from rclpy.qos import QoSProfile, ReliabilityPolicy
    from sensor_msgs.msg import Image, JointState

    with stop_on_signals() as stop:
        rclpy.init(signal_handler_options=rclpy.signals.SignalHandlerOptions.NO)
        node = rclpy.create_node("listener")
        heard: dict[str, list[int]] = {s: [] for s in streams}
        for s in streams:
            qos = QoSProfile(depth=500 if s == JOINTS else 60, reliability=ReliabilityPolicy.BEST_EFFORT)

            def count(message: Any, stamps: list[int] = heard[s]) -> None:
                stamps.append(stamp_to_ns(message.header.stamp))

            node.create_subscription(JointState if s == JOINTS else Image, topic_of(s), count, qos)
        executor = make_executor()
        executor.add_node(node)
        spin_until(stop, executor)
    sys.stdout.write(json.dumps({s: [min(t, default=0), max(t, default=0), len(t)] for s, t in heard.items()}))
    sys.stdout.flush()
    os._exit(0)


# ---- the run -------------------------------------------------------------------------------------------------------------------------------------


class Bench:
    """Publishers, a listener and the recorder as processes in one domain."""

    def __init__(self, cameras: int, seed: int, folder: Path, mcap: str) -> None:
        import rclpy
        from cdp_msgs.msg import RecorderStatus
        from cdp_msgs.srv import StartEpisode, StopEpisode
        from cdp_ros.domain import own_domain
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.qos import DurabilityPolicy, QoSProfile

        self.streams = [*CAMERAS[:cameras], JOINTS]
        self.folder, self.seed, self.mcap = folder, seed, mcap
        domain = own_domain()
        self.environment = {**os.environ, "ROS_DOMAIN_ID": str(domain), "OMP_NUM_THREADS": "1"}
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.node = rclpy.create_node("bench", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.status: Any = None
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.node.create_subscription(RecorderStatus, "/cdp/recorder/status", self._on_status, latched)
        self.start = self.node.create_client(StartEpisode, "/cdp/recorder/start")
        self.stop = self.node.create_client(StopEpisode, "/cdp/recorder/stop")
        self.processes: list[subprocess.Popen[str]] = []

    def _on_status(self, message: Any) -> None:
        self.status = message

    def launch(self, *words: str) -> subprocess.Popen[str]:
        """A Python process in the domain; its output is what it prints at its end."""
        process = subprocess.Popen([sys.executable, *words], env=self.environment, stdout=subprocess.PIPE, text=True)
        self.processes.append(process)
        return process

    def publishers(self) -> list[subprocess.Popen[str]]:
        """The cameras in one process, the joints in another."""
        parts = (",".join(self.streams[:-1]), JOINTS)
        return [self.launch(__file__, "--publish", part, "--seed", str(self.seed)) for part in parts]

    def recorder(self) -> subprocess.Popen[str]:
        """The node, with every stream but the benchmark's turned off."""
        added = self.streams[1:-1]
        parameters = {
            "directory": self.folder,
            "image_topic": topic_of(self.streams[0]),
            "joint_rate_hz": JOINT_HZ,
            "required_streams": f"[{', '.join(self.streams)}]",
            "min_free_mb": 0,
            # On a busy machine pictures are late; how late is what is measured.
            "silent_after_s": 60.0,
            **({"cameras": f"[{', '.join(added)}]"} if added else {}),
            **({"mcap": "true", "mcap_compression": self.mcap} if self.mcap else {}),
            **{f"camera.{name}.topic": topic_of(name) for name in added},
            **{f"{name}_topic": "''" for name in ("pose", "gripper", "operator", "policy", "task")},
        }
        flags = [word for name, value in parameters.items() for word in ("-p", f"{name}:={value}")]
        return self.launch("-c", RECORDER, "--ros-args", *flags)

    def until(self, condition: Callable[[], bool], what: str, patience_s: float = DEADLINE_S) -> None:
        """Spin until the condition holds."""
        end_s = time.monotonic() + patience_s
        while not condition():
            if time.monotonic() > end_s:
                raise SystemExit(f"waited for {what} in vain")
            self.executor.spin_once(timeout_sec=0.05)

    def call(self, client: Any, **fields: Any) -> Any:
        """The answer of a service."""
        self.until(client.service_is_ready, client.srv_name)
        future = client.call_async(client.srv_type.Request(**fields))
        self.until(future.done, client.srv_name)
        return future.result()

    def close(self) -> None:
        """End what still runs."""
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.communicate()
        self.context.try_shutdown()


def ended(process: subprocess.Popen[str]) -> dict[str, Any]:
    """End a process and read what it prints."""
    process.send_signal(signal.SIGTERM)
    return dict(json.loads(process.communicate(timeout=DEADLINE_S)[0] or "{}"))


def baseline(bench: Bench, seconds: float) -> dict[str, float]:
    """Part of what was published that a subscriber which only counts did not hear, by stream."""
    publishers = bench.publishers()
    listener = bench.launch(__file__, "--listen", ",".join(bench.streams))
    topics = [topic_of(s) for s in bench.streams]
    bench.until(lambda: all(bench.node.count_publishers(t) and bench.node.count_subscribers(t) for t in topics), "publishers and listener")
    end_s = time.monotonic() + seconds
    bench.until(lambda: time.monotonic() > end_s, "the baseline", seconds + DEADLINE_S)
    heard = ended(listener)
    sent = {s: Published(*p) for publisher in publishers for s, p in ended(publisher).items()}
    missing = {}
    for s in bench.streams:
        first, last, count = heard[s]
        there = round((last - first) / sent[s].period_ns) + 1
        missing[s] = 1.0 - count / there if count else 1.0
    return missing


@dataclass(frozen=True)
class Run:
    """One recording: the episode, what was published, how the recorder's process fared."""

    path: Path
    warnings: list[str]
    sent: dict[str, Published]
    peak_mb: float
    cpu_s: float
    stop_s: float
    made_s: float
    code: int


def record(bench: Bench, seconds: float) -> Run:
    """Record an episode of so many seconds."""
    publishers, recorder = bench.publishers(), bench.recorder()
    bench.until(lambda: bench.status is not None, "the recorder")
    answers: list[str] = []

    def started() -> bool:
        answer = bench.call(bench.start, task="bench", operator_name="nobody", seed=bench.seed)
        answers.append(answer.message)
        return bool(answer.success)

    bench.until(started, "the start")
    bench.until(lambda: bench.status.duration_s >= seconds, f"the recording, {answers[-1]}", seconds + DEADLINE_S)
    began_s = time.monotonic()
    answer = bench.call(bench.stop, keep=True, task_success=True)
    stop_s = time.monotonic() - began_s
    # The streams go on, as they do while the next episode is recorded.
    bench.until(lambda: bench.status.writing == 0 and Path(answer.path).exists(), f"the file: {answer.message}")
    made_s = time.monotonic() - began_s
    sent = {s: Published(*p) for publisher in publishers for s, p in ended(publisher).items()}
    status = dict(line.split(":", 1) for line in Path(f"/proc/{recorder.pid}/status").read_text().splitlines())
    times = Path(f"/proc/{recorder.pid}/stat").read_text().rsplit(")", 1)[1].split()
    recorder.send_signal(signal.SIGTERM)
    recorder.communicate(timeout=DEADLINE_S)
    if not answer.path:
        raise SystemExit(f"the recorder kept nothing: {answer.message}")
    cpu_s = (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK")
    return Run(Path(answer.path), list(answer.warnings), sent, int(status["VmHWM"].split()[0]) / 1e3, cpu_s, stop_s, made_s, recorder.returncode)


# ---- what came of it -----------------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Losses:
    """Frames of one stream between its first and its last in the episode: published, stored, and owned up to as lost."""

    published: int
    stored: int
    counted: int

    @property
    def unseen(self) -> int:
        """Lost without a word."""
        return max(0, self.published - self.stored - self.counted)


def losses(stamps_ns: NDArray[np.int64], sent: Published, counted: int) -> Losses:
    """Compare the stamps of a stream with what was published."""
    numbers = sent.numbers(stamps_ns)
    return Losses(int(numbers.max() - numbers.min()) + 1, len(np.unique(numbers)), counted)


@dataclass(frozen=True)
class Alignment:
    """Rows (ticks of the policy rate) of one stream, aligned to the nearest sample within half a period, as ``cdp data collect`` aligns a camera.

    Of ``arrived`` rows the frame nearest to the tick was stored, of ``lost`` ones it was not. ``worst_ns`` is the greatest time from a tick to the
    sample given for it, over the arrived. ``empty`` arrived rows were given none; ``wrong`` lost ones were given another frame.
    """

    arrived: int
    lost: int
    worst_ns: int
    empty: int
    wrong: int


def aligned(stamps_ns: NDArray[np.int64], images_ns: NDArray[np.int64], sent: Published) -> Alignment:
    """Align a stream (N,) to the ticks among the reference's images (M,), over what both cover, and compare with what was published."""
    stamps, images = np.sort(stamps_ns), np.sort(images_ns)
    ticks = images[select_ticks(images, ObservationSpec(camera_rate_hz=CAMERA_HZ))]
    ticks = ticks[(ticks >= stamps[0]) & (ticks <= stamps[-1])]
    tolerance_ns = half_period_ns(NS / sent.period_ns)
    chosen = resample(stamps, ticks, tolerance_ns, NEAREST)
    # Of a tick midway between two frames both are right; a stamp is a whole number of nanoseconds.
    place = (ticks - sent.first_ns) / sent.period_ns
    slack = 0.5 + 1.0 / sent.period_ns
    right = np.stack([np.ceil(place - slack), np.floor(place + slack)], axis=-1)
    there = np.isin(right, sent.numbers(stamps)).any(axis=-1)
    given = chosen != NONE
    errors = np.abs(stamps[chosen] - ticks)[there & given]
    return Alignment(int(there.sum()), int((~there).sum()), int(errors.max(initial=0)), int((there & ~given).sum()), int((~there & given).sum()))


def judge(run: Run, streams: list[str]) -> tuple[list[str], list[str]]:
    """Lines about a run, and what is wrong with it."""
    lines, faults = [], []
    with EpisodeReader(run.path) as episode:
        verdict = episode.labels.verdict
        for s in streams:
            found = losses(episode.stamps_ns(s), run.sent[s], episode.labels.dropped[s])
            rows = aligned(episode.stamps_ns(s), episode.stamps_ns(streams[0]), run.sent[s])
            half_ns = run.sent[s].period_ns / 2
            lines.append(
                f"{s}: {found.published} due, {run.sent[s].skipped} of them not sent in time; "
                f"{found.stored} stored, {found.counted} lost and counted, {found.unseen} lost unseen; "
                f"{rows.arrived} rows whose frame arrived: alignment error at most {rows.worst_ns / 1e6:.2f} ms "
                f"(half a period is {half_ns / 1e6:.2f} ms), {rows.empty} left empty; "
                f"{rows.lost} rows whose frame was lost: {rows.lost - rows.wrong} left empty, {rows.wrong} given another frame"
            )
            if found.unseen:
                faults.append(f"{found.unseen} of {s} were lost unseen")
            if rows.worst_ns > half_ns + 1 or rows.empty:
                faults.append(f"the {s} that arrived is not aligned within half a period: {rows.worst_ns / 1e6:.2f} ms, {rows.empty} rows empty")
            if rows.wrong:
                faults.append(f"{rows.wrong} rows whose {s} was lost were given another one")
        writer = verdict["writer"]
        seconds = (episode.labels.ended_ns - episode.info.started_ns) / NS
    latency, sync = writer["write_latency_ms"], writer["sync_ms"]
    lines.append(
        f"write latency p50 {latency['p50']:.1f} ms, p99 {latency['p99']:.1f} ms, max {latency['max']:.1f} ms; "
        f"sync p99 {sync['p99']:.1f} ms; at most {writer['most_images_waiting']} images waited"
    )
    size_mb = run.path.stat().st_size / 1e6
    load = 100 * run.cpu_s / seconds
    lines.append(
        f"peak memory {run.peak_mb:.0f} MB, {load:.0f} % of a core over {seconds:.1f} s; "
        f"stop answered after {run.stop_s:.2f} s, file of {size_mb:.0f} MB there after {run.made_s:.1f} s"
    )
    if "mcap" in verdict:
        counts = verdict["mcap"]["topics"].values()
        raw_mb = mcap_of(run.path).stat().st_size / 1e6
        lines.append(f"MCAP: {sum(c['taken'] for c in counts)} messages, {sum(c['lost'] for c in counts)} lost and counted; file of {raw_mb:.0f} MB")
    if run.code:
        faults.append(f"the recorder ended with {run.code}")
    return lines, faults


def main(argv: list[str] | None = None) -> int:
    """Run it; 0 where nothing was lost unseen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="length of the episode [s]")
    parser.add_argument("--cameras", type=int, default=3, choices=range(1, len(CAMERAS) + 1), help="cameras of 640x480 at 30 Hz")
    parser.add_argument("--seed", type=int, default=0, help="of the pictures")
    parser.add_argument("--mcap", default="", choices=("zstd", "lz4", "none"), help="write the raw messages too, so compressed")
    parser.add_argument("--no-check", action="store_true", help="never fail")
    parser.add_argument("--publish", help=argparse.SUPPRESS)
    parser.add_argument("--listen", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.publish:
        publish(args.publish.split(","), args.seed)
    if args.listen:
        listen(args.listen.split(","))
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    with tempfile.TemporaryDirectory(prefix="cdp_bench_") as folder:
        bench = Bench(args.cameras, args.seed, Path(folder), args.mcap)
        try:
            missing = baseline(bench, max(3.0, args.seconds / 4))
            say(f"{len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f} from others and us")
            say(f"baseline, a bare subscriber misses: {', '.join(f'{s} {100 * part:.2f} %' for s, part in missing.items())}")
            run = record(bench, args.seconds)
            lines, faults = judge(run, bench.streams)
        finally:
            bench.close()
    for line in [*lines, *(f"warned: {text}" for text in run.warnings)]:
        say(line)
    say("; ".join(faults) if faults else "0 frames lost unseen")
    return 1 if faults and not args.no_check else 0


def say(line: str) -> None:
    """A line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
