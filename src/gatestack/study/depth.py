"""How many layers? Cross-validation over depths, folds and seeds, resumable, by any number of workers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from gatestack.errors import ArgumentError, check_choice, check_whole
from gatestack.study.budget import BUDGETS, Budget, widths_of
from gatestack.study.choice import DepthRange, choose_depth, wanted_depths
from gatestack.study.comparison import compare_paired
from gatestack.study.database import StudyDatabase
from gatestack.study.fits import Fit, Outcome, digest_of_parts
from gatestack.study.folded_task import FoldedTask, Studied, check_studied
from gatestack.study.progress import FitsProgress
from gatestack.study.result import DepthRow, DepthStudy
from gatestack.study.storage import Place
from gatestack.study.variants import (
    AS_GIVEN,
    VariantRow,
    least_layers,
    parse_variants,
    variants_sentence,
)
from gatestack.study.words import depth_sentence, gap_warning, overfitting_warning
from gatestack.study.work import Outcomes, work

__all__ = ["DepthPlan", "run_depth_study", "study_depth"]

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class DepthPlan:
    """What a study of depth does; the attributes are arguments of `study_depth`.

    Example:
        >>> DepthPlan(budget="equal parameters", min_gain=0.01).depths
        DepthRange(least=0, most=4, start=2)
    """

    depths: DepthRange = field(default_factory=DepthRange)
    budget: Budget = "equal width"
    seeds: int = 2
    min_gain: float = 0.0
    regularisation: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_choice("budget", self.budget, BUDGETS, owner="study_depth")
        check_whole("seeds", self.seeds, owner="study_depth")
        for name, changes in parse_variants(self.regularisation).items():
            if name != AS_GIVEN and least_layers(changes) > self.depths.most:
                raise ArgumentError(
                    f"{name} acts between layers, and the depths end at {self.depths.most}",
                    where="study",
                    expected="two layers or more",
                )
        if not (isinstance(self.min_gain, int | float) and 0 <= self.min_gain < np.inf):
            raise ArgumentError(
                f"the 'min_gain' parameter of study_depth is {self.min_gain!r}",
                expected="a number of 0 or more, in the unit of the measure",
            )


def study_depth(
    estimator: Studied,
    data: Any,
    options: Mapping[str, Any] | None = None,
    *,
    layers: str = "0-4",
    budget: Budget = "equal width",
    folds: int = 5,
    seeds: int = 2,
    min_gain: float = 0.0,
    regularisation: Sequence[str] = (),
    measure: str | None = None,
    storage: Place = None,
    progress: bool | None = None,
) -> DepthStudy:
    """Find out how many layers the data supports.

    Depth 0, the baselines and a model without recurrence, is compared with networks of 1, 2, 3, … layers on
    the same folds and seeds; everything is fitted inside the fold. The search starts at two layers, looks
    both ways, and grows while another layer is worth it (`gatestack.study.choice`).

    Args:
        estimator: any estimator of Gatestack, as it would be fitted; its `layers` are not read.
        data: what `fit` takes first.
        options: other arguments of `fit`, such as `{"target": "temp_max"}` or `{"y": labels}`.
        layers: smallest and largest depth, such as `"0-4"`.
        budget: `"equal width"` keeps `hidden_size` and lets the parameters grow; `"equal parameters"` makes
            the layers narrower, so that those of every depth have together as many as two of that size.
        folds: 2 or more: rolling origins for series in time, stratified folds for labelled series.
        seeds: fits per depth and fold, 1 or more.
        min_gain: the price of a layer, in the unit of the measure, 0 or more: what each layer more must gain
            to be worth its parameters, memory and time.
        regularisation: ways to regularise that are studied as a second axis, such as `"dropout=0.3"`,
            `"variational_dropout"`, `"recurrent_dropout"`, `"zoneout"`, `"weight_decay"` or `"layer_norm"`; a
            name alone has its usual strength, and `+` joins some. Each has a search over depths of its own.
        measure: column of the scores to compare; None takes that of the task.
        storage: path of an SQLite file or URL of PostgreSQL, where finished fits are kept: the same call goes
            on from there, in as many processes and on as many machines as you like. None keeps them in
            memory.
        progress: None shows a bar on stderr if it is a terminal; False is silent.

    Returns:
        The depth to take, with the evidence.

    Raises:
        ArgumentError: an argument is outside its range, or Optuna is not installed.
        DataError: the data cannot be used, or is too short for so many folds.
        KeyboardInterrupt: Ctrl-C; with a storage, all finished fits are kept.

    Example:
        >>> import numpy as np
        >>> from gatestack import Regressor
        >>> waves = [np.sin(np.arange(12) * size) for size in range(1, 13)]
        >>> model = Regressor(hidden_size=4, max_steps=2)
        >>> found = study_depth(model, waves, {"y": np.arange(12.0)}, layers="1-2", folds=2, seeds=1)
        >>> [row.layers for row in found.rows], found.measure.label
        ([1, 2], 'MAE')
    """
    check_studied(estimator, owner="study_depth")
    plan = DepthPlan(
        depths=DepthRange.parse(layers),
        budget=budget,
        seeds=seeds,
        min_gain=min_gain,
        regularisation=(regularisation,) if isinstance(regularisation, str) else tuple(regularisation),
    )
    check_whole("folds", folds, owner="study_depth", least=2)
    task = estimator.folded_task(data, {} if options is None else options, folds=folds, measure=measure)
    return run_depth_study(task, plan, storage=storage, progress=progress)


def run_depth_study(
    task: FoldedTask, plan: DepthPlan, *, storage: Place = None, progress: bool | None = None
) -> DepthStudy:
    """Study an estimator that stands ready with its data; see `study_depth`.

    Args:
        task: the estimator and its folds.
        plan: which depths, budget and seeds.
        storage: where fits are kept.
        progress: as in `study_depth`.

    Example:
        >>> from gatestack import Regressor
        >>> waves = [[0.0, float(size), 0.0] for size in range(8)]
        >>> task = Regressor(hidden_size=4, max_steps=2).folded_task(waves, {"y": range(8)}, folds=2)
        >>> run_depth_study(task, DepthPlan(depths=DepthRange(1, 1), seeds=1)).chosen
        1
    """

    def widths(layers: int) -> tuple[int, ...]:
        return widths_of(
            layers,
            hidden_size=task.hidden_size,
            budget=plan.budget,
            features=task.features,
            directions=task.directions,
        )

    variants = parse_variants(plan.regularisation)
    for changes in variants.values():
        task.check(changes)

    def fits_of(layers: int, variant: str) -> list[Fit]:
        grid = [(fold, seed) for seed in range(plan.seeds) for fold in range(task.folds)]
        return [Fit(layers, fold, seed, variant) for fold, seed in grid]

    def wanted(outcomes: Outcomes) -> list[Fit]:
        found = []
        for variant in variants:
            own = _plan_of(variant, plan)
            _, missing = _walk(_losses(_only(outcomes, variant), task, own), task, own)
            found += [fit for layers in missing for fit in fits_of(layers, variant) if fit not in outcomes]
        return found

    def perform(fit: Fit) -> Outcome:
        if fit.layers == 0:
            return task.plain(fit.fold, fit.seed)
        return task.network(widths(fit.layers), fit.fold, fit.seed, variants[fit.variant])

    settings = {**task.identity, "source": task.source, "budget": plan.budget}
    with (
        StudyDatabase(storage, _name_of(task, plan), settings=settings) as database,
        FitsProgress(show=progress) as bar,
    ):
        outcomes = work(
            database, wanted=wanted, perform=perform, loss=task.measure.lowest_loss, report=bar.show
        )
    all_widths = {row: widths(row) for row in range(1, plan.depths.most + 1)}
    study = _result(_only(outcomes, AS_GIVEN), task, plan, all_widths)
    if len(variants) == 1:
        return study
    rows = [_variant_row(name, outcomes, study, task, plan) for name in variants if name != AS_GIVEN]
    return replace(
        study,
        regularisation=tuple(rows),
        sentence=f"{study.sentence} {variants_sentence(rows, task.measure)}",
    )


def _only(outcomes: Outcomes, variant: str) -> dict[Fit, Outcome]:
    """Give the outcomes of a variant, under the names that they would have as the estimator was given."""
    return {
        fit._replace(variant=AS_GIVEN): found for fit, found in outcomes.items() if fit.variant == variant
    }


def _plan_of(variant: str, plan: DepthPlan) -> DepthPlan:
    """Give the plan of the search of a variant, which begins where there is something to regularise."""
    if variant == AS_GIVEN:
        return plan
    depths, least = plan.depths, least_layers(parse_variants(plan.regularisation)[variant])
    return replace(plan, depths=DepthRange(max(depths.least, least), depths.most, depths.start))


def _variant_row(
    name: str, outcomes: Outcomes, study: DepthStudy, task: FoldedTask, plan: DepthPlan
) -> VariantRow:
    """Compare what the search of a variant chose with what was chosen without it."""
    given = _losses(_only(outcomes, AS_GIVEN), task, plan)[study.chosen]
    own, own_plan = _only(outcomes, name), _plan_of(name, plan)
    losses, _ = _walk(_losses(own, task, own_plan), task, own_plan)
    chosen = choose_depth(losses, test_share=task.test_share, min_gain=plan.min_gain)
    _, scores = _scores(own, chosen, task, plan)
    cells = [own[Fit(chosen, fold, seed)] for fold in range(task.folds) for seed in range(plan.seeds)]
    tried = len(parse_variants(plan.regularisation)) - 1
    gain = compare_paired(given, losses[chosen], test_share=task.test_share, comparisons=tried)
    return VariantRow(
        name=name,
        layers=chosen,
        score=float(scores.mean()),
        training=_mean([cell.training for cell in cells]),
        gain=gain,
        # At least as much as a layer must gain: a setting more is a cost as well.
        worth=gain.low > 0 and gain.mean > max(chosen - study.chosen, 1) * plan.min_gain,
    )


def _name_of(task: FoldedTask, plan: DepthPlan) -> str:
    """Name the study by what its fits depend on: the same command finds the same fits, any other does not."""
    return f"depth-{digest_of_parts(task.fits_identity() | {'budget': plan.budget})}"


def _losses(outcomes: Outcomes, task: FoldedTask, plan: DepthPlan) -> dict[int, FloatArray]:
    """Give (folds, seeds) losses of the depths that are done; at depth 0 those of the best model there."""
    sign = task.measure.loss(1.0)
    done = _done(outcomes, task, plan)
    return {layers: sign * _scores(outcomes, layers, task, plan)[1] for layers in done}


def _done(outcomes: Outcomes, task: FoldedTask, plan: DepthPlan) -> list[int]:
    depths = sorted({fit.layers for fit in outcomes})
    grid = [(fold, seed) for fold in range(task.folds) for seed in range(plan.seeds)]
    return [layers for layers in depths if all(Fit(layers, *place) in outcomes for place in grid)]


def _scores(outcomes: Outcomes, layers: int, task: FoldedTask, plan: DepthPlan) -> tuple[str, FloatArray]:
    """Give the best model of a depth by its mean, and its (folds, seeds) scores."""
    grid = [
        [outcomes[Fit(layers, fold, seed)].scores for seed in range(plan.seeds)] for fold in range(task.folds)
    ]
    # A plain answer that some fold has not (no season in so few steps) cannot stand for the depth.
    names = [name for name in grid[0][0] if all(name in cell for row in grid for cell in row)]
    found = {name: np.array([[cell[name] for cell in row] for row in grid]) for name in names}
    best = min(names, key=lambda name: task.measure.loss(float(found[name].mean())))
    return best, found[best]


def _result(
    outcomes: Outcomes, task: FoldedTask, plan: DepthPlan, widths: Mapping[int, tuple[int, ...]]
) -> DepthStudy:
    losses, _ = _walk(_losses(outcomes, task, plan), task, plan)
    chosen = choose_depth(losses, test_share=task.test_share, min_gain=plan.min_gain)
    rows: list[DepthRow] = []
    warnings = []
    for layers in sorted(losses):
        model, scores = _scores(outcomes, layers, task, plan)
        cells = [
            outcomes[Fit(layers, fold, seed)] for fold in range(task.folds) for seed in range(plan.seeds)
        ]
        below = rows[-1] if rows else None
        gain = None
        if below is not None:
            gain = compare_paired(losses[below.layers], losses[layers], test_share=task.test_share)
        row = DepthRow(
            layers=layers,
            model=model,
            widths=widths.get(layers, ()),
            score=float(scores.mean()),
            spread=float(scores.mean(axis=1).std(ddof=1)),
            training=_mean([cell.training for cell in cells]),
            gain=gain,
            parameters=_whole([cell.parameters for cell in cells]),
            seconds=float(np.mean([cell.seconds for cell in cells])),
            step_ms=_median([cell.step_ms for cell in cells]),
            step_bytes=_whole([cell.step_bytes for cell in cells]),
            scores=tuple(float(score) for score in scores.reshape(-1)),
        )
        if layers > 0:
            gaps = _gaps(outcomes, layers, task, plan)
            if below is not None and below.layers > 0:
                under = _gaps(outcomes, below.layers, task, plan)
                wider = compare_paired(gaps, under, test_share=task.test_share)
                warnings.append(overfitting_warning(row, below, wider, task.measure))
            else:
                gap = compare_paired(gaps, np.zeros_like(gaps), test_share=task.test_share)
                warnings.append(gap_warning(row, gap, task.measure))
        rows.append(row)
    return DepthStudy(
        chosen=chosen,
        rows=tuple(rows),
        measure=task.measure,
        budget=plan.budget,
        folds=task.folds,
        seeds=plan.seeds,
        min_gain=plan.min_gain,
        sentence=depth_sentence(rows, chosen, task.measure, plan.min_gain),
        warnings=tuple(warning for warning in warnings if warning is not None),
    )


def _walk(
    losses: Mapping[int, FloatArray], task: FoldedTask, plan: DepthPlan
) -> tuple[dict[int, FloatArray], list[int]]:
    """Follow the search as far as there are losses; give those it reached, and the depths it lacks.

    An earlier search with other bounds may have left more losses than this one looks at.
    """
    reached: dict[int, FloatArray] = {}
    while True:
        depths = wanted_depths(reached, plan.depths, test_share=task.test_share, min_gain=plan.min_gain)
        missing = [layers for layers in depths if layers not in losses]
        if missing or not depths:
            return reached, missing
        reached |= {layers: losses[layers] for layers in depths}


def _gaps(outcomes: Outcomes, layers: int, task: FoldedTask, plan: DepthPlan) -> FloatArray:
    """Give (folds, seeds): how much higher the loss is where it counts than in training."""
    measure = task.measure

    def gap(outcome: Outcome) -> float:
        (score,) = outcome.scores.values()
        if outcome.training is None:
            raise ValueError("a network has a score in training")
        return measure.loss(score) - measure.loss(outcome.training)

    return np.array(
        [[gap(outcomes[Fit(layers, fold, seed)]) for seed in range(plan.seeds)] for fold in range(task.folds)]
    )


def _known(values: list[Any]) -> list[Any]:
    return [value for value in values if value is not None]


def _mean(values: list[float | None]) -> float | None:
    return float(np.mean(_known(values))) if _known(values) else None


def _median(values: list[float | None]) -> float | None:
    return float(np.median(_known(values))) if _known(values) else None


def _whole(values: list[int | None]) -> int | None:
    return round(float(np.mean(_known(values)))) if _known(values) else None
