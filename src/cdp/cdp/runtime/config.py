"""How a bundle is run."""

from __future__ import annotations

from dataclasses import dataclass

from cdp.config import ConfigError, setting
from cdp.diffusion.sampler import SOLVERS

OPENVINO = "openvino"
ONNXRUNTIME = "onnxruntime"
TORCH = "torch"
#: Backends that run the bundle's ONNX files; they import no torch.
ONNX_BACKENDS = (OPENVINO, ONNXRUNTIME)
BACKENDS = (*ONNX_BACKENDS, TORCH)
PROVIDERS = ("cpu", "cuda", "tensorrt")
RANDOM, ZERO, WARM = "random", "zero", "warm"
INITIAL_NOISES = (RANDOM, ZERO, WARM)
PRECISIONS = ("fp32", "bf16", "auto")
HARD, ENSEMBLE, RTC = "hard", "ensemble", "rtc"
JOINS = (HARD, ENSEMBLE, RTC)
#: What can change while the policy runs; the rest is part of the loaded networks.
CHANGEABLE = ("steps", "solver", "seed", "initial_noise", "temperature", "warm_level")


@dataclass(frozen=True)
class RuntimeConfig:
    """Backend, sampler and noise of a running policy."""

    backend: str = setting(OPENVINO, choices=BACKENDS, help="openvino is the fastest on x86; onnxruntime runs everywhere; torch runs the weights")
    steps: int | None = setting(None, low=1, high=100, help="sampler steps; none: as the bundle was measured")
    solver: str | None = setting(None, choices=SOLVERS, help="solver of the sampler; none: as the bundle was measured")
    seed: int = setting(0, low=0, help="seed of the initial noise, drawn anew from it in every episode")
    threads: int = setting(1, low=1, high=64, help="threads of the networks; more than the cores that are free makes the slowest chunk slower")
    initial_noise: str = setting(RANDOM, choices=INITIAL_NOISES, help="random: normal; zero: its mean, always the same; warm: from the last chunk")
    temperature: float = setting(1.0, low=0.0, high=2.0, help="standard deviation of the random initial noise; 1: as the policy was trained")
    precision: str = setting("fp32", choices=PRECISIONS, help="bf16: OpenVINO on a CPU with AVX512_BF16 or AMX; auto: bf16 where the CPU has it")
    provider: str = setting("cpu", choices=PROVIDERS, help="device of onnxruntime: cpu, cuda or tensorrt")
    warm_level: float = setting(1.0, low=0.01, high=1.0, help="noise that a warm start begins from, as a part of the noise path; 1: all of it")

    def __post_init__(self) -> None:
        if self.precision == "bf16" and self.backend != OPENVINO:
            raise ConfigError(f"precision: 'bf16' needs the backend 'openvino', not {self.backend!r}")
        if self.provider != "cpu" and self.backend != ONNXRUNTIME:
            raise ConfigError(f"provider: {self.provider!r} needs the backend 'onnxruntime', not {self.backend!r}")


@dataclass(frozen=True)
class JoinConfig:
    """How a chunk continues the one before it; :mod:`cdp.runtime.joins`."""

    join: str = setting(HARD, choices=JOINS, help="hard: the new chunk as it is; ensemble: mean with earlier ones; rtc: drawn to agree with the last")
    delay_s: float | None = setting(None, low=0.0, high=2.0, help="rtc: from image to chunk [s], while which the last chunk goes on; none: measured")
    decay_per_s: float = setting(1.0, low=0.0, high=100.0, help="ensemble: a chunk older by 1 s has exp(-decay) of the weight; 0: a plain mean")
    products: int = setting(0, low=0, high=8, help="rtc: evaluations added to each step, for the free rows; 0 is the best for trained networks")
