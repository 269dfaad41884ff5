"""`gatestack fit classify`: from labelled series to a model folder with its report."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from gatestack.cli.console import Talk
from gatestack.cli.fit_labelled import fit_labelled, model_options, run_of
from gatestack.cli.labelled_options import (
    BatchSize,
    CaseColumn,
    Cell,
    Crop,
    Folds,
    HiddenSize,
    Jitter,
    LabelColumn,
    LabelledFile,
    Layers,
    MaxSteps,
    Members,
    MiniRocket,
    Recipe,
    TestFile,
    TimeColumn,
)
from gatestack.cli.options import AsJson, Device, ModelOut, Overwrite, Quiet, Restart, Resume, Seed
from gatestack.cli.regularisation_options import (
    Dropout,
    LayerNorm,
    LearningRate,
    RecurrentDropout,
    VariationalDropout,
    WeightDecay,
    Zoneout,
)

__all__ = ["fit_classify"]


def fit_classify(
    file: LabelledFile,
    *,
    label: LabelColumn = None,
    case: CaseColumn = None,
    time: TimeColumn = None,
    layers: Layers = None,
    hidden_size: HiddenSize = None,
    recipe: Recipe = None,
    cell: Cell = None,
    dropout: Dropout = 0.3,
    variational_dropout: VariationalDropout = 0.0,
    recurrent_dropout: RecurrentDropout = 0.0,
    zoneout: Zoneout = 0.0,
    layer_norm: LayerNorm = False,
    members: Members = None,
    class_weight: Annotated[
        Literal["none", "balanced"],
        typer.Option(help="Weight of the classes: the rarer the heavier, or none.", rich_help_panel="Model"),
    ] = "none",
    label_smoothing: Annotated[
        float,
        typer.Option(
            metavar="SHARE",
            min=0.0,
            max=0.99,
            help="Share of each label spread over all classes.",
            rich_help_panel="Model",
        ),
    ] = 0.0,
    calibrate: Annotated[
        bool,
        typer.Option(
            "--calibrate",
            help="Fit a temperature to the probabilities: 3 more fits.",
            rich_help_panel="Model",
        ),
    ] = False,
    crop: Crop = 0.0,
    jitter: Jitter = 0.0,
    max_steps: MaxSteps = None,
    batch_size: BatchSize = None,
    learning_rate: LearningRate = None,
    weight_decay: WeightDecay = 0.01,
    device: Device = "auto",
    seed: Seed = 0,
    resume: Resume = False,
    restart: Restart = False,
    test: TestFile = None,
    folds: Folds = None,
    minirocket: MiniRocket = False,
    out: ModelOut,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Fit a classifier on labelled series, score it beside the plain answers, and save it with a report.

    \b
      gatestack fit classify GunPoint_TRAIN.ts --test GunPoint_TEST.ts --out runs/gunpoint

    Ctrl-C ends the training and saves the model so far; checkpoints lie in OUT.training until the model is
    saved.
    """
    given = dict(locals())  # every option by its name: both commands read them in one place
    run = run_of(given)
    Talk(quiet or as_json).say("starting …")

    from gatestack.tasks.classify import Classifier

    model = Classifier(
        class_weight=None if class_weight == "none" else class_weight,
        label_smoothing=label_smoothing,
        calibration="temperature" if calibrate else None,
        **model_options(given),
    )
    fit_labelled(model, run)
