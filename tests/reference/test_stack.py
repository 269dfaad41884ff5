"""Stacks, against torch with several layers, against finite differences, and against single layers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from gatestack.reference import (
    GRUCell,
    LSTMCell,
    RNNCell,
    layer_forward,
    stack_backward,
    stack_forward,
)

N, T, C, H = 4, 5, 2, 3
LENGTHS = [5, 1, 4, 2]
CELLS = {"LSTM": (LSTMCell, 4), "GRU": (GRUCell, 3), "RNN": (RNNCell, 1)}


def make_cell(rng: np.random.Generator, kind: str, inputs: int, hidden: int) -> LSTMCell | GRUCell | RNNCell:
    cell, gates = CELLS[kind]
    shapes = ((gates * hidden, inputs), (gates * hidden, hidden), (gates * hidden,), (gates * hidden,))
    return cell(*(rng.normal(scale=0.6, size=shape) for shape in shapes))


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("kind", CELLS)
def test_like_torch(kind: str, bidirectional: bool) -> None:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    D, L = 1 + bidirectional, 3
    module = getattr(torch.nn, kind)(
        C, H, num_layers=L, batch_first=True, bidirectional=bidirectional, dtype=torch.float64
    )
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    ends = [[f"_l{layer}{end}" for end in ("", "_reverse")[:D]] for layer in range(L)]
    cell = CELLS[kind][0]
    layers = [
        [cell(**{name: getattr(module, name + end).detach().numpy() for name in names}) for end in layer]
        for layer in ends
    ]
    parts = 2 if kind == "LSTM" else 1
    x = torch.tensor(rng.normal(size=(N, T, C)), requires_grad=True)
    initial = [torch.tensor(rng.normal(size=(L * D, N, H)), requires_grad=True) for _ in range(parts)]
    packed = pack_padded_sequence(x, torch.tensor(LENGTHS), batch_first=True, enforce_sorted=False)
    packed_output, last = module(packed, tuple(initial) if parts == 2 else initial[0])
    output, _ = pad_packed_sequence(packed_output, batch_first=True, total_length=T)
    last = last if parts == 2 else (last,)
    d_output = rng.normal(size=(N, T, D * H))
    d_last = [rng.normal(size=(L * D, N, H)) for _ in range(parts)]
    loss = (output * torch.tensor(d_output)).sum()
    loss = loss + sum((a * torch.tensor(d)).sum() for a, d in zip(last, d_last, strict=True))
    loss.backward()

    def ours(arrays: list[np.ndarray]) -> list[list[tuple[np.ndarray, ...]]]:
        return [[tuple(array[layer * D + d] for array in arrays) for d in range(D)] for layer in range(L)]

    result = stack_forward(
        layers, x.detach().numpy(), ours([i.detach().numpy() for i in initial]), lengths=LENGTHS
    )
    gradients = stack_backward(result, d_output, ours(d_last))
    same = {"rtol": 1e-10, "atol": 1e-10}
    np.testing.assert_allclose(result.output, output.detach().numpy(), **same)
    np.testing.assert_allclose(gradients.x, x.grad.numpy(), **same)
    for layer in range(L):
        for d in range(D):
            for part in range(parts):
                theirs = last[part][layer * D + d].detach().numpy()
                np.testing.assert_allclose(result.final[layer][d][part], theirs, **same)
                theirs = initial[part].grad[layer * D + d].numpy()
                np.testing.assert_allclose(gradients.initial[layer][d][part], theirs, **same)
            for name in names:
                theirs = getattr(module, name + ends[layer][d]).grad.numpy()
                np.testing.assert_allclose(gradients.weights[layer][d][name], theirs, **same)


@pytest.fixture
def mixed() -> list[tuple[LSTMCell | GRUCell | RNNCell, ...]]:
    """An LSTM in both directions under a GRU under an RNN in both directions, each of its own width."""
    rng = np.random.default_rng(1)
    return [
        (make_cell(rng, "LSTM", C, 3), make_cell(rng, "LSTM", C, 2)),
        (make_cell(rng, "GRU", 5, 4),),
        (make_cell(rng, "RNN", 4, 2), make_cell(rng, "RNN", 4, 2)),
    ]


def test_a_stack_is_its_layers_one_after_the_other(mixed: list) -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(N, T, C))
    mask = rng.random((N, T)) < 0.6
    first = [layer_forward(cell, x, mask=mask, reverse=d == 1).output for d, cell in enumerate(mixed[0])]
    second = layer_forward(mixed[1][0], np.concatenate(first, axis=2), mask=mask).output
    third = [layer_forward(cell, second, mask=mask, reverse=d == 1) for d, cell in enumerate(mixed[2])]
    result = stack_forward(mixed, x, mask=mask)
    np.testing.assert_array_equal(result.output, np.concatenate([one.output for one in third], axis=2))
    np.testing.assert_array_equal(result.final[2][1][0], third[1].final[0])


def test_finite_differences_through_a_stack(mixed: list) -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(2, 3, C))
    d_output = rng.normal(size=(2, 3, 4))
    lengths = [3, 2]

    def slopes(value: np.ndarray, loss: Callable[[], float]) -> np.ndarray:
        slope = np.zeros_like(value)
        for entry in np.ndindex(*value.shape):
            kept = value[entry]
            value[entry] = kept + 1e-6
            up = loss()
            value[entry] = kept - 1e-6
            slope[entry] = (up - loss()) / 2e-6
            value[entry] = kept
        return slope

    def loss() -> float:
        return float(np.sum(stack_forward(mixed, x, lengths=lengths).output * d_output))

    gradients = stack_backward(stack_forward(mixed, x, lengths=lengths), d_output)
    np.testing.assert_allclose(gradients.x, slopes(x, loss), rtol=1e-6, atol=1e-7)
    for layer, cells in enumerate(mixed):
        for d, cell in enumerate(cells):
            for name in ("weight_hh", "bias_ih"):
                found = gradients.weights[layer][d][name]
                np.testing.assert_allclose(found, slopes(cell.weights[name], loss), rtol=1e-6, atol=1e-7)


def test_what_does_not_fit_is_refused(mixed: list) -> None:
    x = np.zeros((N, T, C))
    with pytest.raises(ValueError, match="layers is empty"):
        stack_forward([], x)
    with pytest.raises(ValueError, match="layer 1 has 3 cells"):
        stack_forward([mixed[0], mixed[1] * 3], x)
    with pytest.raises(ValueError, match="states do not fit"):
        stack_forward(mixed, x, [[(np.zeros((N, 3)),)]])
    with pytest.raises(ValueError, match=r"x has shape \(4, 5, 5\).*time, 2"):
        stack_forward(mixed, np.zeros((N, T, 5)))
    result = stack_forward(mixed, x)
    with pytest.raises(ValueError, match=r"d_output has shape \(4, 5, 2\)"):
        stack_backward(result, np.zeros((N, T, 2)))
    with pytest.raises(ValueError, match="d_final does not fit"):
        stack_backward(result, None, [])
