"""M4 hourly, 414 series in one model, by the rules of the competition: sMAPE, MASE, OWA.

    python benchmarks/m4_hourly.py                       # the test file: about an hour on 2 cores
    python benchmarks/m4_hourly.py --split validation    # to choose settings: the test file is not opened

The validation split takes the last 48 steps of the training file for the truth. Fitted models are kept under
`runs/benchmarks/m4_hourly`, so an interrupted benchmark goes on where it stopped. Writes
`results/m4_hourly.json` and `.md` (validation: `m4_hourly_validation.*`).
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from protocol.m4_page import m4_page
from protocol.m4_rules import Array, naive2, score, seasonal_naive
from protocol.machine import describe_machine

import gatestack
from gatestack.data import SeriesTable, read_wide
from gatestack.tasks.forecast import Forecaster

HERE = Path(__file__).resolve().parent
HORIZON, SEASON = 48, 24
# Every fifth series is held out wholly for the cold start; forecasts from so many first values of each.
HELD_OUT = 5
FIRST_VALUES = (1, 6, 24, 48, 168)

Series = dict[str, Array]


def series_of(frame: pl.DataFrame, column: str = "y") -> Series:
    """Give the values of each series."""
    groups = frame.group_by(["unique_id"], maintain_order=True)
    return {str(key): part[column].to_numpy().astype(np.float64) for (key,), part in groups}


def frame_of(series: Series) -> pl.DataFrame:
    """Give one row per step."""
    parts = [
        pl.DataFrame({"unique_id": key, "ds": np.arange(1, len(values) + 1), "y": values})
        for key, values in series.items()
    ]
    return pl.concat(parts)


def read_split(data: Path, split: str) -> tuple[Series, Series]:
    """Give histories and what followed."""
    train = series_of(read_wide(data / "Hourly-train.csv"))
    if split == "test":
        return train, series_of(read_wide(data / "Hourly-test.csv"))
    held = {key: values[-HORIZON:] for key, values in train.items()}
    return {key: values[:-HORIZON] for key, values in train.items()}, held


def fitted_model(folder: Path, histories: Series, seed: int, **settings: Any) -> tuple[Forecaster, float]:
    """Fit a forecaster with the settings of the package, or take the one that was kept."""
    seconds = folder.with_suffix(".json")
    if not seconds.is_file():
        start = time.perf_counter()
        model = Forecaster(HORIZON, seed=seed, **settings).fit(frame_of(histories))
        took = time.perf_counter() - start
        if model.fitted_.record.stopped_by == "interrupt":
            raise KeyboardInterrupt  # half a fit is no result
        folder.parent.mkdir(parents=True, exist_ok=True)
        model.save(folder, overwrite=True)
        seconds.write_text(json.dumps(took), encoding="utf-8")
        print(f"{folder.name}: fitted in {took:.0f} s", flush=True)
    return Forecaster.load(folder), float(json.loads(seconds.read_text(encoding="utf-8")))


def linear_forecasts(model: Forecaster, histories: Series) -> Series:
    """Forecast with the linear autoregression that every fit stands beside."""
    evaluation = model.evaluate(frame_of({k: np.append(v, np.zeros(HORIZON)) for k, v in histories.items()}))
    return series_of(evaluation.forecasts, "linear")


def cold_start(models: list[Forecaster], held_out: Series) -> list[dict[str, Any]]:
    """Score forecasts of series that no fit saw, from their first values on and from nearly all of them."""
    rows = []
    for count in (*FIRST_VALUES, None):
        known = {k: v[: len(v) - HORIZON if count is None else count] for k, v in held_out.items()}
        truth = {k: v[len(known[k]) :][:HORIZON] for k, v in held_out.items()}
        answers = {
            "last value": {k: np.full(HORIZON, v[-1]) for k, v in known.items()},
            "seasonal naive": {k: seasonal_naive(v, HORIZON, SEASON) for k, v in known.items()},
        }
        if count is not None and count < SEASON:
            del answers["seasonal naive"]
        mases = {name: [errors_in_scale(held_out, truth, found)] for name, found in answers.items()}
        mases["gatestack"] = [
            errors_in_scale(held_out, truth, series_of(model.predict(frame_of(known)), "gatestack"))
            for model in models
        ]
        mases["as it is"] = [
            errors_in_scale(held_out, truth, read_as_it_is(model, known)) for model in models
        ]
        rows.append({"first_values": count, "mase": mases})
    return rows


def read_as_it_is(model: Forecaster, histories: Series) -> Series:
    """Forecast without the season that is put before a history shorter than a window."""
    fitted, table = model.fitted_, SeriesTable.from_frame(frame_of(histories), frequency=1)
    state = fitted.state_after(fitted.panel(table))
    quantiles = fitted.quantiles_ahead(state, table, np.zeros((len(histories), HORIZON, 0), dtype=np.float32))
    return dict(zip(histories, quantiles[..., len(fitted.levels) // 2], strict=True))


def errors_in_scale(whole: Series, truth: Series, forecasts: Series) -> float:
    """MASE with the scale of each whole series, which a short history does not have."""
    scales = {key: np.mean(np.abs(values[SEASON:] - values[:-SEASON])) for key, values in whole.items()}
    return float(np.mean([np.mean(np.abs(truth[k] - forecasts[k])) / scales[k] for k in truth]))


def one_command(data: Path, out: Path) -> dict[str, Any]:
    """Run the command of the guide from the competition's files to a scored model, with the clock on."""
    kept = out.with_suffix(".json")
    if not kept.is_file():
        script = "from gatestack.cli.main import run; run()"
        arguments = ["fit", "forecast", str(data / "Hourly-train.csv"), "--wide", "--horizon", str(HORIZON)]
        arguments += ["--test", str(data / "Hourly-test.csv"), "--out", str(out), "--overwrite", "--json"]
        start, before = time.perf_counter(), _processor_seconds_of_children()
        done = subprocess.run(
            [sys.executable, "-c", script, *arguments, "--restart"],
            capture_output=True,
            text=True,
            check=True,
        )
        answer = json.loads(done.stdout)
        scores = {row["model"]: row for row in answer["test"]["scores"]}
        found = {
            "seconds": time.perf_counter() - start,
            "processor_seconds": _processor_seconds_of_children() - before,
            "scores": scores,
        }
        kept.write_text(json.dumps(found), encoding="utf-8")
    answer = json.loads(kept.read_text(encoding="utf-8"))
    return dict(answer)


def _processor_seconds_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--split", choices=["test", "validation"], default="test")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--cold-seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--data", type=Path, default=HERE.parents[1] / "shared" / "data" / "m4_hourly")
    parser.add_argument("--cache", type=Path, default=HERE.parent / "runs" / "benchmarks" / "m4_hourly")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    return parser.parse_args()


def main() -> None:
    """Run what is asked for and write the page."""
    arguments = _arguments()
    histories, truths = read_split(arguments.data, arguments.split)
    models, seconds = [], []
    for seed in arguments.seeds:
        folder = arguments.cache / f"{arguments.split}-seed-{seed}"
        model, took = fitted_model(folder, histories, seed)
        models.append(model)
        seconds.append(took)
    answers = {
        "last value": {key: np.full(HORIZON, values[-1]) for key, values in histories.items()},
        "Naive2": {key: naive2(values, HORIZON, SEASON) for key, values in histories.items()},
        "seasonal naive": {key: seasonal_naive(v, HORIZON, SEASON) for key, v in histories.items()},
        "our linear autoregression": linear_forecasts(models[0], histories),
    }
    rows = {name: [vars(score(histories, truths, found, SEASON))] for name, found in answers.items()}
    forecasts = [series_of(model.predict(), "gatestack") for model in models]
    rows["gatestack, defaults"] = [vars(score(histories, truths, found, SEASON)) for found in forecasts]
    mean = {key: np.mean([found[key] for found in forecasts], axis=0) for key in histories}
    rows["gatestack, mean of the seeds' forecasts"] = [vars(score(histories, truths, mean, SEASON))]

    held_out = {key: histories[key] for key in list(histories)[::HELD_OUT]}
    others = {key: values for key, values in histories.items() if key not in held_out}
    strangers = [
        fitted_model(arguments.cache / f"{arguments.split}-cold-{seed}", others, seed)[0]
        for seed in arguments.cold_seeds
    ]
    table = {
        "split": arguments.split,
        "machine": describe_machine(),
        "gatestack": gatestack.__version__,
        "seeds": arguments.seeds,
        "fit_seconds": seconds,
        "window": models[0].fitted_.network.shape.window,
        "seasons": models[0].fitted_.network.shape.seasons,
        "rows": rows,
        "cold_start": cold_start(strangers, held_out) if strangers else [],
        "held_out": len(held_out),
        "one_command": one_command(arguments.data, arguments.cache / "one-command")
        if arguments.split == "test"
        else None,
    }
    name = "m4_hourly" if arguments.split == "test" else "m4_hourly_validation"
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / f"{name}.json").write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    (arguments.out / f"{name}.md").write_text(m4_page(table), encoding="utf-8")
    print(f"wrote {name}.md and {name}.json in {arguments.out}")


if __name__ == "__main__":
    main()
