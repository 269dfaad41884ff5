"""A `Network` as a graph, with its test vectors.

Inputs and outputs keep their names; a further output of a node, "node:1", becomes "node.1". A stateful layer
has its state as inputs `h_in_NODE`, `c_in_NODE` and outputs `h_out_NODE`, `c_out_NODE`, (1, batch, hidden);
the backward one of two directions with `_reverse` at the end. What a caller hands on from call to call is
then what the layer keeps.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch

from gatestack.convert.examples import computable, draw_inputs
from gatestack.convert.layers import BidirectionalLayer, OverTime, Signal
from gatestack.convert.network import Network
from gatestack.convert.onnx import network_attention as _attention
from gatestack.convert.onnx import network_joints as _joints
from gatestack.convert.onnx import network_layers as _layers
from gatestack.convert.onnx import network_moves as _moves
from gatestack.convert.onnx import network_time as _time
from gatestack.convert.onnx import network_windows as _windows
from gatestack.convert.onnx.builder import Array, GraphBuilder, Value
from gatestack.convert.onnx.described import described
from gatestack.convert.onnx.network_signals import GraphSignal, Kept, run_network_layer
from gatestack.convert.onnx.parts import OnnxParts
from gatestack.convert.onnx.recurrent import array
from gatestack.convert.ports import Port
from gatestack.convert.proof import ProofVector
from gatestack.errors import ArgumentError

__all__ = ["DrawnCall", "draw_calls", "network_graph"]

_CASES = (
    _attention,
    _joints,
    _layers,
    _moves,
    _time,
    _windows,
)  # imported so that they register what they know

# Rows, and sizes of free axes: three of each are wanted, small ones first; images need larger ones.
_SIZES = ((1, 1), (2, 5), (3, 9), (1, 12), (2, 33), (3, 34))
_WANTED = 4
_BATCHES = 3


def network_graph(network: Network, b: GraphBuilder, drawn: Sequence[DrawnCall] | None = None) -> OnnxParts:
    """Build the graph of a network, and its test vectors.

    Args:
        network: of float32; its mode and its device do not matter.
        b: an empty builder.
        drawn: calls of a network of the same options, see `draw_calls`; None draws them.

    Returns:
        The test vectors.

    Raises:
        ArgumentError: a layer or an option has no ONNX, by the name of its node; no input can be drawn with
            which the network computes.

    Example:
        >>> from gatestack.convert import Network, Node, Port
        >>> from gatestack.convert.layers import Dense, DenseOptions
        >>> dense = Dense(DenseOptions(units=2, input_size=3))
        >>> b = GraphBuilder()
        >>> parts = network_graph(Network([Port("x", (3,))], [Node("out", dense, ("x",))], ["out"]), b)
        >>> b.inputs[0].shape, b.outputs[0].shape
        (('batch', 3), ('batch', 2))
    """
    model = copy.deepcopy(network).cpu().eval()
    for parameter in model.parameters():
        if parameter.is_floating_point():
            array(parameter)  # refuses other kinds of numbers
    if drawn is None:
        drawn = draw_calls(model)
    model.reset_state()
    signals = _ports(model, b, drawn[0].inputs)
    given = {
        place: tuple(
            b.input(name, "float32", (1, "batch", *part.shape[2:]))
            for name, part in zip(_names(place, "in", len(parts)), parts, strict=True)
        )
        for place, parts in drawn[0].kept.items()
    }
    kept = Kept(given, {})
    found = _emit(model, b, signals, kept)
    for number, (name, signal) in enumerate(zip(_output_names(model), found, strict=True)):
        arrays = [one.outputs[number] for one in drawn]
        b.output(signal.value, name, _axes(name, arrays, drawn), str(arrays[0].dtype))
    for place, parts in drawn[0].kept.items():
        for name, value, part in zip(_names(place, "out", len(parts)), kept.ended[place], parts, strict=True):
            b.output(value, name, (1, "batch", *part.shape[2:]))
    model.reset_state()
    metadata = described(model, graph="network")
    return OnnxParts([one.vector(model) for one in drawn], metadata=metadata)


class DrawnCall:
    """Inputs of a network, states of its stateful layers, and what it computes; see `draw_calls`."""

    def __init__(self, model: Network, places: dict[str, OverTime], rows: int, steps: int) -> None:
        self.rows, self.steps = rows, steps
        self.inputs = draw_inputs(model, rows=rows, steps=steps, seed=rows * 100 + steps)
        self.kept: dict[str, tuple[Array, ...]] = {}
        model.reset_state()
        model.predict(*self.inputs)
        draw = np.random.default_rng(steps)
        for place, layer in places.items():
            shapes = [tuple(part.shape) for part in layer.kept or ()]
            self.kept[place] = tuple(draw.standard_normal(shape, np.float32) for shape in shapes)
            layer.kept = tuple(map(torch.from_numpy, self.kept[place]))
        found = model.predict(*self.inputs)
        self.outputs = [np.asarray(one) for one in (found if isinstance(found, tuple) else (found,))]
        self.ended = {
            place: tuple(part.numpy() for part in layer.kept or ()) for place, layer in places.items()
        }

    def vector(self, model: Network) -> ProofVector:
        """Give all of it by name."""
        inputs = {port.name: array for port, array in zip(model.inputs, self.inputs, strict=True)}
        outputs = dict(zip(_output_names(model), self.outputs, strict=True))
        for place, parts in self.kept.items():
            inputs |= zip(_names(place, "in", len(parts)), parts, strict=True)
        for place, parts in self.ended.items():
            outputs |= zip(_names(place, "out", len(parts)), parts, strict=True)
        return ProofVector(inputs, {name: np.ascontiguousarray(part) for name, part in outputs.items()})


def draw_calls(model: Network) -> list[DrawnCall]:
    """Draw inputs of several sizes; one that cannot be computed, such as too small an image, is left out.

    Args:
        model: in eval mode, on the CPU.

    Raises:
        ArgumentError: fewer than two can be computed.

    Example:
        >>> from gatestack.convert import Network, Node, Port
        >>> from gatestack.convert.layers import Dense, DenseOptions
        >>> dense = Dense(DenseOptions(units=2, input_size=3))
        >>> calls = draw_calls(Network([Port("x", (3,))], [Node("out", dense, ("x",))], ["out"]))
        >>> [call.inputs[0].shape for call in calls]
        [(1, 3), (2, 3), (3, 3), (1, 3)]
    """
    places = _stateful(model)
    drawn, problem = computable(
        _SIZES, partial(DrawnCall, model, places), where=model.name, least=2, most=_WANTED
    )
    counts = sorted({one.rows for one in drawn})
    if len(counts) < _BATCHES:
        shown = " and ".join(map(str, counts))
        raise ArgumentError(
            f"it can be computed with batches of {shown} rows alone: {problem}",
            where=model.name,
            expected="a network for batches of any size: in the file the batch would be frozen",
        )
    return drawn


def _ports(model: Network, b: GraphBuilder, inputs: Sequence[Array]) -> dict[str, list[GraphSignal]]:
    """Declare the inputs of the graph."""
    signals = {}
    for port, example in zip(model.inputs, inputs, strict=True):
        value: Value = b.input(port.name, port.dtype, _port_axes(model, port))
        if port.dtype == "float64":
            with b.scope("inputs"):
                value = b.op("Cast", value, to=1)  # FLOAT, in which the network computes
        tensor = port.check(torch.from_numpy(example), torch.float32)
        signals[port.name] = [GraphSignal(value, None, Signal(tensor))]
    return signals


@torch.no_grad()
def _emit(
    model: Network, b: GraphBuilder, signals: dict[str, list[GraphSignal]], kept: Kept
) -> list[GraphSignal]:
    """Add every node to the graph -> the signals that are outputs."""
    for node in model.nodes:
        sources = [_found(signals, source) for source in node.inputs]
        try:
            signals[node.name] = run_network_layer(node.layer, b, sources, kept, node.name)
        except ArgumentError as error:
            where = f"node {node.name!r}" if error.where in (None, "export") else error.where
            raise ArgumentError(error.what, where=where, expected=error.expected, hint=error.hint) from None
    return [_found(signals, source) for source in model.outputs]


def _found(signals: dict[str, list[GraphSignal]], source: str) -> GraphSignal:
    if source in signals:
        return signals[source][0]
    name, _, number = source.rpartition(":")
    return signals[name][int(number)]


def _stateful(model: Network) -> dict[str, OverTime]:
    """Find the layers that keep their state, by the name of their place."""
    places: dict[str, OverTime] = {}
    for node in model.nodes:
        layer = node.layer
        sides = {node.name: layer}
        if isinstance(layer, BidirectionalLayer):
            sides = {node.name: layer.forward_layer, f"{node.name}_reverse": layer.backward_layer}
        for place, side in sides.items():
            if isinstance(side, OverTime) and side.options.stateful:
                if any(side is other for other in places.values()):
                    raise ArgumentError(
                        "a stateful layer at two places", where=f"node {node.name!r}", expected="one"
                    )
                places[place] = side
    return places


def _names(place: str, way: str, count: int) -> list[str]:
    return [f"{kind}_{way}_{place}" for kind in ("h", "c")[:count]]


def _output_names(model: Network) -> list[str]:
    taken = {port.name for port in model.inputs}
    names = []
    for source in model.outputs:
        name = source.replace(":", ".")
        while name in taken:
            name += "_out"
        taken.add(name)
        names.append(name)
    return names


def _port_axes(model: Network, port: Port) -> tuple[int | str, ...]:
    """Name the open axes: the batch, and the time where an input has one other open axis."""
    free = [place for place, size in enumerate(port.shape) if size is None]
    lonely = sum(1 for other in model.inputs if None in other.shape) == 1
    axes: list[int | str] = []
    for place, size in enumerate(port.shape):
        name = "time" if len(free) == 1 and lonely else f"{port.name}_axis_{place}"
        axes.append(name if size is None else size)
    axes.insert(port.batch_axis, "batch")
    return tuple(axes)


def _axes(name: str, arrays: list[Array], drawn: Sequence[DrawnCall]) -> tuple[int | str, ...]:
    """Say which axes of an output are open: those that are not the same for every vector."""
    axes: list[int | str] = []
    for place, sizes in enumerate(zip(*[one.shape for one in arrays], strict=True)):
        if len(set(sizes)) == 1:
            axes.append(sizes[0])
        elif list(sizes) == [one.rows for one in drawn]:
            axes.append("batch")
        else:
            axes.append(f"{name}_axis_{place}")
    return tuple(axes)
