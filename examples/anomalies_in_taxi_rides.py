"""Anomalies in a real series: taxi passengers in New York, every half hour, July 2014 to January 2015.

    python examples/anomalies_in_taxi_rides.py nyc_taxi.csv

The file is `realKnownCause/nyc_taxi.csv` of the Numenta benchmark, https://github.com/numenta/NAB. Without
one the program makes up half-hourly rides with a quiet day and a rush, and says so: what it finds there is no
result. The guide docs/guides/detect.md tells more of the real file.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import polars as pl

from gatestack import AnomalyDetector

LEARNED = 750  # 16 days


def made_up_rides() -> pl.DataFrame:
    """30 days of made-up rides, with a quiet day and a rush after the part that is learned from."""
    random = np.random.default_rng(0)
    steps = np.arange(30 * 48)
    by_day = 15_000 - 10_000 * np.cos(2 * np.pi * (steps / 48 - 0.2))
    rides = by_day * (1 + 0.05 * random.normal(size=len(steps)))
    rides[20 * 48 : 21 * 48] *= 0.3
    rides[26 * 48 + 20 : 26 * 48 + 23] += 25_000
    start = pl.datetime(2024, 7, 1)
    times = pl.select(
        pl.datetime_range(start, start + pl.duration(days=30), "30m", closed="left")
    ).to_series()
    return pl.DataFrame({"timestamp": times, "value": np.round(rides)})


def main() -> None:
    """Learn from the first days, read the rest, and show the alarms."""
    if len(sys.argv) > 1:
        rides, whose = pl.read_csv(Path(sys.argv[1]), try_parse_dates=True), sys.argv[1]
    else:
        rides, whose = made_up_rides(), "made-up rides, as no file was named"
    detector = AnomalyDetector(false_alarms_per_day=0.05)
    detector.fit(rides, time="timestamp", train=LEARNED)
    alarms = detector.predict_frame(rides).filter(pl.col("alarm"))
    print(f"{whose}: {rides.height:,} half hours, {alarms.height} alarms")
    for row in alarms.iter_rows(named=True):
        print(f"{row['timestamp']:%Y-%m-%d %H:%M}  {row['explanation']}")

    # The same detector, one step at a time: it goes on after the last row that the fit was given.
    stream = detector.stream()
    step = stream.step({"value": 60_000.0})
    print(f"next half hour with 60,000 passengers: score {step.score:.1f}, alarm {step.alarm}")


if __name__ == "__main__":
    main()
