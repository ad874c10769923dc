"""The denoiser in two networks gives what the whole one gives, whatever comes after whatever, and computes the first of them once a chunk."""

from dataclasses import replace

import numpy as np
import openvino
import pytest
import torch

from cdp.bundle import Bundle
from cdp.bundle.writer import write_bundle
from cdp.networks.config import DenoiserConfig
from cdp.networks.policy import build_policy
from cdp.runtime.openvino_split import SplitDenoiser, split_denoiser

SETTINGS = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
SHAPE = (1, 16, 10)
DENOISERS = {
    "dit": DenoiserConfig(kind="dit", width=32, depth=2, heads=2),
    "mlp": DenoiserConfig(kind="mlp", width=32, depth=1),
    "pearce": DenoiserConfig(kind="pearce", width=32, depth=2),
    "unet": DenoiserConfig(kind="unet", width=16, depth=2),
}


@pytest.fixture(scope="module", params=DENOISERS)
def model(request, tiny_policy, tmp_path_factory):
    """Name of a denoiser, and it as OpenVINO reads it."""
    t = tiny_policy
    config = replace(t.config, denoiser=DENOISERS[request.param])
    spec = t.description.observation
    torch.manual_seed(1)
    policy = build_policy(config, lowdim_width=spec.lowdim_width, action_width=10, window=spec.window, horizon=16).eval()
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    folder = tmp_path_factory.mktemp("split") / "one"
    write_bundle(folder, policy, description=t.description, config=config, stats=t.stats, report=t.report, card=t.card)
    read = openvino.Core().read_model(str(Bundle.open(folder).denoiser_path))
    read.reshape({"x": list(SHAPE), "t": [1], "cond": [1, config.encoder.condition_width]})
    return request.param, read, config.encoder.condition_width


def whole_and_split(read):
    core = openvino.Core()
    request = core.compile_model(read, "CPU", SETTINGS).create_infer_request()
    parts = split_denoiser(read)
    if parts is None:
        split = None
    else:
        head, body = (core.compile_model(part, "CPU", SETTINGS) for part in parts[:2])
        split = SplitDenoiser(head, body, parts[2])

    def whole(inputs):
        request.infer(inputs)
        return np.array(request.get_output_tensor().data)

    return whole, split


def test_every_sequence_of_times_and_conditions_gives_what_the_whole_network_gives(model):
    kind, read, width = model
    whole, split = whole_and_split(read)
    assert split is not None or kind in ("mlp", "pearce"), f"{kind}: nothing to compute once a chunk"
    if split is None:
        return
    rng = np.random.default_rng(0)
    grids = [[0.9, 0.5, 0.1], [0.9, 0.5, 0.1], [0.9], [0.9, 0.7, 0.5, 0.3], [0.2, 0.2, 0.9]]
    for grid in [*grids, *(rng.choice([0.1, 0.4, 0.9], 3).tolist() for _ in range(10))]:
        condition = rng.standard_normal((1, width)).astype(np.float32)
        for time in grid:
            inputs = {"x": rng.standard_normal(SHAPE).astype(np.float32), "t": np.array([time], np.float32), "cond": condition}
            np.testing.assert_allclose(split(inputs), whole(inputs), atol=2e-5)


def test_a_chunk_like_the_last_computes_the_first_part_once_and_one_with_fewer_steps_forgets_the_others(model, monkeypatch):
    _, read, width = model
    _, split = whole_and_split(read)
    if split is None:
        return
    asked = []
    monkeypatch.setattr(split, "_compute", lambda times, own=split._compute: (asked.append(times), own(times)))
    rng = np.random.default_rng(0)

    def chunk(grid):
        asked.clear()
        condition = rng.standard_normal((1, width)).astype(np.float32)
        for time in grid:
            split({"x": np.zeros(SHAPE, np.float32), "t": np.array([time], np.float32), "cond": condition})
        return [np.round(times, 3).tolist() for times in asked]

    assert chunk([0.9, 0.5, 0.1]) == [[0.9], [0.5], [0.1]]
    assert chunk([0.9, 0.5, 0.1]) == [[0.9, 0.5, 0.1]]
    assert chunk([0.9]) == [[0.9, 0.5, 0.1]]
    assert chunk([0.9]) == [[0.9]]


def test_an_input_of_another_shape_is_refused(model):
    _, read, width = model
    _, split = whole_and_split(read)
    if split is None:
        return
    with pytest.raises(ValueError, match="x: shape"):
        split({"x": np.zeros((1, 1, 10), np.float32), "t": np.zeros(1, np.float32), "cond": np.zeros((1, width), np.float32)})
