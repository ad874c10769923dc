"""The torch policy of a bundle, rebuilt from its configuration and weights, and compared with the networks that the robot runs."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import onnxruntime
import torch
import yaml
from safetensors.torch import load_file

from cdp.bundle.errors import BundleError
from cdp.bundle.export import PARITY_TOLERANCE, shapes_of
from cdp.bundle.manifest import CONFIG, WEIGHTS
from cdp.bundle.reader import Bundle
from cdp.config import ConfigError, from_mapping
from cdp.diffusion.sampler import sample
from cdp.networks.config import NetworkConfig
from cdp.networks.policy import VisionPolicy, build_policy


def load_policy(bundle: Bundle) -> VisionPolicy:
    """:func:`weights_policy`, checked against the exported networks.

    Raises :class:`BundleError` as that does, and where a chunk that the policy samples differs from the exported networks' by more than
    :data:`~cdp.bundle.export.PARITY_TOLERANCE`.
    """
    policy = weights_policy(bundle)
    difference = chunk_difference(bundle, policy)
    # A NaN compares false with everything: it has to fail here, not pass.
    if not difference <= PARITY_TOLERANCE:
        raise BundleError(
            f"{bundle.path}: a chunk of the weights differs from one of the exported networks by {difference:.2g}, more than "
            f"{PARITY_TOLERANCE:g}; write them anew with `cdp export {bundle.path}`, or train the policy again"
        )
    return policy


def weights_policy(bundle: Bundle) -> VisionPolicy:
    """The policy of the weights of ``bundle`` in evaluation mode, on the CPU, in single precision.

    Raises :class:`BundleError` where weights and configuration do not fit each other.
    """
    description = bundle.policy
    try:
        policy = build_policy(
            network_config(bundle),
            lowdim_width=description.observation.lowdim_width,
            action_width=description.action_width,
            window=description.observation.window,
            horizon=description.horizon,
            schedule=description.schedule,
        )
        policy.load_state_dict(load_file(str(bundle.path / WEIGHTS)))
    except (RuntimeError, ValueError) as error:
        raise BundleError(f"{bundle.path}: {WEIGHTS} does not fit {CONFIG} ({str(error).splitlines()[0]}); train the policy again") from None
    return policy.eval().requires_grad_(False)


def network_config(bundle: Bundle) -> NetworkConfig:
    """The networks that ``config.yaml`` describes: the part ``network`` of a training configuration, or the whole file. Raises BundleError."""
    path = bundle.path / CONFIG
    try:
        data: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        network: Any = data.get("network", data)
        return from_mapping(NetworkConfig, network)
    except (ConfigError, yaml.YAMLError) as error:
        raise BundleError(f"{path}: {error}; train the policy again") from None


def chunk_difference(bundle: Bundle, policy: VisionPolicy, seed: int = 0) -> float:
    """Largest difference, in normalised actions, between one chunk of ``policy`` (CPU, fp32) and one of the bundle's exported networks.

    Random observation and noise, the bundle's own steps and solver.
    """
    description = bundle.policy
    shapes = shapes_of(description)
    generator = torch.Generator().manual_seed(seed)
    image, lowdim = shapes.observation(generator)
    noise = torch.randn((1, description.horizon, description.action_width), generator=generator)
    encoder, denoiser = (_session(str(path)) for path in (bundle.encoder_path, bundle.denoiser_path))
    exported_cond = _run(encoder, {"image": image.numpy(), "lowdim": lowdim.numpy()})
    with torch.no_grad():
        cond = policy.encode(image, lowdim)
        own = _chunk(bundle, lambda x, t: policy.denoise(x, t, cond), noise)
    exported = _chunk(bundle, lambda x, t: _run(denoiser, {"x": x, "t": t, "cond": exported_cond}), noise.numpy())
    return float(np.abs(np.asarray(own) - exported).max())


def _chunk(bundle: Bundle, denoise: Any, noise: Any) -> Any:
    return sample(denoise, noise, bundle.policy.steps, bundle.policy.solver, bundle.policy.schedule)


def _session(path: str) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _run(session: onnxruntime.InferenceSession, feeds: dict[str, Any]) -> np.ndarray:
    return cast(np.ndarray, session.run(None, {name: np.ascontiguousarray(value, dtype=np.float32) for name, value in feeds.items()})[0])
