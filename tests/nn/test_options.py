"""Every option of the layers changes the result, runs both ways, and has the gradient of its function."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch

from gatestack.errors import ArgumentError
from gatestack.nn import GRU, LSTM, RNN, LSTMForm, Regularisation, Stack
from gatestack.nn.recurrent import Recurrent

N, T, C, H = 4, 6, 3, 5
DOUBLE = torch.float64

FORMS = {
    "peepholes": (LSTM, {"form": LSTMForm(peepholes=True)}),
    "projection": (LSTM, {"form": LSTMForm(projection_size=2)}),
    "lstm layer norm": (LSTM, {"form": LSTMForm(layer_norm=True)}),
    "lstm all": (LSTM, {"form": LSTMForm(peepholes=True, projection_size=3, layer_norm=True)}),
    "gru layer norm": (GRU, {"layer_norm": True}),
    "gru reset before": (GRU, {"reset": "before"}),
    "rnn layer norm": (RNN, {"layer_norm": True}),
    "relu layer norm": (RNN, {"layer_norm": True, "activation": "relu"}),
}
PROBABILITIES = {
    "recurrent_dropout": (LSTM, GRU, RNN),
    "candidate_dropout": (LSTM, GRU),
    "zoneout_hidden": (LSTM, GRU, RNN),
    "zoneout_cell": (LSTM,),
    "weight_drop": (LSTM, GRU, RNN),
}
REGULARISED = [(name, cell) for name, cells in PROBABILITIES.items() for cell in cells]
each_form = pytest.mark.parametrize(("cell", "options"), FORMS.values(), ids=FORMS)
each_probability = pytest.mark.parametrize(("name", "cell"), REGULARISED)


def random_layer(cell, hidden_size: int = H, **options) -> Recurrent:
    """A layer of float64 all of whose parameters are random."""
    torch.manual_seed(0)
    layer = cell(hidden_size, C, dtype=DOUBLE, **options)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
    return layer


def random_input() -> torch.Tensor:
    return torch.randn(N, T, C, dtype=DOUBLE)


def parts(result) -> list[torch.Tensor]:
    """The output, then the states."""
    output, state = result
    return [output, *(state if isinstance(state, tuple) else (state,))]


@each_form
@pytest.mark.parametrize("bidirectional", [False, True])
def test_each_form_changes_the_result_and_every_parameter_learns(cell, options, bidirectional) -> None:
    layer = random_layer(cell, bidirectional=bidirectional, **options)
    plain = cell(H, C, dtype=DOUBLE, bidirectional=bidirectional)
    if layer.output_size == plain.output_size:
        shared = {name: value for name, value in layer.state_dict().items() if name in plain.state_dict()}
        plain.load_state_dict(shared)
    x = random_input()
    output, _ = layer(x, lengths=[6, 0, 1, 3])
    assert output.shape == (N, T, layer.output_size)
    expected, _ = plain(x, lengths=[6, 0, 1, 3])
    assert output.shape != expected.shape or not torch.allclose(output, expected)
    output.square().sum().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in layer.parameters())


@each_form
@pytest.mark.parametrize(
    "steps", [{}, {"lengths": [3, 1]}, {"mask": torch.tensor([[1, 0, 1], [0, 1, 1]]).bool()}]
)
def test_gradients_of_each_form_are_the_slopes(cell, options, steps) -> None:
    layer = random_layer(cell, 4, bidirectional=True, initial_state="trained", **options)
    names, values = zip(*layer.named_parameters(), strict=True)

    def run(x, *values):
        return tuple(
            parts(torch.func.functional_call(layer, dict(zip(names, values, strict=True)), x, steps))
        )

    x = torch.randn(2, 3, C, dtype=DOUBLE, requires_grad=True)
    assert torch.autograd.gradcheck(run, (x, *values), fast_mode=True)


@each_probability
def test_each_probability_acts_in_training_and_is_drawn_from_torchs_random_state(name, cell) -> None:
    layer = random_layer(cell, 16, regularisation=Regularisation(**{name: 0.4}))
    plain = random_layer(cell, 16)
    x = random_input()
    torch.manual_seed(1)
    first, second = layer(x)[0], layer(x)[0]
    torch.manual_seed(1)
    assert torch.equal(layer(x)[0], first)
    assert not torch.equal(second, first)
    first.square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in layer.parameters())
    layer.eval()
    same = torch.equal(layer(x)[0], plain(x)[0])
    assert same != name.startswith("zoneout"), "dropout does nothing in eval mode; zoneout takes its mean"
    assert torch.equal(layer(x)[0], layer(x)[0])


@each_probability
def test_gradients_of_regularised_layers_are_the_slopes(name, cell) -> None:
    layer = random_layer(cell, 4, regularisation=Regularisation(**{name: 0.4}))
    names, values = zip(*layer.named_parameters(), strict=True)

    def run(x, *values):
        torch.manual_seed(2)
        return tuple(parts(torch.func.functional_call(layer, dict(zip(names, values, strict=True)), x)))

    x = torch.randn(2, 3, C, dtype=DOUBLE, requires_grad=True)
    assert torch.autograd.gradcheck(run, (x, *values), fast_mode=True)


def test_zoneout_in_eval_mode_is_the_mean_of_what_it_does() -> None:
    layer = RNN(3, C, dtype=DOUBLE, regularisation=Regularisation(zoneout_hidden=0.25)).eval()
    plain = RNN(3, C, dtype=DOUBLE)
    plain.load_state_dict(layer.state_dict())
    x, h = random_input(), torch.randn(1, N, 3, dtype=DOUBLE)
    one, _ = layer(x[:, :1], h)
    torch.testing.assert_close(one[:, 0], 0.75 * plain(x[:, :1], h)[0][:, 0] + 0.25 * h[0])


def test_recurrent_dropout_keeps_one_mask_for_all_steps() -> None:
    """With weights of zero but a recurrent identity and no input, relu shows the mask: h_t = m ⊙ h_{t−1}."""
    layer = RNN(64, 1, activation="relu", regularisation=Regularisation(recurrent_dropout=0.5))
    with torch.no_grad():
        layer.weight_hh_l0.copy_(torch.eye(64))
        layer.weight_ih_l0.zero_()
    output, _ = layer(torch.zeros(2, 3, 1), torch.ones(1, 2, 64))
    assert set(output[:, 0].unique().tolist()) == {0.0, 2.0}
    torch.testing.assert_close(output[:, 1], output[:, 0] ** 2)
    torch.testing.assert_close(output[:, 2], output[:, 0] ** 3)
    assert not torch.equal(output[0], output[1]), "each row has a mask of its own"


def test_weight_drop_drops_weights_of_the_recurrence_alone() -> None:
    layer = LSTM(32, C, regularisation=Regularisation(weight_drop=0.5))
    (weights,) = layer.weights()
    dropped = weights.weight_hh == 0
    assert 0.4 < dropped.float().mean() < 0.6
    kept = ~dropped
    torch.testing.assert_close(weights.weight_hh[kept], 2 * layer.weight_hh_l0[kept])
    assert weights.weight_ih is layer.weight_ih_l0
    assert layer.eval().weights()[0].weight_hh is layer.weight_hh_l0


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_weights_of_torch_with_a_projection_load_and_give_its_numbers(depth, bidirectional) -> None:
    peer = torch.nn.LSTM(
        C, H, depth, proj_size=2, bidirectional=bidirectional, batch_first=True, dtype=DOUBLE
    )
    form = LSTMForm(projection_size=2)
    layers = [LSTM(H, bidirectional=bidirectional, form=form, dtype=DOUBLE) for _ in range(depth)]
    module = Stack(*layers) if depth > 1 else layers[0]
    module.load_state_dict(peer.state_dict())
    x = random_input()
    output, state = module(x)
    expected, (h, c) = peer(x)
    torch.testing.assert_close(output, expected, rtol=1e-10, atol=1e-10)
    states = state if depth > 1 else (state,)
    torch.testing.assert_close(torch.cat([one[0] for one in states]), h, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(torch.cat([one[1] for one in states]), c, rtol=1e-10, atol=1e-10)


def test_new_parameters_start_as_the_plain_layer() -> None:
    layer = LSTM(H, C, form=LSTMForm(peepholes=True, layer_norm=True, projection_size=2), bidirectional=True)
    for suffix in ("_l0", "_l0_reverse"):
        assert not getattr(layer, "peephole" + suffix).any()
        assert (getattr(layer, "gain_ih" + suffix) == 1).all()
        assert (getattr(layer, "gain_c" + suffix) == 1).all()
        assert not getattr(layer, "bias_c" + suffix).any()
        assert getattr(layer, "weight_hr" + suffix).shape == (2, H)
        assert getattr(layer, "bias_ih" + suffix).tolist() == [0.0] * H + [1.0] * H + [0.0] * 2 * H


@each_form
def test_copies_of_layers_with_options_are_equal(cell, options) -> None:
    layer = random_layer(cell, regularisation=Regularisation(zoneout_hidden=0.1), **options).eval()
    x = random_input()
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert repr(twin) == repr(layer)
        assert torch.equal(twin(x)[0], layer(x)[0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: LSTMForm(projection_size=0), "'projection_size' parameter of LSTMForm is 0"),
        (lambda: LSTM(4, form={"peepholes": True}), "form is of type dict — expected an LSTMForm, or None"),
        (lambda: LSTM(4, regularisation=0.5), "regularisation is of type float — expected a Regularisation"),
        (lambda: Regularisation(zoneout_cell=1.0), "'zoneout_cell' parameter of Regularisation is 1.0"),
        (
            lambda: GRU(4, reset="befor"),
            r"'reset' parameter of GRU is 'befor' .*\n\nhint: did you mean 'before'",
        ),
        (lambda: GRU(4, reset="before", layer_norm=True), "layer_norm=True with reset='before' — expected"),
        (
            lambda: GRU(4, regularisation=Regularisation(zoneout_cell=0.1)),
            "GRU: regularisation has zoneout_cell=0.1 — expected 0: GRU has no cell state",
        ),
        (
            lambda: RNN(4, regularisation=Regularisation(candidate_dropout=0.1)),
            "RNN: regularisation has candidate_dropout=0.1 — expected 0: RNN has no candidate",
        ),
    ],
)
def test_what_a_cell_cannot_have_is_refused(call, message) -> None:
    with pytest.raises(ArgumentError, match=message):
        call()


def test_repr_shows_the_options() -> None:
    layer = LSTM(4, 2, form=LSTMForm(peepholes=True), regularisation=Regularisation(weight_drop=0.5))
    assert "form=LSTMForm(peepholes=True), regularisation=Regularisation(weight_drop=0.5)" in repr(layer)
    assert "reset='before'" in repr(GRU(4, reset="before"))
    assert "layer_norm=True" in repr(RNN(4, layer_norm=True))


def test_options_stand_as_they_were_given() -> None:
    layer = LSTM(4, 2, form=LSTMForm(peepholes=True))
    with pytest.raises(AttributeError):
        layer.form = LSTMForm()
    with pytest.raises(AttributeError):
        layer.regularisation = Regularisation()
    assert RNN(4, activation="relu").activation == "relu"


def deep_stack(**options) -> Stack:
    torch.manual_seed(0)
    return Stack(LSTM(H), LSTM(H), GRU(H), input_size=C, **options).double()


def test_a_stack_of_neighbours_is_one_call(monkeypatch) -> None:
    calls = []
    run = __import__("gatestack.nn.stack", fromlist=["run_stack"]).run_stack

    def counted(spec, *args, **options):
        calls.append(len(spec.layers))
        return run(spec, *args, **options)

    monkeypatch.setattr("gatestack.nn.stack.run_stack", counted)
    x = random_input()
    deep_stack(residual=True, dropout=0.1)(x)
    assert calls == [3]
    calls.clear()
    layers = (LSTM(H), LSTM(H, bidirectional=True, merge="sum"), RNN(H, bidirectional=True), GRU(H))
    Stack(*layers, input_size=C).double()(x)
    assert calls == [1, 1, 1, 1]


@pytest.mark.parametrize("steps", [{}, {"lengths": [6, 2, 0, 3]}, {"mask": torch.rand(N, T) < 0.5}])
@pytest.mark.parametrize("return_sequences", [True, False])
def test_merged_directions_take_their_residual_after_the_merge(steps, return_sequences) -> None:
    torch.manual_seed(0)
    layers = (
        LSTM(H),
        GRU(H, bidirectional=True, merge="average"),
        LSTM(H, return_sequences=return_sequences),
    )
    stack = Stack(*layers, input_size=C, residual=True).double()
    x = random_input()
    first, _ = layers[0](x, **steps)
    second = layers[1](first, **steps)[0] + first
    whole = LSTM(H, H).double()
    whole.load_state_dict(layers[2].state_dict())
    third = whole(second, **steps)[0] + second
    output, _ = stack(x, **steps)
    if return_sequences:
        torch.testing.assert_close(output, third)
        return
    real = torch.ones(N, T, dtype=torch.bool)
    if "lengths" in steps:
        real = torch.arange(T) < torch.tensor(steps["lengths"])[:, None]
    real = steps.get("mask", real)
    for row in range(N):
        expected = third[row, real[row]][-1] if real[row].any() else torch.zeros(H, dtype=DOUBLE)
        torch.testing.assert_close(output[row], expected)


def test_hooks_on_a_layer_of_a_stack_are_called_and_may_change_its_output() -> None:
    stack, x = deep_stack(residual=True), random_input()
    plain, _ = stack(x)
    seen = []
    handle = stack.layers[1].register_forward_hook(lambda _, args, result: seen.append((args[0], result[0])))
    torch.testing.assert_close(stack(x)[0], plain)
    first, _ = stack.layers[0](x)
    torch.testing.assert_close(seen[0][0], first)
    handle.remove()
    assert torch.equal(stack(x)[0], plain)
    stack.layers[1].register_forward_hook(lambda _, __, result: (result[0] * 0, result[1]))
    assert not torch.allclose(stack(x)[0], plain)


def test_a_layer_in_eval_mode_stays_so_in_a_stack_that_trains() -> None:
    torch.manual_seed(0)
    dropped = Regularisation(recurrent_dropout=0.5)
    stack = Stack(LSTM(16, regularisation=dropped), LSTM(16, regularisation=dropped), input_size=C).double()
    x = random_input()
    assert not torch.equal(stack(x)[0], stack(x)[0])
    for layer in stack.layers:
        layer.eval()
    assert torch.equal(stack(x)[0], stack(x)[0])
