"""`gatestack fit classify`: from labelled series to a model folder with its report."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from gatestack.cli.console import Talk
from gatestack.cli.fit_labelled import LabelledRun, check_run, fit_labelled, model_options
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
    LearningRate,
    MaxSteps,
    Members,
    MiniRocket,
    Recipe,
    TestFile,
    TimeColumn,
)
from gatestack.cli.options import AsJson, Device, ModelOut, Overwrite, Quiet, Restart, Resume, Seed

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
    run = LabelledRun(
        file=file,
        test=test,
        folds=folds,
        minirocket=minirocket,
        columns={"label": label, "case": case, "time": time},
        out=out,
        resume=resume,
        restart=restart,
        overwrite=overwrite,
        as_json=as_json,
        quiet=quiet,
    )
    check_run(run)
    Talk(quiet or as_json).say("starting …")

    from gatestack.tasks.classify import Classifier

    options = model_options(
        layers=layers,
        hidden_size=hidden_size,
        recipe=recipe,
        cell=cell,
        members=members,
        crop=crop,
        jitter=jitter,
        max_steps=max_steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        device=device,
        seed=seed,
    )
    model = Classifier(
        class_weight=None if class_weight == "none" else class_weight,
        label_smoothing=label_smoothing,
        calibration="temperature" if calibrate else None,
        **options,
    )
    fit_labelled(model, run)
