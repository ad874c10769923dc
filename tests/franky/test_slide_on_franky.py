"""The whole slide task over libfranka's protocol: camera, policy, guard, driver and hand, judged by the task's own code."""

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

EPISODES = int(os.environ.get("CDP_EPISODES", "5"))
SEED = 100_000
# Of the robot's time, as of `cdp eval`.
LIMIT_S = 25.0
RUNNER = "import sys; from cdp_franka_sim.episode_runner import main; sys.exit(main())"
ROOT = Path(__file__).resolve().parents[2]
OUT = Path(os.environ.get("CDP_OUT", ROOT / "runs/franky/slide"))

SCENE = "slide"

pytestmark = pytest.mark.timeout(600 * EPISODES + 600)


@pytest.fixture(params=["joint", "cartesian"])
def stack(scene, request, tmp_path_factory):
    from franky_stack import FrankyStack

    made = FrankyStack(tmp_path_factory.mktemp(request.param), request.param, scene)
    try:
        made.start_hand()
        made.start_driver()
        made.start_guard()
        made.load_policy(ROOT / "models/slide")
        made.control()
        yield made
    finally:
        made.close()


def bring_to_start(stack, start_m):
    """As a person does between two episodes: recover from a reflex, up, over, down to the start; then the operator lets go."""
    if stack.status["problem"] == "reflex":
        answer = stack.recover()
        assert answer.success, answer.message
    stack.control()
    stack.engage()
    here = stack.here()
    stack.go(np.array([here[0], here[1], 0.25]), 0.02)
    stack.go(np.array([*start_m[:2], 0.25]), 0.02)
    stack.go(np.array(start_m), 0.01)
    stack.wish = None
    stack.run(0.5)


def episode(stack, scene, seed, out):
    """What `cdp eval`'s episode runner found, and what the robot's time was."""
    start = scene.ask(start=seed)
    stack.width_m = start["width_m"]
    bring_to_start(stack, start["start_m"])
    before, refused = scene.ask(), stack.refused()
    status = stack.script(RUNNER, "episodes:=1", f"seed:={seed}", f"timeout_s:={LIMIT_S}", f"output:={out}")
    after = scene.ask()
    assert status == 0, (stack.folder / "script.log").read_text()[-2000:]
    found = json.loads((out / "results.json").read_text())["episodes"][0]
    factor = (after["simulated_s"] - before["simulated_s"]) / (after["wall_s"] - before["wall_s"])
    # A machine that stalls ends an episode in ways that say nothing of the policy: those are told apart.
    stalled = not found["success"] and (found["ended"].startswith("guard fault") or stack.refused() > refused)
    return found | {"factor": factor, "stalled": stalled}


def without_stall(stack, scene, seed, out):
    """The first of three tries that the machine did not spoil."""
    for _ in range(3):
        found = episode(stack, scene, seed, out)
        if not found["stalled"]:
            break
        stack.stops += 1
    return found


def test_the_policy_pushes_the_block_into_the_zone(stack, scene, table):
    out = OUT / stack.interface
    found = [without_stall(stack, scene, seed, out / str(seed)) for seed in range(SEED, SEED + EPISODES)]
    sheets = [cv2.imread(str(out / str(e["seed"]) / "contact_sheet.png")) for e in found]
    # Each of these is one row and a blank beside it.
    cv2.imwrite(str(out / "contact_sheet.png"), np.vstack([sheet[:, : sheet.shape[1] // 2] for sheet in sheets]))
    (out / "results.json").write_text(json.dumps({"episodes": found}, indent=1))
    successes, reflexes = sum(e["success"] for e in found), [f["reflexes"] for _, f in stack.statuses if f["reflexes"]]
    times = ", ".join(f"{e['duration_s']:.1f}" for e in found)
    off = ", ".join(f"{1000 * e['distance_m']:.0f}" for e in found)
    table.append(
        (
            f"slide, {stack.interface}: policy, guard, driver, hand, {EPISODES} episodes",
            f"{successes} of {EPISODES}; {times} s of the robot's time, at {np.mean([e['factor'] for e in found]):.2f} of real time; "
            f"off by {off} mm; reflexes: {len(reflexes)}; spoilt by the machine and begun anew: {stack.stops}; "
            f"ended: {', '.join(sorted({e['ended'] for e in found}))}",
        )
    )
    assert reflexes == []
    assert successes >= 0.4 * EPISODES
