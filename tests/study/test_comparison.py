"""The corrected resampled interval against numbers by hand, and how often it errs."""

from __future__ import annotations

import numpy as np
import pytest

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


def test_seeds_are_averaged_and_are_no_folds() -> None:
    # Two folds, two seeds: 0, 2 and 4, 8, on average 1 and 6: variance 12.5, one degree of freedom.
    found = compare_paired(np.array([[0.0, 2.0], [4.0, 8.0]]), np.zeros((2, 2)), test_share=1.0)
    assert found.mean == 3.5
    assert found.error == pytest.approx(np.sqrt((1 / 2 + 1) * 12.5))
    assert found.half_width == pytest.approx(12.706205 * found.error, rel=1e-6)
    # Seeds that change nothing tell nothing: an interval of 20 is that of one.
    losses = np.random.default_rng(0).normal(size=(3, 1))
    one, many = (
        compare_paired(np.tile(losses, seeds), np.zeros((3, seeds)), test_share=0.01) for seeds in (1, 20)
    )
    assert (many.error, many.low) == pytest.approx((one.error, one.low))


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


@pytest.mark.parametrize("seed_noise", [0.0, 0.3, 3.0])
def test_intervals_hold_the_truth_as_often_as_they_say(seed_noise: float) -> None:
    """Folds are correlated by q / (1 + q), as the correction supposes; a gain of 1 is true."""
    random, folds, seeds, repeats = np.random.default_rng(11), 5, 4, 2000
    share = 1 / (folds - 1)
    shared = np.sqrt(share / (1 + share)) * random.normal(size=(repeats, 1, 1))
    own = np.sqrt(1 / (1 + share)) * random.normal(size=(repeats, folds, 1))
    gains = 1.0 + shared + own + seed_noise * random.normal(size=(repeats, folds, seeds))
    inside = [
        found.low <= 1.0 <= found.high
        for found in (compare_paired(gain, np.zeros_like(gain), test_share=share) for gain in gains)
    ]
    assert np.mean(inside) >= 0.935
