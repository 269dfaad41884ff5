"""The real steps of a padded batch, one behind the other: what is computed, and nothing else.

A step that is not real leaves the state as it was and gives zero, so the real steps of a row are a shorter
sequence of their own. Rows stand in the order of their lengths, longest first; first come all first steps,
then all second ones, as in torch's PackedSequence:

    x   a b c .        rows    a e | b f | c          sizes  2 2 1
        e . f .
        . . . .                                       the third row keeps its initial state
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["RealRows"]


@dataclass(frozen=True, eq=False)
class RealRows:
    """Where the S real steps of a batch (N, T) stand.

    "Behind the initial states" means: counted in a tensor of the N initial states, longest row first, and the
    S states after each real step.

    Args:
        batch: N.
        steps: T.
        sizes: how many rows have a first step, a second one, and so on.
        order: (N,) rows of the batch, longest first; None where they stand as they are.
        places: (S,) where in the batch, flattened to (N·T,), each step stands; None where every step is real.
        previous: (S,) the state before each step, behind the initial states; None where every step is real.
        last: (N,) the state after each row's last step, likewise.
    """

    batch: int
    steps: int
    sizes: tuple[int, ...]
    order: Tensor | None = None
    places: Tensor | None = None
    previous: Tensor | None = None
    last: Tensor | None = None

    @classmethod
    def of(cls, x: Tensor, lengths: Tensor | None, mask: Tensor | None) -> RealRows:
        """Read the real steps of x (N, T, …) from lengths (N,) or mask (N, T); all of them without both."""
        N, T = x.shape[:2]
        whole = cls(N, T, (N,) * T if N else ())
        if mask is not None:
            lengths = mask.sum(dim=1)
        if lengths is None or N * T == 0:
            return whole
        lengths = lengths.to(x.device)
        if bool((lengths == T).all()):
            return whole
        ordered, order = lengths.sort(descending=True, stable=True)
        j = torch.arange(T, device=x.device)
        real = ordered > j[:, None]  # -> (T, N)
        step, rank = real.nonzero(as_tuple=True)  # -> (S,) each
        counts = real.sum(dim=1)
        row = order[rank]
        # Which step of a row is its first real one, its second: the real ones sorted to the front.
        at = step if mask is None else (~mask).to(torch.uint8).sort(dim=1, stable=True)[1][row, step]
        before = N + counts.cumsum(0) - counts  # where the states after all j-th steps begin
        return cls(
            N,
            T,
            tuple(count for count in counts.tolist() if count),
            order,
            row * T + at,
            torch.where(step == 0, rank, before[step - 1] + rank),
            torch.where(ordered == 0, 0, before[(ordered - 1).clamp(min=0)])
            + torch.arange(N, device=x.device),
        )

    def taken(self, x: Tensor) -> Tensor:
        """Take the real steps out of x (N, T, C, *space) -> (S, C, *space), channels next to each other."""
        if self.places is None:
            by_step = x.transpose(0, 1).flatten(0, 1)
        else:
            by_step = x.flatten(0, 1).index_select(0, self.places)
        by_position = by_step.movedim(1, -1).contiguous()
        # Axes of size 1 may have kept strides by which a convolution takes channels to come first.
        return by_position.flatten().view(by_position.shape).movedim(-1, 1)

    def put_back(self, y: Tensor) -> Tensor:
        """Put y (S, F, *space) where its steps stand, zeros elsewhere -> (N, T, F, *space)."""
        if self.places is None:
            by_position = y.movedim(1, -1)
            # Channels stay last, also for the gradient on its way back.
            by_step = by_position.reshape(self.steps, self.batch, *by_position.shape[1:])
            return by_step.transpose(0, 1).movedim(-1, 2)
        by_position = y.movedim(1, -1)
        flat = y.new_zeros((self.batch * self.steps, *by_position.shape[1:]))
        flat = flat.index_copy(0, self.places, by_position).movedim(-1, 1)
        return flat.view(self.batch, self.steps, *y.shape[1:])

    def sorted(self, state: Tensor) -> Tensor:
        """Give states (N, …) longest row first."""
        return state if self.order is None else state.index_select(0, self.order)

    def unsorted(self, state: Tensor) -> Tensor:
        """Give states (N, …) in the order of the batch."""
        return state if self.order is None else state.index_select(0, self.order.argsort())
