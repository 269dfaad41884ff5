"""The trained part of each recipe inside an ONNX graph, in float32: stack, pooling, convolutions, head."""

from __future__ import annotations

import numpy as np
from torch import nn

from gatestack.convert.onnx.emit import emit_sequence_layer
from gatestack.convert.onnx.modules import emit_module
from gatestack.convert.onnx.terms import Term, concat, where
from gatestack.nn import Stack
from gatestack.tasks.labelled.fcn import ConvolutionBlocks, MaskedBatchNorm
from gatestack.tasks.labelled.onnx.inputs import Steps, resampled
from gatestack.tasks.labelled.onnx.kernels import segments_told
from gatestack.tasks.labelled.pooling import Pool
from gatestack.tasks.labelled.trunks import FCNTrunk, PlainTrunk, SegmentTrunk

__all__ = ["trunk_outputs"]


def trunk_outputs(trunk: PlainTrunk | SegmentTrunk | FCNTrunk, steps: Steps) -> Term:
    """Run a trunk on scaled steps -> float64 (N, K).

    Args:
        trunk: in eval mode.
        steps: as `scaled` gives them.
    """
    if isinstance(trunk, SegmentTrunk):
        told, parts = segments_told(trunk.reader, steps)
        vectors = _dense(trunk.reader.project, told).op("Tanh")
        return _plain(trunk.over_segments, vectors, parts).to("float64")
    values = steps.values.to("float32")
    if isinstance(trunk, PlainTrunk):
        return _plain(trunk, values, steps.lengths).to("float64")
    turned = resampled(steps, trunk.steps).to("float32").op("Transpose", perm=[0, 2, 1])
    channels = turned.size(1).shared(turned.size(0))  # as lengths: every channel is a step
    pooled = _pooled(trunk.pool, _run(trunk.stack, turned, channels), channels)
    read = concat(1, _convolved(trunk.blocks, values, steps), pooled)
    return _dense(trunk.head, read).to("float64")


def _plain(trunk: PlainTrunk, values: Term, lengths: Term) -> Term:
    return _dense(trunk.head, _pooled(trunk.pool, _run(trunk.stack, values, lengths), lengths))


def _run(stack: Stack, values: Term, lengths: Term) -> Term:
    output, _ = emit_sequence_layer(values.graph, stack, values.name, lengths=lengths.name)
    if isinstance(output, tuple):
        raise RuntimeError("a stack gives one output")
    return Term(values.graph, output, "float32")


def _pooled(pool: Pool, y: Term, lengths: Term) -> Term:
    """Pool (N, T, H) over real steps; see `Pool.forward`. Elsewhere y is zero."""
    if pool.pooling == "last":
        end = y.at((lengths - 1).axes(1))
        if not pool.bidirectional:
            return end
        half = pool.output_size // 2
        return concat(1, end.cut(1, 0, half), y.pick(1, 0).cut(1, half))
    real = (y.size(1).upto() < lengths.axes(1)).axes(2)
    lowest = np.float32(-np.inf)
    parts = []
    if pool.pooling in ("mean", "all"):
        parts.append(y.total(1).without(1) / lengths.axes(1).to("float32"))
    if pool.pooling in ("max", "all"):
        parts.append(where(real, y, lowest).op("ReduceMax", axes=[1], keepdims=0))
    if pool.pooling in ("attention", "all"):
        weights = where(real, _dense(pool.score, y), lowest).op("Softmax", axis=1)
        parts.append((weights * y).total(1).without(1))
    return concat(1, *parts)


def _convolved(blocks: ConvolutionBlocks, values: Term, steps: Steps) -> Term:
    """Run the three convolutions and their mean over time -> (N, 128)."""
    graph, x = values.graph, values
    for number, (padding, convolution, norm) in enumerate(
        zip(blocks.paddings, blocks.convolutions, blocks.norms, strict=True)
    ):
        if not isinstance(padding, nn.ConstantPad1d) or not isinstance(convolution, nn.Conv1d):
            raise RuntimeError("a block begins with padding and a convolution")
        if not isinstance(norm, MaskedBatchNorm) or convolution.bias is None:
            raise RuntimeError("a block ends with a bias and a normalisation")
        with graph.scope(f"block{number}"):
            kernel = graph.weight("weight", convolution.weight.detach().numpy())
            bias = graph.weight("bias", convolution.bias.detach().numpy())
            turned = x.op("Transpose", perm=[0, 2, 1])
            name = graph.op("Conv", turned.name, kernel, bias, pads=list(padding.padding))
            found = Term(graph, name, "float32").op("Transpose", perm=[0, 2, 1])
            x = where(steps.real, _dense(norm.norm, found).op("Relu"), np.float32(0))
    return x.total(1).without(1) / steps.lengths.axes(1).to("float32")


def _dense(module: nn.Module, x: Term) -> Term:
    return Term(x.graph, emit_module(module, x.graph, x.name), "float32")
