"""Any layer in both directions."""

from __future__ import annotations

import copy
from typing import Any, get_args

import torch
from torch import Tensor

from gatestack.errors import ArgumentError, check_choice
from gatestack.kernels.recurrent import run_stack
from gatestack.kernels.spec import StackSpec
from gatestack.nn.checks import kind, placed
from gatestack.nn.layer import LayerState, SequenceLayer, check_layer
from gatestack.nn.merge import Merge, beside, merged
from gatestack.nn.recurrent import Recurrent, draw_seed
from gatestack.nn.runs import has_hooks
from gatestack.nn.stateful import Stateful
from gatestack.nn.steps import Lengths, Mask, Steps

__all__ = ["Bidirectional", "run_pair"]


class Bidirectional(SequenceLayer):
    r"""Run a layer from the first step to the last and a second one from the last real step to the first.

    With turn(·) turning the real steps of each row round:

        a = layer(x),   b = turn(reverse_layer(turn(x))),   y = a and b side by side, or merged

    Each row is turned at its own end: with lengths 3 and 2, the reverse layer reads `c b a` and `e d`, not
    the padding first. Its output is in time order. Any layer can be wrapped, a whole `Stack` too: then each
    direction runs through all its layers on its own, unlike a stack of bidirectional layers, where every
    layer reads both directions of the one below. Two plain `LSTM`, `GRU` or `RNN` alike are computed in one
    call, as by `LSTM(bidirectional=True)`.

    Args:
        layer: of the forward direction.
        reverse_layer: of the other one; None (default) for a copy with weights of its own, drawn anew.
        merge: how the two outputs become one: "concat" (default) along the features (channels), "sum", "mul",
            "average"; None gives both, as a tuple (forward, reverse).

    Attributes:
        forward_layer: the one that reads from the first step on.
        reverse_layer: the one that reads from the last step on.

    Raises:
        ArgumentError: something else than a layer, one layer for both directions, layers that differ in
            `return_sequences`, widths that differ under a merge by element, a layer that gives two outputs, a
            `Stateful` layer inside, whose state would be carried against time; at a call, what the layers
            refuse.

    Note:
        With `return_sequences=False` the output is the final output of both, which for the reverse layer is
        the one at the row's first step. The last step of an output with all steps is not that: there the
        reverse layer has read one step only.

    Example:
        >>> import torch
        >>> from gatestack.nn import GRU, LSTM, Stack
        >>> layer = Bidirectional(Stack(LSTM(8), GRU(4)), merge="sum")
        >>> output, (forward, reverse) = layer(torch.zeros(2, 5, 3), lengths=[5, 2])
        >>> output.shape, len(reverse)
        (torch.Size([2, 5, 4]), 2)

    Source:
        Schuster & Paliwal 1997, "Bidirectional Recurrent Neural Networks".
    """

    def __init__(
        self,
        layer: SequenceLayer,
        reverse_layer: SequenceLayer | None = None,
        *,
        merge: Merge | None = "concat",
    ) -> None:
        super().__init__()
        if merge is not None:
            check_choice("merge", merge, get_args(Merge), owner="Bidirectional")
        _check_direction(layer, "layer")
        if reverse_layer is None:
            reverse_layer = _fresh_copy(layer)
        _check_direction(reverse_layer, "reverse_layer")
        if reverse_layer is layer:
            raise ArgumentError(
                "layer and reverse_layer are the same object",
                where="Bidirectional",
                expected="an object of its own for each direction",
            )
        if layer.return_sequences != reverse_layer.return_sequences:
            raise ArgumentError(
                f"return_sequences is {layer.return_sequences} for one direction, "
                f"{reverse_layer.return_sequences} for the other",
                where="Bidirectional",
                expected="the same for both",
            )
        widths = layer.output_size, reverse_layer.output_size
        if merge not in ("concat", None) and None not in widths and widths[0] != widths[1]:
            raise ArgumentError(
                f"merge={merge!r} of {widths[0]} and {widths[1]} features",
                where="Bidirectional",
                expected="as many in both directions",
            )
        self.merge = merge
        self.forward_layer = layer
        self.reverse_layer = reverse_layer
        self._joined: StackSpec | None = None
        self._plain_pair()

    @property
    def return_sequences(self) -> bool:  # type: ignore[override] # the layers', not to be set here
        """Whether the output has every step."""
        return self.forward_layer.return_sequences

    @property
    def input_size(self) -> int | None:
        """C, features of the input; None until both layers are built."""
        known = self.forward_layer.input_size
        return None if self.reverse_layer.input_size is None else known

    @property
    def output_size(self) -> int | None:
        """Features of the output, of each one with `merge=None`; None where only a call can tell."""
        forward, reverse = self.forward_layer.output_size, self.reverse_layer.output_size
        if self.merge != "concat" or forward is None or reverse is None:
            return forward
        return forward + reverse

    @property
    def looks_ahead(self) -> bool:
        """True: the reverse direction begins at the last step."""
        return True

    @property
    def gives_pair(self) -> bool:
        """Whether the output is a tuple (forward, reverse): with `merge=None`."""
        return self.merge is None

    def build(self, input_size: int) -> Bidirectional:
        """Make the parameters of both layers for inputs of `input_size` features.

        Returns:
            The layer itself.

        Raises:
            ArgumentError: a layer was built for another input size.
        """
        self.forward_layer.build(input_size)
        self.reverse_layer.build(input_size)
        self._plain_pair()
        return self

    def check_input(self, x: object, owner: str) -> Tensor:
        """Refuse an x that one of the layers cannot read.

        Returns:
            x.
        """
        return self.reverse_layer.check_input(self.forward_layer.check_input(x, owner), owner)

    def start(self, x: Tensor) -> tuple[LayerState, LayerState]:
        """Give the states that a call without a state starts from, for the rows of x (N, T, …)."""
        return self.forward_layer.start(x), self.reverse_layer.start(x)

    def forward(
        self,
        x: Tensor,
        state: tuple[LayerState | None, LayerState | None] | None = None,
        *,
        lengths: Lengths | None = None,
        mask: Mask | None = None,
    ) -> tuple[Any, tuple[LayerState, LayerState]]:
        """Run both directions over a batch.

        Args:
            x: (N, T, …), as the layers read it.
            state: (forward state, reverse state), each in the form its layer takes; None, whole or for one,
                starts from its initial state.
            lengths: (N,) whole numbers from 0 to T, the real steps of each row; None means all.
            mask: (N, T) bool, True where a step is real; instead of lengths.

        Returns:
            output (N, T, …), zero at steps that are not real, or (N, …) with `return_sequences=False`; with
            `merge=None` a tuple (forward, reverse) of two such outputs. Then (forward state, reverse state);
            the reverse state is that after each row's first real step.

        Raises:
            ArgumentError: a shape, dtype or device that does not fit, a length outside 0 to T.
        """
        self.check_input(x, "Bidirectional")
        if x.dim() > 2 and self.input_size is None:
            self.build(x.shape[2])
        steps = Steps.read(x, lengths, mask, "Bidirectional")
        if state is None:
            state = (None, None)
        if not isinstance(state, tuple | list) or len(state) != 2:
            raise ArgumentError(
                f"state is {kind(state)}", where="Bidirectional", expected="(forward state, reverse state)"
            )
        pair = self._plain_pair()
        if pair is not None:
            outputs, states = run_pair(*pair, x, (state[0], state[1]), steps, training=self.training)
        else:
            forward, forward_state = _called(self.forward_layer, "forward", x, state[0], steps)
            back = steps.reversed()
            reverse, reverse_state = _called(self.reverse_layer, "reverse", steps.turned(x), state[1], back)
            outputs = forward, back.turned(reverse) if self.return_sequences else reverse
            states = forward_state, reverse_state
        return self._merged(*outputs), states

    def extra_repr(self) -> str:
        """The merge, where it is not the default."""
        return "" if self.merge == "concat" else f"merge={self.merge!r}"

    def _merged(self, forward: Tensor, reverse: Tensor) -> Any:
        if self.merge is None:
            return forward, reverse
        dim = 2 if self.return_sequences else 1
        if self.merge == "concat":
            return beside(forward, reverse, dim=dim, owner="Bidirectional")
        if forward.shape != reverse.shape:
            raise ArgumentError(
                f"merge={self.merge!r} of outputs {tuple(forward.shape)} and {tuple(reverse.shape)}",
                where="Bidirectional",
                expected="the same shape",
            )
        return merged(forward, reverse, self.merge, dim=dim)

    def _plain_pair(self) -> tuple[StackSpec, Recurrent, Recurrent] | None:
        """Give the two layers, and the spec of both, where one call of the kernels computes them."""
        forward, reverse = self.forward_layer, self.reverse_layer
        if not isinstance(forward, Recurrent) or not isinstance(reverse, Recurrent):
            return None
        if not torch.compiler.is_compiling():  # a tracer need not compare specs, nor could it make them
            self._join(forward, reverse)
        apart = any(layer.training != self.training or has_hooks(layer) for layer in (forward, reverse))
        return None if apart or self._joined is None else (self._joined, forward, reverse)

    def _join(self, forward: Recurrent, reverse: Recurrent) -> None:
        """Put the specs of both layers together, anew where they have changed."""
        built = forward.input_size is not None and reverse.input_size is not None
        if not built or forward.bidirectional or reverse.bidirectional or forward.spec != reverse.spec:
            self._joined = None
        elif self._joined is None or self._joined.layers[0] != forward.spec:
            self._joined = StackSpec((forward.spec,), 2)


def run_pair(
    spec: StackSpec,
    forward: Recurrent,
    reverse: Recurrent,
    x: Tensor,
    state: tuple[LayerState | None, LayerState | None],
    steps: Steps,
    *,
    training: bool,
) -> tuple[tuple[Tensor, Tensor], tuple[LayerState, LayerState]]:
    """Run two plain layers alike as the two directions of one layer.

    Args:
        spec: of both, `StackSpec((forward.spec,), 2)`.
        forward: the layer of the first direction, built.
        reverse: that of the second one, which reads each row from its last real step to its first.
        x: (N, T, C), checked.
        state: that of each layer, or None for its initial state.
        steps: the real ones.
        training: whether dropout is drawn.

    Returns:
        The outputs of both, in the order of time, and the states of both, as each layer would give them.
    """
    given = []
    for layer, part, name in zip((forward, reverse), state, ("forward", "reverse"), strict=True):
        try:
            given.append(layer._states(x, part))
        except ArgumentError as error:
            raise placed(error, f"Bidirectional, {name} layer") from None
    joined = None
    if given != [None, None]:
        zeros = tuple([forward._like.new_zeros(1, len(x), size) for size in forward.spec.state_sizes])
        parts = [zeros if one is None else one for one in given]
        joined = tuple([torch.cat(pair) for pair in zip(*parts, strict=True)])
    result = run_stack(
        spec,
        x,
        [joined],
        [(*forward.weights(), *reverse.weights())],
        lengths=steps.lengths,
        mask=steps.mask,
        training=training,
        seed=draw_seed() if training and spec.draws else 0,
    )
    finals = [tuple([part[number : number + 1] for part in result.finals[0]]) for number in range(2)]
    outputs = result.output.chunk(2, dim=2) if forward.return_sequences else result.finals[0][0].unbind()
    states = [final if len(final) == 2 else final[0] for final in finals]
    return (outputs[0], outputs[1]), (states[0], states[1])


def _called(
    layer: SequenceLayer, name: str, x: Tensor, state: LayerState | None, steps: Steps
) -> tuple[Any, LayerState]:
    """Call the layer of one direction, which an error names."""
    try:
        return layer(x, state, lengths=steps.lengths, mask=steps.mask)  # type: ignore[no-any-return]
    except ArgumentError as error:
        raise placed(error, f"Bidirectional, {name} layer") from None


def _check_direction(layer: object, name: str) -> None:
    layer = check_layer(layer, name, "Bidirectional")
    if layer.gives_pair:
        raise ArgumentError(f"{name} has merge=None", where="Bidirectional", expected="one output")
    if any(isinstance(module, Stateful) for module in layer.modules()):
        raise ArgumentError(
            f"{name} keeps its state between calls",
            where="Bidirectional",
            expected="a layer without Stateful",
            hint="the reverse direction begins at the end of the sequence, which a chunk does not have",
        )


def _fresh_copy(layer: SequenceLayer) -> SequenceLayer:
    """Copy a layer and draw its weights anew."""
    made = copy.deepcopy(layer)
    for module in made.modules():
        reset = getattr(module, "reset_parameters", None)
        has_own = next(module.parameters(recurse=False), None) is not None
        if reset is not None and has_own:
            reset()
        elif has_own:
            raise ArgumentError(
                f"{type(module).__name__} inside has no reset_parameters, with which to draw new weights",
                where="Bidirectional",
                expected="reset_parameters(), or a reverse_layer",
            )
    return made
