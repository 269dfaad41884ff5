"""Options that `gatestack fit classify` and `gatestack fit regress` share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

__all__ = [
    "BatchSize",
    "CaseColumn",
    "Cell",
    "Crop",
    "Folds",
    "HiddenSize",
    "Jitter",
    "LabelColumn",
    "LabelledFile",
    "Layers",
    "MaxSteps",
    "Members",
    "MiniRocket",
    "Recipe",
    "TestFile",
    "TimeColumn",
    "WithMiniRocket",
]

_DATA, _MODEL, _TRAINING, _SCORES, _OUTPUT = "Data", "Model", "Training", "Scores", "Output"

LabelledFile = Annotated[
    Path, typer.Argument(metavar="FILE", help="Series with labels: .ts, .arff, .tsv, CSV or Parquet.")
]
LabelColumn = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN",
        help="Column of labels or targets.  [default: label, class or target]",
        rich_help_panel=_DATA,
    ),
]
CaseColumn = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN",
        help="Column that says to which series a row belongs.  [default: case, case_id or unique_id; "
        "without it a row is a series]",
        rich_help_panel=_DATA,
    ),
]
TimeColumn = Annotated[
    str | None,
    typer.Option(metavar="COLUMN", help="Column of times within a series.", rich_help_panel=_DATA),
]
Layers = Annotated[
    str | None,
    typer.Option(
        metavar="N|N,N,…|auto",
        help="Number of layers, widths, lowest first: 64,32, or auto: as many as a study supports.  "
        "[default: the recipe's]",
        rich_help_panel=_MODEL,
    ),
]
HiddenSize = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        help="Width of each layer, in units.  [default: the recipe's]",
        rich_help_panel=_MODEL,
    ),
]
Recipe = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="What the network is made of (see the guide).  [default: the strongest]",
        rich_help_panel=_MODEL,
    ),
]
Cell = Annotated[
    Literal["lstm", "gru", "rnn"] | None,
    typer.Option(help="Kind of the layers.  [default: the recipe's]", rich_help_panel=_MODEL),
]
Members = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        help="Networks to train and average, a seed each.  [default: the recipe's]",
        rich_help_panel=_MODEL,
    ),
]
Crop = Annotated[
    float,
    typer.Option(
        metavar="SHARE",
        min=0.0,
        max=0.99,
        help="Cut off up to this share of the steps of a training case.",
        rich_help_panel=_TRAINING,
    ),
]
Jitter = Annotated[
    float,
    typer.Option(
        metavar="SIZE",
        min=0.0,
        help="Noise on the training cases, in units of a channel's deviation.",
        rich_help_panel=_TRAINING,
    ),
]
MaxSteps = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        help="Updates of the weights.  [default: by the number of cases]",
        rich_help_panel=_TRAINING,
    ),
]
BatchSize = Annotated[
    int | None,
    typer.Option(
        metavar="N", min=1, help="Cases in one update.  [default: the recipe's]", rich_help_panel=_TRAINING
    ),
]
TestFile = Annotated[
    Path | None,
    typer.Option(
        "--test",
        metavar="FILE",
        help="Series that the fit does not see, to score on.",
        rich_help_panel=_SCORES,
    ),
]
Folds = Annotated[
    int | None,
    typer.Option(
        metavar="N", min=2, help="Score by cross-validation instead: N more fits.", rich_help_panel=_SCORES
    ),
]
MiniRocket = Annotated[
    bool,
    typer.Option("--minirocket", help="Score MiniRocket too; needs aeon or sktime.", rich_help_panel=_SCORES),
]
WithMiniRocket = Annotated[
    bool,
    typer.Option(
        "--minirocket",
        help="Classifiers and regressors: score MiniRocket too; needs aeon or sktime.",
        rich_help_panel=_SCORES,
    ),
]
