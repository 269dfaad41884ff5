"""Recurrent layers on top of each other, behaving as one layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import torch
from torch import Tensor, nn

from gatestack.errors import ArgumentError, check_share, check_whole
from gatestack.kernels.recurrent import run_stack
from gatestack.kernels.spec import LayerSpec
from gatestack.kernels.step import StackStepper
from gatestack.nn.checks import placed
from gatestack.nn.layer import LayerState, SequenceLayer
from gatestack.nn.lstm import LSTM
from gatestack.nn.recurrent import Recurrent, draw_seed
from gatestack.nn.runs import Between, Run, cut_into_runs, has_hooks
from gatestack.nn.stack_checks import (
    check_entries,
    check_layers,
    check_residual,
    check_widths,
    rename_torch_weights,
)
from gatestack.nn.stepper import make_stepper
from gatestack.nn.steps import Lengths, Mask, Steps

__all__ = ["Stack", "StackState"]

StackState: TypeAlias = tuple[LayerState, ...]


class Stack(SequenceLayer):
    r"""Layers on top of each other: each reads the output of the one below at every step.

    With y⁰ = x the input and d the dropout:

        y¹ = layer₁(y⁰)
        yˡ = layerₗ(d(yˡ⁻¹))                    for l = 2 … L
        yˡ = layerₗ(d(yˡ⁻¹)) + yˡ⁻¹             with residual=True

    Layers may differ in cell, width and direction. A layer reads (batch, time, features), so every layer but
    the last must return its output at every step; the last one decides whether the stack does. Neighbours
    among `LSTM`, `GRU` and `RNN` with the same number of directions, side by side, are computed in one call;
    any other layer, one with hooks, and one in another mode (training, eval) than the stack has a call of its
    own.

    Any `SequenceLayer` may stand in a stack: after a `ConvLSTM2D`, `PerStep(torch.nn.Flatten())` makes the
    vectors that an `LSTM` reads. The width of such a layer is known from its first output; a layer above it
    is built then, or takes its input size in the constructor.

    The `state_dict` of a `torch.nn.LSTM`, `GRU` or `RNN` of the same shape loads as it is: `weight_ih_l1`
    goes to `layers.1.weight_ih_l0`, and so on.

    Args:
        layers: one or more `LSTM`, `GRU`, `RNN` or other layers of `gatestack.nn`, the lowest first.
        input_size: C, or None to take it from the first input.
        dropout: probability with which an element between two layers is dropped, anew at every step.
            Default 0.
        variational_dropout: the same with one mask for all steps of a row, see `VariationalDropout`.
            Default 0.
        residual: add the input of each layer but the lowest to its output. Their shapes must agree; the
            lowest layer has no such connection, because it changes the width of the data to its own.
            Default False.

    Raises:
        ArgumentError: no layers, a layer twice, a layer below the last with `return_sequences=False`, a layer
            built for another width than the one below gives, both dropouts, dropout or residual without a
            second layer, residual between different widths; at a call, a shape, dtype or device that does
            not fit.

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
        Pascanu et al. 2013, "How to Construct Deep Recurrent Neural Networks", Section 3.3.3 (stacked RNN);
        dropout only between layers: Zaremba et al. 2014, "Recurrent Neural Network Regularization"; residual
        connections: Wu et al. 2016, "Google's Neural Machine Translation System".
    """

    def __init__(
        self,
        *layers: SequenceLayer,
        input_size: int | None = None,
        dropout: float = 0.0,
        variational_dropout: float = 0.0,
        residual: bool = False,
    ) -> None:
        super().__init__()
        self.dropout = check_share("dropout", dropout, owner="Stack")
        self.variational_dropout = check_share("variational_dropout", variational_dropout, owner="Stack")
        self.residual = residual
        check_layers(layers, "Stack")
        check_widths(layers)
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
            check_residual(layers)
        self.layers = nn.ModuleList(layers)
        self._runs: tuple[object, list[LayerSpec], tuple[Between, list[Run]]] = (None, [], (Between(), []))
        self.register_load_state_dict_pre_hook(rename_torch_weights)  # type: ignore[no-untyped-call]
        if input_size is not None:
            self.build(input_size)

    @property
    def input_size(self) -> int | None:
        """C, features of the input; None until the lowest layer is built."""
        return self._layer(0).input_size

    @property
    def output_size(self) -> int | None:
        """Features of the output, those of the last layer; None where only a call can tell."""
        return self._layer(-1).output_size

    @property
    def looks_ahead(self) -> bool:
        """Whether an output depends on later steps: with a layer of two directions."""
        return any(layer.looks_ahead for layer in self._all_layers())

    @property
    def gives_pair(self) -> bool:
        """Whether the output is a tuple of two, as the last layer's."""
        return self._layer(-1).gives_pair

    @property
    def return_sequences(self) -> bool:  # type: ignore[override] # the last layer's, not to be set here
        """Whether the output has every step; the last layer decides."""
        return self._layer(-1).return_sequences

    def build(self, input_size: int) -> Stack:
        """Make the parameters of every layer for inputs of `input_size` features.

        A layer above one whose width only a call can tell is left as it is.

        Returns:
            The stack itself.

        Raises:
            ArgumentError: a layer was built for another size than the layer below gives.

        Example:
            >>> from gatestack.nn import LSTM, Stack
            >>> Stack(LSTM(8), LSTM(4)).build(2).layers[1].input_size
            8
        """
        width: int | None = check_whole("input_size", input_size, owner="Stack")
        for number, layer in enumerate(self._all_layers()):
            if width is not None and layer.input_size not in (None, width):
                raise ArgumentError(
                    f"layer {number} was built for input_size {layer.input_size}",
                    where="Stack",
                    expected=f"{width}, the features of {'x' if number == 0 else f'layer {number - 1}'}",
                )
            if width is not None:
                layer.build(width)
            width = layer.output_size
        self._cut(self._all_layers())
        return self

    def check_input(self, x: object, owner: str) -> Tensor:
        """Refuse an x that the lowest layer cannot read.

        Returns:
            x.
        """
        return self._layer(0).check_input(x, owner)

    def forward(
        self,
        x: Tensor,
        state: Sequence[LayerState | None] | None = None,
        *,
        lengths: Lengths | None = None,
        mask: Mask | None = None,
        return_cell_states: bool = False,
    ) -> tuple[Tensor, StackState] | tuple[Tensor, StackState, tuple[Tensor, ...]]:
        """Run all layers over a batch.

        Args:
            x: (N, T, C), in the dtype and on the device of the parameters, or (N, T, …) as the lowest layer
                reads it. N = 0 and T = 0 are fine.
            state: one entry per layer, in the form that layer takes; None, whole or for a layer, starts from
                its initial state.
            lengths: (N,) whole numbers from 0 to T, the real steps of each row; None means all.
            mask: (N, T) bool, True where a step is real; instead of lengths.
            return_cell_states: also return the cell states of every step, for stacks of `LSTM` only.

        Returns:
            output, state, and the cell states when asked for. `output` is that of the last layer; `state`
            has one entry per layer, in the form that layer gives: (h (D, N, P), c (D, N, H)), h (D, N, H), …;
            the cell states one tensor (N, T, D·H) per layer.

        Raises:
            ArgumentError: a shape, dtype or device that does not fit, a state for another number of layers,
                cell states of a layer that has none.
        """
        layers = self._all_layers()
        self.check_input(x, "Stack")
        if x.dim() > 2 and any(layer.input_size is None for layer in layers):
            self.build(x.shape[2])
        states = check_entries(state, len(layers), "Stack")
        steps = Steps.read(x, lengths, mask, "Stack")
        if return_cell_states:
            self._check_cells()

        y = x
        finals: list[LayerState] = []
        cells: list[Tensor] = []
        between, runs = self._cut(layers)
        for run in runs:
            below, given = y, states[run.first : run.last]
            if run.spec is None:
                fed = between.dropped(y) if self.training and run.first > 0 else y
                options = {"return_cell_states": True} if return_cell_states else {}
                layer = layers[run.first]
                try:
                    y, final, *every = layer(fed, given[0], lengths=steps.lengths, mask=steps.mask, **options)
                except ArgumentError as error:
                    raise placed(error, f"Stack, layer {run.first}") from None
                finals.append(final)
                cells += every
            else:
                y, results, every = self._run(run, y, given, steps, cells=return_cell_states)
                finals += results
                cells += every
            if run.residual:
                y = _added(y, below if layers[run.first].return_sequences else steps.last(below), run.first)
        return (y, tuple(finals), tuple(cells)) if return_cell_states else (y, tuple(finals))

    def _run(
        self, run: Run, x: Tensor, given: Sequence[LayerState | None], steps: Steps, *, cells: bool
    ) -> tuple[Tensor, list[LayerState], list[Tensor]]:
        """Run neighbours in one call -> the output of the uppermost, their final states, cell states."""
        inside = [layer for layer in self.layers[run.first : run.last] if isinstance(layer, Recurrent)]
        if run.spec is None:
            raise RuntimeError("a run without a spec was given to the kernels")
        states = []
        for number, (layer, part) in enumerate(zip(inside, given, strict=True), start=run.first):
            try:
                if number == run.first and number > 0:  # what another layer gives is not known to fit
                    layer.check_input(x, type(layer).__name__)
                states.append(layer._states(x, part))
            except ArgumentError as error:
                raise placed(error, f"Stack, layer {number}") from None
        result = run_stack(
            run.spec,
            x,
            states,
            [layer.weights() for layer in inside],
            lengths=steps.lengths,
            mask=steps.mask,
            training=self.training,
            seed=draw_seed() if self.training and run.spec.draws else 0,
            cells=cells,
        )
        last = inside[-1]
        if run.spec.layers[-1].residual and not last.return_sequences:
            # A row without a real step has nothing to add to its initial h.
            y = steps.last(result.output, otherwise=result.finals[-1][0][0])
        else:
            y = last._formed(result.output, result.finals[-1][0])
        finals = [parts if len(parts) == 2 else parts[0] for parts in result.finals]
        return y, finals, list(result.cells or ())

    def _cut(self, layers: list[SequenceLayer]) -> tuple[Between, list[Run]]:
        """Cut the stack into runs, anew where something that matters has changed."""
        training = self.training
        dtypes = [layer.dtype for layer in layers if isinstance(layer, Recurrent)]
        apart = tuple(
            [
                not isinstance(layer, Recurrent)
                or layer.input_size is None
                or layer.training != training
                or layer.dtype != dtypes[0]
                or has_hooks(layer)
                for layer in layers
            ]
        )
        key = (self.dropout, self.variational_dropout, self.residual, apart)
        if torch.compiler.is_compiling() and self._runs[0] == key:
            return self._runs[2]  # a tracer need not compare specs, nor could it make them
        specs = [layer._spec for layer in layers if isinstance(layer, Recurrent)]
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
            ArgumentError: the stack is not built, has a layer of two directions or another than LSTM, GRU and
                RNN, more than 64 layers, or is not of float32 or float64.
            KernelError: there are no compiled kernels.

        Example:
            >>> import torch
            >>> from gatestack.kernels import library
            >>> from gatestack.nn import LSTM, Stack
            >>> stack = Stack(LSTM(8), LSTM(4), input_size=2)
            >>> library.find() is None or stack.stepper(3).step(torch.zeros(3, 2)).shape == (3, 4)
            True
        """
        return make_stepper(self._all_layers(), residual=self.residual, streams=streams)

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

    def _layer(self, number: int) -> SequenceLayer:
        return self._all_layers()[number]

    def _all_layers(self) -> list[SequenceLayer]:
        found = []
        for number, layer in enumerate(self.layers):
            if not isinstance(layer, SequenceLayer):
                raise ArgumentError(
                    f"layer {number} is a {type(layer).__name__}", where="Stack", expected="LSTM, GRU, RNN"
                )
            found.append(layer)
        return found

    def _check_cells(self) -> None:
        for number, layer in enumerate(self.layers):
            if not isinstance(layer, LSTM):
                raise ArgumentError(
                    f"return_cell_states=True, but layer {number} is a {type(layer).__name__}",
                    where="Stack",
                    expected="layers with a cell state (LSTM)",
                )


def _added(y: Tensor, below: Tensor, number: int) -> Tensor:
    """Add the input of a layer to its output."""
    if y.shape != below.shape:
        shapes = f"{tuple(y.shape)}, layer {number - 1} {tuple(below.shape)}"
        raise ArgumentError(
            f"residual=True, but layer {number} gives {shapes}",
            where="Stack",
            expected="the same shape",
        )
    return y + below
