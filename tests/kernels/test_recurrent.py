"""The seam of the kernels: ragged batches on torch's operators."""

from __future__ import annotations

import pytest
import torch

from gatestack.kernels import recurrent as kernels

N, T, C, H = 3, 4, 2, 5
KERNELS = {
    "lstm": (kernels.lstm, 4, 2),
    "lstm_cell_states": (kernels.lstm_cell_states, 4, 2),
    "gru": (kernels.gru, 3, 1),
    "rnn_tanh": (kernels.rnn_tanh, 1, 1),
    "rnn_relu": (kernels.rnn_relu, 1, 1),
}
each_kernel = pytest.mark.parametrize("name", KERNELS)
each_direction = pytest.mark.parametrize("directions", [1, 2])


def problem(name: str, directions: int, dtype: torch.dtype = torch.float64):
    kernel, gates, states = KERNELS[name]
    torch.manual_seed(0)
    shapes = ((gates * H, C), (gates * H, H), (gates * H,), (gates * H,))
    weights = [tuple(torch.randn(shape, dtype=dtype) for shape in shapes) for _ in range(directions)]
    initial = [torch.randn(directions, N, H, dtype=dtype) for _ in range(states)]
    return kernel, torch.randn(N, T, C, dtype=dtype), initial, weights


@each_kernel
@each_direction
@pytest.mark.parametrize("lengths", [(4, 2, 1), (2, 2, 2), (0, 3, 0), (0, 0, 0)])
def test_nothing_after_a_rows_length_is_read(name, directions, lengths) -> None:
    kernel, x, initial, weights = problem(name, directions)
    given = torch.tensor(lengths)
    spoilt = x.clone()
    spoilt[torch.arange(T) >= given[:, None]] = torch.nan
    clean_x = x.requires_grad_()
    spoilt_x = spoilt.requires_grad_()
    clean = kernel(clean_x, *initial, weights, lengths=given)
    other = kernel(spoilt_x, *initial, weights, lengths=given)
    for expected, found in zip(clean, other, strict=True):
        assert torch.equal(expected, found)
    sum(result.sum() for result in other).backward()
    assert spoilt_x.grad is not None
    assert spoilt_x.grad.isfinite().all()


@each_kernel
@each_direction
def test_a_row_in_a_ragged_batch_is_the_row_alone(name, directions) -> None:
    kernel, x, initial, weights = problem(name, directions)
    lengths = torch.tensor([2, 0, 4])
    batch = kernel(x, *initial, weights, lengths=lengths)
    for row, length in enumerate(lengths.tolist()):
        alone = kernel(x[row : row + 1, :length], *(part[:, row : row + 1] for part in initial), weights)
        torch.testing.assert_close(batch[0][row, :length], alone[0][0])
        assert not batch[0][row, length:].any()
        for whole, part in zip(batch[1 : 1 + len(initial)], alone[1 : 1 + len(initial)], strict=True):
            torch.testing.assert_close(whole[:, row], part[:, 0])


@each_kernel
@each_direction
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_results_keep_the_dtype(name, directions, dtype) -> None:
    kernel, x, initial, weights = problem(name, directions, dtype)
    for lengths in (None, torch.tensor([4, 0, 1])):
        assert {result.dtype for result in kernel(x, *initial, weights, lengths=lengths)} == {dtype}


@each_direction
def test_the_loop_over_steps_agrees_with_the_fused_operator(directions) -> None:
    _, x, initial, weights = problem("lstm", directions)
    for lengths in (None, torch.tensor([4, 0, 1])):
        fused = kernels.lstm(x, *initial, weights, lengths=lengths)
        *loop, cells = kernels.lstm_cell_states(x, *initial, weights, lengths=lengths)
        for expected, found in zip(fused, loop, strict=True):
            torch.testing.assert_close(expected, found, rtol=1e-12, atol=1e-12)
        assert cells.shape == fused[0].shape
