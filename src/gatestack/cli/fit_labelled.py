"""What `gatestack fit classify` and `gatestack fit regress` share: from a file to a model folder."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from gatestack.cli.command import INTERRUPTED
from gatestack.cli.console import Talk, print_evaluation, print_json, print_written, say_depth
from gatestack.cli.options import is_model_folder, parse_layers, refuse_existing
from gatestack.cli.regularisation_options import architecture_given, training_given
from gatestack.cli.run_folder import name_study, open_training, remove_training, training_folder, unfinished
from gatestack.errors import ArgumentError, DataError, StorageError, TrainingError

if TYPE_CHECKING:
    from gatestack.data.collections import LabelledSequences
    from gatestack.tasks.classify import Classifier
    from gatestack.tasks.evaluation import Evaluation
    from gatestack.tasks.regress import Regressor

__all__ = ["LabelledRun", "fit_labelled", "model_options", "run_of"]


@dataclass(frozen=True, kw_only=True)
class LabelledRun:
    """What a run reads and writes, beside the settings of the model; see the options of the commands."""

    file: Path
    test: Path | None
    folds: int | None
    minirocket: bool
    columns: dict[str, str | None]
    out: Path
    resume: bool
    restart: bool
    overwrite: bool
    as_json: bool
    quiet: bool


def run_of(given: Mapping[str, Any]) -> LabelledRun:
    """Take what a run reads and writes from the arguments of a command, and check it; see `check_run`."""
    columns = {name: given[name] for name in ("label", "case", "time")}
    own = {field.name: given[field.name] for field in fields(LabelledRun) if field.name != "columns"}
    run = LabelledRun(columns=columns, **own)
    check_run(run)
    return run


def model_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Turn the arguments of a command into those of an estimator; what the user left open is left out."""
    from gatestack.tasks.labelled import Architecture, Augmentation
    from gatestack.training import Training

    architecture = architecture_given(given, Architecture, "recipe", "cell")
    training = training_given(given, "batch_size")
    training |= {} if given["device"] == "auto" else {"device": given["device"]}
    options = {
        name: given[name]
        for name in ("hidden_size", "members", "max_steps", "seed")
        if given[name] is not None
    }
    if given["layers"] is not None:
        options["layers"] = parse_layers(given["layers"])
    if architecture:
        options["architecture"] = Architecture.from_dict(architecture)
    if training:
        options["training"] = Training(**training)
    if given["crop"] or given["jitter"]:
        options["augmentation"] = Augmentation(crop=given["crop"], jitter=given["jitter"])
    return options


def check_run(run: LabelledRun) -> None:
    """Raise before any work is done where the options cannot be.

    Raises:
        ArgumentError: the output exists, there are checkpoints of another run, or two options exclude each
            other.
    """
    refuse_existing(run.out, run.overwrite, replaceable=is_model_folder)
    if run.test is not None and run.folds is not None:
        raise ArgumentError("--test and --folds exclude each other", expected="one of them")
    if run.minirocket and run.test is None and run.folds is None:
        raise ArgumentError(
            "--minirocket without --test or --folds scores nothing", expected="one of them too"
        )


def fit_labelled(model: Classifier | Regressor, run: LabelledRun) -> None:
    """Fit, score, save with a report, and print the outcome."""
    from gatestack.data.collections import read_labelled
    from gatestack.reports import render_report
    from gatestack.training import RunFolder

    training = training_folder(run.out)
    _open_members(run, training)
    talk = Talk(run.quiet or run.as_json)
    kind = "classes" if model.task == "classify" else "numbers"
    data = read_labelled(run.file, kind=kind, **run.columns)  # type: ignore[arg-type]
    test = None if run.test is None else read_labelled(run.test, kind=kind, **run.columns)  # type: ignore[arg-type]
    talk.say(f"fitting on {len(data)} series …")
    try:
        model.fit(data, run=RunFolder(path=training, resume=run.resume, progress=talk.progress))
    except (KeyboardInterrupt, StorageError, TrainingError):
        _name_checkpoint(training)
        raise
    say_depth(model, talk)
    interrupted = any(member.record.stopped_by == "interrupt" for member in model.fitted_.members)
    evaluation, why_not = None, None
    if not interrupted:
        evaluation, why_not, interrupted = _score(model, run, data, test, talk)
    try:
        page = render_report(model, evaluation=evaluation, data=None, scored="after the fit")
        model.save(run.out, overwrite=run.overwrite, report=page)
    except StorageError:
        _name_checkpoint(training)
        raise
    if not interrupted:
        _remove_members(training)
        remove_training(training, study=True)
    _print_outcome(model, run, evaluation, why_not)
    if interrupted:
        Talk(False).say(f"interrupted: the model so far is saved in {run.out}; it was not scored")
        _name_checkpoint(training, "--resume --overwrite")
        raise typer.Exit(INTERRUPTED)


def _score(
    model: Classifier | Regressor,
    run: LabelledRun,
    data: LabelledSequences,
    test: LabelledSequences | None,
    talk: Talk,
) -> tuple[Evaluation | None, str | None, bool]:
    """Score the model.

    Returns:
        The scores; why there are none; whether the user interrupted it.
    """
    from gatestack.training import RunFolder

    try:
        if test is not None:
            talk.say(f"scoring on {len(test)} series …")
            return model.evaluate(test, minirocket=run.minirocket), None, False
        if run.folds is not None:
            talk.say(f"cross-validation: {run.folds} more fits …")
            progress = RunFolder(progress=talk.progress)
            found = model.cross_validate(data, folds=run.folds, minirocket=run.minirocket, run=progress)
            return found, None, False
    except (ArgumentError, DataError) as error:
        # The data was good for the fit: only the scoring does not work, and the model is not lost.
        return None, str(error).replace("\n\nhint: ", "; "), False
    except KeyboardInterrupt:
        return None, "it was interrupted", True
    return None, None, False


def _open_members(run: LabelledRun, training: Path) -> None:
    """Decide what becomes of the checkpoints of an earlier run; each member has a folder of its own."""
    open_training(run.out, resume=run.resume, restart=run.restart)
    for member in _members(training):
        newest = unfinished(member)
        if newest is not None and run.restart:
            remove_training(member)
        elif newest is not None and not run.resume:
            raise ArgumentError(
                f"holds checkpoints of an unfinished run, the newest is {newest.name}",
                where=str(member),
                hint="pass --resume to go on with that run, or --restart to throw it away",
            )


def _members(training: Path) -> list[Path]:
    return sorted(training.glob("member-*"), key=lambda path: (len(path.name), path.name))


def _remove_members(training: Path) -> None:
    for member in _members(training):
        remove_training(member)
    # What a user put there stays, and so does the folder then.
    with contextlib.suppress(OSError):
        training.rmdir()


def _name_checkpoint(training: Path, options: str = "--resume") -> None:
    """Say, also when it is to be quiet, that the work so far is not lost."""
    name_study(training)
    kept = [newest for member in _members(training) if (newest := unfinished(member)) is not None]
    if kept:
        Talk(False).say(f"the last checkpoint is {kept[-1]}; go on with {options}")
    else:
        _remove_members(training)


def _print_outcome(
    model: Classifier | Regressor, run: LabelledRun, evaluation: Evaluation | None, why_not: str | None
) -> None:
    fitted = model.fitted_
    if run.as_json:
        records = [member.record.to_dict() for member in fitted.members]
        print_json(
            {
                "model": str(run.out),
                "report": str(run.out / "report.html"),
                "series": len(fitted.training),
                "channels": fitted.training.num_features,
                "training": [
                    {name: value for name, value in record.items() if name != "history"} for record in records
                ],
                "scores": evaluation.to_dict() if evaluation else None,
                "no_scores": why_not,
            }
        )
        return
    if evaluation is not None:
        print_evaluation(evaluation, f"Scores, {evaluation.extent}")
    elif why_not is not None:
        Talk(False).say(f"warning: there are no scores: {why_not}")
    else:
        Talk(run.quiet).say("note: there are no scores; --test FILE or --folds 5 gives some")
    print_written(
        run.out,
        {
            "model.json": "architecture, classes, training record",
            "weights.safetensors": "the weights, and the series of the fit for the baselines",
            "proof.safetensors": "test vectors, checked at loading",
            "report.html": "the report: open it in a browser",
        },
    )
