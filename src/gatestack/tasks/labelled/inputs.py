"""What fit and predict are given, as sequences: files, frames, arrays, scikit-learn's two-dimensional X."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d, validate_data

from gatestack.data.collections import LabelColumns, LabelledSequences, read_labelled
from gatestack.data.collections.labelled import TargetKind
from gatestack.data.sequences import Sequences
from gatestack.errors import ArgumentError, DataError, nearest_name, quote_value

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator

__all__ = ["check_like_fit", "read_for_fit", "read_for_predict", "read_scored"]


_LARGEST = 1e18  # networks compute in float32, and scaling squares the values


class _WrongTypeError(DataError, TypeError):
    """Ours, and also what scikit-learn's checks catch where X holds things that are no numbers."""


def read_for_fit(estimator: BaseEstimator, X: Any, y: Any, kind: TargetKind) -> LabelledSequences:
    """Read the data of a fit, and set `n_features_in_` (and `feature_names_in_`) of the estimator.

    Args:
        estimator: the one that is fitted.
        X: see `Classifier.fit`.
        y: (cases,), or None where X brings its labels.
        kind: what the labels are read as.

    Raises:
        DataError, ArgumentError: the data cannot be used.
    """
    if y is not None and isinstance(X, str | Path | LabelledSequences):
        raise ArgumentError("y is given beside data that brings its own", where="fit", expected="y=None")
    if y is None and brings_labels(X):
        data = read_labelled(X, kind=kind)
        if (data.labels if kind == "classes" else data.targets) is None:
            raise DataError(
                "the data has no " + ("labels" if kind == "classes" else "targets"), where=data.source
            )
        _set_width(estimator, data.sequences.num_features)
    elif is_flat(X):
        values, y = _validated(estimator, X, y, reset=True)
        data = _joined(Sequences.from_padded(values[..., None]), y, kind)
    else:
        data = _joined(read_labelled(X, need_labels=False).sequences, y, kind)
        _set_width(estimator, data.sequences.num_features)
    _check_steps(data)
    _check_learnable(data)
    return data


def read_for_predict(
    estimator: BaseEstimator, X: Any, *, flat: bool, columns: LabelColumns | None, kind: TargetKind
) -> LabelledSequences:
    """Read the data of a prediction like that of the fit; labels may be absent.

    Args:
        estimator: fitted.
        X: see `Classifier.predict`.
        flat: whether the fit had a two-dimensional X.
        columns: of the table of the fit.
        kind: what labels are read as.
    """
    if brings_labels(X) and not (flat and is_frame(X)):
        columns = columns or LabelColumns()
        table = may_be_table(X)
        data = read_labelled(
            X,
            kind=kind,
            label=columns.label if table or _ending(X) == ".arff" else None,
            case=columns.case if table else None,
            time=columns.time if table else None,
            need_labels=False,
        )
    elif flat and is_flat(X):
        values, _ = _validated(estimator, X, None, reset=False)
        data = LabelledSequences(Sequences.from_padded(values[..., None]))
    else:
        data = read_labelled(X, need_labels=False)
    _check_steps(data)
    return data


def read_scored(
    estimator: BaseEstimator, X: Any, y: Any, *, flat: bool, columns: LabelColumns | None, kind: TargetKind
) -> LabelledSequences:
    """Read data with its truth, for an evaluation."""
    data = read_for_predict(estimator, X, flat=flat, columns=columns, kind=kind)
    if y is not None:
        return _joined(data.sequences, y, kind)
    if (data.labels if kind == "classes" else data.targets) is None:
        raise DataError(
            "the data has no truth to score against",
            where=data.source,
            expected="labels in the data, or y",
            hint="predict needs none",
        )
    return data


def check_like_fit(sequences: Sequences, training: Sequences, owner: str) -> None:
    """Raise a `DataError` where the features are not those of the fit."""
    if sequences.names is not None and training.names is not None and sequences.names != training.names:
        missing = [name for name in training.names if name not in sequences.names]
        extra = [name for name in sequences.names if name not in training.names]
        what = f"the column {quote_value(missing[0])} of the fit is missing" if missing else ""
        what = what or (f"the column {quote_value(extra[0])} was not in the fit" if extra else "")
        raise DataError(
            what or f"the columns stand in another order: {', '.join(sequences.names[:6])}",
            where=owner,
            expected=", ".join(training.names[:12]),
            hint=nearest_name(missing[0], sequences.names) if missing else None,
        )
    if sequences.num_features != training.num_features:
        raise DataError(
            f"X has {sequences.num_features} channels, but {owner} is expecting {training.num_features} "
            "channels as input"
        )


def brings_labels(X: Any) -> bool:
    """Tell what can hold labels itself: paths, frames, labelled sequences."""
    return isinstance(X, str | Path | LabelledSequences) or is_frame(X)


def is_frame(X: Any) -> bool:
    """Tell a pandas, Polars or Arrow frame, as far as its face shows."""
    return hasattr(X, "columns") and not isinstance(X, LabelledSequences)


def may_be_table(X: Any) -> bool:
    """Tell what may have named columns."""
    return is_frame(X) or _ending(X) not in ("", ".ts", ".arff")


def _ending(X: Any) -> str:
    return Path(X).suffix.lower() if isinstance(X, str | Path) else ""


def is_flat(X: Any) -> bool:
    """Tell what scikit-learn takes as X: all but deeper arrays, ragged lists and sequences of ours."""
    if isinstance(X, Sequences | LabelledSequences | str | Path):
        return False
    if isinstance(X, np.ndarray):
        return X.ndim < 3 and not (X.dtype == object and X.ndim == 1 and len(X) and np.ndim(X[0]) > 0)
    if isinstance(X, list | tuple) and X and not all(np.ndim(part) == 0 for part in X if not _ragged(part)):
        # A list of arrays is a list of series, also where their lengths happen to agree.
        shapes = {None if _ragged(part) or isinstance(part, np.ndarray) else np.shape(part) for part in X}
        return len(shapes) == 1 and None not in shapes and len(shapes.pop() or ()) == 1
    return True


def _ragged(part: Any) -> bool:
    try:
        np.shape(part)
    except ValueError:
        return True
    return False


def _validated(
    estimator: BaseEstimator, X: Any, y: Any, *, reset: bool
) -> tuple[npt.NDArray[np.float64], npt.NDArray[Any] | None]:
    """Let scikit-learn check X, with its wording, and raise what it finds as ours."""
    try:
        if not reset:
            return _checked(estimator, X, reset=False), None
        if y is None:
            _checked(estimator, X, y=None)  # raises: y is required
        values, answers = _checked(estimator, X, y=y, ensure_min_samples=2)
        return values, answers
    except TypeError as error:
        raise _WrongTypeError(str(error)) from error
    except ValueError as error:
        raise DataError(str(error)) from error


def _checked(estimator: BaseEstimator, X: Any, **options: Any) -> Any:
    # Missing values are welcome; n_features_in_ and feature_names_in_ are set here.
    options |= {"dtype": np.float64, "ensure_all_finite": "allow-nan"}
    return validate_data(estimator, X, **options)  # type: ignore[no-untyped-call]


def _joined(sequences: Sequences, y: Any, kind: TargetKind) -> LabelledSequences:
    if y is None:
        raise ArgumentError("y cannot be None: the data brings no labels", expected="y, one for each case")
    try:
        given = column_or_1d(y, warn=True)  # type: ignore[no-untyped-call]
        _check_kinds(given, kind)
        if kind == "classes":
            check_classification_targets(given)  # type: ignore[no-untyped-call]
        else:
            given = np.asarray(given, dtype=np.float64)
    except (ValueError, TypeError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(str(error)) from error
    if kind == "numbers":
        if not np.isfinite(given).all():
            raise DataError("Input y contains NaN or infinity.", expected="finite numbers")
        return LabelledSequences(sequences, targets=given)
    return LabelledSequences(sequences, given, classes=tuple(np.unique(given).tolist()))


def _check_kinds(y: npt.NDArray[Any], kind: TargetKind) -> None:
    """Raise a `DataError` that names the case where y holds what NumPy's own errors would hide."""
    if kind == "numbers" and y.dtype.kind in "OUS":
        for case, value in enumerate(y):
            try:
                float(value)
            except (TypeError, ValueError):
                raise DataError(
                    f"y of case {case} is {quote_value(value)}",
                    expected="a number",
                    hint="use Classifier (fit classify) to name classes",
                ) from None
    if kind == "classes" and y.dtype == object:
        kinds = {type(value) for value in y}
        nothing = [case for case, value in enumerate(y) if value is None]
        if nothing:
            raise DataError(f"y of case {nothing[0]} is missing", hint="leave the case out")
        if str in kinds and len(kinds) > 1:
            other = next(case for case, value in enumerate(y) if not isinstance(value, str))
            raise DataError(
                f"y mixes text and {type(y[other]).__name__}, as in case {other}: {quote_value(y[other])}",
                expected="classes of one kind",
            )


def _set_width(estimator: Any, channels: int) -> None:
    estimator.n_features_in_ = channels
    if hasattr(estimator, "feature_names_in_"):
        del estimator.feature_names_in_


def _check_steps(data: LabelledSequences) -> None:
    sequences = data.sequences
    empty = np.flatnonzero(sequences.lengths == 0)
    if len(empty):
        raise DataError(f"case {int(empty[0])} has no steps", where=data.source, expected="one or more")
    huge = np.flatnonzero((np.abs(sequences.values) > _LARGEST).any(axis=1))
    if len(huge):
        case = int(np.searchsorted(sequences.offsets, huge[0], side="right")) - 1
        raise DataError(
            f"a value of case {case} is {np.abs(sequences.values[huge[0]]).max():.3g}",
            where=f"{data.source}, step {int(huge[0] - sequences.offsets[case])}",
            expected=f"at most {_LARGEST:.0e}, whose square float32 can hold",
            hint="scale the values down",
        )


def _check_learnable(data: LabelledSequences) -> None:
    sequences = data.sequences
    if sequences.observed is not None and not sequences.observed.any():
        raise DataError("no value of any case is known", where=data.source, expected="numbers")
    if data.targets is None:
        return
    far = np.flatnonzero(np.abs(data.targets) > _LARGEST)
    if len(far):
        raise DataError(
            f"the target of case {int(far[0])} is {data.targets[int(far[0])]:.3g}",
            where=data.source,
            expected=f"at most {_LARGEST:.0e}, whose square float32 can hold",
            hint="scale the targets down",
        )
