"""One layer: options, states, ragged input, what is refused."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from gatestack.errors import ArgumentError
from gatestack.nn import GRU, LSTM, RNN, ConvLSTM2D

CELLS = {"lstm": LSTM, "gru": GRU, "rnn": RNN}
TORCH = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}
N, T, C, H = 4, 6, 3, 5

each_cell = pytest.mark.parametrize("cell", CELLS)
each_direction = pytest.mark.parametrize("bidirectional", [False, True], ids=["forward", "both"])


def parts(state) -> tuple[torch.Tensor, ...]:
    return state if isinstance(state, tuple) else (state,)


def random_state(layer, batch: int = N):
    shape = (layer.num_directions, batch, layer.hidden_size)
    made = tuple(torch.randn(shape, dtype=torch.float64) for _ in layer.state_names)
    return made if len(made) == 2 else made[0]


def random_layer(cell: str, input_size: int | None = C, hidden_size: int = H, **options):
    """A layer of float64 whose biases and initial states are random as well."""
    torch.manual_seed(3)
    layer = CELLS[cell](hidden_size, input_size, dtype=torch.float64, **options)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
    return layer


def random_input(batch: int = N, time: int = T) -> torch.Tensor:
    return torch.randn(batch, time, C, dtype=torch.float64)


@each_cell
@each_direction
@settings(max_examples=15, deadline=None)
@given(lengths=st.lists(st.integers(1, T), min_size=1, max_size=5))
def test_ragged_results_are_those_of_torch_on_packed_sequences(cell, bidirectional, lengths) -> None:
    layer = random_layer(cell, bidirectional=bidirectional)
    peer = TORCH[cell](C, H, bidirectional=bidirectional, batch_first=True, dtype=torch.float64)
    peer.load_state_dict(layer.state_dict())
    x, state = random_input(len(lengths)), random_state(layer, len(lengths))
    packed = pack_padded_sequence(x, torch.tensor(lengths), batch_first=True, enforce_sorted=False)
    expected, expected_state = peer(packed, state)
    expected, _ = pad_packed_sequence(expected, batch_first=True, total_length=T)
    output, final = layer(x, state, lengths=lengths)
    torch.testing.assert_close(output, expected, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(final, expected_state, rtol=1e-10, atol=1e-10)


@each_cell
@each_direction
@pytest.mark.parametrize(
    "steps", [{}, {"lengths": [3, 0, 1]}, {"mask": "holes"}], ids=["all", "ragged", "mask"]
)
def test_gradients_are_the_slopes(cell, bidirectional, steps) -> None:
    layer = random_layer(cell, 2, 2, bidirectional=bidirectional, initial_state="trained")
    if steps.get("mask") == "holes":
        steps = {"mask": torch.tensor([[1, 0, 1], [0, 0, 0], [0, 1, 1]], dtype=torch.bool)}
    names, values = zip(*layer.named_parameters(), strict=True)

    def results(x, *values):
        output, final = torch.func.functional_call(layer, dict(zip(names, values, strict=True)), x, steps)
        return output, *parts(final)

    x = torch.randn(3, 3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(results, (x, *values))


@each_cell
@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(0, T), max_size=3).map(sorted))
def test_chunks_with_carried_state_are_the_whole(cell, cuts) -> None:
    layer = random_layer(cell)
    x, state = random_input(), random_state(layer)
    whole, final = layer(x, state)
    outputs = []
    for start, stop in zip([0, *cuts], [*cuts, T], strict=True):
        output, state = layer(x[:, start:stop], state)
        outputs.append(output)
    torch.testing.assert_close(torch.cat(outputs, dim=1), whole)
    torch.testing.assert_close(state, final)


@each_cell
@each_direction
@settings(max_examples=15, deadline=None)
@given(lengths=st.lists(st.integers(0, T), min_size=1, max_size=4))
def test_lengths_and_the_mask_of_these_lengths_agree(cell, bidirectional, lengths) -> None:
    layer = random_layer(cell, bidirectional=bidirectional)
    x, state = random_input(len(lengths)), random_state(layer, len(lengths))
    mask = torch.arange(T) < torch.tensor(lengths)[:, None]
    by_lengths, by_mask = layer(x, state, lengths=lengths), layer(x, state, mask=mask)
    assert torch.equal(by_lengths[0], by_mask[0])
    assert all(torch.equal(a, b) for a, b in zip(parts(by_lengths[1]), parts(by_mask[1]), strict=True))


@each_direction
def test_cell_states_at_every_step_leave_the_results_as_they_are(bidirectional) -> None:
    layer = random_layer("lstm", bidirectional=bidirectional, initial_state="trained")
    x, mask = random_input(), torch.rand(N, T) < 0.6
    output, (h, c) = layer(x, mask=mask)
    slow, (slow_h, slow_c), cells = layer(x, mask=mask, return_cell_states=True)
    for fast_one, slow_one in ((output, slow), (h, slow_h), (c, slow_c)):
        torch.testing.assert_close(fast_one, slow_one, rtol=1e-12, atol=1e-12)
    assert cells.shape == (N, T, layer.num_directions * H)
    assert not cells[~mask].any()
    forward = cells[:, :, :H]
    last = mask.to(torch.uint8).cumsum(1).argmax(1)
    for row in range(N):
        if mask[row].any():
            torch.testing.assert_close(forward[row, last[row]], c[0, row])


@each_cell
def test_without_sequences_the_output_is_the_state_at_each_rows_length(cell) -> None:
    every, last = random_layer(cell), random_layer(cell, return_sequences=False)
    last.load_state_dict(every.state_dict())
    x, lengths = random_input(), [6, 1, 3, 2]
    sequences, _ = every(x, lengths=lengths)
    output, state = last(x, lengths=lengths)
    for row, length in enumerate(lengths):
        torch.testing.assert_close(output[row], sequences[row, length - 1])
    assert torch.equal(output, parts(state)[0][0])


@each_cell
def test_the_reverse_half_of_the_last_step_is_not_the_final_state(cell) -> None:
    """The trap of bidirectional layers: at the last step the reverse direction has read one step only."""
    every = random_layer(cell, bidirectional=True)
    last = random_layer(cell, bidirectional=True, return_sequences=False)
    last.load_state_dict(every.state_dict())
    x, lengths = random_input(), [6, 4, 3, 5]
    sequences, state = every(x, lengths=lengths)
    output, _ = last(x, lengths=lengths)
    h = parts(state)[0]
    for row, length in enumerate(lengths):
        torch.testing.assert_close(h[0, row], sequences[row, length - 1, :H])
        torch.testing.assert_close(h[1, row], sequences[row, 0, H:])
        assert not torch.allclose(h[1, row], sequences[row, length - 1, H:])
    assert torch.equal(output, torch.cat((h[0], h[1]), dim=1))


@pytest.mark.parametrize("return_sequences", [True, False])
@pytest.mark.parametrize(
    ("merge", "rule"),
    [
        ("sum", lambda a, b: a + b),
        ("mul", lambda a, b: a * b),
        ("average", lambda a, b: (a + b) / 2),
        ("concat", lambda a, b: torch.cat((a, b), dim=-1)),
    ],
)
def test_merge_joins_the_two_directions(merge, rule, return_sequences) -> None:
    apart = random_layer("gru", bidirectional=True, return_sequences=return_sequences)
    layer = random_layer("gru", bidirectional=True, merge=merge, return_sequences=return_sequences)
    x, lengths = random_input(), [6, 0, 2, 5]
    both, _ = apart(x, lengths=lengths)
    output, _ = layer(x, lengths=lengths)
    torch.testing.assert_close(output, rule(both[..., :H], both[..., H:]))
    assert output.shape[-1] == layer.output_size


@each_cell
@each_direction
def test_a_trained_initial_state_starts_every_row_and_learns(cell, bidirectional) -> None:
    layer = random_layer(cell, bidirectional=bidirectional, initial_state="trained")
    x = random_input()
    trained = tuple(getattr(layer, f"initial_{name}_l0") for name in layer.state_names)
    given = tuple(value[:, None].expand(-1, N, -1).detach() for value in trained)
    output, final = layer(x, lengths=[6, 0, 1, 2])
    expected, _ = layer(x, given if len(given) == 2 else given[0], lengths=[6, 0, 1, 2])
    torch.testing.assert_close(output, expected)
    torch.testing.assert_close(parts(final)[0][:, 1], trained[0])
    output.sum().backward()
    assert all(value.grad.abs().min() > 0 for value in trained)


def test_options_change_the_result() -> None:
    x = random_input()

    def result(cell: str, **options) -> torch.Tensor:
        torch.manual_seed(0)
        return CELLS[cell](H, C, dtype=torch.float64, **options)(x)[0]

    for cell in CELLS:
        plain = result(cell)
        assert result(cell, bidirectional=True).shape == (N, T, 2 * H)
        assert result(cell, return_sequences=False).shape == (N, H)
        torch.testing.assert_close(result(cell), plain)
    assert not torch.allclose(result("lstm", forget_bias=0.0), result("lstm"))
    assert result("rnn", activation="relu").min() == 0.0 > result("rnn").min()
    assert LSTM(H, C, dtype=torch.float32).weight_hh_l0.dtype == torch.float32


@each_cell
@each_direction
def test_weights_start_orthogonal_and_glorot_gate_by_gate(cell, bidirectional) -> None:
    layer = CELLS[cell](16, 48, bidirectional=bidirectional, dtype=torch.float64)
    limit = (6 / (16 + 48)) ** 0.5
    for suffix in ["_l0", "_l0_reverse"][: layer.num_directions]:
        for block in getattr(layer, "weight_hh" + suffix).chunk(layer.gates):
            torch.testing.assert_close(block @ block.T, torch.eye(16, dtype=torch.float64))
        for block in getattr(layer, "weight_ih" + suffix).chunk(layer.gates):
            assert 0.9 * limit < block.abs().max() <= limit


@each_direction
def test_the_forget_gate_starts_with_its_bias_in_one_place(bidirectional) -> None:
    layer = LSTM(2, 3, bidirectional=bidirectional, forget_bias=1.5)
    for suffix in ["_l0", "_l0_reverse"][: layer.num_directions]:
        assert getattr(layer, "bias_ih" + suffix).tolist() == [0, 0, 1.5, 1.5, 0, 0, 0, 0]
        assert not getattr(layer, "bias_hh" + suffix).any()


@each_cell
def test_the_input_size_comes_with_the_first_call(cell) -> None:
    layer = CELLS[cell](H)
    assert "input_size=?" in repr(layer)
    assert not list(layer.parameters())
    layer(torch.zeros(1, 2, 7))
    assert "input_size=7" in repr(layer)
    assert layer.weight_ih_l0.shape == (layer.gates * H, 7)


def test_an_unbuilt_layer_keeps_the_dtype_it_was_sent_to() -> None:
    layer = LSTM(2).double().build(3)
    assert {parameter.dtype for parameter in layer.parameters()} == {torch.float64}


@pytest.mark.parametrize("make", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
@pytest.mark.parametrize("input_size", [None, C])
def test_copies_are_independent_and_equal(make, input_size) -> None:
    layer = random_layer("lstm", input_size)
    twin = make(layer)
    twin.load_state_dict(random_layer("lstm").state_dict())
    assert layer.input_size == input_size, "loading into the copy left the original alone"
    layer.build(C).load_state_dict(twin.state_dict())
    x = random_input()
    assert torch.equal(layer(x)[0], twin(x)[0])


@each_cell
@each_direction
@pytest.mark.parametrize(("batch", "time"), [(0, 4), (3, 0), (0, 0)])
def test_empty_batches_and_empty_rows_are_fine(cell, bidirectional, batch, time) -> None:
    layer = random_layer(cell, bidirectional=bidirectional)
    x, state = random_input(batch, time).requires_grad_(), random_state(layer, batch)
    for steps in ({}, {"lengths": [0] * batch}, {"mask": torch.zeros(batch, time, dtype=torch.bool)}):
        output, final = layer(x, state, **steps)
        assert output.shape == (batch, time, layer.output_size)
        for found, expected in zip(parts(final), parts(state), strict=True):
            assert torch.equal(found, expected)
        output.sum().backward()


def test_empty_batches_have_cell_states_as_well() -> None:
    for batch, time in ((0, 4), (3, 0)):
        _, _, cells = random_layer("lstm", bidirectional=True)(
            random_input(batch, time), return_cell_states=True
        )
        assert cells.shape == (batch, time, 2 * H)


@pytest.mark.parametrize("lengths", [np.array([2, 1]), torch.tensor([2, 1], dtype=torch.int32), (2, 1)])
def test_lengths_come_as_array_tensor_or_tuple(lengths) -> None:
    layer, x = random_layer("gru"), random_input(2)
    assert torch.equal(layer(x, lengths=lengths)[0], layer(x, lengths=[2, 1])[0])


def test_a_mask_may_be_a_numpy_array() -> None:
    layer, x = random_layer("gru"), random_input(2)
    mask = np.random.default_rng(0).random((2, T)) < 0.5
    assert torch.equal(layer(x, mask=mask)[0], layer(x, mask=torch.tensor(mask))[0])


X = torch.zeros(N, T, C)
STATE = torch.zeros(1, N, H)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: LSTM(H, 8)(X), r"LSTM: x has shape \(4, 6, 3\) — expected \(batch, time, 8\)"),
        (
            lambda: LSTM(H)(X[0]),
            r"x has shape \(6, 3\) — expected \(batch, time, features\)\n\nhint: .*x\[:, :, None\]",
        ),
        (lambda: GRU(H)(np.zeros((N, T, C))), "x is of type numpy.ndarray — expected a torch.Tensor"),
        (
            lambda: GRU(H, C)(X.double()),
            r"x has dtype float64 — expected float32.*\n\nhint: .to\(torch.float32\)",
        ),
        (lambda: GRU(H)(X.long()), "x has dtype int64"),
        (lambda: GRU(H, C)(X.to("meta")), "x is on meta — expected cpu"),
        (
            lambda: GRU(H, C)(X, STATE[:, :2]),
            r"state h has shape \(1, 2, 5\) — expected \(directions, batch, hidden\) = \(1, 4, 5\)",
        ),
        (lambda: GRU(H, C, bidirectional=True)(X, STATE), r"h has shape \(1, 4, 5\) — .* = \(2, 4, 5\)"),
        (lambda: LSTM(H, C)(X, STATE), r"state is of type torch.Tensor — expected a tuple \(h, c\)"),
        (lambda: LSTM(H, C)(X, (STATE, STATE, STATE)), "state is a tuple of 3"),
        (lambda: LSTM(H, C)(X, (STATE, None)), "state c is of type NoneType"),
        (lambda: LSTM(H, C)(X, (STATE, STATE[:, :, :1])), r"state c has shape \(1, 4, 1\)"),
        (lambda: LSTM(H, C)(X, (STATE, STATE.double())), "state c has dtype float64 — expected float32"),
        (lambda: GRU(H, C)(X, (STATE,)), "state is a tuple of 1 — expected one tensor h"),
        (lambda: GRU(H, C)(X, lengths=[1, 2]), r"lengths has shape \(2,\) — expected \(batch,\) = \(4,\)"),
        (lambda: GRU(H, C)(X, lengths=[1, 2, 7, 1]), r"lengths\[2\] is 7 — expected 0 to 6"),
        (lambda: GRU(H, C)(X, lengths=[1, 2, 3, -1]), r"lengths\[3\] is -1"),
        (
            lambda: GRU(H, C)(X, lengths=[1.0, 2.0, 3.0, 4.0]),
            "lengths has dtype float32 — expected whole numbers",
        ),
        (lambda: GRU(H, C)(X, mask=torch.ones(N, T)), "mask has dtype float32 — expected bool"),
        (
            lambda: GRU(H, C)(X, mask=torch.ones(N, C, dtype=torch.bool)),
            r"mask has shape \(4, 3\) — expected \(batch, time\) = \(4, 6\)",
        ),
        (lambda: GRU(H, C)(X, mask=torch.ones(N, T, dtype=torch.bool), lengths=[1] * N), "both given"),
        (lambda: LSTM(0), "'hidden_size' parameter of LSTM is 0 — expected a whole number of 1 or more"),
        (lambda: LSTM(True), "'hidden_size' parameter of LSTM is True"),
        (lambda: LSTM(4, 2.0), "'input_size' parameter of LSTM is 2.0"),
        (lambda: LSTM(4, 2).build(3), "input_size 3 — expected 2, for which it was built"),
        (
            lambda: LSTM(4, bidirectional=True, merge="concatt"),
            r"'merge' parameter of LSTM is 'concatt' — .*\n\nhint: did you mean 'concat'\?",
        ),
        (lambda: LSTM(4, merge="sum"), "merge='sum' with one direction"),
        (lambda: LSTM(4, initial_state="train"), "did you mean 'trained'"),
        (lambda: LSTM(4, forget_bias="one"), "'forget_bias' parameter of LSTM is 'one' — expected a number"),
        (
            lambda: RNN(4, activation="elu"),
            "'activation' parameter of RNN is 'elu' — expected one of 'tanh', 'relu'",
        ),
    ],
)
def test_what_does_not_fit_is_refused(call, message) -> None:
    with pytest.raises(ArgumentError, match=message):
        call()


def settings_of(layer: torch.nn.Module) -> str:
    """The repr of a layer but for the backend, which is the machine's."""
    return repr(layer).replace(", backend='torch'", "")


def test_repr_shows_every_setting_that_is_not_the_default() -> None:
    layer = LSTM(
        4, bidirectional=True, merge="sum", return_sequences=False, forget_bias=0, initial_state="trained"
    )
    assert settings_of(layer) == (
        "LSTM(4, input_size=?, bidirectional=True, merge='sum', return_sequences=False, "
        "initial_state='trained', forget_bias=0)"
    )
    assert settings_of(RNN(4, 2, activation="relu")) == "RNN(4, input_size=2, activation='relu')"


def test_sizes_may_be_numbers_of_numpy() -> None:
    layer = LSTM(np.int64(4), np.uint8(2))
    assert settings_of(layer) == "LSTM(4, input_size=2)"
    assert (type(layer.hidden_size), type(layer.input_size)) == (int, int)


def test_layers_run_where_there_is_no_autocast() -> None:
    x = torch.zeros(2, 3, C, 4, 4, device="meta")
    assert LSTM(H, C).to("meta")(x[..., 0, 0])[0].shape == (2, 3, H)
    assert ConvLSTM2D(H, 3, C).to("meta")(x)[0].shape == (2, 3, H, 4, 4)
