"""The handle that steps streams: to the bit what a whole call gives, state in place, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from stacks import CASES, Problem, make_problem, make_spec

from gatestack.errors import ArgumentError
from gatestack.kernels import StackStepper, library, native_backend
from gatestack.kernels.spec import LayerSpec, StackSpec
from gatestack.nn import GRU, LSTM, LSTMForm, Stack

pytestmark = pytest.mark.skipif(library.find() is None, reason="no compiled kernels here")

N, T = 5, 6


def stepper_of(problem: Problem, **options) -> StackStepper:
    """A stepper that starts from the states of a problem."""
    stepper = StackStepper(problem.spec, problem.weights, streams=len(problem.x), **options)
    for live, given in zip(stepper.state, problem.states, strict=True):
        for part, value in zip(live, given, strict=True):
            part[...] = value.numpy()
    return stepper


@pytest.mark.parametrize(("cell", "option"), CASES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_steps_are_the_sequence_to_the_bit(cell, option, dtype) -> None:
    problem = make_problem(make_spec(cell, option, layers=3), N, T, dtype=getattr(torch, dtype))
    whole = native_backend.run(problem.spec, problem.x, problem.states, problem.weights)
    stepper = stepper_of(problem, dtype=dtype)
    for t in range(T):
        assert np.array_equal(stepper.step(problem.x[:, t].numpy()), whole.output[:, t].numpy())
    for live, final in zip(stepper.state, whole.finals, strict=True):
        for part, value in zip(live, final, strict=True):
            assert np.array_equal(part, value.numpy())


def test_streams_that_do_not_step_stay_where_they_are() -> None:
    problem = make_problem(make_spec("lstm"), N, T, dtype=torch.float32)
    real = torch.rand(N, T, generator=torch.Generator().manual_seed(0)) < 0.5
    whole = native_backend.run(problem.spec, problem.x, problem.states, problem.weights, mask=real)
    stepper = stepper_of(problem)
    for t in range(T):
        output = stepper.step(problem.x[:, t].numpy(), real=real[:, t].numpy())
        assert np.array_equal(output, whole.output[:, t].numpy())
    assert np.array_equal(stepper.state[1][1], whole.finals[1][1].numpy())


def test_tensors_come_back_as_tensors_on_the_same_memory() -> None:
    problem = make_problem(make_spec("gru"), N, T, dtype=torch.float32)
    one, other = stepper_of(problem), stepper_of(problem)
    for t in range(T):
        x = problem.x[:, t]
        found = one.step(x)
        assert isinstance(found, torch.Tensor)
        assert np.array_equal(found.numpy(), other.step(x.numpy()))
    assert found.data_ptr() == one.output.ctypes.data


def test_a_saved_state_can_be_restored_and_reset() -> None:
    problem = make_problem(make_spec("lstm", "projection"), N, T, dtype=torch.float32)
    stepper, x = stepper_of(problem), problem.x[:, 0].numpy()
    saved = [[part.copy() for part in parts] for parts in stepper.state]
    first = stepper.step(x).copy()
    assert not np.array_equal(stepper.step(x), first)
    for live, kept in zip(stepper.state, saved, strict=True):
        for part, value in zip(live, kept, strict=True):
            part[...] = value
    assert np.array_equal(stepper.step(x), first)
    stepper.reset(np.arange(N) == 2)
    assert not stepper.state[0][0][0, 2].any()
    assert stepper.state[0][0][0, 3].any()
    stepper.reset()
    fresh = StackStepper(problem.spec, problem.weights, streams=N)
    assert np.array_equal(stepper.step(x), fresh.step(x))


def test_the_weights_are_those_of_the_making() -> None:
    layer = GRU(4, 3)
    stepper = StackStepper(StackSpec((layer.spec,)), [layer.weights()])
    x = np.ones((1, 3), dtype=np.float32)
    first = stepper.step(x).copy()
    with torch.no_grad():
        layer.weight_ih_l0.mul_(3)
    stepper.reset()
    assert np.array_equal(stepper.step(x), first)


def test_a_stack_gives_its_stepper() -> None:
    stack = Stack(LSTM(5, form=LSTMForm(layer_norm=True)), LSTM(5), input_size=3, residual=True, dropout=0.5)
    x = torch.randn(2, T, 3)
    expected, _ = stack.eval()(x)
    stepper = stack.stepper(streams=2)
    for t in range(T):
        assert torch.equal(stepper.step(x[:, t]), expected[:, t])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: StackStepper(StackSpec((LayerSpec("gru", 3, 4),), 2), []), "a spec of two directions"),
        (
            lambda: StackStepper(StackSpec((LayerSpec("gru", 3, 4),)), [GRU(4, 2).weights()]),
            r"weight_ih of layer 0 has shape \(12, 2\) — expected \(12, 3\)",
        ),
        (
            lambda: StackStepper(
                StackSpec((LayerSpec("lstm", 3, 4),)), [LSTM(4, 3, form=LSTMForm(peepholes=True)).weights()]
            ),
            r"peephole of layer 0 has shape \(3, 4\) — expected none",
        ),
        (
            lambda: StackStepper(
                StackSpec((LayerSpec("gru", 3, 4, layer_norm=True),)), [GRU(4, 3).weights()]
            ),
            "layer 0 has no gain_ih",
        ),
        (
            lambda: StackStepper(StackSpec((GRU(4, 3).spec,)), [GRU(4, 3).weights()], streams=0),
            "'streams' parameter of StackStepper is 0",
        ),
        (
            lambda: Stack(GRU(4), input_size=3).stepper(2).step(np.zeros((1, 3))),
            r"x has shape \(1, 3\) — expected \(streams, features\) = \(2, 3\)",
        ),
        (lambda: Stack(GRU(4, bidirectional=True), input_size=3).stepper(), "two directions"),
        (lambda: Stack(GRU(4)).stepper(), "no input_size yet"),
    ],
)
def test_what_does_not_fit_is_refused(call, message) -> None:
    with pytest.raises(ArgumentError, match=message):
        call()


def test_some_streams_step_on_three_threads_within_the_scratch_of_all() -> None:
    # Fewer real steps must not ask for more scratch: here two groups a thread on two threads need more than
    # one on each of three.
    spec = StackSpec((LayerSpec("lstm", 128, 128),))
    problem = make_problem(spec, 50, 1, dtype=torch.float32)
    real = np.arange(50) < 20
    one, three = (stepper_of(problem, threads=threads) for threads in (1, 3))
    assert np.array_equal(
        one.step(problem.x[:, 0].numpy(), real=real), three.step(problem.x[:, 0].numpy(), real=real)
    )
    call, library_ = three._call, three._library
    call.mask = None
    whole = library_.sizes(call).scratch_forward
    three._real[...] = real
    call.mask = three._real.ctypes.data
    assert library_.sizes(call).scratch_forward <= whole + 8 * len(real)  # the steps' places in time
    call.mask = None
