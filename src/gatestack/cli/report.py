"""`gatestack report`: the page of a saved model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gatestack.cli.console import Talk
from gatestack.cli.labelled_options import WithMiniRocket
from gatestack.cli.models import load_estimator, refuse_foreign
from gatestack.cli.options import ModelFolderPath, Overwrite, Quiet, is_plain_file, refuse_existing
from gatestack.errors import ArgumentError

__all__ = ["report"]


def report(
    model: ModelFolderPath,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="What to score the model on, with the truth; unseen by the fit. A detector can do "
            "without the truth: its page shows the alarms.  [default: none]",
            rich_help_panel="Data",
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option(metavar="FILE", help="Page to write.", rich_help_panel="Output")
    ] = Path("report.html"),
    minirocket: WithMiniRocket = False,
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
    if minirocket and data is None:
        raise ArgumentError("--minirocket without --data scores nothing", expected="--data FILE too")

    from gatestack.cli.storage import write_output
    from gatestack.reports import render_report
    from gatestack.tasks.detect.reading import NoTruthError

    estimator = load_estimator(model, "report")
    options = {"minirocket": True} if minirocket else {}
    refuse_foreign(estimator, options, kind=("classifier", "regressor"))
    talk = Talk(quiet)
    evaluation = None
    if data is not None:
        talk.say("scoring …")
        try:
            evaluation = estimator.evaluate(data, **options)
        except NoTruthError as error:
            talk.say(f"note: there are no scores: {str(error).splitlines()[0]}")
    write_output(
        out, render_report(estimator, evaluation=evaluation, data=data, scored="after the fit").encode()
    )
    if data is None and (model / "report.html").is_file():
        talk.say(f"the page with the backtest is {model / 'report.html'}")
    typer.echo(str(out))
