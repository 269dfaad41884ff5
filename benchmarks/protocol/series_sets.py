"""Read the five data sets of the forecasting benchmark, target only, into one plain form."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import numpy as np

__all__ = ["READERS", "SeriesSet", "read_series_set"]


@dataclass(frozen=True)
class SeriesSet:
    """One or many series of one variable on a regular clock.

    Attributes:
        keys: one name per series.
        values: one float64 array per series, NaN where the source has no value.
        starts: the time of the first value of each series (ISO 8601, no zone).
        frequency: the step of the clock, as pandas spells it: "h", "30min", "D".
        given_test_steps: length of the test part the publishers fixed, 0 where there is none.
    """

    keys: tuple[str, ...]
    values: tuple[np.ndarray, ...]
    starts: tuple[str, ...]
    frequency: str
    given_test_steps: int = 0


def _columns(path: Path, *names: str) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [[row[name] for row in rows] for name in names]


def _numbers(cells: list[str]) -> np.ndarray:
    return np.array([np.nan if cell in ("", "NA") else float(cell) for cell in cells])


def _check_clock(stamps: list[str], step_s: int) -> str:
    """Refuse a file whose rows are not on the regular clock that every model here assumes."""
    times = [datetime.fromisoformat(stamp.removesuffix("Z")) for stamp in stamps]
    steps = {(later - earlier).total_seconds() for earlier, later in pairwise(times)}
    if steps != {float(step_s)}:
        raise ValueError(f"expected one row every {step_s} s, found steps of {sorted(steps)} s")
    return times[0].isoformat()


def _etth1(folder: Path) -> SeriesSet:
    dates, cells = _columns(folder / "ett" / "ETTh1.csv", "date", "OT")
    start = _check_clock(dates, 3600)
    # The usual protocol takes 8640 + 2880 + 2880 hours; the 3020 hours after them are left unused.
    return SeriesSet(("OT",), (_numbers(cells)[:14400],), (start,), "h")


def _vic_electricity(folder: Path) -> SeriesSet:
    times, cells = _columns(folder / "vic_electricity" / "vic_electricity.csv", "Time", "Demand")
    return SeriesSet(("Demand",), (_numbers(cells),), (_check_clock(times, 1800),), "30min")


def _beijing_pm25(folder: Path) -> SeriesSet:
    path = folder / "beijing_pm25" / "pollution.csv"
    year, month, day, hour, cells = _columns(path, "year", "month", "day", "hour", "pm2.5")
    stamps = [
        datetime(int(y), int(m), int(d), int(h)).isoformat()
        for y, m, d, h in zip(year, month, day, hour, strict=True)
    ]
    return SeriesSet(("pm2.5",), (_numbers(cells),), (_check_clock(stamps, 3600),), "h")


def _seattle_weather(folder: Path) -> SeriesSet:
    dates, cells = _columns(folder / "seattle_weather" / "seattle-weather.csv", "date", "temp_max")
    return SeriesSet(("temp_max",), (_numbers(cells),), (_check_clock(dates, 86400),), "D")


def _m4_hourly(folder: Path) -> SeriesSet:
    def rows(name: str) -> dict[str, np.ndarray]:
        with (folder / "m4_hourly" / name).open(encoding="utf-8", newline="") as file:
            lines = list(csv.reader(file))[1:]
        return {line[0]: np.array([float(cell) for cell in line[1:] if cell]) for line in lines}

    train, test = rows("Hourly-train.csv"), rows("Hourly-test.csv")
    values = tuple(np.concatenate([train[key], test[key]]) for key in train)
    # The files carry no times; the models here use none, so any common start serves.
    starts = ("2000-01-01T00:00:00",) * len(train)
    return SeriesSet(tuple(train), values, starts, "h", given_test_steps=48)


READERS: dict[str, Callable[[Path], SeriesSet]] = {
    "ETTh1": _etth1,
    "vic_electricity": _vic_electricity,
    "m4_hourly": _m4_hourly,
    "beijing_pm25": _beijing_pm25,
    "seattle_weather": _seattle_weather,
}


def read_series_set(name: str, folder: Path) -> SeriesSet:
    """Read the data set `name` (a key of `READERS`) from the folder that holds all of them."""
    return READERS[name](folder)
