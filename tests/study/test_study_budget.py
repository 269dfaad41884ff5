"""Widths of equal parameters against the counts of real stacks."""

from __future__ import annotations

import pytest

from gatestack.errors import ArgumentError
from gatestack.nn import GRU, LSTM, Bidirectional, Stack
from gatestack.study.budget import widths_of


def parameters(cell: type[LSTM] | type[GRU], widths: tuple[int, ...], features: int, directions: int) -> int:
    layers = [Bidirectional(cell(width)) if directions == 2 else cell(width) for width in widths]
    return sum(parameter.numel() for parameter in Stack(*layers, input_size=features).parameters())


@pytest.mark.parametrize("cell", [LSTM, GRU])
@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("layers", [1, 2, 3, 6])
def test_equal_parameters_are_equal(cell: type[LSTM] | type[GRU], directions: int, layers: int) -> None:
    options = {"hidden_size": 64, "features": 9, "directions": directions}
    widths = widths_of(layers, budget="equal parameters", **options)  # type: ignore[arg-type]
    found = parameters(cell, widths, 9, directions)
    wanted = parameters(cell, (64, 64), 9, directions)
    # Widths are whole numbers: half a unit in the narrowest network is the most that can be missed.
    assert found == pytest.approx(wanted, rel=1.1 / widths[0])
    assert len(set(widths)) == 1
    assert len(widths) == layers


def test_two_layers_are_the_reference() -> None:
    for budget in ("equal width", "equal parameters"):
        assert widths_of(2, hidden_size=33, budget=budget, features=5) == (33, 33)  # type: ignore[arg-type]


def test_an_unknown_budget_is_refused() -> None:
    with pytest.raises(ArgumentError, match="equal width"):
        widths_of(2, hidden_size=8, budget="equal time", features=1)  # type: ignore[arg-type]
