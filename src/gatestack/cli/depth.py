"""`gatestack depth`: how many layers the data supports, for forecasters and detectors."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from gatestack.cli.depth_options import (
    STUDIES,
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
from gatestack.cli.forecast_options import (
    Cell,
    Future,
    Horizon,
    Past,
    Season,
    Series,
    ShortSeries,
    Static,
    Step,
    Target,
    Time,
    Window,
)
from gatestack.cli.options import (
    AsJson,
    DataFile,
    Device,
    HiddenSize,
    MaxSteps,
    Overwrite,
    Quiet,
    Seed,
    parse_season,
    parse_step,
)

__all__ = ["depth_detect", "depth_forecast"]

_DATA, _MODEL = "Data", "Model"


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
    horizon: Horizon,
    hidden_size: HiddenSize = 64,
    window: Window = None,
    season: Season = "auto",
    cell: Cell = "lstm",
    max_steps: MaxSteps = 1000,
    device: Device = "auto",
    seed: Seed = 0,
    layers: Depths = "0-4",
    budget: BudgetName = "equal-width",
    folds: FoldCount = 5,
    seeds: SeedCount = 2,
    min_gain: MinGain = 0.0,
    measure: Measure = None,
    study: StudyPlace = STUDIES,
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
        "frequency": parse_step(frequency),
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
    hidden_size: HiddenSize = 32,
    window: Annotated[
        int, typer.Option(metavar="N", min=2, help="Steps of a training example.", rich_help_panel=_MODEL)
    ] = 48,
    max_steps: MaxSteps = 300,
    seed: Seed = 0,
    layers: Depths = "0-4",
    budget: BudgetName = "equal-width",
    folds: FoldCount = 5,
    seeds: SeedCount = 2,
    min_gain: MinGain = 0.0,
    measure: Measure = None,
    study: StudyPlace = STUDIES,
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
        "frequency": parse_step(frequency),
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
