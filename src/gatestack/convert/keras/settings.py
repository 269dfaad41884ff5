"""The settings of a layer in a Keras file: each key is read, or changes no prediction, or is refused."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from gatestack.errors import ModelFileError, nearest_name, quote_value

__all__ = ["Settings"]

_RESAVE = "load the model with Keras where you trust it, replace this layer, and save it again"
# How weights were drawn, what training added to the loss or kept them within, and how fast it was computed.
# These are not looked at, whatever they hold.
_SILENT_ENDINGS = ("_initializer", "_regularizer", "_constraint")
_SILENT = {
    "trainable", "batch_input_shape", "batch_shape", "input_length", "seed", "unroll", "implementation",
    "unit_forget_bias",
}  # fmt: skip
_LARGEST = 1e38  # of float32, and of those that are whole: Python turns no larger ones into floats
_OF_EACH = {"name", "trainable", "dtype"}
_DTYPES = {
    "float32": "float32", "float64": "float64", "float16": "float32", "bfloat16": "float32",
    "mixed_float16": "float32", "mixed_bfloat16": "float32",
}  # fmt: skip


class Settings:
    """The `config` of a layer, key by key.

    Args:
        data: what the file has.
        where: the file and the layer, for errors.

    Example:
        >>> settings = Settings({"name": "out", "units": 3}, "m.keras, layer 'out'")
        >>> settings.whole("units"), settings.flag("use_bias", True), settings.finish()
        (3, True, None)
    """

    def __init__(self, data: Any, where: str) -> None:
        self.where = where
        if not isinstance(data, dict):
            raise self.refused("it has no config")
        self._data = {key: _plain(value) for key, value in data.items()}
        self._used = {"name", "dtype"}

    def refused(self, what: str, *, expected: str | None = None, hint: str = _RESAVE) -> ModelFileError:
        """Make the error that names the file, the layer and what is wrong."""
        return ModelFileError(what, where=self.where, expected=expected, hint=hint)

    def take(self, key: str, default: Any = None) -> Any:
        """Give the value of a key, whatever it is."""
        self._used.add(key)
        return self._data.get(key, default)

    def whole(self, key: str) -> int:
        """Give a whole number of at least 1, which must be there."""
        found = self.take(key)
        if type(found) is not int or not 1 <= found < 2**31:
            raise self.refused(f"{key} is {quote_value(found)}", expected="a whole number from 1 to 2³¹ − 1")
        return found

    def number(self, key: str, default: float) -> float:
        """Give a number."""
        found = self.take(key, default)
        if type(found) not in (int, float) or not abs(found) < _LARGEST:
            raise self.refused(f"{key} is {quote_value(found)}", expected="a number below 1e38")
        return float(found)

    def flag(self, key: str, default: bool = False) -> bool:
        """Give True or False."""
        found = self.take(key, default)
        if type(found) is not bool:
            raise self.refused(f"{key} is {quote_value(found)}", expected="true or false")
        return found

    def wholes(self, key: str, default: int | None = None) -> tuple[int, ...]:
        """Give a list of whole numbers, or one as a list."""
        found = self.take(key, default)
        listed = found if isinstance(found, list) else [found]
        if len(listed) > 32 or not all(type(one) is int and abs(one) < 2**31 for one in listed):
            raise self.refused(f"{key} is {quote_value(found)}", expected="whole numbers")
        return tuple(listed)

    def choice(self, key: str, choices: Collection[str], default: str | None = None) -> str:
        """Give one of several words."""
        found = self.take(key, default)
        if not isinstance(found, str) or found not in choices:
            raise self.refused(f"{key} is {quote_value(found)}", expected="one of " + ", ".join(choices))
        return found

    def only(self, key: str, *allowed: Any) -> None:
        """Refuse a key that has another value than these; none of them changes what is computed."""
        if key in self._data and self.take(key) not in allowed:
            raise self.refused(
                f"{key} is {quote_value(self._data[key])}, which is not read here",
                expected=" or ".join(str(one) for one in allowed),
            )

    def joined(self, other: Settings, *, leave_out: Collection[str]) -> Settings:
        """Give settings with the keys of both; those that each has of its own, such as its name, are these.

        Both count as read: what is not known is found by `finish` of what is given here.
        """
        for one in (self, other):
            one._used.update(one._data)
        of_other = {key: value for key, value in other._data.items() if key not in _OF_EACH}
        return Settings(
            {**of_other, **{key: value for key, value in self._data.items() if key not in leave_out}},
            other.where,
        )

    @property
    def dtype(self) -> str:
        """What the layer computes in here: "float32" or "float64"; half precisions become float32."""
        found = self._data.get("dtype", "float32")
        if isinstance(found, dict):
            if found.get("class_name") not in ("DTypePolicy", "Policy", "FloatDTypePolicy"):
                raise self.refused(f"its dtype is a {quote_value(found.get('class_name'))}")
            inner = found.get("config")
            found = inner.get("name") if isinstance(inner, dict) else None
        if not isinstance(found, str) or found not in _DTYPES:
            raise self.refused(f"its dtype is {quote_value(found)}", expected="one of " + ", ".join(_DTYPES))
        return _DTYPES[found]

    def finish(self) -> None:
        """Refuse a key that nothing has read."""
        for key in self._data:
            if key in self._used or key in _SILENT or key.endswith(_SILENT_ENDINGS):
                continue
            raise self.refused(
                f"it has the unknown setting {quote_value(key)}", hint=nearest_name(key, self._used)
            )


def _plain(value: Any) -> Any:
    """Give a number that Keras 2.12 wrote as one of NumPy; anything else as it is."""
    if isinstance(value, dict) and value.get("class_name") == "__numpy__":
        inner = value.get("config")
        found = inner.get("value") if isinstance(inner, dict) else None
        return found if type(found) in (int, float) else value
    return value
