"""The network of classifiers and regressors: padding, gaps, units, and every option."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from gatestack.errors import ArgumentError
from gatestack.tasks.labelled import Architecture, Augmentation, LabelledNetwork, NetworkShape
from gatestack.tasks.labelled.fcn import MaskedBatchNorm, resampled
from gatestack.tasks.labelled.options import Recipe
from gatestack.tasks.labelled.pooling import Pool
from gatestack.tasks.labelled.scaling import InputScaling, bridged

RECIPES: tuple[Recipe, ...] = get_args(Recipe)
LENGTHS = (13, 1, 7, 2)


def series(features: int = 2) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(4, 13, features, generator=generator) * 3 + 1, torch.tensor(LENGTHS)


def make(recipe: str, *, flags: bool = True, **options: Any) -> LabelledNetwork:
    torch.manual_seed(0)
    shape = NetworkShape(features=2, outputs=3, widths=(4, 4), steps=13, typical_steps=11, flags=flags)
    network = LabelledNetwork(shape, Architecture.from_dict({"recipe": recipe, "kernels": 200, **options}))
    x, lengths = series()
    scaled = network.recurrent.fit(x, lengths, 0)
    if network.linear is not None:
        network.linear.fit(scaled, lengths, torch.tensor([0, 1, 2, 0]), 0)
        torch.nn.init.normal_(network.linear.weight)  # four cases give hardly any
    for name, parameter in network.named_parameters():
        if "head" in name:  # one that starts at zero would hide what is below
            torch.nn.init.normal_(parameter)
    return network.eval()


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_row_does_not_depend_on_its_batch(recipe: str) -> None:
    x, lengths = series()
    network = make(recipe)
    x[0, 3, 1] = x[2, 6, 0] = torch.nan
    together = network(x, lengths)
    assert together.isfinite().all()
    for row, length in enumerate(LENGTHS):
        alone = network(x[row : row + 1, :length], torch.tensor([length]))
        torch.testing.assert_close(together[row : row + 1], alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("filler", [1e6, float("nan"), float("inf")])
def test_what_stands_in_the_padding_is_not_read(recipe: str, filler: float) -> None:
    x, lengths = series()
    network = make(recipe)
    clean = network(x, lengths)
    for row, length in enumerate(LENGTHS):
        x[row, length:] = filler
    torch.testing.assert_close(network(x, lengths), clean, rtol=0, atol=0)


@pytest.mark.parametrize("recipe", RECIPES)
def test_padding_leaks_into_no_gradient(recipe: str) -> None:
    x, lengths = series()
    x.requires_grad_()
    network = make(recipe).train()
    network(x, lengths).square().sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert x.grad[0].abs().sum() > 0
    for row, length in enumerate(LENGTHS):
        assert not x.grad[row, length:].any()


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_missing_value_is_not_a_zero(recipe: str) -> None:
    x, lengths = series()
    network = make(recipe)
    missing, zero = x.clone(), x.clone()
    missing[0, 5, 0], zero[0, 5, 0] = torch.nan, 0.0
    a, b, c = network(x, lengths), network(missing, lengths), network(zero, lengths)
    assert b.isfinite().all()
    assert not torch.allclose(a[0], b[0])
    assert not torch.allclose(b[0], c[0])
    torch.testing.assert_close(a[1:], b[1:], rtol=1e-5, atol=1e-6)


def test_a_row_without_any_value_has_an_answer() -> None:
    x, lengths = series()
    x[2] = torch.nan
    for recipe in RECIPES:
        assert make(recipe)(x, lengths).isfinite().all()


@pytest.mark.parametrize(
    ("recipe", "change"),
    [
        ("plain", {"cell": "gru"}),
        ("plain", {"bidirectional": False}),
        ("plain", {"residual": True}),
        ("plain", {"scaling": "series"}),
        ("plain", {"scaling": "both"}),
        *(("plain", {"pooling": pooling}) for pooling in ("last", "mean", "max", "attention")),
        ("lstm-fcn", {"cell": "rnn"}),
        ("kernels", {"cell": "gru"}),
        ("kernels", {"pooling": "last"}),
        ("kernels", {"kernels": 700}),
        ("kernels", {"segments": 3}),
        ("kernels", {"scaling": "both"}),
        ("lstm-fcn", {"pooling": "last"}),
    ],
)
def test_every_option_has_an_effect(recipe: str, change: dict[str, Any]) -> None:
    x, lengths = series()
    changed = make(recipe, **change)(x, lengths)
    assert changed.isfinite().all()
    assert not torch.allclose(make(recipe)(x, lengths), changed)


def test_dropout_acts_in_training_only() -> None:
    x, lengths = series()
    network = make("plain", dropout=0.5)
    torch.testing.assert_close(network(x, lengths), network(x, lengths), rtol=0, atol=0)
    network.train()
    assert not torch.allclose(network(x, lengths), network(x, lengths))


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_state_dict_is_the_whole_network(recipe: str) -> None:
    x, lengths = series()
    network = make(recipe)
    network.target_mean.fill_(5.0)
    again = LabelledNetwork(
        NetworkShape.from_dict(network.shape.to_dict()),
        Architecture.from_dict(network.architecture.to_dict()),
    ).eval()
    again.load_state_dict(network.state_dict())
    torch.testing.assert_close(again(x, lengths), network(x, lengths), rtol=0, atol=0)


def test_series_scaling_forgets_level_and_size_and_training_scaling_keeps_them() -> None:
    x, lengths = series()
    moved = x * 7 - 3
    own = InputScaling(2, "series", flags=False)
    own.fit(x, lengths)
    torch.testing.assert_close(own(x, lengths), own(moved, lengths), rtol=1e-4, atol=1e-5)
    common = InputScaling(2, "training", flags=False)
    common.fit(x, lengths)
    assert not torch.allclose(common(x, lengths), common(moved, lengths))
    real = torch.cat([common(x, lengths)[row, :length] for row, length in enumerate(LENGTHS)])
    torch.testing.assert_close(real.mean(dim=0), torch.zeros(2), rtol=0, atol=1e-6)
    torch.testing.assert_close(real.std(dim=0, correction=0), torch.ones(2))


def test_a_constant_series_is_zero_in_its_own_units() -> None:
    x = torch.full((2, 5, 1), 0.1)
    x[1] += torch.linspace(0, 1, 5)[:, None]
    scaling = InputScaling(1, "series", flags=False)
    scaling.fit(x, torch.tensor([5, 5]))
    scaled = scaling(x, torch.tensor([5, 5]))
    assert not scaled[0].any()
    assert scaled[1].std(correction=0) == pytest.approx(1.0, rel=1e-5)


def test_gaps_are_bridged_by_a_line() -> None:
    nan = torch.nan
    x = torch.tensor([[nan, 2.0, nan, nan, 8.0, nan], [nan] * 6])[..., None]
    expected = torch.tensor([[2.0, 2.0, 4.0, 6.0, 8.0, 8.0], [0.0] * 6])[..., None]
    torch.testing.assert_close(bridged(x, ~x.isnan()), expected)


def test_pooling_by_hand() -> None:
    y = torch.tensor([[[1.0, -1.0], [3.0, -5.0], [99.0, 99.0]]])
    lengths = torch.tensor([2])

    def pooled(name: Any, *, bidirectional: bool = False) -> list[float]:
        values: list[float] = Pool(name, 2, bidirectional=bidirectional)(y, lengths)[0].tolist()
        return values

    assert pooled("mean") == [2.0, -3.0]
    assert pooled("max") == [3.0, -1.0]
    assert pooled("last") == [3.0, -5.0]
    assert pooled("last", bidirectional=True) == [3.0, -1.0]
    attention = Pool("attention", 2, bidirectional=False)
    weights = attention.score(y[0, :2])[:, 0].softmax(dim=0)
    torch.testing.assert_close(attention(y, lengths)[0], weights @ y[0, :2])


def test_batch_norm_reads_real_steps_only() -> None:
    y = torch.tensor([[[1.0], [3.0]], [[5.0], [1e9]]])
    real = torch.tensor([[True, True], [True, False]])
    normed = MaskedBatchNorm(1).train()(y, real)
    deviation = (8 / 3) ** 0.5
    expected = torch.tensor([[[-2 / deviation], [0.0]], [[2 / deviation], [0.0]]])
    torch.testing.assert_close(normed, expected, rtol=1e-4, atol=1e-5)


def test_resampling_ends_at_the_last_real_step() -> None:
    x = torch.tensor([[[0.0], [2.0], [4.0], [99.0]], [[7.0], [99.0], [99.0], [99.0]]])
    at = resampled(x, torch.tensor([3, 1]), 5)[..., 0]
    assert at.tolist() == [[0.0, 1.0, 2.0, 3.0, 4.0], [7.0] * 5]


@pytest.mark.parametrize(
    "wrong",
    [
        {"recipe": "fcn"},
        {"cell": "GRU"},
        {"pooling": "sum"},
        {"scaling": None},
        {"dropout": 1.0},
        {"residual": 1},
        {"bidirectional": "yes"},
        {"kernels": 83},
        {"segments": 0},
    ],
)
def test_a_wrong_choice_is_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match=next(iter(wrong))):
        Architecture.from_dict(wrong)


@pytest.mark.parametrize("wrong", [{"crop": 1.0}, {"jitter": -1.0}, {"jitter": float("inf")}])
def test_a_wrong_augmentation_is_refused_by_name(wrong: dict[str, float]) -> None:
    with pytest.raises(ArgumentError, match=next(iter(wrong))):
        Augmentation(**wrong)


def sizes(**changes: Any) -> dict[str, Any]:
    known = {"features": 2, "outputs": 3, "widths": [4], "steps": 9, "typical_steps": 9, "flags": False}
    return known | changes


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"features": 0}, "features"),
        ({"steps": 2.5}, "steps"),
        ({"widths": []}, "widths"),
        ({"widths": [4, "8"]}, "widths"),
        ({"flags": 1}, "flags"),
        ({"colour": 3}, "colour"),
    ],
)
def test_sizes_that_make_no_network_are_refused(wrong: dict[str, Any], said: str) -> None:
    assert NetworkShape.from_dict(sizes()).widths == (4,)
    with pytest.raises(ArgumentError, match=said):
        NetworkShape.from_dict(sizes(**wrong))


def test_a_size_that_is_missing_is_named() -> None:
    known = sizes()
    del known["typical_steps"]
    with pytest.raises(ArgumentError, match="typical_steps"):
        NetworkShape.from_dict(known)
