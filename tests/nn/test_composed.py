"""Stacks of any layers, modules at each step, deep outputs, shortcut stacks: what each adds."""

from __future__ import annotations

import warnings

import pytest
import torch
from composed import close

from gatestack.errors import ArgumentError
from gatestack.nn import (
    GRU,
    LSTM,
    RNN,
    Bidirectional,
    ConvLSTM2D,
    DeepOutput,
    DeepTransitionCell,
    GRUCell,
    Loop,
    PerStep,
    ShortcutStack,
    Stack,
    Stateful,
)

N, T, C = 4, 6, 3
DOUBLE = torch.float64
LENGTHS = [6, 2, 0, 4]


def random_input(*step: int, batch: int = N) -> torch.Tensor:
    return torch.randn(batch, T, *(step or (C,)), dtype=DOUBLE)


# Stacks


def one_by_one(stack: Stack, x: torch.Tensor, steps: dict) -> tuple[torch.Tensor, list]:
    """What a stack computes, layer by layer."""
    states = []
    for layer in stack.layers:
        x, state = layer(x, **steps)
        states.append(state)
    return x, states


STACKS = {
    "per step between": (
        lambda: Stack(LSTM(4), LSTM(4), PerStep(torch.nn.Linear(4, 2)), GRU(3), GRU(3)),
        (C,),
    ),
    "loops": (lambda: Stack(Loop(DeepTransitionCell(4, 2)), LSTM(4), Loop(GRUCell(3))), (C,)),
    "both ways": (lambda: Stack(Bidirectional(LSTM(4), merge="sum"), Bidirectional(Stack(GRU(3)))), (C,)),
    "images": (
        lambda: Stack(
            ConvLSTM2D(2, 3), PerStep(torch.nn.BatchNorm2d(2)), PerStep(torch.nn.Flatten()), LSTM(4)
        ),
        (C, 4, 3),
    ),
    "tokens": (lambda: Stack(PerStep(torch.nn.Embedding(9, 5)), GRU(4)), None),
    "deep output": (lambda: Stack(DeepOutput(GRU(4), 6, 5), LSTM(3)), (C,)),
}


@pytest.mark.parametrize("name", STACKS)
def test_a_stack_of_any_layers_is_one_after_the_other(name: str) -> None:
    torch.manual_seed(0)
    make, step = STACKS[name]
    stack = make().double()
    x = torch.randint(0, 9, (N, T)) if step is None else random_input(*step)
    for steps in ({}, {"lengths": LENGTHS}):
        stack(x, **steps)
        found, states = stack.eval()(x, **steps)
        expected, expected_states = one_by_one(stack, x, steps)
        close(found, expected)
        close(states, tuple(expected_states))
        assert found.shape[2] == stack.output_size


def test_neighbours_still_run_in_one_call(monkeypatch) -> None:
    calls = []
    run = __import__("gatestack.nn.stack", fromlist=["run_stack"]).run_stack
    monkeypatch.setattr(
        "gatestack.nn.stack.run_stack",
        lambda spec, *rest, **more: calls.append(spec) or run(spec, *rest, **more),
    )
    stack = Stack(LSTM(4), LSTM(4), PerStep(torch.nn.ReLU()), GRU(3, 4), RNN(3), GRU(3), input_size=C)
    stack(torch.randn(N, T, C))
    assert [len(spec.layers) for spec in calls] == [2, 3]


@pytest.mark.parametrize("residual", [False, True])
def test_a_stack_may_have_more_layers_than_a_call_of_the_kernels(residual: bool) -> None:
    torch.manual_seed(0)
    stack = Stack(*(GRU(3, 3) for _ in range(130)), residual=residual).double()
    x = random_input()
    y = x
    for number, layer in enumerate(stack.layers):
        y = layer(y, lengths=LENGTHS)[0] + (y if residual and number else 0)
    found, states = stack(x, lengths=LENGTHS)
    close(found, Stack(PerStep(torch.nn.Identity()))(y, lengths=LENGTHS)[0])
    assert len(states) == 130
    with pytest.raises(ArgumentError, match="130 layers, 130 of them LSTM, GRU or RNN — expected at most 64"):
        stack.stepper()


def test_dropout_and_residuals_act_around_other_layers() -> None:
    torch.manual_seed(0)
    inside = Loop(DeepTransitionCell(32, 2))
    plain = Stack(LSTM(32), inside, GRU(32), input_size=C)
    for option in ({"dropout": 0.5}, {"variational_dropout": 0.5}):
        stack = Stack(*plain.layers, **option)
        seen: list[torch.Tensor] = []
        handle = inside.register_forward_pre_hook(lambda _, given, seen=seen: seen.append(given[0]))
        x = torch.randn(N, T, C)
        assert not torch.equal(stack(x)[0], stack(x)[0])
        handle.remove()
        zero = seen[0] == 0
        assert 0.4 < zero.float().mean() < 0.6
        assert bool((zero == zero[:, :1]).all()) == ("variational_dropout" in option)
        assert torch.equal(stack.eval()(x)[0], plain.eval()(x)[0])
        stack.train()
    residual = Stack(*plain.layers, residual=True).eval()
    first = plain.layers[0](x)[0]
    second = inside(first)[0] + first
    torch.testing.assert_close(residual(x)[0], plain.layers[2](second)[0] + second)


def test_a_row_without_a_step_gives_its_initial_state_through_a_residual() -> None:
    stack = Stack(LSTM(4), GRU(4, return_sequences=False), residual=True).double()
    x, h = random_input(), torch.randn(1, N, 4, dtype=DOUBLE)
    for steps in ({"lengths": LENGTHS}, {"mask": torch.zeros(N, T, dtype=torch.bool)}):
        together, _ = stack(x, (None, h), **steps)
        assert torch.equal(together[2], h[0, 2])
        stack.layers[1].register_forward_hook(lambda *_: None)  # the layer has a call of its own now
        torch.testing.assert_close(stack(x, (None, h), **steps)[0], together)
        stack.layers[1]._forward_hooks.clear()


def test_a_residual_to_images_needs_their_shape() -> None:
    stack = Stack(ConvLSTM2D(2, 3), ConvLSTM2D(2, 3, stride=2), residual=True)
    with pytest.raises(ArgumentError, match=r"layer 1 gives \(4, 6, 2, 2, 2\), layer 0 \(4, 6, 2, 4, 3\)"):
        stack(torch.randn(N, T, C, 4, 3))


def test_sizes_become_known_as_far_as_they_can() -> None:
    stack = Stack(LSTM(4), PerStep(torch.nn.Linear(4, 2)), GRU(3), RNN(5), input_size=C)
    assert [layer.input_size for layer in stack.layers] == [C, 4, None, 3]
    stack(torch.zeros(1, 2, C))
    assert [layer.input_size for layer in stack.layers] == [C, 4, 2, 3]
    assert Stack(LSTM(4), PerStep(torch.nn.ReLU())).output_size is None
    told = Stack(LSTM(4), PerStep(torch.nn.Linear(4, 2)), GRU(3, 2), input_size=C)
    assert len(list(told.parameters())) == 10


# A module at each step


class Remember(torch.nn.Module):
    """Gives what it is given, and keeps it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen = x
        return x + 1


def test_a_module_sees_real_steps_alone() -> None:
    layer = PerStep(Remember())
    x = random_input()
    x[:, 4:] = torch.nan
    output, state = layer(x, lengths=[4, 0, 2, 1])
    assert layer.module.seen.shape == (7, C)
    assert state == ()
    assert torch.equal(output[0, :4], x[0, :4] + 1)
    assert not output[0, 4:].any()
    mask = torch.rand(N, T) < 0.5
    mask[:, 4:] = False
    layer(x, mask=mask)
    assert torch.equal(layer.module.seen, x[mask])


def test_batch_statistics_leave_the_padding_out() -> None:
    torch.manual_seed(0)
    x = random_input(2)
    ragged, rows = PerStep(torch.nn.BatchNorm1d(2)).double(), torch.nn.BatchNorm1d(2).double()
    ragged(x.index_fill(1, torch.tensor([5]), 1e6), lengths=[5] * N)
    rows(x[:, :5].reshape(-1, 2))
    torch.testing.assert_close(ragged.module.running_mean, rows.running_mean)
    # A call without a real step is fine in training, which torch's own module alone would refuse.
    assert ragged(x, lengths=[0] * N)[0].shape == x.shape


def test_any_shape_may_come_out() -> None:
    assert PerStep(torch.nn.Flatten())(torch.zeros(2, 3, 4, 5, 6))[0].shape == (2, 3, 120)
    assert PerStep(torch.nn.Embedding(7, 4))(torch.tensor([[1, 6]]))[0].shape == (1, 2, 4)
    layer = PerStep(torch.nn.Conv2d(3, 8, 3))
    assert layer(torch.zeros(2, 3, 3, 6, 5), lengths=[1, 3])[0].shape == (2, 3, 8, 4, 3)
    assert (layer.input_size, layer.output_size) == (3, 8)


# Deep outputs


def test_a_deep_output_is_a_network_on_each_output() -> None:
    torch.manual_seed(0)
    layer = DeepOutput(GRU(4), 6, 5, 2, activation="tanh").double()
    x = random_input()
    output, state = layer(x, lengths=LENGTHS)
    y, h = layer.layer(x, lengths=LENGTHS)
    first, second, third = layer.network
    expected = third(torch.tanh(second(torch.tanh(first(y)))))
    for row, length in enumerate(LENGTHS):
        assert torch.equal(output[row, :length], expected[row, :length])
        assert not output[row, length:].any()
    assert torch.equal(state, h)
    last = DeepOutput(GRU(4, return_sequences=False), 3).double()
    assert last(x)[0].shape == (N, 3)
    torch.testing.assert_close(last(x)[0], last.network[0](last.layer(x)[0]))


def test_the_activation_of_a_deep_output_has_an_effect() -> None:
    layer, x = DeepOutput(GRU(4), 6, 5).double(), random_input()
    relu = layer(x)[0]
    layer.activation = "tanh"
    assert not torch.allclose(layer(x)[0], relu)
    assert "activation='tanh'" in repr(layer)


def test_a_deep_output_has_the_dtype_of_its_layer() -> None:
    for layer in (GRU(4, dtype=DOUBLE), Loop(GRUCell(4, dtype=DOUBLE)), Stack(GRU(4, dtype=DOUBLE))):
        assert DeepOutput(layer, 3, 2)(random_input())[0].dtype == DOUBLE
    waiting = DeepOutput(Stack(GRU(4, dtype=DOUBLE), PerStep(torch.nn.Linear(4, 3, dtype=DOUBLE))), 2)
    assert waiting(random_input())[0].dtype == DOUBLE


def test_a_deep_output_waits_for_a_width() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        layer = DeepOutput(Stack(LSTM(4), PerStep(torch.nn.Linear(4, 3))), 2)
        assert layer(torch.zeros(2, 3, 1))[0].shape == (2, 3, 2)
    assert layer.network[0].in_features == 3


# Shortcut stacks


def test_every_layer_reads_x_and_every_output_comes_out() -> None:
    torch.manual_seed(0)
    stack = ShortcutStack(LSTM(4), GRU(3), LSTM(2), input_size=C).double()
    assert [layer.input_size for layer in stack.layers] == [C, 4 + C, 3 + C]
    x = random_input()
    output, states = stack(x, lengths=LENGTHS)
    lower, middle, upper = stack.layers
    first, first_state = lower(x, lengths=LENGTHS)
    second, second_state = middle(torch.cat((first, x), dim=2), lengths=LENGTHS)
    third, third_state = upper(torch.cat((second, x), dim=2), lengths=LENGTHS)
    assert torch.equal(output, torch.cat((first, second, third), dim=2))
    close(states, (first_state, second_state, third_state))
    last = ShortcutStack(*stack.layers, return_sequences=False)(x, lengths=LENGTHS)[0]
    for row, length in enumerate(LENGTHS):
        assert torch.equal(last[row], output[row, length - 1] if length else torch.zeros(9, dtype=DOUBLE))


def test_shortcuts_between_images() -> None:
    stack = ShortcutStack(ConvLSTM2D(2, 3), ConvLSTM2D(4, 3))
    assert stack(torch.zeros(N, T, C, 4, 3))[0].shape == (N, T, 6, 4, 3)
    assert stack.layers[1].input_size == 2 + C


X = torch.zeros(N, T, C)
SHARED = GRU(4)


def both() -> Stack:
    """A stack that gives two outputs."""
    return Stack(Bidirectional(GRU(4), merge=None))


class Two(torch.nn.Module):
    def forward(self, x):
        return x, x


class Halved(torch.nn.Module):
    def forward(self, x):
        return x[::2]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Stack(LSTM(4), torch.nn.ReLU()), r"layer 1 is a ReLU(.|\n)*PerStep\(module\)"),
        (lambda: Stack(torch.nn.LSTM(3, 4)), "gatestack.nn.LSTM takes its weights"),
        (
            lambda: Stack(Loop(GRUCell(4), return_sequences=False), GRU(4)),
            "layer 0 has return_sequences=False",
        ),
        (lambda: Stack(Loop(GRUCell(4)), GRU(3), residual=True), "layer 1 gives 3 features, layer 0 gives 4"),
        (
            lambda: Stack(Loop(GRUCell(4)), GRU(3, 5), input_size=3),
            "layer 1 was built for input_size 5 — expected 4",
        ),
        (lambda: Stack(Loop(GRUCell(4)), GRU(4)).stepper(), "2 layers, 1 of them LSTM, GRU or RNN"),
        (
            lambda: Stack(Loop(GRUCell(4)))(X, (None, None)),
            "tuple of 2 — expected one entry per layer, 1",
        ),
        (
            lambda: Stack(ConvLSTM2D(2, 3), LSTM(4))(torch.zeros(N, T, C, 4, 3)),
            r"Stack, layer 1, LSTM: x has shape \(4, 6, 2, 4, 3\) — expected \(batch, time, 2\)"
            r"(.|\n)*PerStep\(torch.nn.Flatten",
        ),
        (
            lambda: Stack(GRU(4), GRU(4))(X, (None, torch.zeros(1, N, 3))),
            r"Stack, layer 1, GRU: state h has shape \(1, 4, 3\) — expected \(directions, batch, hidden\)",
        ),
        (
            lambda: ShortcutStack(GRU(4), GRU(4))(X, (None, torch.zeros(1, N, 3))),
            "ShortcutStack, layer 1, GRU: state h has shape",
        ),
        (
            lambda: ShortcutStack(ConvLSTM2D(2, 3, stride=2), ConvLSTM2D(2, 3))(torch.zeros(N, T, C, 4, 3)),
            r"ShortcutStack, layer 1: \(4, 6, 2, 2, 2\) and \(4, 6, 3, 4, 3\) side by side",
        ),
        (lambda: Stack(LSTM(4, 3), LSTM(4, 7)), "layer 1 was built for input_size 7 — expected 4, the feat"),
        (lambda: Stack(both(), GRU(4)), "layer 0 has merge=None"),
        (lambda: Stack(GRU(4), both(), residual=True), "the last layer has merge=None"),
        (lambda: ShortcutStack(GRU(4), both()), "the last layer does not give one output"),
        (lambda: DeepOutput(both(), 2), "merge=None"),
        (
            lambda: Stack(LSTM(4, 3), GRU(4, dtype=DOUBLE))(X),
            "GRU: x has dtype float32 — expected float64",
        ),
        (
            lambda: Stack(LSTM(4, 3), GRU(4, 4, dtype=DOUBLE)).stepper(),
            "layers of float32 and float64 — expected one dtype",
        ),
        (
            lambda: Stack(Loop(GRUCell(4)))(X, return_cell_states=True),
            "layer 0 is a Loop — expected layers with",
        ),
        (lambda: PerStep(GRU(4)), r"module is a GRU(.|\n)*needs no PerStep"),
        (lambda: PerStep(torch.relu), "module is a builtin_function_or_method"),
        (lambda: PerStep(torch.nn.ReLU())(X, (X,)), "state is a tuple of 1"),
        (lambda: PerStep(torch.nn.ReLU())(X[0, 0]), r"x has shape \(3,\) — expected \(batch, time, …\)"),
        (lambda: PerStep(Two())(X), "Two gave a tuple of 2 for 24 steps"),
        (lambda: PerStep(Halved())(X), r"Halved gave shape \(12, 3\) for 24 steps"),
        (lambda: DeepOutput(GRU(4)), "no sizes"),
        (lambda: DeepOutput(GRU(4), 0), "'sizes' parameter of DeepOutput is 0"),
        (lambda: DeepOutput(GRUCell(4), 2), r"layer is a GRUCell(.|\n)*Loop\(cell\)"),
        (lambda: DeepOutput(GRU(4), 2, activation="rely"), "did you mean 'relu'"),
        (lambda: DeepOutput(Bidirectional(GRU(4), merge=None), 2), "merge=None"),
        (lambda: ShortcutStack(GRU(4)), "one layer — expected two or more"),
        (lambda: ShortcutStack([GRU(4)]), r"layer 0 is a list(.|\n)*one by one"),
        (lambda: ShortcutStack(SHARED, SHARED), "the same object"),
        (lambda: ShortcutStack(GRU(4), GRU(4, return_sequences=False)), "the last layer does not give"),
        (
            lambda: ShortcutStack(GRU(4), GRU(4, bidirectional=True), return_sequences=False),
            "over a layer of two directions",
        ),
        (lambda: ShortcutStack(GRU(4), GRU(4))(X, (None,)), "state is a tuple of 1 — expected one entry per"),
        (lambda: ShortcutStack(GRU(4), GRU(4, 4))(X), r"GRU: x has shape \(4, 6, 7\)"),
        (
            lambda: ShortcutStack(PerStep(torch.nn.ReLU()), GRU(4))(X[:, :, 0]),
            r"expected \(batch, time, feat",
        ),
        (lambda: Stateful(Stack(ShortcutStack(GRU(2), GRU(2, bidirectional=True)))), "second direction"),
    ],
)
def test_what_does_not_fit_is_refused(call, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        call()
