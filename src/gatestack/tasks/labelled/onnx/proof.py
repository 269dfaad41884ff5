"""What proves an exported classifier or regressor: its own answers to series it keeps, and to drawn ones."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from gatestack.convert.onnx.builder import GraphBuilder
from gatestack.convert.onnx.parts import OnnxParts, RunGraph
from gatestack.convert.proof import ProofVector
from gatestack.data.sequences import Sequences
from gatestack.tasks.labelled.fitted import FittedLabelled
from gatestack.tasks.labelled.onnx.graph import OUTPUTS, emit_labelled
from gatestack.tasks.labelled.sampler import gaps_marked
from gatestack.tasks.labelled.scaling import length_batches

__all__ = ["onnx_parts", "proof_vectors", "score_of_graph"]

_ROWS = 4
_MOST_STEPS = 512  # of a row in a proof; longer series are cut
_MISSING = 0.2
_SCORED = 256
_LEAST_SHARE = 1e-12


def onnx_parts(fitted: FittedLabelled, graph: GraphBuilder, *, classes: list[Any] | None) -> OnnxParts:
    """Build the graph of a fitted classifier or regressor, and say what proves it; see `emit_labelled`.

    Args:
        fitted: what fitting found.
        graph: empty.
        classes: K names; None for numbers.
    """
    metadata = emit_labelled(fitted, graph, classes=classes)
    return OnnxParts(proof_vectors(fitted), metadata=metadata, score=partial(score_of_graph, fitted))


def proof_vectors(fitted: FittedLabelled) -> list[ProofVector]:
    """Give inputs and answers: a series of the fit, some cut to many lengths, and drawn ones with gaps."""
    training = fitted.training
    rows = np.arange(_ROWS) % len(training)
    longest = np.minimum(training.lengths[rows], _MOST_STEPS)
    cut = np.maximum(longest - np.arange(_ROWS) * (longest // _ROWS), 1)
    random = np.random.default_rng(0)
    return [
        _vector(fitted, _heads(training, rows[:1], longest[:1]), real=True),
        _vector(fitted, _heads(training, rows, cut), real=True),
        _vector(fitted, _drawn(fitted, np.array([1]), random)),
        _vector(fitted, _drawn(fitted, np.array([1, 9, int(longest[0])]), random)),
    ]


def score_of_graph(fitted: FittedLabelled, run: RunGraph) -> dict[str, float]:
    """Score a graph on series of the fit: how far rounding moves it, not how good it is.

    Args:
        fitted: what fitting found.
        run: runs the graph.

    Returns:
        `error rate` and `log loss`, or for numbers `absolute error`; the model has seen these series.
    """
    cases = fitted.training[:_SCORED]
    truth = fitted.answers[:_SCORED]
    shape = (len(cases),) if fitted.classes is None else (len(cases), fitted.classes)
    answers = np.zeros(shape)
    for rows in length_batches(cases.lengths):
        answers[rows] = run(_feeds(cases.rows(rows)))[_output(fitted)]
    if fitted.classes is None:
        return {"absolute error": float(np.abs(answers - truth.astype(np.float64)).mean())}
    classes = truth.astype(np.int64)
    chosen = np.maximum(answers[np.arange(len(classes)), classes], _LEAST_SHARE)
    return {
        "error rate": float((answers.argmax(axis=1) != classes).mean()),
        "log loss": float(-np.log(chosen).mean()),
    }


def _vector(fitted: FittedLabelled, sequences: Sequences, *, real: bool = False) -> ProofVector:
    answers = fitted.numbers(sequences) if fitted.classes is None else fitted.probabilities(sequences)
    return ProofVector(_feeds(sequences), {_output(fitted): answers.astype(np.float32)}, real=real)


def _output(fitted: FittedLabelled) -> str:
    return OUTPUTS["regress" if fitted.classes is None else "classify"]


def _feeds(sequences: Sequences) -> dict[str, npt.NDArray[Any]]:
    x, lengths = gaps_marked(sequences)
    return {"x": x.numpy(), "lengths": lengths.numpy()}


def _heads(sequences: Sequences, rows: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]) -> Sequences:
    """Take the first steps of some rows."""
    begins = sequences.offsets[rows]
    places = np.concatenate([np.arange(b, b + n) for b, n in zip(begins, lengths, strict=True)])
    return Sequences(
        values=sequences.values[places],
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        observed=None if sequences.observed is None else sequences.observed[places],
    )


def _drawn(fitted: FittedLabelled, lengths: npt.NDArray[np.int64], random: np.random.Generator) -> Sequences:
    """Draw walks in the units of the training part, with missing values."""
    scaling = fitted.members[0].network.recurrent.scaling
    steps, channels = int(lengths.sum()), fitted.training.num_features
    walk = random.normal(size=(steps, channels)) + 0.2 * np.cumsum(
        random.normal(size=(steps, channels)), axis=0
    )
    return Sequences(
        values=(scaling.mean.numpy() + scaling.deviation.numpy() * walk).astype(np.float32),
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        observed=random.random((steps, channels)) > _MISSING,
    )
