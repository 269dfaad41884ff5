"""Options of the commands that make and use forecasters."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

__all__ = [
    "AddUpBy",
    "Cell",
    "Distribution",
    "Forecasts",
    "Future",
    "Horizon",
    "Intervals",
    "Past",
    "Paths",
    "Season",
    "Series",
    "ShortSeries",
    "Static",
    "Step",
    "Sums",
    "Target",
    "Time",
    "Window",
]

Horizon = Annotated[
    int, typer.Option(metavar="N", min=1, help="Steps ahead.", rich_help_panel="Model", show_default=False)
]
Window = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=2,
        help="Steps that one example reads.  [default: from horizon and season]",
        rich_help_panel="Model",
    ),
]
Season = Annotated[
    str,
    typer.Option(
        metavar="auto|none|N,…",
        help="Season in steps: auto, none, 24, or several: 24,168.",
        rich_help_panel="Model",
    ),
]
Cell = Annotated[
    Literal["lstm", "gru", "rnn"], typer.Option(help="Kind of the layers.", rich_help_panel="Model")
]
Distribution = Annotated[
    Literal["quantiles", "normal", "student-t", "negative-binomial", "spline"],
    typer.Option(help="What is said of each step ahead (see the guide).", rich_help_panel="Model"),
]
Paths = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        help="Recursive forecasters: sampled paths of each series, not intervals.  [default: none]",
        rich_help_panel="Data",
    ),
]
Sums = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN,…",
        help="Forecast totals too, so that they add up: columns that name them, coarse to fine, or total.  "
        "[default: none]",
        rich_help_panel="Model",
    ),
]
AddUpBy = Annotated[
    Literal["mint-shrink", "wls", "bottom-up", "top-down"] | None,
    typer.Option(
        help="How --sums makes forecasts add up (see the guide).  [default: mint-shrink]",
        rich_help_panel="Model",
    ),
]
Intervals = Annotated[
    Literal["model", "conformal", "adaptive"],
    typer.Option(help="What corrects the intervals (see the guide).", rich_help_panel="Model"),
]
Forecasts = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Also write every scored forecast with its truth, .csv or .parquet, in Nixtla's layout.  "
        "[default: none]",
        rich_help_panel="Backtest",
    ),
]
Target = Annotated[
    str | None,
    typer.Option(metavar="COLUMN", help="Column to forecast.  [default: y]", rich_help_panel="Data"),
]
Time = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN",
        help="Column of times.  [default: ds, or the only column of times]",
        rich_help_panel="Data",
    ),
]
Series = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN",
        help="Column of keys, for many series.  [default: unique_id if there]",
        rich_help_panel="Data",
    ),
]
Past = Annotated[
    list[str] | None,
    typer.Option(metavar="COLUMN", help="Column known up to now; repeat for more.", rich_help_panel="Data"),
]
Future = Annotated[
    list[str] | None,
    typer.Option(
        metavar="COLUMN", help="Column known for the horizon too; repeat for more.", rich_help_panel="Data"
    ),
]
Static = Annotated[
    list[str] | None,
    typer.Option(
        metavar="COLUMN", help="Column with one value per series; repeat for more.", rich_help_panel="Data"
    ),
]
Step = Annotated[
    str | None,
    typer.Option(
        metavar="STEP",
        help="The step, such as 1h, 1d, B, 1mo.  [default: found in the times]",
        rich_help_panel="Data",
    ),
]
ShortSeries = Annotated[
    Literal["error", "skip", "keep"],
    typer.Option(help="What to do with series shorter than window + horizon.", rich_help_panel="Data"),
]
