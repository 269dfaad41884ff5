"""Writing a model as an ONNX file that was replayed before it was written, with its proof beside it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gatestack.convert.exported import Exported
from gatestack.convert.onnx.builder import GraphBuilder, Tensor
from gatestack.convert.onnx.parts import OnnxParts, RunGraph
from gatestack.convert.onnx.session import open_graph
from gatestack.convert.paired import check_place, write_pair
from gatestack.convert.proof import (
    Difference,
    Proof,
    ProofVector,
    compare_answers,
    encode_proof,
    proof_path,
)
from gatestack.errors import ArgumentError

__all__ = ["Exported", "export_onnx"]

MAX_MODEL_BYTES = 2**31
"""What the format of ONNX can hold in one file: 2 GiB."""

Build = Callable[[GraphBuilder], OnnxParts]


def export_onnx(
    model: object,
    path: str | os.PathLike[str],
    *,
    int8: bool = False,
    opset: int = 17,
    overwrite: bool = False,
) -> Exported:
    """Write a model as ONNX, with test vectors beside it in `<path>.proof.safetensors`.

    The graph takes any batch and any number of steps. Before anything is written it is run in ONNX Runtime on
    several batches and lengths, one of them 1, some ragged, and must give what the model gives.

    Args:
        model: a layer of `gatestack.nn` (see `gatestack.convert.onnx.layers` for the names of inputs and
            outputs), a `Network`, or a fitted estimator.
        path: the file, ending in `.onnx`; folders above it are made.
        int8: round the large weights to eight bits, with one scale per output channel. The file becomes
            nearly four times smaller, and no faster; `differences` say what it costs. Default False.
        opset: version of ONNX's operators, 17 (default) to 22.
        overwrite: replace what stands at `path`. Default False.

    Returns:
        Paths, sizes, and the differences to the model.

    Raises:
        ArgumentError: onnx or onnxruntime is not installed; the model has no ONNX; a batch or a length would
            be frozen; the graph does not give what the model gives; with int8, no weight would become
            smaller; `path` exists.
        StorageError: the disk is full, or may not be written. Nothing is left half-written.

    Example:
        >>> import tempfile
        >>> from gatestack.nn import LSTM
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     exported = export_onnx(LSTM(8, input_size=3), Path(folder) / "lstm.onnx")
        ...     sorted(exported.differences), exported.proof.name
        (['c_out', 'h_out', 'y'], 'lstm.onnx.proof.safetensors')
    """
    target = check_place(path, (".onnx",), overwrite)
    build = _build_of(model)
    plain, parts, content = _made(build, opset, int8=False)
    run = open_graph(content, where=target.name)
    _check_open(plain.inputs, parts.vectors)
    differences = _replayed(run, parts)
    scores = dict(parts.score(run)) if parts.score else {}
    if not int8:
        return _written(target, content, parts.vectors, parts.tolerance, differences, scores=scores)
    _, rounded, small = _made(build, opset, int8=True)
    if len(small) >= len(content):
        raise ArgumentError(
            f"with int8=True the file would have {len(small)} bytes, without {len(content)}",
            where=target.name,
            hint="the weights are too small to gain from it: export without int8",
        )
    run = open_graph(small, where=target.name)
    vectors = [
        ProofVector(one.inputs, run(one.inputs), exact=one.outputs, real=one.real) for one in parts.vectors
    ]
    lost = compare_answers(
        [one.exact for one in vectors],
        [one.outputs for one in vectors],
        parts.tolerance,
        calls=[one.inputs for one in vectors],
    )
    after = dict(rounded.score(run)) if rounded.score else {}
    return _written(
        target,
        small,
        vectors,
        parts.tolerance,
        lost,
        plain_bytes=len(content),
        plain_scores=scores,
        scores=after,
    )


def _build_of(model: object) -> Build:
    """Find what builds the graph of a model."""
    from gatestack.convert.network import Network
    from gatestack.nn.layer import SequenceLayer

    own = getattr(model, "_to_onnx", None)
    if callable(own):
        return own  # type: ignore[no-any-return]
    if isinstance(model, SequenceLayer):
        from gatestack.convert.onnx.layers import layer_graph

        return lambda b: layer_graph(model, b)
    if isinstance(model, Network):
        from gatestack.convert.onnx.network import network_graph

        return lambda b: network_graph(model, b)
    raise ArgumentError(
        f"the model is of type {type(model).__name__}",
        where="export_onnx",
        expected="a layer of gatestack.nn, a Network, or a fitted Forecaster, Classifier, Regressor or "
        "AnomalyDetector",
    )


def _made(build: Build, opset: int, *, int8: bool) -> tuple[GraphBuilder, OnnxParts, bytes]:
    builder = GraphBuilder(int8=int8)
    parts = build(builder)
    model = builder.model(opset, metadata=parts.metadata)
    if model.ByteSize() >= MAX_MODEL_BYTES:
        raise ArgumentError(
            f"the model has {model.ByteSize()} bytes",
            where="export_onnx",
            expected=f"less than {MAX_MODEL_BYTES}, all that one file can hold",
        )
    return builder, parts, model.SerializeToString(deterministic=True)


def _check_open(inputs: Sequence[Tensor], vectors: Sequence[ProofVector]) -> None:
    """Refuse vectors that could not show a frozen axis."""
    seen: dict[str, set[int]] = {}
    for vector in vectors:
        for tensor in inputs:
            found = vector.inputs[tensor.name].shape
            for axis in tensor.open_axes:
                seen.setdefault(str(tensor.shape[axis]), set()).add(found[axis])
        lengths = vector.inputs.get("lengths")
        if lengths is not None and len(set(np.ravel(lengths).tolist())) > 1:
            seen.setdefault("ragged lengths", set()).update({0, 1})
    if any(tensor.name == "lengths" for tensor in inputs):
        seen.setdefault("ragged lengths", set())
    for name, sizes in seen.items():
        if len(sizes) < 2 or (name in ("batch", "time") and 1 not in sizes):
            raise ArgumentError(
                f"the test vectors have {sorted(sizes) or 'none'} for {name!r}",
                where="export_onnx",
                expected="two sizes or more, one of them 1: else a frozen axis would not show",
            )


def _replayed(run: RunGraph, parts: OnnxParts) -> dict[str, Difference]:
    """Run all vectors and refuse answers that are not those of the model."""
    calls = [vector.inputs for vector in parts.vectors]
    found = compare_answers(
        [vector.outputs for vector in parts.vectors],
        [run(call) for call in calls],
        parts.tolerance,
        calls=calls,
    )
    for name, one in found.items():
        if one.share > 1:
            raise ArgumentError(
                f"ONNX Runtime's {name!r} differs from the model's by {one.largest:.3g}",
                where="export_onnx",
                expected=f"at most {one.allowed:.3g}",
                hint="nothing was written; weights that are very large or not finite can cause this",
            )
    return found


def _written(
    target: Path,
    content: bytes,
    vectors: Sequence[ProofVector],
    tolerance: float,
    differences: Mapping[str, Difference],
    **more: Any,
) -> Exported:
    proof = encode_proof(Proof(vectors, tolerance, hashlib.sha256(content).hexdigest()))
    write_pair(target, content, proof)
    return Exported(target, proof_path(target), len(content), dict(differences), **more)
