"""Layers on top of each other: parity, weights of torch, residuals, dropout, masks, what is refused."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from gatestack.errors import ArgumentError
from gatestack.nn import GRU, LSTM, RNN, Stack

CELLS = {"lstm": LSTM, "gru": GRU, "rnn": RNN}
TORCH = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}
N, T, C, H = 4, 6, 3, 5
DOUBLE = torch.float64

each_cell = pytest.mark.parametrize("cell", CELLS)
each_direction = pytest.mark.parametrize("bidirectional", [False, True], ids=["forward", "both"])


def random_input(batch: int = N) -> torch.Tensor:
    return torch.randn(batch, T, C, dtype=DOUBLE)


def pair(cell: str, depth: int, *, bidirectional: bool = False) -> tuple[Stack, torch.nn.RNNBase]:
    """A stack that took its weights from a torch module of the same shape."""
    torch.manual_seed(1)
    peer = TORCH[cell](C, H, depth, bidirectional=bidirectional, batch_first=True, dtype=DOUBLE)
    stack = Stack(*(CELLS[cell](H, bidirectional=bidirectional, dtype=DOUBLE) for _ in range(depth)))
    stack.load_state_dict(peer.state_dict())
    return stack, peer


def torch_state(state) -> torch.Tensor | tuple[torch.Tensor, ...]:
    """The states of a stack joined as torch has them, (L·D, N, H)."""
    if isinstance(state[0], tuple):
        return tuple(torch.cat(parts) for parts in zip(*state, strict=True))
    return torch.cat(state)


def random_state(stack: Stack, batch: int = N) -> tuple:
    made = []
    for layer in stack.layers:
        shape = (layer.num_directions, batch, layer.hidden_size)
        parts = tuple(torch.randn(shape, dtype=DOUBLE) for _ in layer.state_names)
        made.append(parts if len(parts) == 2 else parts[0])
    return tuple(made)


@each_cell
@each_direction
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_the_weights_of_torch_give_the_numbers_of_torch(cell, bidirectional, depth) -> None:
    stack, peer = pair(cell, depth, bidirectional=bidirectional)
    x, state = random_input(), random_state(stack)
    output, final = stack(x, state)
    expected, expected_final = peer(x, torch_state(state))
    torch.testing.assert_close(output, expected, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(torch_state(final), expected_final, rtol=1e-10, atol=1e-10)

    lengths = torch.tensor([6, 1, 3, 2])
    output, final = stack(x, state, lengths=lengths)
    packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    expected, expected_final = peer(packed, torch_state(state))
    expected, _ = pad_packed_sequence(expected, batch_first=True, total_length=T)
    torch.testing.assert_close(output, expected, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(torch_state(final), expected_final, rtol=1e-10, atol=1e-10)


@each_cell
def test_gradients_are_those_of_torch(cell) -> None:
    stack, peer = pair(cell, 2, bidirectional=True)
    x = random_input()
    weight = torch.randn(N, T, 2 * H, dtype=DOUBLE)
    (stack(x)[0] * weight).sum().backward()
    (peer(x)[0] * weight).sum().backward()
    for number, layer in enumerate(stack.layers):
        for name, parameter in layer.named_parameters():
            expected = getattr(peer, name.replace("_l0", f"_l{number}")).grad
            torch.testing.assert_close(parameter.grad, expected, rtol=1e-10, atol=1e-10)


@each_direction
def test_one_layer_takes_the_weights_of_torch_as_they_are(bidirectional) -> None:
    peer = torch.nn.LSTM(C, H, bidirectional=bidirectional, batch_first=True, dtype=DOUBLE)
    layer = LSTM(H, bidirectional=bidirectional, dtype=DOUBLE)
    layer.load_state_dict(peer.state_dict())
    x = random_input()
    torch.testing.assert_close(layer(x)[0], peer(x)[0], rtol=1e-10, atol=1e-10)


def test_weights_of_torch_load_where_the_stack_is_part_of_a_model() -> None:
    def model(rnn: torch.nn.Module) -> torch.nn.ModuleDict:
        return torch.nn.ModuleDict({"rnn": rnn, "head": torch.nn.Linear(H, 1, dtype=DOUBLE)})

    _, peer = pair("gru", 2)
    ours = model(Stack(GRU(H, dtype=DOUBLE), GRU(H, dtype=DOUBLE)))
    ours.load_state_dict(model(peer).state_dict())
    x = random_input()
    torch.testing.assert_close(ours["rnn"](x)[0], peer(x)[0])


def test_loading_leaves_the_given_weights_alone() -> None:
    _, peer = pair("lstm", 2)
    weights = peer.state_dict()
    names = list(weights)
    Stack(LSTM(H), LSTM(H)).load_state_dict(weights)
    assert list(weights) == names


def test_a_stack_takes_its_own_weights_back() -> None:
    stack, _ = pair("lstm", 2, bidirectional=True)
    twin = Stack(*(LSTM(H, bidirectional=True, dtype=DOUBLE) for _ in range(2)))
    twin.load_state_dict(stack.state_dict())
    x = random_input()
    assert torch.equal(stack(x)[0], twin(x)[0])


@pytest.mark.parametrize(
    ("module", "peer", "message"),
    [
        (
            lambda: Stack(LSTM(H), LSTM(H)),
            lambda: torch.nn.LSTM(C, H, 3),
            "weights are of 3 layers, the stack has 2",
        ),
        (
            lambda: Stack(LSTM(H), LSTM(H)),
            lambda: torch.nn.LSTM(C, H, 1),
            "weights are of 1 layers, the stack has 2",
        ),
        (
            lambda: LSTM(H),
            lambda: torch.nn.LSTM(C, H, 2),
            "LSTM is one layer; gatestack.nn.Stack takes several",
        ),
        (lambda: LSTM(H), lambda: torch.nn.GRU(C, H), "size mismatch for weight_ih_l0"),
        (
            lambda: LSTM(H),
            lambda: torch.nn.LSTM(C, H, bidirectional=True),
            "Unexpected key.*weight_ih_l0_reverse",
        ),
        (lambda: LSTM(H), lambda: torch.nn.Linear(C, H), "Missing key.*weight_ih_l0"),
    ],
)
def test_weights_of_another_shape_are_refused(module, peer, message) -> None:
    with pytest.raises(RuntimeError, match=message):
        module().load_state_dict(peer().state_dict())


@settings(max_examples=20, deadline=None)
@given(rows=st.lists(st.lists(st.booleans(), min_size=T, max_size=T), min_size=1, max_size=4))
def test_a_masked_row_is_the_row_without_the_masked_steps(rows) -> None:
    torch.manual_seed(0)
    stack = Stack(LSTM(4, bidirectional=True), GRU(8), RNN(8), input_size=C, residual=True).double()
    mask, x = torch.tensor(rows), random_input(len(rows))
    x[~mask] = torch.nan
    output, states = stack(x, mask=mask)
    assert not output[~mask].any()
    for row, real in enumerate(mask):
        alone, alone_states = stack(x[row : row + 1, real])
        torch.testing.assert_close(output[row, real], alone[0])
        torch.testing.assert_close(states[0][1][:, row], alone_states[0][1][:, 0])
        torch.testing.assert_close(states[2][:, row], alone_states[2][:, 0])


@settings(max_examples=15, deadline=None)
@given(cut=st.integers(0, T))
def test_chunks_with_carried_states_are_the_whole(cut) -> None:
    torch.manual_seed(0)
    stack = Stack(LSTM(4), GRU(4), input_size=C, residual=True).double()
    x = random_input()
    whole, finals = stack(x)
    head, states = stack(x[:, :cut])
    tail, states = stack(x[:, cut:], states)
    torch.testing.assert_close(torch.cat((head, tail), dim=1), whole)
    torch.testing.assert_close(states, finals)


def test_a_state_may_be_given_for_some_layers_only() -> None:
    stack, _ = pair("gru", 2)
    x, zeros = random_input(), torch.zeros(1, N, H, dtype=DOUBLE)
    upper = random_state(stack)[1]
    assert torch.equal(stack(x, (None, upper))[0], stack(x, (zeros, upper))[0])


def test_residual_adds_the_input_of_every_layer_but_the_lowest() -> None:
    torch.manual_seed(0)
    stack = Stack(LSTM(H), GRU(H), RNN(H), input_size=C, residual=True).double()
    lower, middle, upper = stack.layers
    x, lengths = random_input(), [6, 2, 0, 3]
    first, _ = lower(x, lengths=lengths)
    second = middle(first, lengths=lengths)[0] + first
    third = upper(second, lengths=lengths)[0] + second
    torch.testing.assert_close(stack(x, lengths=lengths)[0], third)


@pytest.mark.parametrize("steps", [{}, {"lengths": [6, 2, 0, 3]}, {"mask": torch.rand(N, T) < 0.5}])
def test_residual_to_a_final_output_adds_the_last_real_step(steps) -> None:
    torch.manual_seed(0)
    sequences = Stack(LSTM(H), LSTM(H), input_size=C, residual=True).double()
    final = Stack(LSTM(H), LSTM(H, return_sequences=False), input_size=C, residual=True).double()
    final.load_state_dict(sequences.state_dict())
    x = random_input()
    every, _ = sequences(x, **steps)
    output, _ = final(x, **steps)
    real = torch.ones(N, T, dtype=torch.bool)
    if "lengths" in steps:
        real = torch.arange(T) < torch.tensor(steps["lengths"])[:, None]
    real = steps.get("mask", real)
    for row in range(N):
        expected = every[row, real[row]][-1] if real[row].any() else torch.zeros(H, dtype=DOUBLE)
        torch.testing.assert_close(output[row], expected)


def test_cell_states_are_given_for_every_layer() -> None:
    torch.manual_seed(0)
    stack = Stack(LSTM(4, bidirectional=True, merge="sum"), LSTM(H), input_size=C).double()
    x, mask = random_input(), torch.rand(N, T) < 0.6
    plain, _ = stack(x, mask=mask)
    output, _, (lower, upper) = stack(x, mask=mask, return_cell_states=True)
    torch.testing.assert_close(output, plain)
    below, _, expected_lower = stack.layers[0](x, mask=mask, return_cell_states=True)
    torch.testing.assert_close(lower, expected_lower)
    torch.testing.assert_close(upper, stack.layers[1](below, mask=mask, return_cell_states=True)[2])
    assert lower.shape == (N, T, 8)


@pytest.mark.parametrize("option", ["dropout", "variational_dropout"])
def test_dropout_acts_between_layers_in_training_only(option) -> None:
    torch.manual_seed(0)
    plain = Stack(LSTM(32), LSTM(32), input_size=C)
    stack = Stack(LSTM(32), LSTM(32), input_size=C, **{option: 0.5})
    stack.load_state_dict(plain.state_dict())
    x = torch.randn(N, T, C)
    dropped = []
    stack.layers[1].register_forward_pre_hook(lambda _, args: dropped.append(args[0]))
    first, second = stack(x)[0], stack(x)[0]
    assert not torch.equal(first, second)
    zero = dropped[0] == 0
    assert 0.3 < zero.float().mean() < 0.7
    constant = bool((zero == zero[:, :1]).all())
    assert constant == (option == "variational_dropout")
    stack.eval()
    assert torch.equal(stack(x)[0], plain(x)[0])


def test_widths_and_cells_may_differ_from_layer_to_layer() -> None:
    stack = Stack(LSTM(7, bidirectional=True), RNN(3), GRU(2, return_sequences=False))
    output, (lower, middle, upper) = stack(torch.zeros(N, T, C))
    assert stack.input_size == C
    assert stack.output_size == 2
    assert [layer.input_size for layer in stack.layers] == [C, 14, 3]
    assert [tuple(h.shape) for h in (output, lower[1], middle, upper)] == [
        (4, 2),
        (2, 4, 7),
        (1, 4, 3),
        (1, 4, 2),
    ]


@pytest.mark.parametrize(("batch", "time"), [(0, 4), (3, 0)])
@pytest.mark.parametrize("return_sequences", [True, False])
def test_empty_batches_and_empty_rows_are_fine(batch, time, return_sequences) -> None:
    stack = Stack(LSTM(H), LSTM(H, return_sequences=return_sequences), residual=True)
    output, states = stack(torch.zeros(batch, time, C), mask=torch.zeros(batch, time, dtype=torch.bool))
    assert output.shape == ((batch, time, H) if return_sequences else (batch, H))
    assert states[1][0].shape == (1, batch, H)


def test_a_copied_unbuilt_stack_is_independent() -> None:
    stack = Stack(LSTM(H), LSTM(H))
    twin = copy.deepcopy(stack)
    twin.load_state_dict(torch.nn.LSTM(C, H, 2).state_dict())
    assert stack.input_size is None
    assert twin.input_size == C


LAYER = LSTM(4)
X = torch.zeros(N, T, C)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Stack(), "no layers"),
        (lambda: Stack([LSTM(4), LSTM(4)]), r"layer 0 is a list .*\n\nhint: .*Stack\(\*layers\)"),
        (lambda: Stack(torch.nn.LSTM(3, 4)), "layer 0 is a LSTM — expected LSTM, GRU or RNN of gatestack"),
        (lambda: Stack(LAYER, LAYER), "layer 1 is the same object as a layer below"),
        (lambda: Stack(LSTM(4, return_sequences=False), LSTM(4)), r"layer 0 has return_sequences=False"),
        (lambda: Stack(LSTM(4), LSTM(5), residual=True), "layer 1 gives 5 features, layer 0 gives 4"),
        (
            lambda: Stack(LSTM(4), LSTM(2, bidirectional=True, return_sequences=False), residual=True),
            "bidirectional last layer",
        ),
        (lambda: Stack(LSTM(4), residual=True), "with one layer"),
        (lambda: Stack(LSTM(4), dropout=0.1), "with one layer"),
        (
            lambda: Stack(LSTM(4), LSTM(4), dropout=1.0),
            "'dropout' parameter of Stack is 1.0 — expected a number in",
        ),
        (
            lambda: Stack(LSTM(4), LSTM(4), variational_dropout=-0.1),
            "'variational_dropout' parameter of Stack is -0.1",
        ),
        (lambda: Stack(LSTM(4), LSTM(4), dropout=0.1, variational_dropout=0.1), "expected one of them"),
        (
            lambda: Stack(LSTM(4), LSTM(4, 5), input_size=3),
            "layer 1 was built for input_size 5 — expected 4, the features of layer 0",
        ),
        (
            lambda: Stack(LSTM(4, 2), input_size=3),
            "layer 0 was built for input_size 2 — expected 3, the features of x",
        ),
        (
            lambda: Stack(LSTM(4), input_size=8)(X),
            r"Stack: x has shape \(4, 6, 3\) — expected \(batch, time, 8\)",
        ),
        (lambda: Stack(LSTM(4))(X[:, 0]), r"x has shape \(4, 3\) — expected \(batch, time, features\)"),
        (
            lambda: Stack(GRU(4), GRU(4))(X, (None,)),
            "state is a tuple of 1 — expected one entry per layer, 2",
        ),
        (lambda: Stack(GRU(4), GRU(4))(X, torch.zeros(2, N, 4)), "state is of type torch.Tensor"),
        (
            lambda: Stack(GRU(4), GRU(4))(X, (None, torch.zeros(1, 2, 4))),
            r"GRU: state h has shape \(1, 2, 4\)",
        ),
        (
            lambda: Stack(LSTM(4), GRU(4))(X, return_cell_states=True),
            "layer 1 is a GRU — expected layers with a cell state",
        ),
    ],
)
def test_what_does_not_fit_is_refused(call, message) -> None:
    with pytest.raises(ArgumentError, match=message):
        call()


def test_repr_shows_the_settings() -> None:
    assert repr(Stack(LSTM(4), GRU(4), variational_dropout=0.2, residual=True)).startswith(
        "Stack(\n  variational_dropout=0.2, residual=True"
    )
