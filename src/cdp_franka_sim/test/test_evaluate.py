"""Episodes in one process: the pictures that the policy looks at are enough."""

from pathlib import Path

import numpy as np
import pytest

from cdp.bundle.reader import Bundle
from cdp.runtime import JoinConfig, PolicyRuntime, RuntimeConfig
from cdp.studies.joins_replay import DelayedWorker
from cdp_franka_sim.evaluate import PolicyLoop, run_episodes

MODEL = Path(__file__).parents[3] / "models" / "slide"
LIMIT_S = 1.2


@pytest.fixture(scope="module")
def runtime():
    return PolicyRuntime(Bundle.open(MODEL), RuntimeConfig(backend="onnxruntime"))


def test_an_episode_at_the_policys_rate_is_the_episode_at_the_cameras(runtime, tmp_path):
    loop = PolicyLoop(runtime, tmp_path, LIMIT_S)
    try:
        whole = [loop.run(200_000) for _ in range(2)]
        moved = loop.sim.state().eef_position_m
    finally:
        loop.media[0].close()
        loop.sim.close()
    assert list(tmp_path.glob("*.mp4")) and len(loop.results.inference_ms) >= 6, "some chunks were asked for"
    short = PolicyLoop(runtime, None, LIMIT_S, camera_rate_hz=runtime.bundle.policy.observation.rate_hz)
    try:
        assert [short.run(200_000) for _ in range(2)] == whole
        np.testing.assert_array_equal(short.sim.state().eef_position_m, moved)
    finally:
        short.sim.close()


def test_episodes_of_any_runtime_are_told_as_they_end(runtime):
    heard = []
    found = run_episodes(runtime, [200_000, 200_001], 0.3, heard.append)
    assert [episode["seed"] for episode in found] == [200_000, 200_001] and heard == found
    assert all(episode["ended"] == "timeout" and not episode["success"] for episode in found)


def test_late_chunks_delay_the_arm_and_can_be_repeated(runtime):
    def end_of(delay_s, join="hard"):
        loop = PolicyLoop(
            runtime, None, LIMIT_S, camera_rate_hz=10.0, join=JoinConfig(join), worker=lambda plan: DelayedWorker(plan, round(delay_s * 1e9))
        )
        try:
            loop.run(200_000)
            assert loop.session.delay_ns == round(delay_s * 1e9) and loop.session.schedule.deadline_misses == 0
            return loop.sim.state().eef_position_m
        finally:
            loop.sim.close()

    prompt, late, again = end_of(0.0), end_of(0.2), end_of(0.2)
    np.testing.assert_array_equal(late, again)
    assert np.abs(prompt - late).max() > 1e-4
    assert np.abs(end_of(0.2, "rtc") - late).max() > 1e-5
