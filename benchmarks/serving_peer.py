"""Times LeRobot's DiffusionPolicy, from an observation to a chunk: run by benchmarks/serving.py in LeRobot's own environment.

Random weights; two observations of one 96x96 camera and a state, chunks of 16 actions, as the policies that it is held against; the image is there
already, resized. Two sizes: LeRobot's default U-Net and one of a quarter of its width, each by DDIM with 10 steps; the small one also by DDPM with
100, LeRobot's default sampler. Few chunks of each, since they are slow: they carry a median. The last line of the output is JSON: times [ms] by name.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

import torch

from cdp.data.lerobot_operators import declare_operators

declare_operators()

from lerobot.configs.types import FeatureType, PolicyFeature  # noqa: E402 - torchvision must be importable first
from lerobot.policies.diffusion.configuration_diffusion import DiffusionConfig  # noqa: E402
from lerobot.policies.diffusion.modeling_diffusion import DiffusionPolicy  # noqa: E402

IMAGE, STATE, ACTION = "observation.image", "observation.state", "action"
VARIANTS = {
    "LeRobot U-Net 128-256-512, DDIM 10": ((128, 256, 512), "DDIM", 10, 1.0),
    "LeRobot U-Net 128-256-512, DDPM 100": ((128, 256, 512), "DDPM", 100, 0.2),
    "LeRobot U-Net 512-1024-2048, DDIM 10": ((512, 1024, 2048), "DDIM", 10, 0.2),
}


def policy_of(widths: tuple[int, ...], scheduler: str, steps: int) -> DiffusionPolicy:
    """A policy with random weights on the CPU."""
    torch.manual_seed(0)
    config = DiffusionConfig(
        device="cpu",
        n_obs_steps=2,
        horizon=16,
        n_action_steps=8,
        input_features={IMAGE: PolicyFeature(type=FeatureType.VISUAL, shape=(3, 96, 96)), STATE: PolicyFeature(type=FeatureType.STATE, shape=(9,))},
        output_features={ACTION: PolicyFeature(type=FeatureType.ACTION, shape=(10,))},
        crop_shape=None,
        pretrained_backbone_weights=None,
        down_dims=widths,
        noise_scheduler_type=scheduler,
        num_inference_steps=steps,
    )
    return DiffusionPolicy(config).eval()


def main() -> int:
    """Print the times."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--chunks", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    times: dict[str, list[float]] = {}
    for name, (widths, scheduler, steps, share) in VARIANTS.items():
        policy = policy_of(widths, scheduler, steps)
        batch = {"observation.images": torch.rand(1, 2, 1, 3, 96, 96), STATE: torch.rand(1, 2, 9)}
        times[name] = []
        with torch.inference_mode():
            policy.diffusion.generate_actions(batch)
            for _ in range(max(3, round(share * arguments.chunks))):
                begin = time.perf_counter()
                policy.diffusion.generate_actions(batch)
                times[name].append(1e3 * (time.perf_counter() - begin))
    sys.stdout.write(json.dumps(times) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
