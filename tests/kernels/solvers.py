"""One problem, several ways to solve it: the reference in NumPy, the seam on a backend, the bare C ABI.

A solver takes a stack with everything that goes in, and the gradients of everything that comes out; it gives
all results and all gradients as float64 arrays, in the order of `results` and `Problem.inputs` of stacks.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from abi_driver import solve_by_abi
from stacks import Problem, results

from gatestack import reference
from gatestack.kernels import library
from gatestack.kernels.backend import use_backend
from gatestack.kernels.spec import LayerSpec
from gatestack.reference import LayerMasks, MaskKind, kept_units, step_positions

Arrays = list[np.ndarray]


@dataclass(frozen=True, eq=False)
class Case:
    """How a stack is run: what is real, whether masks are drawn, and what is asked for."""

    lengths: tuple[int, ...] | None = None
    mask: np.ndarray | None = None
    training: bool = False
    seed: int = 0
    cells: bool = False
    recompute: bool = False

    def real(self, rows: int, steps: int) -> np.ndarray:
        """The mask (N, T), whichever way it was given."""
        return reference.real_steps(rows, steps, self.lengths, self.mask)


@dataclass(frozen=True, eq=False)
class Solution:
    """All results, and the gradients of Σ results · upstream."""

    results: Arrays
    gradients: Arrays


def draw_upstream(problem: Problem, case: Case, seed: int = 1) -> Arrays:
    """Random gradients of everything that comes out, float64."""
    rng = np.random.default_rng(seed)
    N, T, _ = problem.x.shape
    D = problem.spec.directions
    shapes = [(N, T, problem.spec.output_size)]
    shapes += [(D, N, size) for layer in problem.spec.layers for size in layer.state_sizes]
    if case.cells:
        shapes += [(N, T, D * layer.hidden_size) for layer in problem.spec.layers]
    return [rng.normal(size=shape) for shape in shapes]


def solve_by_reference(problem: Problem, case: Case, upstream: Arrays) -> Solution:
    """In NumPy float64, whatever the dtype of the problem."""
    spec = problem.spec
    real = case.real(*problem.x.shape[:2])
    cells = [
        [_cell(layer, dict(zip(d._fields, d, strict=True))) for d in weights]
        for layer, weights in zip(spec.layers, problem.weights, strict=True)
    ]
    states = [
        [tuple(_array(part)[d] for part in state) for d in range(spec.directions)]
        for state in problem.states
        if state is not None
    ]
    masks = [
        [_layer_masks(layer, number, d, real, case) for d in range(spec.directions)]
        for number, layer in enumerate(spec.layers)
    ]
    result = reference.stack_forward(
        cells,
        _array(problem.x),
        states or None,
        mask=real,
        residual=[layer.residual for layer in spec.layers],
        input_masks=[_input_mask(layer, number, real, case) for number, layer in enumerate(spec.layers)],
        masks=masks,
    )
    out = [result.output]
    out += [np.stack(parts) for layer in result.final for parts in zip(*layer, strict=True)]
    if case.cells:
        out += [np.concatenate([one.cells for one in layer], axis=2) for layer in result.layers]
    d_output, *rest = upstream
    d_final, d_cells = [], []
    for layer in spec.layers:
        parts = [rest.pop(0) for _ in layer.state_sizes]
        d_final.append([tuple(part[d] for part in parts) for d in range(spec.directions)])
    if case.cells:
        d_cells = [np.split(rest.pop(0), spec.directions, axis=2) for _ in spec.layers]
    found = reference.stack_backward(result, d_output, d_final, d_cells or None)
    gradients = [found.x]
    if states:
        gradients += [np.stack(parts) for layer in found.initial for parts in zip(*layer, strict=True)]
    for layer, weights in zip(found.weights, problem.weights, strict=True):
        for named, given in zip(layer, weights, strict=True):
            gradients += [named[n] for n, part in zip(given._fields, given, strict=True) if part is not None]
    return Solution(out, gradients)


def solve_by_seam(problem: Problem, case: Case, upstream: Arrays, backend: str, threads: int = 1) -> Solution:
    """By `run_stack` on a backend, with autograd."""
    inputs = list(problem.inputs())
    wanted = [part.requires_grad for part in inputs]
    for part in inputs:
        part.requires_grad_()
    options = {
        "lengths": None if case.lengths is None else torch.tensor(case.lengths, dtype=torch.int64),
        "mask": None if case.mask is None else torch.from_numpy(case.mask),
        "training": case.training,
        "seed": case.seed,
        "cells": case.cells,
        "recompute": case.recompute,
    }
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with use_backend(backend):
            found = results(problem.run(**options))
            seeds = [torch.from_numpy(part).to(problem.x.dtype) for part in upstream]
            given = torch.autograd.grad(found, inputs, seeds, allow_unused=True, materialize_grads=True)
    finally:
        torch.set_num_threads(before)
    for part, keep in zip(inputs, wanted, strict=True):
        part.requires_grad_(keep)
    return Solution([_array(part) for part in found], [_array(part) for part in given])


def solve(problem: Problem, case: Case, upstream: Arrays, solver: str, *, threads: int = 1) -> Solution:
    """By the solver of that name; see `SOLVERS`."""
    if solver == "abi":
        return Solution(*solve_by_abi(problem, case, upstream, threads=threads))
    return solve_by_seam(problem, case, upstream, solver, threads)


needs_kernels = pytest.mark.skipif(library.find() is None, reason="this installation has no compiled kernels")

KERNELS = (pytest.param("native", marks=needs_kernels), pytest.param("abi", marks=needs_kernels))
"""The compiled kernels, through the seam and without it."""

SOLVERS = ("torch", *KERNELS)
"""The seam on both backends, and the C ABI without the seam."""


def _array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


def _cell(layer: LayerSpec, named: dict[str, torch.Tensor | None]) -> reference.Cell:
    weights = {name: _array(part) for name, part in named.items() if part is not None}
    for name in ("bias_ih", "bias_hh"):
        weights.setdefault(name, np.zeros(layer.gates * layer.hidden_size))
    if layer.cell == "lstm":
        return reference.LSTMCell(**weights)
    if layer.cell.startswith("gru"):
        return reference.GRUCell(**weights, reset="before" if layer.cell == "gru_reset_before" else "after")
    return reference.RNNCell(**weights, activation="relu" if layer.cell == "rnn_relu" else "tanh")


def _input_mask(layer: LayerSpec, number: int, real: np.ndarray, case: Case) -> np.ndarray | float:
    if not (case.training and layer.input_dropout):
        return 1.0
    positions = step_positions(real) if layer.input_dropout_per_step else np.zeros((len(real), 1), np.int64)
    kept = kept_units(
        MaskKind.INPUT, layer.input_dropout, positions, layer.input_size, seed=case.seed, layer=number
    )
    return kept / (1 - layer.input_dropout)


def _layer_masks(layer: LayerSpec, number: int, direction: int, real: np.ndarray, case: Case) -> LayerMasks:
    P, H = layer.output_size, layer.hidden_size
    if not case.training:
        return LayerMasks(zoneout_hidden=1 - layer.zoneout_hidden, zoneout_cell=1 - layer.zoneout_cell)
    place = {"seed": case.seed, "layer": number, "direction": direction}
    each, once = step_positions(real), np.zeros((len(real), 1), np.int64)
    p, q = layer.hidden_dropout, layer.candidate_dropout
    return LayerMasks(
        hidden=kept_units(MaskKind.HIDDEN, p, once, P, **place)[:, 0] / (1 - p),
        candidate=kept_units(MaskKind.CANDIDATE, q, each, H, **place) / (1 - q),
        zoneout_hidden=kept_units(MaskKind.ZONEOUT_HIDDEN, layer.zoneout_hidden, each, P, **place).astype(
            float
        ),
        zoneout_cell=kept_units(MaskKind.ZONEOUT_CELL, layer.zoneout_cell, each, H, **place).astype(float),
    )
