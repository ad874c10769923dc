"""Policies on every noise path: the loss, learning, the deployed chunk, and files from before there was a choice."""

import copy
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from training_windows import AN_ACTION, Windows

from cdp import cli
from cdp.bundle import Bundle, PolicyDescription
from cdp.bundle.card import Card
from cdp.bundle.manifest import load_manifest
from cdp.bundle.policy import load_policy
from cdp.bundle.writer import write_bundle
from cdp.config import ConfigError, from_mapping, to_mapping
from cdp.diffusion.conversions import coefficients
from cdp.diffusion.paths import EDM, PATHS, FlowMatching, Schedule
from cdp.diffusion.prediction import PREDICTIONS, target
from cdp.diffusion.sampler import sample
from cdp.networks.config import DenoiserConfig
from cdp.networks.policy import VisionPolicy, build_denoiser
from cdp.networks.prediction import ConvertedDenoiser
from cdp.runtime import PolicyRuntime, RuntimeConfig
from cdp.train.batches import step_generator
from cdp.train.commands import load_config
from cdp.train.config import TrainConfig
from cdp.train.objective import SNR_RANGE, diffusion_loss
from cdp.train.trainer import Trainer

ROOT = Path(__file__).parents[3]
MAPPINGS = {
    "vp_cosine": {"kind": "vp_cosine"},
    "vp_linear": {"kind": "vp_linear"},
    "edm": {"kind": "edm", "sigma_max": 20.0},
    "flow": {"kind": "flow"},
}
#: Each path, with each prediction that it has.
PAIRS = [(kind, prediction) for kind in PATHS for prediction in PREDICTIONS if (kind, prediction) != ("flow", "eps")]


DENOISER = {"kind": "dit", "width": 16, "depth": 1, "heads": 2}
TINY = {
    "task": "reach",
    "dataset": "unused.hdf5",
    "horizon": 4,
    "batch_size": 16,
    "log_every": 1,
    "validate_windows": 8,
    "observation": {"image_size": 20, "lowdim_keys": ["robot0_eef_pos"]},
    "network": {"encoder": {"blocks": [1], "width": 8, "keypoints": 2, "crop_size": 20, "condition_width": 8}, "denoiser": DENOISER},
    "optimiser": {"warmup_steps": 2, "learning_rate": 3e-3},
}


def config(folder, **changes):
    return from_mapping(TrainConfig, {**TINY, "output": str(folder / "bundle"), **changes})


def trainer(made):
    torch.set_num_threads(1)
    return Trainer(made, Windows(40, centre=AN_ACTION), Windows(10, centre=AN_ACTION), torch.device("cpu"))


def path_of(kind):
    return from_mapping(PATHS[kind], MAPPINGS[kind])


def made_for(folder, kind, prediction, **changes):
    network = {**TINY["network"], "denoiser": {**DENOISER, "prediction": prediction}}
    return config(folder, diffusion=MAPPINGS[kind], network=network, **changes)


class Exact(torch.nn.Module):
    """What a perfect network of Gaussian data, mean ``mean`` and deviation ``std``, answers in its own terms.

    On EDM's path those are the standardised state and the angle of it as a fraction of a right one.
    """

    def __init__(self, path, prediction, mean, std):
        super().__init__()
        self.path, self.prediction, self.mean, self.std = path, prediction, mean, std

    def forward(self, x, t, cond):
        if self.path.kind == "edm":
            angle = (0.5 * math.pi * t)[:, None, None]
            alpha, sigma = angle.cos(), angle.sin()
        else:
            alpha, sigma = coefficients(self.path, t, x)
        x0 = self.mean + alpha * self.std**2 / (alpha**2 * self.std**2 + sigma**2) * (x - alpha * self.mean)
        eps = (x - alpha * x0) / sigma
        if self.prediction == "flow":
            # On EDM's path the flow's velocity is the noise.
            return eps if self.path.kind == "edm" else target("flow", x0, eps, t, self.path)
        return {"x0": x0, "eps": eps, "v": alpha * eps - sigma * x0}[self.prediction]


@pytest.mark.parametrize(("kind", "prediction"), PAIRS)
def test_a_policy_with_a_perfect_network_samples_the_gaussian(kind, prediction):
    """``a_0 = mean + s z`` from unit noise z: the path's scale, the standardised inputs and the conversion fit each other."""
    path = path_of(kind)
    denoiser = build_denoiser(DenoiserConfig(kind="mlp", width=8, depth=1, prediction=prediction), 2, 3, 1, path)
    exact = Exact(path, prediction, 0.4, 0.3)
    if isinstance(denoiser, ConvertedDenoiser):
        denoiser.network = exact
    else:
        denoiser = exact
    policy = VisionPolicy(torch.nn.Identity(), denoiser, 2, 3)
    noise = torch.randn(16, 2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = sample(lambda x, t: policy.denoise(x, t, torch.zeros(16, 1)), noise, 400, "dpmpp_2m", path)
    spread = math.hypot(path.alpha(path.t_max) * 0.3, path.sigma(path.t_max))
    exact_action = 0.4 + 0.3 / spread * (path.noise_scale * noise - path.alpha(path.t_max) * 0.4)
    torch.testing.assert_close(found, exact_action, rtol=0, atol=1e-3)


@pytest.mark.parametrize("weighting", ["uniform", "min_snr"])
@pytest.mark.parametrize(("kind", "prediction"), PAIRS)
def test_the_loss_is_the_error_of_what_the_network_predicts(kind, prediction, weighting):
    """Uniform: the plain mean square of its own error, v of the standardised state. Clipped SNR: that of x0, and bounded in its own error."""
    path = path_of(kind)
    chunk, cond = torch.randn(512, 2, 3, generator=step_generator(0, 1), dtype=torch.float64), torch.zeros(512, 1)

    class Third(torch.nn.Module):
        def forward(self, x, t, cond):
            return 0.3 * x

    denoiser, seen = ConvertedDenoiser(Third(), prediction, path), []

    def denoise(x, t, cond):
        seen.append((x, t))
        return denoiser(x, t, cond)

    loss = diffusion_loss(denoise, chunk, cond, path, weighting, step_generator(0, 2), prediction)
    x, t = seen[0]
    alpha, sigma = coefficients(path, t, x)
    noise = (x - alpha * chunk) / sigma
    size = path.size(t)[:, None, None] if kind == "edm" else torch.ones_like(alpha)
    wanted = target(prediction, chunk, noise, t, path) / (size if prediction == "v" else 1.0)
    error = (0.3 * x / size - wanted).square()
    if weighting == "min_snr":
        x0_error = (denoiser(x, t, cond) - chunk).square()
        own = (error / x0_error)[..., :1, :1]
        snr = (alpha / sigma).square()
        weight = torch.maximum(snr.clamp(max=SNR_RANGE[1]), own.clamp(max=SNR_RANGE[0]))
        assert float((weight / own).max()) <= SNR_RANGE[1] * (1.0 + 1e-6), "no error of the network weighs more"
        error = weight * x0_error
    assert float(loss) == pytest.approx(float(error.mean()), rel=1e-4)


@pytest.mark.parametrize(("kind", "prediction"), [("vp_linear", "x0"), ("edm", "x0"), ("edm", "v"), ("flow", "x0"), ("flow", "flow")])
def test_training_learns_on_every_path(tmp_path, kind, prediction):
    made = made_for(tmp_path, kind, prediction, steps=80, checkpoint_every=80, validate_every=80)
    job = trainer(made)
    before = whole_loss(job)
    job.run()
    assert whole_loss(job) < 0.6 * before


def whole_loss(job, draws=16):
    """The loss of all training windows at the same times and noise each time: that of one small batch is mostly its times'."""
    batch = job.train.batch(np.arange(len(job.train)))
    generator = step_generator(0, 0)
    with torch.no_grad():
        image = torch.from_numpy(batch["image"]).permute(0, 1, 4, 2, 3).float() / 255
        cond = job.policy.encode(image, torch.from_numpy(batch["lowdim"])).repeat(draws, 1)
        return float(job.loss(torch.from_numpy(batch["action"]).repeat(draws, 1, 1), cond, generator))


@pytest.mark.parametrize(("kind", "prediction"), [("vp_cosine", "flow"), ("vp_linear", "v"), ("edm", "v"), ("flow", "flow")])
def test_a_trained_policy_is_deployed_as_it_is(tmp_path, kind, prediction):
    """Training, bundle, the chunk of the robot's runtime (torch, ONNX Runtime and OpenVINO agree, from the same unit noise), and the report."""
    made = made_for(tmp_path, kind, prediction, steps=6, contraction={"every": 2, "label": "cdp-saturating"})
    training = trainer(made)
    policy = training.run().policy
    description = PolicyDescription("reach", made.observation, "0" * 64, made.horizon, schedule=made.diffusion, steps=4, solver="dpmpp_2m")
    card = Card("A test.", ("cdp train",), {"train": 0})
    write_bundle(made.output, policy, description=description, config=made, stats=training.train.stats, report={}, card=card)
    bundle = Bundle.open(made.output)
    assert bundle.policy.schedule == made.diffusion == path_of(kind)
    assert f"| noise path | {kind} |" in (made.output / "card.md").read_text()
    load_policy(bundle)
    seen = {key: value[0] for key, value in Windows(4).batch(np.arange(4)).items() if key != "action"}
    cropped = torch.from_numpy(seen["image"]).permute(0, 3, 1, 2)[None].float() / 255
    with torch.no_grad():
        cond = policy.encode(cropped, torch.from_numpy(seen["lowdim"])[None])
        noise = torch.from_numpy(np.random.default_rng(3).standard_normal((1, 4, 10), dtype=np.float32))
        expected = sample(lambda x, t: policy.denoise(x, t, cond), noise, 4, "dpmpp_2m", made.diffusion)[0].numpy()
    assert np.abs(expected).max() > 1e-3
    for backend in ("onnxruntime", "openvino"):
        found = PolicyRuntime(bundle, RuntimeConfig(backend=backend, seed=3)).act(seen).normalised
        np.testing.assert_allclose(found, expected, atol=1e-4, err_msg=backend)
    words = [
        "report",
        str(made.output),
        "--observations",
        "synthetic",
        "--control-temperature",
        "--count",
        "2",
        "--seeds",
        "4",
        "--costly-seeds",
        "1",
    ]
    assert cli.main([*words, "--threads", "1", "--out", str(tmp_path / "report")]) == 0
    page = (tmp_path / "report" / "report.md").read_text()
    assert (f"Noise path {kind}." in page) == (kind != "vp_cosine")
    assert json.loads((tmp_path / "report" / "report.json").read_text())["columns"][0]["noise_path"] == kind


def test_the_command_line_chooses_a_path(tmp_path):
    tiny = ROOT / "config" / "train" / "slide_tiny.yaml"
    assert load_config(tiny, []).diffusion == Schedule()
    words = ["--diffusion.kind", "edm", "--diffusion.sigma_max", "20"]
    assert load_config(tiny, words).diffusion == EDM(sigma_max=20.0)
    assert load_config(tiny, ["--diffusion.kind=flow", "--network.denoiser.prediction=flow"]).diffusion == FlowMatching()
    with pytest.raises(ConfigError, match=r"diffusion\.kind: 'vp' is not one of 'vp_cosine', 'vp_linear', 'edm', 'flow'"):
        load_config(tiny, ["--diffusion.kind", "vp"])
    with pytest.raises(ConfigError, match=r"diffusion\.sigma_max: 2000\.0 is outside \[1\.0, 1000\.0\]"):
        load_config(tiny, ["--diffusion.kind", "edm", "--diffusion.sigma_max", "2000"])


def test_what_needs_data_in_the_last_state_is_refused_where_there_are_none(tmp_path):
    with pytest.raises(ConfigError, match=r"network\.denoiser\.prediction: 'eps' .* alpha is 0 at t = 1\.0 of flow; lower diffusion\.t_max"):
        made_for(tmp_path, "flow", "eps")
    with pytest.raises(ConfigError, match=r"contraction\.label: 'cdp-paper' .* alpha is 0 at t = 1\.0 of flow; lower diffusion\.t_max"):
        made_for(tmp_path, "flow", "x0", contraction={"label": "cdp-paper"})
    lower = {"kind": "flow", "t_max": 0.95}
    network = {**TINY["network"], "denoiser": {**DENOISER, "prediction": "eps"}}
    made = config(tmp_path, diffusion=lower, network=network, contraction={"label": "cdp-paper"})
    assert made.diffusion == FlowMatching(t_max=0.95)


def test_files_from_before_there_was_a_choice_still_load(tmp_path):
    """A manifest that names no kind, and the configuration of the bundle that is shipped, which names none either."""
    slide = shutil.copytree(ROOT / "models" / "slide", tmp_path / "slide")
    manifest = json.loads((slide / "manifest.json").read_text())
    manifest["policy"]["schedule"].pop("kind", None)
    (slide / "manifest.json").write_text(json.dumps(manifest))
    assert load_manifest(slide).policy.schedule == Schedule()
    assert "kind: vp" not in (slide / "config.yaml").read_text()
    bundle = Bundle.open(slide)
    denoiser = load_policy(bundle).denoiser
    assert not isinstance(denoiser, ConvertedDenoiser), "no wrapper, and so the same names of the weights"
    old = to_mapping(config(tmp_path))
    del old["diffusion"]["kind"]
    assert from_mapping(TrainConfig, old) == config(tmp_path)


def test_copies_of_a_wrapped_network_ask_their_own_weights():
    """The moving average is a deep copy: it must not answer with the trained weights."""
    denoiser = build_denoiser(DenoiserConfig(kind="mlp", width=8, depth=1), 2, 3, 1, EDM())
    twin = copy.deepcopy(denoiser)
    x, t, cond = torch.randn(2, 2, 3), torch.tensor([0.5, 40.0]), torch.zeros(2, 1)
    before = denoiser(x, t, cond)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.add_(1.0)
    assert torch.equal(denoiser(x, t, cond), before) and not torch.equal(twin(x, t, cond), before)
