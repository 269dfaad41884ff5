"""Drawn trees of layers against a plain evaluation of each row by itself, in NumPy.

`python -m pytest -k "137"` repeats the case of seed 137. The evaluation knows nothing of batches, lengths or
masks: a row is the list of its real steps, and the reverse direction reads that list backwards.
"""

from __future__ import annotations

import random
from functools import singledispatch
from typing import Any

import numpy as np
import pytest
import torch

from gatestack import reference
from gatestack.nn import (
    ACTIVATIONS,
    GRU,
    LSTM,
    RNN,
    Bidirectional,
    Cell,
    DeepOutput,
    DeepTransitionCell,
    GRUCell,
    Loop,
    LSTMCell,
    PerStep,
    RNNCell,
    SequenceLayer,
    ShortcutStack,
    Stack,
    StackedCells,
)
from gatestack.nn.recurrent import Recurrent
from gatestack.nn.states import leaves, mapped, rebuilt
from gatestack.nn.steps import Steps

# The exponential grows past all numbers from step to step.
FUNCTIONS = sorted(set(ACTIVATIONS) - {"exponential"})
Array = np.ndarray


# Drawing


def draw_cell(chosen: random.Random, *, depth: int = 1) -> Cell:
    size, squash, gate = (
        chosen.randint(1, 4),
        chosen.choice(FUNCTIONS),
        chosen.choice(["sigmoid", "hard_tanh"]),
    )
    if chosen.random() < 0.4:
        squash, gate = "tanh", "sigmoid"
    kind = chosen.choice(["lstm", "gru", "rnn", "transition", *["stacked"] * depth])
    if kind == "lstm":
        return LSTMCell(size, activation=squash, gate_activation=gate)
    if kind == "gru":
        reset = chosen.choice(["after", "before"])
        return GRUCell(size, activation=squash, gate_activation=gate, reset=reset)
    if kind == "rnn":
        return RNNCell(size, activation=squash)
    if kind == "transition":
        layers = chosen.randint(1, 3)
        shortcut = layers > 1 and chosen.random() < 0.5
        return DeepTransitionCell(size, layers, activation=squash, shortcut=shortcut)
    return StackedCells(*(draw_cell(chosen, depth=0) for _ in range(chosen.randint(1, 3))))


def draw_layer(chosen: random.Random, *, depth: int = 2, sequences: bool = True) -> SequenceLayer:
    last = {"return_sequences": sequences}
    kind = chosen.choice(["plain", "plain", "loop", *["stack", "shortcut", "both", "deep"] * depth])
    if kind == "plain":
        size = chosen.randint(1, 4)
        recurrent = chosen.choice([LSTM, GRU, RNN])
        return recurrent(size, initial_state=chosen.choice(["zeros", "trained"]), **last)
    if kind == "loop":
        return Loop(draw_cell(chosen), **last)
    if kind == "stack":
        return draw_stack(chosen, depth, sequences)
    if kind == "shortcut":
        inside = [draw_layer(chosen, depth=depth - 1) for _ in range(chosen.randint(2, 3))]
        # The last step of an output is not what the reverse direction ends with, and is refused.
        return ShortcutStack(*inside, return_sequences=sequences or any(one.looks_ahead for one in inside))
    if kind == "both":
        one = draw_layer(chosen, depth=depth - 1, sequences=sequences)
        return Bidirectional(one, merge=chosen.choice(["concat", "sum", "mul", "average"]))
    inner = draw_layer(chosen, depth=depth - 1, sequences=sequences)
    widths = [chosen.randint(1, 4) for _ in range(chosen.randint(1, 3))]
    return DeepOutput(inner, *widths, activation=chosen.choice(FUNCTIONS))


def draw_stack(chosen: random.Random, depth: int, sequences: bool) -> Stack:
    if chosen.random() < 0.4:
        size = chosen.randint(1, 4)
        kinds = [chosen.choice([LSTM, GRU, RNN]) for _ in range(3)]
        return Stack(
            kinds[0](size), kinds[1](size), kinds[2](size, return_sequences=sequences), residual=True
        )
    below = [draw_layer(chosen, depth=depth - 1) for _ in range(chosen.randint(0, 2))]
    if chosen.random() < 0.3 and below and below[-1].output_size is not None:
        below.append(PerStep(torch.nn.Linear(below[-1].output_size, 3)))
    return Stack(*below, draw_layer(chosen, depth=depth - 1, sequences=sequences))


def draw_case(seed: int) -> tuple[SequenceLayer, torch.Tensor, Any, torch.Tensor, dict[str, Any]]:
    """A layer in float64 with random weights, an input, a state, which steps are real, and as a call has it.

    A layer with trained initial states is given a state.
    """
    chosen = random.Random(seed)
    torch.manual_seed(seed)
    rows, steps, features = chosen.randint(1, 4), chosen.randint(1, 6), chosen.randint(1, 3)
    layer = draw_layer(chosen, sequences=chosen.random() < 0.6).double()
    x = torch.randn(rows, steps, features, dtype=torch.float64)
    layer(x)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
    trained = any("initial_" in name for name, _ in layer.named_parameters())
    state = mapped(torch.randn_like, layer.start(x)) if trained or chosen.random() < 0.7 else None
    form = chosen.choice(["all", "lengths", "mask"])
    lengths = torch.randint(0, steps + 1, (rows,))
    real = {
        "all": torch.ones(rows, steps, dtype=torch.bool),
        "lengths": torch.arange(steps) < lengths[:, None],
        "mask": torch.rand(rows, steps) < 0.6,
    }[form]
    given = {"all": {}, "lengths": {"lengths": lengths}, "mask": {"mask": real}}[form]
    return layer, x.masked_fill(~real[..., None], torch.nan), state, real, given


# Evaluation of one row: x (t, C), states as the layer has them with N = 1 -> output (t, P) or (P,), state


def arrays(cell: Cell) -> dict[str, Array]:
    return {name.replace("_l0", ""): value.detach().numpy() for name, value in cell.named_parameters()}


def mathematics(cell: Cell) -> Any:
    """The reference of a single cell."""
    weights = arrays(cell)
    if isinstance(cell, DeepTransitionCell):
        pairs = [(weights[f"weight_hh_t{k}"], weights[f"bias_hh_t{k}"]) for k in range(1, cell.depth + 1)]
        shortcut = weights.get("weight_hh_shortcut")
        return reference.DeepTransitionCell(
            weights["weight_ih"], weights["bias_ih"], tuple(pairs), shortcut, cell.activation
        )
    if isinstance(cell, LSTMCell):
        return reference.ActivatedLSTMCell(
            **weights, activation=cell.activation, gate_activation=cell.gate_activation
        )
    if isinstance(cell, GRUCell):
        names = {"activation": cell.activation, "gate_activation": cell.gate_activation}
        return reference.ActivatedGRUCell(**weights, **names, reset=cell.reset)
    return reference.ActivatedRNNCell(**weights, activation=cell.activation)


def take_step(cell: Cell, x: Array, state: Any) -> tuple[Array, Any]:
    """One step of a cell, of several if it is made of several: x (1, C), state (1, ·) -> h, state."""
    if isinstance(cell, StackedCells):
        after = []
        for one, old in zip(cell.cells, state, strict=True):
            x, new = take_step(one, x, old)
            after.append(new)
        return x, tuple(after)
    parts = state if isinstance(state, tuple) else (state,)
    new, _ = mathematics(cell).step(x, parts)
    return new[0], (new if isinstance(state, tuple) else new[0])


def shown(cell: Cell, state: Any) -> Array:
    """What a cell gives from its state alone."""
    if isinstance(cell, StackedCells):
        return shown(cell.cells[-1], state[-1])
    return state[0] if isinstance(state, tuple) else state


def over(cell: Cell, x: Array, state: Any, *, sequences: bool) -> tuple[Array, Any]:
    state = mapped(lambda part: part[0], state)
    outputs = []
    for step in x:
        y, state = take_step(cell, step[None], state)
        outputs.append(y[0])
    final = mapped(lambda part: part[None], state)
    if not sequences:
        return shown(cell, state)[0], final
    return np.array(outputs).reshape(len(x), cell.output_size), final


@singledispatch
def evaluate(layer: SequenceLayer, x: Array, state: Any) -> tuple[Array, Any]:
    raise NotImplementedError(type(layer))


@evaluate.register
def _(layer: Loop, x: Array, state: Any) -> tuple[Array, Any]:
    return over(layer.cell, x, state, sequences=layer.return_sequences)


@evaluate.register
def _(layer: Recurrent, x: Array, state: Any) -> tuple[Array, Any]:
    kinds = {LSTM: LSTMCell, GRU: GRUCell, RNN: RNNCell}
    cell = kinds[type(layer)](layer.hidden_size, layer.input_size).double()
    own = layer.state_dict()
    cell.load_state_dict({name: own[name] for name in cell.state_dict()})
    return over(cell, x, state, sequences=layer.return_sequences)


@evaluate.register
def _(layer: PerStep, x: Array, state: Any) -> tuple[Array, Any]:
    return x @ layer.module.weight.detach().numpy().T + layer.module.bias.detach().numpy(), state


@evaluate.register
def _(layer: Stack, x: Array, state: Any) -> tuple[Array, Any]:
    finals, y = [], x
    for number, (one, given) in enumerate(zip(layer.layers, state, strict=True)):
        below = y
        y, final = evaluate(one, below, given)
        if layer.residual and number:
            added = below if one.return_sequences else below[-1] if len(below) else 0.0
            y = y + added
        finals.append(final)
    return y, tuple(finals)


@evaluate.register
def _(layer: ShortcutStack, x: Array, state: Any) -> tuple[Array, Any]:
    finals, outputs = [], []
    for one, given in zip(layer.layers, state, strict=True):
        fed = np.concatenate([outputs[-1], x], axis=1) if outputs else x
        y, final = evaluate(one, fed, given)
        outputs.append(y)
        finals.append(final)
    every = np.concatenate(outputs, axis=1)
    if layer.return_sequences:
        return every, tuple(finals)
    return (every[-1] if len(every) else np.zeros(every.shape[1])), tuple(finals)


@evaluate.register
def _(layer: Bidirectional, x: Array, state: Any) -> tuple[Array, Any]:
    a, forward = evaluate(layer.forward_layer, x, state[0])
    b, reverse = evaluate(layer.reverse_layer, x[::-1], state[1])
    b = b[::-1] if layer.return_sequences else b
    joined = {
        "concat": lambda: np.concatenate([a, b], axis=-1),
        "sum": lambda: a + b,
        "mul": lambda: a * b,
        "average": lambda: (a + b) / 2,
    }
    return joined[layer.merge](), (forward, reverse)


@evaluate.register
def _(layer: DeepOutput, x: Array, state: Any) -> tuple[Array, Any]:
    y, final = evaluate(layer.layer, x, state)
    for number, linear in enumerate(layer.network):
        z = reference.ACTIVATIONS[layer.activation].value(y) if number else y
        y = z @ linear.weight.detach().numpy().T + linear.bias.detach().numpy()
    return y, final


def check_case(seed: int) -> None:
    layer, x, state, real, given = draw_case(seed)
    with torch.no_grad():
        output, final = layer(x, state, **given)
        started = mapped(torch.zeros_like, layer.start(x)) if state is None else state
    for row, steps in enumerate(real):
        own = mapped(lambda part, row=row: part[:, row : row + 1].numpy(), started)
        expected, expected_final = evaluate(layer, x[row, steps].numpy(), own)
        found = output[row, steps] if layer.return_sequences else output[row]
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9, err_msg=f"seed {seed}: {layer}")
        if layer.return_sequences:
            assert not output[row, ~steps].any(), f"seed {seed}: {layer}"
        for a, b in zip(leaves(final), leaves(expected_final), strict=True):
            np.testing.assert_allclose(
                a[:, row : row + 1], b, rtol=1e-9, atol=1e-9, err_msg=f"seed {seed}: {layer}"
            )


@pytest.mark.parametrize("seed", range(150))
def test_a_drawn_layer_is_its_rows_one_by_one(seed: int) -> None:
    check_case(seed)


@pytest.mark.parametrize("seed", range(1000, 1040))
def test_gradients_of_a_drawn_layer_are_slopes(seed: int) -> None:
    """Of input, state and parameters together, along random directions."""
    layer, x, state, _, given = draw_case(seed)
    state = mapped(torch.rand_like, layer.start(x.nan_to_num())) if state is None else state
    names, parameters = zip(*layer.named_parameters(), strict=True)

    def results(x: torch.Tensor, *rest: torch.Tensor) -> tuple[torch.Tensor, ...]:
        weights = dict(zip(names, rest[: len(names)], strict=True))
        started = rebuilt(state, iter(rest[len(names) :]))
        return tuple(leaves(torch.func.functional_call(layer, weights, (x, started), given)))

    inputs = [x.nan_to_num(), *parameters, *leaves(state)]
    inside = [tensor.detach().clone().requires_grad_() for tensor in inputs]
    assert torch.autograd.gradcheck(results, inside, fast_mode=True, atol=1e-5)


@pytest.mark.parametrize(
    ("owner", "name", "broken"),
    [
        (Steps, "turned", lambda _, y: y.flip(1)),
        (Steps, "reversed", lambda steps: steps),
        (Steps, "cleared", lambda _, y: y),
        (Steps, "last", lambda _, y, otherwise=None: y[:, -1:].sum(dim=1)),  # noqa: ARG005
        (LSTMCell, "output", lambda _, state: state[-1]),
        (Loop, "start", lambda loop, x: mapped(lambda part: part[None] + 1, loop.cell.start(x))),
    ],
    ids=["turned", "reversed", "cleared", "last", "output", "start"],
)
def test_a_broken_layer_is_seen_by_a_drawn_case(monkeypatch, owner, name, broken) -> None:
    def check_all() -> None:
        for seed in range(60):
            check_case(seed)

    check_all()
    monkeypatch.setattr(owner, name, broken)
    with pytest.raises(AssertionError):
        check_all()
