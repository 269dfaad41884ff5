"""A state kept between calls: chunks, rows that begin anew, truncated gradients, what is refused."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from composed import FORWARD, C, N, T, close, random_state

from gatestack.errors import ArgumentError
from gatestack.nn import GRU, LSTM, Bidirectional, GRUCell, Loop, Stack, Stateful
from gatestack.nn.states import leaves, mapped, replaced_rows

SEQUENCES = {name: one for name, one in FORWARD.items() if one.make().return_sequences}
# A product of torch rounds by the number of rows that it is given, which is here batch times steps.
ROUNDED = ("per step", "stack with per step", "deep output")
CARRYING = [name for name in SEQUENCES if name != "per step"]

each = pytest.mark.parametrize("name", SEQUENCES)
each_carrying = pytest.mark.parametrize("name", CARRYING)


def same(found, expected) -> None:
    assert all(torch.equal(a, b) for a, b in zip(leaves(found), leaves(expected), strict=True))


def made(name: str) -> tuple[Stateful, torch.nn.Module, torch.Tensor]:
    """A layer that keeps its state, the plain one inside, an input."""
    layer = SEQUENCES[name].built()
    return Stateful(layer).eval(), layer, SEQUENCES[name].draw()


@each
@pytest.mark.parametrize("cuts", [(2,), (1, 1, 5), (0, 6), (1, 2, 3, 4, 5)])
def test_chunks_are_the_whole_to_the_bit(name: str, cuts: tuple[int, ...]) -> None:
    stateful, layer, x = made(name)
    x = x.float()
    layer.float()
    whole, final = layer(x)
    chunks = [stateful(x[:, a:b])[0] for a, b in zip((0, *cuts), (*cuts, T), strict=True)]
    if name in ROUNDED:
        torch.testing.assert_close(torch.cat(chunks, dim=1), whole)
        return
    assert torch.equal(torch.cat(chunks, dim=1), whole)
    same(stateful.state, final)


@each_carrying
def test_rows_begin_anew_by_reset_or_in_the_call(name: str) -> None:
    stateful, layer, x = made(name)
    rows = torch.tensor([False, True, False, True])
    stateful(x)
    before = stateful.state
    expected = layer(x, mapped(lambda a, b: torch.where(_rows(rows, a), a, b), layer.start(x), before))
    twin = copy.deepcopy(stateful)
    same(twin(x, fresh=rows), expected)
    for way in (rows, [1, 3], rows.tolist(), np.array([3, 1]), torch.tensor([1, 3])):
        other = copy.deepcopy(stateful)
        other.reset(way)
        assert not any(part[:, rows].ne(start[:, rows]).any() for part, start in _pairs(other, layer, x))
        assert all(torch.equal(a[:, ~rows], b[:, ~rows]) for a, b in _zipped(other.state, before))
        same(other(x), expected)
        assert other._begun is None
    # Rows may be reset one after the other, and beside rows that are fresh in the call.
    stateful.reset([1])
    same(stateful(x, fresh=[3]), expected)


def _rows(rows: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return rows.view(1, -1, *(1,) * (like.dim() - 2))


def _zipped(a, b):
    return zip(leaves(a), leaves(b), strict=True)


def _pairs(stateful: Stateful, layer, x: torch.Tensor):
    return _zipped(stateful.state, layer.start(x))


@each_carrying
def test_all_rows_begin_anew(name: str) -> None:
    stateful, layer, x = made(name)
    first, _ = stateful(x)
    second, _ = stateful(x)
    assert not torch.allclose(first, second), "the state has an effect"
    same(stateful(x, fresh=torch.ones(N, dtype=torch.bool)), layer(x))
    stateful.reset()
    assert stateful.state is None
    same(stateful(x[:2]), layer(x[:2]))
    stateful.reset(range(2))
    same(stateful(x[:2]), layer(x[:2]))


@each_carrying
def test_what_happens_to_a_result_does_not_reach_the_next_chunk(name: str) -> None:
    stateful, layer, x = made(name)
    whole = layer(torch.cat((x, x), dim=1))[0]
    with torch.no_grad():
        output, final = stateful(x)
        for part in (output, *leaves(final)):
            part.fill_(torch.nan)
    close(stateful(x)[0], whole[:, T:])


@each_carrying
def test_training_goes_on_from_a_state_of_inference(name: str) -> None:
    stateful, layer, x = made(name)
    with torch.inference_mode():
        stateful(x)
    output, _ = stateful.train()(x)
    output.sum().backward()
    close(output, layer(torch.cat((x, x), dim=1))[0][:, T:])


@each_carrying
def test_a_state_can_be_read_kept_and_set(name: str) -> None:
    stateful, layer, x = made(name)
    stateful(x[:, :2])
    kept = stateful.state
    ahead = stateful(x[:, 2:])
    stateful.state = kept
    same(stateful(x[:, 2:]), ahead)
    given = random_state(layer, x)
    same(stateful(x, given), layer(x, given))
    same(stateful.state, layer(x, given)[1])
    assert all(not part.requires_grad for part in leaves(stateful.state))


def test_ragged_chunks_keep_the_state_after_each_rows_last_step() -> None:
    stateful, layer, x = made("stack")
    stateful(x[:, :3], lengths=[3, 0, 2, 1])
    output, final = stateful(x[:, 3:], mask=torch.tensor([[1, 0, 1]] * N, dtype=torch.bool))
    for row, first in enumerate([3, 0, 2, 1]):
        steps = torch.cat((x[row, :first], x[row, [3, 5]]))[None]
        alone, alone_final = layer(steps)
        close(output[row, [0, 2]], alone[0, first:])
        close(mapped(lambda part, row=row: part[:, row : row + 1], final), alone_final)


def test_gradients_stay_within_a_chunk() -> None:
    """Truncated back-propagation: no gradient of the first chunk in the loss of the second."""
    stateful = Stateful(LSTM(4, C))
    first = torch.randn(2, 3, C, requires_grad=True)
    second = torch.randn(2, 3, C, requires_grad=True)
    stateful(first)
    output, final = stateful(second)
    (output.sum() + final[0].sum()).backward()
    assert first.grad is None
    assert second.grad.abs().min() > 0
    # What comes back from the call itself is not cut off.
    assert all(part.requires_grad for part in final)
    assert not any(part.requires_grad for part in stateful.state)


def test_a_trained_start_learns_from_rows_that_begin_anew() -> None:
    layer = GRU(4, C, initial_state="trained")
    stateful = Stateful(layer)
    x = torch.randn(N, 3, C)
    stateful(x)
    stateful(x)[0].sum().backward()
    assert layer.initial_h_l0.grad is None, "all rows go on"
    stateful.reset([2])
    stateful(x)[0].sum().backward()
    one = layer.initial_h_l0.grad.clone()
    assert one.abs().min() > 0
    layer.zero_grad()
    layer(x[2:3])[0].sum().backward()
    torch.testing.assert_close(one, layer.initial_h_l0.grad)


def test_the_state_goes_where_the_layer_goes() -> None:
    stateful = Stateful(Stack(LSTM(4), GRU(2)))
    x = torch.randn(N, 3, C)
    stateful(x)
    stateful.reset([1])
    stateful.double()
    assert {part.dtype for part in leaves(stateful.state)} == {torch.float64}
    stateful(x.double())
    assert "state" not in "".join(stateful.state_dict())


def test_nothing_of_a_chunk_is_kept_but_the_state() -> None:
    stateful = Stateful(LSTM(4, C))
    sizes = []
    for steps in (1, 20_000):
        stateful(torch.zeros(N, steps, C))
        sizes.append(len(pickle.dumps(stateful)))
    assert sizes[0] == sizes[1]


def test_a_refused_call_changes_nothing() -> None:
    stateful, _, x = made("lstm")
    stateful(x)
    stateful.reset([0])
    before = stateful.state
    with pytest.raises(ArgumentError):
        stateful(x, lengths=[9] * N)
    same(stateful.state, before)
    assert not stateful.state[0][0, 0].any()


def test_a_stateful_layer_stands_in_a_stack() -> None:
    torch.manual_seed(0)
    lower, upper = LSTM(4, C), GRU(3, 4)
    stack, x = Stack(Stateful(lower), Stateful(upper)), torch.randn(N, T, C)
    chunks = [stack(x[:, :2])[0], stack(x[:, 2:])[0]]
    assert torch.equal(torch.cat(chunks, dim=1), Stack(lower, upper)(x)[0])


X = torch.zeros(N, T, C)


def called(layer=None) -> Stateful:
    stateful = Stateful(layer or GRU(2))
    stateful(X)
    return stateful


def set_before_a_call() -> Stateful:
    stateful = Stateful(GRU(2, C))
    stateful.state = torch.ones(1, N, 2)
    return stateful


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Stateful(torch.nn.GRU(2, 2)), "layer is a GRU — expected LSTM, GRU or RNN of gatestack.nn"),
        (lambda: Stateful(GRUCell(2)), r"layer is a GRUCell(.|\n)*Loop\(cell\)"),
        (
            lambda: Stateful(Bidirectional(GRU(2))),
            r"the Bidirectional has a second direction(.|\n)*begins at the end of the sequence",
        ),
        (lambda: Stateful(LSTM(2, bidirectional=True)), "the LSTM has a second direction"),
        (lambda: Stateful(Stack(GRU(2), LSTM(2, bidirectional=True))), "the Stack has a second direction"),
        (
            lambda: called()(X[:3]),
            r"x has 3 rows, the kept state has 4 — expected 4, the batch of the last call\n\nhint: reset\(\)",
        ),
        (lambda: called(Loop(GRUCell(2)))(X[:3]), "x has 3 rows, the kept state has 4"),
        (lambda: called().reset([4]), "Stateful.reset: row 4 — expected 0 to 3"),
        (lambda: called().reset([-1]), "row -1 — expected 0 to 3"),
        (lambda: called().reset([True]), r"rows have shape \(1,\) — expected \(batch,\) = \(4,\)"),
        (lambda: called().reset([0.5]), "rows are float32"),
        (lambda: Stateful(GRU(2)).reset([0]), "no state is kept yet"),
        (lambda: called()(X, fresh=[7]), "fresh: row 7"),
        (lambda: called()(X, fresh="ab"), "fresh: rows is of type str, which is no tensor"),
        (lambda: Stateful(Stateful(GRU(2))), "the Stateful keeps a state between calls already"),
        (
            lambda: Stateful(Stack(GRU(2), Stateful(GRU(2)))),
            "the Stack keeps a state between calls already(.|\n)*a reset would reach one",
        ),
        (lambda: set_before_a_call().reset([0]), "no state is kept yet(.|\n)*fresh=rows in the next call"),
        (lambda: called()(X, torch.zeros(1, N, 2), fresh=[1]), "state and fresh are both given"),
        (
            lambda: setattr(called(), "state", (None, 1)),
            "state is a tuple of 2, with parts that are no tensors",
        ),
    ],
)
def test_what_does_not_fit_is_refused(call, message) -> None:
    with pytest.raises(ArgumentError, match=message):
        call()


def reset_all(self, rows=None):
    """A reset of all rows where some were asked for."""
    self._begun = torch.zeros(self._kept[0][0].shape[1], dtype=torch.bool) if rows is not None else None


@pytest.mark.parametrize(
    ("place", "broken"),
    [
        ("gatestack.nn.stateful.Stateful.reset", reset_all),
        ("gatestack.nn.stateful.replaced_rows", lambda _, new, old, axis: old if axis else new),
        (
            "gatestack.nn.stateful.replaced_rows",
            lambda rows, new, old, axis: replaced_rows(~rows, new, old, axis=axis),
        ),
    ],
    ids=["all rows", "no rows", "the other rows"],
)
def test_a_broken_reset_is_seen(monkeypatch, place, broken) -> None:
    test_rows_begin_anew_by_reset_or_in_the_call("stack")
    monkeypatch.setattr(place, broken)
    with pytest.raises(AssertionError):
        test_rows_begin_anew_by_reset_or_in_the_call("stack")


def test_a_state_with_its_history_is_seen(monkeypatch) -> None:
    test_gradients_stay_within_a_chunk()
    monkeypatch.setattr("gatestack.nn.stateful.mapped", lambda _, state: state)
    with pytest.raises(AssertionError):
        test_gradients_stay_within_a_chunk()
