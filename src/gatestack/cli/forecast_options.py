"""Options of the commands that make and use forecasters."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

__all__ = ["Distribution", "Paths"]

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
