"""`gatestack report`: the page of a saved model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gatestack.cli.console import Talk
from gatestack.cli.models import load_estimator
from gatestack.cli.options import ModelFolderPath, Overwrite, Quiet, is_plain_file, refuse_existing

__all__ = ["report"]


def report(
    model: ModelFolderPath,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="What to score the model on, with the truth; unseen by the fit.  [default: none]",
            rich_help_panel="Data",
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option(metavar="FILE", help="Page to write.", rich_help_panel="Output")
    ] = Path("report.html"),
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Make the report page of a saved model: one file that opens anywhere, without a network.

    \b
      gatestack report runs/weather --data weather-with-this-year.csv --out report.html

    The page that `gatestack fit` made, with its backtest, lies in the model folder as report.html.
    Without --data the new page has no scores.
    """
    refuse_existing(out, overwrite, replaceable=is_plain_file)

    from gatestack.cli.storage import write_output
    from gatestack.reports import render_report

    estimator = load_estimator(model, "report")
    talk = Talk(quiet)
    evaluation = None
    if data is not None:
        talk.say("scoring …")
        evaluation = estimator.evaluate(data)
    write_output(
        out, render_report(estimator, evaluation=evaluation, data=data, scored="after the fit").encode()
    )
    if data is None and (model / "report.html").is_file():
        talk.say(f"the page with the backtest is {model / 'report.html'}")
    typer.echo(str(out))
