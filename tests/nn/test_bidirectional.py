"""Both directions around any layer."""

from __future__ import annotations

import pytest
import torch
from composed import close

from gatestack.errors import ArgumentError
from gatestack.kernels import native_backend, torch_backend
from gatestack.nn import (
    GRU,
    LSTM,
    RNN,
    Bidirectional,
    ConvLSTM2D,
    DeepTransitionCell,
    Loop,
    LSTMForm,
    PerStep,
    Regularisation,
    Stack,
    Stateful,
)
from gatestack.nn.states import leaves, mapped
from gatestack.nn.steps import Steps

N, T, C, H = 4, 6, 3, 5
DOUBLE = torch.float64
LENGTHS = [6, 2, 0, 4]
HOLES = torch.tensor(
    [[1, 1, 1, 1, 1, 1], [0, 1, 0, 0, 1, 0], [0, 0, 0, 0, 0, 0], [1, 0, 1, 1, 0, 0]], dtype=torch.bool
)
MERGES = {
    "concat": lambda a, b, axis: torch.cat((a, b), dim=axis),
    "sum": lambda a, b, _: a + b,
    "mul": lambda a, b, _: a * b,
    "average": lambda a, b, _: (a + b) / 2,
}


def same(found, expected) -> None:
    assert all(torch.equal(a, b) for a, b in zip(leaves(found), leaves(expected), strict=True))


def taken_from(layer, **options) -> Bidirectional:
    """Two layers of one direction with the weights of a layer of two."""
    made = Bidirectional(type(layer)(H, C, **options), type(layer)(H, C, **options)).double()
    weights = layer.state_dict()
    for one, end in ((made.forward_layer, "_l0"), (made.reverse_layer, "_l0_reverse")):
        one.load_state_dict(
            {name[: -len(end)] + "_l0": value for name, value in weights.items() if name.endswith(end)}
        )
    return made


@pytest.mark.parametrize("return_sequences", [True, False])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (LSTM, {}),
        (LSTM, {"form": LSTMForm(peepholes=True, projection_size=2, layer_norm=True)}),
        (GRU, {}),
        (GRU, {"reset": "before"}),
        (RNN, {"activation": "relu"}),
    ],
    ids=["lstm", "lstm with all", "gru", "gru before", "rnn"],
)
def test_two_plain_layers_are_one_of_two_directions(kind, options, return_sequences) -> None:
    torch.manual_seed(0)
    options["return_sequences"] = return_sequences
    layer = kind(H, C, bidirectional=True, dtype=DOUBLE, **options)
    pair = taken_from(layer, **options)
    x = torch.randn(N, T, C, dtype=DOUBLE)
    state = mapped(torch.randn_like, layer.start(x))
    split = tuple(mapped(lambda part, d=d: part[d : d + 1], state) for d in range(2))
    for steps in ({}, {"lengths": LENGTHS}, {"mask": HOLES}):
        found, (forward, reverse) = pair(x, split, **steps)
        expected, final = layer(x, state, **steps)
        assert torch.equal(found, expected)
        same(mapped(lambda a, b: torch.cat((a, b)), forward, reverse), final)
    half = pair(x, (split[0], None), lengths=LENGTHS)[0]
    zero = pair(x, (split[0], mapped(torch.zeros_like, split[1])), lengths=LENGTHS)[0]
    assert torch.equal(half, zero)


def test_one_call_computes_a_plain_pair_and_two_compute_others(monkeypatch) -> None:
    calls = []
    for backend in (native_backend, torch_backend):
        run = backend.run

        def counted(*arguments, run=run, **options):
            calls.append(arguments[0])
            return run(*arguments, **options)

        monkeypatch.setattr(backend, "run", counted)
    x = torch.randn(2, 3, C)

    def count(layer) -> int:
        layer(x)
        calls.clear()
        layer(x)
        return len(calls)

    assert count(Bidirectional(LSTM(H))) == 1
    assert count(Bidirectional(LSTM(H), GRU(H))) == 2
    assert count(Bidirectional(LSTM(H), LSTM(4))) == 2
    assert count(Bidirectional(Stack(LSTM(H), LSTM(H)))) == 2
    hooked = Bidirectional(LSTM(H))
    heard = []
    hooked.reverse_layer.register_forward_hook(lambda *_: heard.append(1))
    assert count(hooked) == 2
    assert heard
    mixed = Bidirectional(LSTM(H))
    mixed.reverse_layer.eval()
    assert count(mixed) == 2


def test_the_plain_pair_and_two_calls_agree(monkeypatch) -> None:
    torch.manual_seed(0)
    pair = Bidirectional(GRU(H, C, initial_state="trained"), merge="mul").double()
    with torch.no_grad():
        for parameter in pair.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
    x = torch.randn(N, T, C, dtype=DOUBLE)
    together = [pair(x, **steps) for steps in ({}, {"lengths": LENGTHS}, {"mask": HOLES})]
    monkeypatch.setattr(Bidirectional, "_plain_pair", lambda _: None)
    apart = [pair(x, **steps) for steps in ({}, {"lengths": LENGTHS}, {"mask": HOLES})]
    same(together, apart)


def test_a_pair_that_weights_have_built_runs_in_one_call(monkeypatch) -> None:
    pair, built = Bidirectional(LSTM(H)), Bidirectional(LSTM(H, C))
    pair.load_state_dict(built.state_dict())
    monkeypatch.setattr(LSTM, "forward", None)  # a call of its own would fail
    x = torch.randn(N, T, C)
    assert torch.equal(pair(x)[0], built(x)[0])


def test_training_draws_masks_for_both_directions() -> None:
    torch.manual_seed(0)
    layer = Bidirectional(GRU(64, C, regularisation=Regularisation(recurrent_dropout=0.5)))
    x = torch.randn(1, T, C)
    first, second = layer(x)[0], layer(x)[0]
    assert not torch.equal(first[..., :64], second[..., :64])
    assert not torch.equal(first[..., 64:], second[..., 64:])
    layer.eval()
    assert torch.equal(layer(x)[0], layer(x)[0])


def wrapped(name: str, return_sequences: bool, merge) -> tuple[Bidirectional, torch.Tensor]:
    torch.manual_seed(1)
    last = {"return_sequences": return_sequences}
    makers = {
        "plain": lambda: LSTM(H, **last),
        "stack": lambda: Stack(LSTM(4), GRU(H, **last)),
        "loop": lambda: Loop(DeepTransitionCell(H, 2), **last),
        "conv": lambda: ConvLSTM2D(2, 3, **last),
    }
    layer = Bidirectional(makers[name](), merge=merge).double()
    shape = (C, 3, 4) if name == "conv" else (C,)
    x = torch.randn(N, T, *shape, dtype=DOUBLE)
    layer(x)
    return layer, x


@pytest.mark.parametrize("name", ["plain", "stack", "loop", "conv"])
@pytest.mark.parametrize("return_sequences", [True, False])
def test_each_direction_reads_each_row_from_its_own_end(name, return_sequences) -> None:
    """Row by row, without padding: the reverse layer reads the row turned round."""
    layer, x = wrapped(name, return_sequences, None)
    (forward, reverse), states = layer(x, lengths=LENGTHS)
    for row, length in enumerate(LENGTHS):
        alone = x[row : row + 1, :length]
        ahead, ahead_state = layer.forward_layer(alone)
        back, back_state = layer.reverse_layer(alone.flip(1))
        if return_sequences:
            close((forward[row, :length], reverse[row, :length]), (ahead[0], back[0].flip(0)))
        else:
            close((forward[row], reverse[row]), (ahead[0], back[0]))
        close(mapped(lambda part, row=row: part[:, row : row + 1], states), (ahead_state, back_state))


@pytest.mark.parametrize("merge", MERGES)
@pytest.mark.parametrize("name", ["plain", "stack", "conv"])
@pytest.mark.parametrize("return_sequences", [True, False])
def test_merge_joins_the_two_outputs(merge, name, return_sequences) -> None:
    layer, x = wrapped(name, return_sequences, None)
    forward, reverse = layer(x, lengths=LENGTHS)[0]
    layer.merge = merge
    found = layer(x, lengths=LENGTHS)[0]
    assert torch.equal(found, MERGES[merge](forward, reverse, 2 if return_sequences else 1))
    assert found.shape[2 if return_sequences else 1] == layer.output_size


@pytest.mark.parametrize("name", ["stack", "conv"])
def test_turning_the_rows_twice_changes_the_two_directions(name) -> None:
    """With the layers exchanged and the rows turned, the outputs are exchanged and turned."""
    layer, x = wrapped(name, True, None)
    forward, reverse = layer(x, lengths=LENGTHS)[0]
    other = Bidirectional(layer.reverse_layer, layer.forward_layer, merge=None)
    steps = Steps.read(x, LENGTHS, None, "test")
    assert torch.equal(steps.turned(steps.turned(x)), x)
    first, second = other(steps.turned(x), lengths=LENGTHS)[0]
    close((steps.turned(first), steps.turned(second)), (reverse, forward))


def test_steps_turn_each_row_at_its_own_end() -> None:
    y = torch.tensor([[1, 2, 3], [4, 5, 6]])
    ragged = Steps.read(y, [3, 2], None, "test")
    assert ragged.turned(y).tolist() == [[3, 2, 1], [5, 4, 6]]
    assert ragged.reversed() is ragged
    holes = Steps.read(y, None, torch.tensor([[True, False, True], [True, True, False]]), "test")
    assert holes.turned(y).tolist() == [[3, 2, 1], [6, 5, 4]]
    assert holes.reversed().mask.tolist() == [[True, False, True], [False, True, True]]


def test_the_reverse_layer_has_weights_of_its_own() -> None:
    layer = Bidirectional(Stack(LSTM(4, 3), PerStep(torch.nn.Sequential(torch.nn.Linear(4, 4))), GRU(2, 4)))
    pairs = zip(layer.forward_layer.named_parameters(), layer.reverse_layer.parameters(), strict=True)
    assert all("bias" in name or not torch.equal(a, b) for (name, a), b in pairs)
    unbuilt = Bidirectional(LSTM(4))
    unbuilt(torch.zeros(1, 2, 3))
    assert not torch.equal(unbuilt.forward_layer.weight_ih_l0, unbuilt.reverse_layer.weight_ih_l0)


def test_widths_may_differ_side_by_side() -> None:
    output, (h, c) = Bidirectional(GRU(3), GRU(5))(torch.zeros(2, 4, 1))
    assert (output.shape, h.shape, c.shape) == ((2, 4, 8), (1, 2, 3), (1, 2, 5))


def test_repr_shows_the_merge() -> None:
    assert "merge='sum'" in repr(Bidirectional(GRU(2), merge="sum"))
    assert "merge" not in repr(Bidirectional(GRU(2)))


class Own(torch.nn.Module):
    """A module with a parameter and no way to draw it anew."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))


X = torch.zeros(N, T, C)
SHARED = GRU(2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: Bidirectional(torch.nn.GRU(2, 2)),
            "layer is a GRU — expected LSTM, GRU or RNN of gatestack",
        ),
        (lambda: Bidirectional(GRU(2), torch.nn.Linear(2, 2)), "reverse_layer is a Linear"),
        (lambda: Bidirectional(SHARED, SHARED), "the same object"),
        (lambda: Bidirectional(GRU(2), merge="ave"), "'merge' parameter of Bidirectional is 'ave'"),
        (lambda: Bidirectional(GRU(2), GRU(2, return_sequences=False)), "return_sequences is True for one"),
        (lambda: Bidirectional(GRU(2), GRU(3), merge="sum"), "merge='sum' of 2 and 3 features"),
        (lambda: Bidirectional(Stack(GRU(2), Stateful(GRU(2)))), "keeps its state between calls"),
        (lambda: Bidirectional(PerStep(Own())), "Own inside has no reset_parameters"),
        (
            lambda: Bidirectional(Stack(Bidirectional(GRU(2), merge=None))),
            "layer has merge=None",
        ),
        (
            lambda: Bidirectional(GRU(2, 3), GRU(2, 3, dtype=DOUBLE))(X),
            "Bidirectional: x has dtype float32 — expected float64",
        ),
        (lambda: Bidirectional(GRU(2))(X, (None,)), r"state is a tuple of 1 — expected \(forward state"),
        (lambda: Bidirectional(GRU(2))(X, (torch.zeros(2, N, 2), None)), r"\(directions, batch, hidden\)"),
        (
            lambda: Bidirectional(GRU(2))(X, (None, torch.zeros(1, 5, 2))),
            "Bidirectional, reverse layer, GRU: state h has shape",
        ),
        (
            lambda: Bidirectional(Stack(GRU(2)))(X, (None, (torch.zeros(1, 5, 2),))),
            "Bidirectional, reverse layer, Stack, layer 0, GRU: state h has shape",
        ),
        (lambda: Bidirectional(GRU(2))(X, lengths=[7] * N), r"Bidirectional: lengths\[0\] is 7"),
        (lambda: Bidirectional(GRU(2))(X[0]), r"Bidirectional: x has shape \(6, 3\)"),
        (
            lambda: Bidirectional(
                PerStep(torch.nn.Linear(3, 2)), PerStep(torch.nn.Linear(3, 4)), merge="sum"
            )(X),
            r"merge='sum' of outputs \(4, 6, 2\) and \(4, 6, 4\)",
        ),
        (
            lambda: Bidirectional(ConvLSTM2D(2, 3), ConvLSTM2D(2, 3, stride=2))(torch.zeros(N, T, C, 4, 4)),
            r"\(4, 6, 2, 4, 4\) and \(4, 6, 2, 2, 2\) side by side — expected shapes that differ in the feat",
        ),
        (lambda: Stack(Bidirectional(GRU(2), merge=None), GRU(2)), "layer 0 has merge=None"),
        (
            lambda: Stack(GRU(2), Bidirectional(GRU(2), merge=None), residual=True),
            "the last layer has merge=None",
        ),
    ],
)
def test_what_does_not_fit_is_refused(call, message) -> None:
    with pytest.raises(ArgumentError, match=message):
        call()
