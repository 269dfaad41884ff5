"""Choose the settings of `gatestack demo` on its training period alone.

The demo holds out the last year of the daily Seattle weather (2015). Nothing of that year is read here: the
rows after 2014 are dropped before anything else happens. Each candidate is fitted on 2012 and 2013 and scored
on rolling origins in 2014, with several seeds. The demo uses the candidate with the lowest mean scaled error.

    python benchmarks/choose_demo_settings.py            # all candidates, writes results/demo_settings.md
    python benchmarks/choose_demo_settings.py --seeds 1  # a quick look, writes nothing
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import time
from pathlib import Path
from typing import Any

import polars as pl
import torch

from gatestack import Forecaster, Training
from gatestack.cli.demo_settings import HORIZON, read_weather
from gatestack.tasks.forecast import Architecture, ForecastEvaluation, Origins

RESULT = Path(__file__).parent / "results" / "demo_settings.md"
HELD_OUT_FROM = datetime.date(2015, 1, 1)
ORIGINS = Origins(test=365, step=3)
SEEDS = 3

YEAR = ("day_of_year",)
WEATHER = ("precipitation", "temp_min", "wind")
BASE: dict[str, Any] = {"layers": 2, "hidden_size": 32, "window": 28, "max_steps": 400, "calendar": YEAR}
# Each candidate changes the base in one place, the last ones in several.
CANDIDATES: dict[str, dict[str, Any]] = {
    "base": {},
    "no calendar": {"calendar": ()},
    "weather columns": {"past": WEATHER},
    "1 layer": {"layers": 1},
    "hidden 64": {"hidden_size": 64},
    "window 56": {"window": 56},
    "dropout 0.2": {"dropout": 0.2},
    "learning rate 0.003": {"learning_rate": 3e-3},
    "weather, dropout 0.2": {"past": WEATHER, "dropout": 0.2},
    "weather, dropout 0.2, window 56": {"past": WEATHER, "dropout": 0.2, "window": 56},
    "weather, dropout 0.2, hidden 64": {"past": WEATHER, "dropout": 0.2, "hidden_size": 64},
    "weather, dropout 0.4, hidden 64": {"past": WEATHER, "dropout": 0.4, "hidden_size": 64},
    "weather, dropout 0.4": {"past": WEATHER, "dropout": 0.4},
    "weather, dropout 0.4, hidden 64, 1 layer": {
        "past": WEATHER,
        "dropout": 0.4,
        "hidden_size": 64,
        "layers": 1,
    },
    "weather, dropout 0.2, hidden 64, window 14": {
        "past": WEATHER,
        "dropout": 0.2,
        "hidden_size": 64,
        "window": 14,
    },
    "weather, dropout 0.2, series scaling": {"past": WEATHER, "dropout": 0.2, "scaling": "series"},
    "weather, no calendar, dropout 0.2": {"past": WEATHER, "dropout": 0.2, "calendar": ()},
}


def score(frame: pl.DataFrame, change: dict[str, Any], seed: int) -> ForecastEvaluation:
    """Backtest one candidate inside the training period."""
    settings = BASE | change
    past = settings.pop("past", ())
    rate = settings.pop("learning_rate", None)
    architecture = Architecture(
        dropout=settings.pop("dropout", 0.1), scaling=settings.pop("scaling", "window")
    )
    model = Forecaster(
        HORIZON,
        **settings,
        architecture=architecture,
        training=Training(learning_rate=rate, patience=5, device="cpu"),
        seed=seed,
    )
    return model.backtest(frame, target="temp_max", time="date", past=past, origins=ORIGINS)


def main() -> None:
    """Score every candidate and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seeds", type=int, default=SEEDS, help="seeds per candidate (default: %(default)s)")
    parser.add_argument("--only", nargs="*", help="names of candidates (default: all)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    frame = read_weather().filter(pl.col("date") < HELD_OUT_FROM)
    rows: list[dict[str, Any]] = []
    baselines: dict[str, float] = {}
    for name, change in CANDIDATES.items():
        if options.only and name not in options.only:
            continue
        found, started = [], time.process_time()
        for seed in range(options.seeds):
            scores = dict(score(frame, change, seed).scores.select("model", "mase").iter_rows())
            found.append(scores.pop("gatestack"))
            baselines |= scores
        seconds = (time.process_time() - started) / options.seeds
        rows.append({"name": name, "mase": sum(found) / len(found), "seeds": found, "seconds": seconds})
        print(json.dumps(rows[-1]), flush=True)
    print(json.dumps(baselines))
    if options.seeds == SEEDS and not options.only:
        RESULT.write_text(page(rows, baselines), encoding="utf-8")


def page(rows: list[dict[str, Any]], baselines: dict[str, float]) -> str:
    """Set the scores as a page."""
    best = min(rows, key=lambda row: row["mase"])["name"]
    lines = [
        "# Settings of the demo, chosen on its training period",
        "",
        "Written by `python benchmarks/choose_demo_settings.py`. Daily Seattle weather, `temp_max`, 7 days",
        f"ahead. Fitted on 2012 and 2013, scored on origins every {ORIGINS.step} days in 2014; 2015, which",
        f"the demo holds out, was not read. Base: `{json.dumps(BASE)}`,",
        "everything else at its default. Seconds are processor",
        f"time of one fit with its scores, one thread, torch {torch.__version__}, {platform.machine()}.",
        "",
        f"| candidate | MASE, mean of {SEEDS} seeds | lowest | highest | seconds |",
        "|---|---|---|---|---|",
    ]
    for row in sorted(rows, key=lambda row: float(row["mase"])):
        name = f"**{row['name']}** (taken)" if row["name"] == best else row["name"]
        numbers = [f"{value:.4f}" for value in (row["mase"], min(row["seeds"]), max(row["seeds"]))]
        lines.append(f"| {name} | {' | '.join(numbers)} | {row['seconds']:.0f} |")
    lines += [
        f"| {name} | {value:.4f} | | | |" for name, value in sorted(baselines.items(), key=lambda b: b[1])
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
