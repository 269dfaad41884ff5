"""Money from forecasts of the next day's return: positions, costs, and paired intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["DAYS", "Account", "account", "difference_interval"]

FloatArray = npt.NDArray[np.float64]

DAYS = 252
"""Trading days of a year."""

_BLOCK = 20
_RESAMPLES = 2000


@dataclass(frozen=True)
class Account:
    """A year's worth of a strategy.

    Attributes:
        daily: (days,) simple return of each day, after costs.
        turnover: share of the money that is traded in a year.
    """

    daily: FloatArray
    turnover: float

    @property
    def growth(self) -> float:
        """Compound growth in a year, as a share."""
        return float(np.prod(1 + self.daily) ** (DAYS / len(self.daily)) - 1)

    @property
    def sharpe(self) -> float:
        """Mean over deviation of the daily returns, for a year; 0 for a strategy that never moves."""
        deviation = float(self.daily.std())
        return float(self.daily.mean()) / deviation * DAYS**0.5 if deviation > 0 else 0.0


def account(positions: FloatArray, returns: FloatArray, cost_bp: float) -> Account:
    """Hold positions in several stocks, an equal share of the money in each that is traded on a day.

    Args:
        positions: (days, stocks), 0 for cash, 1 for all of the share; decided the evening before.
        returns: (days, stocks) simple returns of the days, NaN where a stock is not traded yet.
        cost_bp: paid on what is bought or sold, in hundredths of a per cent.
    """
    traded = np.isfinite(returns)
    held = np.where(traded, positions, 0.0)
    share = 1 / np.maximum(traded.sum(axis=1, keepdims=True), 1)
    before = np.vstack([np.zeros(held.shape[1]), held[:-1]])
    moved = (np.abs(held - before) * share).sum(axis=1)
    earned = (held * np.nan_to_num(returns) * share).sum(axis=1)
    return Account(earned - moved * cost_bp / 1e4, float(moved.mean() * DAYS))


def difference_interval(one: FloatArray, other: FloatArray) -> tuple[float, float, float]:
    """Compare two strategies day by day.

    Returns:
        The mean difference in a year, as a share, and its 95 % interval from blocks of 20 days.
    """
    difference = one - other
    days = len(difference)
    random = np.random.default_rng(0)
    starts = random.integers(0, days, (_RESAMPLES, -(-days // _BLOCK)))
    drawn = ((starts[..., None] + np.arange(_BLOCK)) % days).reshape(_RESAMPLES, -1)[:, :days]
    low, high = np.quantile(difference[drawn].mean(axis=1), [0.025, 0.975])
    return float(difference.mean() * DAYS), float(low * DAYS), float(high * DAYS)
