"""Two recurrent or convolutional LSTM layers over the same input, one from each end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

from pydantic import model_validator
from torch import Tensor

from gatestack.convert.layers.base import LayerOptions, NetworkLayer, Signal
from gatestack.convert.layers.conv_lstm import ConvLSTMLayer, ConvLSTMOptions
from gatestack.convert.layers.recurrent import RecurrentLayer, RecurrentOptions
from gatestack.convert.layers.sequence import final_output
from gatestack.kernels.spec import StackSpec
from gatestack.nn.bidirectional import run_pair
from gatestack.nn.checks import check_input
from gatestack.nn.layer import LayerState
from gatestack.nn.merge import merged
from gatestack.nn.recurrent import Recurrent
from gatestack.nn.runs import has_hooks
from gatestack.nn.steps import Steps

__all__ = ["BidirectionalLayer", "BidirectionalOptions", "directions"]

_SHARED = ("return_sequences", "return_state", "stateful", "takes_lengths", "takes_state")


Parts: TypeAlias = tuple[Tensor, ...] | None


class BidirectionalOptions(LayerOptions):
    """Options of `BidirectionalLayer`.

    Args:
        forward: of the layer that reads from the start, recurrent or a convolutional LSTM; not reversed.
        backward: of the layer that reads from the end, of the same kind; reversed. Both take the same input,
            and give and take the same kinds of signals.
        merge: how the outputs become one: "concat" (default; along the last axis), "sum", "mul", "average",
            or "none" for two.
    """

    forward: RecurrentOptions | ConvLSTMOptions
    backward: RecurrentOptions | ConvLSTMOptions
    merge: Literal["concat", "sum", "mul", "average", "none"] = "concat"

    @model_validator(mode="after")
    def _fit_together(self) -> BidirectionalOptions:
        if self.forward.reversed or not self.backward.reversed:
            raise ValueError("a forward layer that is not reversed, and a backward layer that is")
        if _taken(self.forward) != _taken(self.backward):
            raise ValueError("layers of the same kind and input in both directions")
        for name in _SHARED:
            if getattr(self.forward, name) != getattr(self.backward, name):
                raise ValueError(f"the same {name} in both directions")
        return self


def _taken(options: RecurrentOptions | ConvLSTMOptions) -> tuple[object, ...]:
    """Tell what a direction takes for x."""
    if isinstance(options, RecurrentOptions):
        return ("recurrent", options.input_size)
    return ("conv_lstm", len(options.kernel_size), options.input_channels, options.channels_last)


class BidirectionalLayer(NetworkLayer):
    """Two layers over the same input, one from each end, their outputs merged.

    Signals in: x (N, T, C); with `takes_lengths`, lengths (N,); with `takes_state`, the state of the forward
    layer, then that of the backward layer. Out: y (N, T, ·) in the order of time, or (N, ·) with the last
    output of each; two of them with merge="none"; with `return_state`, both states in the same order.

    Args:
        options: see `BidirectionalOptions`.

    Attributes:
        forward_layer: the `RecurrentLayer` or `ConvLSTMLayer` that reads from the start.
        backward_layer: the one that reads from the end.

    Example:
        >>> import torch
        >>> one = RecurrentOptions(cell="gru", input_size=3, hidden_size=4)
        >>> options = BidirectionalOptions(forward=one, backward=one.model_copy(update={"reversed": True}))
        >>> BidirectionalLayer(options).run([Signal(torch.zeros(2, 5, 3))])[0].value.shape
        torch.Size([2, 5, 8])
    """

    kind = "bidirectional"
    Options = BidirectionalOptions

    def __init__(self, options: BidirectionalOptions) -> None:
        super().__init__(options)
        # A RecurrentLayer or a ConvLSTMLayer each; whoever looks inside knows by the options which.
        self.forward_layer: Any = _made(options.forward)
        self.backward_layer: Any = _made(options.backward)
        one = options.forward
        self._alike = one == options.backward.model_copy(
            update={"reversed": False, "bias": one.bias, "reversed_output": one.reversed_output}
        )

    @property
    def inputs(self) -> range:
        """x, and what options ask for."""
        one = self.options.forward
        least, states = 1 + one.takes_lengths, sum(self._counts) * one.takes_state
        return range(least, least + 1 + states)

    @property
    def outputs(self) -> int:
        """y, or two, and the states where options ask for them."""
        states = sum(self._counts) if self.options.forward.return_state else 0
        return (2 if self.options.merge == "none" else 1) + states

    @property
    def _counts(self) -> tuple[int, int]:
        return self.forward_layer.state_count, self.backward_layer.state_count

    def reset_state(self) -> None:
        """Forget the kept states."""
        self.forward_layer.reset_state()
        self.backward_layer.reset_state()

    def run(self, signals: Sequence[Signal]) -> tuple[Signal, ...]:
        """Run both directions over x; see the class for the signals."""
        x, mask = signals[0]
        rest = [signal.value for signal in signals[1:]]
        lengths = rest.pop(0) if self.options.forward.takes_lengths else None
        if lengths is not None and mask is not None:
            raise self.refuse("x has a mask, and lengths are given", "one of them")
        if len(rest) not in (0, sum(self._counts)):
            raise self.refuse(f"{len(rest)} tensors of state", f"{sum(self._counts)}, or none")
        first = self._counts[0]
        given = (tuple(rest[:first]), tuple(rest[first:])) if rest else (None, None)
        both = self._run_together if self._together else self._run_apart
        outputs, states = both(x, mask, lengths, given)
        passed = mask if self.options.forward.return_sequences else None
        shown = [Signal(y, passed) for y in self._merged(*outputs)]
        kept = [Signal(part) for part in (*states[0], *states[1])]
        return (*shown, *kept) if self.options.forward.return_state else tuple(shown)

    @property
    def _together(self) -> bool:
        """Whether one call of the kernels computes both directions: the same plain cell, nothing drawn."""
        forward = self.options.forward
        if not isinstance(forward, RecurrentOptions):
            return False
        if any(not isinstance(core, Recurrent) or has_hooks(core) for core in self._cores):
            return False
        drawn = self.training and (forward.input_dropout or forward.recurrent_dropout)
        held = forward.return_sequences and forward.masked_output == "hold"
        return bool(self._alike and forward.plain and not forward.stateful and not drawn and not held)

    @property
    def _cores(self) -> tuple[object, object]:
        return self.forward_layer.core, self.backward_layer.core

    def _run_together(
        self, x: Tensor, mask: Tensor | None, lengths: Tensor | None, given: tuple[Parts, Parts]
    ) -> tuple[tuple[Tensor, Tensor], tuple[tuple[Tensor, ...], tuple[Tensor, ...]]]:
        forward, backward = self._cores
        if not isinstance(forward, Recurrent) or not isinstance(backward, Recurrent):
            raise RuntimeError("a plain layer has a core of its own class")
        check_input(x, forward.input_size, forward._like, "bidirectional layer")
        steps = Steps.read(x, lengths, mask, "bidirectional layer")
        started = [_started(state) for state in given]
        spec = StackSpec((forward.spec,), 2)
        outputs, ended = run_pair(
            spec, forward, backward, x, (started[0], started[1]), steps, training=self.training
        )
        ahead, back = outputs
        if mask is not None and not self.options.forward.return_sequences:
            form = self.options.forward.masked_output
            ahead, back = final_output(ahead, mask, form), final_output(back, mask.flip(1), form)
        states = [one if isinstance(one, tuple) else (one,) for one in ended]
        return (ahead, back), (tuple(s[0] for s in states[0]), tuple(s[0] for s in states[1]))

    def _run_apart(
        self, x: Tensor, mask: Tensor | None, lengths: Tensor | None, given: tuple[Parts, Parts]
    ) -> tuple[tuple[Tensor, Tensor], tuple[tuple[Tensor, ...], tuple[Tensor, ...]]]:
        ahead, ended = self.forward_layer.run_core(x, mask, lengths, given[0])
        back, ended_back = self.backward_layer.run_core(x, mask, lengths, given[1])
        in_time = self.options.backward.reversed_output == "time"
        if self.options.forward.return_sequences and not in_time:
            back = back.flip(1)
        return (ahead, back), (ended, ended_back)

    def _merged(self, ahead: Tensor, back: Tensor) -> tuple[Tensor, ...]:
        merge = self.options.merge
        return (ahead, back) if merge == "none" else (merged(ahead, back, merge, dim=-1),)


def directions(layer: RecurrentLayer | BidirectionalLayer) -> list[tuple[Any, str]]:
    """Give the layers of the directions, one or two, with what torch adds to the names of their weights.

    Args:
        layer: recurrent.

    Example:
        >>> one = RecurrentLayer(RecurrentOptions(cell="gru", input_size=3, hidden_size=4))
        >>> [suffix for _, suffix in directions(one)]
        ['']
    """
    if isinstance(layer, BidirectionalLayer):
        return [(layer.forward_layer, ""), (layer.backward_layer, "_reverse")]
    return [(layer, "")]


def _made(options: RecurrentOptions | ConvLSTMOptions) -> RecurrentLayer | ConvLSTMLayer:
    return RecurrentLayer(options) if isinstance(options, RecurrentOptions) else ConvLSTMLayer(options)


def _started(state: Parts) -> LayerState | None:
    """Bring a state, batch first, to the form of `gatestack.nn`, (1, N, ·)."""
    if state is None:
        return None
    parts = tuple(part[None] for part in state)
    return parts if len(parts) > 1 else parts[0]
