"""How a bundle is run."""

from __future__ import annotations

from dataclasses import dataclass

from cdp.config import ConfigError, setting
from cdp.diffusion.sampler import SOLVERS

OPENVINO = "openvino"
ONNXRUNTIME = "onnxruntime"
BACKENDS = (OPENVINO, ONNXRUNTIME)
INITIAL_NOISES = ("random", "zero")
PRECISIONS = ("fp32", "bf16")


@dataclass(frozen=True)
class RuntimeConfig:
    """Backend, sampler and noise of a running policy."""

    backend: str = setting(OPENVINO, choices=BACKENDS, help="openvino is the fastest on x86; onnxruntime runs everywhere")
    steps: int | None = setting(None, low=1, high=100, help="sampler steps; none: as the bundle was measured")
    solver: str | None = setting(None, choices=SOLVERS, help="solver of the sampler; none: as the bundle was measured")
    seed: int = setting(0, low=0, help="seed of the initial noise, drawn anew from it in every episode")
    threads: int = setting(1, low=1, high=64, help="threads of the networks; more than the cores that are free makes the slowest chunk slower")
    initial_noise: str = setting("random", choices=INITIAL_NOISES, help="random: standard normal; zero: always the same chunk for one observation")
    temperature: float = setting(1.0, low=0.0, high=2.0, help="standard deviation of the random initial noise; 1: as the policy was trained")
    precision: str = setting("fp32", choices=PRECISIONS, help="bf16: OpenVINO on a CPU with AVX512_BF16 or AMX; coarser than the measured policy")

    def __post_init__(self) -> None:
        if self.precision == "bf16" and self.backend != OPENVINO:
            raise ConfigError(f"precision: 'bf16' needs the backend 'openvino', not {self.backend!r}")
