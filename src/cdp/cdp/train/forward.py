"""The two networks as a training step runs them: in the configured precision, compiled where that is asked for and works."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch._dynamo.exc import TorchDynamoException

from cdp.networks.policy import VisionPolicy


class Forward:
    """Encoder and denoiser of ``policy`` for the diffusion loss. Inputs, results, weights and gradients are float32 whatever the precision is.

    ``bf16`` runs matrix products and convolutions in bfloat16 (autocast). The penalty does not go through here: its central differences would drown
    in bfloat16's rounding, 2^-8 of a value, and torch.compile cannot be differentiated twice.
    """

    def __init__(self, policy: VisionPolicy, device: torch.device, precision: str, compiled: bool) -> None:
        self._encode: Callable[..., Tensor] = Compiled(policy.encoder) if compiled else policy.encode
        self._denoise: Callable[..., Tensor] = Compiled(policy.denoiser) if compiled else policy.denoise
        self._device, self._precision = device, precision

    def encode(self, image: Tensor, lowdim: Tensor) -> Tensor:
        """As :meth:`VisionPolicy.encode`."""
        with self._cast():
            return self._encode(image, lowdim).float()

    def denoise(self, x: Tensor, t: Tensor, cond: Tensor) -> Tensor:
        """As :meth:`VisionPolicy.denoise`."""
        with self._cast():
            return self._denoise(x, t, cond).float()

    def _cast(self) -> AbstractContextManager[object]:
        return torch.autocast(self._device.type, torch.bfloat16) if self._precision == "bf16" else nullcontext()


class Compiled:
    """A module through torch.compile, or as it is where its first call shows that this machine cannot compile it."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._call: Callable[..., Tensor] = torch.compile(module)
        self._tried = False

    def __call__(self, *inputs: Tensor) -> Tensor:
        """The module's result for ``inputs``."""
        if self._tried:
            return self._call(*inputs)
        self._tried = True
        try:
            return self._call(*inputs)
        except TorchDynamoException as error:
            reason = (str(error).splitlines() or [""])[0]
            warnings.warn(
                f"compile: {type(self._module).__name__} cannot be compiled here ({reason}); training goes on without. "
                "On a CPU torch.compile needs a C++ compiler, e.g. g++, or the one that CXX names",
                stacklevel=2,
            )
            self._call = self._module
            return self._module(*inputs)  # type: ignore[no-any-return]


def deterministic_kernels(device: torch.device) -> None:
    """Ask CUDA for kernels that give the same result each time; call it before the first of them. A CPU's are the same at one thread count.

    An operation that has no such kernel warns and goes on.
    """
    if device.type != "cuda":
        return
    # Read by cuBLAS when it starts.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(True, warn_only=True)
    # A guard against reading unwritten memory: it costs a pass over every new tensor and changes no result here.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
