"""What layers over time share: direction, what a masked step gives, states in and out, kept states.

Keras, torch and ONNX agree on the equations of a cell and differ in all of this.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from gatestack.convert.layers.base import Flag, LayerOptions, NetworkLayer, Signal
from gatestack.nn import SequenceLayer, VariationalDropout

__all__ = ["OverTime", "OverTimeOptions", "Share", "final_output", "hold_last"]

Share = Annotated[float, Field(ge=0, lt=1)]


class OverTimeOptions(LayerOptions):
    """Options of every layer over time.

    Args:
        return_sequences: give every step (default); otherwise the output of the last one.
        return_state: also give the final state, each of its tensors a signal of its own. Default False.
        reversed: read each row from the end of the batch to its start (Keras' go_backwards). Default False.
        reversed_output: the order of the steps that a reversed layer gives: "processing" (default; the last
            step of the input comes first, as in Keras), or "time" (as in ONNX).
        masked_output: what a step that is not real gives: "zero" (default), or "hold", the output of the real
            step before it, and zero where there is none (as in Keras). Without `return_sequences`, "hold"
            gives zero for a row without a real step, and "zero" its initial state; "zero_last" gives zero
            where the step that is processed last is not real (Keras' zero_output_for_mask), and is "zero"
            with `return_sequences`. It knows masks, and no lengths.
        stateful: start from the state at which the last call ended. Default False.
        takes_lengths: the second signal is the real steps of each row, (N,) whole numbers. Default False.
        takes_state: the last signals are the state to start from. Default False.
        input_dropout: probability with which a feature of x is dropped, in training, the same at all steps.
        recurrent_dropout: the same for the state h.
    """

    return_sequences: Flag = True
    return_state: Flag = False
    reversed: Flag = False
    reversed_output: Literal["processing", "time"] = "processing"
    masked_output: Literal["zero", "hold", "zero_last"] = "zero"
    stateful: Flag = False
    takes_lengths: Flag = False
    takes_state: Flag = False
    input_dropout: Share = 0.0
    recurrent_dropout: Share = 0.0

    @model_validator(mode="after")
    def _knows_the_last_step(self) -> Self:
        if self.masked_output == "zero_last" and self.takes_lengths:
            raise ValueError("masks, and no lengths, where masked_output is 'zero_last'")
        return self


class OverTime(NetworkLayer):
    """Base of layers over time: around a layer of `gatestack.nn`, what other libraries mean by its call.

    Signals in: x (N, T, …); with `takes_lengths`, lengths (N,); with `takes_state`, each tensor of the state,
    batch first. Out: y (N, T, …) or (N, …); with `return_state`, each tensor of the state.

    The mask that passes is that of x, as it is, where the output has steps: also for a reversed layer, as in
    Keras.

    Attributes:
        core: the layer of `gatestack.nn`, with the weights in its layout.
        kept: the state after the last call of a stateful layer, or None.
    """

    state_count: int  # tensors of state: h, or h and c

    def __init__(self, options: OverTimeOptions, core: SequenceLayer) -> None:
        super().__init__(options)
        self.core = core
        self.input_dropout = VariationalDropout(options.input_dropout)
        self.kept: tuple[Tensor, ...] | None = None
        core.return_sequences = options.return_sequences

    @property
    def inputs(self) -> range:
        """x, and what options ask for; a layer that takes states may be called without them."""
        least = 1 + self.options.takes_lengths
        return range(least, least + 1 + self.state_count * self.options.takes_state)

    @property
    def outputs(self) -> int:
        """y, and the state where options ask for it."""
        return 1 + self.state_count if self.options.return_state else 1

    def reset_state(self) -> None:
        """Forget the kept state: the next call starts from zeros."""
        self.kept = None

    def run(self, signals: Sequence[Signal]) -> tuple[Signal, ...]:
        """Run over x; see the class for the signals."""
        x, mask = signals[0]
        lengths, given = self._taken(signals)
        y, state = self.run_core(x, mask, lengths, given)
        states = [Signal(part) for part in state] if self.options.return_state else []
        return (Signal(y, mask if self.options.return_sequences else None), *states)

    def _taken(self, signals: Sequence[Signal]) -> tuple[Tensor | None, tuple[Tensor, ...] | None]:
        """Tell lengths and state among the signals after x."""
        mask, rest = signals[0].mask, [signal.value for signal in signals[1:]]
        lengths = rest.pop(0) if self.options.takes_lengths else None
        if lengths is not None and mask is not None:
            raise self.refuse("x has a mask, and lengths are given", "one of them")
        if len(rest) not in (0, self.state_count):
            raise self.refuse(f"{len(rest)} tensors of state", f"{self.state_count}, or none")
        return lengths, tuple(rest) or None

    def run_core(
        self, x: Tensor, mask: Tensor | None, lengths: Tensor | None, given: tuple[Tensor, ...] | None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Compute the layer -> y, and the state, batch first.

        Args:
            x: (N, T, …).
            mask: (N, T), or None.
            lengths: (N,), or None.
            given: the state to start from, batch first; None for the kept one, or zeros.
        """
        options = self.options
        x = self.into(x)
        if options.input_dropout and self.training:
            x = self.input_dropout(x.flatten(2)).view_as(x)
        if options.reversed:
            x = x.flip(1)
            if lengths is not None:  # what fills up a row comes first now
                mask = torch.arange(x.shape[1], device=x.device) < lengths.to(x.device)[:, None]
                lengths = None
            mask = None if mask is None else mask.flip(1)
        started = self._start(x, given)
        y, ended = self.core(x, started, lengths=lengths, mask=mask)
        state = (ended,) if isinstance(ended, Tensor) else tuple(ended)
        if options.stateful:
            # A copy: the caller may change what is returned.
            self.kept = tuple(part.detach().clone() for part in state)
        if mask is not None and options.return_sequences:
            y = hold_last(y, mask) if options.masked_output == "hold" else y
        elif mask is not None:
            y = final_output(y, mask, options.masked_output)
        if options.return_sequences and options.reversed and options.reversed_output == "time":
            y = y.flip(1)
        return self.out_of(y, options.return_sequences), tuple(self.out_of(s[0], False) for s in state)

    def into(self, x: Tensor) -> Tensor:
        """Bring x to the axes of the core."""
        return x

    def out_of(self, y: Tensor, sequences: bool) -> Tensor:  # noqa: ARG002 (images need it)
        """Bring an output, (N, T, …) or (N, …), from the axes of the core."""
        return y

    def state_into(self, state: Tensor) -> Tensor:
        """Bring a tensor of state, batch first, to the axes of the core -> (1, N, …)."""
        return state[None]

    def _start(self, x: Tensor, given: tuple[Tensor, ...] | None) -> Any:
        parts = self.kept if self.options.stateful and given is None else None
        if parts is not None and parts[0].shape[1] != x.shape[0]:
            raise self.refuse(
                f"x has {x.shape[0]} rows, the state kept from the last call has {parts[0].shape[1]}",
                "the same rows in every call, or reset_state() between",
            )
        if given is not None:
            parts = tuple(self.state_into(part) for part in given)
        if parts is None:
            return None
        return parts if self.state_count > 1 else parts[0]


def hold_last(y: Tensor, mask: Tensor) -> Tensor:
    """Repeat the output of the last real step where a step is not real; zero before the first real one.

    Args:
        y: (N, T, …).
        mask: (N, T) bool.

    Example:
        >>> y = torch.tensor([[[0.0], [5.0], [0.0], [7.0]]])
        >>> hold_last(y, torch.tensor([[False, True, False, True]])).flatten().tolist()
        [0.0, 5.0, 5.0, 7.0]
    """
    if y.shape[1] == 0:
        return y
    steps = torch.arange(1, y.shape[1] + 1, device=y.device)
    last = (mask * steps).cummax(dim=1).values  # 1 + the number of the last real step; 0 for none
    ones = (1,) * (y.dim() - 2)
    place = (last - 1).clamp(min=0).view(*last.shape, *ones).expand_as(y)
    return y.gather(1, place).masked_fill((last == 0).view(*last.shape, *ones), 0.0)


def final_output(y: Tensor, mask: Tensor, masked_output: str) -> Tensor:
    """Give zero for the rows for which `masked_output` wants it, and y elsewhere.

    Args:
        y: (N, …), the output of each row's last real step.
        mask: (N, T) bool, in the order of processing.
        masked_output: see `OverTimeOptions`.

    Example:
        >>> mask = torch.tensor([[False, True], [True, False], [False, False]])
        >>> [final_output(torch.ones(3), mask, one).tolist() for one in ("zero", "hold", "zero_last")]
        [[1.0, 1.0, 1.0], [1.0, 1.0, 0.0], [1.0, 0.0, 0.0]]
    """
    if masked_output == "zero":
        return y
    kept = (mask if masked_output == "hold" else mask[:, -1:]).any(dim=1)
    return y.masked_fill(~kept.view(-1, *(1,) * (y.dim() - 1)), 0.0)
