"""A fitted classifier or regressor as an ONNX graph: its inputs, its output, and what it says of itself."""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import Any

import numpy as np

from gatestack.convert.onnx.builder import GraphBuilder
from gatestack.convert.onnx.terms import Term
from gatestack.tasks.labelled.fitted import FittedLabelled
from gatestack.tasks.labelled.network import LabelledNetwork
from gatestack.tasks.labelled.onnx.inputs import scaled
from gatestack.tasks.labelled.onnx.kernels import linear_outputs
from gatestack.tasks.labelled.onnx.trunks import trunk_outputs

__all__ = ["METADATA_KEY", "OUTPUTS", "describe", "emit_labelled"]

METADATA_KEY = "gatestack.labelled"
"""Where the model's metadata say, as JSON, what its channels and classes are."""

OUTPUTS = {"classify": "probabilities", "regress": "predicted"}
"""Task → name of the output."""


def emit_labelled(
    fitted: FittedLabelled, graph: GraphBuilder, *, classes: list[Any] | None
) -> dict[str, str]:
    """Add a classifier or regressor to an empty graph, with its inputs and its output.

    Inputs: `x` (batch, time, channels) float32 in the unit of the data, NaN where a value is missing; what
    stands after a row's last real step is not read; `lengths` (batch,) int64, the real steps of each row,
    from 1 to time.

    Output: `probabilities` (batch, classes) float32, the mean over the members, in the order of the classes
    that the metadata name; for a regressor `predicted` (batch,) float32.

    Args:
        fitted: what fitting found.
        graph: empty.
        classes: K names; None for numbers.

    Returns:
        The metadata of the model.
    """
    features = fitted.training.num_features
    x = Term(graph, graph.input("x", "float32", ("batch", "time", features)), "float32")
    lengths = Term(graph, graph.input("lengths", "int64", ("batch",)), "int64")
    answers = []
    for number, member in enumerate(fitted.members):
        with graph.scope(f"member{number}"):
            outputs = _network_outputs(member.network, x, lengths)
            answers.append(
                outputs if fitted.classes is None else (outputs / fitted.temperature).op("Softmax", axis=1)
            )
    mean = answers[0]
    for answer in answers[1:]:
        mean = mean + answer
    mean = (mean / float(len(answers))).to("float32")
    if fitted.classes is None:
        graph.output(mean.without(1).name, OUTPUTS["regress"], ("batch",))
    else:
        graph.output(mean.name, OUTPUTS["classify"], ("batch", fitted.classes))
    return {METADATA_KEY: json.dumps(describe(fitted, classes=classes), ensure_ascii=False)}


def describe(fitted: FittedLabelled, *, classes: list[Any] | None) -> dict[str, object]:
    """Say what a server needs to know of a classifier or regressor, as JSON values."""
    names = fitted.training.names
    return {
        "gatestack": version("gatestack"),
        "task": "regress" if fitted.classes is None else "classify",
        "channels": fitted.training.num_features,
        "names": None if names is None else list(names),
        "classes": classes,
        "recipe": fitted.architecture.recipe,
        "members": len(fitted.members),
    }


def _network_outputs(network: LabelledNetwork, x: Term, lengths: Term) -> Term:
    """Run one network -> float64 (N, K); see `LabelledNetwork.forward`."""
    steps = scaled(network.recurrent.scaling, x, lengths)
    outputs = trunk_outputs(network.recurrent.trunk, steps)
    if network.linear is not None:
        outputs = outputs * float(network.trust) + linear_outputs(network.linear, steps)
    mean, deviation = (
        part.numpy().astype(np.float64) for part in (network.target_mean, network.target_deviation)
    )
    return outputs * deviation + mean
