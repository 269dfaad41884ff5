"""Variational dropout: one mask for all steps."""

from __future__ import annotations

import pytest
import torch

from gatestack.errors import ArgumentError
from gatestack.nn import VariationalDropout


def test_the_mask_is_constant_over_time_and_differs_between_rows() -> None:
    torch.manual_seed(0)
    y = VariationalDropout(0.25)(torch.ones(8, 5, 64))
    assert torch.equal(y, y[:, :1].expand_as(y))
    assert not torch.equal(y[0], y[1])
    assert y.unique().tolist() == pytest.approx([0.0, 1 / 0.75])
    assert 0.2 < (y == 0).float().mean() < 0.3


def test_the_same_features_lose_their_gradient() -> None:
    torch.manual_seed(0)
    x = torch.ones(4, 3, 16, requires_grad=True)
    y = VariationalDropout(0.5)(x)
    y.sum().backward()
    assert torch.equal(x.grad, y)


def test_eval_mode_and_probability_zero_leave_the_input_alone() -> None:
    x = torch.randn(2, 3, 4)
    assert VariationalDropout(0.5).eval()(x) is x
    assert VariationalDropout(0.0)(x) is x


@pytest.mark.parametrize("shape", [(0, 3, 4), (2, 0, 4)])
def test_empty_batches_are_fine(shape) -> None:
    assert VariationalDropout(0.5)(torch.zeros(shape)).shape == shape


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r"'p' parameter of VariationalDropout is 1.0"):
        VariationalDropout(1.0)
    with pytest.raises(ArgumentError, match=r"x has shape \(2, 3\) — expected \(batch, time, features\)"):
        VariationalDropout(0.5)(torch.zeros(2, 3))


def test_repr_shows_the_probability() -> None:
    assert repr(VariationalDropout(0.2)) == "VariationalDropout(p=0.2)"
