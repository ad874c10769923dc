"""The rows of a batch that one of several processes computes, and the random draws that belong to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Share:
    """Rows ``first`` up to but not including ``last`` of a batch of ``total`` rows."""

    first: int
    last: int
    total: int

    @classmethod
    def of(cls, total: int, rank: int, size: int) -> Share:
        """The share of process ``rank`` (from 0) of ``size``: consecutive rows, equal in number but for one row at most."""
        return cls(total * rank // size, total * (rank + 1) // size, total)

    def __len__(self) -> int:
        return self.last - self.first

    @property
    def rows(self) -> slice:
        """The rows, as an index into the whole batch."""
        return slice(self.first, self.last)

    @property
    def weight(self) -> float:
        """Part of the whole batch's mean that the mean over these rows is."""
        return len(self) / self.total


ALL = Share(0, 1, 1)
"""The share of a process alone, whatever there is to share."""


class SharedGenerator(torch.Generator):
    """A generator on the CPU whose :func:`draw` gives the rows of a share what one process would have drawn for them as part of the whole batch.

    Every process seeds it alike and draws for the whole batch, so that neither the numbers nor the order of draws depend on how many there are.
    A tensor of a multiple of the share's rows stands for that many repeats of each row (``repeat_interleave``).
    """

    share: Share

    def __new__(cls, share: Share, start: torch.Generator) -> SharedGenerator:
        """At the state of ``start``, which is left as it is."""
        made: SharedGenerator = super().__new__(cls)
        made.share = share
        made.set_state(start.get_state())
        return made


def draw(kind: Callable[..., Tensor], shape: Sequence[int], generator: torch.Generator, dtype: torch.dtype | None = None) -> Tensor:
    """``kind``, torch.rand or torch.randn, of ``shape`` (N, ...) on the CPU: of a :class:`SharedGenerator` the share's rows, else what comes next."""
    if not isinstance(generator, SharedGenerator):
        return kind(tuple(shape), generator=generator, dtype=dtype)
    share, (count, *rest) = generator.share, shape
    repeats, left = divmod(count, len(share))
    if left:
        raise ValueError(f"{count} rows are no multiple of the {len(share)} of this process")
    return kind((repeats * share.total, *rest), generator=generator, dtype=dtype)[repeats * share.first : repeats * share.last]


def like(generator: torch.Generator, fresh: torch.Generator) -> torch.Generator:
    """``fresh``, for the same share as ``generator`` where that has one."""
    return SharedGenerator(generator.share, fresh) if isinstance(generator, SharedGenerator) else fresh
