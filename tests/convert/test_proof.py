"""Proof files: they come back as they were, and no damaged or foreign one is believed."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from gatestack.convert.paired import check_place, write_pair
from gatestack.convert.proof import (
    Proof,
    ProofVector,
    compare,
    decode_proof,
    encode_proof,
    proof_path,
    read_proof,
)
from gatestack.errors import ArgumentError, ModelFileError, StorageError
from gatestack.runtime.tensor_file import decode_tensors, encode_tensors


@pytest.fixture
def proof() -> Proof:
    draw = np.random.default_rng(0)
    vectors = [
        ProofVector(
            {
                "x": draw.normal(size=(rows, 3)).astype(np.float32),
                "lengths": np.arange(rows),
                "on": np.array(True),
            },
            {"y": draw.normal(size=(rows, 0, 2)), "a/b": np.array(3.5)},
            exact={"y": np.zeros(rows)},
            real=rows > 1,
        )
        for rows in (1, 4, 0)
    ]
    return Proof(vectors, 1e-5, "ab" * 32)


def same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    return a.keys() == b.keys() and all(
        a[k].dtype == b[k].dtype and a[k].shape == b[k].shape and np.array_equal(a[k], b[k]) for k in a
    )


def test_a_proof_comes_back_as_it_was(proof: Proof) -> None:
    found = decode_proof(bytearray(encode_proof(proof)), where="p")
    assert (found.tolerance, found.sha256) == (proof.tolerance, proof.sha256)
    for one, other in zip(found.vectors, proof.vectors, strict=True):
        assert same(one.inputs, other.inputs)
        assert same(one.outputs, other.outputs)
        assert same(one.exact, other.exact)
        assert one.real == other.real


def test_equal_proofs_give_equal_bytes(proof: Proof) -> None:
    assert encode_proof(proof) == encode_proof(proof)


def test_every_flipped_bit_is_found(proof: Proof) -> None:
    content = encode_proof(proof)
    step = 3  # a bit of every third byte, another one each time
    for place in range(0, len(content), step):
        broken = bytearray(content)
        broken[place] ^= 1 << (place // step % 8)
        # Only a blank of the header may change into another one: it stands for nothing.
        if not (content[place : place + 1].isspace() and broken[place : place + 1].isspace()):
            with pytest.raises(ModelFileError, match=r"^p: "):
                decode_proof(broken, where="p")


@pytest.mark.parametrize("length", [0, 7, 8, 100, -1])
def test_a_cut_proof_is_refused(proof: Proof, length: int) -> None:
    with pytest.raises(ModelFileError):
        decode_proof(bytearray(encode_proof(proof)[:length]), where="p")


def test_tensors_that_are_no_proof_are_refused() -> None:
    content = bytearray(encode_tensors({"w": np.zeros(3)}, where="w"))
    with pytest.raises(ModelFileError, match="it is not a proof"):
        decode_proof(content, where="p")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"tolerance": np.array(np.nan)}, "tolerance"),
        ({"tolerance": np.array(-1.0)}, "tolerance"),
        ({"tolerance": np.array([1e-5])}, "tolerance"),
        ({"sha256": np.zeros(31, np.uint8)}, "32 bytes"),
        ({"0/out/y": None, "0/out/a/b": None}, "vector 0 has no answer"),
        ({"0/real": None}, "numbered"),
        ({"7/in/x": np.zeros(2)}, "numbered"),
        ({"stranger": np.zeros(2)}, "'stranger' does not belong"),
        ({"0/real": np.array(1)}, "does not belong"),
    ],
)
def test_a_proof_that_was_made_up_is_refused(
    proof: Proof, change: dict[str, np.ndarray | None], expected: str
) -> None:
    # Its digest is right: whoever makes up a proof can compute one.
    from gatestack.convert import proof as module

    arrays = decode_tensors(bytearray(encode_proof(proof)), where="p")
    arrays.pop("digest")
    arrays = {name: array for name, array in (arrays | change).items() if array is not None}
    arrays["digest"] = module._digest(arrays)
    with pytest.raises(ModelFileError, match=expected):
        decode_proof(bytearray(encode_tensors(arrays, where="p")), where="p")


def test_a_missing_proof_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"m\.onnx\.proof\.safetensors: there is no such file"):
        read_proof(tmp_path / "m.onnx")


def test_a_proof_that_is_a_folder_or_a_pipe_is_refused(tmp_path: Path) -> None:
    proof_path(tmp_path / "a").mkdir()
    with pytest.raises(ModelFileError, match="not a regular file"):
        read_proof(tmp_path / "a")
    os.mkfifo(proof_path(tmp_path / "b"))
    with pytest.raises(ModelFileError, match="not a regular file"):
        read_proof(tmp_path / "b")


def test_a_proof_of_a_terabyte_is_refused_unread(tmp_path: Path) -> None:
    with proof_path(tmp_path / "m").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(ModelFileError, match="expected at most 268435456 bytes"):
        read_proof(tmp_path / "m")


def test_differences_count_against_the_size_of_the_numbers() -> None:
    a = np.array([10.0, 1.0], np.float32)
    near, far = a + np.float32(0.00005), a + np.float32(0.001)
    assert compare([a], [near], 1e-5).share < 1 < compare([a], [far], 1e-5).share
    # The worst vector counts, though its difference is the smaller one.
    small = np.array([1.0])
    found = compare([a, small], [near, small + 1e-4], 1e-5)
    assert found.share == pytest.approx(10, rel=1e-3)
    assert found.largest == pytest.approx(0.0001, rel=0.05)


def test_in_small_units_a_small_difference_is_too_large() -> None:
    """A wavelength in metres, off by a tenth."""
    x, a = np.array([4e-7, 7e-7]), np.array([5e-7])
    assert compare([a], [a * 1.1], 2e-5, inputs=[x]).share > 1000
    assert compare([a], [a * (1 + 1e-6)], 2e-5, inputs=[x]).share < 1
    assert compare([np.zeros(2)], [np.full(2, 1e-9)], 2e-5, inputs=[x]).share > 1


def test_rounding_errors_of_what_cancelled_are_allowed() -> None:
    """The difference of two numbers of size 1, as one array has it by chance, or as all have it."""
    noise = np.array([6e-8, -6e-8])
    zero, usual = np.zeros(2), np.array([0.5, 1.0])
    for expected in ([zero], [zero, usual]):
        found = [array + noise for array in expected]
        assert compare(expected, found, 2e-5, inputs=[usual]).share < 1
        assert compare(expected, found, 2e-5, inputs=[np.arange(3)]).share < 1


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (np.zeros(2), np.zeros(3)),
        (np.zeros(2), np.zeros(2, np.int64)),
        (np.array([1, 2]), np.array([1, 3])),
        (np.array([np.nan]), np.array([0.0])),
        (np.array([np.inf]), np.array([-np.inf])),
        (np.array([0.0]), np.array([np.nan])),
    ],
)
def test_what_cannot_be_compared_differs(a: np.ndarray, b: np.ndarray) -> None:
    assert compare([a], [b], 1e-5).share == np.inf


def test_nan_and_infinity_equal_themselves() -> None:
    a = np.array([np.nan, np.inf, -np.inf, 1.0])
    assert compare([a], [a.copy()], 1e-5).largest == 0


def test_answers_without_a_number_prove_nothing() -> None:
    nothing = np.array([np.nan, np.inf])
    assert compare([nothing, nothing], [nothing, nothing], 1e-5).share == np.inf
    assert compare([nothing, np.ones(1)], [nothing, np.ones(1)], 1e-5).share == 0
    assert compare([np.zeros((0, 2))], [np.zeros((0, 2))], 1e-5).share == 0


def test_a_pair_is_written_together_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "deep" / "m.onnx"
    write_pair(target, b"old", b"old proof")
    from gatestack.convert import paired

    writes = []

    def fail_at_second(path: Path, content: bytes) -> None:
        writes.append(path)
        if len(writes) == 2:
            raise OSError(28, "No space left on device")
        path.write_bytes(content)

    monkeypatch.setattr(paired, "write_flushed", fail_at_second)
    with pytest.raises(StorageError, match="no space left"):
        write_pair(target, b"new", b"new proof")
    assert {file.name: file.read_bytes() for file in target.parent.iterdir()} == {
        "m.onnx": b"old",
        "m.onnx.proof.safetensors": b"old proof",
    }


def test_a_place_is_checked(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"the ending is '\.txt' — expected '\.onnx'"):
        check_place(tmp_path / "m.txt", (".onnx",), False)
    target = tmp_path / "m.onnx"
    proof_path(target).write_bytes(b"somebody's")
    with pytest.raises(ArgumentError, match="exists already"):
        check_place(target, (".onnx",), False)
    assert check_place(target, (".onnx",), True) == target
    target.mkdir()
    with pytest.raises(ArgumentError, match="is no file"):
        check_place(target, (".onnx",), True)
