"""What `Sequences` checks of its parts, and how its constructors read theirs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from gatestack.errors import ArgumentError

__all__ = [
    "as_float",
    "check_array",
    "check_shape",
    "checked_labels",
    "checked_offsets",
    "counted",
    "joined",
    "missing_marked",
    "real_steps",
    "sequence_of",
]

Array: TypeAlias = npt.NDArray[Any]
Floats: TypeAlias = npt.NDArray[np.floating]
Bools: TypeAlias = npt.NDArray[np.bool_]


def check_array(what: str, value: object, rank: int | None, axes: str, owner: str = "Sequences") -> None:
    """Refuse what is no array, or has another number of axes than `rank` (None: at least one)."""
    if not isinstance(value, np.ndarray):
        raise ArgumentError(
            f"{what} is of type {type(value).__name__}", where=owner, expected=f"a NumPy array {axes}"
        )
    if value.ndim != rank if rank is not None else value.ndim == 0:
        raise ArgumentError(f"{what} has shape {value.shape}", where=owner, expected=axes)


def check_shape(what: str, value: object, shape: tuple[int, ...], axes: str) -> None:
    """Refuse what is not an array of this shape."""
    check_array(what, value, len(shape), axes)
    if isinstance(value, np.ndarray) and value.shape != shape:
        raise ArgumentError(
            f"{what} has shape {value.shape}", where="Sequences", expected=f"{axes} = {shape}"
        )


def checked_offsets(offsets: object, steps: int) -> npt.NDArray[np.int64]:
    """Give the offsets as int64, refusing those that do not cut `steps` steps into sequences."""
    check_array("offsets", offsets, 1, "(sequences + 1,)")
    given = np.asarray(offsets)
    if not np.issubdtype(given.dtype, np.integer):
        raise ArgumentError(f"offsets have dtype {given.dtype}", where="Sequences", expected="int64")
    if len(given) == 0 or given[0] != 0 or given[-1] != steps:
        ends = "nothing" if len(given) == 0 else f"{int(given[0])} … {int(given[-1])}"
        raise ArgumentError(
            f"offsets are {ends}", where="Sequences", expected=f"0 … {steps}, the steps of values"
        )
    falling = np.flatnonzero(given[1:] < given[:-1])
    if falling.size:
        at = int(falling[0])
        raise ArgumentError(
            f"offsets fall from {int(given[at])} to {int(given[at + 1])}",
            where=f"Sequences, sequence {at}",
            expected="offsets that never fall",
        )
    return given.astype(np.int64, copy=False)


def checked_labels(what: str, labels: object, count: int) -> tuple[str, ...]:
    """Give the labels as a tuple of `count` strings."""
    if isinstance(labels, str) or not isinstance(labels, Sequence):
        raise ArgumentError(f"{what} is {labels!r}", where="Sequences", expected="a tuple of strings")
    for label in labels:
        if not isinstance(label, str):
            raise ArgumentError(f"{what} holds {label!r}", where="Sequences", expected="strings")
    if len(labels) != count:
        raise ArgumentError(f"{what} has {len(labels)} entries", where="Sequences", expected=str(count))
    return tuple(labels)


def sequence_of(array: npt.ArrayLike, number: int) -> Floats:
    """Give one sequence as (steps, features) float."""
    try:
        given = np.asarray(array)
    except ValueError as problem:  # lists of unequal lengths
        raise ArgumentError(
            f"arrays[{number}] is not a table of numbers",
            where="Sequences.from_arrays",
            expected="(steps, features) or (steps,)",
        ) from problem
    if given.ndim == 1:
        given = given[:, None]
    check_array(f"arrays[{number}]", given, 2, "(steps, features) or (steps,)", "Sequences.from_arrays")
    return as_float(given, f"arrays[{number}]")


def as_float(values: Array, what: str) -> Floats:
    """Keep float32 and float64; make other real numbers float64; refuse the rest."""
    if values.dtype in (np.float32, np.float64):
        return values
    if values.dtype.kind not in "iufb":
        raise ArgumentError(f"{what} has dtype {values.dtype}", where="Sequences", expected="numbers")
    return values.astype(np.float64)


def joined(what: str, parts: Sequence[npt.ArrayLike], shapes: list[tuple[int, ...]]) -> Array:
    """Join one array per sequence, each of the shape its sequence asks for."""
    if len(parts) != len(shapes):
        raise ArgumentError(
            f"{what} has {len(parts)} entries",
            where="Sequences.from_arrays",
            expected=f"{len(shapes)}, one per array",
        )
    arrays = []
    for number, (part, shape) in enumerate(zip(parts, shapes, strict=True)):
        array = np.asarray(part)
        if array.ndim == 1 and len(shape) == 2:
            array = array[:, None]
        if array.shape != shape:
            raise ArgumentError(
                f"{what}[{number}] has shape {array.shape}",
                where="Sequences.from_arrays",
                expected=str(shape),
            )
        arrays.append(array)
    return np.concatenate(arrays)


def missing_marked(values: Floats, observed: Bools | None) -> tuple[Floats, Bools | None]:
    """Set missing entries of `values` to 0.0, in place, and mark them in `observed`."""
    if observed is not None and observed.dtype != np.bool_:
        raise ArgumentError(
            f"observed has dtype {observed.dtype}", where="Sequences.from_arrays", expected="bool"
        )
    known = ~np.isnan(values)
    if observed is not None:
        known &= observed
    elif known.all():
        return values, None
    values[~known] = 0.0
    return values, known


def real_steps(shape: tuple[int, ...], lengths: npt.ArrayLike | None, mask: npt.ArrayLike | None) -> Bools:
    """Bring lengths or mask to one form: (N, T) bool, True where a step is real."""
    owner = "Sequences.from_padded"
    if lengths is not None and mask is not None:
        raise ArgumentError("lengths and mask are both given", where=owner, expected="one of them")
    batch, time = shape
    if mask is not None:
        real = np.asarray(mask)
        if real.dtype != np.bool_:
            raise ArgumentError(f"mask has dtype {real.dtype}", where=owner, expected="bool")
        if real.shape != shape:
            raise ArgumentError(
                f"mask has shape {real.shape}", where=owner, expected=f"(batch, time) = {shape}"
            )
        return real
    if lengths is None:
        return np.ones(shape, np.bool_)
    counts = np.asarray(lengths)
    if counts.shape != (batch,):
        raise ArgumentError(
            f"lengths has shape {counts.shape}", where=owner, expected=f"(batch,) = ({batch},)"
        )
    if counts.size and not np.issubdtype(counts.dtype, np.integer):
        raise ArgumentError(f"lengths has dtype {counts.dtype}", where=owner, expected="whole numbers")
    wrong = np.flatnonzero((counts < 0) | (counts > time))
    if wrong.size:
        row = int(wrong[0])
        raise ArgumentError(
            f"lengths[{row}] is {int(counts[row])}", where=owner, expected=f"0 to {time}, the steps of padded"
        )
    positions: Bools = np.arange(time) < counts[:, None]
    return positions


def counted(number: int, noun: str) -> str:
    """Say `1 step`, `2 steps`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
