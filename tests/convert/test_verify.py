"""What `verify` must not believe."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from networks import tagger

import gatestack as gs
from gatestack.convert import verify
from gatestack.convert.onnx.builder import GraphBuilder
from gatestack.convert.proof import Proof, ProofVector, encode_proof, proof_path
from gatestack.errors import ModelFileError
from gatestack.runtime.model_folder import read_model_folder, write_model_folder


class Silent:
    """An estimator that computes nothing of its proof."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def proof(self) -> dict[str, np.ndarray]:
        return {"other": np.ones(1)}


def test_a_proof_of_which_nothing_is_computed_does_not_pass(tmp_path: Path) -> None:
    proof = {"answer": np.ones(1)}
    write_model_folder(tmp_path / "m", model={"kind": "forecaster"}, weights={}, proof=proof)
    with pytest.raises(ModelFileError, match="nothing computes answer of its proof — expected other"):
        verify(tmp_path / "m", load=Silent)


def test_a_proof_without_a_number_does_not_pass(tmp_path: Path) -> None:
    tagger().save(tmp_path / "m")
    folder = read_model_folder(tmp_path / "m")
    weights = {name: np.full_like(array, np.nan) for name, array in folder.weights.items()}
    proof = {n: a if n.startswith("input") else np.full_like(a, np.nan) for n, a in folder.proof.items()}
    write_model_folder(tmp_path / "nan", model=folder.model, weights=weights, proof=proof)
    for read in (gs.load, verify):
        with pytest.raises(ModelFileError, match="differ from its proof by inf"):
            read(tmp_path / "nan")


def test_a_graph_that_takes_enormous_memory_when_it_runs_is_refused(tmp_path: Path) -> None:
    b = GraphBuilder()
    x = b.input("x", "float32", ("batch", "time"))
    many = b.op("Mul", b.op("Add", b.op("Mul", b.size(x, 0), b.ints(0)), b.ints(1)), b.ints(60_000))
    grown = b.op("Tile", x, b.op("Concat", many, many, axis=0))
    b.output(b.op("ReduceSum", grown, b.ints(1), keepdims=0), "y", ("rows",))
    content = b.model().SerializeToString()
    path = tmp_path / "bomb.onnx"
    path.write_bytes(content)
    vector = ProofVector({"x": np.ones((1, 1), np.float32)}, {"y": np.ones(60_000, np.float32)})
    proof = Proof([vector], 1e-5, hashlib.sha256(content).hexdigest())
    proof_path(path).write_bytes(encode_proof(proof))
    with pytest.raises(ModelFileError, match=r"bomb\.onnx: it cannot be computed with 2\.0 GiB of memory"):
        verify(path)
