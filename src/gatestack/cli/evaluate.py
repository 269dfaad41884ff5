"""`gatestack evaluate`: the scores of a saved model on data that its fit did not see."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gatestack.cli.console import Talk, print_evaluation, print_json
from gatestack.cli.labelled_options import WithMiniRocket
from gatestack.cli.models import FORECASTERS, load_estimator, refuse_foreign
from gatestack.cli.options import AsJson, ModelFolderPath, Quiet
from gatestack.cli.series_files import Wide, read_series, series_followed_by

if TYPE_CHECKING:
    import polars as pl

    from gatestack.tasks.evaluation import Evaluation

__all__ = ["evaluate"]


def evaluate(
    model: ModelFolderPath,
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA", help="What to score on, with the truth; for forecasts: history and what followed."
        ),
    ],
    step: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Forecasters: steps between two origins.  [default: 1]",
            rich_help_panel="Evaluation",
        ),
    ] = None,
    history: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Forecasters: what came before DATA, in the same layout.  [default: DATA holds it]",
            rich_help_panel="Data",
        ),
    ] = None,
    wide: Wide = False,
    minirocket: WithMiniRocket = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Score a saved model on data that its fit did not see, beside the naive answers.

    \b
      gatestack evaluate runs/weather weather-with-this-year.csv

    For a forecaster, rows that the fit saw are history only; without a whole horizon after them it is
    an error.
    """
    estimator = load_estimator(model, "evaluate")
    options: dict[str, object] = {} if step is None else {"step": step}
    layout: dict[str, object] = ({"wide": True} if wide else {}) | (
        {} if history is None else {"history": history}
    )
    refuse_foreign(estimator, options | layout, kind=FORECASTERS)
    if minirocket:
        refuse_foreign(estimator, {"minirocket": True}, kind=("classifier", "regressor"))
        options["minirocket"] = True
    table: Path | pl.DataFrame = (
        read_series(data, wide=wide) if history is None else series_followed_by(history, data, wide=wide)
    )
    Talk(quiet or as_json).say("scoring …")
    evaluation: Evaluation = estimator.evaluate(table, **options)
    if as_json:
        print_json(evaluation.to_dict())
    else:
        print_evaluation(evaluation, f"Evaluation, {evaluation.extent}")
