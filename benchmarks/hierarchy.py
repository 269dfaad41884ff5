"""Employees of the United States by industry, sector and in all: forecasts that add up, by method.

    python benchmarks/hierarchy.py      # some minutes on one core; the data comes with vega_datasets

The last three of ten years are held out; each month of them forecasts the next six. Settings are those of the
guide and were not tuned. Writes `benchmarks/results/hierarchy.md` and `.json`; fits are kept under
`runs/benchmarks/hierarchy`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from protocol.machine import describe_machine, machine_words
from vega_datasets import local_data

import gatestack as gs
from gatestack.tasks.forecast import CoherentForecaster, Origins
from gatestack.tasks.forecast.hierarchy.projection import METHODS

HERE = Path(__file__).resolve().parent
CACHE = HERE.parent / "runs" / "benchmarks" / "hierarchy"
GOODS = ("mining_and_logging", "construction", "durable_goods", "nondurable_goods")
SERVICES = (
    "wholesale_trade",
    "retail_trade",
    "transportation_and_warehousing",
    "utilities",
    "information",
    "financial_activities",
    "professional_and_business_services",
    "education_and_health_services",
    "leisure_and_hospitality",
    "other_services",
)
LEVELS = ("total", "sector", "unique_id")


def read_jobs() -> pl.DataFrame:
    sectors = (
        dict.fromkeys(GOODS, "goods") | dict.fromkeys(SERVICES, "services") | {"government": "government"}
    )
    wide = pl.from_pandas(local_data.us_employment()).with_columns(ds=pl.col("month").str.to_date())
    jobs = wide.unpivot(list(sectors), index="ds", variable_name="unique_id", value_name="y")
    return jobs.with_columns(sector=pl.col("unique_id").replace_strict(sectors))


def rows_of(method: str, intervals: str, seed: int) -> list[dict[str, Any]]:
    """Backtest once; give the rows of scores that are of interest."""
    kept = CACHE / f"{method}-{intervals}-{seed}.json"
    if kept.exists():
        return json.loads(kept.read_text())  # type: ignore[no-any-return]
    model = gs.Forecaster(
        6,
        hidden_size=16,
        max_steps=200,
        window=24,
        season=12,
        intervals=intervals,  # type: ignore[arg-type]
        seed=seed,
    )
    coherent = CoherentForecaster(model, ["sector"], method=method)  # type: ignore[arg-type]
    found = coherent.backtest(read_jobs(), origins=Origins(test=36, step=1))
    rows = [
        row | {"method": method, "intervals": intervals, "seed": seed}
        for row in found.scores.iter_rows(named=True)
    ]
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(rows))
    return rows


def cell(values: list[float], percent: bool = False) -> str:
    def text(value: float) -> str:
        return f"{100 * value:.1f} %" if percent else f"{value:.3f}"

    low, high = text(min(values)), text(max(values))
    mean = text(float(np.mean(values)))
    return mean if low == high else f"{mean} ({low} to {high})"


def page(rows: list[dict[str, Any]], facts: dict[str, Any]) -> str:
    lines = [
        "# Forecasts that add up: employees by industry and sector",
        "",
        "Fifteen industries, two sectors of several, one total; monthly, 2006 to 2015, the last 36 months "
        "held out, six months ahead from each month. MASE by level, lower is better; "
        f"{facts['seeds']} seeds, mean (least to most).",
        "",
        "| model | total | sectors | industries | in the 90 % interval | sCRPS |",
        "|---" * 6 + "|",
    ]
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        label = f"{row['method']}, {row['intervals']} intervals"
        if row["model"] == "incoherent":
            label = f"before adding up, {row['intervals']} intervals"
        elif row["model"] != "gatestack":
            label = row["model"]
        # A baseline, and the model before it adds up, are the same whatever the method.
        if row["model"] != "gatestack" and row["method"] != METHODS[0]:
            continue
        groups.setdefault(label, []).append(row)
    for label, group in groups.items():
        cells = [cell([row[f"mase-{level}"] for row in group]) for level in LEVELS]
        covered = [row["coverage-90"] for row in group if row["coverage-90"] is not None]
        cells.append(cell(covered, percent=True) if covered else "–")
        cells.append(f"{np.mean([row['scaled_crps'] for row in group]):.5f}")
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    lines += [
        "",
        f"Machine: {machine_words(facts['machine'])}; torch {facts['torch']}, gatestack "
        f"{facts['gatestack']}.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--out", type=Path, default=HERE / "results" / "hierarchy")
    given = options.parse_args()
    torch.set_num_threads(1)
    rows = []
    for seed in range(given.seeds):
        for method in METHODS:
            rows += rows_of(method, "model", seed)
            print(method, seed, flush=True)
        rows += rows_of(METHODS[0], "conformal", seed)
    facts = {
        "machine": describe_machine(),
        "torch": torch.__version__,
        "gatestack": gs.__version__,
        "seeds": given.seeds,
    }
    given.out.with_suffix(".json").write_text(json.dumps({"facts": facts, "rows": rows}, indent=1) + "\n")
    given.out.with_suffix(".md").write_text(page(rows, facts))


if __name__ == "__main__":
    main()
