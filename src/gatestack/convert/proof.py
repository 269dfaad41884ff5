"""The proof of an exported file: test vectors beside it, `<file>.proof.safetensors`.

The file holds for vector k its inputs `k/in/NAME` and the answers `k/out/NAME`; where the weights were
rounded to eight bits also the answers of the model before, `k/exact/NAME`; `k/real` (bool) says whether the
inputs are data or drawn at random. Then `tolerance` (float64), `sha256` of the exported file and `digest`,
the SHA-256 of all the rest, so that one changed bit anywhere is found.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gatestack.convert.bounded_read import read_bounded
from gatestack.errors import ModelFileError
from gatestack.runtime.tensor_file import decode_tensors, encode_tensors

__all__ = [
    "TOLERANCE",
    "Difference",
    "Proof",
    "ProofVector",
    "compare",
    "compare_answers",
    "decode_proof",
    "encode_proof",
    "proof_path",
    "read_proof",
]

Array = npt.NDArray[Any]

TOLERANCE = 2e-5
"""What an answer may differ from the model's, for numbers of size 1; see `compare`."""

MAX_PROOF_BYTES = 2**28
"""The largest proof that is read: 256 MiB."""

_TINIEST = float(np.finfo(np.float32).tiny)

_NAME = re.compile(r"(\d{1,6})/(in|out|exact)/(.+)", re.DOTALL)


@dataclass(frozen=True, eq=False)
class ProofVector:
    """Inputs of a model by name, and its answers.

    Args:
        inputs: name to array of any shape.
        outputs: name to array.
        exact: what the model gave before its weights were rounded; empty where they were not.
        real: the inputs are data, not drawn at random.

    Example:
        >>> ProofVector({"x": np.zeros(2)}, {"y": np.ones(2)}).real
        False
    """

    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]
    exact: Mapping[str, Array] = field(default_factory=dict)
    real: bool = False


@dataclass(frozen=True, eq=False)
class Proof:
    """What a proof file holds.

    Args:
        vectors: one or more.
        tolerance: see `compare`.
        sha256: of the exported file, 64 hexadecimal digits.
    """

    vectors: Sequence[ProofVector]
    tolerance: float
    sha256: str


@dataclass(frozen=True)
class Difference:
    """How far answers are from the expected ones, over all vectors.

    Args:
        largest: the largest difference between two numbers.
        mean: the mean difference.
        allowed: what the largest may be, for the vector in which it is nearest to being too large.
        share: the largest difference over what is allowed; more than 1 fails.

    Example:
        >>> compare([np.ones(3)], [np.ones(3)], 1e-5)
        Difference(largest=0.0, mean=0.0, allowed=1e-05, share=0.0)
    """

    largest: float
    mean: float
    allowed: float
    share: float


def proof_path(path: str | os.PathLike[str]) -> Path:
    """Say where the proof of an exported file stands.

    Example:
        >>> proof_path("model.onnx").name
        'model.onnx.proof.safetensors'
    """
    shown = Path(path)
    return shown.with_name(shown.name + ".proof.safetensors")


def compare(
    expected: Sequence[Array], found: Sequence[Array], tolerance: float, *, inputs: Sequence[Array] = ()
) -> Difference:
    """Compare answers, one array for each vector.

    A difference |a − b| may be `tolerance` · s, where s is the largest of

    - |a| over this array: where numbers are large, float32 has fewer digits after the point;
    - 1/16 of |a| over all arrays: an array may be small by chance;
    - 1/128 of the largest number among the inputs, or of 1 where that is larger: what is small because large
      numbers cancel has the rounding errors of those. In small units, such as metres for a wavelength, inputs
      are small as well, and so is what is allowed.

    NaN equals NaN, an infinity itself; but where there is no finite number at all, nothing is proved. Whole
    numbers, booleans and texts must be equal.

    Args:
        expected: arrays a, of any shape.
        found: arrays b.
        tolerance: of numbers of size 1.
        inputs: for which these are the answers; those that are not floats do not count.

    Returns:
        The differences over all of them; infinite where shapes or kinds differ, one is finite and the other
        is not, or none is finite.
    """
    floats = [array for array in expected if array.dtype.kind == "f" and array.size]
    if floats and not any(np.isfinite(array).any() for array in floats):
        return Difference(np.inf, np.inf, tolerance, np.inf)
    sizes = [_size(array) for array in expected]
    units = [_size(array) for array in inputs if array.dtype.kind == "f"]
    least = max(max(sizes, default=0.0) / 16, min(1.0, max(units, default=1.0)) / 128, _TINIEST)
    largest, total, count, worst = 0.0, 0.0, 0, Difference(0.0, 0.0, tolerance * least, 0.0)
    for a, b, size in zip(expected, found, sizes, strict=True):
        gaps, allowed = _gaps(a, b), tolerance * max(size, least)
        top = float(gaps.max(initial=0.0))
        largest, total, count = max(largest, top), total + float(gaps.sum()), count + gaps.size
        if top / allowed >= worst.share:
            worst = Difference(top, 0.0, allowed, top / allowed)
    return Difference(largest, total / max(count, 1), worst.allowed, worst.share)


def compare_answers(
    expected: Sequence[Mapping[str, Array]],
    found: Sequence[Mapping[str, Array]],
    tolerance: float,
    *,
    calls: Sequence[Mapping[str, Array]],
) -> dict[str, Difference]:
    """Compare the outputs of a model, by name.

    Args:
        expected: for each call, name to array of any shape; the names of the first one are compared.
        found: the same of another run.
        tolerance: see `compare`.
        calls: the inputs by name.

    Returns:
        For each name, the differences over all calls.

    Example:
        >>> y = {"y": np.ones(3)}
        >>> compare_answers([y], [y], 1e-5, calls=[{"x": np.ones(2)}])["y"].share
        0.0
    """
    inputs = [array for call in calls for array in call.values()]
    return {
        name: compare([one[name] for one in expected], [one[name] for one in found], tolerance, inputs=inputs)
        for name in expected[0]
    }


def _gaps(a: Array, b: Array) -> npt.NDArray[np.float64]:
    if a.shape != b.shape or a.dtype.kind != b.dtype.kind:
        return np.array([np.inf])
    if a.dtype.kind != "f":
        return np.where(a == b, 0.0, np.inf)
    wide, other = a.astype(np.float64), b.astype(np.float64)
    same = (wide == other) | (np.isnan(wide) & np.isnan(other))
    with np.errstate(invalid="ignore"):
        gaps = np.where(same, 0.0, np.abs(wide - other))
    return np.where(np.isnan(gaps), np.inf, gaps)


def _size(array: Array) -> float:
    """Give the largest finite number of an array of floats, without its sign."""
    if array.dtype.kind != "f":
        return 0.0
    wide = array.astype(np.float64)
    return float(np.abs(wide[np.isfinite(wide)]).max(initial=0.0))


def encode_proof(proof: Proof) -> bytes:
    """Write a proof as the bytes of its file; equal proofs give equal bytes.

    Example:
        >>> proof = Proof([ProofVector({"x": np.zeros(2)}, {"y": np.ones(2)})], 1e-5, "0" * 64)
        >>> decode_proof(bytearray(encode_proof(proof)), where="p").vectors[0].outputs["y"]
        array([1., 1.])
    """
    arrays: dict[str, Array] = {}
    for number, vector in enumerate(proof.vectors):
        arrays |= {f"{number}/in/{name}": array for name, array in vector.inputs.items()}
        arrays |= {f"{number}/out/{name}": array for name, array in vector.outputs.items()}
        arrays |= {f"{number}/exact/{name}": array for name, array in vector.exact.items()}
        arrays[f"{number}/real"] = np.array(vector.real)
    arrays["tolerance"] = np.array(proof.tolerance)
    arrays["sha256"] = np.frombuffer(bytes.fromhex(proof.sha256), np.uint8)
    arrays["digest"] = _digest(arrays)
    return encode_tensors(arrays, where="proof")


def decode_proof(content: bytearray, *, where: str) -> Proof:
    """Read a proof out of the bytes of its file.

    Raises:
        ModelFileError: it is damaged, or no proof.
    """
    arrays = decode_tensors(content, where=where)
    digest = arrays.pop("digest", None)
    if digest is None:
        raise _damaged(where, "there is no 'digest' in it: it is not a proof")
    if digest.dtype != np.uint8 or not np.array_equal(digest, _digest(arrays)):
        raise _damaged(where, "its digest is not that of its contents: a bit of it has changed")
    tolerance, sha256 = arrays.pop("tolerance", None), arrays.pop("sha256", None)
    if tolerance is None or tolerance.dtype != np.float64 or tolerance.shape != () or not tolerance > 0:
        raise _damaged(where, "its tolerance is not a positive number")
    if sha256 is None or sha256.dtype != np.uint8 or sha256.shape != (32,):
        raise _damaged(where, "its sha256 is not 32 bytes")
    return Proof(_vectors(arrays, where), float(tolerance), sha256.tobytes().hex())


def read_proof(path: str | os.PathLike[str]) -> Proof:
    """Read the proof that stands beside an exported file.

    Args:
        path: of the exported file.

    Raises:
        ModelFileError: there is none, it is too large, damaged, or no proof.
        StorageError: the system would not let it be read.
    """
    file = proof_path(path)
    return decode_proof(read_bounded(file, MAX_PROOF_BYTES, "export it again"), where=str(file))


def _vectors(arrays: dict[str, Array], where: str) -> list[ProofVector]:
    parts: dict[int, dict[str, dict[str, Array]]] = {}
    real: dict[int, bool] = {}
    for name, array in arrays.items():
        number, _, rest = name.partition("/")
        if rest == "real" and number.isdecimal() and array.shape == () and array.dtype == np.bool_:
            real[int(number)] = bool(array)
            continue
        match = _NAME.fullmatch(name)
        if match is None:
            raise _damaged(where, f"tensor {name[:60]!r} does not belong into a proof")
        parts.setdefault(int(match[1]), {"in": {}, "out": {}, "exact": {}})[match[2]][match[3]] = array
    if not parts or sorted(parts) != list(range(len(parts))) or sorted(real) != sorted(parts):
        raise _damaged(where, "its vectors are not numbered 0, 1, 2, …")
    found = []
    for place in range(len(parts)):
        one = parts[place]
        if not one["out"]:
            raise _damaged(where, f"vector {place} has no answer")
        found.append(ProofVector(one["in"], one["out"], one["exact"], real[place]))
    return found


def _digest(arrays: Mapping[str, Array]) -> npt.NDArray[np.uint8]:
    found = hashlib.sha256()
    for name in sorted(arrays):
        array = np.asarray(arrays[name])
        little = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"), copy=False))
        found.update(f"{name}\0{little.dtype.str}\0{array.shape}\0".encode())
        found.update(little.tobytes())
    return np.frombuffer(found.digest(), np.uint8)


def _damaged(where: str, what: str) -> ModelFileError:
    return ModelFileError(what, where=where, hint="export the model again, or take a copy of both files")
