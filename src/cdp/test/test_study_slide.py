"""The measures of the study of slide on a sampler that is known in closed form, and what its report makes of numbers."""

import math

import numpy as np
import pytest
import torch

from cdp.bundle import Bundle
from cdp.data.normalise import MinMax
from cdp.diffusion.conversions import coefficients
from cdp.diffusion.schedule import Schedule
from cdp.runtime import PolicyRuntime, RuntimeConfig
from cdp.studies import slide_rollouts
from cdp.studies.slide import fingerprint, first_seed
from cdp.studies.slide_measures import Bench, Policy
from cdp.studies.slide_policies import DIFFUSION, OURS, SETTINGS, VARIANTS
from cdp.studies.slide_report import COMPARED, compare
from cdp.studies.slide_rollouts import StudyRuntime, success, summarise

SCHEDULE = Schedule()
STD = 0.3
HALF_RANGE_M = 0.05


def gaussian(x, t, cond):
    """The exact denoiser of chunks that are normal around 0 with standard deviation STD; its sampler stretches by STD."""
    alpha, sigma = coefficients(SCHEDULE, t, x)
    return alpha * STD**2 / (alpha**2 * STD**2 + sigma**2) * x


@pytest.fixture(scope="module")
def bench():
    scale = MinMax(-HALF_RANGE_M * np.ones(10), HALF_RANGE_M * np.ones(10))
    return Bench(torch.zeros(40, 2), torch.zeros(40, 4, 10), scale, SCHEDULE, observations=16, seeds=20)


def test_a_gaussian_sampler_has_its_closed_form_figures(bench):
    found = bench.measure(Policy(gaussian), 60)
    for key in ("lipschitz_median", "lipschitz_p99", "sigma_max_median", "sigma_max_max", "std"):
        assert found[key] == pytest.approx(STD, rel=0.05), key
    assert found["action_error"] == pytest.approx(STD, rel=0.05), "the operator's chunks are all zero here"
    assert found["jitter_mm"] == pytest.approx(1e3 * HALF_RANGE_M * STD * math.sqrt(3.0), rel=0.1)
    assert bench.violation(Policy(gaussian)) == 0.0


def test_temperature_scales_every_ratio_to_unit_noise_and_zero_leaves_none(bench):
    whole, half, none = (bench.measure(Policy(gaussian, temperature), 5) for temperature in (1.0, 0.5, 0.0))
    for key in COMPARED:
        assert half[key] == pytest.approx(0.5 * whole[key], rel=1e-3), key
        assert none[key] == 0.0
    assert set(whole) == set(half) == set(none)


def test_a_policy_without_noise_is_judged_by_its_error_alone(bench):
    still = Policy(gaussian, act=lambda cond: torch.full((len(cond), 4, 10), 0.25))
    found = bench.measure(still, 3)
    assert found["action_error"] == pytest.approx(0.25) and all(found[key] == 0.0 for key in COMPARED)


def test_ratios_are_geometric_means_over_the_seeds_that_both_have():
    ours = {key: {"seeds": [1.0, 1.0, 5.0]} for key in (*COMPARED, "action_error")}
    other = {key: {"seeds": [2.0, 0.5]} for key in (*COMPARED, "action_error")}
    found = compare(ours, other)
    assert set(found) == {*COMPARED, "action_error"}
    assert found["std"]["ratio"] == pytest.approx(1.0) and found["std"]["smaller"] == 1 and found["std"]["seeds"] == 2


def test_the_first_seed_is_taken_at_every_depth():
    figures = {
        "3": {"std": {"mean": 2.0, "std": 1.0, "seeds": [1.0, 3.0]}},
        "violation": {"mean": 0.2, "std": 0.1, "seeds": [0.1, 0.3]},
        "success": None,
    }
    found = first_seed(figures)
    assert found["3"]["std"]["mean"] == 1.0 and found["violation"] == {"mean": 0.1, "std": 0.0, "seeds": [0.1]} and "success" not in found


def test_variants_differ_in_what_they_say_they_do():
    by_name = {variant.name: variant for variant in (*VARIANTS, *SETTINGS)}
    assert len(by_name) == len(VARIANTS) + len(SETTINGS)
    assert not by_name[DIFFUSION].contraction.active and by_name[OURS].contraction.active
    assert by_name["every 4"].contraction.every == 4 and by_name["fraction 0.5"].contraction.fraction == 0.5
    assert by_name["gamma 1"].contraction.gamma == 1.0 and by_name["weight decay 1"].weight_decay == 1.0
    assert by_name[OURS].seeds((3, 4)) == (3, 4) and by_name["every 1"].seeds((3, 4)) == (3,)


def test_a_fingerprint_changes_with_weights_and_temperature():
    network = torch.nn.Linear(2, 2)
    first = fingerprint(Policy(network))
    assert first == fingerprint(Policy(network)) != fingerprint(Policy(network, 0.5))
    with torch.no_grad():
        network.weight.add_(1.0)
    assert fingerprint(Policy(network)) != first


@pytest.fixture(scope="module")
def bundle(tiny_bundle):
    return Bundle.open(tiny_bundle)


def test_a_study_runtime_acts_by_its_own_sampler_on_the_bundles_condition_and_noise(bundle):
    seen = []

    def act(noise, cond):
        seen.append((noise, cond))
        return 0.5 * noise

    runtime = StudyRuntime(bundle, act, seed=3)
    assert runtime.warm_up() > 0.0
    window = {"image": np.full((2, 32, 32, 3), 7, np.uint8), "lowdim": np.zeros((2, bundle.policy.observation.lowdim_width), np.float32)}
    chunk = runtime.act(window).normalised
    expected = np.random.default_rng(3).standard_normal((1, 16, 10), dtype=np.float32)
    np.testing.assert_array_equal(chunk, 0.5 * expected[0])
    np.testing.assert_allclose(seen[-1][1].numpy(), PolicyRuntime(bundle, RuntimeConfig())._encode(window), atol=1e-6)


def test_success_is_of_the_same_scenes_counted_once_and_kept(bundle, tmp_path, monkeypatch):
    runs = []

    def fake(runtime, scenes):
        runs.append(list(scenes))
        return [{"seed": seed, "success": seed % 2 == 0, "duration_s": 5.0} for seed in scenes]

    monkeypatch.setattr(slide_rollouts, "simulator", lambda task: fake if task == "slide" else None)
    for _ in range(2):
        found = success(bundle, lambda noise, cond: noise, 0, 10, "same", tmp_path)
        assert found["successes"] == 5 and found["trials"] == 10 and found["mean_duration_s"] == 5.0
        low, high = found["wilson_95"]
        assert 0.2 < low < 0.5 < high < 0.8
    assert runs == [list(range(200_000, 200_010))], "a second time it is read"
    success(bundle, lambda noise, cond: noise, 0, 10, "another", tmp_path)
    assert len(runs) == 2
    monkeypatch.setattr(slide_rollouts, "simulator", lambda task: None)
    assert success(bundle, lambda noise, cond: noise, 0, 10, "a third", tmp_path) is None
    assert summarise([{"success": False, "duration_s": 25.0}])["mean_duration_s"] is None
