"""The face of a forecaster towards `gatestack export`: its graph, its proof, its score."""

from __future__ import annotations

from functools import partial

from gatestack.convert.onnx.builder import GraphBuilder
from gatestack.convert.onnx.parts import OnnxParts
from gatestack.tasks.forecast.fitted import FittedForecast
from gatestack.tasks.forecast.onnx.graph import emit_forecaster
from gatestack.tasks.forecast.onnx.proof import TOLERANCE, proof_vectors, score_of_graph

__all__ = ["onnx_parts"]


def onnx_parts(fitted: FittedForecast, graph: GraphBuilder) -> OnnxParts:
    """Build the graph of a fitted forecaster, and say what proves it; see `emit_forecaster`.

    Args:
        fitted: what fitting found.
        graph: empty.
    """
    metadata = emit_forecaster(fitted, graph)
    # With rounded weights the vectors are those of the graph without, and here they take the time.
    vectors = [] if graph.int8 else proof_vectors(fitted)
    return OnnxParts(vectors, TOLERANCE, metadata=metadata, score=partial(score_of_graph, fitted))
