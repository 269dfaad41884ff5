"""A layer that goes on where its last call ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor

from gatestack.errors import ArgumentError
from gatestack.nn.checks import kind, read_tensor
from gatestack.nn.layer import LayerState, SequenceLayer, check_layer
from gatestack.nn.states import leaves, mapped, replaced_rows
from gatestack.nn.steps import Lengths, Mask

__all__ = ["Rows", "Stateful"]

Rows = Tensor | npt.NDArray[Any] | Sequence[int] | Sequence[bool]


class Stateful(SequenceLayer):
    r"""Keep the state of a layer between calls: a long sequence, chunk by chunk.

    With s the state that is kept, chunk k of a sequence and a stop of the gradient ⊥:

        (y, s') = layer(x_k, s),   s ← ⊥ s'

    The output of the chunks is the output of the whole sequence, in eval mode to the bit; but for modules of
    torch in a `PerStep` or a `DeepOutput`, whose products round by the number of steps. The gradient of a
    loss on one chunk stays within it: truncated back-propagation through time. Each row is a sequence of its
    own, and may begin anew while the others go on: `fresh` in a call, or `reset` before it, put single rows
    back to the layer's initial state.

    Args:
        layer: any layer of one direction: `LSTM`, `GRU`, `RNN`, `Stack`, `ConvLSTM2D`, `Loop` ….

    Attributes:
        layer: what was given.

    Raises:
        ArgumentError: something else than a layer, one that looks ahead, or one that has a `Stateful` inside;
            at a call, a batch of another size than that of the kept state, rows that do not exist, and what
            the layer refuses.

    Note:
        The kept state is not part of the `state_dict`. Save `state` beside it to go on later. With `lengths`
        or a mask, a row's state after a chunk is that after its last real step in it. A mask of dropout is
        drawn anew with each chunk.

    Example:
        >>> import torch
        >>> from gatestack.nn import LSTM
        >>> torch.manual_seed(0)  # doctest: +ELLIPSIS
        <torch._C.Generator ...>
        >>> x, plain = torch.randn(2, 6, 3), LSTM(4, 3)
        >>> layer = Stateful(plain)
        >>> chunks = [layer(x[:, :2])[0], layer(x[:, 2:])[0]]
        >>> torch.equal(torch.cat(chunks, dim=1), plain(x)[0])
        True
        >>> layer.reset(rows=[1])  # the second row begins anew with the next call
        >>> layer.state[0][0, 1].tolist()
        [0.0, 0.0, 0.0, 0.0]

    Source:
        Williams & Peng 1990, "An Efficient Gradient-Based Algorithm for On-Line Training of Recurrent Network
        Trajectories" (truncated back-propagation through time).
    """

    def __init__(self, layer: SequenceLayer) -> None:
        super().__init__()
        check_layer(layer, "layer", "Stateful")
        if any(isinstance(module, Stateful) for module in layer.modules()):
            raise ArgumentError(
                f"the {type(layer).__name__} keeps a state between calls already",
                where="Stateful",
                expected="a layer without Stateful",
                hint="of two that keep one state, a reset would reach one",
            )
        if layer.looks_ahead:
            raise ArgumentError(
                f"the {type(layer).__name__} has a second direction",
                where="Stateful",
                expected="a layer of one direction",
                hint="the reverse direction begins at the end of the sequence: what it carries out of one "
                "chunk belongs to the chunk before, which is over",
            )
        self.layer = layer
        self._kept: LayerState = None
        self._begun: Tensor | None = None  # (N,) bool, False for rows that were reset since the last call
        self._shape: Tensor | None = None  # one row of the last input without a step, for `start`

    @property
    def return_sequences(self) -> bool:  # type: ignore[override] # the layer's, not to be set here
        """Whether the output has every step."""
        return self.layer.return_sequences

    @property
    def input_size(self) -> int | None:
        """C, features of the input; None until the layer is built."""
        return self.layer.input_size

    @property
    def output_size(self) -> int | None:
        """Features of the output; None where only a call can tell."""
        return self.layer.output_size

    def build(self, input_size: int) -> Stateful:
        """Make the parameters of the layer for inputs of `input_size` features.

        Returns:
            The layer itself.

        Raises:
            ArgumentError: the layer was built for another input size.
        """
        self.layer.build(input_size)
        return self

    def check_input(self, x: object, owner: str) -> Tensor:
        """Refuse an x that the layer cannot read.

        Returns:
            x.
        """
        return self.layer.check_input(x, owner)

    @property
    def state(self) -> LayerState:
        """The state from which the next call goes on, without its history; None before the first call.

        It can be set: to a state that the layer gave, or to None, which is `reset()`.
        """
        if self._kept is None or self._begun is None or self._shape is None or bool(self._begun.all()):
            return self._kept
        with torch.no_grad():
            start = self.layer.start(self._shape.expand(len(self._begun), *self._shape.shape[1:]))
        return replaced_rows(~self._begun, start, self._kept, axis=1)

    @state.setter
    def state(self, state: LayerState) -> None:
        if state is not None and not all(isinstance(leaf, Tensor) for leaf in leaves(state)):
            raise ArgumentError(
                f"state is {kind(state)}, with parts that are no tensors",
                where="Stateful",
                expected="a state that the layer gave, or None",
            )
        self._begun = None
        # Copies, so that what the caller does to a final state in place does not reach the next chunk; and
        # made outside of inference mode, whose tensors training could not take.
        with torch.inference_mode(False):
            self._kept = None if state is None else mapped(_copied, state)

    def start(self, x: Tensor) -> LayerState:
        """Give the state that a call without a state starts from: the kept one, if there is one."""
        return self.layer.start(x) if self._kept is None else self.state

    def reset(self, rows: Rows | None = None) -> None:
        """Put rows back to the layer's initial state, from the next call on.

        Args:
            rows: numbers of rows, or (N,) bool, True for a row to be reset; None (default) for all, after
                which a batch may have another size.

        Raises:
            ArgumentError: a row that does not exist, or before the first call, when there are no rows yet.
        """
        if rows is None:
            self.state = None
            return
        parts = leaves(self._kept) if self._kept is not None else []
        if not parts or self._shape is None:
            raise ArgumentError(
                "rows are given, but no state is kept yet",
                where="Stateful.reset",
                expected="a call before",
                hint="fresh=rows in the next call begins them anew",
            )
        chosen = _chosen(rows, parts[0].shape[1], "Stateful.reset").to(parts[0].device)
        self._begun = ~chosen if self._begun is None else self._begun & ~chosen

    def forward(
        self,
        x: Tensor,
        state: LayerState = None,
        *,
        lengths: Lengths | None = None,
        mask: Mask | None = None,
        fresh: Rows | None = None,
    ) -> tuple[Any, LayerState]:
        """Run the layer over the next chunk of every row.

        Args:
            x: (N, T, …), as the layer reads it.
            state: to start from instead of the kept one; None goes on from that.
            lengths: (N,) whole numbers from 0 to T, the real steps of each row; None means all.
            mask: (N, T) bool, True where a step is real; instead of lengths.
            fresh: (N,) bool, True for rows that begin a new sequence with this chunk; or their numbers.

        Returns:
            The layer's output, and its state after the chunk, through which a gradient may still flow. What
            is kept of it for the next call is a copy without history.

        Raises:
            ArgumentError: a batch of another size than the kept state, and what the layer refuses.
        """
        self.check_input(x, "Stateful")
        if state is not None and fresh is not None:
            raise ArgumentError("state and fresh are both given", where="Stateful", expected="one of them")
        rows = len(x)
        new = None if fresh is None else _chosen(fresh, rows, "Stateful: fresh").to(x.device)
        if state is None and self._kept is not None:
            self._check_batch(rows)
            state = self._kept
            if self._begun is not None:
                new = ~self._begun if new is None else new | ~self._begun
            if new is not None and bool(new.any()):
                # Not `self.state`: a gradient may reach an initial state that is trained.
                state = replaced_rows(new, self.layer.start(x), state, axis=1)
        output, final = self.layer(x, state, lengths=lengths, mask=mask)
        self.state = final
        self._shape = x.new_empty(1, 0, *x.shape[2:])  # no view, which would keep x
        return output, final

    def _check_batch(self, rows: int) -> None:
        for part in leaves(self._kept):
            if part.shape[1] != rows:
                raise ArgumentError(
                    f"x has {rows} rows, the kept state has {part.shape[1]}",
                    where="Stateful",
                    expected=f"{part.shape[1]}, the batch of the last call",
                    hint="reset() forgets the state, so that another batch may begin",
                )

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Stateful:
        # What .to(), .double() and the like call for parameters; the state goes with them.
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if self._kept is not None:
            self._kept = mapped(fn, self._kept)
        if self._shape is not None:
            self._shape = fn(self._shape)
        if self._begun is not None:
            self._begun = fn(self._begun)
        return self


def _copied(part: Tensor) -> Tensor:
    return part.detach().clone()


def _chosen(rows: Rows, count: int, where: str) -> Tensor:
    """Read rows, numbers or (N,) bool -> (N,) bool."""
    given = read_tensor("rows", rows, where)
    if given.dtype == torch.bool:
        if given.shape != (count,):
            raise ArgumentError(
                f"rows have shape {tuple(given.shape)}", where=where, expected=f"(batch,) = ({count},)"
            )
        return given
    if given.numel() == 0:
        return torch.zeros(count, dtype=torch.bool)
    if given.is_floating_point() or given.is_complex() or given.dim() != 1:
        raise ArgumentError(
            f"rows are {str(given.dtype).removeprefix('torch.')} of shape {tuple(given.shape)}",
            where=where,
            expected=f"numbers of rows, or bool of shape ({count},)",
        )
    wrong = given[(given < 0) | (given >= count)]
    if len(wrong):
        raise ArgumentError(f"row {int(wrong[0])}", where=where, expected=f"0 to {count - 1}")
    chosen = torch.zeros(count, dtype=torch.bool)
    chosen[given.long()] = True
    return chosen
