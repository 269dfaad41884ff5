"""What a budgeted search varies: settings by name, each with a range."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from gatestack.errors import ArgumentError, nearest_name

if TYPE_CHECKING:
    from optuna.trial import Trial

__all__ = ["Range", "parse_space", "shown", "shown_value"]

_RANGE = re.compile(r"(?P<low>[0-9.]+(?:e[+-]?\d+)?)-(?P<high>[0-9.]+(?:e[+-]?\d+)?)")
_DIGITS = 3


@dataclass(frozen=True)
class Range:
    """The values that a setting may take.

    Args:
        low: smallest.
        high: largest.
        whole: whole numbers only.
        log: equal shares for equal ratios.
        switch: True or False instead of numbers.

    Example:
        >>> Range(1, 3, whole=True).text
        '1-3'
    """

    low: float = 0.0
    high: float = 1.0
    whole: bool = False
    log: bool = False
    switch: bool = False

    @property
    def text(self) -> str:
        """The range for people."""
        return "on or off" if self.switch else f"{self.low:g}-{self.high:g}"

    def suggest(self, name: str, trial: Trial) -> Any:
        """Ask a trial for a value; numbers have three digits, so that they can be repeated by hand."""
        if self.switch:
            return trial.suggest_categorical(name, [False, True])
        if self.whole:
            return trial.suggest_int(name, int(self.low), int(self.high), log=self.log)
        value = trial.suggest_float(name, self.low, self.high, log=self.log)
        return min(max(float(f"{value:.{_DIGITS}g}"), self.low), self.high)


_USUAL: dict[str, Range] = {
    "layers": Range(1, 3, whole=True),
    "hidden_size": Range(16, 128, whole=True, log=True),
    "learning_rate": Range(3e-4, 3e-2, log=True),
    "weight_decay": Range(1e-4, 0.3, log=True),
    "dropout": Range(0.0, 0.5),
    "variational_dropout": Range(0.0, 0.5),
    "recurrent_dropout": Range(0.0, 0.5),
    "zoneout": Range(0.0, 0.3),
    "layer_norm": Range(switch=True),
}
_NEEDS = {"layer_norm": "a model of LSTM layers", "window": "a model with a window"}
_SHARES = ("dropout", "variational_dropout", "recurrent_dropout", "zoneout")


def parse_space(
    texts: Sequence[str],
    *,
    windows: tuple[int, int] | None = None,
    width: int | None = None,
    layer_norm: bool = True,
) -> dict[str, Range]:
    """Read what is searched.

    Args:
        texts: such as `"zoneout"`, or `"learning_rate=0.001-0.01"`; none takes everything there is.
        windows: smallest and largest window of the task; None where it has none.
        width: of the layers as they were given, which the range of widths holds; None where it is not known.
        layer_norm: whether its layers can be normalised.

    Raises:
        ArgumentError: no such setting, or no such range.

    Example:
        >>> parse_space(["layers=1-2", "zoneout"])["layers"].text
        '1-2'
    """
    usual = dict(_USUAL)
    if windows is not None:
        usual["window"] = Range(*windows, whole=True, log=True)
    if width is not None:
        widths = usual["hidden_size"]
        usual["hidden_size"] = replace(widths, low=min(widths.low, width), high=max(widths.high, width))
    if not layer_norm:
        del usual["layer_norm"]
    if not texts:
        return usual
    found: dict[str, Range] = {}
    for text in texts:
        name, given, limits = text.replace(" ", "").partition("=")
        name = name.replace("-", "_")
        if name not in usual:
            if name in _NEEDS:
                raise ArgumentError(f"{name} cannot be searched here", where="tune", expected=_NEEDS[name])
            raise ArgumentError(
                f"the setting {name!r} cannot be searched", where="tune", hint=nearest_name(name, usual)
            )
        if name in found:
            raise ArgumentError(f"{name} is searched twice", where="tune", expected="one range")
        found[name] = _limited(name, usual[name], limits) if given else usual[name]
    return found


def _limited(name: str, usual: Range, limits: str) -> Range:
    """Read a range; messages have it beside the name, since `name=…` is an option of its own elsewhere."""
    what = f"the range {limits!r} of {name}"
    if usual.switch:
        raise ArgumentError(what, where="tune", expected=f"{name} alone: it is on or off")
    match = _RANGE.fullmatch(limits)
    try:
        low, high = (float(match[end]) for end in ("low", "high")) if match else (math.nan, math.nan)
    except ValueError:  # such as 1.2.3
        low = high = math.nan
    example = f"a range such as {usual.text}"
    if math.isnan(low):
        raise ArgumentError(f"{what} cannot be read", where="tune", expected=example)
    if low > high:
        smaller = f"write it as {high:g}-{low:g}"
        raise ArgumentError(
            f"{what} is empty", where="tune", expected="the smaller value first", hint=smaller
        )
    least = "1 or more" if usual.whole else "more than 0" if usual.log else "0 or more"
    if low < (1 if usual.whole else 0) or (usual.log and low == 0):
        raise ArgumentError(f"{what} begins too low", where="tune", expected=f"{least}, {example}")
    if name in _SHARES and high >= 1:
        raise ArgumentError(f"{what} ends too high", where="tune", expected=f"a share below 1, {example}")
    if usual.whole and (low % 1 or high % 1):
        raise ArgumentError(what, where="tune", expected=f"whole numbers, {example}")
    return Range(low, high, usual.whole, usual.log)


def shown(settings: Mapping[str, Any]) -> str:
    """Write settings for people.

    Example:
        >>> shown({"layers": 2, "zoneout": 0.1, "layer_norm": False})
        'layers 2, zoneout 0.1'
    """
    parts = [
        name.replace("_", " ") if value is True else f"{name.replace('_', ' ')} {shown_value(value)}"
        for name, value in settings.items()
        if value is not False
    ]
    return ", ".join(parts) or "as given"


def shown_value(value: float | bool) -> str:
    """Write the value of a setting for people.

    Example:
        >>> shown_value(0.00123), shown_value(True)
        ('0.00123', 'on')
    """
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}"
