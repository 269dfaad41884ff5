"""The seam of the kernels: ragged batches, every option, on whatever backend is chosen."""

from __future__ import annotations

import pytest
import torch
from stacks import CASES, CELLS, make_problem, make_spec, results

from gatestack.errors import ArgumentError
from gatestack.kernels.spec import LayerSpec, StackSpec

N, T = 3, 5
each_cell = pytest.mark.parametrize("cell", CELLS)
each_case = pytest.mark.parametrize(("cell", "option"), CASES)
each_direction = pytest.mark.parametrize("directions", [1, 2])


@each_case
@each_direction
@pytest.mark.parametrize("lengths", [(5, 2, 1), (2, 2, 2), (0, 3, 0), (0, 0, 0)])
def test_nothing_after_a_rows_length_is_read(cell, option, directions, lengths) -> None:
    problem = make_problem(make_spec(cell, option, directions=directions), gradients=True)
    given = torch.tensor(lengths)
    spoilt = problem.x.detach().clone()
    spoilt[torch.arange(T) >= given[:, None]] = torch.nan
    spoilt.requires_grad_()
    options = {"lengths": given, "training": True, "seed": 3, "cells": cell == "lstm"}
    clean, other = results(problem.run(**options)), results(problem.run(spoilt, **options))
    for expected, found in zip(clean, other, strict=True):
        assert torch.equal(expected, found)
    sum(result.sum() for result in other).backward()
    assert spoilt.grad is not None
    for part in (spoilt, *list(problem.inputs())[1:]):
        assert part.grad is None or part.grad.isfinite().all()


@each_case
@each_direction
def test_a_row_in_a_ragged_batch_is_the_row_alone(cell, option, directions) -> None:
    problem = make_problem(make_spec(cell, option, directions=directions))
    lengths = torch.tensor([2, 0, 5])
    batch = problem.run(lengths=lengths)
    for row, length in enumerate(lengths.tolist()):
        alone = make_problem(problem.spec)
        alone.states = [tuple(part[:, row : row + 1] for part in state) for state in problem.states]
        single = alone.run(problem.x[row : row + 1, :length])
        torch.testing.assert_close(batch.output[row, :length], single.output[0])
        assert not batch.output[row, length:].any()
        for whole, part in zip(batch.finals, single.finals, strict=True):
            for one, other in zip(whole, part, strict=True):
                torch.testing.assert_close(one[:, row], other[:, 0])


@each_cell
@each_direction
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_results_keep_the_dtype(cell, directions, dtype) -> None:
    problem = make_problem(make_spec(cell, directions=directions), dtype=dtype)
    for lengths in (None, torch.tensor([4, 0, 1])):
        assert {part.dtype for part in results(problem.run(lengths=lengths))} == {dtype}


@each_direction
@pytest.mark.parametrize("option", ["plain", "projection"])
def test_cell_states_at_every_step_leave_the_results_as_they_are(directions, option) -> None:
    problem = make_problem(make_spec("lstm", option, directions=directions))
    for lengths in (None, torch.tensor([4, 0, 1])):
        plain = results(problem.run(lengths=lengths))
        with_cells = problem.run(lengths=lengths, cells=True)
        for expected, found in zip(plain, results(with_cells), strict=False):
            torch.testing.assert_close(expected, found, rtol=1e-12, atol=1e-12)
        assert [cell.shape for cell in with_cells.cells] == [(N, T, directions * 4)] * 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LayerSpec("lstn", 1, 1), "'cell' parameter of LayerSpec is 'lstn'"),
        (lambda: LayerSpec("gru", 1, 2, projection_size=1), "projection_size=1 with 'gru'"),
        (lambda: LayerSpec("gru", 1, 2, peepholes=True), "peepholes=True with 'gru'"),
        (lambda: LayerSpec("gru", 1, 2, zoneout_cell=0.1), "zoneout_cell=0.1 with 'gru'"),
        (lambda: LayerSpec("rnn_relu", 1, 2, candidate_dropout=0.1), "candidate_dropout=0.1 with 'rnn_relu'"),
        (lambda: LayerSpec("gru_reset_before", 1, 2, layer_norm=True), "layer_norm=True with 'gru_reset"),
        (
            lambda: LayerSpec("gru", 1, 2, hidden_dropout=1.0),
            "'hidden_dropout' parameter of LayerSpec is 1.0",
        ),
        (lambda: StackSpec(()), "no layers"),
        (lambda: StackSpec((LayerSpec("gru", 1, 2),), 3), "directions=3"),
        (
            lambda: StackSpec((LayerSpec("gru", 1, 2), LayerSpec("gru", 3, 2))),
            "layer 1 has input_size 3 — expected 2, the features of layer 0",
        ),
        (lambda: StackSpec((LayerSpec("gru", 1, 2, residual=True),)), "layer 0 has residual=True"),
    ],
)
def test_a_spec_that_does_not_fit_is_refused(make, message) -> None:
    with pytest.raises(ArgumentError, match=message):
        make()
