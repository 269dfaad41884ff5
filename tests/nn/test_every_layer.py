"""What every layer promises, whatever it is made of; and that these checks see what is broken."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from composed import COMPOSED, FORWARD, N, T, close, random_state

from gatestack.errors import ArgumentError
from gatestack.nn import (
    GRU,
    LSTM,
    RNN,
    ConvLSTM2D,
    DeepTransitionCell,
    GRUCell,
    Loop,
    LSTMCell,
    RNNCell,
)
from gatestack.nn.states import leaves, mapped
from gatestack.nn.steps import Steps

LENGTHS = [6, 2, 0, 4]
HOLES = torch.tensor(
    [[1, 1, 1, 1, 1, 1], [0, 1, 0, 0, 1, 0], [0, 0, 0, 0, 0, 0], [1, 0, 1, 1, 0, 0]], dtype=torch.bool
)

each = pytest.mark.parametrize("name", COMPOSED)
each_forward = pytest.mark.parametrize("name", FORWARD)


def row_of(state, row: int):
    """The state of one row, still with an axis for the batch."""
    return mapped(lambda part: part[:, row : row + 1], state)


def check_lengths_are_truncation(name: str, seed: int = 1) -> None:
    """A padded row is the row without its padding, which may hold NaN, and gives zero there."""
    layer, x = COMPOSED[name].built(), COMPOSED[name].draw()
    torch.manual_seed(seed)
    state = random_state(layer, x)
    padded = x.clone()
    for row, length in enumerate(LENGTHS):
        padded[row, length:] = torch.nan
    output, final = layer(padded, state, lengths=LENGTHS)
    for row, length in enumerate(LENGTHS):
        alone, alone_final = layer(x[row : row + 1, :length], row_of(state, row))
        if layer.return_sequences:
            close(output[row, :length], alone[0])
            assert not output[row, length:].any()
        else:
            close(output[row], alone[0])
        close(row_of(final, row), alone_final)


def check_masks_leave_steps_out(name: str) -> None:
    """A row with holes is the row without them, and the state is kept over a hole."""
    layer, x = COMPOSED[name].built(), COMPOSED[name].draw()
    state = random_state(layer, x)
    output, final = layer(
        x.masked_fill(~HOLES.view(N, T, *(1,) * (x.dim() - 2)), torch.nan), state, mask=HOLES
    )
    for row, real in enumerate(HOLES):
        alone, alone_final = layer(x[row : row + 1, real], row_of(state, row))
        if layer.return_sequences:
            close(output[row, real], alone[0])
            assert not output[row, ~real].any()
        else:
            close(output[row], alone[0])
        close(row_of(final, row), alone_final)


@each
def test_lengths_are_truncation(name: str) -> None:
    check_lengths_are_truncation(name)


@each
def test_masks_leave_steps_out(name: str) -> None:
    check_masks_leave_steps_out(name)


@each
def test_lengths_and_the_mask_of_these_lengths_agree(name: str) -> None:
    layer, x = COMPOSED[name].built(), COMPOSED[name].draw()
    mask = torch.arange(T) < torch.tensor(LENGTHS)[:, None]
    state = random_state(layer, x)
    close(layer(x, state, lengths=LENGTHS), layer(x, state, mask=mask))


@each_forward
def test_single_steps_are_the_whole(name: str) -> None:
    """T steps, one call each, with the state carried; single rows pause with a mask."""
    layer, x = COMPOSED[name].built(), COMPOSED[name].draw()
    state = random_state(layer, x)
    whole, final = layer(x, state, mask=HOLES)
    outputs = []
    for t in range(T):
        y, state = layer(x[:, t : t + 1], state, mask=HOLES[:, t : t + 1])
        outputs.append(y)
    if layer.return_sequences:
        close(torch.cat(outputs, dim=1), whole)
    close(state, final)


@each
def test_rows_do_not_know_each_other(name: str) -> None:
    layer, x = COMPOSED[name].built(), COMPOSED[name].draw()
    state, order = random_state(layer, x), torch.tensor([2, 0, 3, 1])
    output, final = layer(x, state, lengths=LENGTHS)
    other, other_final = layer(
        x[order], mapped(lambda part: part[:, order], state), lengths=[LENGTHS[n] for n in order]
    )
    close(other, output[order])
    close(other_final, mapped(lambda part: part[:, order], final))


@each
@pytest.mark.parametrize(("batch", "time"), [(0, 4), (3, 0)])
def test_nothing_is_fine(name: str, batch: int, time: int) -> None:
    layer = COMPOSED[name].built()
    x = COMPOSED[name].draw(batch, time)
    state = random_state(layer, x)
    output, final = layer(x, state)
    expected = layer(COMPOSED[name].draw(2, 2))[0].shape[2 if layer.return_sequences else 1 :]
    assert output.shape == ((batch, time, *expected) if layer.return_sequences else (batch, *expected))
    assert all(torch.equal(a, b) for a, b in zip(leaves(final), leaves(state), strict=True))


@each
def test_the_initial_state_is_what_a_call_starts_from(name: str) -> None:
    layer, x = COMPOSED[name].built(), COMPOSED[name].draw()
    start = layer.start(x)
    assert all(part.shape[1] == N for part in leaves(start))
    close(layer(x, start, lengths=LENGTHS), layer(x, lengths=LENGTHS))
    if leaves(start):
        other = layer(x, random_state(layer, x), lengths=LENGTHS)[0]
        assert not torch.allclose(other, layer(x, lengths=LENGTHS)[0])


@each
def test_gradients_reach_every_parameter_and_are_slopes_along_a_line(name: str) -> None:
    """The slope of a loss along a random direction, of input, state and parameters at once."""
    layer, x = COMPOSED[name].built(), COMPOSED[name].draw()
    inside = [*layer.parameters(), x, *leaves(state := random_state(layer, x))]
    for tensor in inside:
        tensor.requires_grad_()
    probe = [torch.randn_like(part) for part in leaves(layer(x, state, mask=HOLES))]

    def loss() -> torch.Tensor:
        found = leaves(layer(x, state, mask=HOLES))
        return sum((a * b).sum() for a, b in zip(found, probe, strict=True))

    gradients = torch.autograd.grad(loss(), inside, allow_unused=True)
    reached = [gradient is not None and bool(gradient.any()) for gradient in gradients]
    unread = 2 if name == "gru, trained start" else 1  # a state was given: the trained one is not read
    assert reached.count(False) < unread
    directions = [torch.randn_like(tensor) for tensor in inside]

    def along(length: float) -> float:
        with torch.no_grad():
            for tensor, direction in zip(inside, directions, strict=True):
                tensor.add_(direction, alpha=length)
            found = loss()
            for tensor, direction in zip(inside, directions, strict=True):
                tensor.sub_(direction, alpha=length)
        return float(found)

    expected = (along(1e-6) - along(-1e-6)) / 2e-6
    found = sum((g * d).sum() for g, d in zip(gradients, directions, strict=True) if g is not None)
    assert float(found) == pytest.approx(expected, rel=1e-6, abs=1e-7)


@each
def test_weights_travel_and_copies_are_equal(name: str) -> None:
    layer, x = COMPOSED[name].built(), COMPOSED[name].draw()
    twin = COMPOSED[name].built(seed=7)
    assert not torch.equal(twin(x)[0], layer(x)[0])
    twin.load_state_dict(layer.state_dict())
    copied = copy.deepcopy(layer)
    for other in (twin, copied, pickle.loads(pickle.dumps(layer))):
        assert torch.equal(other(x, lengths=LENGTHS)[0], layer(x, lengths=LENGTHS)[0])


@each
def test_sizes_are_known_after_a_call(name: str) -> None:
    layer, x = COMPOSED[name].built(), COMPOSED[name].draw()
    assert layer.input_size == x.shape[2]
    assert layer.output_size == layer(x)[0].shape[2 if layer.return_sequences else 1]
    assert layer.build(x.shape[2]) is layer
    with pytest.raises(ArgumentError):
        layer(x, lengths=[1, 2])
    for steps in ({"lengths": "abcd"}, {"mask": "abcd"}, {"lengths": [[1, 2], [3]]}):
        with pytest.raises(ArgumentError, match="which is no tensor"):
            layer(x, **steps)
    with pytest.raises(ArgumentError, match="x is of type str"):
        layer("x")


@pytest.mark.parametrize("name", [name for name in COMPOSED if name != "per step"])
def test_the_first_call_looks_at_the_dtype_too(name: str) -> None:
    layer, x = COMPOSED[name].make(), COMPOSED[name].draw()
    with pytest.raises(ArgumentError, match="x has dtype float64 — expected float32"):
        layer(x)
    assert layer.double()(x)[0].dtype == torch.float64


# The classic mistake: the padding is turned to the front. Another: the steps are turned, the mask is not. And
# the output of what stands on a layer is not zero where a step is not real.
BROKEN = {
    "turned": lambda _, y: y.flip(1),
    "reversed": lambda steps: steps,
    "cleared": lambda _, y: y,
}


@pytest.mark.parametrize(
    ("member", "check", "name"),
    [
        ("turned", check_lengths_are_truncation, "both ways, stacks"),
        ("turned", check_lengths_are_truncation, "both ways, conv"),
        ("turned", check_lengths_are_truncation, "both ways, loops, last"),
        ("reversed", check_masks_leave_steps_out, "both ways, stacks"),
        ("cleared", check_lengths_are_truncation, "deep output"),
    ],
)
def test_a_broken_reading_of_lengths_is_seen(monkeypatch, member, check, name) -> None:
    check(name)
    monkeypatch.setattr(Steps, member, BROKEN[member])
    with pytest.raises(AssertionError):
        check(name)


@pytest.mark.parametrize("name", ["stack", "deep output", "shortcut stack"])
def test_a_layer_that_forgets_lengths_is_seen(monkeypatch, name) -> None:
    kept = LSTM.forward

    def forgetful(self, x, state=None, **_):
        return kept(self, x.nan_to_num(), state)

    def apart(*_):  # so that the stack calls its layers one by one
        return True

    monkeypatch.setattr("gatestack.nn.stack.has_hooks", apart)
    check_lengths_are_truncation(name)
    monkeypatch.setattr(LSTM, "forward", forgetful)
    for check in (check_lengths_are_truncation, check_masks_leave_steps_out):
        with pytest.raises(AssertionError):
            check(name)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_weights_are_drawn_in_half_precision_too(dtype: torch.dtype) -> None:
    """torch has no decomposition with which to draw orthogonal matrices in these."""
    layers = [kind(8, 3, dtype=dtype) for kind in (LSTM, GRU, RNN, LSTMCell, GRUCell, RNNCell)]
    layers += [DeepTransitionCell(8, 2, 3, dtype=dtype), ConvLSTM2D(2, 3).to(dtype).build(1)]
    for layer in layers:
        assert {parameter.dtype for parameter in layer.parameters()} == {dtype}
    block = layers[0].weight_hh_l0[:8].float()
    torch.testing.assert_close(block @ block.T, torch.eye(8), rtol=0, atol=0.02)  # 2⁻⁸ in each number


@pytest.mark.parametrize("given", [torch.float64, torch.int64], ids=str)
def test_autocast_converts_no_other_numbers_than_floats_of_32_bits_and_less(given: torch.dtype) -> None:
    x = torch.zeros(2, 3, 4).to(given)
    with torch.autocast("cpu", torch.bfloat16):
        for layer in (LSTM(5, 4), Loop(GRUCell(5, 4)), Loop(DeepTransitionCell(5, 2, 4))):
            with pytest.raises(ArgumentError, match="expected float32"):
                layer(x)
            assert layer(x.bfloat16())[0].dtype == torch.bfloat16
        with pytest.raises(ArgumentError, match="expected float64"):
            LSTM(5, 4, dtype=torch.float64)(x.float())
