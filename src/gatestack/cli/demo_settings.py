"""The data of `gatestack demo` and the settings that `benchmarks/choose_demo_settings.py` chose for it.

The settings were chosen inside 2012 to 2014; 2015, which the demo holds out, was not looked at. The table is
`benchmarks/results/demo_settings.md`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gatestack.tasks.forecast import Architecture, Forecaster, Origins
from gatestack.training import Training

if TYPE_CHECKING:
    import polars as pl

__all__ = ["COLUMNS", "HORIZON", "ORIGINS", "demo_forecaster", "read_weather"]

HORIZON = 7
COLUMNS: dict[str, Any] = {
    "target": "temp_max",
    "time": "date",
    "past": ("precipitation", "temp_min", "wind"),
}
# 2015, and an origin every day.
ORIGINS = Origins(test=365, step=1)


def demo_forecaster() -> Forecaster:
    """Make the forecaster of the demo, not fitted."""
    return Forecaster(
        HORIZON,
        layers=2,
        hidden_size=32,
        window=28,
        max_steps=400,
        calendar=("day_of_year",),
        architecture=Architecture(dropout=0.2, scaling="series"),
        training=Training(patience=5, device="cpu"),
    )


def read_weather() -> pl.DataFrame:
    """Read the daily weather of Seattle, 2012 to 2015, that comes with vega_datasets.

    Returns:
        `date`, `precipitation` (mm), `temp_max` and `temp_min` (°C), `wind` (m/s), `weather`.
    """
    import polars as pl
    from vega_datasets import local_data

    return pl.read_csv(local_data.seattle_weather.filepath, try_parse_dates=True)
