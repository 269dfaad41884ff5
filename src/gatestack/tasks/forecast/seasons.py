"""Finding the seasons of a table of series, in its training part alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["MOST_SERIES", "MOST_STEPS", "default_window", "find_seasons"]

FloatArray = npt.NDArray[np.float64]

# A season is one when values a season apart agree better than this, after the trend is taken out …
_LEAST_CORRELATION = 0.3
# … and better than values a shorter season apart do by this much.
_LEAST_GAIN = 0.03
# So many series, and so many steps at the end of each, are enough to tell.
MOST_SERIES = 50
MOST_STEPS = 20_000
_LONGEST_SEARCHED = 400
_NEARLY = 0.8


def find_seasons(series: Sequence[npt.NDArray[np.floating]], candidates: tuple[int, ...]) -> tuple[int, ...]:
    """Find which season lengths the data has.

    A candidate m is kept when the correlation of the series with itself m steps earlier, after a moving
    average of m steps is taken away, has a median of at least 0.3 over the series and beats the correlation
    at each shorter season kept before.

    Args:
        series: training parts, gaps filled; each of shape (time,). Their last 20,000 steps are read.
        candidates: lengths in steps that the frequency suggests; empty to search up to 400 steps.

    Returns:
        The lengths that were kept, shortest first; empty when there is none.

    Example:
        >>> wave = np.sin(np.arange(200) * 2 * np.pi / 12)
        >>> find_seasons([wave], candidates=(5, 12))
        (12,)
    """
    chosen = [_standardised(values[-MOST_STEPS:]) for values in series]
    if not candidates:
        candidates = _strongest_lag(chosen)
    found: list[int] = []
    for season in sorted(candidates):
        rival = max((_agreement(chosen, season, shorter) for shorter in found), default=0.0)
        if _agreement(chosen, season, season) >= max(_LEAST_CORRELATION, rival + _LEAST_GAIN):
            found.append(season)
    return tuple(found)


def default_window(horizon: int, seasons: tuple[int, ...], shortest: int) -> int:
    """Choose how far back the model looks when the user does not say.

    Args:
        horizon: steps ahead.
        seasons: lengths in steps.
        shortest: steps of the shortest training part.

    Returns:
        The longest of 4 horizons, 2 longest seasons, 4 shortest seasons and 8 steps, at most a third of
        `shortest`, at least 2.

    Example:
        >>> default_window(24, (24,), shortest=5000)
        96
    """
    wanted = max(4 * horizon, 2 * max(seasons, default=1), 4 * min(seasons, default=1), 8)
    return max(2, min(wanted, shortest // 3))


def _standardised(values: npt.NDArray[np.floating]) -> FloatArray:
    """Bring a series to mean 0 and deviation 1, one that is constant but for rounding to 0."""
    plain = np.asarray(values, dtype=np.float64)
    if not len(plain):
        return plain
    deviation = plain.std()
    constant = deviation <= 1e-9 * np.abs(plain).max()
    return np.zeros_like(plain) if constant else (plain - plain.mean()) / deviation


def _agreement(series: list[FloatArray], season: int, lag: int) -> float:
    """Give the median over the series of the correlation at `lag` once trends longer than `season` are gone.

    It is -1 where no series is long enough.
    """
    values = [_correlation(_detrended(part, season), lag) for part in series if len(part) >= 3 * season]
    return float(np.median(values)) if values else -1.0


def _detrended(values: FloatArray, season: int) -> FloatArray:
    sums = np.cumsum(np.concatenate([[0.0], values]))
    average: FloatArray = (sums[season:] - sums[:-season]) / season
    first = (season - 1) // 2
    detrended: FloatArray = values[first : first + len(average)] - average
    return detrended


def _correlation(values: FloatArray, lag: int) -> float:
    now, before = values[lag:], values[:-lag]
    spread = float(now.std() * before.std()) if len(now) > 1 else 0.0
    if spread <= 1e-12:
        return 0.0
    return float(np.mean((now - now.mean()) * (before - before.mean())) / spread)


def _strongest_lag(series: list[FloatArray]) -> tuple[int, ...]:
    """Find the lag at which the changes of the series agree best with themselves, as a candidate."""
    longest = min(_LONGEST_SEARCHED, max((len(part) for part in series), default=0) // 3)
    if longest < 2:
        return ()
    changes = [np.diff(part) for part in series]
    strength = np.array(
        [
            float(np.median([_correlation(part, lag) for part in changes if len(part) > lag + 1]))
            for lag in range(1, longest + 2)
        ]
    )
    # A peak agrees better than its neighbours: a slow wave agrees with itself at every short lag, too.
    lags = np.arange(2, longest + 1)
    inner = strength[1:-1]
    peaks = lags[(inner >= strength[:-2]) & (inner > strength[2:]) & (inner >= _LEAST_CORRELATION)]
    if not len(peaks):
        return ()
    # The first peak nearly as high as any: its multiples are about as high, and may be higher by chance.
    strong = strength[peaks - 1] >= _NEARLY * strength[peaks - 1].max()
    return (int(peaks[np.argmax(strong)]),)
