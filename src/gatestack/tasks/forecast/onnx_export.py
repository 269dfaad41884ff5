"""The face of a forecaster towards `gatestack export`: its graph, its proof, its score."""

from __future__ import annotations

from functools import partial

from gatestack.convert.onnx.builder import GraphBuilder
from gatestack.convert.onnx.parts import OnnxParts
from gatestack.tasks.forecast.fitted import FittedForecast
from gatestack.tasks.forecast.onnx_graph import emit_forecaster
from gatestack.tasks.forecast.onnx_proof import TOLERANCE, proof_vectors, score_of_graph

__all__ = ["onnx_parts"]


def onnx_parts(fitted: FittedForecast, graph: GraphBuilder) -> OnnxParts:
    """Build the graph of a fitted forecaster, and say what proves it; see `onnx_graph.emit_forecaster`.

    Args:
        fitted: what fitting found.
        graph: empty.
    """
    metadata = emit_forecaster(fitted, graph)
    return OnnxParts(
        proof_vectors(fitted), TOLERANCE, metadata=metadata, score=partial(score_of_graph, fitted)
    )
