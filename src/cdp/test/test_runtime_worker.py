"""Planning beside the observations: newest wins, nothing waits for it, and the answers stay in order. Events, no sleeping."""

import threading

import numpy as np
import pytest

from cdp.bundle import Bundle
from cdp.runtime import InferenceError, PolicyRuntime, RuntimeConfig
from cdp.runtime.planner import Job, Planner
from cdp.runtime.session import Level, PolicySession, Source, State
from cdp.runtime.worker import InlineWorker, Outcome, ThreadWorker

MS = 1_000_000
FRAME = 33_333_333
PERIOD = 100 * MS
DEADLINE_S = 20.0
CAMERA = "agentview_image"
SOURCES = {CAMERA: Source("/camera", 0.5)} | {name: Source(f"/{name}", 0.2) for name in ("eef_pose", "gripper_width", "joint_pos")}
IMAGE = np.full((48, 64, 3), 90, dtype=np.uint8)
SAMPLES = {"eef_pose": [0.5, 0.0, 0.2, 1.0, 0.0, 0.0, 0.0], "gripper_width": [0.08]}


@pytest.fixture(scope="module")
def runtime(tiny_bundle):
    return PolicyRuntime(Bundle.open(tiny_bundle), RuntimeConfig(backend="onnxruntime"))


def job(stamp_ns, episode=1):
    return Job(episode, stamp_ns, None, 0)


class Slow:
    """Plans nothing, and only when it is let."""

    def __init__(self):
        self.began, self.may_end, self.planned, self.threads = threading.Semaphore(0), threading.Semaphore(0), [], set()

    def __call__(self, asked):
        self.threads.add(threading.current_thread())
        self.began.release()
        assert self.may_end.acquire(timeout=DEADLINE_S)
        self.planned.append(asked.stamp_ns)
        return asked.stamp_ns

    def wait_until_busy(self):
        assert self.began.acquire(timeout=DEADLINE_S)


def ended(worker, notified, count):
    outcomes = []
    while len(outcomes) < count:
        assert notified.acquire(timeout=DEADLINE_S)
        outcomes += worker.take(0)
    return outcomes


def test_the_newest_job_takes_the_place_of_the_one_that_waits():
    slow, notified = Slow(), threading.Semaphore(0)
    worker = ThreadWorker(slow, notified.release)
    assert worker.submit(job(1)) is None
    slow.wait_until_busy()
    assert worker.submit(job(2)) is None
    assert worker.submit(job(3)).stamp_ns == 2
    slow.may_end.release(2)
    assert [outcome.prediction for outcome in ended(worker, notified, 2)] == [1, 3]
    assert slow.planned == [1, 3] and threading.current_thread() not in slow.threads
    worker.close()


def test_waiting_gives_the_outcome_where_it_was_asked_for_but_plans_in_the_thread():
    threads = []
    worker = ThreadWorker(lambda asked: threads.append(threading.current_thread()) or asked.stamp_ns, wait=True)
    for stamp_ns in range(5):
        worker.submit(job(stamp_ns))
        assert [outcome.prediction for outcome in worker.take(0)] == [stamp_ns]
    assert len(set(threads)) == 1 and threading.current_thread() not in threads
    worker.close()


@pytest.mark.parametrize("make", [InlineWorker, lambda plan: ThreadWorker(plan, wait=True)])
def test_what_planning_raises_is_handed_over(make):
    def plan(asked):
        raise KeyError("a bug")

    worker = make(plan)
    worker.submit(job(1))
    (outcome,) = worker.take(0)
    assert outcome.prediction is None and isinstance(outcome.error, KeyError)
    worker.close()


def test_closing_waits_for_the_job_under_way_and_drops_the_rest():
    slow, notified = Slow(), []
    worker = ThreadWorker(slow, lambda: notified.append(1))
    worker.submit(job(1))
    slow.wait_until_busy()
    worker.submit(job(2))
    closing = threading.Thread(target=worker.close)
    closing.start()
    # It cannot end before the job does; had it not waited, the next line would find it gone for want of anything to do.
    assert closing.is_alive()
    slow.may_end.release()
    closing.join(DEADLINE_S)
    assert not closing.is_alive() and slow.planned == [1] and worker.take(0) == [] and notified == []
    with pytest.raises(RuntimeError, match="closed"):
        worker.submit(job(3))


def test_draining_leaves_nothing_of_before():
    slow = Slow()
    worker = ThreadWorker(slow)
    worker.submit(job(1))
    slow.wait_until_busy()
    worker.submit(job(2))
    slow.may_end.release(3)
    worker.drain()
    assert worker.take(0) == [] and slow.planned in ([1], [1, 2])
    worker.submit(job(3))
    worker.close()


def test_spare_work_is_done_when_there_is_no_job_and_a_job_takes_its_place():
    slow, notified, done, looked = Slow(), threading.Semaphore(0), [], threading.Event()
    worker = ThreadWorker(slow, notified.release)
    worker.submit(job(1))
    slow.wait_until_busy()
    worker.spare(lambda: done.append("early"))
    worker.submit(job(2))
    slow.may_end.release(2)
    assert [outcome.prediction for outcome in ended(worker, notified, 2)] == [1, 2]
    worker.spare(lambda: (done.append("late"), looked.set()))
    assert looked.wait(DEADLINE_S) and done == ["late"]
    slow.may_end.release()
    worker.submit(job(3))
    assert [outcome.prediction for outcome in ended(worker, notified, 1)] == [3]
    worker.close()
    worker.spare(lambda: done.append("closed"))
    assert done == ["late"]


def test_spare_work_that_fails_costs_no_job():
    slow, notified, failed = Slow(), threading.Semaphore(0), threading.Event()
    worker = ThreadWorker(slow, notified.release)

    def failing():
        failed.set()
        raise ValueError("nobody hears this")

    worker.spare(failing)
    assert failed.wait(DEADLINE_S)
    slow.may_end.release()
    worker.submit(job(1))
    assert [outcome.prediction for outcome in ended(worker, notified, 1)] == [1]
    worker.close()


class Held:
    """A worker whose outcomes come when the test lets them: the state machine of a slow one, without threads."""

    def __init__(self, plan):
        self.plan, self.waiting, self.busy, self.ended, self.drained, self.prepared = plan, None, None, [], 0, []

    def submit(self, asked):
        if self.busy is None:
            self.busy = asked
            return None
        replaced, self.waiting = self.waiting, asked
        return replaced

    def spare(self, work):
        self.prepared.append(work)

    def finish(self):
        self.ended.append(Outcome(self.busy, self.plan(self.busy)))
        self.busy, self.waiting = self.waiting, None

    def take(self, now_ns):
        ended, self.ended = self.ended, []
        return ended

    def drain(self):
        self.waiting = self.busy = None
        self.ended, self.drained = [], self.drained + 1

    close = drain


class Robot:
    """Every stream at its instant; what each frame was answered with."""

    def __init__(self, runtime, worker=Held, replan_ticks=4):
        self.session = PolicySession(runtime, SOURCES, replan_ticks, planner=Planner(runtime), worker=worker)
        self.worker = self.session._worker
        self.now = self.begin = 1000 * MS
        self.answers, self.images = [], []
        self.session.start(self.now)

    def frame(self):
        for stream, value in SAMPLES.items():
            self.answers += self.session.add_sample(stream, self.now, value, self.now)
        found = self.session.add_image(self.now, IMAGE, self.now)
        self.images.append(self.now)
        self.answers += found
        self.now += FRAME
        return found

    def frames(self, count):
        return [self.frame() for _ in range(count)]

    def finish(self, after_ms=0.0):
        """The chunk under way comes ``after_ms`` after the last frame."""
        self.worker.finish()
        found = self.session.collect(self.now - FRAME + round(after_ms * MS))
        self.answers += found
        return found


def stamps(answers):
    return [answer.observation_stamp_ns for answer in answers]


def chunks(answers):
    return [answer.chunk for answer in answers if answer.chunk is not None]


def test_a_chunk_within_the_frame_gives_the_messages_of_a_session_that_plans_itself(runtime):
    slow, own = Robot(runtime), Robot(runtime, InlineWorker)
    for _ in range(40):
        slow.frame()
        if slow.worker.busy is not None:
            slow.finish()
    own.frames(40)
    assert [(a.observation_stamp_ns, a.chunk is None) for a in slow.answers] == [(a.observation_stamp_ns, a.chunk is None) for a in own.answers]
    for mine, its in zip(chunks(slow.answers), chunks(own.answers), strict=True):
        assert mine.start_ns == its.start_ns
        np.testing.assert_array_equal(mine.rows, its.rows)


def test_threaded_and_synchronous_give_the_same_commands_bit_for_bit(runtime):
    def run(worker):
        robot = Robot(runtime, worker)
        robot.frames(60)
        robot.session.close()
        return [(a.observation_stamp_ns, None if a.chunk is None else (a.chunk.start_ns, a.chunk.rows.tobytes())) for a in robot.answers]

    inline, first, second = run(InlineWorker), run(lambda plan: ThreadWorker(plan, wait=True)), run(lambda plan: ThreadWorker(plan, wait=True))
    assert len(inline) == 60 and inline == first == second


def test_images_are_answered_while_a_chunk_is_waited_for_and_all_of_them_in_order_once_it_is_there(runtime):
    robot = Robot(runtime)
    robot.frame()
    assert robot.finish()[0].chunk is not None
    robot.frames(12)
    last = robot.images[11]
    assert stamps(robot.answers) == robot.images[:12] and robot.worker.busy.stamp_ns == robot.images[12]
    for _ in range(4):
        found = robot.frame()
        # Alive, but nothing newer than before the tick is promised: in lock-step the guard still waits.
        assert stamps(found) == [last] and chunks(found) == []
    found = robot.finish(after_ms=10)
    assert stamps(found) == robot.images[12:] and [a.chunk is None for a in found] == [False, True, True, True, True]
    assert stamps(robot.answers) == sorted(stamps(robot.answers)), "the guard refuses what answers an older observation"


def test_rows_that_are_past_are_left_out_and_the_rest_keeps_its_times(runtime):
    robot = Robot(runtime)
    robot.frame()
    planned = robot.finish(after_ms=250)[0].chunk
    assert len(planned.rows) == 14 and planned.start_ns == robot.begin + 3 * PERIOD and planned.delay_ns == 250 * MS
    np.testing.assert_array_equal(planned.rows, planned.prediction.rows[2:])
    assert robot.session.schedule.deadline_misses == 0 and robot.session.delay_ns == 250 * MS


def test_a_chunk_later_than_the_next_is_counted_and_one_that_is_all_past_is_not_sent(runtime):
    robot = Robot(runtime)
    robot.frame()
    assert robot.finish(after_ms=401)[0].chunk is not None
    assert robot.session.schedule.late == robot.session.schedule.deadline_misses == 1
    robot.frames(12)
    before = robot.answers.copy()
    found = robot.finish(after_ms=1600)
    assert chunks(found) == [] and robot.answers[: len(before)] == before
    assert (robot.session.schedule.expired, robot.session.schedule.deadline_misses) == (1, 2)
    (event,) = robot.session.take_events()
    assert event.level is Level.WARNING and "all of its rows were past" in event.text
    assert robot.session.state is State.RUNNING, "the arm goes on with the last chunk"


def test_a_window_that_comes_while_one_waits_takes_its_place(runtime):
    robot = Robot(runtime)
    robot.frame()
    robot.finish()
    robot.frames(12 * 3)
    ticks = robot.images[::12]
    assert robot.worker.busy.stamp_ns == ticks[1] and robot.worker.waiting.stamp_ns == ticks[3]
    assert robot.session.schedule.replaced == 1
    first, second = robot.finish(), robot.finish()
    assert stamps(chunks_of(first)) == [ticks[1]] and stamps(chunks_of(second)) == [ticks[3]]
    assert stamps([*first, *second]) == [s for s in robot.images if s >= ticks[1]], "the window without a chunk is answered by a keep-alive"


def chunks_of(answers):
    return [answer for answer in answers if answer.chunk is not None]


@pytest.mark.parametrize("again", [False, True])
def test_nothing_of_before_comes_after_the_stop(runtime, again):
    robot = Robot(runtime)
    robot.frames(3)
    outcome = Outcome(robot.worker.busy, robot.worker.plan(robot.worker.busy))
    robot.session.stop()
    assert robot.worker.drained == 1
    if again:
        robot.session.start(robot.now)
        robot.frame()
    robot.worker.ended = [outcome]
    assert robot.session.collect(robot.now) == []
    assert robot.session.state is (State.WAITING if again else State.STOPPED)


def test_a_plan_from_before_a_stream_died_is_dropped(runtime):
    robot = Robot(runtime)
    robot.frames(2)
    robot.session.check(robot.now + 10_000 * MS)
    assert robot.session.state is State.WAITING
    assert robot.finish() == [] and robot.session.state is State.WAITING


def test_what_planning_refuses_is_a_fault_and_a_bug_is_raised(runtime):
    for error in (InferenceError("no action"), KeyError("a bug")):
        robot = Robot(runtime)
        robot.frame()
        robot.worker.ended = [Outcome(robot.worker.busy, None, error)]
        if isinstance(error, KeyError):
            with pytest.raises(KeyError):
                robot.session.collect(robot.now)
        else:
            assert robot.session.collect(robot.now) == [] and robot.session.state is State.FAULT


def test_chunks_go_on_from_what_the_robot_follows_only(runtime):
    robot, asked = Robot(runtime), []
    robot.worker.plan = lambda job, plan=robot.worker.plan: asked.append(job.fresh) or plan(job)

    def chunk():
        while robot.worker.busy is None:
            robot.frame()
        robot.finish()

    chunk(), chunk()
    robot.session.follow(False)
    chunk()
    robot.session.follow(True)
    chunk(), chunk()
    # Nothing before the first; none while the operator leads; the first after was planned when the last one was not followed.
    assert asked == [True, False, True, True, False]


def test_a_tick_whose_states_never_come_is_not_answered(runtime):
    robot = Robot(runtime, InlineWorker)
    robot.frames(9)
    robot.answers.clear()
    silent = [robot.now + k * FRAME for k in range(4)]
    for stamp in silent:
        robot.answers += robot.session.add_image(stamp, IMAGE, stamp)
    # The first is a tick without its states, the fourth the next tick: the first is given up.
    robot.now = silent[-1]
    for stream, value in SAMPLES.items():
        robot.answers += robot.session.add_sample(stream, robot.now, value, robot.now)
    assert stamps(robot.answers) == silent[-1:]


def test_the_frame_of_the_tick_before_a_chunk_is_looked_at_ahead(runtime):
    robot = Robot(runtime, replan_ticks=4)
    looked, robot.session.planner = [], Planner(runtime)
    for frame in range(24):
        robot.frame()
        if robot.worker.busy is not None:
            robot.finish()
        looked += [frame] * len(robot.worker.prepared)
        robot.worker.prepared.clear()
    # A tick is every third frame, a chunk every fourth tick; the window has two frames.
    assert looked == [9, 21]
