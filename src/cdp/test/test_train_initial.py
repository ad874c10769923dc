"""Training from the weights of a bundle, and on conditions that a frozen encoder gave once."""

import dataclasses
import json

import numpy as np
import pytest
import torch
import yaml
from torch import nn

from cdp import cli
from cdp.bundle import Bundle
from cdp.bundle.policy import load_policy
from cdp.config import ConfigError, from_mapping
from cdp.data.dataset import DemoDataset
from cdp.data.normalise import MinMax, Stats
from cdp.data.spec import ObservationSpec
from cdp.train.batches import image_tensor, step_generator
from cdp.train.conditions import EncodedWindows, encode_training, encode_validation, pick_draw
from cdp.train.config import TrainConfig
from cdp.train.initial import open_initial
from cdp.train.trainer import Trainer
from cdp.train.validation import validate

CPU = torch.device("cpu")
ROWS = 9


class Windows:
    """Random pictures and states in memory, as many as the tiny bundle's policy looks at."""

    def __init__(self, bundle, rows=ROWS):
        rng, seen, policy = np.random.default_rng(rows), bundle.policy.observation, bundle.policy
        self.images = rng.integers(0, 255, (rows, seen.window, seen.image_size, seen.image_size, 3), dtype=np.uint8)
        self.lowdim = rng.uniform(-1, 1, (rows, seen.window, seen.lowdim_width)).astype(np.float32)
        self.actions = rng.uniform(-1, 1, (rows, policy.horizon, policy.action_width)).astype(np.float32)
        self.stats, self.sha256 = bundle.stats, "0" * 64
        self.lowdim_width, self.action_width = seen.lowdim_width, policy.action_width

    def __len__(self):
        return len(self.images)

    def batch(self, indices):
        return {"image": self.images[indices], "lowdim": self.lowdim[indices], "action": self.actions[indices]}


@pytest.fixture(scope="module")
def bundle(tiny_bundle):
    return Bundle.open(tiny_bundle)


@pytest.fixture
def made(bundle, tiny_policy, tmp_path):
    """A short training from the bundle."""

    def make(**changes):
        shown = {
            "task": "slide",
            "dataset": "unused.hdf5",
            "output": str(tmp_path / "out"),
            "initial": str(bundle.path),
            "horizon": bundle.policy.horizon,
            "steps": 3,
            "batch_size": 4,
            "validate_every": 3,
            "validate_windows": 8,
            "lowdim_noise": 0.1,
        }
        made = from_mapping(TrainConfig, {**shown, **changes})
        return dataclasses.replace(made, observation=bundle.policy.observation, network=tiny_policy.config)

    return make


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_it_starts_from_every_weight_and_trains_them_all(bundle, made):
    config = made(initial=str(bundle.path))
    trainer = Trainer(config, Windows(bundle), Windows(bundle), CPU, initial=bundle)
    given = load_policy(bundle)
    assert same(trainer.policy, given) and same(trainer.average, given)
    trainer.step(0)
    assert not same(trainer.policy.encoder, given.encoder) and not same(trainer.policy.denoiser, given.denoiser)


def test_a_frozen_encoder_stays_to_the_bit_under_a_new_denoiser(bundle, made):
    config = made(freeze_encoder=True)
    trainer = Trainer(config, Windows(bundle), Windows(bundle), CPU, initial=bundle)
    given, before = load_policy(bundle), {name: value.clone() for name, value in trainer.policy.denoiser.state_dict().items()}
    assert same(trainer.policy.encoder, given.encoder) and not same(trainer.policy.denoiser, given.denoiser)
    result = trainer.run()
    assert same(result.policy.encoder, given.encoder)
    assert any(not torch.equal(value, before[name]) for name, value in result.policy.denoiser.state_dict().items())
    assert all(p.grad is None for p in trainer.policy.encoder.parameters()), "no gradient is computed for what stays"


def test_a_frozen_encoder_may_serve_another_denoiser_but_weights_that_do_not_fit_are_named(bundle, made):
    config = made(freeze_encoder=True)
    other = dataclasses.replace(config.network, denoiser=dataclasses.replace(config.network.denoiser, kind="mlp", width=24))
    Trainer(dataclasses.replace(config, network=other), Windows(bundle), Windows(bundle), CPU, initial=bundle)
    with pytest.raises(ConfigError, match=r"initial: .* does not fit the network of this configuration: its [a-z0-9_.]+ is .* is needed"):
        Trainer(dataclasses.replace(made(), network=other), Windows(bundle), Windows(bundle), CPU, initial=bundle)


def test_what_cannot_work_is_refused_by_name(bundle, made, tmp_path):
    with pytest.raises(ConfigError, match="freeze_encoder: true needs initial"):
        made(initial=None, freeze_encoder=True)
    with pytest.raises(ConfigError, match="encoder_draws: 4 needs freeze_encoder"):
        made(encoder_draws=4)
    with pytest.raises(ConfigError, match=r"initial: no policy bundle at .*nowhere"):
        open_initial(made(initial=str(tmp_path / "nowhere")))
    config = dataclasses.replace(made(), observation=dataclasses.replace(bundle.policy.observation, image_key="wrist_image"))
    with pytest.raises(ConfigError, match=r"initial: .* was trained with observation.image_key 'agentview_image', not 'wrist_image'"):
        open_initial(config)
    assert open_initial(dataclasses.replace(made(), initial=None)) is None


class CropReader(nn.Module):
    """An encoder that tells where a picture was cut: its condition is the first pixel's colour and the state."""

    def forward(self, image, lowdim):
        return torch.cat([image[:, 0, :, 0, 0], lowdim[:, 0, :1]], dim=-1)


def test_kept_conditions_are_those_of_random_crops_and_noisy_states(bundle, made, tmp_path):
    config, windows = made(freeze_encoder=True, encoder_draws=6), Windows(bundle)
    cond = encode_training(CropReader(), windows, config, CPU, tmp_path).batch(np.arange(ROWS))["cond"]
    assert cond.shape == (ROWS, 6, 4)
    room = config.observation.image_size - config.network.encoder.crop_size + 1
    corners = image_tensor(windows.images, CPU)[:, 0, :, :room, :room]
    corner_list = corners.flatten(2).transpose(1, 2)
    for row in range(ROWS):
        assert all((corner_list[row] == draw[:3]).all(dim=1).any() for draw in cond[row]), "each is a crop of its own window"
    assert len({tuple(draw.tolist()) for draw in cond[0, :, :3]}) > 1, "and not always the same"
    noise = cond[:, :, 3] - torch.from_numpy(windows.lowdim[:, 0, :1])
    assert 0.5 * config.lowdim_noise < float(noise.std()) < 2.0 * config.lowdim_noise


def test_conditions_are_kept_for_their_encoder_and_data_and_made_anew_where_the_file_is_damaged(bundle, made, tmp_path):
    config, windows, encoder = made(freeze_encoder=True, encoder_draws=2), Windows(bundle), load_policy(bundle).encoder
    seen = []
    first = encode_training(encoder, windows, config, CPU, tmp_path, seen.append).batch(np.arange(ROWS))["cond"]
    assert sum(seen) == 2 * ROWS
    again = encode_training(encoder, windows, config, CPU, tmp_path, seen.append).batch(np.arange(ROWS))["cond"]
    assert sum(seen) == 2 * ROWS and torch.equal(first, again)
    (path,) = tmp_path.glob("conditions-*.safetensors")
    path.write_bytes(path.read_bytes()[:50])
    assert torch.equal(encode_training(encoder, windows, config, CPU, tmp_path, seen.append).batch(np.arange(ROWS))["cond"], first)
    with torch.no_grad():
        next(encoder.parameters()).add_(0.1)
    other = encode_training(encoder, windows, config, CPU, tmp_path, seen.append).batch(np.arange(ROWS))["cond"]
    assert sum(seen) == 6 * ROWS and not torch.equal(first, other)


def test_validation_on_encoded_windows_is_that_on_pictures(bundle, made, tiny_policy):
    config, windows = made(freeze_encoder=True), Windows(bundle)
    policy = load_policy(bundle)
    plain = validate(policy, windows, config, CPU)
    encoded = validate(policy, encode_validation(policy.encoder, windows, CPU), config, CPU)
    assert vars(encoded) == pytest.approx(vars(plain), rel=1e-5)


def test_a_draw_is_one_of_its_own_row_and_each_comes_up():
    cond = torch.arange(12.0).reshape(4, 3, 1)
    found = torch.stack([pick_draw(cond, step_generator(0, step)) for step in range(40)])[..., 0]
    for row in range(4):
        assert set(found[:, row].tolist()) == set(cond[row, :, 0].tolist())


def test_training_on_kept_conditions_learns(bundle, made):
    windows = Windows(bundle)
    encoded = EncodedWindows(windows, torch.randn(ROWS, 2, made().network.encoder.condition_width, generator=step_generator(0, 0)))
    config = made(
        freeze_encoder=True, encoder_draws=2, steps=150, validate_every=150, log_every=1, optimiser={"warmup_steps": 5, "learning_rate": 3e-3}
    )
    Trainer(config, encoded, encoded, CPU, initial=bundle).run()
    losses = [json.loads(line).get("train/loss") for line in (config.run_folder / "metrics.jsonl").read_text().splitlines()]
    losses = [loss for loss in losses if loss is not None]
    assert np.mean(losses[-20:]) < 0.7 * np.mean(losses[:5])


def test_data_are_put_into_the_ranges_that_the_weights_know(make_demo_file):
    path, spec = make_demo_file(), ObservationSpec(image_size=24)
    own = DemoDataset(path, "train", spec, 4)
    wide = Stats(MinMax(2 * own.stats.action.low - 1, 2 * own.stats.action.high + 1), MinMax(own.stats.lowdim.low - 1, own.stats.lowdim.high + 1))
    given = DemoDataset(path, "train", spec, 4, wide)
    rows = np.arange(len(own))
    np.testing.assert_allclose(
        wide.action.denormalise(given.batch(rows)["action"]), own.stats.action.denormalise(own.batch(rows)["action"]), atol=1e-6
    )
    assert np.abs(given.batch(rows)["action"]).max() < 1.0


def test_the_command_trains_on_a_frozen_encoder_and_its_bundle_has_it(bundle, make_demo_file, tmp_path, capsys):
    data, out = make_demo_file(demos=4, height=48, width=64), tmp_path / "tuned"
    network = network_of(bundle)
    spec = bundle.policy.observation
    text = {
        "task": "slide",
        "dataset": str(data),
        "output": str(out),
        "initial": str(bundle.path),
        "freeze_encoder": True,
        "encoder_draws": 2,
        "horizon": bundle.policy.horizon,
        "steps": 2,
        "batch_size": 4,
        "report_windows": 2,
        "report_seeds": 2,
        "observation": {"image_size": spec.image_size, "lowdim_keys": list(spec.lowdim_keys), "window": spec.window},
        "network": network,
    }
    path = tmp_path / "tune.yaml"
    path.write_text(json.dumps(text))
    assert cli.main(["train", str(path)]) == 0, capsys.readouterr().err
    tuned = Bundle.open(out)
    assert same(load_policy(tuned).encoder, load_policy(bundle).encoder)
    assert tuned.stats.to_json() == bundle.stats.to_json()
    assert len(list((tmp_path / "tuned.run").glob("conditions-*.safetensors"))) == 1


def network_of(bundle):
    data = yaml.safe_load((bundle.path / "config.yaml").read_text())
    return data.get("network", data)
