"""The kernels as operators of torch: what compilers and exporters see is one node, and computes the same."""

from __future__ import annotations

import pytest
import torch
from stacks import make_problem, make_spec, results
from torch._dynamo.backends.common import aot_autograd
from torch._functorch.aot_autograd import make_boxed_func

from gatestack.kernels import library, native_backend
from gatestack.kernels.abi import Flag
from gatestack.kernels.operators import is_traced
from gatestack.nn import GRU, LSTM, LSTMForm, Regularisation, Stack

pytestmark = pytest.mark.skipif(library.find() is None, reason="no compiled kernels here")

N, T = 3, 4


@pytest.mark.parametrize(
    ("cell", "option", "flags", "ragged"),
    [
        ("lstm", "plain", Flag.SAVE, "all"),
        ("lstm", "plain", Flag.SAVE, "lengths"),
        ("gru", "plain", Flag.SAVE, "mask"),
        ("lstm", "layer_norm", Flag.SAVE | Flag.RECOMPUTE, "all"),
        ("gru", "hidden_dropout", Flag.SAVE | Flag.TRAINING, "all"),
        ("lstm", "projection", 0, "lengths"),
    ],
)
def test_torch_finds_no_fault_with_the_operator(cell, option, flags, ragged) -> None:
    # Eight units of float64 fill a line of 64 bytes: no gap in what is saved is left to chance.
    problem = make_problem(make_spec(cell, option, size=8, directions=2), N, T, gradients=bool(flags))
    flat = native_backend.flatten(problem.spec, problem.states, problem.weights)
    call = (
        problem.x,
        [part for part in flat if part is not None],
        torch.tensor([4, 0, 2]) if ragged == "lengths" else None,
        torch.rand(N, T) < 0.6 if ragged == "mask" else None,
        torch.tensor(5),
        [part is not None for part in flat],
        problem.spec.text,
        int(flags),
        cell == "lstm",
    )
    report = torch.library.opcheck(torch.ops.gatestack.stack.default, call, atol=1e-9, rtol=1e-9)
    assert set(report.values()) == {"SUCCESS"}


def targets(graph: torch.fx.Graph) -> list[str]:
    return [str(node.target) for node in graph.nodes if node.op == "call_function"]


@pytest.mark.parametrize("ragged", ["all", "lengths", "mask"])
def test_a_compiled_stack_is_one_node_and_trains_as_ever(ragged) -> None:
    torch._dynamo.reset()
    torch.manual_seed(0)
    stack = Stack(
        LSTM(5, bidirectional=True), LSTM(5, bidirectional=True), input_size=3, residual=True
    ).double()
    x = torch.randn(N, T, 3, dtype=torch.float64, requires_grad=True)
    steps = {"lengths": torch.tensor([4, 0, 2])} if ragged == "lengths" else {}
    if ragged == "mask":
        steps = {"mask": torch.rand(N, T) < 0.6}
    graphs = []

    def keep(module, _):
        graphs.append(module.graph)
        return make_boxed_func(module.forward)

    compiled = torch.compile(stack, fullgraph=True, backend=aot_autograd(fw_compiler=keep, bw_compiler=keep))
    output, states = compiled(x, **steps)
    expected, expected_states = stack(x, **steps)
    assert torch.equal(output, expected)
    assert all(
        torch.equal(a, b)
        for one, two in zip(states, expected_states, strict=True)
        for a, b in zip(one, two, strict=True)
    )
    found = torch.autograd.grad(output.square().sum(), [x, *stack.parameters()])
    wanted = torch.autograd.grad(expected.square().sum(), [x, *stack.parameters()])
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    forward, backward = graphs
    assert targets(forward).count("gatestack.stack.default") == 1
    assert targets(backward).count("gatestack.stack_backward.default") == 1


def test_compiled_training_draws_new_masks_each_time() -> None:
    torch._dynamo.reset()
    layer = GRU(16, 3, regularisation=Regularisation(recurrent_dropout=0.5))
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    x = torch.randn(2, 5, 3)
    assert not torch.equal(compiled(x)[0], compiled(x)[0])


def test_another_length_needs_no_graph_of_its_own() -> None:
    torch._dynamo.reset()
    layer = LSTM(4, 3, form=LSTMForm(layer_norm=True))
    count = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(layer, fullgraph=True, backend=count, dynamic=True)
    frames = []
    for time in (5, 7, 12, 30):  # other numbers than the features', or a tracer takes them for one
        x = torch.randn(2, time, 3)
        torch.testing.assert_close(compiled(x)[0], layer(x)[0])
        frames.append(count.frame_count)
    assert frames[1:] == frames[1:2] * 3


def test_a_stack_is_exported_as_one_node() -> None:
    stack = Stack(LSTM(5), LSTM(5), input_size=3).eval()
    x = torch.randn(2, 6, 3)
    program = torch.export.export(stack, (x,))
    assert targets(program.graph).count("gatestack.stack.default") == 1
    torch.testing.assert_close(program.module()(x)[0], stack(x)[0])


def test_fake_tensors_have_the_shapes_of_real_ones() -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    problem = make_problem(make_spec("lstm", directions=2), N, T)
    real = results(problem.run(cells=True))
    with FakeTensorMode() as mode:
        fake = make_problem(problem.spec, N, T)
        fake.x = mode.from_tensor(problem.x)
        fake.states = [tuple(mode.from_tensor(part) for part in state) for state in problem.states]
        fake.weights = [
            [type(one)(*(None if part is None else mode.from_tensor(part) for part in one)) for one in each]
            for each in problem.weights
        ]
        assert is_traced(fake.x)
        found = results(fake.run(cells=True))
    assert [part.shape for part in found] == [part.shape for part in real]
    assert not is_traced(problem.x)
