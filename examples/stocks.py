"""A stock model that looks brilliant, and what is left of it: copies, returns, years, costs.

    python examples/stocks.py                    # monthly prices that come with vega_datasets
    python examples/stocks.py stocks.csv.gz      # daily ones: Ticker, Date, Adj Close

The guide docs/guides/stocks.md tells the story with daily prices, more seeds and pictures.
"""

from __future__ import annotations

import sys
from pathlib import Path

import polars as pl
import torch
from vega_datasets import local_data

import gatestack as gs
from gatestack.tasks.forecast import copies_last_value

SEEDS = range(2)
YEARS = range(2004, 2011)
COST = 10 / 1e4  # paid on what is bought or sold: 10 hundredths of a per cent

torch.set_num_threads(1)


def read_prices(path: Path | None) -> pl.DataFrame:
    """Give unique_id, ds, price (adjusted for splits and dividends), and y, the log return in per cent."""
    if path is None:
        names = {"symbol": "unique_id", "date": "ds"}
        frame = pl.from_pandas(local_data.stocks()).rename(names).with_columns(pl.col("ds").cast(pl.Date))
    else:
        # The plain close halves on the day of a split, which no one lost; the adjusted one does not.
        names = {"Ticker": "unique_id", "Date": "ds", "Adj Close": "price"}
        frame = pl.read_csv(path, try_parse_dates=True).rename(names)
    frame = frame.select("unique_id", "ds", "price").filter(pl.len().over("unique_id") > 100)
    change = 100 * pl.col("price").log().diff().over("unique_id")
    return frame.sort("unique_id", "ds").with_columns(y=change)


def r_squared(frame: pl.DataFrame, forecast: str) -> float:
    """Compare the squared error of a forecast with that of the mean."""
    errors = frame.select(((pl.col(forecast) - pl.col("y")) ** 2).sum()).item()
    return float(1 - errors / ((frame["y"] - frame["y"].mean()) ** 2).sum())


def forecasts_by_year(frame: pl.DataFrame, target: str, seed: int) -> pl.DataFrame:
    """Fit before each year on all that came before it, and forecast one step ahead in the year."""
    known = frame.drop_nulls(target)
    parts = []
    for year in YEARS:
        before, until = (known.filter(pl.col("ds").dt.year() < limit) for limit in (year, year + 1))
        model = gs.Forecaster(1, hidden_size=16, max_steps=40, window=12, season=None, seed=seed)
        model.fit(before, target=target)
        parts.append(model.evaluate(until).forecasts)
    return pl.concat(parts).sort("unique_id", "ds")


def growth_per_step(forecasts: pl.DataFrame, held: pl.Expr, cost: float) -> float:
    """Hold stocks where `held` says so, pay for what changes; give the mean gain of a step in per cent."""
    table = forecasts.with_columns(held=held.cast(pl.Float64), gain=(pl.col("y") / 100).exp() - 1)
    traded = (pl.col("held") - pl.col("held").shift(fill_value=0).over("unique_id")).abs()
    return float(100 * table.select((pl.col("held") * pl.col("gain") - cost * traded).mean()).item())


prices = read_prices(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
print(f"{prices['unique_id'].n_unique()} stocks, {prices.height:,} prices\n")

found = forecasts_by_year(prices, "price", seed=0)
own, last = (r_squared(found, name) for name in ("gatestack", "last_value"))
print(f"prices:  R² of the model {own:.3f}, of the last value {last:.3f}")
print(f"         {copies_last_value(found).sentence}\n")

for seed in SEEDS:
    found = forecasts_by_year(prices, "y", seed)
    error = (
        100 * found.select((pl.col("gatestack") - pl.col("y")).abs().sum() / pl.col("y").abs().sum()).item()
    )
    right = found.select((pl.col("gatestack").sign() == pl.col("y").sign()).mean()).item()
    up = found.select((pl.col("y") > 0).mean()).item()
    print(
        f"returns: seed {seed}, R² {r_squared(found, 'gatestack'):+.3f}, error {error:.1f} % of that of “no "
        f"change”, right direction {100 * right:.0f} % (up: {100 * up:.0f} %)"
    )
    long = pl.col("gatestack") > 0
    rows = {"before costs": (long, 0.0), "after costs": (long, COST), "buy and hold": (pl.lit(True), COST)}
    gains = {name: growth_per_step(found, held, cost) for name, (held, cost) in rows.items()}
    print("         gain a step: " + ", ".join(f"{name} {gain:+.3f} %" for name, gain in gains.items()))
print("\nThese stocks were chosen later, because they rose: what holds for them need not hold for others.")
