"""A module of torch applied to each step."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from gatestack.errors import ArgumentError, check_whole
from gatestack.nn.checks import kind
from gatestack.nn.layer import SequenceLayer
from gatestack.nn.steps import Lengths, Mask, Steps

__all__ = ["PerStep"]


class _Seen(NamedTuple):
    """What the last call was about: shapes of a step, before and after the module."""

    before: list[int]
    after: list[int]
    dtype: torch.dtype


class PerStep(SequenceLayer):
    r"""Apply a module of torch to every step on its own.

    With g the module, m_t = 1 where a step is real and 0 elsewhere:

        y_t = m_t · g(x_t)

    The steps of all rows are one batch for the module, (steps, …); those that are not real are left out of
    it, so that they do not enter a batch normalisation, and may hold NaN. It carries no state: its state is
    ().

    Args:
        module: any module that reads and gives one tensor whose first axis is the batch.

    Attributes:
        module: what was given.

    Raises:
        ArgumentError: something else than a module, or a layer over time; at a call, an x without time, a
            state other than (), a module that does not give one output for each step.

    Note:
        `output_size` is known from the first output on. In a `Stack`, a layer above is built then, or takes
        its input size in the constructor.

    Example:
        >>> import torch
        >>> from gatestack.nn import LSTM, Stack
        >>> images = torch.zeros(2, 5, 3, 4, 4)
        >>> stack = Stack(PerStep(torch.nn.Flatten()), LSTM(8, return_sequences=False))
        >>> stack(images, lengths=[5, 2])[0].shape
        torch.Size([2, 8])
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        if not isinstance(module, nn.Module) or isinstance(module, SequenceLayer):
            raise ArgumentError(
                f"module is a {type(module).__name__}",
                where="PerStep",
                expected="a module of torch that reads one step, (batch, …)",
                hint="a layer over time needs no PerStep" if isinstance(module, SequenceLayer) else None,
            )
        self.module = module
        self._input_size: int | None = None
        self._seen: _Seen | None = None

    @property
    def input_size(self) -> int | None:
        """Features (channels) of the input; None until `build` or the first call."""
        return self._input_size

    @property
    def output_size(self) -> int | None:
        """Features (channels) of the output; None until the first call."""
        return self._seen.after[0] if self._seen is not None and self._seen.after else None

    def build(self, input_size: int) -> PerStep:
        """Note the size of the input; the parameters are the module's own.

        Returns:
            The layer itself.
        """
        self._input_size = check_whole("input_size", input_size, owner="PerStep")
        return self

    def start(self, x: Tensor) -> tuple[()]:  # noqa: ARG002 (as every layer takes it)
        """Give the state, which is always ()."""
        return ()

    def forward(
        self,
        x: Tensor,
        state: tuple[()] | None = None,
        *,
        lengths: Lengths | None = None,
        mask: Mask | None = None,
    ) -> tuple[Tensor, tuple[()]]:
        """Apply the module to every step of a batch.

        Args:
            x: (N, T, …).
            state: () or None.
            lengths: (N,) whole numbers from 0 to T, the real steps of each row; None means all.
            mask: (N, T) bool, True where a step is real; instead of lengths.

        Returns:
            output (N, T, …), zero at steps that are not real, and the state ().

        Raises:
            ArgumentError: what does not fit.
        """
        self.check_input(x, "PerStep")
        if state is not None and state != ():
            raise ArgumentError(f"state is {kind(state)}", where="PerStep", expected="None or ()")
        real = Steps.read(x, lengths, mask, "PerStep").real(x)
        batch, time, *before = x.shape
        each = x.reshape(batch * time, *before) if real is None else x[real]  # -> (steps, …)
        if len(each) == 0 and self._seen is not None and self._seen.before == before:
            # A module need not be able to read nothing: a batch normalisation in training is not.
            return x.new_zeros(batch, time, *self._seen.after, dtype=self._seen.dtype), ()
        y = self.module(each)
        if not isinstance(y, Tensor) or y.dim() == 0 or len(y) != len(each):
            given = f"shape {tuple(y.shape)}" if isinstance(y, Tensor) else kind(y)
            raise ArgumentError(
                f"{type(self.module).__name__} gave {given} for {len(each)} steps",
                where="PerStep",
                expected=f"a tensor of shape ({len(each)}, …)",
            )
        self._seen = _Seen(before, list(y.shape[1:]), y.dtype)
        if before:
            self._input_size = before[0]
        if real is None:
            return y.reshape(batch, time, *y.shape[1:]), ()
        return y.new_zeros(batch, time, *y.shape[1:]).index_put((real,), y), ()
