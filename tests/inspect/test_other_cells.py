"""Cells with other functions and convolutional layers: their gates are those of the NumPy reference too."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from inspected import LENGTHS, C, N, T, close, randomised

from gatestack.inspect import Inspection, Outcome, Subject, inspect_subject
from gatestack.inspect.opened import open_layer
from gatestack.inspect.opening import DirectionRun, open_gates
from gatestack.inspect.recording import LayerCall, Place, replaced
from gatestack.inspect.unrolled import Unrolled
from gatestack.nn import (
    LSTM,
    ConvLSTM1D,
    ConvLSTM2D,
    ConvLSTM3D,
    ConvLSTMForm,
    GRUCell,
    Loop,
    LSTMCell,
    RNNCell,
    SequenceLayer,
    Stack,
)
from gatestack.nn.steps import Steps
from gatestack.reference import (
    ACTIVATIONS,
    ActivatedGRUCell,
    ActivatedLSTMCell,
    ActivatedRNNCell,
    ConvLSTMCell,
    Convolution,
)

CELLS = {
    "lstm": lambda: LSTMCell(5, activation="softsign", gate_activation="hard_sigmoid"),
    "lstm, relu": lambda: LSTMCell(5, activation="relu", gate_activation="hard_sigmoid_2"),
    "lstm, usual": lambda: LSTMCell(5),
    "gru": lambda: GRUCell(4, activation="elu"),
    "gru, before": lambda: GRUCell(4, gate_activation="hard_sigmoid", reset="before"),
    "rnn": lambda: RNNCell(6, activation="softplus"),
}
IMAGES: dict[str, tuple[Callable[[], SequenceLayer], tuple[int, ...]]] = {
    "rows": (lambda: ConvLSTM1D(2, 3), (6,)),
    "images": (lambda: ConvLSTM2D(3, (3, 2), stride=(2, 1)), (5, 4)),
    "channels": (lambda: ConvLSTM2D(2, 3, padding="valid", form=ConvLSTMForm("channels")), (5, 4)),
    "positions": (lambda: ConvLSTM2D(2, 3, form=ConvLSTMForm("positions")), (4, 3)),
    "functions": (lambda: ConvLSTM2D(2, 3, form=ConvLSTMForm(None, "relu", "hard_sigmoid")), (4, 3)),
    "last alone": (lambda: ConvLSTM2D(2, 3, return_sequences=False), (4, 3)),
    "volumes": (lambda: ConvLSTM3D(2, 2), (3, 2, 3)),
}


def opened(layer: SequenceLayer, x: torch.Tensor, **given: object) -> DirectionRun:
    (run,) = open_gates(Place(1, "layer", layer, False, False), LayerCall(x, None, Steps.read(x, **given)))
    return run


def drawn(*space: int) -> torch.Tensor:
    torch.manual_seed(3)
    return torch.randn(N, T, C, *space, dtype=torch.float64)


@pytest.mark.parametrize("name", CELLS)
def test_gates_of_cells_with_other_functions_are_those_of_the_reference(name: str) -> None:
    layer = randomised(Loop(CELLS[name]()).build(C))
    x = drawn()
    run = opened(layer, x, lengths=list(LENGTHS), mask=None, owner="test")
    assert run.difference < 1e-12
    cell = layer.cell
    arrays = [getattr(cell, f"{part}_l0").detach().numpy() for part in NAMES]
    for row, steps in enumerate(LENGTHS):
        state = (np.zeros((1, cell.hidden_size)),) * cell.state_count
        for t in range(steps):
            state, wanted = stepped(cell, arrays, x[row : row + 1, t].numpy(), state)
            for quantity, value in wanted.items():
                close(run.gates[quantity][row, t], value[0])


NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def stepped(cell: torch.nn.Module, arrays: list, x: np.ndarray, state: tuple) -> tuple[tuple, dict]:
    """Take a step of the reference; the gates of a GRU are written out once more."""
    names = (cell.activation, cell.gate_activation)
    squash, gate = (ACTIVATIONS[name].value for name in names)
    if isinstance(cell, LSTMCell):
        new, record = ActivatedLSTMCell(*arrays, *names).step(x, state)
        a_i, a_f, a_g, a_o = record[4:8]
        gates = {"input": gate(a_i), "forget": gate(a_f), "candidate": squash(a_g), "output": gate(a_o)}
        return new, gates | {"cell": new[1], "hidden": new[0]}
    if isinstance(cell, RNNCell):
        new, _ = ActivatedRNNCell(*arrays, cell.activation).step(x, state)
        return new, {"hidden": new[0]}
    new, _ = ActivatedGRUCell(*arrays, activation=names[0], gate_activation=names[1], reset=cell.reset).step(
        x, state
    )
    weight_ih, weight_hh, bias_ih, bias_hh = arrays
    wide, h = x @ weight_ih.T + bias_ih, state[0]
    r_x, z_x, n_x = np.split(wide, 3, axis=1)
    r_h, z_h, n_h = np.split(h @ weight_hh.T + bias_hh, 3, axis=1)
    r, z = gate(r_x + r_h), gate(z_x + z_h)
    rows = 2 * cell.hidden_size
    if cell.reset == "before":
        n = squash(n_x + (r * h) @ weight_hh[rows:].T + bias_hh[rows:])
    else:
        n = squash(n_x + r * n_h)
    return new, {"reset": r, "update": z, "candidate": n, "hidden": new[0]}


@pytest.mark.parametrize("name", IMAGES)
def test_gates_of_images_give_the_output_of_the_layer(name: str) -> None:
    make, space = IMAGES[name]
    layer = made(make, space)
    x = drawn(*space)
    run = opened(layer, x, lengths=list(LENGTHS), mask=None, owner="test")
    assert run.difference < 1e-12
    with torch.no_grad():
        _, (h, _) = layer(x, lengths=list(LENGTHS))
    assert run.space == tuple(h.shape[3:])
    last = run.gates["hidden"][torch.arange(N * run.positions), run.lengths - 1]  # -> (N·S, F)
    close(last.view(N, run.positions, -1).transpose(1, 2), h[0].flatten(2))
    close(run.final, h[0].flatten(2).mean(dim=2))


def made(make: Callable[[], SequenceLayer], space: tuple[int, ...]) -> SequenceLayer:
    layer = make().double()
    layer.build(C, space if layer.form.peepholes == "positions" else None)
    return randomised(layer)


@pytest.mark.parametrize("name", ["images", "channels", "positions"])
def test_gates_of_images_are_those_of_the_reference(name: str) -> None:
    make, space = IMAGES[name]
    layer = made(make, space)
    x = drawn(*space)
    run = opened(layer, x, lengths=None, mask=None, owner="test")
    geometry = Convolution(layer.stride, layer.dilation, layer.padding == "same")
    peephole = layer.weights().peephole
    cell = ConvLSTMCell(
        *(getattr(layer, f"{part}_l0").detach().numpy() for part in NAMES),
        geometry,
        None if peephole is None else peephole.detach().numpy(),
    )
    state = (np.zeros((N, layer.channels, *run.space)),) * 2
    names = ("input", "forget", "candidate", "output", "cell")
    for t in range(T):
        state, record = cell.step(x[:, t].numpy(), state)
        for quantity, wanted in zip(names, record[3:8], strict=True):
            rows = run.gates[quantity][:, t].view(N, run.positions, layer.channels)
            close(rows.transpose(1, 2), wanted.reshape(N, layer.channels, -1))


@pytest.mark.parametrize("layer", [*CELLS, *IMAGES])
def test_unrolled_they_give_what_the_layer_gives(layer: str) -> None:
    space = IMAGES[layer][1] if layer in IMAGES else ()
    one = made(*IMAGES[layer]) if layer in IMAGES else randomised(Loop(CELLS[layer]()).build(C))
    holder = torch.nn.ModuleDict({"layer": one})
    x = drawn(*space)
    with torch.no_grad():
        wanted, state = one(x, lengths=list(LENGTHS))
        with replaced(holder, {"layer": Unrolled(open_layer(one))}):
            found, other = holder["layer"](x, lengths=list(LENGTHS))
    close(found, wanted)
    for part, again in zip(
        *(one if isinstance(one, tuple) else (one,) for one in (state, other)), strict=True
    ):
        close(part, again)


def of_images(layer: SequenceLayer, x: torch.Tensor) -> Inspection:
    """Inspect a layer of images whose numbers are handed over as features."""
    space = x.shape[3:]

    def run(network: torch.nn.Module, values: torch.Tensor) -> Outcome:
        hidden, _ = network["layer"](values.reshape(*values.shape[:2], C, *space))
        answer = hidden[:, -1].flatten(1).mean(dim=1)
        return Outcome(answer, (answer - 0.1).square())

    return inspect_subject(
        Subject(
            title="images",
            network=torch.nn.ModuleDict({"layer": layer}),
            inputs=x.flatten(2),
            run=run,
            features=tuple(f"channel {n}" for n in range(C) for _ in range(space.numel())),
            sequences=tuple(f"film {row}" for row in range(len(x))),
        )
    )


def test_a_convolutional_layer_is_looked_into_whole() -> None:
    layer = made(lambda: ConvLSTM2D(C, 3), (4, 3))
    x = drawn(4, 3)
    found = of_images(layer, x)
    row = found.tables["layers"].row(0, named=True)
    assert (row["cell"], row["units"], row["positions"]) == ("conv_lstm", C, 12)
    with torch.no_grad():
        hidden, _ = layer(x)
        whole = (hidden[:, -1].flatten(1).mean(dim=1) - 0.1).square()
    # Step by step, the position in the middle.
    steps = found.tables["gates"].filter(sequence="film 0")
    close(steps["hidden"].to_numpy().reshape(T, C), hidden[0, :, :, 2, 1])
    assert any("(2, 1)" in note for note in found.notes)
    # All positions in the statistics.
    shown = found.tables["gate_statistics"].filter(quantity="hidden", unit=1)
    close(shown["mean"], [hidden[:, :, 1].mean()])
    close(shown["largest"], [hidden[:, :, 1].max()])
    worth = found.tables["layer_worth"]
    close(worth["loss"][0], whole.mean())
    passed = (x[:, -1].flatten(1).mean(dim=1) - 0.1).square()
    close(worth.filter(way="bypassed")["loss"], [passed.mean()])
    held = hidden.flatten(0, 1).mean(dim=0).mean()
    close(worth.filter(way="held")["loss"], [(held - 0.1) ** 2])
    # A channel that is shuffled comes whole from another film.
    drawn_shifts = torch.Generator().manual_seed(0)
    losses = []
    for _ in range(5):
        shifts = torch.randint(1, N, (C,), generator=drawn_shifts)
        other = torch.stack([hidden[:, -1, n].roll(int(shift), 0) for n, shift in enumerate(shifts)], dim=1)
        losses.append((other.flatten(1).mean(dim=1) - 0.1).square())
    close(worth.filter(way="shuffled")["loss"], [torch.stack(losses).mean()])
    flow = found.tables["gradient_flow"]
    assert flow.filter(flow["norm"] > 0)["model"].n_unique() == 3
    assert found.tables["occlusion"]["feature"].drop_nulls().unique(maintain_order=True).to_list() == [
        f"channel {n}" for n in range(C)
    ]
    complete = found.tables["completeness"]
    assert complete["error"].max() < 1e-3 * complete["change"].abs().max()


def test_of_many_positions_some_are_kept_and_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = made(lambda: ConvLSTM2D(2, 3), (6, 5))
    x = drawn(6, 5)
    whole = opened(layer, x, lengths=list(LENGTHS), mask=None, owner="test")
    monkeypatch.setattr("gatestack.inspect.opening._MOST_NUMBERS", 4 * N * T * 2)
    some = opened(layer, x, lengths=list(LENGTHS), mask=None, owner="test")
    assert some.chosen == (0, 10, 17, 19, 29), "four spread evenly, and the one in the middle"
    for name, values in some.gates.items():
        kept = whole.gates[name].view(N, 30, T, 2)[:, list(some.chosen)]
        close(values.view(N, 5, T, 2), kept)
    close(some.gates["hidden"][some.shown], whole.gates["hidden"][whole.shown])
    assert any("all else is of 5 positions" in note for note in of_images(layer, x).notes)


def test_the_gradient_of_a_convolutional_layer_is_that_of_finite_differences() -> None:
    layer = made(lambda: ConvLSTM1D(2, 3), (4,))
    x = drawn(4)[:2, :4]
    flow = of_images(layer, x).tables["gradient_flow"].filter(model="trained")

    def loss(lag: int, place: tuple[int, int, int], small: float) -> float:
        with torch.no_grad():
            _, (h, c) = layer(x[:, : 4 - lag])
            h[(0, *place)] += small
            if lag:
                _, (h, c) = layer(x[:, 4 - lag :], (h, c))
        return float((h[0].flatten(1).mean(dim=1) - 0.1).square()[place[0]])

    for lag in range(4):
        norms = []
        for row in range(2):
            places = [(row, *place) for place in np.ndindex(2, 4)]
            slopes = [(loss(lag, place, 1e-6) - loss(lag, place, -1e-6)) / 2e-6 for place in places]
            norms.append(np.linalg.norm(slopes))
        assert flow.filter(lag=lag)["norm"][0] == pytest.approx(np.mean(norms), rel=1e-6)


def test_a_constant_gate_of_a_convolutional_layer_gives_its_time_scale_both_ways() -> None:
    layer = made(lambda: ConvLSTM2D(2, 3), (3, 3))
    biases = [0.0, 2.0]
    with torch.no_grad():
        layer.weight_hh_l0.zero_()
        layer.bias_hh_l0.zero_()
        layer.weight_ih_l0[2:4] = 0.0
        layer.bias_ih_l0[2:4] = torch.tensor(biases)
    torch.manual_seed(0)
    found = of_images(layer, torch.randn(N, 40, C, 3, 3, dtype=torch.float64)).tables["time_scales"]
    wanted = -1 / np.log(1 / (1 + np.exp(-np.array(biases))))
    close(found["gate_steps"], wanted)
    close(found["change_steps"], wanted, 1e-4)


def test_what_a_gate_beyond_its_usual_range_says() -> None:
    """A gate by relu may let more through than there is: nothing is lost, and its values are all counted."""
    loop = randomised(Loop(LSTMCell(3, activation="relu", gate_activation="relu")).build(C))
    with torch.no_grad():
        loop.cell.weight_ih_l0.mul_(0.1)
        loop.cell.weight_hh_l0.zero_()
        loop.cell.bias_ih_l0[3:6] = torch.tensor([1.02, 0.5, 1.02])
        loop.cell.bias_hh_l0.zero_()
        loop.cell.weight_ih_l0[3:6] = 0.0
    found = inspect_subject(
        Subject(
            title="relu",
            network=Stack(loop, LSTM(2), input_size=C).double(),
            inputs=drawn(),
            run=lambda network, x: Outcome(network(x)[0][:, -1].sum(dim=1)),
            features=("a", "b", "c"),
            sequences=tuple("1234567"),
        )
    )
    lower = found.tables["time_scales"].filter(layer=1)
    assert lower["gate_steps"].to_list()[::2] == [None, None]
    assert lower["gate_steps"][1] == pytest.approx(1 / np.log(2))
    spread = found.tables["distributions"].filter(layer=1, quantity="forget")
    close(spread["share"].sum(), 1.0)
    assert found.tables["units"].filter(layer=1)["saturated"].to_list() == [None] * 3
    assert "LSTM of 3 units with relu and relu gates" in found.sentences[0]
