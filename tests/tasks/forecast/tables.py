"""Small tables of series, and the numbers of a forecast."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl


def wave(steps: int, *, seed: int = 0, season: int = 5) -> np.ndarray:
    """A season, a slow swing and noise."""
    time = np.arange(steps)
    noise = np.random.default_rng(seed).normal(size=steps)
    return 20 + 3 * np.sin(2 * np.pi * time / season) + 2 * np.sin(time / 17) + 0.3 * noise


def one_series(steps: int = 80, *, seed: int = 0, start: date = date(2024, 1, 1)) -> pl.DataFrame:
    """A daily series with one past and one future column."""
    random = np.random.default_rng(seed + 100)
    return pl.DataFrame(
        {
            "ds": [start + timedelta(days=step) for step in range(steps)],
            "y": wave(steps, seed=seed),
            "rain": random.gamma(1.0, size=steps),
            "open": (np.arange(steps) % 7 < 5).astype(float),
        }
    )


def many_series(lengths: dict[str, int] | None = None, *, keys: dict[str, Any] | None = None) -> pl.DataFrame:
    """Series of several lengths, one below the other, with a static column."""
    lengths = {"b": 60, "a": 45, "c": 75} if lengths is None else lengths
    parts = [
        one_series(steps, seed=number).select(
            pl.lit(key if keys is None else keys[key]).alias("unique_id"),
            "ds",
            pl.col("y") * (number + 1),
            "rain",
            "open",
            pl.lit(float(number)).alias("size"),
        )
        for number, (key, steps) in enumerate(lengths.items())
    ]
    return pl.concat(parts)


def hourly(steps: int = 80, zone: str | None = None) -> pl.DataFrame:
    """An hourly series, with a zone or without."""
    start = datetime(2024, 3, 29)
    times = pl.Series("ds", [start + timedelta(hours=step) for step in range(steps)])
    if zone is not None:
        times = times.dt.replace_time_zone("UTC").dt.convert_time_zone(zone)
    return pl.DataFrame({"ds": times, "y": wave(steps)})


def values_of(forecast: Any) -> np.ndarray:
    """The columns of numbers of a forecast, as one array."""
    frame = forecast if isinstance(forecast, pl.DataFrame) else pl.from_pandas(forecast)
    return frame.select(pl.selectors.starts_with("gatestack")).to_numpy()


def ahead_of(frame: pl.DataFrame, horizon: int) -> pl.DataFrame:
    """The column `open` of the `horizon` days after the end of each series."""
    keys = [name for name in ("unique_id",) if name in frame.columns]
    ends = frame.group_by(*keys, maintain_order=True).agg(pl.col("ds").max()) if keys else frame.tail(1)
    days = pl.DataFrame({"ahead": range(1, horizon + 1)})
    return ends.join(days, how="cross").select(
        *keys,
        pl.col("ds").dt.offset_by(pl.format("{}d", "ahead")),
        open=(pl.col("ahead") % 2).cast(pl.Float64),
    )
