"""The report page of a forecaster.

Example:
    >>> import polars as pl
    >>> from gatestack import Forecaster
    >>> frame = pl.DataFrame({"ds": range(60), "y": [float(step % 5) for step in range(60)]})
    >>> model = Forecaster(horizon=2, hidden_size=4, max_steps=5).fit(frame)
    >>> render_page(model, evaluation=None, data=None, scored="backtest")[:15]
    '<!doctype html>'
"""

from __future__ import annotations

from gatestack.reports.forecast.page import render_page
from gatestack.reports.forecast.pictures import draw_backtest_picture

__all__ = ["draw_backtest_picture", "render_page"]
