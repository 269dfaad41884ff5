"""What flows between the layers of a network while its graph is built."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import singledispatch

from gatestack.convert.layers import NetworkLayer, Signal
from gatestack.convert.onnx.builder import GraphBuilder, Value
from gatestack.errors import ArgumentError

__all__ = ["Emitted", "GraphSignal", "Kept", "emit_network_layer", "flipped", "run_network_layer"]

Emitted = tuple[Value, Value | None]
"""What a case gives for one output: a value, and a mask (N, T) or None."""


@dataclass(frozen=True, eq=False)
class GraphSignal:
    """A signal of a network as a value of a graph, beside an example of it.

    Args:
        value: of the graph.
        mask: bool (N, T), True where a step is real; or None.
        example: what the network computes for an example: tells rank, sizes of fixed axes, and dtype.
    """

    value: Value
    mask: Value | None
    example: Signal

    @property
    def rank(self) -> int:
        """How many axes the value has."""
        return self.example.value.dim()


@dataclass(frozen=True)
class Kept:
    """The states that stateful layers start from, and where they put those they end with.

    Args:
        given: name of a layer's place -> values (1, N, ·).
        ended: filled in while the graph is built.
    """

    given: dict[str, tuple[Value, ...]]
    ended: dict[str, tuple[Value, ...]]


@singledispatch
def emit_network_layer(
    layer: NetworkLayer,
    b: GraphBuilder,  # noqa: ARG001 (the cases read what this one only refuses)
    signals: Sequence[GraphSignal],  # noqa: ARG001
    kept: Kept,  # noqa: ARG001
    place: str,
) -> list[Emitted]:
    """Add a layer of a network to a graph, as it is in eval mode.

    Args:
        layer: of `gatestack.convert.layers`.
        b: the graph.
        signals: its inputs.
        kept: states of stateful layers.
        place: name of its node.

    Returns:
        One value and mask for each output.

    Raises:
        ArgumentError: there is no ONNX for it.
    """
    raise ArgumentError(f"there is no ONNX for a layer of the kind {layer.kind!r}", where=f"node {place!r}")


def run_network_layer(
    layer: NetworkLayer, b: GraphBuilder, signals: Sequence[GraphSignal], kept: Kept, place: str
) -> list[GraphSignal]:
    """Add a layer to the graph, and compute it for the example."""
    examples = layer.run([signal.example for signal in signals])
    with b.scope(place):
        emitted = emit_network_layer(layer, b, signals, kept, place)
    return [
        GraphSignal(value, mask, example) for (value, mask), example in zip(emitted, examples, strict=True)
    ]


def flipped(b: GraphBuilder, value: Value, axis: int = 1) -> Value:
    """Turn an axis around, padding and all.

    Example:
        >>> b = GraphBuilder()
        >>> flipped(b, b.input("x", "float32", ("batch", "time")))
        'Slice'
    """
    return b.op("Slice", value, b.ints(-1), b.ints(-(2**63)), b.ints(axis), b.ints(-1))
