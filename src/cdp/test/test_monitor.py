"""The monitor's figures against closed forms, and a reading of a real bundle."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdp.bundle import Bundle
from cdp.bundle.errors import BundleError
from cdp.bundle.monitor import LEVELS, FigureReference
from cdp.bundle.monitor_fit import Moments, oas_shrinkage, whitening_of
from cdp.config import ConfigError
from cdp.data.normalise import MinMax
from cdp.diffusion.sampler import sampler_steps
from cdp.geometry import matrix_to_rot6d, rotvec_to_matrix
from cdp.runtime import PolicyRuntime, RuntimeConfig
from cdp.runtime.monitor import Figures, MonitorReading, SamplerMonitor
from cdp.runtime.monitor_figures import PAIR_DISTANCE, ActionSpreadSI, action_std, action_std_si, extent, pair_ratios, paired_noise

SHAPE = (16, 10)


@given(st.floats(0.01, 3.0), st.integers(2, 12))
@settings(max_examples=30, deadline=None)
def test_a_scaled_rotation_of_the_noise_has_its_scale_as_ratio_and_as_spread_of_the_noise(scale, seeds):
    rng = np.random.default_rng(seeds)
    noise = paired_noise(seeds, SHAPE, rng).astype(np.float64)
    rotation = np.linalg.qr(rng.standard_normal((160, 160)))[0]
    chunks = scale * (noise.reshape(-1, 160) @ rotation).reshape(noise.shape) + 0.3
    np.testing.assert_allclose(pair_ratios(noise, chunks), scale, rtol=1e-6)
    np.testing.assert_allclose(action_std(chunks[:seeds]), scale * action_std(noise[:seeds]), rtol=1e-6)


def test_pairs_start_as_far_apart_as_they_say_and_seeds_are_standard_normal():
    noise = paired_noise(400, SHAPE, np.random.default_rng(0))
    apart = np.linalg.norm((noise[400:] - noise[:400]).reshape(400, -1), axis=1)
    np.testing.assert_allclose(apart, PAIR_DISTANCE, rtol=1e-3)
    np.testing.assert_allclose(action_std(noise[:400]), 1.0, atol=0.01)


def test_the_spread_is_that_of_the_report():
    torch = pytest.importorskip("torch")
    from cdp.contraction.report_spread import action_spread

    chunks = np.random.default_rng(1).standard_normal((9, *SHAPE))
    np.testing.assert_allclose(action_std(chunks), float(action_spread(torch.from_numpy(chunks)[None]).total[0]), rtol=1e-12)


def si_chunks(positions, angles, grippers):
    """Chunks (K, 3, 10) in SI units but for the gripper's command, each row alike."""
    rows = [np.r_[p, matrix_to_rot6d(rotvec_to_matrix([0.0, 0.0, a])), g] for p, a, g in zip(positions, angles, grippers, strict=True)]
    return np.repeat(np.array(rows)[:, None], 3, axis=1)


def test_the_spread_in_si_units_is_that_of_known_poses():
    unit = MinMax(-np.ones(10), np.ones(10))
    chunks = si_chunks([[0.3, 0.0, 0.1], [0.3, 0.0, 0.14]], [0.2, -0.2], [-1.0, -0.5])
    spread = action_std_si(chunks, unit)
    # Of two samples: their difference over the root of two.
    np.testing.assert_allclose([spread.position_m, spread.rotation_rad, spread.gripper_m], np.array([0.04, 0.4, 0.02]) / math.sqrt(2.0), rtol=1e-9)
    near = action_std_si(si_chunks([[0.3, 0.0, 0.1]] * 2, [1e-7, -1e-7], [0.0, 0.0]), unit)
    np.testing.assert_allclose(near.rotation_rad, 2e-7 / math.sqrt(2.0), rtol=1e-6)


def test_a_sample_that_is_no_rotation_gives_nan_not_an_exception_and_not_a_small_number():
    chunks = si_chunks([[0.3, 0.0, 0.1]] * 3, [0.0] * 3, [0.0] * 3)
    chunks[1, 0, 3:9] = 0.0
    assert math.isnan(action_std_si(chunks, MinMax(-np.ones(10), np.ones(10))).rotation_rad)
    assert extent([[0.2, -1.4], [0.3, 1.0]]) == 1.4


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6))
@settings(max_examples=25, deadline=None)
def test_streamed_moments_are_those_of_all_rows_however_they_are_cut(sizes):
    rows = 1e3 + np.random.default_rng(len(sizes)).standard_normal((sum(sizes), 4))
    moments = Moments(4)
    for block in np.split(rows, np.cumsum(sizes)[:-1]):
        moments.add(block)
    assert moments.count == len(rows)
    np.testing.assert_allclose(moments.mean, rows.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(moments.covariance, np.cov(rows.T, bias=True), atol=1e-8)


def gaussian(count, seed=0):
    """Rows (count, 5) of a known covariance, its smallest and largest standard deviation a factor 100 apart."""
    mixing = np.linalg.qr(np.random.default_rng(9).standard_normal((5, 5)))[0] * np.array([0.05, 0.1, 0.5, 1.0, 5.0])
    return np.random.default_rng(seed).standard_normal((count, 5)) @ mixing.T + 3.0, mixing


def test_distances_of_gaussian_rows_are_chi_distributed_and_equal_in_every_direction():
    rows, mixing = gaussian(20_000)
    moments = Moments(5)
    moments.add(rows)
    shrinkage = oas_shrinkage(moments.covariance, moments.count)
    assert shrinkage < 1e-3
    whitening = whitening_of(moments.covariance, shrinkage)
    squared = np.square((rows - moments.mean) @ whitening.T).sum(axis=1)
    # Chi-squared with 5 degrees of freedom: its mean, and its 99 % quantile from a table.
    np.testing.assert_allclose(squared.mean(), 5.0, rtol=0.05)
    np.testing.assert_allclose(np.quantile(squared, 0.99), 15.09, rtol=0.06)
    # Along the narrowest direction, which shrinkage widens the most, three standard deviations count nearly as much as along the widest.
    steps = 3.0 * mixing.T
    np.testing.assert_allclose(np.linalg.norm(steps @ whitening.T, axis=1), 3.0, rtol=0.15)


def test_shrinkage_is_all_of_it_for_spheres_and_little_for_many_rows_of_an_ellipsoid():
    assert oas_shrinkage(2.0 * np.eye(8), 50) == 1.0
    _, mixing = gaussian(2)
    covariance = mixing @ mixing.T
    few, many = oas_shrinkage(covariance, 10), oas_shrinkage(covariance, 10_000)
    assert 0.0 < many < 0.01 < few < 1.0


def test_features_that_never_move_do_not_make_every_distance_infinite_and_dead_encoders_are_refused():
    covariance = np.diag([1.0, 0.0])
    whitening = whitening_of(covariance, 0.01)
    assert np.all(np.isfinite(whitening))
    assert np.linalg.norm(whitening @ [0.0, 1.0]) > np.linalg.norm(whitening @ [1.0, 0.0])
    with pytest.raises(BundleError, match="same features for every window"):
        whitening_of(np.zeros((3, 3)), 0.5)


def test_thresholds_and_quantiles_are_those_of_the_held_out_values():
    values = np.arange(1001) / 1000.0
    limit = FigureReference.of(values, 0.99)
    np.testing.assert_allclose(limit.threshold, 0.99)
    np.testing.assert_allclose([limit.share(0.495), limit.quantile_of(0.25)], [0.5, 0.25])
    assert limit.quantile_of(7.0) == 1.0 and math.isnan(limit.share(math.nan))
    assert FigureReference.of(values, 0.99, least=1.0).threshold == 1.0
    # A policy that is all constant has nothing to divide by; any spread at all is then unusual.
    assert FigureReference.of(np.zeros(4), 0.99).share(0.0) == 0.0 and FigureReference.of(np.zeros(4), 0.99).share(1e-3) > 1.0
    for quantiles in ((0.0, 1.0), tuple(reversed(LEVELS))):
        with pytest.raises(ConfigError, match="quantiles: needs 101 ascending"):
            FigureReference(1.0, quantiles)
    with pytest.raises(ConfigError, match=r"threshold: 0\.0 is not above 0"):
        FigureReference(0.0, LEVELS)


def window(bundle, seed=0):
    spec = bundle.policy.observation
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (spec.window, spec.image_size, spec.image_size, 3), dtype=np.uint8)
    return {"image": image, "lowdim": rng.uniform(-1, 1, (spec.window, spec.lowdim_width)).astype(np.float32)}


def test_a_reading_is_of_what_the_policy_sees_and_is_the_same_every_time(tiny_bundle):
    bundle = Bundle.open(tiny_bundle)
    monitors = [SamplerMonitor(bundle, RuntimeConfig(backend=name), seeds=4) for name in ("onnxruntime", "openvino")]
    seen = window(bundle)
    np.testing.assert_array_equal(monitors[0].encode(seen), PolicyRuntime(bundle, RuntimeConfig(backend="onnxruntime"))._encode(seen))
    readings = [monitor.read(seen) for monitor in monitors]
    np.testing.assert_allclose(readings[0].figures.spread, readings[1].figures.spread, rtol=1e-3)
    np.testing.assert_allclose(readings[0].figures.lipschitz, readings[1].figures.lipschitz, rtol=1e-2)
    monitors[0].read(window(bundle, 1))
    assert monitors[0].read(seen).figures.spread == readings[0].figures.spread
    assert monitors[0].warm_up() > 0.0


def test_without_a_reference_it_measures_and_says_what_is_missing(tiny_bundle):
    monitor = SamplerMonitor(Bundle.open(tiny_bundle), RuntimeConfig(backend="onnxruntime"), seeds=3)
    reading = monitor.read(window(monitor.bundle))
    assert reading.figures.spread > 0.0 and reading.figures.lipschitz > 0.0
    assert reading.shares == {} and math.isnan(reading.ood_share) and math.isnan(reading.share) and reading.worst == ""
    assert "out-of-distribution detection is off" in monitor.without_thresholds and "cdp monitor" in monitor.without_thresholds


class GaussianDenoiser:
    """The exact denoiser of actions of mean 0 and standard deviation ``std``: the sampler's Lipschitz constant is ``std``."""

    def __init__(self, path, std):
        self.path, self.std = path, std

    def __call__(self, inputs):
        return self.factor(inputs["t"].astype(np.float64))[:, None, None] * inputs["x"]

    def factor(self, t):
        alpha, sigma = (np.asarray(f(t)) for f in (self.path.alpha, self.path.sigma))
        return self.std**2 * alpha / (self.std**2 * alpha**2 + sigma**2)


@pytest.mark.parametrize("steps", [1, 3, 100])
def test_on_gaussian_actions_spread_and_ratio_are_those_of_the_deployed_steps(tiny_bundle, steps):
    bundle, std = Bundle.open(tiny_bundle), 0.4
    path = bundle.policy.schedule
    monitor = SamplerMonitor(bundle, RuntimeConfig(backend="onnxruntime", steps=steps), seeds=16)
    monitor._denoiser = denoiser = GaussianDenoiser(path, std)
    figures = monitor.read(window(bundle)).figures
    # A linear denoiser's step multiplies by r + c J: their product is both figures, of noise that is itself nearly standard.
    factor = np.prod([step.r + step.c * denoiser.factor(step.t) for step in sampler_steps(steps, "ddim", path)])
    np.testing.assert_allclose(figures.lipschitz, factor, rtol=1e-3)
    np.testing.assert_allclose(figures.spread, factor * action_std(monitor._noise[:16]), rtol=1e-3)
    if steps == 100:
        np.testing.assert_allclose(figures.lipschitz, std, rtol=0.02)


def test_the_largest_share_names_its_figure_and_nan_is_the_largest():
    figures = some_figures()
    reading = MonitorReading(figures, {"extent": 0.4, "distance": 1.2, "spread": 0.9}, 1.0, 1.0)
    assert (reading.share, reading.ood_share, reading.worst) == (1.2, 1.2, "distance")
    broken = MonitorReading(figures, {"extent": 0.4, "distance": 1.2, "spread": math.nan}, 1.0, 1.0)
    assert math.isnan(broken.share) and broken.worst == "spread" and broken.ood_share == 1.2


def some_figures():
    return Figures(0.1, ActionSpreadSI(0.001, 0.01, 0.0), 0.1, 0.4, 9.0)
