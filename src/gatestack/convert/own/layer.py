"""A layer of `gatestack.nn` as a layer of a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from pydantic import JsonValue
from torch import Tensor

from gatestack.convert.layers.base import LayerOptions, NetworkLayer, Signal
from gatestack.convert.onnx.emit import state_leaves
from gatestack.convert.own.layer_data import layer_from_data, layer_to_data
from gatestack.errors import ArgumentError
from gatestack.nn import SequenceLayer, Stateful
from gatestack.nn.recurrent import Recurrent
from gatestack.nn.states import leaves, rebuilt

__all__ = ["OwnLayer", "OwnOptions"]


class OwnOptions(LayerOptions):
    """Options of `OwnLayer`.

    Args:
        layer: class and options, as `gatestack.convert.own.layer_data.layer_to_data` gives them.
    """

    layer: dict[str, JsonValue]


class OwnLayer(NetworkLayer):
    """A layer, a stack or a loop of cells of `gatestack.nn`, whole.

    Signals in: x (N, T, …); then, where no mask says it, lengths (N,) whole numbers; then, where initial
    states are trained, `fresh` (N,), not zero where a row starts from them; then each tensor of the state,
    (D, N, …). Out: y, with merge=None of `Bidirectional` two, and each tensor of the state.

    Args:
        options: which layer.

    Attributes:
        inner: the layer.

    Example:
        >>> from gatestack.nn import GRU
        >>> layer = OwnLayer.around(GRU(4, 2))
        >>> [tuple(signal.value.shape) for signal in layer.run([Signal(torch.zeros(3, 5, 2))])]
        [(3, 5, 4), (1, 3, 4)]
    """

    kind = "own"
    Options = OwnOptions

    def __init__(self, options: OwnOptions) -> None:
        super().__init__(options)
        inner = layer_from_data(options.layer)
        if not isinstance(inner, SequenceLayer) or isinstance(inner, Stateful):
            raise ArgumentError(
                f"a {type(inner).__name__}", where="OwnOptions", expected="a layer that keeps no state"
            )
        self.inner = inner

    @classmethod
    def around(cls, layer: SequenceLayer) -> OwnLayer:
        """Make a layer of a network that has the weights of a layer of `gatestack.nn`.

        Args:
            layer: built, of any mode; it stays as it is.

        Raises:
            ArgumentError: there is a class of somebody else in it.
        """
        made = cls(OwnOptions(layer=layer_to_data(layer)))
        made.inner.load_state_dict(layer.state_dict())
        return made.train(layer.training)

    @property
    def trained(self) -> bool:
        """Whether initial states are parameters."""
        every = self.inner.modules()
        return any(isinstance(one, Recurrent) and one.initial_state == "trained" for one in every)

    @property
    def state_count(self) -> int:
        """How many tensors the state has."""
        return len(leaves(state_leaves(self.inner)))

    @property
    def inputs(self) -> range:
        """Of x alone, or with lengths, or with all."""
        return range(1, 3 + self.trained + self.state_count)

    @property
    def outputs(self) -> int:
        """y, or two, and the state."""
        return (2 if self.inner.gives_pair else 1) + self.state_count

    def run(self, signals: Sequence[Signal]) -> tuple[Signal, ...]:
        """Run the layer; see the class for the signals."""
        (x, mask), *rest = signals
        values = [signal.value for signal in rest]
        if len(values) not in (0, 1, self.inputs[-1] - 1):
            raise self.refuse(f"{len(signals)} signals", f"1, 2 or {self.inputs[-1]}")
        lengths = values[0] if values else None
        state = self._state(x, values[1:]) if len(values) > 1 else None
        if lengths is not None and mask is not None:
            raise self.refuse("x has a mask, and lengths are given", "one of them")
        y, ended = self.inner(x, state, lengths=lengths, mask=mask)
        passed = mask if self.inner.return_sequences else None
        shown = [Signal(one, passed) for one in (y if isinstance(y, tuple) else (y,))]
        return (*shown, *(Signal(part) for part in leaves(ended)))

    def _state(self, x: Tensor, values: list[Tensor]) -> Any:
        """Nest the state as the layer has it; rows that are fresh start from what was trained."""
        start = self.inner.start(x)
        if self.trained:
            new = values.pop(0) != 0
            values = [
                torch.where(new.view(1, -1, *[1] * (part.dim() - 2)), first, part)
                for first, part in zip(leaves(start), values, strict=True)
            ]
        return rebuilt(start, iter(values))
