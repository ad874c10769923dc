"""Episodes in one process: the pictures that the policy looks at are enough."""

from pathlib import Path

import numpy as np
import pytest

from cdp.bundle.reader import Bundle
from cdp.runtime import PolicyRuntime, RuntimeConfig
from cdp_franka_sim.evaluate import PolicyLoop, run_episodes

MODEL = Path(__file__).parents[3] / "models" / "slide"
LIMIT_S = 1.2


@pytest.fixture(scope="module")
def runtime():
    return PolicyRuntime(Bundle.open(MODEL), RuntimeConfig(backend="onnxruntime"))


def test_an_episode_at_the_policys_rate_is_the_episode_at_the_cameras(runtime, tmp_path):
    loop = PolicyLoop(runtime, tmp_path, LIMIT_S)
    try:
        whole = loop.run(200_000)
        arm = loop.sim.state().q_rad
        again = loop.run(200_000)
        moved = np.abs(loop.sim.state().q_rad - arm).max()
    finally:
        loop.media[0].close()
        loop.sim.close()
    heard = []
    (alone,) = run_episodes(runtime, [200_000], LIMIT_S, heard.append)
    assert whole.ended == "timeout" and len(loop.results.inference_ms) >= 4, "some chunks were asked for"
    assert again == whole and moved == 0.0
    assert alone["distance_m"] == pytest.approx(whole.distance_m, abs=1e-6) and alone["ended"] == "timeout"
    assert heard == [alone]
    assert list(tmp_path.glob("*.mp4")), "only the first was filmed"
