"""Everything a training depends on, typed and checked; written into the bundle complete."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from cdp.config import ConfigError, setting
from cdp.contraction.config import ContractionConfig
from cdp.data.spec import ObservationSpec
from cdp.diffusion.paths import PathConfig
from cdp.diffusion.sampler import SOLVERS
from cdp.diffusion.schedule import Schedule
from cdp.networks.config import NetworkConfig
from cdp.train.paths import check_path


@dataclass(frozen=True)
class OptimiserConfig:
    """AdamW with linear warm-up and cosine decay, gradient clipping, and an exponential moving average of the weights."""

    learning_rate: float = setting(5e-4, low=1e-8, high=1.0, help="peak learning rate")
    final_fraction: float = setting(0.02, low=0.0, high=1.0, help="learning rate at the last step, as a fraction of the peak")
    warmup_steps: int = setting(200, low=0, high=1_000_000, help="steps of linear warm-up")
    weight_decay: float = setting(1e-4, low=0.0, high=1.0, help="decoupled weight decay")
    clip_norm: float = setting(1.0, low=1e-6, high=1e6, help="largest norm of the gradient")
    ema_decay: float = setting(
        0.995, low=0.0, high=0.99999, help="decay of the moving average, reached gradually: (1 + n) / (10 + n) at step n if less"
    )


@dataclass(frozen=True)
class SamplerConfig:
    """The sampler of the deployed policy; validation and the report use it too."""

    steps: int = setting(3, low=1, high=200, help="denoiser evaluations an action")
    solver: str = setting("ddim", choices=SOLVERS, help="solver of the probability-flow ODE")


@dataclass(frozen=True)
class TrainConfig:
    """One training run, from a demonstration file to a policy bundle."""

    dataset: Path
    """Collected demonstrations (HDF5)."""
    output: Path
    """Folder of the bundle; its last part is the bundle's name."""
    task: str = setting(help="task that the demonstrations show")
    run_dir: Path | None = None
    """Folder of checkpoints and TensorBoard logs; beside the bundle, ``<output>.run``, where it is not given."""
    initial: Path | None = None
    """Bundle whose weights, and ranges of the data, the training starts from; random weights where it is not given."""
    freeze_encoder: bool = setting(False, help="take only the encoder from initial, leave it as it is, and train a new denoiser on it")
    encoder_draws: int = setting(
        0,
        low=0,
        high=256,
        help="freeze_encoder: augmented conditions of each window, computed once and kept with the run; 0: at each step anew",
    )
    seed: int = setting(0, low=0, high=2**31 - 1, help="fixes the initial weights, the order of the data and every noise")
    device: str = setting("auto", choices=("auto", "cpu", "cuda"), help="where to train; auto takes CUDA where there is one")
    threads: int = setting(0, low=0, high=256, help="CPU threads of torch; 0 leaves torch's own choice")
    horizon: int = setting(16, low=1, high=256, help="T, rows of an action chunk")
    steps: int = setting(10_000, low=1, high=100_000_000, help="training steps")
    batch_size: int = setting(32, low=1, high=65_536, help="observations a step")
    precision: str = setting("fp32", choices=("fp32", "bf16"), help="of the networks in the diffusion loss; weights, loss and penalty are fp32")
    compile: bool = setting(False, help="run the two networks of the diffusion loss through torch.compile, where there is a compiler")
    process_timeout_s: float = setting(600.0, low=1.0, high=86_400.0, help="[s] how long one of many processes waits for the others")
    noise_samples: int = setting(1, low=1, high=64, help="noise draws for each encoded observation: cheap where the encoder is the cost")
    weighting: str = setting("uniform", choices=("uniform", "min_snr"), help="weight of the error over time: 1, or the clipped SNR in x0")
    lowdim_noise: float = setting(0.0, low=0.0, high=0.5, help="standard deviation of the noise on normalised states in training")
    log_every: int = setting(20, low=1, high=1_000_000, help="training steps from one logged point to the next")
    validate_every: int = setting(1000, low=1, high=100_000_000, help="training steps from one validation to the next")
    validate_windows: int = setting(128, low=1, high=100_000, help="windows of the validation split that are looked at")
    checkpoint_every: int = setting(500, low=1, high=100_000_000, help="training steps from one checkpoint to the next")
    report_windows: int = setting(16, low=1, high=10_000, help="observations of the contraction report")
    report_seeds: int = setting(16, low=2, high=10_000, help="noise seeds an observation in the contraction report")
    monitor_windows: int = setting(
        5000, low=0, high=10_000_000, help="training windows, evenly spread, that the bundle's monitor compares live observations with; 0: no monitor"
    )
    observation: ObservationSpec = field(default_factory=ObservationSpec)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    diffusion: PathConfig = field(default_factory=Schedule)
    sampler: SamplerConfig = field(default_factory=SamplerConfig)
    contraction: ContractionConfig = field(default_factory=ContractionConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)

    def __post_init__(self) -> None:
        if self.output.name in ("", ".."):
            raise ConfigError(f"output: {str(self.output)!r} has no last part that could name the bundle")
        if self.network.encoder.kind == "vision" and self.network.encoder.crop_size > self.observation.image_size:
            raise ConfigError(
                f"network.encoder.crop_size: {self.network.encoder.crop_size} exceeds the image of {self.observation.image_size} pixels"
            )
        if self.freeze_encoder and self.initial is None:
            raise ConfigError("freeze_encoder: true needs initial, the bundle whose encoder is kept: a random one would never learn to see")
        if self.encoder_draws and not self.freeze_encoder:
            raise ConfigError(f"encoder_draws: {self.encoder_draws} needs freeze_encoder: what an encoder in training says does not keep")
        denoiser = self.network.denoiser
        check_path(self.diffusion, denoiser.prediction, self.contraction.label)
        if denoiser.kind == "unet" and self.horizon % 2 ** (denoiser.depth - 1):
            raise ConfigError(f"horizon: {self.horizon} cannot be halved {denoiser.depth - 1} times, as the unet's depth asks")

    @property
    def run_folder(self) -> Path:
        """Folder of checkpoints and logs."""
        return self.run_dir if self.run_dir is not None else self.output.with_name(f"{self.output.name}.run")
