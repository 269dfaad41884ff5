"""Words and tables of the stock benchmark."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from protocol.machine import machine_words

__all__ = ["stock_page"]

_COSTS = (0, 5, 10, 20)
_PAGE = """# Stocks, told honestly

Daily closes from 2000-03-01 to 2013-03-01: {days} days. FB, with 196, is left out. All four are companies
that did well enough to be in a collection of 2013: what holds for them need not hold for others. Prices are
adjusted for splits and dividends; the plain closes have {splits} days on which a split looks like a fall of
half the price.

## Prices

Fitted on prices up to 2009, scored one day ahead from 2010 to 2013-03-01. “Tutorial LSTM”: two LSTM layers
of 50 units, a window of 60 days, prices scaled to 0 … 1 by the training part, 20 epochs, squared error, one
model a stock. “Forecaster”: the package's own, one for all stocks. Distance, agreement and shift are those
of `gatestack.tasks.forecast.checks.copying`; a shift of 1 says that the forecast is nearer to the value of
the day before than to that of its own day. Mean over seeds (least to most).

{prices}

## Returns, walking forward

The forecaster is fitted anew before each year from {first} to {last} on all that came before it; then it
forecasts each day's log return. “Linear” is the ridge autoregression that it starts from. The interval
compares the absolute error with that of “no change” on the same days (95 %, blocks of 20 days).

{returns}

## Money

Long in a stock on days for which its return is forecast above zero, else in cash; an equal share of the
money a stock. Growth a year after costs, in hundredths of a per cent of what is bought or sold; mean over
seeds (least to most). “Traded” is the money that changes hands in a year, as a multiple of what there is.

{money}

Against holding all stocks: the difference of the mean daily return, for a year, with its 95 % interval
(blocks of 20 days).

{difference}

Machine: {machine}; torch {torch}, gatestack {gatestack}. Settings were written down before the first run;
nothing was chosen by these scores.
"""


def stock_page(facts: dict[str, Any], prices: list[dict[str, Any]], returns: list[dict[str, Any]]) -> str:
    """Write the page.

    Args:
        facts: of the run.
        prices: a row per model, ticker and seed.
        returns: a row per model and seed.
    """
    return _PAGE.format(
        days=", ".join(f"{ticker} {count:,}" for ticker, count in facts["days"].items()),
        splits=facts["splits"],
        prices="\n".join(_price_table(prices)),
        first=facts["years"][0],
        last=facts["years"][1],
        returns="\n".join(_forecast_table(returns)),
        money="\n".join(_money_table(returns)),
        difference="\n".join(_difference_table(returns)),
        machine=machine_words(facts["machine"]),
        torch=facts["torch"],
        gatestack=facts["gatestack"],
    )


def _spread(values: list[float], text: Callable[[float], str]) -> str:
    mean = text(float(np.mean(values)))
    low, high = text(min(values)), text(max(values))
    return mean if low == high else f"{mean} ({low} to {high})"


def _groups(rows: list[dict[str, Any]], *keys: str) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in keys), []).append(row)
    return groups


def _price_table(rows: list[dict[str, Any]]) -> list[str]:
    heads = ("model", "stock", "seeds", "R² of prices", "of the last value", "R² of the returns they say")
    heads += ("error, last value = 1", "right direction", "distance", "agreement", "shift", "called a copy")
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for (model, ticker), group in _groups(rows, "model", "ticker").items():
        copies = [row["copying"] for row in group]
        cells = [
            str(len(group)),
            _spread([row["r2_price"] for row in group], "{:.3f}".format),
            f"{group[0]['r2_price_last_value']:.3f}",
            _spread([row["r2_return"] for row in group], "{:.2f}".format),
            _spread([row["mae_over_last_value"] for row in group], "{:.2f}".format),
            _spread([100 * row["right_direction"] for row in group], "{:.1f} %".format),
            _spread([copy["distance"] for copy in copies], "{:.2f}".format),
            _spread([copy["agreement"] for copy in copies], "{:.2f}".format),
            _spread([copy["by_step"][0]["shift"] for copy in copies], "{:g}".format),
            f"{sum(bool(copy['copies']) for copy in copies)} of {len(copies)}",
        ]
        lines.append(f"| {model} | {ticker} | " + " | ".join(cells) + " |")
    return lines


def _forecast_table(rows: list[dict[str, Any]]) -> list[str]:
    lines = [
        "| model | seed | days | R² of returns | error below “no change” | right direction | days up |",
        "|---" * 7 + "|",
    ]
    seen = set()
    for row in rows:
        if "r2_return" not in row or (row["model"] == "linear" and "linear" in seen):
            continue
        seen.add(row["model"])
        value, low, high = (100 * row["error_below_zero_return"][part] for part in ("value", "low", "high"))
        cells = [
            str(row["seed"]) if row["model"] != "linear" else "–",
            f"{row['days']:,}",
            f"{row['r2_return']:.4f}",
            f"{value:+.2f} % ({low:+.2f} to {high:+.2f})",
            f"{100 * row['right_direction']:.1f} %",
            f"{100 * row['days_up']:.1f} %",
        ]
        lines.append(f"| {row['model']} | " + " | ".join(cells) + " |")
    return lines


def _money_table(rows: list[dict[str, Any]]) -> list[str]:
    lines = [
        "| strategy | traded | " + " | ".join(f"{cost} bp" for cost in _COSTS) + " | Sharpe, 10 bp |",
        "|---" * (len(_COSTS) + 3) + "|",
    ]
    for (model,), group in _groups(rows, "model").items():
        cells = [_spread([row["money_10bp"]["turnover"] for row in group], "{:.1f}".format)]
        for cost in _COSTS:
            cells.append(
                _spread([100 * row[f"money_{cost}bp"]["growth"] for row in group], "{:+.1f} %".format)
            )
        cells.append(_spread([row["money_10bp"]["sharpe"] for row in group], "{:.2f}".format))
        lines.append(f"| {model} | " + " | ".join(cells) + " |")
    return lines


def _difference_table(rows: list[dict[str, Any]]) -> list[str]:
    lines = [
        "| strategy | seed | " + " | ".join(f"{cost} bp" for cost in (0, 10)) + " |",
        "|---" * 4 + "|",
    ]
    for row in rows:
        if row["model"] != "gatestack" and row["seed"]:
            continue
        if row["model"] == "buy and hold":
            continue
        cells = []
        for cost in (0, 10):
            value, low, high = (100 * part for part in row[f"money_{cost}bp"]["against_hold"])
            cells.append(f"{value:+.1f} % ({low:+.1f} to {high:+.1f})")
        seed = row["seed"] if row["model"] == "gatestack" else "–"
        lines.append(f"| {row['model']} | {seed} | " + " | ".join(cells) + " |")
    return lines
