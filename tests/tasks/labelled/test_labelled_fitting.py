"""Training of labelled networks: it learns, it is deterministic, it resumes, its options act."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch

from gatestack.data import Sequences
from gatestack.errors import TrainingError
from gatestack.tasks.labelled import (
    Architecture,
    Augmentation,
    LabelledNetwork,
    LabelledPlan,
    fit_members,
    run_members,
)
from gatestack.tasks.labelled.options import Recipe
from gatestack.tasks.labelled.plan import scheduled_steps
from gatestack.tasks.labelled.sampler import CaseSampler, TrainingCases, gaps_marked
from gatestack.tasks.labelled.scaling import length_batches
from gatestack.training import RunFolder, Training

RECIPES: tuple[Recipe, ...] = get_args(Recipe)
PLAN = LabelledPlan(
    task="classify",
    outputs=2,
    widths=(6,),
    max_steps=3,
    training=Training(batch_size=8, learning_rate=0.01),
    architecture=Architecture(recipe="plain"),
)


def waves(cases: int = 20) -> tuple[Sequences, np.ndarray]:
    """Slow and fast waves of different lengths, phases and levels."""
    random = np.random.default_rng(3)
    classes = np.arange(cases) % 2
    arrays = [
        np.sin(random.uniform(0, 6) + np.arange(random.integers(18, 26)) * (0.4 if kind else 1.2))
        + random.normal()
        for kind in classes
    ]
    return Sequences.from_arrays(arrays), classes


def outputs(plan: LabelledPlan, data: Sequences, targets: np.ndarray, folder: RunFolder | None = None) -> Any:
    members = fit_members(data, targets, plan, folder=folder or RunFolder())
    return run_members([member.network for member in members], data)


@pytest.mark.parametrize("recipe", RECIPES)
def test_it_learns_waves_it_has_not_seen(recipe: Any) -> None:
    data, classes = waves(48)
    plan = replace(PLAN, max_steps=150, architecture=Architecture(recipe=recipe, scaling="both"))
    members = fit_members(data[:32], classes[:32], plan)
    logits = run_members([members[0].network], data[32:])[0]
    assert (logits.argmax(axis=1) == classes[32:]).mean() >= 0.9


def test_regression_comes_back_in_the_users_unit() -> None:
    random = np.random.default_rng(0)
    level = random.uniform(-1, 1, 40)
    data = Sequences.from_arrays([value + 0.1 * random.normal(size=12) for value in level])
    targets = np.stack([1000 + 50 * level, -3 * level], axis=1)
    plan = replace(PLAN, task="regress", max_steps=120)
    answers = run_members([fit_members(data, targets, plan)[0].network], data)[0]
    miss = np.sqrt(((answers - targets) ** 2).mean(axis=0)) / targets.std(axis=0)
    assert (miss < 0.3).all()


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_seed_is_an_answer(recipe: Any) -> None:
    data, classes = waves()
    plan = replace(
        PLAN,
        seeds=(1, 2),
        architecture=Architecture(recipe=recipe),
        augmentation=Augmentation(crop=0.3, jitter=0.1),
    )
    before = torch.get_rng_state()
    first, second = outputs(plan, data, classes), outputs(plan, data, classes)
    assert torch.equal(before, torch.get_rng_state())
    np.testing.assert_array_equal(first, second)
    assert not np.allclose(first[0], first[1])


def test_members_do_not_depend_on_each_other() -> None:
    data, classes = waves()
    both = outputs(replace(PLAN, seeds=(1, 2)), data, classes)
    np.testing.assert_array_equal(both[1:], outputs(replace(PLAN, seeds=(2,)), data, classes))


@pytest.mark.parametrize(
    "change",
    [
        {"max_steps": 4},
        {"seeds": (5,)},
        {"class_weights": (1.6, 0.4)},
        {"label_smoothing": 0.3},
        {"augmentation": Augmentation(crop=0.5)},
        {"augmentation": Augmentation(jitter=0.5)},
        {"training": Training(batch_size=4, learning_rate=0.01)},
        {"training": Training(batch_size=8, learning_rate=0.02)},
        {"widths": (6, 6)},
    ],
)
def test_every_setting_has_an_effect(change: dict[str, Any]) -> None:
    data, classes = waves()
    assert not np.allclose(outputs(PLAN, data, classes), outputs(replace(PLAN, **change), data, classes))


def test_the_order_of_new_series_does_not_matter() -> None:
    data, classes = waves()
    network = fit_members(data, classes, PLAN)[0].network
    turned = np.arange(len(data))[::-1]
    np.testing.assert_allclose(
        run_members([network], data.rows(turned))[0],
        run_members([network], data)[0][turned],
        rtol=1e-5,
        atol=1e-6,
    )


def test_a_small_batch_gives_what_a_large_one_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    data, classes = waves()
    network = fit_members(data, classes, PLAN)[0].network
    large = run_members([network], data)
    seen = []

    def single(lengths: np.ndarray) -> list[np.ndarray]:
        seen.append(len(lengths))
        return length_batches(lengths, padded_steps=1)

    monkeypatch.setattr("gatestack.tasks.labelled.fitting.length_batches", single)
    np.testing.assert_allclose(run_members([network], data), large, rtol=1e-9, atol=1e-9)
    assert seen == [20]


def test_a_stopped_run_goes_on_with_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, classes = waves()
    plan = replace(PLAN, seeds=(1, 2), max_steps=6, training=Training(batch_size=8, validate_every=2))
    whole = outputs(plan, data, classes)
    draw = CaseSampler.__call__

    def stops(sampler: CaseSampler, step: int) -> Any:
        if sampler.seed == 2 and step == 3:
            raise TrainingError("the light went out", where="here")
        return draw(sampler, step)

    folder = RunFolder(path=tmp_path / "run", progress=False)
    with monkeypatch.context() as broken:
        broken.setattr(CaseSampler, "__call__", stops)
        with pytest.raises(TrainingError):
            fit_members(data, classes, plan, folder=folder)
    assert (tmp_path / "run" / "member-1").is_dir()
    resumed = outputs(plan, data, classes, replace(folder, resume=True))
    np.testing.assert_array_equal(resumed, whole)


def test_an_interrupt_ends_the_members_and_the_run_goes_on_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, classes = waves()
    plan = replace(PLAN, seeds=(1, 2, 3), max_steps=6)
    whole = outputs(plan, data, classes)
    draw = CaseSampler.__call__

    def interrupted(sampler: CaseSampler, step: int) -> Any:
        if sampler.seed == 2 and step == 3:
            signal.raise_signal(signal.SIGTERM)
        return draw(sampler, step)

    folder = RunFolder(path=tmp_path / "run", progress=False)
    with monkeypatch.context() as stopping:
        stopping.setattr(CaseSampler, "__call__", interrupted)
        members = fit_members(data, classes, plan, folder=folder)
    assert [member.record.stopped_by for member in members] == ["max_steps", "interrupt"]
    np.testing.assert_array_equal(outputs(plan, data, classes, replace(folder, resume=True)), whole)


def test_missing_values_are_flagged_and_survive_where_the_training_part_had_none() -> None:
    data, classes = waves()
    holes = Sequences.from_arrays([np.where(np.arange(len(a)) == 4, np.nan, a[:, 0]) for a in data])
    flagged = fit_members(holes, classes, PLAN)[0].network
    assert flagged.shape.flags
    plain = fit_members(data, classes, PLAN)[0].network
    assert not plain.shape.flags
    for network in (flagged, plain):
        assert np.isfinite(run_members([network], holes)).all()


def test_series_of_one_step_can_be_learnt() -> None:
    data = Sequences.from_arrays([[float(value)] for value in (0, 1, 0, 1, 0, 1)])
    for recipe in RECIPES:
        plan = replace(PLAN, architecture=Architecture(recipe=recipe))
        assert np.isfinite(outputs(plan, data, np.array([0, 1, 0, 1, 0, 1]))).all()


def test_double_precision_trains_and_comes_back_single() -> None:
    data, classes = waves()
    plan = replace(PLAN, training=Training(batch_size=8, precision="64-true"))
    network: LabelledNetwork = fit_members(data, classes, plan)[0].network
    assert all(parameter.dtype == torch.float32 for parameter in network.parameters())
    assert np.isfinite(run_members([network], data)).all()


def test_every_case_is_drawn_once_in_a_pass() -> None:
    data, classes = waves(10)
    x, lengths = gaps_marked(data)
    cases = TrainingCases(x, lengths, torch.from_numpy(classes), torch.zeros(10, 2))
    sampler = CaseSampler(
        cases,
        batch_size=4,
        augmentation=Augmentation(),
        deviation=torch.ones(1),
        seed=0,
    )
    drawn = np.concatenate([sampler.rows(step) for step in range(5)])
    assert sorted(drawn[:10]) == sorted(drawn[10:]) == list(range(10))
    assert list(drawn[:10]) != list(drawn[10:])


def test_a_crop_keeps_a_run_of_the_series() -> None:
    x = torch.arange(12.0).reshape(1, 12, 1).repeat(6, 1, 1)
    cases = TrainingCases(x, torch.full((6,), 12), torch.zeros(6, dtype=torch.long), torch.zeros(6, 2))
    sampler = CaseSampler(
        cases,
        batch_size=6,
        augmentation=Augmentation(crop=0.5),
        deviation=torch.ones(1),
        seed=0,
    )
    batch = sampler(0)
    assert len(set(batch.lengths.tolist())) > 1
    for row, length in enumerate(batch.lengths.tolist()):
        assert 6 < length <= 12
        cut = batch.x[row, :length, 0]
        assert torch.equal(cut, cut[0] + torch.arange(length))


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_schedule_follows_the_number_of_cases(recipe: Recipe) -> None:
    plan = replace(PLAN, architecture=Architecture(recipe=recipe), training=Training())
    assert scheduled_steps(plan, 5) > 0
    assert scheduled_steps(plan, 20) < scheduled_steps(plan, 537) < scheduled_steps(plan, 100_000)
    assert scheduled_steps(plan, 100_000) == scheduled_steps(plan, 10**9)


def test_weights_of_classes_move_the_answers_of_every_recipe() -> None:
    data, classes = waves()
    for recipe in RECIPES:
        plan = replace(PLAN, architecture=Architecture(recipe=recipe), max_steps=40)
        logits = outputs(replace(plan, class_weights=(1000.0, 0.001)), data, classes)[0]
        assert (logits.argmax(axis=1) == 0).all()


def test_balanced_weights_are_those_of_the_cases_that_are_fitted() -> None:
    data, classes = waves()
    rows = np.concatenate([np.flatnonzero(classes == 0)[:5], np.flatnonzero(classes == 1)[:2]])
    part, known = data.rows(rows), classes[rows]
    balanced = outputs(replace(PLAN, class_weights="balanced"), part, known)
    np.testing.assert_array_equal(
        balanced, outputs(replace(PLAN, class_weights=(7 / (2 * 5), 7 / (2 * 2))), part, known)
    )
    assert not np.allclose(balanced, outputs(PLAN, part, known))


def test_balanced_weights_bear_a_class_that_a_fold_lacks() -> None:
    data, classes = waves()
    rows = np.flatnonzero(classes == 0)
    found = outputs(replace(PLAN, class_weights="balanced"), data.rows(rows), classes[rows])
    assert np.isfinite(found).all()


def test_a_case_alone_is_a_case_in_a_batch() -> None:
    data, classes = waves()
    for recipe in RECIPES:
        plan = replace(PLAN, architecture=Architecture(recipe=recipe))
        network = fit_members(data, classes, plan)[0].network
        alone = np.concatenate([run_members([network], data[i : i + 1])[0] for i in range(len(data))])
        np.testing.assert_allclose(alone, run_members([network], data)[0], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("recipe", RECIPES)
def test_preparing_beforehand_changes_nothing(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    data, classes = waves()
    plan = replace(PLAN, architecture=Architecture(recipe=recipe))
    beforehand = outputs(plan, data, classes)
    monkeypatch.setattr("gatestack.tasks.labelled.fitting._MOST_PREPARED_CASES", 0)
    np.testing.assert_allclose(outputs(plan, data, classes), beforehand, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_short_training_has_a_learning_curve_and_it_costs_nothing(recipe: Recipe) -> None:
    plan = replace(PLAN, architecture=Architecture(recipe=recipe, kernels=84), max_steps=40)
    (curved,) = fit_members(*waves(), plan)
    assert [row.step for row in curved.record.history] == list(range(2, 41, 2))
    assert all(row.train_loss is not None for row in curved.record.history)
    (plain,) = fit_members(
        *waves(), replace(plan, training=Training(batch_size=8, learning_rate=0.01, validate_every=40))
    )
    assert [row.step for row in plain.record.history] == [40]
    for name, tensor in curved.network.state_dict().items():
        assert torch.equal(tensor, plain.network.state_dict()[name])
