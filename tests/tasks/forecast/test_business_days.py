"""Series of trading days: weekends are no gaps, holidays are gaps that are masked and not scored."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import numpy as np
import polars as pl

from gatestack.data import SeriesTable
from gatestack.tasks.forecast import Forecaster, Origins

Make = Callable[..., Forecaster]
HOLIDAYS = [date(2024, 1, 1), date(2024, 5, 1), date(2024, 6, 20), date(2024, 7, 4)]


def trading_days() -> pl.DataFrame:
    days = pl.date_range(date(2024, 1, 2), date(2024, 7, 19), eager=True)
    days = days.filter((days.dt.weekday() <= 5) & ~days.is_in(HOLIDAYS))
    walk = 100 + np.cumsum(np.random.default_rng(0).normal(size=len(days)))
    return pl.DataFrame({"ds": days, "y": walk})


def test_holidays_are_the_only_gaps() -> None:
    table = SeriesTable.from_frame(trading_days())
    assert table.frequency.label == "business days"
    assert table.gaps["missing_steps"].to_list() == [1, 1, 1]
    assert table.gaps["from"].to_list() == [date(2024, 4, 30), date(2024, 6, 19), date(2024, 7, 3)]


def test_nothing_is_scored_on_a_holiday_and_the_day_after_has_a_forecast(make: Make) -> None:
    frame = trading_days()
    found = make(2, season=None).backtest(frame, origins=Origins(test=40, step=1))
    days = found.forecasts["ds"]
    assert set(days) <= set(frame["ds"])
    assert date(2024, 7, 5) in set(days)
    # From the holiday itself, too, a forecast starts: what is known then is the value of the day before.
    after = found.forecasts.filter(pl.col("cutoff") == date(2024, 7, 4))
    before = dict(frame.iter_rows())[date(2024, 7, 3)]
    np.testing.assert_allclose(after["last_value"], before, rtol=1e-6)


def test_the_next_day_after_a_friday_is_a_monday(make: Make) -> None:
    predicted = make(3, season=None).fit(trading_days()).predict()
    assert predicted["ds"].to_list() == [date(2024, 7, 22), date(2024, 7, 23), date(2024, 7, 24)]
