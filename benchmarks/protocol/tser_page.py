"""The page of the regression benchmark."""

from __future__ import annotations

import statistics
from typing import Any

from protocol.machine import machine_words
from protocol.tables import markdown_table

__all__ = ["DEFAULT", "ENSEMBLE", "LINEAR", "PROBLEMS", "tser_page"]

DEFAULT, ENSEMBLE, LINEAR = "Gatestack default", "Gatestack default, seeds as one", "its linear part alone"

PROBLEMS = {
    "Covid3Month": "daily confirmed cases of a country → its death rate; 84 steps",
    "CardanoSentiment": "24 hours of two channels → sentiment of the news",
    "Tecator": "near infrared spectrum of minced meat → its fat in per cent; 100 wavelengths",
    "BeijingDays": "a day's hourly weather, 6 channels → its mean PM2.5 in µg/m³; 2010–13, tested on 2014",
    "VictoriaDays": "a day's half-hourly demand → its highest temperature in °C; 2012–13, tested on 2014",
}

Scores = dict[str, dict[str, list[float]]]


def _by_model(rows: list[dict[str, Any]], score: str) -> Scores:
    """Model -> problem -> one value per seed."""
    found: Scores = {}
    for row in rows:
        if row[score] is not None:
            found.setdefault(row["model"], {}).setdefault(row["problem"], []).append(row[score])
    return found


def _cell(values: list[float]) -> str:
    text = f"{statistics.mean(values):.4g}"
    if len(values) > 1:
        text += f" ({min(values):.4g}–{max(values):.4g})"
    return text


def _table(scores: Scores, problems: list[str]) -> str:
    models = [DEFAULT, ENSEMBLE, LINEAR]
    models += [model for model in scores if model not in models]
    models = [model for model in models if model in scores]
    rows = [
        [problem, *(_cell(scores[m][problem]) if problem in scores[m] else "–" for m in models)]
        for problem in problems
    ]
    return markdown_table(["problem", *models], rows)


def _lost(rmse: Scores, problems: list[str]) -> str:
    lines = []
    for problem in problems:
        own = statistics.mean(rmse[DEFAULT][problem])
        others = {m: statistics.mean(found[problem]) for m, found in rmse.items() if problem in found}
        better = {m: value for m, value in others.items() if value < own and m not in (DEFAULT, ENSEMBLE)}
        if better:
            words = ", ".join(f"{m} {100 * (1 - value / own):.1f} % lower" for m, value in better.items())
            lines.append(f"- {problem}: {words}")
    return "\n".join(lines) if lines else "Nowhere."


def tser_page(table: dict[str, Any]) -> str:
    """The page, from the rows of all fits.

    Args:
        table: machine, torch, and rows with problem, train, test, model, seed, rmse, mae, r2, seconds.
    """
    rows = table["rows"]
    rmse = _by_model(rows, "rmse")
    problems = [problem for problem in PROBLEMS if problem in rmse.get(DEFAULT, {})]
    seconds = _by_model(rows, "seconds")
    sizes = {row["problem"]: (row["train"], row["test"]) for row in rows}
    what = [
        [
            problem,
            PROBLEMS[problem],
            f"{sizes[problem][0]} / {sizes[problem][1]}",
            f"{statistics.median(seconds[DEFAULT][problem]):.0f}",
            str(len(rmse[DEFAULT][problem])),
        ]
        for problem in problems
    ]
    versions = sorted({row["version"] for row in rows if "version" in row})
    return f"""# Regression on series

Models were fitted on the training parts at their defaults and scored once on the test parts; nothing was
chosen by any of these problems. Mean over seeds, in brackets the lowest and the highest seed.

{markdown_table(["problem", "series → number", "train / test", "seconds a fit", "seeds"], what)}

## Root of the mean squared error, in the unit of the target

{_table(rmse, problems)}

## Share of the variance that is explained (R²)

0 for who says the mean of the test part each time; below it the model is worse than that.

{_table(_by_model(rows, "r2"), problems)}

## Mean absolute error

{_table(_by_model(rows, "mae"), problems)}

"{LINEAR}" is the same fit without its recurrent stack; "{ENSEMBLE}" is the mean of
the seeds' answers, as with `members`. "mean", "1-nn" and "linear" (ridge regression on summary statistics)
are the baselines that every evaluation of a `Regressor` shows.

## Where the default loses

By root of the mean squared error, mean over seeds:

{_lost(rmse, problems)}

Covid3Month and CardanoSentiment come with aeon, Tecator (Borggaard & Thodberg 1992) with sktime; BeijingDays
and VictoriaDays are made of `beijing_pm25` and `vic_electricity` by `tser.py`. No published number is shown:
none could be confirmed for these very files.

One thread, on a machine that other work shared: take the seconds for an upper bound.
Machine: {machine_words(table["machine"])}, torch {table["torch"]}, {", ".join(versions) or "no peers"}.
"""
