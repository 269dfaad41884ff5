"""Cells against their mathematics, alone, stacked, and in a loop."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gatestack import reference
from gatestack.errors import ArgumentError
from gatestack.nn import (
    ACTIVATIONS,
    GRU,
    LSTM,
    RNN,
    Cell,
    DeepTransitionCell,
    GRUCell,
    Loop,
    LSTMCell,
    RNNCell,
    Stack,
    StackedCells,
)
from gatestack.nn.states import leaves, mapped

N, T, C, H = 4, 5, 3, 4
DOUBLE = torch.float64
LENGTHS = [5, 0, 2, 3]
HOLES = torch.tensor([[1, 1, 1, 1, 1], [0, 0, 0, 0, 0], [0, 1, 0, 1, 0], [1, 0, 0, 1, 1]], dtype=torch.bool)


def shaken(cell: Cell) -> Cell:
    """The cell in float64 with all its weights random."""
    torch.manual_seed(2)
    cell.double().build(C)
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
    return cell


def arrays(cell: Cell) -> dict[str, np.ndarray]:
    return {name.replace("_l0", ""): value.detach().numpy() for name, value in cell.named_parameters()}


def of_transition(cell: DeepTransitionCell) -> reference.DeepTransitionCell:
    weights = arrays(cell)
    pairs = tuple((weights[f"weight_hh_t{k}"], weights[f"bias_hh_t{k}"]) for k in range(1, cell.depth + 1))
    shortcut = weights.get("weight_hh_shortcut")
    return reference.DeepTransitionCell(
        weights["weight_ih"], weights["bias_ih"], pairs, shortcut, cell.activation
    )


CELLS = {
    "lstm": (
        lambda a, s: LSTMCell(H, activation=a, gate_activation=s),
        lambda cell, a, s: reference.ActivatedLSTMCell(**arrays(cell), activation=a, gate_activation=s),
    ),
    "gru after": (
        lambda a, s: GRUCell(H, activation=a, gate_activation=s),
        lambda cell, a, s: reference.ActivatedGRUCell(**arrays(cell), activation=a, gate_activation=s),
    ),
    "gru before": (
        lambda a, s: GRUCell(H, activation=a, gate_activation=s, reset="before"),
        lambda cell, a, s: reference.ActivatedGRUCell(
            **arrays(cell), activation=a, gate_activation=s, reset="before"
        ),
    ),
    "rnn": (
        lambda a, _: RNNCell(H, activation=a),
        lambda cell, a, _: reference.ActivatedRNNCell(**arrays(cell), activation=a),
    ),
    "transition": (
        lambda a, _: DeepTransitionCell(H, 3, activation=a),
        lambda cell, *_: of_transition(cell),
    ),
    "transition with shortcut": (
        lambda a, _: DeepTransitionCell(H, 2, activation=a, shortcut=True),
        lambda cell, *_: of_transition(cell),
    ),
}

# A state that is an exponential of a state is past all numbers after a few steps.
FUNCTIONS = [(name, "hard_sigmoid") for name in ACTIVATIONS if name != "exponential"]
FUNCTIONS += [("tanh", "sigmoid"), ("tanh", "hard_sigmoid_2")]

each_kind = pytest.mark.parametrize("kind", CELLS)


def check_parity(kind: str, activation: str, gate: str) -> None:
    """Results and all gradients are those of the mathematics: ragged, with holes, from a random state."""
    make, mathematics = CELLS[kind]
    cell = shaken(make(activation, gate))
    plain = mathematics(cell, activation, gate)
    x = torch.randn(N, T, C, dtype=DOUBLE, requires_grad=True)
    state = mapped(torch.randn_like, Loop(cell).start(x))
    for part in leaves(state):
        part.requires_grad_()
    for steps in ({"lengths": LENGTHS}, {"mask": HOLES}):
        output, final = Loop(cell)(x, state, **steps)
        given = {name: np.asarray(value) for name, value in steps.items()}
        initial = tuple(part.detach().numpy()[0] for part in leaves(state))
        expected = reference.layer_forward(plain, x.detach().numpy(), initial, **given)
        results = [output, *(part[0] for part in leaves(final))]
        for found, right in zip(results, (expected.output, *expected.final), strict=True):
            np.testing.assert_allclose(found.detach(), right, rtol=1e-10, atol=1e-10)
        upstream = [torch.randn_like(result) for result in results]
        total = sum((result * weight).sum() for result, weight in zip(results, upstream, strict=True))
        inside = [x, *leaves(state), *cell.parameters()]
        found_gradients = torch.autograd.grad(total, inside)
        back = reference.layer_backward(
            expected.tape, upstream[0].numpy(), tuple(part.numpy() for part in upstream[1:])
        )
        weights = [back.weights[name.replace("_l0", "")] for name, _ in cell.named_parameters()]
        initial_gradients = [part[None] for part in back.initial]
        for found, right in zip(found_gradients, [back.x, *initial_gradients, *weights], strict=True):
            scale = max(1.0, float(np.abs(right).max()))
            np.testing.assert_allclose(found, right, rtol=1e-10, atol=1e-10 * scale)


@each_kind
@pytest.mark.parametrize(("activation", "gate"), FUNCTIONS)
def test_a_loop_is_the_mathematics(kind: str, activation: str, gate: str) -> None:
    check_parity(kind, activation, gate)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_functions_are_those_of_the_mathematics(name: str) -> None:
    a = torch.linspace(-30, 30, 601, dtype=DOUBLE, requires_grad=True)
    value, slope = reference.ACTIVATIONS[name]
    found = ACTIVATIONS[name](a)
    np.testing.assert_allclose(found.detach(), value(a.detach().numpy()), rtol=1e-12, atol=1e-12)
    kink = np.isin(a.detach().numpy().round(6), (-3.0, -2.5, -1.0, 0.0, 1.0, 2.5, 3.0, 6.0))
    (found_slope,) = torch.autograd.grad(found.sum(), a)
    np.testing.assert_allclose(
        found_slope.numpy()[~kink], slope(a.detach().numpy())[~kink], rtol=1e-10, atol=1e-12
    )


def test_the_two_tables_have_the_same_names() -> None:
    assert set(ACTIVATIONS) == set(reference.ACTIVATIONS)


@each_kind
def test_single_calls_are_the_loop_to_the_bit(kind: str) -> None:
    cell = shaken(CELLS[kind][0]("tanh", "sigmoid"))
    x, state = torch.randn(N, T, C, dtype=DOUBLE), None
    outputs = []
    for t in range(T):
        y, state = cell(x[:, t], state)
        outputs.append(y)
    whole, final = Loop(cell)(x)
    assert torch.equal(torch.stack(outputs, dim=1), whole)
    assert all(torch.equal(a, b[0]) for a, b in zip(leaves(state), leaves(final), strict=True))


LAYERS = [
    (LSTMCell(H), LSTM(H)),
    (GRUCell(H), GRU(H)),
    (GRUCell(H, reset="before"), GRU(H, reset="before")),
    (RNNCell(H), RNN(H)),
    (RNNCell(H, activation="relu"), RNN(H, activation="relu")),
]


@pytest.mark.parametrize(("cell", "layer"), LAYERS, ids=lambda one: repr(one))
def test_a_loop_of_a_plain_cell_is_the_layer_to_the_bit(cell: Cell, layer) -> None:
    cell = shaken(cell)
    layer.double().load_state_dict(cell.state_dict())
    x = torch.randn(N, T, C, dtype=DOUBLE)
    state = mapped(torch.randn_like, layer.start(x))
    for steps in ({}, {"lengths": LENGTHS}, {"mask": HOLES}):
        found, expected = leaves(Loop(cell)(x, state, **steps)), leaves(layer(x, state, **steps))
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("return_sequences", [True, False])
def test_stacked_cells_in_a_loop_are_a_stack_of_layers(return_sequences: bool) -> None:
    cells = [shaken(LSTMCell(H)), GRUCell(3), RNNCell(2)]
    layers = [LSTM(H), GRU(3), RNN(2, return_sequences=return_sequences)]
    loop = Loop(StackedCells(*cells), return_sequences=return_sequences).double().build(C)
    stack = Stack(*layers).double()
    stack.load_state_dict(
        {name.replace("cell.cells", "layers"): value for name, value in loop.state_dict().items()}
    )
    x = torch.randn(N, T, C, dtype=DOUBLE)
    state = mapped(torch.randn_like, stack.start(x))
    for steps in ({}, {"lengths": LENGTHS}, {"mask": HOLES}):
        found, expected = leaves(loop(x, state, **steps)), leaves(stack(x, state, **steps))
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    # The same cells in a loop in Python, of which one is of other functions, agree but for rounding.
    slow = Loop(StackedCells(*cells), return_sequences=return_sequences)
    slow.cell.kernel_layers = lambda: None
    for a, b in zip(
        leaves(slow(x, state, lengths=LENGTHS)), leaves(stack(x, state, lengths=LENGTHS)), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_more_cells_than_a_call_of_the_kernels_takes() -> None:
    loop = Loop(StackedCells(*(GRUCell(2) for _ in range(70)))).double()
    x = torch.randn(2, 3, 2, dtype=DOUBLE)
    fast = leaves(loop(x))
    assert len(fast) == 71
    loop.cell.kernel_layers = lambda: None
    for a, b in zip(fast, leaves(loop(x)), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (LSTMCell(H), LSTMCell(H, activation="elu")),
        (LSTMCell(H), LSTMCell(H, gate_activation="hard_sigmoid")),
        (LSTMCell(H), LSTMCell(H, forget_bias=0.0)),
        (GRUCell(H), GRUCell(H, reset="before")),
        (RNNCell(H), RNNCell(H, activation="softsign")),
        (DeepTransitionCell(H, 2), DeepTransitionCell(H, 3)),
        (DeepTransitionCell(H, 2), DeepTransitionCell(H, 2, shortcut=True)),
        (DeepTransitionCell(H, 2), DeepTransitionCell(H, 2, activation="relu")),
    ],
    ids=lambda one: repr(one),
)
def test_every_option_has_an_effect(one: Cell, other: Cell) -> None:
    x = torch.randn(N, T, C)
    results = []
    for cell in (one, other):
        torch.manual_seed(0)
        results.append(Loop(cell)(x)[0])
    assert not torch.allclose(*results)
    assert repr(one) != repr(other)


def test_cells_start_as_layers_do() -> None:
    cell, layer = LSTMCell(16, 8, forget_bias=2.0), LSTM(16, 8, forget_bias=2.0)
    assert {n: tuple(p.shape) for n, p in cell.named_parameters()} == {
        n: tuple(p.shape) for n, p in layer.named_parameters()
    }
    assert torch.equal(cell.bias_ih_l0, layer.bias_ih_l0)
    for block in cell.weight_hh_l0.chunk(4):
        torch.testing.assert_close(block @ block.T, torch.eye(16))
    assert GRUCell(4).build(2).input_size == 2


def test_what_decides_the_kernel_cannot_be_set_later() -> None:
    cell = LSTMCell(H, C)
    for name in ("activation", "gate_activation"):
        with pytest.raises(AttributeError):
            setattr(cell, name, "elu")


def test_weights_build_a_cell() -> None:
    cell = DeepTransitionCell(H, 2, C, shortcut=True)
    twin = DeepTransitionCell(H, 2, shortcut=True)
    twin.load_state_dict(cell.state_dict())
    x = torch.randn(N, C)
    assert torch.equal(twin(x)[0], cell(x)[0])
    with pytest.raises(RuntimeError, match="Missing key"):
        LSTMCell(H).load_state_dict({})


class Leaky(Cell):
    """A cell of one's own: h = (h + x) / 2."""

    input_size = 3
    output_size = 3

    def build(self, _: int) -> Cell:
        return self

    def start(self, x: torch.Tensor) -> torch.Tensor:
        return x.new_zeros(len(x), 3)

    def advance(self, x: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        return (x + state) / 2

    def output(self, state: torch.Tensor) -> torch.Tensor:
        return state


def test_a_cell_of_ones_own_runs_in_loops_and_stacks() -> None:
    x = torch.ones(1, 3, 3)
    output, h = Loop(Leaky())(x, lengths=[2])
    assert output[0, :, 0].tolist() == [0.5, 0.75, 0.0]
    assert h[0, 0].tolist() == [0.75] * 3
    stacked, (_, second) = StackedCells(Leaky(), Leaky())(x[:, 0])
    assert stacked.tolist() == second.tolist() == [[0.25] * 3]
    assert Stack(Loop(Leaky()), GRU(2))(x)[0].shape == (1, 3, 2)


X = torch.zeros(N, C)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: LSTMCell(0), "'hidden_size' parameter of LSTMCell is 0"),
        (lambda: LSTMCell(4, activation="tahn"), "is 'tahn'(.|\n)*did you mean 'tanh'"),
        (lambda: LSTMCell(4, gate_activation="soft"), "'gate_activation' parameter of LSTMCell"),
        (lambda: LSTMCell(4, forget_bias="1"), "'forget_bias' parameter of LSTMCell is '1'"),
        (lambda: LSTMCell(4, forget_bias=float("nan")), "is nan — expected a number, neither NaN nor"),
        (lambda: GRUCell(4, reset="never"), "'reset' parameter of GRUCell"),
        (lambda: DeepTransitionCell(4, 0), "'depth' parameter of DeepTransitionCell is 0"),
        (lambda: DeepTransitionCell(4, 1, shortcut=True), "shortcut=True with depth=1"),
        (lambda: StackedCells(), "no cells"),
        (lambda: StackedCells([GRUCell(2)]), r"cell 0 is a list(.|\n)*StackedCells\(\*cells\)"),
        (lambda: StackedCells(GRU(2)), "cell 0 is a GRU"),
        (lambda: StackedCells(*[GRUCell(2)] * 2), "cell 1 is the same object"),
        (lambda: Loop(GRU(4)), "cell is a GRU(.|\n)*a layer runs over time as it is"),
        (lambda: Loop(torch.nn.GRUCell(2, 2)), "cell is a GRUCell — expected LSTMCell"),
        (
            lambda: GRUCell(4)(X[:, None]),
            r"x has shape \(4, 1, 3\) — expected \(batch, features\)\n\nhint.*Loop",
        ),
        (lambda: GRUCell(4, 2)(X), r"GRUCell: x has shape \(4, 3\) — expected \(batch, 2\)"),
        (lambda: GRUCell(4, 2).build(3), "input_size 3 — expected 2, for which it was built"),
        (lambda: DeepTransitionCell(4, 2, 2).build(3), "input_size 3 — expected 2"),
        (lambda: GRUCell(4, 3)(X.double()), "x has dtype float64 — expected float32"),
        (lambda: GRUCell(4)(X.double()), "x has dtype float64 — expected float32"),
        (
            lambda: StackedCells(GRUCell(4, 3), GRUCell(2, 4, dtype=DOUBLE))(X),
            "StackedCells: x has dtype float32 — expected float64",
        ),
        (lambda: GRUCell(4)([1.0]), "x is a list of 1"),
        (lambda: GRUCell(4)(X, (X,)), "state is a tuple of 1 — expected a torch.Tensor"),
        (lambda: GRUCell(4)(X, X), r"state has shape \(4, 3\) — expected \(batch, features\) = \(4, 4\)"),
        (lambda: LSTMCell(4)(X, X), "state is of type torch.Tensor — expected a tuple of 2"),
        (lambda: Loop(LSTMCell(4))(X), r"Loop: x has shape \(4, 3\) — expected \(batch, time, features\)"),
        (
            lambda: Loop(StackedCells(LSTMCell(4), GRUCell(2)))(
                X[:, None], ((torch.zeros(1, N, 4), torch.zeros(1, N, 3)), torch.zeros(1, N, 2))
            ),
            r"Loop: state\[0\]\[1\] has shape \(1, 4, 3\) — expected \(1, batch, features\) = \(1, 4, 4\)",
        ),
    ],
)
def test_what_does_not_fit_is_refused(call, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        call()


def broken_lstm(self, x, state):
    """Gates in another order."""
    h, c = state
    i, f, o, g = (self._wide(x) + self._recurrent(h)).chunk(4, dim=1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def forgetful_lstm(self, x, state):
    """h is not read."""
    i, f, g, o = (self._wide(x) + self._recurrent(0 * state[0])).chunk(4, dim=1)
    c = torch.sigmoid(f) * state[1] + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def transition(self, x, state, *, shortcut: bool, late: bool):
    linear = torch.nn.functional.linear
    wide = linear(x, self.weight_ih_l0, self.bias_ih_l0)
    first = linear(state, self.weight_hh_t1, self.bias_hh_t1)
    z = torch.tanh(first if late else first + wide)
    last = linear(z, self.weight_hh_t2, self.bias_hh_t2) + shortcut * linear(state, self.weight_hh_shortcut)
    return torch.tanh(last + wide if late else last)


def transition_without_shortcut(self, x, state):
    return transition(self, x, state, shortcut=False, late=False)


def transition_that_reads_x_last(self, x, state):
    return transition(self, x, state, shortcut=True, late=True)


def swapped_gru(self, x, state):
    """z and 1 − z exchanged, as the paper has them."""
    r_x, z_x, n_x = self._wide(x).chunk(3, dim=1)
    r_h, z_h, n_h = self._recurrent(state).chunk(3, dim=1)
    z = torch.sigmoid(z_x + z_h)
    return z * torch.tanh(n_x + torch.sigmoid(r_x + r_h) * n_h) + (1 - z) * state


@pytest.mark.parametrize(
    ("owner", "kind", "broken"),
    [
        (LSTMCell, "lstm", broken_lstm),
        (LSTMCell, "lstm", forgetful_lstm),
        (DeepTransitionCell, "transition with shortcut", transition_without_shortcut),
        (DeepTransitionCell, "transition with shortcut", transition_that_reads_x_last),
        (GRUCell, "gru after", swapped_gru),
    ],
)
def test_a_broken_cell_is_seen(monkeypatch, owner, kind, broken) -> None:
    monkeypatch.setattr(owner, "kernel_layers", lambda _: None)
    check_parity(kind, "tanh", "sigmoid")
    monkeypatch.setattr(owner, "advance", broken)
    with pytest.raises(AssertionError):
        check_parity(kind, "tanh", "sigmoid")
