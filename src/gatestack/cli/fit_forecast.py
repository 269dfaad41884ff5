"""`gatestack fit forecast`: from a table to a model folder with its report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from gatestack.cli.command import INTERRUPTED
from gatestack.cli.console import Talk, print_evaluation, print_json, print_written, say_depth
from gatestack.cli.forecast_options import (
    AddUpBy,
    Cell,
    Distribution,
    Forecasts,
    Future,
    Horizon,
    Intervals,
    Past,
    Season,
    Series,
    ShortSeries,
    Static,
    Step,
    Sums,
    Target,
    Time,
    Window,
)
from gatestack.cli.options import (
    AsJson,
    DataFile,
    Device,
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
    parse_season,
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
from gatestack.cli.series_files import Wide, read_series, series_followed_by
from gatestack.cli.storage import check_table_path, write_table
from gatestack.cli.sums import with_sums
from gatestack.errors import ArgumentError, DataError, StorageError, TrainingError

if TYPE_CHECKING:
    import polars as pl

    from gatestack.reports.template import Scored
    from gatestack.tasks.forecast import Forecaster, ForecastEvaluation, Origins

__all__ = ["fit_forecast", "save_with_report"]

_DATA, _MODEL, _TRAINING, _BACKTEST, _OUTPUT = "Data", "Model", "Training", "Backtest", "Output"


def fit_forecast(
    file: DataFile,
    *,
    target: Target = None,
    time: Time = None,
    series: Series = None,
    past: Past = None,
    future: Future = None,
    static: Static = None,
    frequency: Step = None,
    short_series: ShortSeries = "error",
    wide: Wide = False,
    horizon: Horizon,
    layers: Layers = "2",
    hidden_size: HiddenSize = 64,
    window: Window = None,
    season: Season = "auto",
    calendar: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Calendar feature, or auto; repeat for more: hour, day_of_week, day_of_year, …",
            rich_help_panel=_MODEL,
        ),
    ] = None,
    mode: Annotated[
        Literal["direct", "windows", "recursive"],
        typer.Option(help="How steps ahead are made (see the guide).", rich_help_panel=_MODEL),
    ] = "direct",
    cell: Cell = "lstm",
    distribution: Distribution = "quantiles",
    intervals: Intervals = "model",
    sums: Sums = None,
    add_up_by: AddUpBy = None,
    dropout: Dropout = 0.1,
    variational_dropout: VariationalDropout = 0.0,
    recurrent_dropout: RecurrentDropout = 0.0,
    zoneout: Zoneout = 0.0,
    layer_norm: LayerNorm = False,
    scaling: Annotated[
        Literal["window", "series"],
        typer.Option(help="Level and scale: of the last window, or of the series.", rich_help_panel=_MODEL),
    ] = "window",
    max_steps: MaxSteps = 1000,
    batch_size: Annotated[
        int, typer.Option(metavar="N", min=1, help="Examples in one update.", rich_help_panel=_TRAINING)
    ] = 32,
    learning_rate: LearningRate = None,
    weight_decay: WeightDecay = 0.01,
    patience: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=1,
            help="Validations without a new best before it stops.",
            rich_help_panel=_TRAINING,
        ),
    ] = 10,
    device: Device = "auto",
    seed: Seed = 0,
    resume: Resume = False,
    restart: Restart = False,
    backtest: Annotated[
        bool,
        typer.Option(
            help="Fit a second time on the first part and score it on the rest, beside the baselines.",
            rich_help_panel=_BACKTEST,
        ),
    ] = True,
    test: Annotated[
        str,
        typer.Option(
            metavar="SHARE|N|FILE",
            help="What the backtest holds out: a share of each series, or a number of steps. "
            "A file of what came after is scored instead, without a second fit.",
            rich_help_panel=_BACKTEST,
        ),
    ] = "0.2",
    step: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Steps between two origins.  [default: the horizon]",
            rich_help_panel=_BACKTEST,
        ),
    ] = None,
    forecasts: Forecasts = None,
    out: ModelOut,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Fit a forecaster on a table, backtest it beside the naive answers, and save it with a report.

    \b
      gatestack fit forecast weather.csv --target temp_max --horizon 7 --out runs/weather

    Ctrl-C ends the training and saves the best model so far; checkpoints lie in OUT.training until
    the model is saved.
    """
    given = dict(locals())
    refuse_existing(out, overwrite, replaceable=is_model_folder)
    if forecasts is not None:
        check_table_path(forecasts, overwrite)
    training = open_training(out, resume=resume, restart=restart)
    talk = Talk(quiet or as_json)
    talk.say("starting …")

    from gatestack.tasks.forecast import Architecture, Forecaster, Origins
    from gatestack.training import RunFolder, Training

    model = Forecaster(
        horizon,
        layers=parse_layers(layers),
        hidden_size=hidden_size,
        window=window,
        max_steps=max_steps,
        season=parse_season(season),
        calendar="auto" if calendar == ["auto"] else tuple(calendar or ()),
        mode=mode,
        intervals=intervals,
        architecture=Architecture(
            **architecture_given(given, Architecture, "cell", "distribution", "scaling")
        ),
        training=Training(
            batch_size=batch_size,
            patience=patience,
            device=device,
            **training_given(given),
        ),
        seed=seed,
    )
    columns: dict[str, Any] = {
        "target": target,
        "time": time,
        "series": series,
        "past": tuple(past or ()),
        "future": tuple(future or ()),
        "static": tuple(static or ()),
        "frequency": parse_step(frequency),
        "short_series": short_series,
    }
    model, columns = with_sums(model, columns, sums, add_up_by)
    held_out = _parse_test(test)
    if forecasts is not None and not (backtest or isinstance(held_out, Path)):
        raise ArgumentError(
            "--forecasts and --no-backtest exclude each other",
            expected="one of them",
            hint="without a backtest there are no scored forecasts to write",
        )
    table, after = read_series(file, wide=wide), None
    if isinstance(held_out, Path):
        after = series_followed_by(file, held_out, wide=wide)
    else:
        origins = Origins(test=held_out, step=step)
    try:
        model.fit(table, **columns, run=RunFolder(path=training, resume=resume, progress=talk.progress))
    except (KeyboardInterrupt, StorageError, TrainingError):
        _name_checkpoint(training)
        raise
    _tell_gaps(model.fitted_.tail.gaps, talk)
    say_depth(model, talk)
    interrupted = model.fitted_.record.stopped_by == "interrupt"
    evaluation, why_not = None, None
    if after is not None and not interrupted:
        evaluation, why_not = _score_after(model, after, step or horizon, talk)
    elif after is None and backtest and not interrupted:
        evaluation, why_not, interrupted = _backtest(model, table, columns, origins, talk)
    scored: Scored = "backtest" if after is None else "after the fit"
    try:
        save_with_report(model, out, table, evaluation, scored=scored, overwrite=overwrite)
    except StorageError:
        _name_checkpoint(training)
        raise
    if not interrupted:
        remove_training(training, study=True)
    if forecasts is not None and evaluation is not None:
        write_table(forecasts, evaluation.forecasts)
        talk.say(f"wrote {forecasts}: {evaluation.forecasts.height} rows")
    _print_outcome(model, out, evaluation, why_not, scored=scored, as_json=as_json)
    if interrupted:
        Talk(False).say(f"interrupted: the best model so far is saved in {out}; it was not backtested")
        _name_checkpoint(training, "--resume --overwrite")
        raise typer.Exit(INTERRUPTED)


def _name_checkpoint(training: Path, options: str = "--resume") -> None:
    """Say, also when it is to be quiet, that the work so far is not lost."""
    name_study(training)
    kept = unfinished(training)
    if kept is not None:
        Talk(False).say(f"the last checkpoint is {kept}; go on with {options}")
    else:
        remove_training(training)


def save_with_report(
    model: Forecaster,
    out: Path,
    data: Path | pl.DataFrame | None,
    evaluation: ForecastEvaluation | None,
    *,
    scored: Scored = "backtest",
    overwrite: bool,
) -> None:
    """Write the model folder with its report page in it."""
    from gatestack.reports import render_report

    page = render_report(model, evaluation=evaluation, data=data, scored=scored)
    model.save(out, overwrite=overwrite, report=page)


def _tell_gaps(gaps: pl.DataFrame, talk: Talk) -> None:
    """Say which steps the data lacks."""
    if gaps.height:
        first, missing = gaps.row(0, named=True), int(gaps["missing_steps"].sum())
        talk.say(
            f"note: {missing:,} steps are missing in {gaps.height:,} places, first in {first['series']} "
            f"between {first['from']} and {first['to']}; they are masked, not filled"
        )


def _parse_test(text: str) -> float | int | Path:
    try:
        return int(text) if text.isdecimal() else float(text)
    except ValueError:
        if Path(text).is_file():
            return Path(text)
        raise ArgumentError(
            f"{text!r}",
            where="--test",
            expected="a share such as 0.2, a number of steps, or a file that exists",
        ) from None


def _score_after(
    model: Forecaster, whole: pl.DataFrame, step: int, talk: Talk
) -> tuple[ForecastEvaluation | None, str | None]:
    """Score the model on what came after the data of its fit; else say why there are no scores."""
    talk.say("scoring what came after …")
    try:
        return model.evaluate(whole, step=step), None
    except DataError as error:
        # The fit is good, and must not be lost.
        return None, str(error).split("\n", 1)[0]


def _backtest(
    model: Forecaster, file: Path | pl.DataFrame, columns: dict[str, Any], origins: Origins, talk: Talk
) -> tuple[ForecastEvaluation | None, str | None, bool]:
    """Score a copy that is fitted on the first part.

    Returns:
        The scores; why there are none; whether the user interrupted it.
    """
    from gatestack.training import RunFolder

    talk.say("backtest: fitting on the first part, scoring on the rest …")
    try:
        run = RunFolder(progress=talk.progress)
        return model.backtest(file, **columns, origins=origins, run=run), None, False
    except DataError as error:
        # The data was good for the fit: only holding a part out does not work, and the model is not lost.
        return None, str(error).split("\n", 1)[0], False
    except KeyboardInterrupt:
        return None, "it was interrupted", True


def _print_outcome(
    model: Forecaster,
    out: Path,
    evaluation: ForecastEvaluation | None,
    why_not: str | None,
    *,
    scored: Scored,
    as_json: bool,
) -> None:
    scores = evaluation.to_dict() if evaluation else None
    record = model.fitted_.record
    if as_json:
        training = {name: value for name, value in record.to_dict().items() if name != "history"}
        print_json(
            {
                "model": str(out),
                "report": str(out / "report.html"),
                "series": len(model.fitted_.tail.sequences),
                "frequency": model.fitted_.tail.frequency.label,
                "training": training,
                "backtest": scores if scored == "backtest" else None,
                "test": None if scored == "backtest" else scores,
                "no_backtest": why_not,
            }
        )
        return
    if evaluation is not None:
        title = "Backtest" if scored == "backtest" else "What came after"
        print_evaluation(evaluation, f"{title}, {evaluation.origins} origins, {model.horizon} steps ahead")
    elif why_not is not None:
        missing = "there is no backtest" if scored == "backtest" else "what came after is not scored"
        Talk(False).say(f"warning: {missing}: {why_not}")
    print_written(
        out,
        {
            "model.json": "architecture, preprocessing, training record",
            "weights.safetensors": "the weights",
            "proof.safetensors": "test vectors, checked at loading",
            "report.html": "the report: open it in a browser",
        },
    )
