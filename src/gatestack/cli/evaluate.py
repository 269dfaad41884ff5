"""`gatestack evaluate`: the scores of a saved model on what came after its fit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from gatestack.cli.console import Talk, print_evaluation, print_json
from gatestack.cli.options import AsJson, ModelFolderPath, Quiet

if TYPE_CHECKING:
    from gatestack.tasks.forecast import Forecaster

__all__ = ["evaluate"]


def evaluate(
    model: ModelFolderPath,
    data: Annotated[
        Path, typer.Argument(metavar="DATA", help="History and what followed it: CSV, TSV or Parquet.")
    ],
    step: Annotated[
        int, typer.Option(metavar="N", min=1, help="Steps between two origins.", rich_help_panel="Evaluation")
    ] = 1,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Score a saved model on the rows after the data of its fit, beside the naive answers.

    \b
      gatestack evaluate runs/weather weather-with-this-year.csv

    Rows that the fit saw are history only. Without a whole horizon after them it is an error.
    """
    from gatestack.tasks import load

    forecaster = cast("Forecaster", load(model))
    Talk(quiet or as_json).say("scoring …")
    evaluation = forecaster.evaluate(data, step=step)
    if as_json:
        print_json(evaluation.to_dict())
    else:
        title = f"Evaluation, {evaluation.origins} origins, {forecaster.horizon} steps ahead"
        print_evaluation(evaluation, title)
