"""Every error that Gatestack raises on purpose, ordered by who can put it right.

```
GatestackError
├── DataError          (ValueError)     the data must change: a file, a row, a column
├── ArgumentError      (ValueError)     the call must change: an argument, an option, a shape
├── NotFittedError     (ValueError, AttributeError)   fit or load the model first
├── ModelFileError     (ValueError)     the model folder must change: missing, damaged, unknown version
├── TrainingError      (RuntimeError)   training cannot go on: NaN loss, two runs on one folder
├── KernelError        (RuntimeError)   the installation must change: compiled kernels absent or unfit
└── StorageError       (OSError)        the machine must change: disk full, no permission
```

Each message says what was wrong, where, and what to do:
`<where>: <what> — expected <rule>`, then a blank line and `hint: …`. What many callers check in the same way
has its check, and with it its wording, here: `check_choice`, `check_whole`, `check_share`.
"""

from __future__ import annotations

import difflib
import numbers
from collections.abc import Iterable, Sequence

__all__ = [
    "ArgumentError",
    "DataError",
    "GatestackError",
    "KernelError",
    "ModelFileError",
    "NotFittedError",
    "StorageError",
    "TrainingError",
    "check_choice",
    "check_share",
    "check_whole",
    "nearest_name",
    "quote_value",
]

_LONGEST_QUOTED_VALUE = 60


class GatestackError(Exception):
    """Base of every error that Gatestack raises on purpose.

    Args:
        what: what was wrong, with the value that was found.
        where: file, row and column, or the argument and its owner.
        expected: the rule that was broken.
        hint: what to do about it.

    Example:
        >>> print(DataError("the file is empty", where="rain.csv", hint="check that the download finished"))
        rain.csv: the file is empty
        <BLANKLINE>
        hint: check that the download finished
    """

    def __init__(
        self, what: str, *, where: str | None = None, expected: str | None = None, hint: str | None = None
    ) -> None:
        self.what = what
        self.where = where
        self.expected = expected
        self.hint = hint
        text = f"{where}: {what}" if where else what
        if expected:
            text += f" — expected {expected}"
        if hint:
            text += f"\n\nhint: {hint}"
        super().__init__(text)


class DataError(GatestackError, ValueError):
    """The data must change: a file, a row, a column, a value."""


class ArgumentError(GatestackError, ValueError):
    """The call must change: an argument, an option, the shape of an array."""


class NotFittedError(GatestackError, ValueError, AttributeError):
    """The model has not been fitted or loaded yet (same bases as scikit-learn's error of this name)."""


class ModelFileError(GatestackError, ValueError):
    """A model folder or checkpoint is missing, damaged, or of an unknown version."""


class TrainingError(GatestackError, RuntimeError):
    """Training cannot go on: the loss is not finite, or another run holds the folder."""


class KernelError(GatestackError, RuntimeError):
    """The compiled kernels are asked for and not there, or do not fit this package or machine."""


class StorageError(GatestackError, OSError):
    """The machine would not store something: disk full, no permission, not a folder."""


def nearest_name(name: str, names: Iterable[str]) -> str:
    """Say which known name is meant, for the `hint` of an error.

    Args:
        name: the name that was given.
        names: the names that exist.

    Returns:
        `did you mean 'x'?` when one is close, else the list of what exists.

    Example:
        >>> nearest_name("temp_mx", ["temp_max", "wind"])
        "did you mean 'temp_max'?"
        >>> nearest_name("rain", ["temp_max", "wind"])
        'there are: temp_max, wind'
    """
    known = [str(known_name) for known_name in names]
    close = difflib.get_close_matches(str(name), known, n=1, cutoff=0.6)
    if close:
        return f"did you mean '{close[0]}'?"
    listed = ", ".join(known[:12]) + (f" and {len(known) - 12} more" if len(known) > 12 else "")
    return f"there are: {listed}" if known else "there are none"


def quote_value(value: object) -> str:
    """Quote a value for a message, cut to 60 characters.

    Example:
        >>> quote_value("abc")
        "'abc'"
    """
    text = str(value)
    cut = text if len(text) <= _LONGEST_QUOTED_VALUE else text[: _LONGEST_QUOTED_VALUE - 1] + "…"
    return repr(cut)


def check_choice(name: str, value: object, choices: Sequence[str], *, owner: str) -> None:
    """Raise an `ArgumentError` unless an argument is one of its choices.

    Args:
        name: of the argument.
        value: that was given.
        choices: the values that exist.
        owner: what the argument belongs to.

    Example:
        >>> check_choice("cell", "gru", ["lstm", "gru"], owner="Architecture")
    """
    if value not in choices:
        raise ArgumentError(
            f"the '{name}' parameter of {owner} is {value!r}",
            expected="one of " + ", ".join(repr(choice) for choice in choices),
            hint=nearest_name(str(value), choices),
        )


def check_whole(name: str, value: object, *, owner: str, least: int = 1) -> int:
    """Give an argument as an int; raise an `ArgumentError` unless it is a whole number of at least `least`.

    Args:
        name: of the argument.
        value: that was given; NumPy's whole numbers are welcome, True and False are not.
        owner: what the argument belongs to.
        least: the smallest number allowed.

    Example:
        >>> check_whole("hidden_size", 64, owner="LSTM")
        64
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
        raise ArgumentError(
            f"the '{name}' parameter of {owner} is {value!r}", expected=f"a whole number of {least} or more"
        )
    return int(value)


def check_share(name: str, value: object, *, owner: str) -> float:
    """Give an argument as a float; raise an `ArgumentError` unless it is a number in [0, 1).

    Args:
        name: of the argument.
        value: that was given.
        owner: what the argument belongs to.

    Example:
        >>> check_share("dropout", 0.5, owner="Stack")
        0.5
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise ArgumentError(f"the '{name}' parameter of {owner} is {value!r}", expected="a number in [0, 1)")
    return float(value)
