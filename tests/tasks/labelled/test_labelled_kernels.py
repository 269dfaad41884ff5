"""The fixed kernels, the ridge regression on them, and the part of the network they make."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from gatestack.data import Sequences
from gatestack.tasks.labelled import Architecture, LabelledPlan, fit_members, run_members
from gatestack.tasks.labelled.kernels import FixedKernels, segment_edges
from gatestack.tasks.labelled.linear import LinearPart
from gatestack.tasks.labelled.ridge import class_codes, fit_ridge, sharpness
from gatestack.tasks.labelled.segments import SegmentReader

LENGTHS = (40, 1, 17)
PLAN = LabelledPlan(
    task="classify", outputs=2, widths=(6,), max_steps=5, architecture=Architecture(kernels=500)
)


def series(channels: int = 3) -> tuple[Tensor, Tensor]:
    x = torch.randn(3, 40, channels, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    lengths = torch.tensor(LENGTHS)
    return x.masked_fill(torch.arange(40)[:, None] >= lengths[:, None, None], 0.0), lengths


def shares_by_hand(kernels: FixedKernels, series: np.ndarray) -> list[float]:
    """The equations of `FixedKernels`, step by step."""
    steps, answers = len(series), []
    for number, dilation in enumerate(kernels.dilations):
        for level in range(kernels.thresholds.shape[2]):
            for kernel, chosen in enumerate(itertools.combinations(range(9), 3)):
                above = 0
                for t in range(steps):
                    response = 0.0
                    for k in range(9):
                        place = t + (k - 4) * dilation
                        if 0 <= place < steps:
                            group = kernels.groups[number, kernel].numpy()
                            response += (2 if k in chosen else -1) * float(series[place] @ group)
                    above += response > float(kernels.thresholds[number, kernel, level])
                answers.append(above / steps)
    return answers


def test_shares_are_those_of_the_equations() -> None:
    x, lengths = series()
    kernels = FixedKernels(3, 20, most_dilations=2, thresholds=2).double()
    kernels.fit(x, lengths, np.random.default_rng(0))
    assert len(kernels.dilations) == 2
    shares = kernels(x, lengths)
    assert shares.shape == (3, 1, kernels.output_size)
    for row, length in enumerate(LENGTHS):
        by_hand = shares_by_hand(kernels, x[row, :length].numpy())
        np.testing.assert_allclose(shares[row, 0].numpy(), by_hand, rtol=0, atol=1e-12)


def test_segments_share_out_the_whole() -> None:
    x, lengths = series()
    kernels = FixedKernels(3, 20, most_dilations=3, thresholds=1).double()
    kernels.fit(x, lengths, np.random.default_rng(0))
    whole, parts = kernels(x, lengths)[:, 0], kernels(x, lengths, 7)
    sizes = segment_edges(lengths, 7).diff(dim=1)
    assert sizes.sum(dim=1).tolist() == list(LENGTHS)
    assert sizes[1].tolist() == [1, 0, 0, 0, 0, 0, 0]
    mean = (parts * sizes[..., None]).sum(dim=1) / lengths[:, None]
    torch.testing.assert_close(mean, whole)


def test_thresholds_are_spread_over_the_responses() -> None:
    x = torch.randn(20, 200, 1, generator=torch.Generator().manual_seed(0))
    lengths = torch.full((20,), 200)
    kernels = FixedKernels(1, 200, most_dilations=4, thresholds=3)
    kernels.fit(x, lengths, np.random.default_rng(0))
    shares = kernels(x, lengths)[:, 0].mean(dim=0)
    assert shares.min() < 0.05
    assert shares.max() > 0.95
    assert shares.mean() == pytest.approx(0.5, abs=0.03)


def test_a_kernel_reads_one_channel_or_a_group() -> None:
    x, lengths = series(channels=12)
    kernels = FixedKernels(12, 20, most_dilations=3, thresholds=1)
    kernels.fit(x.float(), lengths, np.random.default_rng(0))
    sizes = kernels.groups.sum(dim=2)
    assert sizes.min() == 1
    assert 5 <= sizes.max() <= 9


def test_left_out_predictions_are_those_of_fits_without_the_case() -> None:
    random = np.random.default_rng(0)
    x, y = random.normal(size=(12, 5)), random.normal(size=(12, 2))
    x -= x.mean(axis=0)
    found = fit_ridge([x], y, lambda left_out: float(((left_out - y) ** 2).mean()))
    penalty = _penalty_of(x, y, found.weights[0])
    for case in range(12):
        rest = np.arange(12) != case
        middle, level = x[rest].mean(axis=0), y[rest].mean(axis=0)
        z = x[rest] - middle
        weights = np.linalg.solve(z.T @ z + penalty * np.eye(5), z.T @ (y[rest] - level))
        expected = level + (x[case] - middle) @ weights
        np.testing.assert_allclose(found.left_out[case], expected, rtol=1e-8, atol=1e-10)
    assert found.score == pytest.approx(((found.left_out - y) ** 2).mean())


def _penalty_of(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> float:
    """From the normal equations: (XᵀX + λ) W = Xᵀy."""
    rest = x.T @ (y - y.mean(axis=0)) - x.T @ x @ weights
    return float((rest * weights).sum() / (weights * weights).sum())


def test_a_group_that_says_nothing_is_left_out() -> None:
    random = np.random.default_rng(1)
    signal, noise = random.normal(size=(60, 2)), random.normal(size=(60, 40))
    signal, noise = signal - signal.mean(axis=0), noise - noise.mean(axis=0)
    y = signal @ np.array([[1.0], [2.0]])

    def score(left_out: np.ndarray) -> float:
        return float(((left_out - y) ** 2).mean())

    assert not fit_ridge([signal, noise], y, score).weights[1].any()
    assert fit_ridge([noise, signal], y, score).weights[1].any()


def test_sharpness_is_finite_where_all_are_right_and_small_where_nothing_is_known() -> None:
    classes = np.arange(40) % 2
    sure, _ = sharpness(class_codes(classes, 2), classes)
    blind, loss = sharpness(np.random.default_rng(0).normal(size=(40, 2)) * 0.1, classes)
    assert 1 < sure < 5
    assert blind < sure
    assert loss == pytest.approx(np.log(2), abs=0.05)


def test_the_linear_part_says_what_its_features_say() -> None:
    x, lengths = series()
    part = LinearPart(3, flags=0, steps=20, longest=40, features=500, outputs=1)
    targets = torch.tensor([[0.5], [-1.5], [1.0]])
    start = part.fit(x.float(), lengths, targets, 0)
    assert start.shape == (3, 1)
    assert not torch.allclose(start, targets)
    outputs = part(x.float(), lengths)
    features = part.features(x.float(), lengths)
    expected = (features - part.mean).double() @ part.weight.T.double() + part.bias.double()
    torch.testing.assert_close(outputs, expected.float(), rtol=1e-4, atol=1e-4)


def test_cases_beyond_the_limit_start_from_a_fit_without_them(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(30, 12, 1, generator=torch.Generator().manual_seed(0))
    lengths = torch.full((30,), 12)
    targets = x.mean(dim=1)
    monkeypatch.setattr("gatestack.tasks.labelled.linear._MOST_CASES", 20)
    part = LinearPart(1, flags=0, steps=12, longest=12, features=200, outputs=1)
    start = part.fit(x, lengths, targets, 0)
    answers = part(x, lengths)
    same = torch.isclose(start, answers, rtol=1e-4, atol=1e-5)[:, 0]
    assert 10 <= int(same.sum()) < 30
    assert float((start - targets).square().mean()) < float(targets.var())


def test_what_is_constant_in_the_training_part_says_nothing() -> None:
    x = torch.randn(10, 30, 2, generator=torch.Generator().manual_seed(0))
    x[..., 1] = 3.0
    lengths = torch.full((10,), 30)
    reader = SegmentReader(2, flags=0, steps=30, segments=4, size=5).eval()
    reader.fit(x, lengths, 0)
    part = LinearPart(2, flags=0, steps=30, longest=30, features=200, outputs=2)
    part.fit(x, lengths, torch.arange(10) % 2, 0)
    for module in (reader, part):
        assert all(buffer.isfinite().all() for buffer in module.buffers())
    assert reader.unit[-1] == 0
    assert reader.unit[-2] > 0


def few(cases: int, seed: int = 0) -> tuple[Sequences, np.ndarray]:
    """Noise with a short bump somewhere; the classes differ in its form."""
    random = np.random.default_rng(seed)
    classes, arrays = np.arange(cases) % 2, []
    for kind in classes:
        values = 0.3 * random.normal(size=80)
        start = random.integers(5, 55)
        values[start : start + 15] += np.sin(np.arange(15) * 2 * np.pi / (7 if kind else 5))
        arrays.append(values)
    return Sequences.from_arrays(arrays), classes


def test_it_is_strong_with_ten_cases_where_a_plain_stack_is_not() -> None:
    data, classes = few(10)
    new, truth = few(40, seed=1)

    def right(plan: LabelledPlan) -> float:
        networks = [member.network for member in fit_members(data, classes, plan)]
        return float((run_members(networks, new)[0].argmax(axis=1) == truth).mean())

    assert right(replace(PLAN, max_steps=None, architecture=Architecture(kernels=2000))) >= 0.95
    assert right(replace(PLAN, max_steps=60, architecture=Architecture(recipe="plain"))) < 0.95


def test_the_recurrent_part_starts_from_the_linear_part_and_is_trusted_with_cases() -> None:
    data, classes = few(20)
    network = fit_members(data, classes, replace(PLAN, max_steps=1))[0].network
    assert network.linear is not None
    assert float(network.trust) == pytest.approx(20 / 220)
    x = torch.from_numpy(np.stack(list(data))).float()
    lengths = torch.full((20,), 80)
    with torch.no_grad():
        scaled = network.recurrent.scaling(x, lengths)
        expected = network.linear(scaled, lengths) + 20 / 220 * network.recurrent(x, lengths)
        torch.testing.assert_close(network(x, lengths), expected)


def test_the_level_of_a_series_can_be_regressed_though_kernels_do_not_see_it() -> None:
    random = np.random.default_rng(0)
    level = random.uniform(-1, 1, 60)
    data = Sequences.from_arrays([value + random.normal(size=25) for value in level])
    truth = np.array([float(array.mean()) for array in data])[:, None] * 100 + 7
    plan = replace(PLAN, task="regress", outputs=1)
    network = fit_members(data[:40], truth[:40], plan)[0].network
    miss = run_members([network], data[40:])[0] - truth[40:]
    assert np.sqrt((miss**2).mean()) < 0.15 * truth.std()
