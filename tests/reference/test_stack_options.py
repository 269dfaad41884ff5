"""Dropout of the inputs and residual connections in a stack: against torch, by finite differences, broken."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from gatestack import reference
from gatestack.reference import (
    GRUCell,
    LayerMasks,
    LSTMCell,
    layer_backward,
    layer_forward,
    stack_backward,
    stack_forward,
)

from .problems import MASK

N, T, H = 4, 5, 3
C = 2 * H
LENGTHS = [5, 1, 4, 2]
NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
RESIDUALS = ((True, False, True), (True, True, True))


def draw_masks(rng: np.random.Generator) -> list:
    """None for the first layer, a new mask each step for the second, one per sequence for the third."""
    return [1.0, (rng.random((N, T, C)) < 0.6) / 0.6, (rng.random((N, 1, C)) < 0.7) / 0.7]


def check_against_torch(forward, backward) -> None:
    """With some, and with all, of the layers having a residual connection."""
    for residual in RESIDUALS:
        check_three_layers(forward, backward, residual)


def check_three_layers(forward, backward, residual: tuple[bool, ...]) -> None:
    """Three bidirectional layers; torch runs each, and autograd goes through masks and sums between them."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    options = {"batch_first": True, "bidirectional": True, "dtype": torch.float64}
    modules = [torch.nn.LSTM(C, H, **options) for _ in range(3)]
    layers = [
        [
            LSTMCell(**{name: getattr(module, f"{name}_l0{end}").detach().numpy() for name in NAMES})
            for end in ("", "_reverse")
        ]
        for module in modules
    ]
    input_masks = draw_masks(rng)
    x = torch.tensor(rng.normal(size=(N, T, C)), requires_grad=True)
    d_output = rng.normal(size=(N, T, C))
    y = x * torch.tensor(np.arange(T) < np.array(LENGTHS)[:, None])[:, :, None]
    for module, mask, added in zip(modules, input_masks, residual, strict=True):
        given = pack_padded_sequence(y * torch.as_tensor(mask), LENGTHS, True, enforce_sorted=False)
        h, _ = pad_packed_sequence(module(given)[0], batch_first=True, total_length=T)
        y = h + y if added else h
    (y * torch.tensor(d_output)).sum().backward()

    spoilt = x.detach().numpy().copy()
    spoilt[np.arange(T) >= np.array(LENGTHS)[:, None]] = np.nan  # what is not real is not looked at
    result = forward(layers, spoilt, lengths=LENGTHS, residual=residual, input_masks=input_masks)
    gradients = backward(result, d_output)
    same = {"rtol": 1e-10, "atol": 1e-10}
    np.testing.assert_allclose(result.output, y.detach().numpy(), **same)
    np.testing.assert_allclose(gradients.x, x.grad.numpy(), **same)
    for module, ours in zip(modules, gradients.weights, strict=True):
        for end, found in zip(("", "_reverse"), ours, strict=True):
            for name in NAMES:
                np.testing.assert_allclose(found[name], getattr(module, f"{name}_l0{end}").grad, **same)


def test_like_torch() -> None:
    check_against_torch(stack_forward, stack_backward)


def test_finite_differences_with_every_option() -> None:
    rng = np.random.default_rng(1)

    def weights(gates: int, inputs: int) -> dict[str, np.ndarray]:
        G = gates * H
        shapes = {"weight_ih": (G, inputs), "weight_hh": (G, H), "bias_ih": (G,), "bias_hh": (G,)}
        return {name: rng.normal(scale=0.5, size=shape) for name, shape in shapes.items()}

    gains = {"gain_ih": rng.normal(1.0, 0.3, size=3 * H), "gain_hh": rng.normal(1.0, 0.3, size=3 * H)}
    layers = [(LSTMCell(**weights(4, H)),), (GRUCell(**weights(3, H), **gains),)]
    masks = [
        (LayerMasks(hidden=2.0 * (rng.random((N, H)) < 0.5), zoneout_hidden=0.8, zoneout_cell=0.9),),
        (
            LayerMasks(
                candidate=2.0 * (rng.random((N, T, H)) < 0.5),
                zoneout_hidden=(rng.random((N, T, H)) < 0.5).astype(float),
            ),
        ),
    ]
    options = {
        "mask": MASK,
        "residual": (True, True),
        "input_masks": [(rng.random((N, T, H)) < 0.6) / 0.6, 1.0],
        "masks": masks,
    }
    x, d_output = rng.normal(size=(2, N, T, H))
    gradients = stack_backward(stack_forward(layers, x, **options), d_output)

    def loss() -> float:
        return float(np.sum(stack_forward(layers, x, **options).output * d_output))

    compare = [(x, gradients.x)]
    for (cell,), (found,) in zip(layers, gradients.weights, strict=True):
        compare += [(cell.weights[name], gradient) for name, gradient in found.items()]
    for value, gradient in compare:
        slopes = np.zeros_like(value)
        for entry in np.ndindex(*value.shape):
            kept = value[entry]
            value[entry] = kept + 1e-6
            up = loss()
            value[entry] = kept - 1e-6
            slopes[entry] = (up - loss()) / 2e-6
            value[entry] = kept
        np.testing.assert_allclose(gradient, slopes, rtol=1e-6, atol=1e-7)


BROKEN_STACKS = {
    "residual after the dropout": (("y = h + y if", "y = h + input_masks[index] * y if"),),
    "residual on the first layer alone": (("y = h + y if residual[index]", "y = h + y if residual[0]"),),
    "no dropout of the input": (("input_masks[index] * y,", "y,"),),
    "padding not zeroed": (("y = np.where(real[:, :, None], x, 0.0)", "y = x"),),
    "gradient without the residual": (("d_below + d_y if", "d_below if"),),
    "gradient without the dropout": (("result.input_masks[index] * d_v", "d_v"),),
    "gradient of the padding reaches x": (("d_y = np.where(real[:, :, None], d_y, 0.0)", "pass"),),
    "gradient of one direction alone": (("(gradient.x for gradient in gradients)", "(gradients[0].x,)"),),
}


def test_the_oracle_sees_every_broken_stack() -> None:
    original = import_module("gatestack.reference.stack")
    source = Path(str(original.__file__)).read_text(encoding="utf-8")
    for name, changes in BROKEN_STACKS.items():
        broken = source
        for text, replacement in changes:
            assert text in broken, f"{name}: stack.py no longer holds {text!r}; adapt the change"
            broken = broken.replace(text, replacement)
        copy = ModuleType(original.__name__)
        exec(compile(broken, str(original.__file__), "exec"), copy.__dict__)
        with pytest.raises(AssertionError):
            check_against_torch(copy.stack_forward, copy.stack_backward)


def test_masks_go_to_their_layer_and_direction() -> None:
    rng = np.random.default_rng(2)
    cell = LSTMCell(*(rng.normal(size=shape) for shape in ((4 * H, H), (4 * H, H), (4 * H,), (4 * H,))))
    x = rng.normal(size=(N, T, H))
    masks = [[LayerMasks(zoneout_cell=k) for k in (0.1, 0.2)]]
    result = stack_forward([(cell, cell)], x, masks=masks)
    halves = [layer_forward(cell, x, reverse=d == 1, masks=masks[0][d]).output for d in (0, 1)]
    np.testing.assert_array_equal(result.output, np.concatenate(halves, axis=2))


def test_gradients_of_cell_states_go_to_their_layer_and_direction() -> None:
    rng = np.random.default_rng(3)
    shapes = ((4 * H, C), (4 * H, H), (4 * H,), (4 * H,))
    layers = [[LSTMCell(*(rng.normal(size=shape) for shape in shapes)) for _ in range(2)] for _ in range(2)]
    result = stack_forward(layers, rng.normal(size=(N, T, C)), lengths=LENGTHS)
    d_cells = rng.normal(size=(2, 2, N, T, H))
    top = [layer_backward(one.tape, d_cells=d) for one, d in zip(result.layers[1], d_cells[1], strict=True)]
    d_below = np.split(top[0].x + top[1].x, 2, axis=2)
    below = [
        layer_backward(one.tape, d_half, d_cells=d)
        for one, d_half, d in zip(result.layers[0], d_below, d_cells[0], strict=True)
    ]
    gradients = stack_backward(result, d_cells=d_cells)
    np.testing.assert_array_equal(gradients.x, below[0].x + below[1].x)
    for index, layer in enumerate((below, top)):
        for d in (0, 1):
            np.testing.assert_array_equal(gradients.weights[index][d]["bias_ih"], layer[d].weights["bias_ih"])


def test_what_does_not_fit_is_refused() -> None:
    cell = GRUCell(np.zeros((9, 2)), np.zeros((9, 3)), np.zeros(9), np.zeros(9))
    x = np.zeros((N, T, 2))
    with pytest.raises(ValueError, match="layer 0 has a residual connection from 2 features to 3"):
        stack_forward([(cell,)], x, residual=[True])
    with pytest.raises(ValueError, match="residual or input_masks do not fit — expected one per layer"):
        stack_forward([(cell,)], x, residual=[False, False])
    with pytest.raises(ValueError, match="masks do not fit — expected one per layer and direction"):
        stack_forward([(cell,)], x, masks=[[]])
    with pytest.raises(ValueError, match=r"x has shape \(4,\) — expected \(batch, time, features\)"):
        stack_forward([(cell,)], x[:, 0, 0])


@pytest.mark.parametrize(
    ("cell", "changes", "message"),
    [
        ("LSTMCell", {"gain_ih": (12,)}, "one of gain_ih and gain_hh is given — expected both, or neither"),
        ("LSTMCell", {"gain_ih": (12,), "gain_hh": (12,)}, "some of the gains and bias_c are given"),
        ("LSTMCell", {"gain_c": (3,), "bias_c": (3,)}, "some of the gains and bias_c are given"),
        ("LSTMCell", {"gain_ih": (3,), "gain_hh": (12,)}, r"gain_ih has shape \(3,\) — expected \(12,\)"),
        ("LSTMCell", {"weight_hr": (2, 3)}, r"weight_hh has shape \(12, 3\) — expected \(4\*H, 2\)"),
        ("LSTMCell", {"weight_hr": (3, 4)}, r"weight_hr has shape \(3, 4\) — expected \(3, 3\)"),
        ("GRUCell", {"gain_ih": (9,), "gain_hh": (9,), "reset": "before"}, "gains are given with reset"),
    ],
)
def test_options_that_do_not_fit(cell: str, changes: dict, message: str) -> None:
    gates = {"LSTMCell": 4, "GRUCell": 3}[cell]
    shapes = {
        "weight_ih": (gates * 3, 2),
        "weight_hh": (gates * 3, 3),
        "bias_ih": (gates * 3,),
        "bias_hh": (gates * 3,),
    }
    given = {
        name: np.ones(shape) if isinstance(shape, tuple) else shape
        for name, shape in (shapes | changes).items()
    }
    parts = SimpleNamespace(LSTMCell=reference.LSTMCell, GRUCell=reference.GRUCell)
    with pytest.raises(ValueError, match=message):
        getattr(parts, cell)(**given)
