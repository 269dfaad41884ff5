"""How often intervals held the truth, and how wide they were: at all steps ahead, the first, the last."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

from gatestack.tasks.forecast.intervals.conformal import bounds_of, miscoverage

__all__ = ["interval_scores", "interval_sentence"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


def interval_scores(
    quantiles: FloatArray, truth: FloatArray, rows: IntArray, levels: tuple[float, ...]
) -> pl.DataFrame:
    """Score the intervals; each number is the mean over the series, as all scores are.

    Args:
        quantiles: (R, horizon, quantiles).
        truth: (R, horizon), NaN where missing.
        rows: (R,) series.
        levels: of the quantiles.

    Returns:
        One row per interval, narrowest first: `level` in per cent; `coverage`, the share of truths inside,
        and `width`, in the unit of the target; both also as `…_first` and `…_last`, at the first and the last
        step ahead. Null where there is no truth.

    Example:
        >>> quantiles = np.array([[[1.0, 2.0, 3.0]], [[1.0, 2.0, 5.0]]])
        >>> found = interval_scores(quantiles, np.array([[9.0], [4.0]]), np.array([0, 0]), (0.1, 0.5, 0.9))
        >>> found.select("level", "coverage", "width").rows()
        [(80.0, 0.5, 3.0)]
    """
    low, high = bounds_of(quantiles)
    value = truth[..., None]
    known = np.isfinite(truth)
    inside = ((low <= value) & (value <= high)).astype(np.float64)
    width = high - low
    columns: dict[str, list[float | None] | FloatArray] = {
        "level": np.round(100 * (1 - miscoverage(levels)), 6)
    }
    for name, steps in (("", slice(None)), ("_first", slice(0, 1)), ("_last", slice(-1, None))):
        for score, values in (("coverage", inside), ("width", width)):
            columns[score + name] = _mean_over_series(values[:, steps], known[:, steps], rows)
    return pl.DataFrame(columns)


def _mean_over_series(values: FloatArray, known: npt.NDArray[np.bool_], rows: IntArray) -> list[float | None]:
    """Average (R, steps, intervals) where known, first within each series: one number per interval."""
    count = np.bincount(rows, known.sum(axis=1))
    found: list[float | None] = []
    for interval in range(values.shape[-1]):
        total = np.bincount(rows, np.where(known, values[..., interval], 0.0).sum(axis=1))
        found.append(float((total[count > 0] / count[count > 0]).mean()) if count.any() else None)
    return found


def interval_sentence(scores: pl.DataFrame, horizon: int) -> str:
    """Say how often the widest interval held the truth; nothing where there is none.

    Args:
        scores: from `interval_scores`.
        horizon: steps ahead.

    Example:
        >>> quantiles, truth = np.array([[[1.0, 2.0, 3.0]]]), np.array([[2.5]])
        >>> interval_sentence(interval_scores(quantiles, truth, np.array([0]), (0.1, 0.5, 0.9)), 1)
        'The 80 % interval held the truth in 100.0 % of the cases, and was 2 wide on average.'
    """
    if not scores.height:
        return ""
    widest = scores.row(-1, named=True)
    ends = [widest["coverage_first"], widest["coverage_last"]]
    by_step = ""
    if horizon > 1 and None not in ends:
        by_step = f" ({100 * ends[0]:.1f} % at step 1, {100 * ends[1]:.1f} % at step {horizon})"
    return (
        f"The {widest['level']:.10g} % interval held the truth in {100 * widest['coverage']:.1f} % of the "
        f"cases{by_step}, and was {widest['width']:.3g} wide on average."
    )
