"""The distributions are those of SciPy, their losses have right gradients, all start at the regression."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from gatestack.errors import ArgumentError
from gatestack.tasks.forecast.distributions import Distribution, Start, make_distribution
from gatestack.tasks.forecast.distributions.base import LEAST_WIDTH

LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
NAMES = ("quantiles", "normal", "student-t", "negative-binomial", "spline")
OF_NUMBERS = tuple(name for name in NAMES if name != "negative-binomial")


def start_at(
    *, base: float = 0.5, spread: float = 0.3, level: float = 20.0, scale: float = 4.0, rows: int = 1
) -> Start:
    """An origin where the regression says level + scale · base, wrong by scale · spread on average."""
    moments = torch.tensor([[level, scale, level, scale]], dtype=torch.float64).repeat(rows, 1)
    return Start(
        torch.full((rows, 1), base, dtype=torch.float64), torch.tensor([spread], dtype=torch.float64), moments
    )


def raw_of(distribution: Distribution, seed: int, *, rows: int = 1, size: float = 1.0) -> torch.Tensor:
    random = np.random.default_rng(seed)
    return torch.from_numpy(size * random.normal(size=(rows, 1, distribution.outputs)))


def some_truth(name: str, rows: int, seed: int = 0) -> torch.Tensor:
    random = np.random.default_rng(seed)
    truth = (
        random.poisson(22.0, size=(rows, 1))
        if name == "negative-binomial"
        else random.normal(22.0, 3.0, size=(rows, 1))
    )
    return torch.from_numpy(np.asarray(truth, dtype=np.float64))


def quantile_function(distribution: Distribution, parameters: torch.Tensor) -> np.ndarray:
    """Values at the middles of 200,000 equal parts of (0, 1), ascending."""
    levels = (np.arange(200_000) + 0.5) / 200_000
    return distribution.at(parameters.numpy()[0, 0], levels)


@pytest.mark.parametrize("name", OF_NUMBERS)
def test_all_start_at_the_regression(name: str) -> None:
    distribution = make_distribution(name, LEVELS)
    start = start_at()
    parameters = distribution.parameters(torch.zeros(1, 1, distribution.outputs, dtype=torch.float64), start)
    assert distribution.quantiles(parameters)[0, 0, 3] == pytest.approx(22.0, abs=1e-6)
    if name != "quantiles":
        # as wide as its mean absolute error, the spline nearly: its tails end
        values = quantile_function(distribution, parameters)
        within = 0.03 if name == "spline" else 1e-3
        assert np.abs(values - 22.0).mean() == pytest.approx(1.2, rel=within)


@pytest.mark.parametrize(("base", "mean"), [(0.5, 22.0), (-4.99, 0.21), (-7.0, 0.21)])
def test_counts_start_at_the_regression_held_above_a_hundredth_of_their_unit(
    base: float, mean: float
) -> None:
    distribution = make_distribution("negative-binomial", LEVELS)
    start = start_at(base=base)
    found, shape = distribution.parameters(torch.zeros(1, 1, 2, dtype=torch.float64), start)[0, 0].tolist()
    assert found == pytest.approx(mean)
    variance = math.pi / 2 * 1.2**2
    assert found + shape * found**2 == pytest.approx(max(variance, 1.1 * mean), rel=1e-6)


def test_the_normal_one_is_scipys() -> None:
    distribution, weight = make_distribution("normal", LEVELS), 0.25
    parameters = distribution.parameters(raw_of(distribution, 1, rows=6), start_at(rows=6))
    truth = some_truth("normal", 6)
    mean, deviation = (part[:, 0].numpy() for part in parameters.unbind(-1))
    wanted = -stats.norm.logpdf(truth[:, 0] * weight, mean * weight, deviation * weight + LEAST_WIDTH)
    np.testing.assert_allclose(distribution.loss(parameters, truth, torch.tensor(weight))[:, 0], wanted, 1e-9)
    quantiles = stats.norm.ppf(LEVELS, mean[:, None], deviation[:, None])
    np.testing.assert_allclose(distribution.quantiles(parameters)[:, 0], quantiles, rtol=1e-12)


@pytest.mark.parametrize("far", [1e2, 1e6, 1e20])
def test_wild_values_weigh_with_their_logarithm(far: float) -> None:
    distribution = make_distribution("normal", LEVELS)
    parameters = torch.tensor([[[0.0, 1.0 - LEAST_WIDTH]]], dtype=torch.float64, requires_grad=True)
    usual, wild = (
        distribution.loss(parameters, torch.tensor([[truth]], dtype=torch.float64), torch.tensor(1.0))
        for truth in (0.0, far)
    )
    assert (wild - usual).item() == pytest.approx(50 + 100 * math.log(far / 10), rel=1e-9)
    (slope,) = torch.autograd.grad(wild.sum(), parameters)
    assert slope[0, 0].tolist() == pytest.approx([-100 / far, -99.0], rel=1e-4)


def test_the_students_t_is_scipys() -> None:
    distribution, weight = make_distribution("student-t", LEVELS), 0.25
    parameters = distribution.parameters(raw_of(distribution, 2, rows=6, size=3.0), start_at(rows=6))
    truth = some_truth("student-t", 6)
    place, width, freedom = (part[:, 0].numpy() for part in parameters.unbind(-1))
    assert freedom.min() < 5 < 15 < freedom.max()
    scaled = (place * weight, width * weight + LEAST_WIDTH)
    wanted = -stats.t.logpdf(truth[:, 0] * weight, freedom, *scaled)
    np.testing.assert_allclose(distribution.loss(parameters, truth, torch.tensor(weight))[:, 0], wanted, 1e-9)
    quantiles = stats.t.ppf(LEVELS, freedom[:, None], place[:, None], width[:, None])
    np.testing.assert_allclose(distribution.quantiles(parameters)[:, 0], quantiles, rtol=1e-9)


@pytest.mark.parametrize("level", [0.0, 20.0, 3e6])
def test_the_negative_binomial_is_scipys(level: float) -> None:
    distribution = make_distribution("negative-binomial", LEVELS)
    start = start_at(rows=6, level=level, scale=0.2 * level + 0.5)
    parameters = distribution.parameters(raw_of(distribution, 3, rows=6), start)
    truth = torch.from_numpy(np.random.default_rng(0).poisson(level, size=(6, 1)).astype(np.float64))
    truth[0] = 0.0
    mean, shape = (part[:, 0].numpy() for part in parameters.unbind(-1))
    scipys = stats.nbinom(1 / shape, 1 / (1 + shape * mean))
    np.testing.assert_allclose(scipys.mean(), mean)
    np.testing.assert_allclose(scipys.var(), mean + shape * mean**2)
    loss = distribution.loss(parameters, truth, torch.ones(6, 1))[:, 0]
    np.testing.assert_allclose(loss, -scipys.logpmf(truth[:, 0]), rtol=1e-6, atol=1e-8)
    for number, at in enumerate(LEVELS):
        found = distribution.quantiles(parameters)[:, 0, number]
        assert (found == np.floor(found)).all()
        assert (scipys.cdf(found) >= at).all()
        assert ((scipys.cdf(found - 1) < at) | (found == 0)).all()


def test_the_spline_is_linear_between_its_knots() -> None:
    distribution = make_distribution("spline", LEVELS)
    parameters = distribution.parameters(raw_of(distribution, 4, rows=5), start_at(rows=5))
    levels = np.linspace(0, 1, 101)
    for row in parameters[:, 0].numpy():
        first, slope, width = row[0], row[1:11], row[11:]
        knots = np.concatenate([[0.0], np.cumsum(width)])
        values = first + np.concatenate([[0.0], np.cumsum(slope * width)])
        assert knots[-1] == pytest.approx(1.0)
        np.testing.assert_allclose(distribution.at(row, levels), np.interp(levels, knots, values))
        assert distribution.at(row, np.array(0.5)) == pytest.approx(np.interp(0.5, knots, values))


@pytest.mark.parametrize("truth", [-80.0, 17.0, 21.0, 22.0, 23.5, 90.0])
def test_the_splines_loss_is_the_integral_of_the_pinball_loss(truth: float) -> None:
    distribution = make_distribution("spline", LEVELS)
    levels = (np.arange(200_000) + 0.5) / 200_000
    for seed in range(4):
        parameters = distribution.parameters(raw_of(distribution, seed), start_at())
        error = truth - quantile_function(distribution, parameters)
        # CRPS = 2 ∫ pinball loss over the levels
        wanted = 2 * np.maximum(levels * error, (levels - 1) * error).mean()
        found = distribution.loss(parameters, torch.tensor([[truth]]), torch.tensor([[0.25]]))
        assert float(found) == pytest.approx(0.25 * wanted, rel=1e-6)


def test_draws_between_quantiles_lie_on_straight_lines_and_go_on_beyond_the_outer_ones() -> None:
    distribution = make_distribution("quantiles", LEVELS)
    parameters = distribution.parameters(raw_of(distribution, 5, rows=3), start_at(rows=3))
    known = parameters[:, 0].numpy()
    inside = np.linspace(0.05, 0.95, 31)
    found = distribution.at(known[:, None], inside)
    for row in range(3):
        np.testing.assert_allclose(found[row], np.interp(inside, LEVELS, known[row]))
    below = distribution.at(known, np.full(3, 0.02))
    np.testing.assert_allclose(below, known[:, 0] - 0.6 * (known[:, 1] - known[:, 0]))


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    distribution = make_distribution(name, LEVELS)
    start, truth = start_at(rows=7), some_truth(name, 7, seed=3)
    truth[0] = 300.0
    weight = torch.full((7, 1), 0.25, dtype=torch.float64)
    raw = raw_of(distribution, 6, rows=7).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda raw: distribution.loss(distribution.parameters(raw, start), truth, weight), (raw,)
    )


@pytest.mark.parametrize("name", OF_NUMBERS)
def test_series_of_other_scales_weigh_alike(name: str) -> None:
    distribution = make_distribution(name, LEVELS)
    raw, truth = raw_of(distribution, 7, rows=5), some_truth(name, 5)
    small = distribution.loss(distribution.parameters(raw, start_at(rows=5)), truth, torch.tensor(0.25))
    large = distribution.loss(
        distribution.parameters(raw, start_at(rows=5, level=2e5, scale=4e4)), 1e4 * truth, torch.tensor(25e-6)
    )
    np.testing.assert_allclose(small, large, rtol=1e-4, atol=1e-4)


# What a network may say when it is badly wrong, on series of any size.
WILD = st.floats(-60, 60)
SIZES = st.floats(-15, 15)


@settings(max_examples=60, deadline=None)
@given(name=st.sampled_from(NAMES), raw=st.lists(WILD, min_size=21, max_size=21), size=SIZES, level=SIZES)
def test_quantiles_ascend_and_losses_stay_finite_whatever_the_network_says(
    name: str, raw: list[float], size: float, level: float
) -> None:
    distribution = make_distribution(name, LEVELS)
    said = torch.tensor(raw[: distribution.outputs])[None, None].requires_grad_()
    scale, middle = 10.0**size, 10.0**level
    moments = torch.tensor([[middle, max(scale, 1e-5 * middle), middle, scale]])
    parameters = distribution.parameters(said, Start(torch.zeros(1, 1), torch.tensor([0.3]), moments))
    quantiles = distribution.quantiles(parameters.detach())[0, 0]
    assert np.isfinite(quantiles).all()
    assert (np.diff(quantiles) >= 0).all()
    many = distribution.at(parameters.detach().numpy()[0, 0], np.linspace(1e-6, 1 - 1e-6, 200))
    # float64 sums over a spline's pieces leave the last digits in any order
    assert (np.diff(many) >= -1e-12 * np.abs(many).max()).all()
    truth = torch.tensor([[0.0], [float(math.floor(middle))], [float(math.floor(min(1e6 * middle, 1e15)))]])
    loss = distribution.loss(parameters, truth, torch.full((3, 1), 1 / scale))
    assert torch.isfinite(loss).all()
    loss.sum().backward()
    assert said.grad is not None
    assert torch.isfinite(said.grad).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_constant_series_that_jumps_has_a_finite_loss_and_gradient(name: str) -> None:
    distribution = make_distribution(name, LEVELS)
    raw = torch.zeros(2, 1, distribution.outputs, requires_grad=True)
    # zeros so far: see `gatestack.tasks.forecast.scaling` for what keeps the scale above 0
    moments = torch.tensor([[0.0, 1e-18, 0.0, 1e-18]]).repeat(2, 1)
    parameters = distribution.parameters(raw, Start(torch.zeros(2, 1), torch.tensor([1e-3]), moments))
    loss = distribution.loss(parameters, torch.tensor([[0.0], [1e6]]), torch.ones(2, 1))
    loss.sum().backward()
    assert torch.isfinite(loss).all()
    assert raw.grad is not None
    assert torch.isfinite(raw.grad).all()


@pytest.mark.parametrize("name", NAMES)
def test_draws_at_random_levels_have_the_quantiles(name: str) -> None:
    distribution = make_distribution(name, LEVELS)
    parameters = distribution.parameters(raw_of(distribution, 8), start_at())
    drawn = distribution.at(parameters.numpy()[0], np.random.default_rng(0).random((40_000, 1)))
    quantiles = distribution.quantiles(parameters)[0, 0]
    for level, quantile in zip(LEVELS, quantiles, strict=True):
        # at counts the share of draws up to the quantile may be larger
        below, upto = (drawn < quantile).mean(), (drawn <= quantile).mean()
        assert below - 0.01 <= level <= upto + 0.01


@pytest.mark.parametrize("name", NAMES)
def test_the_loss_is_least_where_the_quantiles_are_those_of_the_data(name: str) -> None:
    random = np.random.default_rng(1)
    data = {
        "normal": random.normal(25.0, 6.0, 4000),
        "student-t": 25.0 + 3.0 * random.standard_t(3.0, 4000),
        "negative-binomial": random.negative_binomial(2.0, 0.1, 4000).astype(float),
    }.get(name, 15.0 + random.gamma(1.5, 5.0, 4000))
    distribution = make_distribution(name, LEVELS)
    raw = torch.zeros(1, 1, distribution.outputs, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.Adam([raw], lr=0.1)
    truth, weight = torch.from_numpy(data)[:, None], torch.tensor(0.2)
    for _ in range(250):
        optimiser.zero_grad()
        distribution.loss(distribution.parameters(raw, start_at()), truth, weight).mean().backward()
        optimiser.step()
    found = distribution.quantiles(distribution.parameters(raw.detach(), start_at()))[0, 0]
    shares = [(data <= quantile).mean() for quantile in found]
    np.testing.assert_allclose(shares, LEVELS, atol=0.03)


@pytest.mark.parametrize("name", NAMES)
def test_the_centre_is_the_median_or_the_mean_of_counts(name: str) -> None:
    distribution = make_distribution(name, LEVELS)
    parameters = distribution.parameters(raw_of(distribution, 9), start_at())
    if name == "negative-binomial":
        wanted = quantile_function(distribution, parameters).mean()
    else:
        wanted = distribution.quantiles(parameters)[0, 0, 3]
    assert distribution.centre(parameters).item() == pytest.approx(wanted, rel=1e-3)


def test_an_unknown_distribution_offers_the_nearest() -> None:
    with pytest.raises(ArgumentError, match="did you mean 'student-t'"):
        make_distribution("student", LEVELS)  # type: ignore[arg-type]
