"""The money of the stock benchmark: positions, costs and differences by hand."""

from __future__ import annotations

import numpy as np
import pytest
from protocol.stock_strategies import DAYS, account, difference_interval

NAN = float("nan")


def test_costs_are_paid_on_what_is_bought_and_sold() -> None:
    returns = np.array([[0.10, 0.0], [0.0, -0.20], [0.0, 0.0]])
    positions = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
    found = account(positions, returns, cost_bp=100)
    # Half of the money a stock: 0.05 earned and 0.005 paid; -0.10 and 0.005; both sold for 0.01.
    np.testing.assert_allclose(found.daily, [0.05 - 0.005, -0.10 - 0.005, -0.01])
    assert found.turnover == pytest.approx((0.5 + 0.5 + 1.0) / 3 * DAYS)
    assert found.growth == pytest.approx((1.045 * 0.895 * 0.99) ** (DAYS / 3) - 1)


def test_a_stock_that_is_not_traded_yet_gets_no_money() -> None:
    found = account(np.ones((2, 2)), np.array([[0.1, NAN], [0.1, 0.3]]), cost_bp=0)
    np.testing.assert_allclose(found.daily, [0.1, 0.2])


def test_cash_earns_nothing_and_has_no_ratio() -> None:
    found = account(np.zeros((5, 1)), np.full((5, 1), 0.1), cost_bp=10)
    assert (found.growth, found.sharpe, found.turnover) == (0, 0, 0)


def test_a_difference_has_an_interval_that_holds_it() -> None:
    noise = np.random.default_rng(0).normal(0, 0.01, 2000)
    value, low, high = difference_interval(noise + 0.002, np.zeros(2000))
    assert low < value < high
    assert low > 0, "0.002 a day is nine standard errors"
    even = difference_interval(noise, np.zeros(2000))
    assert even[1] < 0 < even[2]
