"""What the kernels promise to autograd: versions, wanted gradients, dtypes, second derivatives, weights."""

from __future__ import annotations

import gc
import logging

import pytest
import torch
from stacks import gradients, make_problem, make_spec, results

from gatestack.kernels import backend, library, packed_weights
from gatestack.kernels.backend import use_backend
from gatestack.nn import GRU, LSTM, RNN, Stack

pytestmark = pytest.mark.skipif(library.find() is None, reason="no compiled kernels here")

N, T = 3, 5


def stack_and_input(dtype: torch.dtype = torch.float32) -> tuple[Stack, torch.Tensor]:
    torch.manual_seed(0)
    return Stack(LSTM(6, dtype=dtype), LSTM(6, dtype=dtype), input_size=4), torch.randn(N, T, 4, dtype=dtype)


def test_changing_the_output_in_place_is_noticed() -> None:
    stack, x = stack_and_input()
    output, _ = stack(x)
    loss = output.square().sum()
    with torch.no_grad():
        output.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_changing_a_weight_before_the_backward_pass_is_noticed() -> None:
    stack, x = stack_and_input()
    loss = stack(x)[0].sum()
    with torch.no_grad():
        stack.layers[0].weight_hh_l0.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_only_what_wants_a_gradient_gets_one() -> None:
    stack, x = stack_and_input()
    frozen = stack.layers[0].weight_ih_l0.requires_grad_(False)
    bias = stack.layers[1].bias_hh_l0.requires_grad_(False)
    stack(x)[0].sum().backward()
    assert frozen.grad is None
    assert bias.grad is None
    assert all(p.grad is not None for p in stack.parameters() if p.requires_grad)
    kept = stack.layers[0].weight_hh_l0.grad.clone()
    stack.zero_grad()
    frozen.requires_grad_(True)
    stack(x.requires_grad_())[0].sum().backward()
    torch.testing.assert_close(stack.layers[0].weight_hh_l0.grad, kept)
    assert x.grad is not None


@pytest.mark.parametrize("used", [0, 1, 2, 3, 4])
def test_a_loss_may_use_any_one_result(used) -> None:
    problem = make_problem(make_spec("lstm", directions=2), gradients=True)
    inputs = list(problem.inputs())

    def slopes():
        return torch.autograd.grad(results(problem.run())[used].square().sum(), inputs, allow_unused=True)

    found = slopes()
    with use_backend("torch"):
        expected = slopes()
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(
            one, torch.zeros_like(one) if other is None else other, rtol=1e-10, atol=1e-10
        )


def test_a_graph_may_be_walked_twice() -> None:
    problem = make_problem(make_spec("gru"), gradients=True)
    loss = problem.run().output.square().sum()
    first, second = (torch.autograd.grad(loss, problem.x, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x.transpose(0, 1),
        lambda x: x[:, ::2],
        lambda x: x[:, :, 1:4],
        lambda x: x[:, :1].expand(-1, 4, -1),
        lambda x: x.permute(0, 2, 1),
        lambda x: x.flip(1)[1:],
    ],
)
def test_any_view_may_come_in(view) -> None:
    x = view(torch.randn(3, 5, 6, dtype=torch.float64))
    layer = GRU(4, x.shape[2], dtype=torch.float64)
    assert torch.equal(layer(x)[0], layer(x.contiguous())[0])
    grad = view(torch.randn(3, 5, 6, dtype=torch.float64))[:, :, :1].expand(-1, -1, 4)
    found, expected = (
        torch.autograd.grad(layer(x)[0], layer.weight_ih_l0, given)[0] for given in (grad, grad.contiguous())
    )
    assert torch.equal(found, expected)


@pytest.mark.parametrize("cell", ["lstm", "gru", "gru_reset_before", "rnn_tanh"])
def test_second_derivatives_are_computed_on_torch_and_it_says_so(cell, caplog) -> None:
    problem = make_problem(make_spec(cell, size=3), rows=2, steps=3, gradients=True)
    inputs = tuple(problem.inputs())
    backend.say_once.cache_clear()
    with caplog.at_level(logging.INFO, logger="gatestack"):
        assert torch.autograd.gradgradcheck(lambda *_: tuple(results(problem.run())), inputs, fast_mode=True)
    assert [record.message for record in caplog.records].count(
        "second derivatives (create_graph=True) are computed with the backend 'torch'"
    ) == 1


@pytest.mark.parametrize(("ours", "peer"), [(LSTM, torch.nn.LSTM), (GRU, torch.nn.GRU), (RNN, torch.nn.RNN)])
@pytest.mark.parametrize("x_dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("train", [True, False])
def test_under_autocast_results_have_the_dtypes_of_torch(ours, peer, x_dtype, train) -> None:
    layer, module = ours(16, 8), peer(8, 16, batch_first=True)
    module.load_state_dict(layer.state_dict())
    x = torch.randn(4, 6, 8)
    exact, _ = layer(x)
    with torch.set_grad_enabled(train), torch.autocast("cpu", dtype=torch.bfloat16):
        output, state = layer(x.to(x_dtype))
        expected, expected_state = module(x.to(x_dtype))
    assert output.dtype == expected.dtype
    for one, other in zip(
        *(part if isinstance(part, tuple) else (part,) for part in (state, expected_state)), strict=True
    ):
        assert one.dtype == other.dtype
    # Products of numbers with 8 bits: each of the 6 steps adds errors of 2^-9 of numbers near 1.
    torch.testing.assert_close(output.float(), exact, rtol=0, atol=0.05)
    if train:
        output.float().square().sum().backward()
        assert {p.grad.dtype for p in layer.parameters()} == {torch.float32}


def test_layers_of_bfloat16_train_and_predict() -> None:
    stack, x = stack_and_input()
    exact = stack(x)[0]
    exact.square().sum().backward()
    slopes = [parameter.grad.clone() for parameter in stack.parameters()]
    stack = stack.bfloat16()
    stack.zero_grad()
    output, states = stack(x.bfloat16())
    assert {output.dtype, *(part.dtype for state in states for part in state)} == {torch.bfloat16}
    torch.testing.assert_close(output.float(), exact, rtol=0, atol=0.05)
    output.square().sum().backward()
    for parameter, slope in zip(stack.parameters(), slopes, strict=True):
        assert parameter.grad.dtype == torch.bfloat16
        torch.testing.assert_close(parameter.grad.float(), slope, rtol=0.1, atol=0.1)
    with torch.no_grad():
        assert torch.equal(stack(x.bfloat16())[0], output)


@torch.no_grad()
def changed_by(stack: Stack, x: torch.Tensor, change) -> None:
    """Predict, change the weights, predict: the second time must be that of a fresh copy."""
    stack(x)
    before = stack(x)[0]
    with torch.enable_grad():
        change(stack)
    found = stack(x)[0]
    twin = Stack(LSTM(6), LSTM(6), input_size=4)
    twin.load_state_dict(stack.state_dict())
    assert torch.equal(found, twin(x)[0])
    assert not torch.equal(found, before)


def optimise(make):
    def change(stack: Stack) -> None:
        optimiser = make(stack.parameters())
        stack(torch.randn(2, 3, 4))[0].sum().backward()
        optimiser.step()

    return change


def in_place(stack: Stack) -> None:
    with torch.no_grad():
        stack.layers[1].weight_hh_l0[3, 2] += 1


def replaced(stack: Stack) -> None:
    stack.layers[0].weight_ih_l0 = torch.nn.Parameter(torch.randn(24, 4))


def past_the_version(stack: Stack) -> None:
    for parameter in stack.parameters():
        parameter.data.mul_(1.5)


def new_memory(stack: Stack) -> None:
    for _ in range(3):  # the allocator likes to give the same memory again
        stack.layers[0].weight_ih_l0.data = torch.randn(24, 4)


def in_inference_mode(stack: Stack) -> None:
    with torch.inference_mode():
        stack.layers[0].bias_ih_l0.add_(1)


@pytest.mark.parametrize(
    "change",
    [
        in_place,
        replaced,
        past_the_version,
        new_memory,
        in_inference_mode,
        lambda stack: stack.load_state_dict(Stack(LSTM(6), LSTM(6), input_size=4).state_dict()),
        optimise(lambda parameters: torch.optim.SGD(parameters, lr=0.1)),
        optimise(lambda parameters: torch.optim.Adam(parameters, lr=0.1, foreach=True)),
        optimise(lambda parameters: torch.optim.AdamW(parameters, lr=0.1, fused=True)),
    ],
)
def test_packed_weights_follow_the_weights(change) -> None:
    changed_by(*stack_and_input(), change)


def test_packed_weights_go_with_their_weights() -> None:
    gc.collect()
    before = len(packed_weights._entries)
    stack, x = stack_and_input()
    with torch.no_grad():
        stack(x)
        stack(x)
    assert len(packed_weights._entries) == before + 1
    del stack
    gc.collect()
    assert len(packed_weights._entries) == before


def test_parameters_made_in_inference_mode_are_packed_each_time() -> None:
    with torch.inference_mode():
        stack, x = stack_and_input()
        first = stack(x)[0].clone()
        stack.layers[0].weight_hh_l0.mul_(2)
        assert not torch.equal(stack(x)[0], first)


def test_gradients_are_the_same_each_time() -> None:
    problem = make_problem(
        make_spec("lstm", "layer_norm", directions=2), 7, dtype=torch.float32, gradients=True
    )
    first, second = (gradients(problem, lambda: problem.run()) for _ in range(2))
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))
