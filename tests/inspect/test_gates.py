"""The gates that are opened are those of the NumPy reference, and give the layer's own output."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from inspected import LAYERS, LENGTHS, C, N, Reader, T, close, randomised, reference_cell, subject_of

from gatestack.errors import ArgumentError
from gatestack.inspect import Outcome, Subject, inspect_subject
from gatestack.inspect.opened import can_be_opened
from gatestack.inspect.opening import open_gates
from gatestack.inspect.recording import LayerCall, Place, find_places, noted_calls
from gatestack.kernels import backend
from gatestack.nn import GRU, LSTM, RNN, Bidirectional, Loop, LSTMCell, Stack, StackedCells
from gatestack.nn.recurrent import Recurrent
from gatestack.nn.steps import Steps

# Where in the record of a step of a reference cell each quantity stands.
_RECORDS = {
    "lstm": {"input": 5, "forget": 6, "candidate": 7, "output": 8, "cell": 9},
}


def opened(layer: Recurrent, x: torch.Tensor, **given: object) -> list:
    return open_gates(Place(1, "layer", layer, False, False), LayerCall(x, None, Steps.read(x, **given)))


def drawn() -> torch.Tensor:
    torch.manual_seed(3)
    return torch.randn(N, T, C, dtype=torch.float64)


@pytest.mark.parametrize("name", LAYERS)
def test_opened_gates_give_the_output_of_the_layer(name: str) -> None:
    layer = randomised(LAYERS[name]().build(C))
    x = drawn()
    x[1, 5:] = torch.nan  # behind the end of its row
    with torch.no_grad():
        _, state = layer(x, lengths=list(LENGTHS))
    final = state[0] if isinstance(state, tuple) else state
    for number, run in enumerate(opened(layer, x, lengths=list(LENGTHS), mask=None, owner="test")):
        assert run.difference < 1e-12
        assert run.lengths.tolist() == list(LENGTHS)
        close(run.final, final[number])
        if not layer.spec.projection_size:
            last = run.gates["hidden"][torch.arange(N), run.lengths - 1]
            close(last, final[number])


@pytest.mark.parametrize(
    "name", [name for name in LAYERS if "zoneout" not in name and name != "trained start"]
)
def test_every_quantity_is_that_of_the_reference(name: str) -> None:
    layer = randomised(LAYERS[name]().build(C))
    x = drawn()
    runs = opened(layer, x, lengths=list(LENGTHS), mask=None, owner="test")
    for run, weights in zip(runs, layer.weights(), strict=True):
        cell = reference_cell(layer.spec, weights)
        for row, steps in enumerate(LENGTHS):
            own = x[row : row + 1, :steps].numpy()
            ordered = own[:, ::-1] if run.direction == "reverse" else own
            state = tuple(np.zeros((1, size)) for size in cell.state_sizes)
            for t in range(steps):
                read = ordered[:, t]
                wanted = _quantities(layer, cell, read, state)
                state, _ = cell.step(read, state)
                for quantity, value in wanted.items():
                    close(run.gates[quantity][row, t], value[0])


def _quantities(layer: Recurrent, cell: object, x: np.ndarray, state: tuple) -> dict[str, np.ndarray]:
    """Give the gates from the record of the reference, or from its equations written out once more."""
    new, record = cell.step(x, state)
    if layer.spec.cell == "lstm":
        found = {name: record[place] for name, place in _RECORDS["lstm"].items()}
        return found if layer.spec.projection_size else found | {"hidden": new[0]}
    if layer.spec.gates == 1 or layer.spec.layer_norm:
        return {"hidden": new[0]}
    H, h = layer.hidden_size, state[0]
    a = x @ cell.weight_ih.T + cell.bias_ih
    b = h @ cell.weight_hh.T + cell.bias_hh
    r, z = (1 / (1 + np.exp(-(a + b)[:, part * H : (part + 1) * H])) for part in (0, 1))
    if layer.spec.cell == "gru":
        n = np.tanh(a[:, 2 * H :] + r * b[:, 2 * H :])
    else:
        n = np.tanh(a[:, 2 * H :] + (r * h) @ cell.weight_hh[2 * H :].T + cell.bias_hh[2 * H :])
    return {"reset": r, "update": z, "candidate": n, "hidden": new[0]}


def test_a_mask_with_gaps_leaves_out_what_is_not_real() -> None:
    layer = randomised(LSTM(4, bidirectional=True).build(C))
    x = drawn()
    torch.manual_seed(5)
    mask = torch.rand(N, T) < 0.6
    mask[:, 0] = True
    runs = opened(layer, x, mask=mask, lengths=None, owner="test")
    for row in range(N):
        alone = opened(layer, x[row : row + 1, mask[row]], mask=None, lengths=None, owner="test")
        for run, single in zip(runs, alone, strict=True):
            assert int(run.lengths[row]) == int(mask[row].sum())
            for quantity, values in single.gates.items():
                close(run.gates[quantity][row, : run.lengths[row]], values[0])


def test_the_run_stays_on_the_kernels_and_the_network_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Reader(LSTM(4), LSTM(4))
    subject = subject_of(reader)
    before = {name: part.clone() for name, part in reader.state_dict().items()}
    chosen = []
    choose = backend.choose_backend

    def noted(like: torch.Tensor) -> str:
        chosen.append(choose(like))
        return chosen[-1]

    monkeypatch.setattr("gatestack.kernels.recurrent.choose_backend", noted)
    found = inspect_subject(subject)
    assert set(chosen) == {choose(torch.zeros(1, dtype=torch.float64))}
    assert found.tables["layers"]["difference"].max() < 1e-12
    assert all(torch.equal(part, before[name]) for name, part in reader.state_dict().items())
    assert not any(layer._forward_pre_hooks for layer in reader.stack.layers)


STACKS = {
    "lstm": lambda: Stack(LSTM(8), LSTM(8)),
    "gru on lstm": lambda: Stack(LSTM(8), GRU(5)),
    "both ways": lambda: Stack(LSTM(4, bidirectional=True), RNN(6)),
    "residual": lambda: Stack(GRU(8), GRU(8), residual=True),
    "turned": lambda: Bidirectional(Stack(LSTM(8), LSTM(4))),
    "last alone": lambda: Stack(LSTM(8), GRU(8, return_sequences=False)),
    "cell": lambda: Stack(Loop(LSTMCell(8)), LSTM(4)),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", STACKS)
def test_recording_keeps_the_backend_and_every_bit(
    name: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plain prediction, the same while it is recorded, and the same again: no bit differs."""
    torch.manual_seed(0)
    stack = STACKS[name]().build(C).to(dtype).eval()
    x = drawn().to(dtype)
    chosen = []
    choose = backend.choose_backend

    def noted(like: torch.Tensor) -> str:
        chosen.append(choose(like))
        return chosen[-1]

    monkeypatch.setattr("gatestack.kernels.recurrent.choose_backend", noted)
    layers = {path: layer for path, layer in stack.named_modules() if can_be_opened(layer)}
    calls: dict[str, LayerCall] = {}
    with torch.no_grad():
        plain, _ = stack(x, lengths=list(LENGTHS))
        used = set(chosen)
        with noted_calls(layers, lambda _: None, calls):
            recorded, _ = stack(x, lengths=list(LENGTHS))
        again, _ = stack(x, lengths=list(LENGTHS))
    assert set(calls) == set(layers)
    assert set(chosen) == used
    assert used == {choose(x)}
    assert torch.equal(recorded, plain)
    assert torch.equal(again, plain)


def test_what_is_inspected_is_the_plain_answer_to_the_bit() -> None:
    reader = Reader(LSTM(4), GRU(4), LSTM(3, bidirectional=True))
    subject = subject_of(reader, lengths=LENGTHS)
    plain = subject.run(reader, subject.inputs).answer.detach()
    answers = []

    def noted(network: torch.nn.Module, inputs: torch.Tensor) -> Outcome:
        found = subject.run(network, inputs)
        if torch.equal(inputs, subject.inputs):
            answers.append(found.answer.detach())
        return found

    inspect_subject(replace(subject, run=noted))
    # To find the layers, and to note what they read; later runs change layers.
    assert all(torch.equal(answer, plain) for answer in answers[:2])


def test_the_table_of_steps_is_in_the_order_of_time() -> None:
    reader = Reader(LSTM(4, bidirectional=True))
    subject = subject_of(reader, lengths=LENGTHS)
    gates = inspect_subject(subject, shown=2).tables["gates"]
    output, _ = reader.stack(subject.inputs, lengths=torch.tensor(LENGTHS))
    for direction, half in (("forward", output[..., :4]), ("reverse", output[..., 4:])):
        for row, steps in enumerate(LENGTHS[:2]):
            own = gates.filter(direction=direction, sequence=f"row {row}")
            assert own.height == steps * 4
            close(own["hidden"].to_numpy().reshape(steps, 4), half[row, :steps].detach())


def test_bidirectional_around_a_stack_knows_which_layers_read_backwards() -> None:
    network = randomised(Bidirectional(Stack(LSTM(4), GRU(3))).build(C))
    holder = torch.nn.ModuleDict({"both": network})
    places = find_places(holder, lambda: network(drawn()), frozenset())
    assert [place.backwards for place in places] == [False, False, True, True]
    one = randomised(Bidirectional(RNN(4)).build(C))
    places = find_places(torch.nn.ModuleDict({"one": one}), lambda: one(drawn()), frozenset())
    assert [place.path for place in places] == ["one.forward_layer", "one.reverse_layer"]


def test_cells_made_of_several_are_refused_or_named() -> None:
    loop = Loop(StackedCells(LSTMCell(4), LSTMCell(4, activation="softsign")))
    with pytest.raises(ArgumentError, match=r"no layer to look into.*StackedCells[\s\S]*layers of a Stack"):
        inspect_subject(simple(Stack(loop, input_size=C)))
    found = inspect_subject(simple(Stack(loop, LSTM(3), input_size=C)))
    assert "StackedCells" in found.notes[0]
    assert found.tables["layers"]["cell"].to_list() == ["lstm"]


def simple(stack: Stack) -> Subject:
    stack.double()
    return Subject(
        title="a stack",
        network=stack,
        inputs=drawn(),
        run=lambda network, x: Outcome(network(x)[0][:, -1].sum(dim=1)),
        features=("a", "b", "c"),
        sequences=tuple("1234567"),
    )
