"""A study in words: the sentence, and the warning of overfitting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gatestack.study.comparison import PairedDifference
from gatestack.study.folded_task import Measure
from gatestack.study.variants import layers_text

if TYPE_CHECKING:
    from gatestack.study.result import DepthRow

__all__ = ["depth_sentence", "gap_warning", "overfitting_warning"]

_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_SAME_TIME = 1.05  # less is the noise of a clock
_ORDINALS = ("", "a first", "a second", "a third", "a fourth", "a fifth", "a sixth", "a seventh", "an eighth")


def depth_sentence(rows: Sequence[DepthRow], chosen: int, measure: Measure, min_gain: float) -> str:
    """Say which depth to take, what it gains over the one below and costs, and what another layer would.

    Args:
        rows: of the depths that were looked at, smallest first.
        chosen: the depth that is taken.
        measure: that was compared.
        min_gain: in the unit of the measure.
    """
    at = next(number for number, row in enumerate(rows) if row.layers == chosen)
    row, below = rows[at], rows[at - 1] if at else None
    start = _layers(chosen).capitalize()
    has = f"{measure.label} {measure.text(row.score)}"
    if chosen == 0:
        start = f"No layers: {row.model}, a model without recurrence, has {has}"
    elif below is None or row.gain is None:
        start = f"{start}: {has}"
    else:
        than = _number(below) if below.layers else f"{below.model}, the best without recurrence"
        doubt = "" if row.gain.measurable else " (not measurable at 95 %)"
        start = f"{start}: {_size(row.gain, below, measure)} than {than}{doubt}{_times(below, row, ', for')}"
    if at + 1 == len(rows):
        return f"{start}; more than {'that' if chosen else 'none'} was not looked at."
    return f"{start}; {_another(row, rows[at + 1], measure, min_gain)}."


def _another(row: DepthRow, above: DepthRow, measure: Measure, min_gain: float) -> str:
    name = _ORDINALS[above.layers] if above.layers < len(_ORDINALS) else f"layer number {above.layers}"
    name = "one layer" if row.layers == 0 else name
    if above.gain is None:
        raise ValueError("a row above the smallest has a gain")
    gain, cost = above.gain, _times(row, above, " and costs")
    if gain.high < 0:
        return f"{name} has {_size(gain, row, measure)}{cost}"
    if not gain.measurable:
        return f"{name} gains nothing measurable{cost}"
    if gain.mean <= min_gain:
        return f"{name} gains less than the {measure.text(min_gain)} that were asked for{cost}"
    return f"{name} gains {_size(gain, row, measure)}, within the uncertainty of the best depth{cost}"


def _times(row: DepthRow, above: DepthRow, words: str) -> str:
    """Say what the layers of `above` cost more than those of `row`; nothing where that has none."""
    if row.layers == 0 or row.seconds <= 0:
        return ""
    times = above.seconds / row.seconds
    return f"{words} {f'{times:.1f}× the' if times >= _SAME_TIME else 'no more'} time"


def _size(gain: PairedDifference, below: DepthRow, measure: Measure) -> str:
    """Write a gain: relative where lower is better, in points where it is a share that should be high."""
    if measure.better == "higher":
        way = "higher" if gain.mean >= 0 else "lower"
        if measure.percent:
            size = f"{abs(100 * gain.mean):.1f} points ± {100 * gain.half_width:.1f}"
        else:
            size = f"{abs(gain.mean):.3g} ± {gain.half_width:.2g}"
        return f"{size} {way} {measure.label}"
    way = "lower" if gain.mean >= 0 else "higher"
    if below.score <= 0:
        return f"{abs(gain.mean):.3g} ± {gain.half_width:.2g} {way} {measure.label}"
    part = gain.in_units_of(below.score)
    digits = 1 if abs(part.mean) >= 0.0005 else 2  # a gain that is rounded to 0 reads as none
    return f"{abs(100 * part.mean):.{digits}f} % ± {100 * part.half_width:.{digits}f} {way} {measure.label}"


def overfitting_warning(
    row: DepthRow, below: DepthRow, wider: PairedDifference, measure: Measure
) -> str | None:
    """Warn where a deeper network fits its training part better and the held out part no better.

    Args:
        row: of the deeper network.
        below: of the next shallower one.
        wider: by how much the gap between held out and training loss grew; above 0 it is wider.
        measure: that was compared.
    """
    if row.training is None or below.training is None or row.gain is None:
        return None
    fits_better = measure.loss(row.training) < measure.loss(below.training)
    if not (wider.low > 0 and fits_better and not row.gain.low > 0):
        return None
    return (
        f"With {_layers(row.layers)} the network begins to learn its training part by heart: {measure.label} "
        f"goes from {measure.text(below.training)} to {measure.text(row.training)} there, and from "
        f"{measure.text(below.score)} to {measure.text(row.score)} where it counts."
    )


def gap_warning(row: DepthRow, gap: PairedDifference, measure: Measure) -> str | None:
    """Warn where the smallest network already fits its training part far better than the part held out.

    Far better: a quarter of the loss, or ten points of a share that should be high.

    Args:
        row: of the smallest network.
        gap: by how much its loss on the part held out is higher than in training.
        measure: that was compared.
    """
    if row.training is None or gap.low <= 0:
        return None
    lower = measure.better == "lower"
    far = row.training < row.score / 4 if lower else row.training > row.score + 0.1
    if not far:
        return None
    return (
        f"Already with {_layers(row.layers)} the network learns its training part by heart: {measure.label} "
        f"is {measure.text(row.training)} there, and {measure.text(row.score)} where it counts. More data, "
        "fewer updates or regularisation may help more than layers."
    )


def _layers(count: int) -> str:
    text = layers_text(count)
    return f"{_NUMBERS[count]} {text.split()[1]}" if count < len(_NUMBERS) else text


def _number(row: DepthRow) -> str:
    return _NUMBERS[row.layers] if row.layers < len(_NUMBERS) else str(row.layers)
