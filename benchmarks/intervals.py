"""Intervals of the model, conformal and adaptive: how often they hold the truth, their width, their sCRPS.

    python benchmarks/intervals.py --split training   # what was chosen was chosen on this: no test value read
    python benchmarks/intervals.py                    # the test parts; about two hours on a shared core
    python benchmarks/intervals.py --finished         # write the page from what is kept

The problems are those of `forecast_accuracy.py`, and the settings of the demo on its data; of vic_electricity
the last 10,000 half hours are taken, of beijing_pm25 the last 16,000 hours, of m4_hourly every twelfth series
with its last week held out. One fit a seed: its intervals are scored as they were learned, with the conformal
correction, and with the adaptive one; weights and medians are the same. The training split removes the test
part, holds out as many steps before it, and also tries other rates of the adaptive ones, and a calibration on
a tenth that nothing else uses. Each fit's scores are kept under `runs/benchmarks/intervals/`. Writes
`results/intervals.json` and `results/intervals.md`.
"""

from __future__ import annotations

import argparse
import json
import warnings
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from protocol.intervals_page import intervals_page
from protocol.machine import describe_machine
from protocol.problems import PROBLEMS
from protocol.series_sets import read_series_set

from gatestack.cli.demo_settings import COLUMNS, demo_forecaster, read_weather
from gatestack.data.series_table import SeriesTable
from gatestack.tasks.forecast import Forecaster, ForecastEvaluation
from gatestack.tasks.forecast.intervals import adaptive
from gatestack.tasks.forecast.intervals.calibrate import calibrate
from gatestack.training import Training

HERE = Path(__file__).resolve().parent
SETS = ("demo", "ETTh1", "vic_electricity", "m4_hourly", "beijing_pm25")
RATES = (0.005, 0.02, 0.05)
OWN_PART = "conformal, on a tenth of its own"
# Steps held out, and between origins.
TEST = {"demo": (365, 1), "ETTh1": (2880, 11), "vic_electricity": (2000, 31), "m4_hourly": (168, 24)}
TEST["beijing_pm25"] = (3000, 23)
LAST = {"vic_electricity": 10_000, "beijing_pm25": 16_000}
EVERY = {"h": "1h", "30min": "30m"}


def frame_of(name: str, folder: Path) -> pl.DataFrame:
    """The series of a problem, one below the other, and for the demo the columns it uses."""
    if name == "demo":
        return read_weather()
    series = read_series_set(name, folder)
    keys, values = series.keys, series.values
    if name in LAST:
        values = (values[0][-LAST[name] :],)
    if name == "m4_hourly":
        keys, values = keys[::12], values[::12]
    parts = []
    for key, numbers in zip(keys, values, strict=True):
        # The clock begins anew where the series was cut: nothing here reads a calendar.
        start = datetime.fromisoformat(series.starts[0])
        step = EVERY[series.frequency]
        end = pl.select(pl.lit(start).dt.offset_by(f"{(len(numbers) - 1) * int(step[:-1])}{step[-1]}")).item()
        parts.append(
            pl.DataFrame(
                {
                    "unique_id": key,
                    "ds": pl.datetime_range(start, end, step, eager=True),
                    "y": pl.Series(numbers).fill_nan(None),
                }
            )
        )
    return pl.concat(parts)


def without_end(frame: pl.DataFrame, steps: int) -> pl.DataFrame:
    """Each series without its last steps."""
    if "unique_id" not in frame.columns:
        return frame.head(frame.height - steps)
    ahead = pl.int_range(pl.len()).reverse().over("unique_id")
    return frame.filter(ahead >= steps)


def forecaster_of(name: str, seed: int, **changes: Any) -> Forecaster:
    """The demo's forecaster on its data; elsewhere width 16, 100 updates, the window of the problem."""
    if name == "demo":
        return demo_forecaster().set_params(seed=seed, **changes)
    settings = PROBLEMS["ETTh1-24" if name == "ETTh1" else name]
    return Forecaster(
        settings.horizon,
        hidden_size=16,
        window=settings.window,
        season=[season for season in settings.seasons if season <= settings.window],
        max_steps=100,
        training=Training(patience=5, device="cpu"),
        seed=seed,
        **changes,
    )


def row_of(kind: str, evaluation: ForecastEvaluation) -> dict[str, Any]:
    """What is kept of one evaluation."""
    scores = {row["model"]: row for row in evaluation.scores.to_dicts()}
    own = scores.pop("gatestack")
    return {
        "kind": kind,
        "origins": evaluation.origins,
        "horizon": evaluation.horizon,
        "intervals": evaluation.intervals.to_dicts(),
        "scaled_crps": own["scaled_crps"],
        "mase": own["mase"],
        "baselines": {name: row["scaled_crps"] for name, row in scores.items()},
        "level": float(evaluation.forecasts["y"].abs().mean()),  # type: ignore[arg-type]
    }


def fit_rows(name: str, seed: int, frame: pl.DataFrame, step: int, *, choosing: bool) -> list[dict[str, Any]]:
    """Fit on all but the last steps and score each kind on these; `choosing` also what was chosen among."""
    columns = COLUMNS if name == "demo" else {}
    first = without_end(frame, TEST[name][0])
    model = forecaster_of(name, seed, intervals="adaptive").fit(first, **columns)
    rows = []
    usual = adaptive.RATE
    for rate in RATES if choosing else (usual,):
        adaptive.RATE = rate
        label = f"adaptive, rate {rate:g}" if choosing else "adaptive"
        rows.append(row_of(label, model.evaluate(frame, step=step)))
    adaptive.RATE = usual
    fitted = model.fitted_
    model.fitted_ = replace(fitted, shares=None)
    rows.append(row_of("conformal", model.evaluate(frame, step=step)))
    model.fitted_ = replace(fitted, shares=None, calibration=None)
    rows.append(row_of("model", model.evaluate(frame, step=step)))
    if choosing:
        rows.append(row_of(OWN_PART, own_part(name, seed, first, columns).evaluate(frame, step=step)))
    return rows[::-1]


def own_part(name: str, seed: int, first: pl.DataFrame, columns: dict[str, Any]) -> Forecaster:
    """Fit without the last tenth, and calibrate on that tenth, which then chose nothing."""
    table = SeriesTable.from_frame(first, **columns)
    lengths = np.diff(table.sequences.offsets)
    held = int(np.ceil(0.1 * lengths.min()))
    model = forecaster_of(name, seed).fit(without_end(first, held), **columns).update(first)
    begins = lengths - held
    calibration = calibrate(model.fitted_, table, model.fitted_.panel(table), begins)
    model.fitted_ = replace(model.fitted_, calibration=calibration)
    return model


def main() -> None:
    """Run what is asked for and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--split", choices=["test", "training"], default="test")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--finished", action="store_true", help="fit nothing, write what earlier runs kept")
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "shared" / "data")
    parser.add_argument("--cache", type=Path, default=HERE.parent / "runs" / "benchmarks" / "intervals")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    options = parser.parse_args()
    torch.set_num_threads(1)
    # What is calibrated on few forecasts is scored here, too.
    warnings.simplefilter("ignore", UserWarning)
    options.cache.mkdir(parents=True, exist_ok=True)
    for seed in options.seeds:
        for name in options.sets:
            kept = options.cache / f"{options.split}-{name}-{seed}.json"
            if kept.exists() or options.finished:
                continue
            frame, (held, step) = frame_of(name, options.data), TEST[name]
            if options.split == "training":
                frame = without_end(frame, held)
            rows = fit_rows(name, seed, frame, step, choosing=options.split == "training")
            kept.write_text(json.dumps(rows), encoding="utf-8")
            print(kept.stem, flush=True)
    rows = [
        {"split": split, "set": name, "seed": int(seed)} | row
        for path in sorted(options.cache.glob("*.json"))
        for split, name, seed in [path.stem.rsplit("-", 2)]
        for row in json.loads(path.read_text(encoding="utf-8"))
    ]
    table = {"machine": describe_machine(), "rows": rows}
    (options.out / "intervals.json").write_text(json.dumps(table) + "\n", encoding="utf-8")
    (options.out / "intervals.md").write_text(intervals_page(table), encoding="utf-8")
    print(f"wrote intervals.md and intervals.json in {options.out}")


if __name__ == "__main__":
    main()
