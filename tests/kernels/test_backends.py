"""The choice of a backend; the compiled kernels and torch give the same, options and gradients alike."""

from __future__ import annotations

import logging

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from stacks import CASES, gradients, make_problem, make_spec, results

from gatestack.errors import ArgumentError, KernelError
from gatestack.kernels import backend, library, native_backend, torch_backend
from gatestack.kernels.backend import choose_backend, use_backend
from gatestack.nn import GRU, LSTM, Stack

needs_library = pytest.mark.skipif(library.find() is None, reason="no compiled kernels here")
T = 5
EXACT = {"rtol": 1e-10, "atol": 1e-10}


@st.composite
def calls(draw):
    """A stack with an option, and what a call of it may be given."""
    cell, option = draw(st.sampled_from(CASES))
    spec = make_spec(
        cell,
        option,
        layers=draw(st.integers(1, 3)),
        directions=draw(st.integers(1, 2)),
        size=draw(st.sampled_from([1, 3, 4, 7, 9, 17])),
        width=draw(st.sampled_from([1, 2, 8, 9])),
    )
    rows = draw(st.integers(1, 7))
    problem = make_problem(spec, rows, T, gradients=True, seed=draw(st.integers(0, 99)))
    if draw(st.booleans()):
        problem.states[draw(st.integers(0, len(spec.layers) - 1))] = None
    ragged = draw(st.sampled_from(["all", "lengths", "mask"]))
    options = {"training": draw(st.booleans()), "seed": draw(st.integers(0, 2**63 - 1))}
    if ragged == "lengths":
        options["lengths"] = torch.tensor(draw(st.lists(st.integers(0, T), min_size=rows, max_size=rows)))
    if ragged == "mask":
        options["mask"] = torch.tensor(
            draw(st.lists(st.lists(st.booleans(), min_size=T, max_size=T), min_size=rows, max_size=rows))
        )
    if cell == "lstm":
        options["cells"] = draw(st.booleans())
    return problem, options


@needs_library
@settings(max_examples=150)
@given(call=calls())
def test_the_kernels_give_the_numbers_of_torch(call) -> None:
    problem, options = call

    def run_on(module):
        return lambda: module.run(problem.spec, problem.x, problem.states, problem.weights, **options)

    native, peer = run_on(native_backend), run_on(torch_backend)
    for found, expected in zip(results(native()), results(peer()), strict=True):
        torch.testing.assert_close(found, expected, **EXACT)
    for found, expected in zip(gradients(problem, native), gradients(problem, peer), strict=True):
        torch.testing.assert_close(found, expected, **EXACT)


@needs_library
@pytest.mark.parametrize(("cell", "option"), CASES)
def test_gates_computed_again_give_the_same_gradients(cell, option) -> None:
    problem = make_problem(make_spec(cell, option), gradients=True)
    kept = gradients(problem, lambda: problem.run(training=True, seed=5))
    again = gradients(problem, lambda: problem.run(training=True, seed=5, recompute=True))
    for one, other in zip(kept, again, strict=True):
        torch.testing.assert_close(one, other, **EXACT)


@pytest.mark.parametrize(("cell", "option"), CASES)
def test_options_have_gradients_on_torch(cell, option) -> None:
    problem = make_problem(make_spec(cell, option, size=2), rows=2, steps=3, gradients=True)
    options = {"training": True, "seed": 3, "cells": cell == "lstm", "lengths": torch.tensor([3, 1])}

    def run(*_):
        return tuple(
            results(torch_backend.run(problem.spec, problem.x, problem.states, problem.weights, **options))
        )

    assert torch.autograd.gradcheck(run, tuple(problem.inputs()), fast_mode=True)


def test_a_backend_asked_for_is_used_or_refused(monkeypatch) -> None:
    half = torch.zeros(1, dtype=torch.float16)
    assert choose_backend(half) == "torch"
    with use_backend("torch"):
        assert choose_backend(torch.zeros(1)) == "torch"
        with use_backend("auto"):
            assert choose_backend(torch.zeros(1)) == ("native" if library.find() else "torch")
    with (
        pytest.raises(ArgumentError, match=r"'nativ'.*\n\nhint: did you mean 'native'"),
        use_backend("nativ"),
    ):
        pass
    with use_backend("native"):
        refusal, message = (ArgumentError, "are float16") if library.find() else (KernelError, "no compiled")
        with pytest.raises(refusal, match=message):
            choose_backend(half)
        assert choose_backend(torch.zeros(1)) == "native" if library.find() else True
    monkeypatch.setattr(backend, "_from_environment", lambda: "torch")
    assert choose_backend(torch.zeros(1)) == "torch"


def test_the_backend_is_read_from_the_environment(monkeypatch) -> None:
    read = backend._from_environment.__wrapped__
    monkeypatch.delenv("GATESTACK_BACKEND", raising=False)
    assert read() == "auto"
    monkeypatch.setenv("GATESTACK_BACKEND", "torch")
    assert read() == "torch"
    monkeypatch.setenv("GATESTACK_BACKEND", "cuda")
    with pytest.raises(ArgumentError, match="'GATESTACK_BACKEND' parameter of the environment is 'cuda'"):
        read()


def test_without_compiled_kernels_torch_computes_and_says_so(monkeypatch, caplog) -> None:
    monkeypatch.setattr(backend, "_has_library", lambda: False)
    backend.say_once.cache_clear()
    with caplog.at_level(logging.INFO, logger="gatestack"):
        layer = GRU(4, 2)
        for _ in range(2):
            layer(torch.zeros(1, 3, 2))
    assert "backend='torch'" in repr(layer)
    assert [record.message for record in caplog.records] == [
        "the backend 'torch' is used, because there are no compiled kernels (`gatestack doctor` says why)"
    ]


@needs_library
def test_the_repr_shows_a_backend_that_is_not_native() -> None:
    stack = Stack(LSTM(3, 2), GRU(3))
    assert "backend" not in repr(stack)
    assert repr(stack.half()).count("backend='torch'") == 2
    with use_backend("native"):
        assert "backend='none'" in repr(stack), "a repr does not raise"


@needs_library
def test_transforms_of_torch_func_run_on_torch() -> None:
    layer = GRU(3, 2, dtype=torch.float64)
    x = torch.randn(2, 4, 2, dtype=torch.float64)

    def loss(x):
        return layer(x)[0].square().sum()

    given = x.clone().requires_grad_()
    loss(given).backward()
    torch.testing.assert_close(torch.func.grad(loss)(x), given.grad, **EXACT)


@needs_library
@pytest.mark.filterwarnings("ignore")  # torch warns of torch.jit, and of constants in a trace
def test_a_trace_of_torch_jit_computes_what_the_layer_does() -> None:
    layer, x = LSTM(5, input_size=3).requires_grad_(False), torch.randn(2, 4, 3)
    with torch.no_grad():
        expected, _ = layer(x)
        traced = torch.jit.trace(lambda given: layer(given)[0], (x,), check_trace=False)
        other = torch.randn(2, 4, 3)
        torch.testing.assert_close(traced(x), expected)
        torch.testing.assert_close(traced(other), layer(other)[0])


@needs_library
@pytest.mark.filterwarnings("ignore")  # torch's rules for forward mode import torch.jit, which warns
def test_a_forward_mode_derivative_is_not_lost() -> None:
    layer, x = GRU(5, input_size=3), torch.randn(2, 4, 3)
    with torch.no_grad(), torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, torch.ones_like(x))
        tangent = torch.autograd.forward_ad.unpack_dual(layer(dual)[0]).tangent
    assert tangent is not None
    step = 1e-3
    slope = (layer(x + step)[0] - layer(x - step)[0]) / (2 * step)
    torch.testing.assert_close(tangent, slope, rtol=1e-2, atol=1e-2)


@needs_library
@pytest.mark.parametrize("wide", [torch.tensor([[5, 0], [2, 1], [3, 9]]), torch.tensor([[4]]).expand(3, 2)])
def test_lengths_may_lie_apart(wide) -> None:
    layer, x = LSTM(4, input_size=2), torch.randn(3, 5, 2)
    expected, _ = layer(x, lengths=wide[:, 0].tolist())
    found, _ = layer(x, lengths=wide[:, 0])
    assert torch.equal(found, expected)


@needs_library
@pytest.mark.parametrize("name", ["lengths", "mask"])
def test_the_backward_pass_sees_the_lengths_of_the_forward_pass(name) -> None:
    layer, x = LSTM(4, input_size=2), torch.randn(3, 5, 2)
    steps = torch.tensor([5, 2, 3])
    given = steps if name == "lengths" else torch.arange(5) < steps[:, None]
    found = []
    for spoil in (False, True):
        mine = given.clone()
        output, _ = layer(x, **{name: mine})
        if spoil:
            mine.copy_(torch.flip(mine, [0]))
        found.append(torch.autograd.grad(output.square().sum(), list(layer.parameters())))
    for expected, other in zip(*found, strict=True):
        assert torch.equal(expected, other)


@needs_library
def test_a_parameter_may_be_given_other_data_before_the_backward_pass() -> None:
    layer, x = LSTM(4, input_size=2), torch.randn(3, 5, 2, requires_grad=True)
    expected = torch.autograd.grad(layer(x)[0].square().sum(), x)
    output, _ = layer(x)
    for parameter in layer.parameters():
        parameter.data = torch.full_like(parameter, torch.nan)
    found = torch.autograd.grad(output.square().sum(), x)
    assert torch.equal(found[0], expected[0])


@needs_library
def test_inference_tensors_may_join_parameters() -> None:
    layer, x = LSTM(4, input_size=2), torch.randn(3, 5, 2)
    with torch.no_grad():
        expected, _ = layer(x)
    with torch.inference_mode():
        weight = layer.weight_hh_l0.clone()
        del layer.weight_hh_l0
        layer.weight_hh_l0 = weight
        found, _ = layer(x)
    assert torch.equal(found, expected)
