"""The suite's own checks of a recurrent layer, for any implementation of one.

Each check is a function that takes an `Implementation` and raises AssertionError when it finds a fault.
`CHECKS` has them by name. They are run on the reference (test_cells.py), on broken copies of it, which they
must tell from the true one (test_broken_cells.py), and can be run on anything else through an adapter:

    def run(problem: Problem) -> Outcome: ...      # float64 in, float64 out, results and gradients
    layer = Implementation(run, VARIANTS["lstm"], cells=False)

    @pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
    def test_layer(check): check(layer)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from .oracles import packed_oracle, row_oracle
from .problems import MASK, RAGGED, Array, Implementation, Outcome, Problem, make_problem

IN_TORCH = ("lstm", "lstm-projection", "gru-after", "rnn-tanh", "rnn-relu")


def check_parity_all_real(implementation: Implementation) -> None:
    """Without padding, results are those of torch (of the single step by hand where torch has none)."""
    for reverse in (False, True):
        problem = make_problem(implementation, reverse=reverse)
        expected = packed_oracle(problem) if problem.variant.name in IN_TORCH else row_oracle(problem)
        _same_results(implementation.run(problem), expected, implementation.tolerance)


def check_parity_lengths(implementation: Implementation) -> None:
    """With lengths, 0 and 1 among them, results are those of torch on packed sequences."""
    for reverse in (False, True):
        problem = make_problem(implementation, reverse=reverse, lengths=RAGGED)
        expected = packed_oracle(problem) if problem.variant.name in IN_TORCH else row_oracle(problem)
        _same_results(implementation.run(problem), expected, implementation.tolerance)


def check_parity_mask(implementation: Implementation) -> None:
    """With gaps anywhere, results are those of rows without the gaps; c at every step is compared, too."""
    for problem in _directions(implementation, mask=MASK):
        _same_results(implementation.run(problem), row_oracle(problem), implementation.tolerance)


def check_gradient_parity(implementation: Implementation) -> None:
    """All gradients are those of autograd: without padding, with lengths, with a mask."""
    for lengths, mask in ((None, None), (RAGGED, None), (None, MASK)):
        for problem in _directions(implementation, lengths=lengths, mask=mask):
            _same_gradients(implementation.run(problem), row_oracle(problem), implementation.tolerance)


def check_finite_differences(implementation: Implementation) -> None:
    """Every gradient is the slope of the implementation's own results, entry by entry.

    Central differences with a step of 1e-6: the error of the formula is near 1e-12, that of rounding
    near 1e-10, so 1e-7 leaves room and is far below any wrong gradient.
    """
    ragged = make_problem(implementation, rows=2, steps=3, lengths=(3, 1), seed=1)
    gaps = make_problem(implementation, rows=2, steps=3, mask=MASK[2:, :3], reverse=True, seed=2)
    for problem in (ragged, gaps):
        outcome = implementation.run(problem)
        compare = {"x": (problem.x, outcome.d_x)}
        compare |= {name: (problem.weights[name], outcome.d_weights[name]) for name in problem.weights}
        for index, part in enumerate(problem.initial):
            compare[f"initial{index}"] = (part, outcome.d_initial[index])
        for name, (value, gradient) in compare.items():
            slopes = np.zeros_like(value)
            for entry in np.ndindex(*value.shape):
                up, down = (_loss(implementation, _moved(problem, name, entry, by)) for by in (1e-6, -1e-6))
                slopes[entry] = (up - down) / 2e-6
            np.testing.assert_allclose(gradient, slopes, rtol=1e-6, atol=1e-7, err_msg=f"gradient of {name}")


def check_lengths_are_truncation(implementation: Implementation) -> None:
    """A row of length n is the row cut after n steps: results and gradients."""
    for problem in _directions(implementation, lengths=RAGGED):
        outcome = implementation.run(problem)
        for row, length in enumerate(RAGGED):
            if length == 0:
                continue
            one = problem.rows(slice(row, row + 1))
            cut = implementation.run(replace(one.steps(slice(0, length)), mask=None))
            _close(outcome.output[row, :length], cut.output[0], "output")
            _close(outcome.output[row, length:], 0.0, "output after the end")
            _close(outcome.d_x[row, :length], cut.d_x[0], "gradient of x")
            _close(outcome.d_x[row, length:], 0.0, "gradient of x after the end")
            for whole, part in zip(outcome.final, cut.final, strict=True):
                _close(whole[row], part[0], "final state")
            for whole, part in zip(outcome.d_initial, cut.d_initial, strict=True):
                _close(whole[row], part[0], "gradient of the initial state")


def check_empty_rows(implementation: Implementation) -> None:
    """A row without a real step returns its initial state, and passes its gradient through unchanged."""
    for problem in _directions(implementation, lengths=(0, 2, 0, 5)):
        outcome = implementation.run(problem)
        for row in (0, 2):
            _close(outcome.output[row], 0.0, "output")
            for final, initial in zip(outcome.final, problem.initial, strict=True):
                _close(final[row], initial[row], "final state")
            for d_initial, d_final in zip(outcome.d_initial, problem.d_final, strict=True):
                _close(d_initial[row], d_final[row], "gradient of the initial state")


def check_batch_is_loop(implementation: Implementation) -> None:
    """A batch is its rows one by one; gradients of weights add up over the rows."""
    for problem in _directions(implementation, mask=MASK):
        outcome = implementation.run(problem)
        rows = [implementation.run(problem.rows(slice(row, row + 1))) for row in range(len(problem.x))]
        _close(outcome.output, np.concatenate([row.output for row in rows]), "output")
        _close(outcome.d_x, np.concatenate([row.d_x for row in rows]), "gradient of x")
        for index, final in enumerate(outcome.final):
            _close(final, np.concatenate([row.final[index] for row in rows]), "final state")
        for name, gradient in outcome.d_weights.items():
            _close(gradient, sum(row.d_weights[name] for row in rows), f"gradient of {name}")


def check_single_steps(implementation: Implementation) -> None:
    """T steps are T calls of one step each that hand the state on; c at every step is the state's c."""
    for problem in _directions(implementation, mask=MASK):
        outcome = implementation.run(problem)
        state = problem.initial
        steps = problem.x.shape[1]
        for t in reversed(range(steps)) if problem.reverse else range(steps):
            one = implementation.run(replace(problem.steps(slice(t, t + 1)), initial=state))
            state = one.final
            _close(outcome.output[:, t], one.output[:, 0], f"output at step {t}")
            if outcome.cells is not None:
                c = np.where(problem.real[:, t, None], state[1], 0.0)
                _close(outcome.cells[:, t], c, f"cell state at step {t}")
        for whole, last in zip(outcome.final, state, strict=True):
            _close(whole, last, "final state")


def check_reversed_twice(implementation: Implementation) -> None:
    """Each row turned round within its length and run in reverse is the row run forward."""
    forward = make_problem(implementation, lengths=RAGGED)
    turned = replace(
        forward,
        x=_turned(forward.x),
        d_output=_turned(forward.d_output),
        d_cells=None if forward.d_cells is None else _turned(forward.d_cells),
        masks={name: m if m.ndim == 2 else _turned(m) for name, m in forward.masks.items()},
        reverse=True,
    )
    one, two = implementation.run(forward), implementation.run(turned)
    _close(one.output, _turned(two.output), "output")
    _close(one.d_x, _turned(two.d_x), "gradient of x")
    for a, b in zip(one.final, two.final, strict=True):
        _close(a, b, "final state")
    for name, gradient in one.d_weights.items():
        _close(gradient, two.d_weights[name], f"gradient of {name}")


def check_padding_is_ignored(implementation: Implementation) -> None:
    """What stands in steps that are not real changes nothing, be it NaN: results and gradients."""
    for problem in _directions(implementation, mask=MASK):
        spoilt = replace(problem, x=np.where(problem.real[:, :, None], problem.x, np.nan))
        clean, other = implementation.run(problem), implementation.run(spoilt)
        _same_results(other, clean, 1e-14)
        _same_gradients(other, clean, 1e-14)


CHECKS: dict[str, Callable[[Implementation], None]] = {
    "parity_all_real": check_parity_all_real,
    "parity_lengths": check_parity_lengths,
    "parity_mask": check_parity_mask,
    "gradient_parity": check_gradient_parity,
    "finite_differences": check_finite_differences,
    "lengths_are_truncation": check_lengths_are_truncation,
    "empty_rows": check_empty_rows,
    "batch_is_loop": check_batch_is_loop,
    "single_steps": check_single_steps,
    "reversed_twice": check_reversed_twice,
    "padding_is_ignored": check_padding_is_ignored,
}


def _directions(
    implementation: Implementation,
    lengths: tuple[int, ...] | None = None,
    mask: np.ndarray | None = None,
) -> Iterator[Problem]:
    for reverse in (False, True):
        yield make_problem(implementation, reverse=reverse, lengths=lengths, mask=mask)


def _close(found: Array, expected: Array | float, name: str, tolerance: float = 1e-12) -> None:
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance, err_msg=name)


def _same_results(found: Outcome, expected: Outcome, tolerance: float) -> None:
    _close(found.output, expected.output, "output", tolerance)
    for index, (one, other) in enumerate(zip(found.final, expected.final, strict=True)):
        _close(one, other, f"final state {index}", tolerance)
    if found.cells is not None and expected.cells is not None:
        _close(found.cells, expected.cells, "cell states", tolerance)


def _same_gradients(found: Outcome, expected: Outcome, tolerance: float) -> None:
    _close(found.d_x, expected.d_x, "gradient of x", tolerance)
    for index, (one, other) in enumerate(zip(found.d_initial, expected.d_initial, strict=True)):
        _close(one, other, f"gradient of initial state {index}", tolerance)
    assert found.d_weights.keys() == expected.d_weights.keys()
    for name, gradient in found.d_weights.items():
        _close(gradient, expected.d_weights[name], f"gradient of {name}", tolerance)


def _turned(values: Array) -> Array:
    """Each row back to front within its length: "a b c _" becomes "c b a _"."""
    turned = values.copy()
    for row, length in enumerate(RAGGED):
        turned[row, :length] = values[row, :length][::-1]
    return turned


def _moved(problem: Problem, name: str, entry: tuple[int, ...], by: float) -> Problem:
    """The problem with one number of one input changed by a little."""
    if name == "x":
        x = problem.x.copy()
        x[entry] += by
        return replace(problem, x=x)
    if name in problem.weights:
        weight = problem.weights[name].copy()
        weight[entry] += by
        return replace(problem, weights={**problem.weights, name: weight})
    initial = [part.copy() for part in problem.initial]
    initial[int(name.removeprefix("initial"))][entry] += by
    return replace(problem, initial=tuple(initial))


def _loss(implementation: Implementation, problem: Problem) -> float:
    """The number whose gradients an outcome holds."""
    outcome = implementation.run(replace(problem, results_only=True))
    loss = np.sum(outcome.output * problem.d_output)
    for part, gradient in zip(outcome.final, problem.d_final, strict=True):
        loss += np.sum(part * gradient)
    if problem.d_cells is not None:
        loss += np.sum(outcome.cells * problem.d_cells)
    return float(loss)
