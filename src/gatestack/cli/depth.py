"""`gatestack depth`: how many layers the data supports, for each task."""

from __future__ import annotations

from gatestack.cli.depth_options import (
    STUDIES,
    BudgetName,
    Depths,
    FoldCount,
    Measure,
    MinGain,
    Page,
    Regularisations,
    SeedCount,
    StudyPlace,
    depth_run,
    run_depth,
)
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

__all__ = ["depth_classify", "depth_detect", "depth_forecast", "depth_regress"]

_RANGE = {"layers": None}  # they are the range of the study, not those of the estimator


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
    hidden_size: Width = 64,
    window: Window = None,
    season: Season = "auto",
    cell: CellKind = "lstm",
    sums: Sums = None,
    add_up_by: AddUpBy = None,
    max_steps: Updates = 1000,
    device: Device = "auto",
    seed: Seed = 0,
    layers: Depths = "0-4",
    budget: BudgetName = "equal-width",
    folds: FoldCount = 5,
    seeds: SeedCount = 2,
    min_gain: MinGain = 0.0,
    regularisation: Regularisations = None,
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
    given = dict(locals())
    estimator, options = forecaster_of(given | _RANGE)
    run_depth("forecast", estimator, file, options, depth_run(given))


def depth_classify(
    file: LabelledFile,
    *,
    label: LabelColumn = None,
    case: CaseColumn = None,
    time: TimeColumn = None,
    group: GroupColumn = None,
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
    regularisation: Regularisations = None,
    measure: Measure = None,
    study: StudyPlace = STUDIES,
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
    given = dict(locals())
    estimator, cases, groups = labelled_of("classify", given | _RANGE)
    run_depth("classify", estimator, cases, groups, depth_run(given))


def depth_regress(
    file: LabelledFile,
    *,
    label: LabelColumn = None,
    case: CaseColumn = None,
    time: TimeColumn = None,
    group: GroupColumn = None,
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
    regularisation: Regularisations = None,
    measure: Measure = None,
    study: StudyPlace = STUDIES,
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
    given = dict(locals())
    estimator, cases, groups = labelled_of("regress", given | _RANGE)
    run_depth("regress", estimator, cases, groups, depth_run(given))


def depth_detect(
    file: DataFile,
    *,
    value: Values = None,
    time: Time = None,
    series: Series = None,
    frequency: Step = None,
    label: IgnoredLabel = "label",
    train: Train = "1.0",
    method: Method = "forecast",
    hidden_size: Width = 32,
    window: DetectWindow = 48,
    max_steps: Updates = 300,
    seed: Seed = 0,
    layers: Depths = "0-4",
    budget: BudgetName = "equal-width",
    folds: FoldCount = 5,
    seeds: SeedCount = 2,
    min_gain: MinGain = 0.0,
    regularisation: Regularisations = None,
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
    given = dict(locals())
    estimator, options = detector_of(given | _RANGE)
    run_depth("detect", estimator, file, options, depth_run(given))
