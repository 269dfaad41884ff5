"""Writing a model as a file of another kind, with its proof beside it."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from gatestack.convert.answers import named_answers
from gatestack.convert.examples import computable, draw_inputs
from gatestack.convert.exported import Exported
from gatestack.convert.keras import read_keras, write_keras
from gatestack.convert.network import Network
from gatestack.convert.onnx.export import export_onnx
from gatestack.convert.paired import check_place, write_pair
from gatestack.convert.proof import (
    TOLERANCE,
    Array,
    Difference,
    Proof,
    ProofVector,
    compare_answers,
    encode_proof,
    proof_path,
)
from gatestack.convert.torch.folder import check_folder, read_torch_folder, torch_files, write_torch_folder
from gatestack.convert.torch.to_torch import network_of
from gatestack.errors import ArgumentError, check_choice

__all__ = ["TARGETS", "export_model"]

TARGETS = ("onnx", "keras", "torch")
"""What a model can be exported to."""

_SIZES = ((1, 1), (2, 5), (3, 9), (1, 34))  # rows, and sizes of free axes


def export_model(
    model: object,
    path: str | os.PathLike[str],
    *,
    to: str = "onnx",
    int8: bool = False,
    overwrite: bool = False,
) -> Exported:
    """Write a model as ONNX, Keras or torch, with test vectors beside it.

    They stand in `<path>.proof.safetensors`; for "torch" in the folder that is written, with `model.py`, a
    class that needs torch alone, and `weights.safetensors`, its weights.

    Args:
        model: for "onnx" see `export_onnx`; for "keras" a `Network`; for "torch" a `Network` or a layer of
            `gatestack.nn`, as for `to_torch`.
        path: the file, ending in `.onnx` or `.keras`; for "torch" a folder.
        to: "onnx" (default), "keras" or "torch".
        int8: see `export_onnx`.
        overwrite: replace what stands at `path`. Default False.

    Returns:
        Paths, sizes, and the differences between the file, read again, and the model.

    Raises:
        ArgumentError: the model cannot be written so; `path` exists.
        StorageError: the disk is full, or may not be written. Nothing is left half-written.

    Example:
        >>> from gatestack.convert import Node, Port
        >>> from gatestack.convert.layers import Dense, DenseOptions
        >>> dense = Dense(DenseOptions(units=2, input_size=3))
        >>> network = Network([Port("x", (3,))], [Node("out", dense, ("x",))], ["out"])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     sorted(export_model(network, Path(folder) / "m.keras", to="keras").differences)
        ['output.0']
    """
    check_choice("to", to, TARGETS, owner="export_model")
    if to == "onnx":
        return export_onnx(model, path, int8=int8, overwrite=overwrite)
    if int8:
        raise ArgumentError(f"int8=True for {to}", where="export_model", expected="int8 for ONNX")
    if to == "torch":
        return _export_torch(model, Path(path), overwrite)
    if not isinstance(model, Network):
        raise ArgumentError(
            f"the model is a {type(model).__name__}", where="export_model", expected="a Network for Keras"
        )
    target = check_place(path, (".keras",), overwrite)
    vectors = _vectors(model)
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "model.keras"
        write_keras(model, written)
        content = written.read_bytes()
        again = read_keras(written)
    answers = [named_answers(again, vector.inputs) for vector in vectors]
    differences = _compared(vectors, answers, target)
    write_pair(target, content, encode_proof(Proof(vectors, TOLERANCE, hashlib.sha256(content).hexdigest())))
    return Exported(target, proof_path(target), len(content), differences)


def _export_torch(model: object, target: Path, overwrite: bool) -> Exported:
    check_folder(target, overwrite)
    network = network_of(model)
    files = torch_files(network)
    vectors = _vectors(network)
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "torch"
        count = write_torch_folder(written, files, vectors, TOLERANCE, overwrite=False)
        _, answers = read_torch_folder(written).answers()
    differences = _compared(vectors, answers, target)
    write_torch_folder(target, files, vectors, TOLERANCE, overwrite=overwrite)
    return Exported(target, target / "proof.safetensors", count, differences)


def _compared(
    vectors: list[ProofVector], answers: list[dict[str, Array]], target: Path
) -> dict[str, Difference]:
    """Compare what is read again with the model; refuse to write what differs."""
    expected, calls = [one.outputs for one in vectors], [one.inputs for one in vectors]
    differences = compare_answers(expected, answers, TOLERANCE, calls=calls)
    wrong = [name for name, one in differences.items() if one.share > 1]
    if wrong:
        raise ArgumentError(
            f"{wrong[0]} of the file differs from the model's by {differences[wrong[0]].largest:.3g}",
            where=str(target),
            expected=f"at most {differences[wrong[0]].allowed:.3g}",
        )
    return differences


def _vectors(network: Network) -> list[ProofVector]:
    """Draw inputs of several sizes, and compute them."""

    def vector(rows: int, steps: int) -> ProofVector:
        drawn = draw_inputs(network, rows=rows, steps=steps, seed=rows * 100 + steps)
        inputs = {f"input.{number}": array for number, array in enumerate(drawn)}
        return ProofVector(inputs, named_answers(network, inputs))

    return computable(_SIZES, vector, where=network.name)[0]
