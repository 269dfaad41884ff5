"""`gatestack depth`: how many layers the data supports, for each task."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from gatestack.cli.depth_options import (
    BudgetName,
    DepthRun,
    Depths,
    FoldCount,
    Measure,
    MinGain,
    Page,
    SeedCount,
    StudyPlace,
    run_depth,
)
from gatestack.cli.forecast_options import Future, Past, Series, ShortSeries, Static, Step, Target, Time
from gatestack.cli.labelled_options import (
    CaseColumn,
    Cell,
    HiddenSize,
    LabelColumn,
    LabelledFile,
    MaxSteps,
    Recipe,
    TimeColumn,
)
from gatestack.cli.options import AsJson, DataFile, Device, Overwrite, Quiet, Seed, parse_season

__all__ = ["depth_classify", "depth_detect", "depth_forecast", "depth_regress"]

_STUDIES = "gatestack-studies.db"
_DATA, _MODEL, _TRAINING = "Data", "Model", "Training"

_Width = Annotated[
    int,
    typer.Option(
        "--hidden-size", metavar="N", min=1, help="Width of each layer, in units.", rich_help_panel=_MODEL
    ),
]
_Updates = Annotated[
    int,
    typer.Option(
        "--max-steps", metavar="N", min=1, help="Updates of the weights at most.", rich_help_panel=_TRAINING
    ),
]


def depth_forecast(
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
    horizon: Annotated[
        int, typer.Option(metavar="N", min=1, help="Steps ahead.", rich_help_panel=_MODEL, show_default=False)
    ],
    hidden_size: _Width = 64,
    window: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=2,
            help="Steps that one example reads.  [default: from horizon and season]",
            rich_help_panel=_MODEL,
        ),
    ] = None,
    season: Annotated[
        str,
        typer.Option(
            metavar="auto|none|N,…",
            help="Season in steps: auto, none, 24, or several: 24,168.",
            rich_help_panel=_MODEL,
        ),
    ] = "auto",
    cell: Annotated[
        Literal["lstm", "gru", "rnn"], typer.Option(help="Kind of the layers.", rich_help_panel=_MODEL)
    ] = "lstm",
    max_steps: _Updates = 1000,
    device: Device = "auto",
    seed: Seed = 0,
    layers: Depths = "0-4",
    budget: BudgetName = "equal-width",
    folds: FoldCount = 5,
    seeds: SeedCount = 2,
    min_gain: MinGain = 0.0,
    measure: Measure = None,
    study: StudyPlace = _STUDIES,
    out: Page = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Find out how many layers a forecaster needs, by rolling origins over the last two fifths of the series.

    \b
      gatestack depth forecast weather.csv --target temp_max --horizon 7 --layers 0-4

    Depth 0 stands for the baselines and a model without recurrence. Ctrl-C keeps all finished fits.
    """
    from gatestack.tasks.forecast import Architecture, Forecaster
    from gatestack.training import Training

    estimator = Forecaster(
        horizon,
        hidden_size=hidden_size,
        window=window,
        season=parse_season(season),
        max_steps=max_steps,
        architecture=Architecture(cell=cell),
        training=Training(device=device),
        seed=seed,
    )
    options = {
        "target": target,
        "time": time,
        "series": series,
        "past": tuple(past or ()),
        "future": tuple(future or ()),
        "static": tuple(static or ()),
        "frequency": int(frequency) if frequency and frequency.isdecimal() else frequency,
        "short_series": short_series,
    }
    run = DepthRun(
        file=file,
        layers=layers,
        budget=budget,
        folds=folds,
        seeds=seeds,
        min_gain=min_gain,
        measure=measure,
        study=study,
        out=out,
        overwrite=overwrite,
        as_json=as_json,
        quiet=quiet,
    )
    run_depth("forecast", estimator, file, options, run)


def depth_classify(
    file: LabelledFile,
    *,
    label: LabelColumn = None,
    case: CaseColumn = None,
    time: TimeColumn = None,
    hidden_size: HiddenSize = None,
    recipe: Recipe = None,
    cell: Cell = None,
    max_steps: MaxSteps = None,
    device: Device = "auto",
    seed: Seed = 0,
    layers: Depths = "0-4",
    budget: BudgetName = "equal-width",
    folds: FoldCount = 5,
    seeds: SeedCount = 2,
    min_gain: MinGain = 0.0,
    measure: Measure = None,
    study: StudyPlace = _STUDIES,
    out: Page = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Find out how many layers a classifier needs, by stratified cross-validation.

    \b
      gatestack depth classify GunPoint_TRAIN.ts --layers 0-3 --measure log_loss

    Depth 0 stands for the baselines and models without recurrence. Ctrl-C keeps all finished fits.
    """
    run = DepthRun(
        file=file,
        layers=layers,
        budget=budget,
        folds=folds,
        seeds=seeds,
        min_gain=min_gain,
        measure=measure,
        study=study,
        out=out,
        overwrite=overwrite,
        as_json=as_json,
        quiet=quiet,
    )
    _labelled(
        "classify",
        run,
        {"label": label, "case": case, "time": time},
        hidden_size,
        recipe,
        cell,
        max_steps,
        device,
        seed,
    )


def depth_regress(
    file: LabelledFile,
    *,
    label: LabelColumn = None,
    case: CaseColumn = None,
    time: TimeColumn = None,
    hidden_size: HiddenSize = None,
    recipe: Recipe = None,
    cell: Cell = None,
    max_steps: MaxSteps = None,
    device: Device = "auto",
    seed: Seed = 0,
    layers: Depths = "0-4",
    budget: BudgetName = "equal-width",
    folds: FoldCount = 5,
    seeds: SeedCount = 2,
    min_gain: MinGain = 0.0,
    measure: Measure = None,
    study: StudyPlace = _STUDIES,
    out: Page = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Find out how many layers a regressor needs, by cross-validation.

    \b
      gatestack depth regress FloodModeling1_TRAIN.ts --layers 0-3

    Depth 0 stands for the baselines and models without recurrence. Ctrl-C keeps all finished fits.
    """
    run = DepthRun(
        file=file,
        layers=layers,
        budget=budget,
        folds=folds,
        seeds=seeds,
        min_gain=min_gain,
        measure=measure,
        study=study,
        out=out,
        overwrite=overwrite,
        as_json=as_json,
        quiet=quiet,
    )
    _labelled(
        "regress",
        run,
        {"label": label, "case": case, "time": time},
        hidden_size,
        recipe,
        cell,
        max_steps,
        device,
        seed,
    )


def depth_detect(
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
    time: Time = None,
    series: Series = None,
    frequency: Step = None,
    label: Annotated[
        str,
        typer.Option(metavar="COLUMN", help="Column of labels, which is not read.", rich_help_panel=_DATA),
    ] = "label",
    train: Annotated[
        str,
        typer.Option(
            metavar="SHARE|STEPS",
            help="First part of each series that is taken as usual; no more is read.",
            rich_help_panel=_DATA,
        ),
    ] = "1.0",
    method: Annotated[
        Literal["forecast", "reconstruction"],
        typer.Option(help="Foretell the next step, or repeat the last window.", rich_help_panel=_MODEL),
    ] = "forecast",
    hidden_size: _Width = 32,
    window: Annotated[
        int, typer.Option(metavar="N", min=2, help="Steps of a training example.", rich_help_panel=_MODEL)
    ] = 48,
    max_steps: _Updates = 300,
    seed: Seed = 0,
    layers: Depths = "0-4",
    budget: BudgetName = "equal-width",
    folds: FoldCount = 5,
    seeds: SeedCount = 2,
    min_gain: MinGain = 0.0,
    measure: Measure = None,
    study: StudyPlace = _STUDIES,
    out: Page = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Find out how many layers a detector needs to say what is usual; labels are not read.

    \b
      gatestack depth detect machine.csv --train 0.15 --layers 0-3

    Depth 0 stands for plain answers and a model without recurrence. Ctrl-C keeps all finished fits.
    """
    from gatestack.cli.fit_detect import parse_train
    from gatestack.tasks.detect import AnomalyDetector

    estimator = AnomalyDetector(
        method, hidden_size=hidden_size, window=window, max_steps=max_steps, seed=seed
    )
    options = {
        "values": value,
        "time": time,
        "series": series,
        "frequency": int(frequency) if frequency and frequency.isdecimal() else frequency,
        "label": label,
        "train": parse_train(train),
    }
    run = DepthRun(
        file=file,
        layers=layers,
        budget=budget,
        folds=folds,
        seeds=seeds,
        min_gain=min_gain,
        measure=measure,
        study=study,
        out=out,
        overwrite=overwrite,
        as_json=as_json,
        quiet=quiet,
    )
    run_depth("detect", estimator, file, options, run)


def _labelled(
    task: Literal["classify", "regress"],
    run: DepthRun,
    columns: dict[str, str | None],
    hidden_size: int | None,
    recipe: str | None,
    cell: str | None,
    max_steps: int | None,
    device: str,
    seed: int,
) -> None:
    from gatestack.cli.fit_labelled import model_options
    from gatestack.data.collections import read_labelled
    from gatestack.tasks.classify import Classifier
    from gatestack.tasks.regress import Regressor

    left_open = dict.fromkeys(("layers", "members", "batch_size", "learning_rate"))
    options = model_options(
        {
            **left_open,
            "hidden_size": hidden_size,
            "recipe": recipe,
            "cell": cell,
            "crop": 0.0,
            "jitter": 0.0,
            "max_steps": max_steps,
            "device": device,
            "seed": seed,
        }
    )
    estimator = Classifier(**options) if task == "classify" else Regressor(**options)
    kind: Any = "classes" if task == "classify" else "numbers"
    names: dict[str, Any] = {**columns}
    cases = read_labelled(run.file, kind=kind, **names)
    run_depth(task, estimator, cases, {}, run)
