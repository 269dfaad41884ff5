"""A recurrent layer step by step, so that the state after each step can be asked for its gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gatestack.inspect.opened import OpenLayer
from gatestack.nn import SequenceLayer
from gatestack.nn.merge import merged
from gatestack.nn.steps import Lengths, Mask, Steps

__all__ = ["Unrolled"]


class Unrolled(SequenceLayer):
    """Stands in the place of a layer, gives what it gives in eval mode, and keeps h after every step.

    Args:
        opened: whose equations and weights are computed.
        like: what stands in the place of this, where it is another layer; the final state has that form.

    Attributes:
        hidden: per direction, h (N, P), of images (N, F, *space), after each step in the order in which it
            reads; of the first call.
        real: per direction, (N, T), True at the steps that are real.
    """

    def __init__(self, opened: OpenLayer, like: OpenLayer | None = None) -> None:
        super().__init__()
        self.opened, self.layer = opened, opened.layer
        self.state_names = (like or opened).state_names
        self.return_sequences = self.layer.return_sequences
        self.hidden: list[list[Tensor]] = []
        self.real: list[Tensor] = []

    @property
    def input_size(self) -> int | None:
        """C, of the layer."""
        return self.layer.input_size

    @property
    def output_size(self) -> int | None:
        """Features of the output, of the layer."""
        return self.layer.output_size

    @property
    def looks_ahead(self) -> bool:
        """Whether the layer has a second direction."""
        return self.layer.looks_ahead

    def build(self, input_size: int) -> Unrolled:
        """Build the layer."""
        self.layer.build(input_size)
        return self

    def forward(
        self, x: Tensor, state: Any = None, *, lengths: Lengths | None = None, mask: Mask | None = None
    ) -> tuple[Tensor, Any]:
        """Run over x (N, T, C); arguments and results are those of the layer, without cell states."""
        opened, steps = self.opened, Steps.read(x, lengths, mask, "Unrolled")
        given = opened.start(x, self._accepted(state))
        read, first = steps.cleared(x), not self.hidden
        outputs, finals = [], []
        for number in range(opened.directions):
            here = steps if number == 0 else steps.reversed()
            ordered = read if number == 0 else steps.turned(read)
            real = here.real(x)
            if real is None:
                real = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
            start = tuple(part[number] for part in given)
            every, final = self._over(number, ordered, start, real)
            if first:
                self.hidden.append(every)
                self.real.append(real)
            shown = here.cleared(torch.stack(every, dim=1)) if every else start[0][:, None][:, :0]
            outputs.append(shown if number == 0 else here.turned(shown))
            finals.append(final)
        state = tuple(torch.stack(parts) for parts in zip(*finals, strict=True))
        parts = outputs if self.return_sequences else list(state[0])
        y = parts[0] if len(parts) == 1 else merged(parts[0], parts[1], opened.merge, dim=-1)
        return y, self._formed(state)

    def _over(
        self, number: int, x: Tensor, state: tuple[Tensor, ...], real: Tensor
    ) -> tuple[list[Tensor], tuple[Tensor, ...]]:
        every = []
        # All steps are taken apart at once: the gradient of x[:, t] would be as large as x, for each t.
        for step, here in zip(x.unbind(1), real.unbind(1), strict=True):
            _, new = self.opened.step(number, step, state)
            now = here.view(-1, *(1,) * (state[0].dim() - 1))
            state = tuple(torch.where(now, a, b) for a, b in zip(new, state, strict=True))
            every.append(state[0])
        return every, state

    def _accepted(self, state: Any) -> Any:
        """Take a state in the form of the layer in whose place this stands."""
        if isinstance(state, tuple | list) and len(self.opened.state_names) == 1:
            return state[0]
        return state

    def _formed(self, state: tuple[Tensor, ...]) -> Any:
        if len(self.state_names) == 1:
            return state[0]
        return state if len(state) == 2 else (state[0], torch.zeros_like(state[0]))
