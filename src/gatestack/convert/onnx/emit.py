"""The face of the emitters: a layer of `gatestack.nn` into a graph that is being built."""

from __future__ import annotations

from torch import nn

from gatestack.convert.onnx import cells as _cells
from gatestack.convert.onnx import containers as _containers
from gatestack.convert.onnx import conv_lstm as _conv_lstm
from gatestack.convert.onnx import recurrent as _recurrent
from gatestack.convert.onnx.builder import GraphBuilder, Value
from gatestack.convert.onnx.dispatch import Output, StateValues, emit_layer, mapped, state_leaves
from gatestack.convert.onnx.ragged import enter

__all__ = ["emit_sequence_layer", "state_leaves"]

_CASES = (_cells, _containers, _conv_lstm, _recurrent)  # imported so that they register what they know


def emit_sequence_layer(
    b: GraphBuilder,
    layer: nn.Module,
    x: Value,
    *,
    lengths: Value | None = None,
    mask: Value | None = None,
    state: StateValues = None,
    rank: int = 3,
) -> tuple[Output, StateValues]:
    """Add a sequence layer to a graph, as it is in eval mode.

    Args:
        b: the graph.
        layer: of `gatestack.nn`, built, float32.
        x: float32 (N, T, …), of `rank` axes. N = 0 and T = 0 are fine.
        lengths: int64 (N,), from 0 to T; None for all steps.
        mask: bool (N, T), True where a step is real, instead of lengths.
        state: values nested as the layer has its state, each (D, N, …); None for the initial state.
        rank: axes of x.

    Returns:
        The output, zero at steps that are not real (a pair for `Bidirectional` with merge=None), and the
        state after each row's last real step.

    Raises:
        ArgumentError: there is no ONNX for the layer, its weights are not float32, both lengths and mask.

    Example:
        >>> from gatestack.nn import GRU
        >>> b = GraphBuilder()
        >>> x = b.input("x", "float32", ("batch", "time", 2))
        >>> y, h = emit_sequence_layer(b, GRU(4, 2), x)
        >>> b.output(y, "y", ("batch", "time", 4))
        >>> [node.op_type for node in b.model().graph.node if node.op_type == "GRU"]
        ['GRU']
    """
    tree = state_leaves(layer)
    inside, ragged = enter(b, x, rank=rank, lengths=lengths, mask=mask)
    if state is not None:
        state = mapped(tree, state, lambda leaf, value: ragged.pad_state(b, value or "", len(leaf.shape)))
    y, final = emit_layer(layer, b, inside, ragged, state)
    away = ragged.leave if getattr(layer, "return_sequences", True) else ragged.cut_rows
    output = away(b, y) if isinstance(y, str) else (away(b, y[0]), away(b, y[1]))
    return output, mapped(tree, final, lambda _, value: ragged.cut_state(b, value or ""))
