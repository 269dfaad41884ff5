"""A layer of `gatestack.nn` as a graph of its own, with its test vectors.

| name | shape | what |
|---|---|---|
| `x` | (batch, time, features) | input |
| `lengths` | (batch,) int64 | real steps of each row, 0 to time |
| `fresh` | (batch,) bool | only with trained initial states: True where a row starts anew |
| `h_in`, `c_in` | (directions, batch, hidden) | state to start from; zeros for a row that starts anew |
| `y` | (batch, time, features) | output, zero where a step is not real |
| `h_out`, `c_out` | (directions, batch, hidden) | state after each row's last real step |

Where there are several layers, their place follows: `h_in_l1`, `c_out_l0_reverse`.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

from gatestack.convert.onnx.builder import GraphBuilder, Value
from gatestack.convert.onnx.described import described, network_around
from gatestack.convert.onnx.dispatch import Leaf, mapped, started, state_leaves
from gatestack.convert.onnx.emit import emit_sequence_layer
from gatestack.convert.onnx.layer_vectors import draw_vectors, flat, input_form, state_name
from gatestack.convert.onnx.parts import OnnxParts
from gatestack.convert.onnx.recurrent import array
from gatestack.convert.proof import ProofVector
from gatestack.nn import SequenceLayer, Stateful

__all__ = ["layer_graph", "state_name"]


def layer_graph(
    layer: SequenceLayer, b: GraphBuilder, vectors: Sequence[ProofVector] | None = None
) -> OnnxParts:
    """Build the graph of a layer, and its test vectors.

    Args:
        layer: built, float32; its mode and its device do not matter.
        b: an empty builder.
        vectors: of a layer of the same options; None draws numbers, lengths of all kinds, states.

    Returns:
        The test vectors.

    Raises:
        ArgumentError: the layer is not built, is not of float32, or has no ONNX.

    Example:
        >>> from gatestack.nn import LSTM
        >>> b = GraphBuilder()
        >>> parts = layer_graph(LSTM(4, 2), b)
        >>> [tensor.name for tensor in b.inputs], [tensor.name for tensor in b.outputs]
        (['x', 'lengths', 'h_in', 'c_in'], ['y', 'h_out', 'c_out'])
    """
    model = _bare(copy.deepcopy(layer).cpu().eval())
    for parameter in model.parameters():
        array(parameter)  # before it is computed: the error there would speak of x
    form = input_form(model)
    tree = state_leaves(model)
    leaves = list(flat(tree))
    trained = any(leaf.trained is not None for leaf in leaves)
    if vectors is None:
        vectors = draw_vectors(model, form, tree)
    x = b.input("x", form.dtype, ("batch", "time", *form.axes))
    lengths = b.input("lengths", "int64", ("batch",))
    fresh = b.input("fresh", "bool", ("batch",)) if trained else None
    given = mapped(tree, None, lambda leaf, _: _state_input(b, leaf, fresh))
    output, state = emit_sequence_layer(b, model, x, lengths=lengths, state=given, rank=2 + len(form.axes))
    outputs = {"y": output} if isinstance(output, str) else {"y": output[0], "y_reverse": output[1]}
    for name, value in outputs.items():
        shapes = [vector.outputs[name].shape for vector in vectors]
        b.output(value, name, _axes(name, shapes, sequences=model.return_sequences))
    mapped(tree, state, lambda leaf, value: _state_output(b, leaf, value))
    return OnnxParts(vectors, metadata=described(network_around(model, b.inputs), graph="layer"))


def _bare(layer: SequenceLayer) -> SequenceLayer:
    """Take away what only keeps the state between calls: the caller of a graph does that."""
    return _bare(layer.layer) if isinstance(layer, Stateful) else layer


def _axes(name: str, shapes: list[tuple[int, ...]], *, sequences: bool) -> tuple[int | str, ...]:
    """Say which axes of an output are open: batch, time, and whatever differs between vectors."""
    named = ("batch", "time") if sequences else ("batch",)
    rest = zip(*(shape[len(named) :] for shape in shapes), strict=True)
    return (
        *named,
        *(sizes[0] if len(set(sizes)) == 1 else f"{name}_space_{axis}" for axis, sizes in enumerate(rest)),
    )


def _state_input(b: GraphBuilder, leaf: Leaf, fresh: Value | None) -> Value:
    given = b.input(state_name(leaf.name, "in"), "float32", leaf.shape)
    return given if fresh is None else started(b, leaf, given, fresh)


def _state_output(b: GraphBuilder, leaf: Leaf, value: Value | None) -> Value:
    if value is None:
        raise RuntimeError(f"no state came out for {leaf.name}")
    b.output(value, state_name(leaf.name, "out"), leaf.shape)
    return value
