"""The distributions of a forecast beside each other and beside naive quantiles, on the same origins.

    python benchmarks/distributions.py               # about an hour on a busy core
    python benchmarks/distributions.py --finished    # write the page from what is kept

Five sets, the same network for all heads: two layers of 24 units, 200 updates of 16 examples, everything else
at its default. Nothing was chosen on them. Two sets are counts: requests a load balancer saw in five minutes,
and hours with rain in a day. Beside the heads stands the naive answer with quantiles: the last value, or the
one of the last season, plus the quantiles of the errors that it made at that step ahead in the training part.
Each fit's scores are kept under `runs/benchmarks/distributions/`. Writes `results/distributions.json` and
`.md`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from protocol.distributions_page import distributions_page
from protocol.machine import describe_machine

import gatestack
from gatestack.tasks.forecast import Architecture, Forecaster, Origins
from gatestack.tasks.forecast.evaluation import interval_columns
from gatestack.tasks.forecast.options import DEFAULT_QUANTILES, DistributionName, Mode
from gatestack.training import Training

HERE = Path(__file__).resolve().parent
HEADS: tuple[DistributionName, ...] = ("quantiles", "normal", "student-t", "spline")
COUNTS: tuple[DistributionName, ...] = (*HEADS, "negative-binomial")
SUMS: dict[str, tuple[DistributionName, ...]] = {
    "seattle_weather": ("quantiles", "normal", "student-t"),
    "elb_requests": ("quantiles", "normal", "negative-binomial"),
}
LEVELS = np.array(DEFAULT_QUANTILES)
Maker = Callable[[str, DistributionName, int, pl.DataFrame], dict[str, Any]]
Answers = dict[str, dict[str, list[dict[str, Any]]]]


@dataclass(frozen=True)
class Problem:
    """A set and what is asked of it: `test` steps of each series are held out, origins a horizon apart."""

    frame: Callable[[Path], pl.DataFrame]
    horizon: int
    window: int
    season: int | None
    test: int
    counts: bool = False


def seattle(data: Path) -> pl.DataFrame:
    """The highest temperature of each day."""
    table = pl.read_csv(data / "seattle_weather" / "seattle-weather.csv", try_parse_dates=True)
    return table.select(ds="date", y="temp_max")


def electricity(data: Path) -> pl.DataFrame:
    """The mean demand of each hour, of the last year."""
    table = pl.read_csv(data / "vic_electricity" / "vic_electricity.csv", try_parse_dates=True)
    hourly = table.group_by_dynamic("Time", every="1h").agg(pl.col("Demand").mean())
    return hourly.select(ds=pl.col("Time").dt.replace_time_zone(None), y="Demand").tail(8760)


def m4(data: Path) -> pl.DataFrame:
    """Every twentieth series, the last 48 hours being the competition's test part."""
    parts = []
    files = (data / "m4_hourly" / f"Hourly-{part}.csv" for part in ("train", "test"))
    train, test = (pl.read_csv(file, infer_schema_length=None) for file in files)
    for begin, end in list(zip(train.iter_rows(), test.iter_rows(), strict=True))[::20]:
        values = [value for value in (*begin[1:], *end[1:]) if value is not None]
        parts.append(pl.DataFrame({"unique_id": begin[0], "ds": range(len(values)), "y": values}))
    return pl.concat(parts)


def requests(data: Path) -> pl.DataFrame:
    """Requests in five minutes."""
    file = data / "nab" / "data" / "realAWSCloudwatch" / "elb_request_count_8c0756.csv"
    return pl.read_csv(file, try_parse_dates=True).select(ds="timestamp", y="value")


def rain(data: Path) -> pl.DataFrame:
    """Hours with rain in each day: four days in five have none."""
    table = pl.read_csv(data / "beijing_pm25" / "pollution.csv", null_values="NA", infer_schema_length=None)
    day = pl.date("year", "month", "day").alias("ds")
    return table.group_by(day, maintain_order=True).agg(y=(pl.col("Ir") > 0).sum().cast(pl.Float64))


PROBLEMS = {
    "seattle_weather": Problem(seattle, 7, 60, None, 364),
    "vic_electricity": Problem(electricity, 24, 168, 24, 24 * 56),
    "m4_hourly": Problem(m4, 48, 96, 24, 48),
    "elb_requests": Problem(requests, 12, 72, None, 1008, counts=True),
    "beijing_rain_hours": Problem(rain, 7, 60, None, 364, counts=True),
}


def scaled_crps(forecasts: pl.DataFrame, quantiles: np.ndarray) -> float:
    """Twice the pinball loss over the mean size of the truth, series by series, as the package scores it."""
    truth = forecasts["y"].to_numpy()
    error = truth[:, None] - quantiles
    pinball = 2 * np.maximum(LEVELS * error, (LEVELS - 1) * error).mean(axis=1)
    sums = pl.DataFrame({"key": forecasts["unique_id"], "loss": pinball, "size": np.abs(truth)})
    by_series = sums.group_by("key").agg(pl.col("loss").sum() / pl.col("size").sum())["loss"]
    return float(by_series.filter(by_series.is_finite()).mean())  # type: ignore[arg-type]


def coverage(truth: np.ndarray, quantiles: np.ndarray, low: int) -> float:
    """How often the truth lies inside the interval from quantile `low` to the one as far from the end."""
    return float(np.mean((quantiles[:, low] <= truth) & (truth <= quantiles[:, -1 - low])))


def naive_quantiles(problem: Problem, frame: pl.DataFrame, forecasts: pl.DataFrame) -> np.ndarray:
    """Give the naive forecast of each row plus the quantiles of its errors at that step in training."""
    naive = forecasts["seasonal_naive" if problem.season else "last_value"].to_numpy()
    ahead = (forecasts["ds"].to_physical() - forecasts["cutoff"].to_physical()).to_numpy()
    steps = ahead // ahead.min()
    season = problem.season or 1
    found = np.empty((len(naive), len(LEVELS)))
    for key in forecasts["unique_id"].unique():
        part = frame.filter(pl.col("unique_id") == key) if "unique_id" in frame.columns else frame
        training = part["y"].to_numpy()[: -problem.test]
        for step in range(1, problem.horizon + 1):
            # the last value is `step` steps back, that of the last season whole seasons
            back = season * -(-step // season) if problem.season else step
            errors = training[back:] - training[:-back]
            here = (forecasts["unique_id"] == key).to_numpy() & (steps == step)
            found[here] = naive[here, None] + np.quantile(errors[np.isfinite(errors)], LEVELS)
    return np.maximum(found, 0.0) if problem.counts else found


def forecaster_of(problem: Problem, head: DistributionName, seed: int, mode: Mode = "direct") -> Forecaster:
    """The network that all heads share."""
    return Forecaster(
        problem.horizon,
        hidden_size=24,
        window=problem.window,
        season=problem.season,
        max_steps=200,
        mode=mode,
        architecture=Architecture(distribution=head),
        training=Training(batch_size=16, device="cpu"),
        seed=seed,
    )


def fit_once(name: str, head: DistributionName, seed: int, frame: pl.DataFrame) -> dict[str, Any]:
    """Fit on what lies before the test part and score it there."""
    problem = PROBLEMS[name]
    model = forecaster_of(problem, head, seed)
    started = datetime.now()
    result = model.backtest(frame, origins=Origins(test=problem.test, step=problem.horizon))
    seconds = (datetime.now() - started).total_seconds()
    table = result.forecasts
    columns = ["gatestack"] * len(LEVELS)
    for column, place in interval_columns(DEFAULT_QUANTILES).items():
        columns[place] = column
    quantiles = table.select(pl.col(column).alias(str(n)) for n, column in enumerate(columns)).to_numpy()
    own = result.scores.row(0, named=True)
    crps = scaled_crps(table, quantiles)
    # the score beside which the naive one stands is the package's own
    assert abs(crps - own["scaled_crps"]) < 1e-6 * crps
    truth = table["y"].to_numpy()
    answer = {"scaled_crps": crps, "mase": own["mase"], "mae": own["mae"], "seconds": seconds}
    answer |= {"coverage-80": coverage(truth, quantiles, 1), "coverage-90": coverage(truth, quantiles, 0)}
    naive = naive_quantiles(problem, frame, table)
    name_of_naive = "seasonal_naive" if problem.season else "last_value"
    answer["naive"] = {
        "scaled_crps": scaled_crps(table, naive),
        "coverage-80": coverage(truth, naive, 1),
        "coverage-90": coverage(truth, naive, 0),
        "mase": result.scores.filter(pl.col("model") == name_of_naive)["mase"][0],
    }
    return answer | {"origins": result.origins}


def sums_once(name: str, head: DistributionName, seed: int, frame: pl.DataFrame) -> dict[str, Any]:
    """Fit in the mode "recursive" and see how often sums over the horizon lie inside their intervals.

    Apart: the same draws, each step's in another order, as if the steps did not belong together.
    """
    problem = PROBLEMS[name]
    first = frame.height - problem.test
    model = forecaster_of(problem, head, seed, mode="recursive").fit(frame.head(first))
    random = np.random.default_rng(0)
    inside: dict[str, list[bool]] = {}
    for origin in range(first, frame.height - problem.horizon + 1, problem.horizon):
        paths = model.sample(frame.head(origin))["gatestack"].to_numpy().reshape(-1, problem.horizon)
        # Where the times have gaps, the steps ahead are not the rows ahead.
        ahead = frame[origin : origin + problem.horizon]
        if (ahead["ds"][-1] - frame["ds"][origin - 1]) != problem.horizon * (frame["ds"][1] - frame["ds"][0]):
            continue
        apart = random.permuted(paths, axis=0)
        for kind, drawn in (("together", paths), ("apart", apart)):
            for percent in (80, 90):
                low, high = np.quantile(drawn.sum(axis=1), [0.5 - percent / 200, 0.5 + percent / 200])
                inside.setdefault(f"{kind}-{percent}", []).append(bool(low <= ahead["y"].sum() <= high))
    return {name: float(np.mean(found)) for name, found in inside.items()} | {
        "origins": len(inside["together-80"])
    }


def main() -> None:
    """Fit what is not kept yet, then write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--finished", action="store_true", help="fit nothing, write what earlier runs kept")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    kept = Path("runs/benchmarks/distributions")
    kept.mkdir(parents=True, exist_ok=True)
    frames: dict[str, pl.DataFrame] = {}

    def answer(kind: str, make: Maker, name: str, head: DistributionName, seed: int) -> list[dict[str, Any]]:
        """The kept answer, made first where it is missing; none with --finished."""
        file = kept / f"{kind}{name}-{head}-{seed}.json"
        if not file.exists() and not arguments.finished:
            if name not in frames:
                frames[name] = PROBLEMS[name].frame(arguments.data)
            file.write_text(json.dumps(make(name, head, seed, frames[name])), encoding="utf-8")
            print(file.stem, file.read_text(encoding="utf-8"), flush=True)
        return [json.loads(file.read_text(encoding="utf-8"))] if file.exists() else []

    answers: Answers = {name: {} for name in PROBLEMS}
    sums: Answers = {name: {} for name in SUMS}
    for seed in range(arguments.seeds):
        for name, problem in PROBLEMS.items():
            for head in COUNTS if problem.counts else HEADS:
                answers[name].setdefault(head, []).extend(answer("", fit_once, name, head, seed))
        for name, heads in SUMS.items():
            for head in heads:
                sums[name].setdefault(head, []).extend(answer("sums-", sums_once, name, head, seed))
    results = {"gatestack": gatestack.__version__, "torch": torch.__version__}
    page = {"machine": describe_machine(), "versions": results, "answers": answers, "sums": sums}
    (HERE / "results" / "distributions.json").write_text(json.dumps(page, indent=1) + "\n", encoding="utf-8")
    (HERE / "results" / "distributions.md").write_text(distributions_page(page), encoding="utf-8")


if __name__ == "__main__":
    main()
