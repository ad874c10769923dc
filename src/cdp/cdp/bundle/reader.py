"""A bundle, opened: every file present and unaltered, and fit for what the caller needs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cdp.bundle.errors import BundleError
from cdp.bundle.manifest import DENOISER, ENCODER, FILES, OPTIONAL_FILES, STATS, Manifest, PolicyDescription, load_manifest, sha256_of
from cdp.data.normalise import Stats, StatsError


@dataclass(frozen=True)
class Bundle:
    """A policy bundle whose files were verified when it was opened."""

    path: Path
    manifest: Manifest
    stats: Stats

    @classmethod
    def open(cls, folder: str | Path) -> Bundle:
        """Verify format, files and hashes of the bundle in ``folder`` and read its statistics.

        Raises :class:`BundleError` with one line that says what is wrong and what to do.
        """
        path = Path(folder)
        manifest = load_manifest(path)
        for name in (*FILES, *(name for name in OPTIONAL_FILES if name in manifest.files)):
            _verify(path / name, manifest.files.get(name))
        try:
            stats = Stats.load(path / STATS)
        except StatsError as error:
            raise BundleError(f"{error}; train the policy again") from None
        widths = (stats.action.width, stats.lowdim.width)
        needed = (manifest.policy.action_width, manifest.policy.observation.lowdim_width)
        if widths != needed:
            raise BundleError(f"{path / STATS}: statistics of {widths} action and low-dimensional numbers, not {needed}; train the policy again")
        return cls(path, manifest, stats)

    @property
    def name(self) -> str:
        """Name under which it was written."""
        return self.manifest.name

    @property
    def policy(self) -> PolicyDescription:
        """What the policy was trained for."""
        return self.manifest.policy

    @property
    def encoder_path(self) -> Path:
        """``encoder.onnx``."""
        return self.path / ENCODER

    @property
    def denoiser_path(self) -> Path:
        """``denoiser.onnx``."""
        return self.path / DENOISER

    def require(
        self,
        *,
        task: str | None = None,
        space: str | None = None,
        rate_hz: float | None = None,
        observation_keys: Iterable[str] | None = None,
    ) -> None:
        """Refuse a bundle that does not fit; ``None`` asks nothing. ``observation_keys`` are those that the caller can supply.

        Raises :class:`BundleError` naming what differs.
        """
        policy = self.policy
        if task is not None and policy.task != task:
            raise BundleError(f"bundle {self.name} was trained for task {policy.task!r}, not {task!r}; give a bundle of that task or change the task")
        if space is not None and policy.action_space != space:
            raise BundleError(f"bundle {self.name} acts in space {policy.action_space!r}, not {space!r}; give a bundle of that action space")
        if rate_hz is not None and abs(policy.observation.rate_hz - rate_hz) > 1e-6 * rate_hz:
            raise BundleError(f"bundle {self.name} runs at {policy.observation.rate_hz:g} Hz, not {rate_hz:g} Hz; give a bundle of that rate")
        if observation_keys is not None:
            supplied = set(observation_keys)
            missing = [key for key in (policy.observation.image_key, *policy.observation.lowdim_keys) if key not in supplied]
            if missing:
                raise BundleError(
                    f"bundle {self.name} needs observation {missing[0]!r}, which is not supplied; supplied: {', '.join(sorted(supplied))}"
                )


def _verify(path: Path, expected: str | None) -> None:
    if expected is None:
        raise BundleError(f"the manifest of {path.parent} does not list {path.name}; train the policy again")
    if not path.is_file():
        raise BundleError(f"{path} is missing; copy the bundle again, with all its files")
    if sha256_of(path) != expected:
        raise BundleError(f"{path} was altered after the bundle was written (its SHA-256 differs from the manifest's); copy the bundle again")
