"""Drawn trees of torch: read into a network, written back to plain torch, and read again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch_trees import BETWEEN, CELLS, HEADS, draw, make

from gatestack.convert import Network, Port
from gatestack.convert.examples import draw_inputs
from gatestack.convert.torch import from_torch, to_torch
from gatestack.convert.torch.proof import arguments

# torch says so of its own way to compute them.
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported:UserWarning")

SEEDS = range(120)


def some(quick: int) -> list[Any]:
    """Give all seeds; the first of them belong to the quick tests."""
    return [*SEEDS[:quick], *[pytest.param(seed, marks=pytest.mark.slow) for seed in SEEDS[quick:]]]


def inputs_of(network: Network, choices: dict[str, Any], rows: int, steps: int) -> list[Tensor]:
    """Draw inputs other than those with which the conversion proved itself."""
    random = np.random.default_rng(choices["seed"])
    found = []
    for port, array in zip(network.inputs, draw_inputs(network, rows=rows, steps=steps, seed=9), strict=True):
        lengths = port.name == "lengths"
        whole = random.integers(1, steps + 1, array.shape) if lengths else random.integers(0, 11, array.shape)
        found.append(torch.as_tensor(whole if port.dtype == "int64" else array))
    return found


def flat(found: Any) -> list[Tensor]:
    return [one for part in found for one in flat(part)] if isinstance(found, tuple | list) else [found]


def assert_same(a: Any, b: Any, double: bool, what: str) -> None:
    first, second = flat(a), flat(b)
    assert len(first) == len(second), what
    for one, other in zip(first, second, strict=True):
        torch.testing.assert_close(
            one, other, atol=1e-10 if double else 2e-5, rtol=0, msg=lambda m: f"{what}: {m}"
        )


@pytest.mark.parametrize("seed", some(60))
def test_a_drawn_tree_goes_both_ways(seed: int) -> None:
    choices = draw(seed)
    what = f"to replay: make({choices})"
    tree, ports = make(choices)
    network = from_torch(tree, ports)
    plain = to_torch(network)
    own = [type(one).__module__ for one in plain.modules()][1:]
    assert all(one.startswith("torch.nn.modules.") for one in own), what
    renamed = [Port(p.name.replace(".", "_"), p.shape, p.dtype, p.batch_axis) for p in network.inputs]
    again = from_torch(plain, renamed)
    for rows, steps in ((1, 1), (4, 6), (2, 13)):
        drawn = inputs_of(network, choices, rows, steps)
        with torch.no_grad():
            expected = tree(**arguments(network.inputs, drawn))
            assert_same(network(*drawn), expected, choices["double"], what)
            assert_same(plain(*drawn), expected, choices["double"], what)
            assert_same(again(*drawn), expected, choices["double"], what)


@pytest.mark.parametrize("seed", some(20))
def test_gradients_are_those_of_torch(seed: int) -> None:
    choices = draw(seed) | {"double": True}
    what = f"to replay: make({choices})"
    tree, ports = make(choices)
    network = from_torch(tree, ports)
    drawn = inputs_of(network, choices, 3, 5)
    theirs, ours = (
        _gradients(tree, lambda: tree(**arguments(network.inputs, drawn))),
        _gradients(network, lambda: network(*drawn)),
    )
    values = [(parameter, gradient) for parameter, gradient in ours if gradient is not None]
    assert theirs, what
    for parameter, gradient in theirs:
        # The network's parameters have other names; the numbers, which are drawn, tell which is which.
        found = [g for p, g in values if p.shape == parameter.shape and torch.equal(p, parameter)]
        if gradient is None:
            assert all(float(g.abs().max()) == 0 for g in found), what
        else:
            assert len(found) == 1, what
            torch.testing.assert_close(found[0], gradient, atol=1e-9, rtol=1e-9, msg=lambda m: f"{what}: {m}")


def _gradients(module: nn.Module, call: Any) -> list[tuple[Tensor, Tensor | None]]:
    parameters = [one for one in module.parameters() if one.requires_grad]
    total = sum((one.sin().sum() for one in flat(call())), torch.zeros((), dtype=torch.float64))
    found = torch.autograd.grad(total, parameters, allow_unused=True)
    return list(zip(parameters, found, strict=True))


def test_every_choice_is_drawn() -> None:
    drawn = [draw(seed) for seed in SEEDS]
    assert {one["head"] for one in drawn} == set(HEADS)
    blocks = [block for one in drawn for block in one["blocks"]]
    assert {(block["cell"], block["ours"], block["bidirectional"]) for block in blocks} == {
        (cell, ours, both) for cell in CELLS for ours in (False, True) for both in (False, True)
    }
    assert {block["between"] for block in blocks} == set(BETWEEN)
    told = {(one["state"], one["packed"], one["batch_first"]) for one in drawn}
    assert len(told) >= 11
