"""Sequences of different lengths, one after the other in one array."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence as Listing
from dataclasses import dataclass, fields
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from gatestack.data.sequence_checks import (
    Array,
    Floats,
    as_float,
    check_array,
    check_shape,
    checked_labels,
    checked_offsets,
    counted,
    joined,
    missing_marked,
    real_steps,
    sequence_of,
)
from gatestack.errors import ArgumentError, DataError

__all__ = ["Sequences"]

_STEPS_PER_CHECK = 1 << 16  # keeps what the search for NaN needs beside the values small


@dataclass(frozen=True, eq=False, repr=False)
class Sequences:
    """A ragged batch: n sequences of different lengths without padding.

    Sequence i is `values[offsets[i] : offsets[i + 1]]`. Nothing is copied: the arrays that are given are
    kept, and slices are views into them. Every value is finite. A value that was not observed has `observed`
    False and holds a stand-in: 0.0 from the constructors here, whatever a reader put there otherwise.

    Args:
        values: (total_steps, features), float32 or float64.
        offsets: (n + 1,) whole numbers, from 0 up to total_steps, never falling.
        observed: (total_steps, features) bool, False where a value is missing; None when all were observed.
        time: (total_steps,) datetime64[us] or int64, the time of each step.
        static: (n, S), numbers that hold for a whole sequence.
        targets: (n, …), what is to be predicted of each sequence, for example its class.
        keys: one name per sequence.
        names: one name per feature.

    Raises:
        ArgumentError: a shape or dtype does not fit.
        DataError: a value is NaN or infinite; names the sequence, step and feature.

    Example:
        >>> import numpy as np
        >>> rain = Sequences.from_arrays([[0.1, 0.2, 0.3], [0.5]], keys=["north", "south"])
        >>> rain
        Sequences(2 sequences, 4 steps, 1 feature, float64)
        >>> rain.lengths
        array([3, 1])
        >>> rain[1]
        array([[0.5]])
        >>> rain[:1].keys
        ('north',)
    """

    values: Floats
    offsets: npt.NDArray[np.int64]
    observed: npt.NDArray[np.bool_] | None = None
    time: Array | None = None
    static: Floats | None = None
    targets: Array | None = None
    keys: tuple[str, ...] | None = None
    names: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        check_array("values", self.values, 2, "(total_steps, features)")
        if self.values.dtype not in (np.float32, np.float64):
            raise ArgumentError(
                f"values have dtype {self.values.dtype}", where="Sequences", expected="float32 or float64"
            )
        steps, features = self.values.shape
        object.__setattr__(self, "offsets", checked_offsets(self.offsets, steps))
        count = len(self.offsets) - 1
        if self.observed is not None:
            check_shape("observed", self.observed, (steps, features), "(total_steps, features)")
            if self.observed.dtype != np.bool_:
                raise ArgumentError(
                    f"observed has dtype {self.observed.dtype}", where="Sequences", expected="bool"
                )
        if self.time is not None:
            check_shape("time", self.time, (steps,), "(total_steps,)")
            if self.time.dtype not in (np.dtype("datetime64[us]"), np.dtype(np.int64)):
                raise ArgumentError(
                    f"time has dtype {self.time.dtype}", where="Sequences", expected="datetime64[us] or int64"
                )
        if self.static is not None:
            check_array("static", self.static, 2, "(sequences, static features)")
            check_shape("static", self.static, (count, self.static.shape[1]), "(sequences, static features)")
        if self.targets is not None:
            check_array("targets", self.targets, None, "(sequences, …)")
            check_shape("targets", self.targets, (count, *self.targets.shape[1:]), "(sequences, …)")
        for what, labels, wanted in (("keys", self.keys, count), ("names", self.names, features)):
            if labels is not None:
                object.__setattr__(self, what, checked_labels(what, labels, wanted))
        self._check_finite()

    @classmethod
    def from_arrays(
        cls,
        arrays: Listing[npt.ArrayLike],
        *,
        observed: Listing[npt.ArrayLike] | None = None,
        time: Listing[npt.ArrayLike] | None = None,
        static: Floats | None = None,
        targets: Array | None = None,
        keys: Listing[str] | None = None,
        names: Listing[str] | None = None,
    ) -> Sequences:
        """Join one array per sequence.

        Args:
            arrays: each (T_i, features), or (T_i,) for one feature. NaN marks a missing value: it becomes 0.0
                with `observed` False. float32 is kept; everything else becomes float64.
            observed: each like its array, False where a value is missing; NaN is missing as well.
            time: each (T_i,).
            static: (n, S).
            targets: (n, …).
            keys: one name per sequence.
            names: one name per feature.

        Returns:
            The sequences, in one new array.

        Raises:
            ArgumentError: no arrays, or arrays of different numbers of features.
            DataError: a value is infinite.

        Example:
            >>> import numpy as np
            >>> gaps = Sequences.from_arrays([[1.0, float("nan")], [3.0]])
            >>> gaps.values[:, 0], gaps.observed[:, 0]
            (array([1., 0., 3.]), array([ True, False,  True]))
        """
        if len(arrays) == 0:
            raise ArgumentError("arrays is empty", where="Sequences.from_arrays", expected="at least one")
        parts = [sequence_of(array, number) for number, array in enumerate(arrays)]
        for number, part in enumerate(parts):
            if part.shape[1] != parts[0].shape[1]:
                raise ArgumentError(
                    f"arrays[{number}] has shape {part.shape}",
                    where="Sequences.from_arrays",
                    expected=f"(steps, {parts[0].shape[1]}), the features of arrays[0]",
                )
        values = np.concatenate(parts)
        offsets = np.concatenate(([0], np.cumsum([len(part) for part in parts]))).astype(np.int64)
        known = None
        if observed is not None:
            known = joined("observed", observed, [part.shape for part in parts])
        values, known = missing_marked(values, known)
        return cls(
            values,
            offsets,
            known,
            time=None if time is None else joined("time", time, [part.shape[:1] for part in parts]),
            static=static,
            targets=targets,
            keys=None if keys is None else tuple(keys),
            names=None if names is None else tuple(names),
        )

    @classmethod
    def from_padded(
        cls,
        padded: Floats,
        *,
        lengths: npt.ArrayLike | None = None,
        mask: npt.ArrayLike | None = None,
        static: Floats | None = None,
        targets: Array | None = None,
        keys: Listing[str] | None = None,
        names: Listing[str] | None = None,
    ) -> Sequences:
        """Take the real steps of a padded array.

        Args:
            padded: (N, T, features). NaN in a real step marks a missing value: it becomes 0.0 with `observed`
                False. float32 is kept; everything else becomes float64.
            lengths: (N,) whole numbers from 0 to T: the first steps of each row are real.
            mask: (N, T) bool, True where a step is real, instead of lengths. The others are left out, also in
                the middle of a row, which for a recurrent layer is the same as masking them.
            static: (N, S).
            targets: (N, …).
            keys: one name per sequence.
            names: one name per feature.

        Returns:
            The sequences, in one new array.

        Raises:
            ArgumentError: a shape does not fit, a length lies outside 0 to T, or lengths and mask are both
            given.
            DataError: a value of a real step is infinite.

        Example:
            >>> import numpy as np
            >>> Sequences.from_padded(np.ones((2, 3, 4)), lengths=[3, 1])
            Sequences(2 sequences, 4 steps, 4 features, float64)
        """
        padded = np.asarray(padded)
        check_array("padded", padded, 3, "(batch, time, features)", "Sequences.from_padded")
        real = real_steps(padded.shape[:2], lengths, mask)
        values = as_float(padded[real], "padded")
        offsets = np.concatenate(([0], np.cumsum(real.sum(axis=1)))).astype(np.int64)
        values, known = missing_marked(values, None)
        return cls(
            values,
            offsets,
            known,
            static=static,
            targets=targets,
            keys=None if keys is None else tuple(keys),
            names=None if names is None else tuple(names),
        )

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """(n,) steps of each sequence."""
        return np.diff(self.offsets)

    @property
    def total_steps(self) -> int:
        """Steps of all sequences together."""
        return int(self.values.shape[0])

    @property
    def num_features(self) -> int:
        """Features of each step."""
        return int(self.values.shape[1])

    def __len__(self) -> int:
        """Count the sequences."""
        return len(self.offsets) - 1

    @overload
    def __getitem__(self, index: int) -> Floats: ...
    @overload
    def __getitem__(self, index: slice) -> Sequences: ...
    def __getitem__(self, index: int | slice) -> Floats | Sequences:
        """Give the values (T_i, features) of one sequence, or the sequences of a slice; both are views."""
        if isinstance(index, slice):
            return self._sliced(index)
        number = int(index)
        if not -len(self) <= number < len(self):
            raise IndexError(f"sequence {number} of {len(self)}")
        number %= len(self)
        return self.values[self.offsets[number] : self.offsets[number + 1]]

    def __iter__(self) -> Iterator[Floats]:
        """Give the values of each sequence in turn, as views."""
        return (self[number] for number in range(len(self)))

    def __repr__(self) -> str:
        """Say how much there is."""
        return (
            f"Sequences({counted(len(self), 'sequence')}, {counted(self.total_steps, 'step')}, "
            f"{counted(self.num_features, 'feature')}, {self.values.dtype})"
        )

    def rows(self, indices: npt.ArrayLike) -> Sequences:
        """Copy some sequences, in any order, also repeatedly.

        Args:
            indices: (m,) whole numbers from -n to n - 1.

        Returns:
            m sequences in new arrays.

        Raises:
            ArgumentError: an index is not a whole number or outside the range.

        Example:
            >>> import numpy as np
            >>> Sequences.from_arrays([[1.0], [2.0, 3.0]]).rows([1, 0, 1]).values[:, 0]
            array([2., 3., 1., 2., 3.])
        """
        picked = np.asarray(indices)
        if picked.size == 0:
            picked = picked.astype(np.int64)
        if picked.ndim != 1 or not np.issubdtype(picked.dtype, np.integer):
            raise ArgumentError(
                f"indices have shape {picked.shape} and dtype {picked.dtype}",
                where="Sequences.rows",
                expected="a list of whole numbers",
            )
        outside = (picked < -len(self)) | (picked >= len(self))
        if outside.any():
            raise ArgumentError(
                f"index {int(picked[outside][0])}", where="Sequences.rows", expected=f"less than {len(self)}"
            )
        picked = picked % max(len(self), 1)
        lengths = self.lengths[picked]
        offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
        # Step k of the copy comes from as far into its sequence as k is into the copy's.
        steps = np.arange(offsets[-1]) + np.repeat(self.offsets[picked] - offsets[:-1], lengths)
        return self._unchecked(
            values=self.values[steps],
            offsets=offsets,
            observed=None if self.observed is None else self.observed[steps],
            time=None if self.time is None else self.time[steps],
            static=None if self.static is None else self.static[picked],
            targets=None if self.targets is None else self.targets[picked],
            keys=None if self.keys is None else tuple(self.keys[number] for number in picked),
            names=self.names,
        )

    def padded(self, batch_first: bool = True) -> tuple[Floats, npt.NDArray[np.int64]]:
        """Fill the sequences up with zeros to the longest one.

        Args:
            batch_first: (n, T, features), or (T, n, features) where False.

        Returns:
            values in a new array, and lengths (n,).

        Example:
            >>> values, lengths = Sequences.from_arrays([[1.0], [2.0, 3.0]]).padded()
            >>> values[:, :, 0], lengths
            (array([[1., 0.],
                   [2., 3.]]), array([1, 2]))
        """
        lengths = self.lengths
        longest = int(lengths.max(initial=0))
        real = np.arange(longest) < lengths[:, None]  # -> (n, T)
        values = np.zeros((len(self), longest, self.num_features), self.values.dtype)
        values[real] = self.values
        return (values if batch_first else np.ascontiguousarray(values.swapaxes(0, 1))), lengths

    def _sliced(self, index: slice) -> Sequences:
        start, stop, step = index.indices(len(self))
        if step != 1:
            raise ArgumentError(
                f"a slice with step {step}",
                where="Sequences",
                expected="step 1",
                hint=f"rows(range({start}, {stop}, {step})) copies them",
            )
        stop = max(start, stop)
        first, last = self.offsets[start], self.offsets[stop]
        return self._unchecked(
            values=self.values[first:last],
            offsets=self.offsets[start : stop + 1] - first,
            observed=None if self.observed is None else self.observed[first:last],
            time=None if self.time is None else self.time[first:last],
            static=None if self.static is None else self.static[start:stop],
            targets=None if self.targets is None else self.targets[start:stop],
            keys=None if self.keys is None else self.keys[start:stop],
            names=self.names,
        )

    @classmethod
    def _unchecked(cls, **parts: Any) -> Sequences:
        """Make sequences from parts of checked ones, without reading all values again."""
        made = object.__new__(cls)
        for field in fields(cls):
            object.__setattr__(made, field.name, parts[field.name])
        return made

    def _check_finite(self) -> None:
        for start in range(0, self.total_steps, _STEPS_PER_CHECK):
            wrong = ~np.isfinite(self.values[start : start + _STEPS_PER_CHECK])
            if wrong.any():
                row, feature = (int(position[0]) for position in wrong.nonzero())
                self._refuse(start + row, feature)

    def _refuse(self, row: int, feature: int) -> None:
        number = int(np.searchsorted(self.offsets, row, side="right")) - 1
        value = float(self.values[row, feature])
        sequence = f"sequence {number}" if self.keys is None else f"sequence {number} ({self.keys[number]})"
        column = f"feature {feature}" if self.names is None else f"feature {feature} ({self.names[feature]})"
        raise DataError(
            f"the value is {value}",
            where=f"{sequence}, step {row - int(self.offsets[number])}, {column}",
            expected="a finite number",
            hint="Sequences.from_arrays and from_padded take NaN as missing" if np.isnan(value) else None,
        )
