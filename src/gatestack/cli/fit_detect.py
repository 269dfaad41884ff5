"""`gatestack fit detect`: from a table to a detector of anomalies with its report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from gatestack.cli.command import INTERRUPTED
from gatestack.cli.console import Talk, print_evaluation, print_json, print_written, say_depth
from gatestack.cli.options import (
    AsJson,
    DataFile,
    HiddenSize,
    Layers,
    MaxSteps,
    ModelOut,
    Overwrite,
    Quiet,
    Restart,
    Resume,
    Seed,
    is_model_folder,
    parse_layers,
    parse_step,
    refuse_existing,
)
from gatestack.cli.regularisation_options import (
    Dropout,
    LayerNorm,
    LearningRate,
    RecurrentDropout,
    VariationalDropout,
    WeightDecay,
    Zoneout,
    architecture_given,
    training_given,
)
from gatestack.cli.run_folder import name_study, open_training, remove_training, unfinished
from gatestack.errors import ArgumentError, DataError, StorageError, TrainingError

if TYPE_CHECKING:
    from gatestack.tasks.detect import AnomalyDetector, DetectionEvaluation

__all__ = ["fit_detect", "parse_train"]

_DATA, _MODEL, _ALARMS, _TRAINING, _OUTPUT = "Data", "Model", "Alarms", "Training", "Output"


def fit_detect(
    file: DataFile,
    *,
    value: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN",
            help="Column to watch; give it again for more.  [default: all columns of numbers]",
            rich_help_panel=_DATA,
        ),
    ] = None,
    time: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Column of times.  [default: found]", rich_help_panel=_DATA),
    ] = None,
    series: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="Column of keys.  [default: unique_id if there is one]",
            rich_help_panel=_DATA,
        ),
    ] = None,
    frequency: Annotated[
        str | None,
        typer.Option(
            metavar="STEP",
            help="The step, such as 5m, 1h, 1d.  [default: found in the times]",
            rich_help_panel=_DATA,
        ),
    ] = None,
    label: Annotated[
        str,
        typer.Option(
            metavar="COLUMN",
            help="Column with 1 at anomalies: never learned from, scored after the fit.",
            rich_help_panel=_DATA,
        ),
    ] = "label",
    train: Annotated[
        str,
        typer.Option(
            metavar="SHARE|STEPS",
            help="First part of each series that is taken as usual.",
            rich_help_panel=_DATA,
        ),
    ] = "1.0",
    method: Annotated[
        Literal["forecast", "reconstruction"],
        typer.Option(help="Foretell the next step, or repeat the last window.", rich_help_panel=_MODEL),
    ] = "forecast",
    layers: Layers = "1",
    hidden_size: HiddenSize = 32,
    window: Annotated[
        int, typer.Option(metavar="N", min=2, help="Steps of a training example.", rich_help_panel=_MODEL)
    ] = 48,
    dropout: Dropout = 0.0,
    variational_dropout: VariationalDropout = 0.0,
    recurrent_dropout: RecurrentDropout = 0.0,
    zoneout: Zoneout = 0.0,
    layer_norm: LayerNorm = False,
    false_alarms_per_day: Annotated[
        float | None,
        typer.Option(
            metavar="RATE",
            help="Alarms a day in usual data that you can live with.  [default: one in 2,000 steps]",
            rich_help_panel=_ALARMS,
        ),
    ] = None,
    threshold: Annotated[
        Literal["calibrated", "dynamic"],
        typer.Option(help="By the rate of false alarms, or following the errors.", rich_help_panel=_ALARMS),
    ] = "calibrated",
    quiet_steps: Annotated[
        int | None,
        typer.Option(
            "--quiet-steps",
            metavar="N",
            min=1,
            help="Anomalous steps closer than this are one event.  [default: the window]",
            rich_help_panel=_ALARMS,
        ),
    ] = None,
    max_steps: MaxSteps = 300,
    learning_rate: LearningRate = None,
    weight_decay: WeightDecay = 0.01,
    seed: Seed = 0,
    resume: Resume = False,
    restart: Restart = False,
    out: ModelOut,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Fit a detector of anomalies on a stretch of usual data, and save it with a report of its alarms.

    \b
      gatestack fit detect machine.csv --train 0.15 --out runs/machine

    Where the table has a column of labels, the detector is scored after its training part, beside plain
    detectors. Ctrl-C ends the training and saves the model so far; checkpoints lie in OUT.training until the
    model is saved.
    """
    given = dict(locals())
    refuse_existing(out, overwrite, replaceable=is_model_folder)
    training = open_training(out, resume=resume, restart=restart)
    talk = Talk(quiet or as_json)
    talk.say("starting …")

    from gatestack.reports import render_report
    from gatestack.tasks.detect import AnomalyDetector, Architecture
    from gatestack.training import RunFolder, Training

    architecture = architecture_given(given, Architecture)
    learning = training_given(given)
    model = AnomalyDetector(
        method,
        layers=parse_layers(layers),
        hidden_size=hidden_size,
        window=window,
        false_alarms_per_day=false_alarms_per_day,
        threshold=threshold,
        quiet=quiet_steps,
        max_steps=max_steps,
        architecture=Architecture(**architecture) if architecture else None,
        training=Training(**learning) if learning else None,
        seed=seed,
    )
    run = RunFolder(path=training, resume=resume, progress=talk.progress)
    try:
        model.fit(
            file,
            values=value,
            time=time,
            series=series,
            frequency=parse_step(frequency),
            label=label,
            train=parse_train(train),
            run=run,
        )
    except (KeyboardInterrupt, StorageError, TrainingError):
        _name_checkpoint(training)
        raise
    say_depth(model, talk)
    interrupted = model.fitted_.record.stopped_by == "interrupt"
    evaluation, why_not = (None, "it was interrupted") if interrupted else _score(model, file)
    try:
        page = render_report(model, evaluation=evaluation, data=file, scored="after the fit")
        model.save(out, overwrite=overwrite, report=page)
    except StorageError:
        _name_checkpoint(training)
        raise
    if not interrupted:
        remove_training(training, study=True)
    _print_outcome(model, out, evaluation, why_not, as_json=as_json, quiet=quiet)
    if interrupted:
        Talk(False).say(f"interrupted: the best model so far is saved in {out}; it was not scored")
        _name_checkpoint(training, "--resume --overwrite")
        raise typer.Exit(INTERRUPTED)


def parse_train(text: str) -> float | int:
    """Read a share or a number of steps.

    Example:
        >>> parse_train("0.15"), parse_train("400")
        (0.15, 400)
    """
    try:
        return int(text) if text.isdecimal() else float(text)
    except ValueError:
        raise ArgumentError(
            f"{text!r}", where="--train", expected="a share such as 0.15, or a number of steps"
        ) from None


def _score(model: AnomalyDetector, file: Path) -> tuple[DetectionEvaluation | None, str | None]:
    """Score on what follows the training part; without labels, or anomalies, say why there are no scores."""
    try:
        return model.evaluate(file), None
    except DataError as error:
        # The data was good for the fit: only the scoring does not work, and the model is not lost.
        return None, str(error).split("\n", 1)[0]


def _name_checkpoint(training: Path, options: str = "--resume") -> None:
    """Say, also when it is to be quiet, that the work so far is not lost."""
    name_study(training)
    kept = unfinished(training)
    if kept is not None:
        Talk(False).say(f"the last checkpoint is {kept}; go on with {options}")
    else:
        remove_training(training)


def _print_outcome(
    model: AnomalyDetector,
    out: Path,
    evaluation: DetectionEvaluation | None,
    why_not: str | None,
    *,
    as_json: bool,
    quiet: bool,
) -> None:
    fitted = model.fitted_
    if as_json:
        training = {name: value for name, value in fitted.record.to_dict().items() if name != "history"}
        print_json(
            {
                "model": str(out),
                "report": str(out / "report.html"),
                "series": len(fitted.series.keys),
                "channels": list(fitted.channels),
                "training": training,
                "scores": evaluation.to_dict() if evaluation else None,
                "no_scores": why_not,
            }
        )
        return
    if evaluation is not None:
        print_evaluation(evaluation, f"Scores, {evaluation.extent}")
    else:
        Talk(quiet).say(f"note: there are no scores: {why_not}")
    print_written(
        out,
        {
            "model.json": "architecture, threshold, training record",
            "weights.safetensors": "the weights, and what is usual",
            "proof.safetensors": "test vectors, checked at loading",
            "report.html": "the report: open it in a browser",
        },
    )
