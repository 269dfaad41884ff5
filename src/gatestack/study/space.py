"""What a budgeted search varies: settings by name, each with a range."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gatestack.errors import ArgumentError, nearest_name

if TYPE_CHECKING:
    from optuna.trial import Trial

__all__ = ["Range", "parse_space", "shown"]

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
_SHARES = ("dropout", "variational_dropout", "recurrent_dropout", "zoneout")


def parse_space(
    texts: Sequence[str], *, windows: tuple[int, int] | None = None, layer_norm: bool = True
) -> dict[str, Range]:
    """Read what is searched.

    Args:
        texts: such as `"zoneout"`, or `"learning_rate=0.001-0.01"`; none takes everything there is.
        windows: smallest and largest window of the task; None where it has none.
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
    if not layer_norm:
        del usual["layer_norm"]
    if not texts:
        return usual
    found: dict[str, Range] = {}
    for text in texts:
        name, given, limits = text.replace(" ", "").partition("=")
        name = name.replace("-", "_")
        if name not in usual:
            raise ArgumentError(
                f"the setting {name!r} cannot be searched", where="tune", hint=nearest_name(name, usual)
            )
        found[name] = _limited(text, usual[name], limits, name in _SHARES) if given else usual[name]
    return found


def _limited(text: str, usual: Range, limits: str, share: bool) -> Range:
    match = None if usual.switch else _RANGE.fullmatch(limits)
    try:
        low, high = (float(match[end]) for end in ("low", "high")) if match else (1.0, 0.0)
    except ValueError:
        low, high = 1.0, 0.0
    least = 1.0 if usual.whole else 0.0
    good = least <= low <= high and not (share and high >= 1) and not (usual.log and low == 0)
    if not good or (usual.whole and (low % 1 or high % 1)):
        expected = "the name alone" if usual.switch else f"a range such as {usual.text}"
        raise ArgumentError(f"{text!r}", where="tune", expected=expected)
    return Range(low, high, usual.whole, usual.log)


def shown(settings: Mapping[str, Any]) -> str:
    """Write settings for people.

    Example:
        >>> shown({"layers": 2, "zoneout": 0.1, "layer_norm": False})
        'layers 2, zoneout 0.1'
    """
    parts = [
        name.replace("_", " ") if value is True else f"{name.replace('_', ' ')} {value:g}"
        for name, value in settings.items()
        if value is not False
    ]
    return ", ".join(parts) or "as given"
