"""`gatestack tune`: a budgeted search for better settings, for each task."""

from __future__ import annotations

from gatestack.cli.depth_options import STUDIES, Measure, Page, StudyPlace
from gatestack.cli.fit_classify import fit_classify
from gatestack.cli.fit_detect import fit_detect
from gatestack.cli.fit_forecast import fit_forecast
from gatestack.cli.fit_regress import fit_regress
from gatestack.cli.forecast_options import (
    AddUpBy,
    Future,
    Horizon,
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
from gatestack.cli.forecast_options import Cell as CellKind
from gatestack.cli.groups import GroupColumn
from gatestack.cli.labelled_options import (
    CaseColumn,
    Cell,
    HiddenSize,
    LabelColumn,
    LabelledFile,
    Layers,
    MaxSteps,
    Recipe,
    TimeColumn,
)
from gatestack.cli.options import AsJson, DataFile, Device, Overwrite, Quiet, Seed
from gatestack.cli.options import HiddenSize as Width
from gatestack.cli.options import MaxSteps as Updates
from gatestack.cli.studied import (
    DetectWindow,
    IgnoredLabel,
    Method,
    Train,
    Values,
    detector_of,
    forecaster_of,
    labelled_of,
)
from gatestack.cli.tune_options import (
    CheckSeeds,
    FirstLayers,
    Folds,
    Minutes,
    PrunerName,
    SamplerName,
    Search,
    Trials,
    run_search,
)

__all__ = ["tune_classify", "tune_detect", "tune_forecast", "tune_regress"]


def tune_forecast(
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
    layers: FirstLayers = "2",
    hidden_size: Width = 64,
    window: Window = None,
    season: Season = "auto",
    cell: CellKind = "lstm",
    sums: Sums = None,
    add_up_by: AddUpBy = None,
    max_steps: Updates = 1000,
    device: Device = "auto",
    seed: Seed = 0,
    search: Search = None,
    trials: Trials = 30,
    minutes: Minutes = None,
    folds: Folds = 4,
    sampler: SamplerName = "tpe",
    pruner: PrunerName = "median",
    check_seeds: CheckSeeds = 3,
    measure: Measure = None,
    study: StudyPlace = STUDIES,
    out: Page = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Search for better settings of a forecaster with a budget, by rolling origins.

    \b
      gatestack tune forecast weather.csv --target temp_max --horizon 7 --trials 30 --search zoneout

    The winner is checked on a part that the search never looked at. Ctrl-C keeps all finished fits.
    """
    given = dict(locals())
    estimator, options = forecaster_of(given)
    run_search("forecast", estimator, file, options, given, fit_forecast)


def tune_classify(
    file: LabelledFile,
    *,
    label: LabelColumn = None,
    case: CaseColumn = None,
    time: TimeColumn = None,
    group: GroupColumn = None,
    layers: Layers = None,
    hidden_size: HiddenSize = None,
    recipe: Recipe = None,
    cell: Cell = None,
    max_steps: MaxSteps = None,
    device: Device = "auto",
    seed: Seed = 0,
    search: Search = None,
    trials: Trials = 30,
    minutes: Minutes = None,
    folds: Folds = 4,
    sampler: SamplerName = "tpe",
    pruner: PrunerName = "median",
    check_seeds: CheckSeeds = 3,
    measure: Measure = None,
    study: StudyPlace = STUDIES,
    out: Page = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Search for better settings of a classifier with a budget, by stratified cross-validation.

    \b
      gatestack tune classify GunPoint_TRAIN.ts --minutes 20 --measure log_loss

    The winner is checked on a part that the search never looked at. Ctrl-C keeps all finished fits.
    """
    given = dict(locals())
    estimator, cases, groups = labelled_of("classify", given)
    run_search("classify", estimator, cases, groups, given, fit_classify)


def tune_regress(
    file: LabelledFile,
    *,
    label: LabelColumn = None,
    case: CaseColumn = None,
    time: TimeColumn = None,
    group: GroupColumn = None,
    layers: Layers = None,
    hidden_size: HiddenSize = None,
    recipe: Recipe = None,
    cell: Cell = None,
    max_steps: MaxSteps = None,
    device: Device = "auto",
    seed: Seed = 0,
    search: Search = None,
    trials: Trials = 30,
    minutes: Minutes = None,
    folds: Folds = 4,
    sampler: SamplerName = "tpe",
    pruner: PrunerName = "median",
    check_seeds: CheckSeeds = 3,
    measure: Measure = None,
    study: StudyPlace = STUDIES,
    out: Page = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Search for better settings of a regressor with a budget, by cross-validation.

    \b
      gatestack tune regress FloodModeling1_TRAIN.ts --trials 20

    The winner is checked on a part that the search never looked at. Ctrl-C keeps all finished fits.
    """
    given = dict(locals())
    estimator, cases, groups = labelled_of("regress", given)
    run_search("regress", estimator, cases, groups, given, fit_regress)


def tune_detect(
    file: DataFile,
    *,
    value: Values = None,
    time: Time = None,
    series: Series = None,
    frequency: Step = None,
    label: IgnoredLabel = "label",
    train: Train = "1.0",
    method: Method = "forecast",
    layers: FirstLayers = "1",
    hidden_size: Width = 32,
    window: DetectWindow = 48,
    max_steps: Updates = 300,
    seed: Seed = 0,
    search: Search = None,
    trials: Trials = 30,
    minutes: Minutes = None,
    folds: Folds = 4,
    sampler: SamplerName = "tpe",
    pruner: PrunerName = "median",
    check_seeds: CheckSeeds = 3,
    measure: Measure = None,
    study: StudyPlace = STUDIES,
    out: Page = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Search for better settings of a detector with a budget; labels are not read.

    \b
      gatestack tune detect machine.csv --train 0.15 --trials 20

    The winner is checked on a part that the search never looked at. Ctrl-C keeps all finished fits.
    """
    given = dict(locals())
    estimator, options = detector_of(given)
    run_search("detect", estimator, file, options, given, fit_detect)
