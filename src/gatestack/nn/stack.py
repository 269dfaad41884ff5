"""Recurrent layers on top of each other, behaving as one layer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from gatestack.errors import ArgumentError, check_share, check_whole
from gatestack.kernels.recurrent import run_stack
from gatestack.kernels.spec import LayerSpec
from gatestack.kernels.step import StackStepper
from gatestack.nn.layer import SequenceLayer
from gatestack.nn.lstm import LSTM, LSTMState
from gatestack.nn.recurrent import Recurrent, draw_seed
from gatestack.nn.runs import Between, Run, cut_into_runs, has_hooks
from gatestack.nn.steps import Lengths, Mask, Steps

__all__ = ["Stack", "StackState"]

StackState: TypeAlias = tuple[LSTMState | Tensor, ...]

_TORCH_NAME = re.compile(r"(weight_ih|weight_hh|bias_ih|bias_hh|weight_hr)_l(\d+)(_reverse)?")


class Stack(SequenceLayer):
    r"""Recurrent layers on top of each other: each reads the output of the one below at every step.

    With y⁰ = x the input and d the dropout:

        y¹ = layer₁(y⁰)
        yˡ = layerₗ(d(yˡ⁻¹))                    for l = 2 … L
        yˡ = layerₗ(d(yˡ⁻¹)) + yˡ⁻¹             with residual=True

    Layers may differ in cell, width and direction. A layer reads (batch, time, features), so every layer but
    the last must return its output at every step; the last one decides whether the stack does. Neighbours
    with the same number of directions, side by side, are computed in one call; hooks on a layer, and a layer
    in another mode (training, eval) than the stack, are respected at the price of a call of its own.

    The `state_dict` of a `torch.nn.LSTM`, `GRU` or `RNN` of the same shape loads as it is: `weight_ih_l1`
    goes to `layers.1.weight_ih_l0`, and so on.

    Args:
        layers: one or more `LSTM`, `GRU` or `RNN`, the lowest first.
        input_size: C, or None to take it from the first input.
        dropout: probability with which an element between two layers is dropped, anew at every step.
            Default 0.
        variational_dropout: the same with one mask for all steps of a row, see `VariationalDropout`.
            Default 0.
        residual: add the input of each layer but the lowest to its output. Their widths must agree; the
            lowest layer has no such connection, because it changes the width of the data to its own.
            Default False.

    Raises:
        ArgumentError: no layers, a layer twice, a layer below the last with `return_sequences=False`, both
            dropouts, dropout or residual without a second layer, residual between different widths; at a
            call, a shape, dtype or device that does not fit.

    Note:
        With `residual=True` and a last layer that has `return_sequences=False`, what is added is its input
        at the last real step of each row. With two directions there is no such step, and the stack is
        refused.

    Example:
        >>> import torch
        >>> from gatestack.nn import GRU, LSTM, Stack
        >>> stack = Stack(LSTM(8, bidirectional=True), GRU(4, return_sequences=False), dropout=0.1)
        >>> output, (lower, upper) = stack(torch.zeros(3, 5, 2))
        >>> output.shape, lower[0].shape, upper.shape
        (torch.Size([3, 4]), torch.Size([2, 3, 8]), torch.Size([1, 3, 4]))

    Source:
        Pascanu et al. 2013, "How to Construct Deep Recurrent Neural Networks" (stacked RNN);
        dropout only between layers: Zaremba et al. 2014, "Recurrent Neural Network Regularization"; residual
        connections: Wu et al. 2016, "Google's Neural Machine Translation System".
    """

    def __init__(
        self,
        *layers: Recurrent,
        input_size: int | None = None,
        dropout: float = 0.0,
        variational_dropout: float = 0.0,
        residual: bool = False,
    ) -> None:
        super().__init__()
        self.dropout = check_share("dropout", dropout, owner="Stack")
        self.variational_dropout = check_share("variational_dropout", variational_dropout, owner="Stack")
        self.residual = residual
        _check_layers(layers)
        if dropout and variational_dropout:
            raise ArgumentError(
                f"dropout={dropout!r} and variational_dropout={variational_dropout!r}",
                where="Stack",
                expected="one of them",
            )
        if len(layers) == 1 and (dropout or variational_dropout or residual):
            raise ArgumentError(
                "dropout or residual with one layer", where="Stack", expected="two layers to act between"
            )
        if residual:
            _check_residual(layers)
        self.layers = nn.ModuleList(layers)
        self._runs: tuple[object, list[LayerSpec], tuple[Between, list[Run]]] = (None, [], (Between(), []))
        self.register_load_state_dict_pre_hook(_rename_torch_weights)  # type: ignore[no-untyped-call]
        if input_size is not None:
            self.build(input_size)

    @property
    def input_size(self) -> int | None:
        """C, features of the input; None until the lowest layer is built."""
        return self._layer(0).input_size

    @property
    def output_size(self) -> int:
        """Features of the output, those of the last layer."""
        return self._layer(-1).output_size

    @property
    def return_sequences(self) -> bool:  # type: ignore[override] # the last layer's, not to be set here
        """Whether the output has every step; the last layer decides."""
        return self._layer(-1).return_sequences

    def build(self, input_size: int) -> Stack:
        """Make the parameters of every layer for inputs of `input_size` features.

        Returns:
            The stack itself.

        Raises:
            ArgumentError: a layer was built for another size than the layer below gives.

        Example:
            >>> from gatestack.nn import LSTM, Stack
            >>> Stack(LSTM(8), LSTM(4)).build(2).layers[1].input_size
            8
        """
        width = check_whole("input_size", input_size, owner="Stack")
        for number in range(len(self.layers)):
            layer = self._layer(number)
            if layer.input_size not in (None, width):
                raise ArgumentError(
                    f"layer {number} was built for input_size {layer.input_size}",
                    where="Stack",
                    expected=f"{width}, the features of {'x' if number == 0 else f'layer {number - 1}'}",
                )
            layer.build(width)
            width = layer.output_size
        self._cut(self._all_layers())
        return self

    def forward(
        self,
        x: Tensor,
        state: Sequence[LSTMState | Tensor | None] | None = None,
        *,
        lengths: Lengths | None = None,
        mask: Mask | None = None,
        return_cell_states: bool = False,
    ) -> tuple[Tensor, StackState] | tuple[Tensor, StackState, tuple[Tensor, ...]]:
        """Run all layers over a batch.

        Args:
            x: (N, T, C), in the dtype and on the device of the parameters. N = 0 and T = 0 are fine.
            state: one entry per layer, in the form that layer takes; None, whole or for a layer, starts from
                its initial state.
            lengths: (N,) whole numbers from 0 to T, the real steps of each row; None means all.
            mask: (N, T) bool, True where a step is real; instead of lengths.
            return_cell_states: also return the cell states of every step, for stacks of `LSTM` only.

        Returns:
            output, state, and the cell states when asked for. `output` is that of the last layer; `state`
            has one entry per layer, (h (D, N, P), c (D, N, H)) or h (D, N, H); the cell states one tensor
            (N, T, D·H) per layer.

        Raises:
            ArgumentError: a shape, dtype or device that does not fit, a state for another number of layers,
                cell states of a layer that has none.
        """
        layers = self._all_layers()
        layers[0].check_input(x, "Stack")
        if any(layer.input_size is None for layer in layers):
            self.build(x.shape[2])
        states = self._states(state)
        steps = Steps.read(x, lengths, mask, "Stack")
        if return_cell_states:
            self._check_cells()

        y = x
        finals: list[LSTMState | Tensor] = []
        cells: list[Tensor] = []
        between, runs = self._cut(layers)
        for run in runs:
            below, inside = y, layers[run.first : run.last]
            given = states[run.first : run.last]
            if run.spec is None:
                fed = between.dropped(y) if self.training and run.first > 0 else y
                options = {"return_cell_states": True} if return_cell_states else {}
                y, final, *every = inside[0](fed, given[0], lengths=steps.lengths, mask=steps.mask, **options)
                finals.append(final)
                cells += every
            else:
                result = run_stack(
                    run.spec,
                    y,
                    [layer._states(y, part) for layer, part in zip(inside, given, strict=True)],
                    [layer.weights() for layer in inside],
                    lengths=steps.lengths,
                    mask=steps.mask,
                    training=self.training,
                    seed=draw_seed() if self.training and run.spec.draws else 0,
                    cells=return_cell_states,
                )
                last, last_spec = inside[-1], run.spec.layers[-1]
                if last_spec.residual and not last.return_sequences:
                    y = steps.last(result.output)
                else:
                    y = last._formed(result.output, result.finals[-1][0])
                finals += [parts if len(parts) == 2 else parts[0] for parts in result.finals]
                cells += result.cells or ()
            if run.residual:
                y = y + (below if inside[0].return_sequences else steps.last(below))
        return (y, tuple(finals), tuple(cells)) if return_cell_states else (y, tuple(finals))

    def _cut(self, layers: list[Recurrent]) -> tuple[Between, list[Run]]:
        """Cut the stack into runs, anew where something that matters has changed."""
        training = self.training
        apart = tuple([layer.training != training or has_hooks(layer) for layer in layers])
        key = (self.dropout, self.variational_dropout, self.residual, apart)
        if torch.compiler.is_compiling() and self._runs[0] == key:
            return self._runs[2]  # a tracer need not compare specs, nor could it make them
        specs = [layer.spec for layer in layers]
        if self._runs[0] != key or self._runs[1] != specs:
            between = Between(
                self.dropout or self.variational_dropout, per_step=self.dropout > 0, residual=self.residual
            )
            self._runs = (key, specs, (between, cut_into_runs(layers, between, apart)))
        return self._runs[2]

    def stepper(self, streams: int = 1) -> StackStepper:
        """Make a handle that steps streams through the stack as it is now, in eval mode.

        Args:
            streams: N, how many step side by side.

        Returns:
            A `gatestack.kernels.StackStepper`: `step(x)` takes (N, C) and gives (N, output_size).

        Raises:
            ArgumentError: the stack is not built, has a layer of two directions, or is not of float32 or
                float64.
            KernelError: there are no compiled kernels.

        Example:
            >>> import torch
            >>> from gatestack.kernels import library
            >>> from gatestack.nn import LSTM, Stack
            >>> stack = Stack(LSTM(8), LSTM(4), input_size=2)
            >>> library.find() is None or stack.stepper(3).step(torch.zeros(3, 2)).shape == (3, 4)
            True
        """
        layers = self._all_layers()
        dtype = str(layers[0]._like.dtype).removeprefix("torch.")
        if any(layer.bidirectional for layer in layers):
            raise ArgumentError(
                "a layer has two directions",
                where="Stack",
                expected="one direction",
                hint="the reverse direction starts at the last step, which a stream has not seen yet",
            )
        between, _ = self._cut(layers)
        run = cut_into_runs(layers, between, (False,) * len(layers))[0]
        if run.spec is None:
            raise RuntimeError("layers side by side were not cut into one run")
        weights = [layer.weights(dropped=False) for layer in layers]
        return StackStepper(run.spec, weights, streams=streams, dtype=dtype)

    def extra_repr(self) -> str:
        """Every setting that is not its default."""
        parts = []
        if self.dropout:
            parts.append(f"dropout={self.dropout:g}")
        if self.variational_dropout:
            parts.append(f"variational_dropout={self.variational_dropout:g}")
        if self.residual:
            parts.append("residual=True")
        return ", ".join(parts)

    def _layer(self, number: int) -> Recurrent:
        return self._all_layers()[number]

    def _all_layers(self) -> list[Recurrent]:
        found = []
        for number, layer in enumerate(self.layers):
            if not isinstance(layer, Recurrent):
                raise ArgumentError(
                    f"layer {number} is a {type(layer).__name__}", where="Stack", expected="LSTM, GRU, RNN"
                )
            found.append(layer)
        return found

    def _states(self, state: object) -> Sequence[LSTMState | Tensor | None]:
        count = len(self.layers)
        if state is None:
            return (None,) * count
        if not isinstance(state, tuple | list) or len(state) != count:
            found = (
                f"{len(state)} entries" if isinstance(state, tuple | list) else f"type {type(state).__name__}"
            )
            raise ArgumentError(f"state has {found}", where="Stack", expected=f"one entry per layer, {count}")
        return state

    def _check_cells(self) -> None:
        for number, layer in enumerate(self.layers):
            if not isinstance(layer, LSTM):
                raise ArgumentError(
                    f"return_cell_states=True, but layer {number} is a {type(layer).__name__}",
                    where="Stack",
                    expected="layers with a cell state (LSTM)",
                )


def _check_layers(layers: Sequence[object]) -> None:
    if not layers:
        raise ArgumentError("no layers", where="Stack", expected="one or more of LSTM, GRU, RNN")
    for number, layer in enumerate(layers):
        if not isinstance(layer, Recurrent):
            raise ArgumentError(
                f"layer {number} is a {type(layer).__name__}",
                where="Stack",
                expected="LSTM, GRU or RNN of gatestack.nn",
                hint="give the layers one by one: Stack(*layers)"
                if isinstance(layer, list | tuple)
                else None,
            )
        if any(layer is other for other in layers[:number]):
            raise ArgumentError(
                f"layer {number} is the same object as a layer below",
                where="Stack",
                expected="an object of its own for each layer",
                hint="[LSTM(64)] * 3 is one layer three times; [LSTM(64) for _ in range(3)] makes three",
            )
        if number < len(layers) - 1 and not layer.return_sequences:
            raise ArgumentError(
                f"layer {number} has return_sequences=False",
                where="Stack",
                expected="True below the last layer",
                hint="its output would be (batch, features); the layer above reads (batch, time, features)",
            )


def _check_residual(layers: Sequence[Recurrent]) -> None:
    for number in range(1, len(layers)):
        width, below = layers[number].output_size, layers[number - 1].output_size
        if width != below:
            raise ArgumentError(
                f"residual=True, but layer {number} gives {width} features, layer {number - 1} gives {below}",
                where="Stack",
                expected="the same width for every layer",
            )
    if layers[-1].bidirectional and not layers[-1].return_sequences:
        raise ArgumentError(
            "residual=True on a bidirectional last layer with return_sequences=False",
            where="Stack",
            expected="return_sequences=True, or one direction",
        )


def _rename_torch_weights(
    stack: Stack,
    state_dict: dict[str, Any],
    prefix: str,
    local_metadata: dict[str, Any],  # noqa: ARG001 (torch calls the hook with seven arguments)
    strict: bool,
    missing_keys: list[str],  # noqa: ARG001
    unexpected_keys: list[str],  # noqa: ARG001
    error_msgs: list[str],
) -> None:
    """Give the weights of a `torch.nn.LSTM`, `GRU` or `RNN` the names they have in a stack."""
    count, highest = len(stack.layers), -1
    for key in [key for key in state_dict if key.startswith(prefix)]:
        match = _TORCH_NAME.fullmatch(key[len(prefix) :])
        if match is None:
            continue
        name, number, reverse = match[1], int(match[2]), match[3] or ""
        highest = max(highest, number)
        if number < count:
            state_dict[f"{prefix}layers.{number}.{name}_l0{reverse}"] = state_dict.pop(key)
    if strict and highest >= 0 and highest + 1 != count:
        error_msgs.append(f"the weights are of {highest + 1} layers, the stack has {count}.")
