"""What the tests of several packages share: a real bundle, small enough to be written in seconds."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

HORIZON = 16

# Workers that run side by side share the cores; torch reads this when it is first imported.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@dataclass(frozen=True)
class TinyPolicy:
    """A random policy of a few thousand weights around a reachable pose, with all that a bundle of it is written from."""

    policy: object
    description: object
    config: object
    stats: object
    card: object
    report: dict


@pytest.fixture(scope="session")
def tiny_policy() -> TinyPolicy:
    """A policy with fixed random weights."""
    import torch

    from cdp.bundle import PolicyDescription
    from cdp.bundle.card import Card
    from cdp.data.normalise import MinMax, Stats
    from cdp.data.spec import ObservationSpec
    from cdp.networks.config import DenoiserConfig, EncoderConfig, NetworkConfig
    from cdp.networks.policy import build_policy

    torch.set_num_threads(1)
    torch.manual_seed(0)
    observation = ObservationSpec(image_size=32, window=2)
    config = NetworkConfig(
        EncoderConfig(blocks=(1, 1), width=8, crop_size=28, keypoints=4, condition_width=16), DenoiserConfig(kind="mlp", width=32, depth=1)
    )
    policy = build_policy(config, lowdim_width=observation.lowdim_width, action_width=10, window=observation.window, horizon=HORIZON).eval()
    with torch.no_grad():
        # Layers that start at zero would hide most of the network from every comparison.
        for parameter in policy.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    centre = np.array([0.5, 0.0, 0.2, 1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0])
    half = np.array([0.05] * 3 + [0.02] * 6 + [1.0])
    stats = Stats(MinMax(centre - half, centre + half), MinMax(-np.ones(observation.lowdim_width), np.ones(observation.lowdim_width)))
    description = PolicyDescription("slide", observation, "0" * 64, HORIZON, dataset="demos.hdf5")
    card = Card("A random policy.", ("cdp train slide.yaml",), {"train": 7}, ("It was never trained.",))
    return TinyPolicy(policy, description, config, stats, card, {"success": {"rate": 0.25, "trials": 4}, "curve": [1.0, 0.5]})


@pytest.fixture(scope="session")
def tiny_bundle(tiny_policy: TinyPolicy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a bundle of :func:`tiny_policy`. Read-only by agreement: copy it to change it."""
    from cdp.bundle.writer import write_bundle

    t = tiny_policy
    folder = tmp_path_factory.mktemp("bundles") / "tiny"
    write_bundle(folder, t.policy, description=t.description, config=t.config, stats=t.stats, report=t.report, card=t.card)
    return folder
