"""`gatestack depth`: how many layers the data supports, for classifiers and regressors."""

from __future__ import annotations

from typing import Any, Literal

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
from gatestack.cli.options import AsJson, Device, Overwrite, Quiet, Seed

__all__ = ["depth_classify", "depth_regress"]


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
