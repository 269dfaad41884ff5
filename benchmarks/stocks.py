"""Stocks, told honestly: prices that an LSTM copies, returns it cannot forecast, and what trading them costs.

    python benchmarks/stocks.py --data stocks.csv.gz                            # half an hour on one core
    python benchmarks/stocks.py --data stocks.csv.gz --pictures docs/images     # and the guide's pictures

Two experiments, on prices adjusted for splits and dividends:

- prices: the model of the tutorials (two LSTM layers of 50, a window of 60 days, prices scaled to 0 … 1) and
  the package's own forecaster, fitted on prices up to 2009, scored one day ahead after it;
- returns: the forecaster, fitted anew before each year on all that came before it, forecasts the next day's
  return of all stocks; long where it is above zero, else in cash, with costs.

Settings were written down before the first run and not changed. Fits are kept under `runs/benchmarks/stocks`.
Writes `benchmarks/results/stocks.json` and `stocks.md`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from protocol.machine import describe_machine
from protocol.stock_page import stock_page
from protocol.stock_pictures import draw_pictures
from protocol.stock_strategies import account, difference_interval
from torch import nn

import gatestack as gs
from gatestack.nn import LSTM, Stack
from gatestack.tasks.forecast import copies_last_value
from gatestack.tasks.skill import compare

FloatArray = npt.NDArray[np.float64]

HERE = Path(__file__).resolve().parent
CACHE = HERE.parent / "runs" / "benchmarks" / "stocks"
TICKERS = ("AAPL", "GOOG", "IBM", "MSFT")  # FB has 196 days: less than the first year that is held out
SPLIT = date(2010, 1, 1)
YEARS = range(2004, 2013)
WINDOW = 60
COSTS_BP = (0, 5, 10, 20)
SHOWN = "MSFT"  # the stock of the picture of prices


def read_stocks(path: Path) -> pl.DataFrame:
    """Give ticker, date, adjusted price, log return in per cent, log volume."""
    price = pl.col("Adj Close")
    return (
        pl.read_csv(path, try_parse_dates=True)
        .filter(pl.col("Ticker").is_in(TICKERS))
        .sort("Ticker", "Date")
        .select(
            unique_id="Ticker",
            ds="Date",
            price=price,
            closed="Close",
            y=100 * price.log().diff().over("Ticker"),
            volume=pl.col("Volume").log1p(),
        )
    )


class TutorialModel(nn.Module):
    """Two LSTM layers of 50 and one number: the first model of many a tutorial."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = Stack(LSTM(50), LSTM(50, return_sequences=False))
        self.head = nn.Linear(50, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Read (N, window, 1), give (N, 1)."""
        forecast: torch.Tensor = self.head(self.stack(x)[0])
        return forecast


def fit_tutorial(prices: FloatArray, train: int, seed: int) -> FloatArray:
    """Fit on the first `train` prices; forecast each later one from the 60 before it, (steps - train,)."""
    torch.manual_seed(seed)
    low, high = prices[:train].min(), prices[:train].max()
    scaled = torch.from_numpy((prices - low) / (high - low)).float()
    windows = scaled.unfold(0, WINDOW, 1)[:-1, :, None]  # (steps - 60, 60, 1), the next step is `truth`
    truth = scaled[WINDOW:, None]
    cut = train - WINDOW
    model = TutorialModel()
    model(windows[:1])  # layers take their width from their first input
    optimiser = torch.optim.Adam(model.parameters())
    for _ in range(20):
        for batch in torch.randperm(cut).split(32):
            loss = nn.functional.mse_loss(model(windows[batch]), truth[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    with torch.no_grad():
        forecast: FloatArray = model(windows[cut:])[:, 0].numpy().astype(np.float64)
    return low + forecast * (high - low)


def r_squared(forecast: FloatArray, truth: FloatArray) -> float:
    return float(1 - ((forecast - truth) ** 2).sum() / ((truth - truth.mean()) ** 2).sum())


def price_row(frame: pl.DataFrame, model: str, ticker: str, seed: int) -> dict[str, Any]:
    """Score one-day forecasts of prices, as prices and as the returns that they say.

    Args:
        frame: `ds`, `y`, `last`, `forecast`, in order of time.
        model: its name.
        ticker: the stock.
        seed: of the fit.
    """
    truth, last, forecast = (frame[name].to_numpy() for name in ("y", "last", "forecast"))
    found = copies_last_value(frame.select("ds", "y", "forecast", last_value="last"))
    return {
        "model": model,
        "ticker": ticker,
        "seed": seed,
        "days": len(truth),
        "r2_price": r_squared(forecast, truth),
        "r2_price_last_value": r_squared(last, truth),
        "r2_return": r_squared(np.log(np.maximum(forecast, 1e-3) / last), np.log(truth / last)),
        "mae_over_last_value": float(np.abs(forecast - truth).mean() / np.abs(last - truth).mean()),
        "right_direction": float(((forecast > last) == (truth > last)).mean()),
        "copying": found.to_dict(),
    }


def run_tutorial(stocks: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Fit the tutorial's model on each stock's prices up to the split; forecast one day ahead after it."""
    parts = []
    for ticker in TICKERS:
        one = stocks.filter(pl.col("unique_id") == ticker)
        prices = one["price"].to_numpy()
        train = int((one["ds"] < SPLIT).sum())
        columns = {
            "ds": one["ds"][train:],
            "y": prices[train:],
            "last": prices[train - 1 : -1],
            "forecast": fit_tutorial(prices, train, seed),
        }
        parts.append(pl.DataFrame(columns).with_columns(unique_id=pl.lit(ticker)))
    return pl.concat(parts)


def run_forecaster(stocks: pl.DataFrame, seed: int) -> pl.DataFrame:
    """The same with the package's own model, one for all stocks."""
    model = gs.Forecaster(1, hidden_size=50, window=WINDOW, season=None, max_steps=400, seed=seed)
    model.fit(stocks.filter(pl.col("ds") < SPLIT), target="price")
    found = model.evaluate(stocks).forecasts
    return found.select("ds", "y", "unique_id", last="last_value", forecast="gatestack")


def run_returns(stocks: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Forecast each day's return from a fit on all before its year."""
    parts = []
    for year in YEARS:
        model = gs.Forecaster(1, hidden_size=32, window=WINDOW, season=None, max_steps=300, seed=seed)
        known = stocks.filter(pl.col("ds") < date(year, 1, 1)).drop_nulls("y")
        until = stocks.filter(pl.col("ds") < date(year + 1, 1, 1)).drop_nulls("y")
        # A stock that has just come to the market is too short to learn from, and is left out of that year.
        model.fit(known, past=["volume"], short_series="skip")
        keys = model.fitted_.tail.sequences.keys or ()
        found = model.evaluate(until.filter(pl.col("unique_id").is_in(keys)))
        parts.append(
            found.forecasts.select("unique_id", "ds", "cutoff", "y", "gatestack", "linear", "last_value")
        )
    return pl.concat(parts)


def wide(forecasts: pl.DataFrame, column: str) -> FloatArray:
    """Spread a column over days and tickers, (days, stocks), NaN where there is none."""
    table = forecasts.pivot("unique_id", index="ds", values=column).sort("ds")
    return table.select(TICKERS).to_numpy().astype(np.float64)


def return_rows(forecasts: pl.DataFrame, seed: int) -> list[dict[str, Any]]:
    """Score forecasts of returns and the trades that follow them."""
    truth = wide(forecasts, "y")
    simple = np.expm1(truth / 100)
    hold = np.ones_like(truth)
    signals = {name: wide(forecasts, name) for name in ("gatestack", "linear")}
    positions = {name: (signal > 0).astype(float) for name, signal in signals.items()}
    positions |= {"buy and hold": hold, "zero return (cash)": 0 * hold}
    rows = []
    for name, held in positions.items():
        row: dict[str, Any] = {"model": name, "seed": seed}
        if name in signals:
            row |= forecast_scores(forecasts, name)
        for cost in COSTS_BP:
            mine, held_all = account(held, simple, cost), account(hold, simple, cost)
            row[f"money_{cost}bp"] = {
                "growth": mine.growth,
                "sharpe": mine.sharpe,
                "turnover": mine.turnover,
                "against_hold": difference_interval(mine.daily, held_all.daily),
            }
        rows.append(row)
    return rows


def growth_curves(forecasts: list[pl.DataFrame]) -> dict[str, list[FloatArray]]:
    """Give the growth of one unit of money by strategy, a curve per seed."""
    simple = np.expm1(wide(forecasts[0], "y") / 100)
    own = [(wide(part, "gatestack") > 0).astype(float) for part in forecasts]
    held = np.ones_like(simple)
    accounts = {
        "buy and hold": [account(held, simple, 0)],
        "LSTM, no costs": [account(positions, simple, 0) for positions in own],
        "LSTM, 10 bp": [account(positions, simple, 10) for positions in own],
        "naive: zero return, cash": [account(0 * held, simple, 0)],
    }
    return {name: [np.cumprod(1 + part.daily) for part in parts] for name, parts in accounts.items()}


def forecast_scores(forecasts: pl.DataFrame, name: str) -> dict[str, Any]:
    """Compare the error of a forecast with that of the forecast "no change"."""
    ordered = forecasts.sort("unique_id", "ds")
    truth, forecast = (ordered[column].to_numpy() for column in ("y", name))
    rows = ordered["unique_id"].rank("dense").to_numpy().astype(np.int64) - 1
    scale = np.ones(len(TICKERS))
    errors = {"model": np.abs(forecast - truth)[:, None], "zero": np.abs(truth)[:, None]}
    skill = compare(errors, rows=rows, scale=scale, model="model", block=20)["zero"]
    squared = {key: value**2 for key, value in errors.items()}
    return {
        "days": len(truth),
        "r2_return": float(1 - squared["model"].sum() / squared["zero"].sum()),
        "error_below_zero_return": skill.to_dict(),
        "squared_error_below_zero_return": compare(squared, rows=rows, scale=scale, model="model", block=20)[
            "zero"
        ].to_dict(),
        "right_direction": float(((forecast > 0) == (truth > 0))[truth != 0].mean()),
        "days_up": float((truth > 0)[truth != 0].mean()),
    }


def kept(run: Callable[[pl.DataFrame, int], pl.DataFrame], stocks: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Run, or read what an earlier run kept."""
    path = CACHE / f"{run.__name__}-{seed}.parquet"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        run(stocks, seed).write_parquet(path)
    return pl.read_parquet(path)


def falls(column: str) -> pl.Expr:
    """Give the relative change of each day."""
    return pl.col(column).pct_change().over("unique_id")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--data", type=Path, required=True, help="stocks.csv.gz")
    options.add_argument("--seeds", type=int, default=5, help="of the walk forward")
    options.add_argument("--price-seeds", type=int, default=3)
    options.add_argument("--pictures", type=Path, help="folder for the pictures of the guide")
    options.add_argument("--out", type=Path, default=HERE / "results" / "stocks")
    given = options.parse_args()
    torch.set_num_threads(1)
    stocks = read_stocks(given.data)
    prices, returns, curves = [], [], []
    for seed in range(given.seeds):
        curves.append(kept(run_returns, stocks, seed))
        returns += return_rows(curves[-1], seed)
        print(f"returns, seed {seed}: done", flush=True)
    for seed in range(given.price_seeds):
        for label, run in (("Forecaster", run_forecaster), ("tutorial LSTM", run_tutorial)):
            found = kept(run, stocks, seed)
            prices += [
                price_row(found.filter(pl.col("unique_id") == ticker), label, ticker, seed)
                for ticker in TICKERS
            ]
        print(f"prices, seed {seed}: done", flush=True)
    facts = {
        "machine": describe_machine(),
        "torch": torch.__version__,
        "gatestack": gs.__version__,
        "seeds": given.seeds,
        "years": [min(YEARS), max(YEARS)],
        "tickers": list(TICKERS),
        "days": {ticker: int((stocks["unique_id"] == ticker).sum()) for ticker in TICKERS},
        "splits": int(stocks.select(falls("closed") < falls("price") - 0.3).sum().item()),
    }
    given.out.with_suffix(".json").write_text(
        json.dumps({"facts": facts, "prices": prices, "returns": returns}, indent=1) + "\n"
    )
    given.out.with_suffix(".md").write_text(stock_page(facts, prices, returns))
    if given.pictures is not None:
        shown = kept(run_tutorial, stocks, 0).filter(pl.col("unique_id") == SHOWN)
        draw_pictures(
            given.pictures, shown, curves[0], growth_curves(curves), curves[0]["ds"].unique().sort()
        )


if __name__ == "__main__":
    main()
