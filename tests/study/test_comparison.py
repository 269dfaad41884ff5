"""The corrected resampled interval against numbers by hand, and how often it errs."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from gatestack.errors import ArgumentError
from gatestack.study.comparison import compare_paired


def test_numbers_by_hand() -> None:
    # Differences 1, 2, 3, 4, 5: mean 3, variance 2.5. Five folds of a cross-validation: q = 1/4.
    reference, other = np.array([[2.0], [4], [6], [8], [10]]), np.array([[1.0], [2], [3], [4], [5]])
    found = compare_paired(reference, other, test_share=0.25)
    assert found.mean == 3.0
    assert found.error == pytest.approx(np.sqrt((1 / 5 + 1 / 4) * 2.5), rel=1e-12)
    # The table of Student's t: 2.776445 at 97.5 % with 4 degrees of freedom.
    assert found.half_width == pytest.approx(2.776445 * found.error, rel=1e-6)
    assert (found.low + found.high) / 2 == pytest.approx(3.0)


def test_fifteen_random_splits_by_hand() -> None:
    # 15 splits with a tenth held out: q = 1/9, above the 1/14 of fifteen folds, so it is taken as given.
    differences = np.arange(15.0)
    found = compare_paired(differences[:, None], np.zeros((15, 1)), test_share=1 / 9)
    assert found.error**2 == pytest.approx((1 / 15 + 1 / 9) * 20.0)  # the variance of 0 … 14 is 20
    assert found.half_width == pytest.approx(2.144787 * found.error, rel=1e-6)


def test_degrees_of_freedom_by_hand() -> None:
    # Two folds, two seeds: 0, 2 and 4, 8. Between 2 · (2.5² + 2.5²) = 25, within 2 + 8 = 10.
    found = compare_paired(np.array([[0.0, 2.0], [4.0, 8.0]]), np.zeros((2, 2)), test_share=1.0)
    freedom = (25 + 10) ** 2 / (25**2 / 1 + 10**2 / 2)
    assert found.half_width / found.error == pytest.approx(stats.t.ppf(0.975, freedom))
    alike = compare_paired(np.array([[0.0, 0.0], [4.0, 4.0], [5.0, 5.0]]), np.zeros((3, 2)), test_share=1.0)
    assert alike.half_width / alike.error == pytest.approx(4.302653, rel=1e-6)  # two degrees of freedom


def test_few_folds_are_not_many_for_having_seeds() -> None:
    random = np.random.default_rng(0)
    losses = random.normal(size=(3, 1)) + np.zeros((1, 20))
    found = compare_paired(losses, np.zeros((3, 20)), test_share=0.01)
    # Twenty seeds that change nothing: the error stays at that of three folds or above it.
    assert found.error >= np.sqrt(losses[:, 0].var(ddof=1) / 3)


def test_the_sign_follows_the_order() -> None:
    random = np.random.default_rng(1)
    one, two = random.normal(size=(5, 2)), random.normal(size=(5, 2))
    forth, back = (compare_paired(*pair, test_share=0.2) for pair in ((one, two), (two, one)))
    assert (forth.mean, forth.low, forth.high) == pytest.approx((-back.mean, -back.high, -back.low))


@pytest.mark.parametrize("shapes", [((1, 5), (1, 5)), ((5,), (5,)), ((5, 2), (5, 3))])
def test_other_shapes_are_refused(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    with pytest.raises(ArgumentError, match="shapes"):
        compare_paired(np.zeros(shapes[0]), np.zeros(shapes[1]), test_share=0.2)


def false_alarms(folds: int, seeds: int, *, corrected: bool, between: float) -> float:
    """Count how often two equally good learners are told apart by a cross-validation of a small data set.

    Each learner is the mean of half of the features' noise: they differ by chance in the data and in the
    seed, by nothing in expectation.
    """
    random = np.random.default_rng(7)
    repeats, cases, wrong = 1000, 60, 0
    for _ in range(repeats):
        noise = random.normal(size=(2, cases))
        losses = np.empty((2, folds, seeds))
        for fold in range(folds):
            held = np.arange(cases) % folds == fold
            for model in range(2):
                # The estimate of each model from the training part, judged on the held out part of both.
                estimate = noise[model, ~held].mean() + between * random.normal(size=seeds)
                losses[model, fold] = ((noise[:, held].mean() - estimate[:, None]) ** 2).mean(axis=1) + (
                    noise[model, held] ** 2
                ).mean()
        found = compare_paired(losses[0], losses[1], test_share=1 / (folds - 1))
        if corrected:
            wrong += found.measurable
        else:
            differences = losses[0] - losses[1]
            wrong += abs(differences.mean()) > 1.96 * differences.std(ddof=1) / np.sqrt(differences.size)
    return wrong / repeats


@pytest.mark.parametrize(("folds", "seeds"), [(5, 2), (10, 1), (3, 3)])
def test_false_alarms_are_as_rare_as_promised(folds: int, seeds: int) -> None:
    assert false_alarms(folds, seeds, corrected=True, between=0.1) <= 0.06


def test_the_simulation_can_fail() -> None:
    # The usual interval over fold × seed calls equal learners different twice as often as it promises.
    assert false_alarms(5, 2, corrected=False, between=0.1) > 0.1
