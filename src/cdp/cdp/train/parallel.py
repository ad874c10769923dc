"""One training in many processes: each computes its share of every batch, and all of them hold the same weights.

The processes are started by ``accelerate launch`` or ``torchrun``; accelerate joins them and gives each its device. There is no
DistributedDataParallel: its hooks expect one forward and one backward pass a step and reduce a gradient as soon as a pass has filled it, while the
penalty has a backward pass of its own, calls the denoiser many times before it, and for some labels differentiates twice. Here both passes run as in
one process, and one flattened sum over the processes follows before clipping, so that whatever autograd can differentiate trains in parallel.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from cdp.config import ConfigError
from cdp.contraction.penalties import Penalised
from cdp.shares import Share
from cdp.train.resume import TrainingError

T = TypeVar("T")
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Ranks:
    """The processes of a training as one of them, number ``rank`` of ``size``, sees them. ``Ranks()`` trains alone: nothing is sent or changed.

    Every method is called by all processes, in the same order. Raises :class:`TrainingError` where another one has ended or stays silent for
    ``timeout_s``.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = _CPU
    timeout_s: float = 600.0

    @property
    def main(self) -> bool:
        """Whether this is the process that writes and shows."""
        return self.rank == 0

    def share(self, total: int) -> Share:
        """This process's part of ``total`` rows."""
        return Share.of(total, self.rank, self.size)

    def first(self, work: Callable[[], T]) -> T:
        """What ``work`` gives on the main process, on every one. Where it raises, the others raise a :class:`TrainingError` of the same message."""
        if self.size == 1:
            return work()
        if not self.main:
            result, failure = self._sent(None)
            if failure is not None:
                raise TrainingError(failure)
            return cast(T, result)
        try:
            done = work()
        except Exception as error:
            self._sent((None, str(error)))
            raise
        self._sent((done, None))
        return done

    def sum(self, value: float) -> float:
        """The sum of every process's number."""
        if self.size == 1:
            return value
        total = torch.tensor([value], dtype=torch.float64, device=self.device)
        self._add(total)
        return float(total)

    def any(self, flag: bool) -> bool:
        """Whether it is so on any process."""
        return flag if self.size == 1 else self.sum(float(flag)) > 0.0

    def whole(self, rows: Tensor, share: Share) -> Tensor:
        """The whole batch (N, ...) of which every process holds the ``rows`` of its ``share``; not differentiable."""
        if self.size == 1:
            return rows
        from accelerate.utils import gather

        shares = [Share.of(share.total, rank, self.size) for rank in range(self.size)]
        longest = max(map(len, shares))
        padded = rows.new_zeros(longest, *rows.shape[1:])
        padded[: len(rows)] = rows.detach()
        with self._together():
            parts = gather(padded).split(longest)
        return torch.cat([part[: len(other)] for part, other in zip(parts, shares, strict=True)])

    def whole_penalised(self, penalised: Penalised) -> Penalised:
        """The penalty of the whole batch, for figures and the weight's update: its loss cannot be differentiated."""
        if self.size == 1:
            return penalised
        loss = penalised.loss.new_tensor(self.sum(float(penalised.loss.detach()) * penalised.share.weight))
        measure, limit = (self.whole(rows, penalised.share) for rows in (penalised.measure, penalised.limit))
        return replace(penalised, loss=loss, measure=measure, limit=limit)

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace every gradient by its sum over the processes, in one message. All have gradients of the same parameters."""
        if self.size == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([g.reshape(-1) for g in gradients])
        self._add(flat)
        for gradient, summed in zip(gradients, torch.split(flat, [g.numel() for g in gradients]), strict=True):
            gradient.copy_(summed.view_as(gradient))

    def align(self, module: nn.Module) -> None:
        """Give every process the main one's weights: the same seed need not make the same weights on another machine."""
        if self.size == 1:
            return
        tensors = [t.detach() for t in module.state_dict().values()]
        with self._together():
            for tensor in tensors:
                torch.distributed.broadcast(tensor, src=0)

    def _add(self, tensor: Tensor) -> None:
        with self._together():
            torch.distributed.all_reduce(tensor)

    def _sent(self, outcome: tuple[Any, str | None] | None) -> tuple[Any, str | None]:
        from accelerate.utils import broadcast_object_list

        with self._together():
            received: tuple[Any, str | None] = broadcast_object_list([outcome])[0]
        return received

    @contextmanager
    def _together(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            reason = (str(error).splitlines() or [""])[0]
            raise TrainingError(
                f"process {self.rank} of {self.size}: another process of this training has ended, or was silent for {self.timeout_s:g} s ({reason}); "
                "its own message says why; the checkpoints are kept, go on with --resume"
            ) from error


@contextmanager
def joined(device: torch.device, timeout_s: float) -> Iterator[Ranks]:
    """The processes that were started for this training: found in the environment, as torchrun and accelerate set it, and left at the end.

    ``device`` names the kind; with CUDA each process has the GPU of its local rank. Raises :class:`ConfigError` for a launch that cannot work.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        _refuse_lost_processes()
        yield Ranks(device=device)
        return
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if device.type == "cuda" and here > torch.cuda.device_count():
        raise ConfigError(f"device: {here} processes were started here, for {torch.cuda.device_count()} GPUs; start one for each GPU")
    from accelerate import PartialState

    state = PartialState(cpu=device.type == "cpu", timeout=timedelta(seconds=timeout_s))
    yield Ranks(state.process_index, state.num_processes, state.device, timeout_s)
    # Not after an error: the others may be gone, and the process ends anyway.
    state.destroy_process_group()


def _refuse_lost_processes() -> None:
    asked_for_many = os.environ.get("ACCELERATE_USE_CPU", "").lower() == "true" and "MASTER_ADDR" in os.environ
    if asked_for_many and "WORLD_SIZE" not in os.environ:
        raise ConfigError(
            "`accelerate launch --cpu` starts one process, whatever --num_processes says; "
            "give it --multi_gpu instead (with --device cpu here), or use `torchrun --nproc_per_node N -m cdp train ...`"
        )
