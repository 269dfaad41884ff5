"""Faults that compiled kernels could have, played at the seam; beside them, test_native_mutants.py breaks the
C++ itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from reference.problems import Outcome, Problem
from seam_adapter import BrokenSeam

PLAIN = ("lstm", "gru-after", "gru-before", "rnn-tanh", "rnn-relu")
GATED = ("lstm", "gru-after", "gru-before")
NORMED = ("lstm-norm", "gru-after-norm", "rnn-tanh-norm")
FORWARD = ("parity_all_real", "parity_lengths", "parity_mask")
GRADIENTS = ("gradient_parity", "finite_differences")


def _swap_gates(first: int, second: int) -> Callable[[Problem], Problem]:
    def before(problem: Problem) -> Problem:
        weights = dict(problem.weights)
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            blocks = np.split(weights[name], problem.variant.gates)
            blocks[first], blocks[second] = blocks[second], blocks[first]
            weights[name] = np.concatenate(blocks)
        return replace(problem, weights=weights)

    return before


def _without(name: str) -> Callable[[Problem], Problem]:
    def before(problem: Problem) -> Problem:
        return replace(problem, weights={**problem.weights, name: np.zeros_like(problem.weights[name])})

    return before


def _gain_of_one(name: str) -> Callable[[Problem], Problem]:
    def before(problem: Problem) -> Problem:
        return replace(problem, weights={**problem.weights, name: np.ones_like(problem.weights[name])})

    return before


def _no_initial_state(problem: Problem) -> Problem:
    return replace(problem, initial=tuple(np.zeros_like(part) for part in problem.initial))


def _lengths_off_by(one: int) -> Callable[[Problem], Problem]:
    def before(problem: Problem) -> Problem:
        if problem.lengths is None:
            return problem
        return replace(problem, lengths=np.clip(problem.lengths + one, 0, problem.x.shape[1]))

    return before


def _mask_as_lengths(problem: Problem) -> Problem:
    return (
        problem
        if problem.mask is None
        else replace(problem, mask=np.sort(problem.mask, axis=1)[:, ::-1].copy())
    )


def _one_row_for_another(problem: Problem) -> Problem:
    x = problem.x.copy()
    x[-1] = x[0]
    return replace(problem, x=x)


def _no_gradient_of(name: str) -> Callable[[Problem, Outcome], Outcome]:
    def after(_: Problem, outcome: Outcome) -> Outcome:
        if name not in outcome.d_weights:
            return outcome
        return replace(outcome, d_weights={**outcome.d_weights, name: np.zeros_like(outcome.d_weights[name])})

    return after


def _no_gradient_of_one_gate(_: Problem, outcome: Outcome) -> Outcome:
    if not outcome.d_weights:
        return outcome
    spoilt = outcome.d_weights["weight_hh"].copy()
    spoilt[-1] = 0
    return replace(outcome, d_weights={**outcome.d_weights, "weight_hh": spoilt})


def _no_gradient_of_x_at_the_first_step(_: Problem, outcome: Outcome) -> Outcome:
    if outcome.d_x is None:
        return outcome
    d_x = outcome.d_x.copy()
    d_x[:, 0] = 0
    return replace(outcome, d_x=d_x)


def _no_gradient_of_the_initial_state(_: Problem, outcome: Outcome) -> Outcome:
    return replace(outcome, d_initial=tuple(np.zeros_like(part) for part in outcome.d_initial))


def _last_output_as_final_state(problem: Problem, outcome: Outcome) -> Outcome:
    last = outcome.output[:, 0 if problem.reverse else -1]
    return replace(outcome, final=(last, *outcome.final[1:]))


def _one_bias_gradient_doubled(_: Problem, outcome: Outcome) -> Outcome:
    if not outcome.d_weights:
        return outcome
    doubled = {**outcome.d_weights, "bias_hh": 2 * outcome.d_weights["bias_hh"]}
    return replace(outcome, d_weights=doubled)


def _final_rows_in_the_order_of_lengths(problem: Problem, outcome: Outcome) -> Outcome:
    order = np.argsort(-problem.real.sum(axis=1), kind="stable")
    return replace(outcome, final=tuple(part[order] for part in outcome.final))


def _gradient_of_final_state_lost(problem: Problem) -> Problem:
    return replace(problem, d_final=tuple(np.zeros_like(part) for part in problem.d_final))


def _gradient_of_cells_lost(problem: Problem) -> Problem:
    return problem if problem.d_cells is None else replace(problem, d_cells=np.zeros_like(problem.d_cells))


def _float32_inside(problem: Problem) -> Problem:
    return replace(problem, x=problem.x.astype(np.float32).astype(np.float64))


BROKEN_KERNELS = (
    BrokenSeam("gates 0 and 1 swapped", GATED, FORWARD, before=_swap_gates(0, 1)),
    BrokenSeam("the last two gates swapped", GATED, FORWARD, before=_swap_gates(-1, -2)),
    *(
        BrokenSeam(f"{name} ignored", PLAIN, FORWARD, before=_without(name))
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    ),
    BrokenSeam("peepholes ignored", ("lstm-peephole",), FORWARD, before=_without("peephole")),
    BrokenSeam("bias_c ignored", ("lstm-norm",), FORWARD, before=_without("bias_c")),
    BrokenSeam("gain_c ignored", ("lstm-norm",), FORWARD, before=_gain_of_one("gain_c")),
    *(
        BrokenSeam(f"{name} ignored", NORMED, FORWARD, before=_gain_of_one(name))
        for name in ("gain_ih", "gain_hh")
    ),
    BrokenSeam(
        "projection with its units in reverse",
        ("lstm-projection",),
        FORWARD,
        before=lambda p: replace(
            p, weights={**p.weights, "weight_hr": p.weights["weight_hr"][:, ::-1].copy()}
        ),
    ),
    BrokenSeam("initial state ignored", PLAIN, (*FORWARD, "empty_rows"), before=_no_initial_state),
    BrokenSeam(
        "reverse ignored",
        PLAIN,
        (*FORWARD, "reversed_twice"),
        before=lambda p: replace(p, reverse=False),
    ),
    BrokenSeam("lengths one too short", PLAIN, ("parity_lengths",), before=_lengths_off_by(-1)),
    BrokenSeam(
        "lengths one too long", PLAIN, ("parity_lengths", "lengths_are_truncation"), before=_lengths_off_by(1)
    ),
    BrokenSeam("lengths ignored", PLAIN, ("parity_lengths",), before=lambda p: replace(p, lengths=None)),
    BrokenSeam("a mask read as lengths", PLAIN, ("parity_mask",), before=_mask_as_lengths),
    BrokenSeam(
        "a row computed from another's input", PLAIN, (*FORWARD, "batch_is_loop"), before=_one_row_for_another
    ),
    BrokenSeam("float32 inside", PLAIN, FORWARD, before=_float32_inside),
    BrokenSeam(
        "the last output as the final state",
        PLAIN,
        ("parity_lengths", "empty_rows"),
        after=_last_output_as_final_state,
    ),
    BrokenSeam(
        "final states left in the order of lengths",
        PLAIN,
        ("parity_lengths",),
        after=_final_rows_in_the_order_of_lengths,
    ),
    *(
        BrokenSeam(f"no gradient of {name}", PLAIN, GRADIENTS, after=_no_gradient_of(name))
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    ),
    BrokenSeam(
        "no gradient of the peepholes", ("lstm-peephole",), GRADIENTS, after=_no_gradient_of("peephole")
    ),
    BrokenSeam(
        "no gradient of weight_hr", ("lstm-projection",), GRADIENTS, after=_no_gradient_of("weight_hr")
    ),
    *(
        BrokenSeam(f"no gradient of {name}", variants, GRADIENTS, after=_no_gradient_of(name))
        for name, variants in (
            ("gain_ih", NORMED),
            ("gain_hh", NORMED),
            ("gain_c", NORMED[:1]),
            ("bias_c", NORMED[:1]),
        )
    ),
    BrokenSeam("no gradient of the last row of weight_hh", PLAIN, GRADIENTS, after=_no_gradient_of_one_gate),
    BrokenSeam(
        "no gradient of x at the first step", PLAIN, GRADIENTS, after=_no_gradient_of_x_at_the_first_step
    ),
    BrokenSeam("no gradient of the initial state", PLAIN, GRADIENTS, after=_no_gradient_of_the_initial_state),
    BrokenSeam("the gradient of bias_hh doubled", PLAIN, GRADIENTS, after=_one_bias_gradient_doubled),
    BrokenSeam(
        "gradient of the final state lost", PLAIN, ("gradient_parity",), before=_gradient_of_final_state_lost
    ),
    BrokenSeam(
        "gradient of the cell states lost", ("lstm",), ("gradient_parity",), before=_gradient_of_cells_lost
    ),
    BrokenSeam(
        "zoneout ignored",
        ("lstm-expected", "gru-after-expected"),
        FORWARD,
        before=lambda p: replace(p, variant=replace(p.variant, masks=())),
    ),
    BrokenSeam(
        "zoneout of c ignored",
        ("lstm-expected",),
        FORWARD,
        before=lambda p: replace(p, variant=replace(p.variant, masks=("zoneout_hidden",))),
    ),
)
