"""The reference of the convolutional LSTM: against scalar loops, finite differences and the plain LSTM."""

from __future__ import annotations

import inspect
import itertools
import math
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest

from gatestack.reference import (
    ConvLSTMCell,
    Convolution,
    LSTMCell,
    conv_lstm_backward,
    conv_lstm_forward,
    layer_backward,
    layer_forward,
)
from gatestack.reference import conv_lstm as module

N, T, C, F = 3, 4, 2, 3
MASK = np.array([[1, 0, 1, 1], [0, 0, 0, 0], [1, 1, 0, 1]], dtype=bool)


@dataclass(frozen=True, eq=False)
class Problem:
    """All that goes into a layer, and gradients of all that comes out."""

    cell: ConvLSTMCell
    x: np.ndarray
    state: tuple[np.ndarray, np.ndarray]
    factors: np.ndarray
    d_output: np.ndarray
    d_final: tuple[np.ndarray, np.ndarray]
    mask: np.ndarray

    def inputs(self) -> dict[str, np.ndarray]:
        return {"x": self.x, "h": self.state[0], "c": self.state[1], **self.cell.weights}

    def with_input(self, name: str, value: np.ndarray) -> Problem:
        if name == "x":
            return replace(self, x=value)
        if name in "hc":
            return replace(self, state=(value, self.state[1]) if name == "h" else (self.state[0], value))
        return replace(self, cell=replace(self.cell, **{name: value}))


GEOMETRIES = {
    "line": ((5,), (3,), (1,), (1,), True),
    "line, even kernel": ((6,), (2,), (1,), (1,), True),
    "image": ((4, 3), (3, 2), (1, 1), (1, 1), True),
    "image, stride": ((5, 4), (3, 3), (2, 3), (1, 1), True),
    "image, dilation": ((5, 4), (2, 3), (1, 1), (3, 2), True),
    "image, valid": ((5, 6), (2, 3), (2, 1), (1, 2), False),
    "image, stride beyond the kernel": ((7, 3), (1, 2), (3, 2), (1, 1), True),
    "volume": ((2, 3, 3), (2, 1, 3), (1, 2, 1), (1, 1, 1), True),
}


def make(geometry: str, peepholes: str | None = "positions") -> Problem:
    space, kernel, stride, dilation, same = GEOMETRIES[geometry]
    rng = np.random.default_rng(5)
    convolution = Convolution(stride, dilation, same)
    out = convolution.output_space(space, kernel)
    shapes = {None: None, "positions": (3, F, *out), "channels": (3, F, *(1 for _ in out))}[peepholes]
    cell = ConvLSTMCell(
        rng.normal(size=(4 * F, C, *kernel)) / 2,
        rng.normal(size=(4 * F, F, *kernel)) / 2,
        rng.normal(size=4 * F),
        rng.normal(size=4 * F),
        convolution,
        None if shapes is None else rng.normal(size=shapes),
    )

    def images() -> np.ndarray:
        return rng.normal(size=(N, F, *out))

    factors = rng.integers(0, 2, size=(N, F, *out)) * 2.0
    d_output = rng.normal(size=(N, T, F, *out))
    return Problem(
        cell,
        rng.normal(size=(N, T, C, *space)),
        (images(), images()),
        factors,
        d_output,
        (images(), images()),
        MASK,
    )


def run(problem: Problem) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    y, (h, c), _ = conv_lstm_forward(
        problem.cell, problem.x, problem.state, mask=problem.mask, factors=problem.factors
    )
    return y, h, c


def loss(problem: Problem) -> float:
    upstream = (problem.d_output, *problem.d_final)
    return float(sum((a * b).sum() for a, b in zip(run(problem), upstream, strict=True)))


def gradients(problem: Problem) -> dict[str, np.ndarray]:
    _, _, tape = conv_lstm_forward(
        problem.cell, problem.x, problem.state, mask=problem.mask, factors=problem.factors
    )
    found = conv_lstm_backward(tape, problem.d_output, problem.d_final)
    return {"x": found.x, "h": found.state[0], "c": found.state[1], **found.weights}


# An oracle that shares nothing with the reference: numbers one by one, no padding, no arrays of gates.


def product(image, kernel, at, stride, dilation, before) -> float:
    """One output of a convolution: the sum over the positions that lie within the image."""
    total = 0.0
    for channel, *tap in itertools.product(*(range(size) for size in kernel.shape)):
        axes = zip(at, stride, tap, dilation, before, strict=True)
        place = [a * s + j * d - b for a, s, j, d, b in axes]
        if all(0 <= p < size for p, size in zip(place, image.shape[1:], strict=True)):
            total += kernel[channel, *tap] * image[channel, *place]
    return total


def zeros_before(space, kernel, stride, dilation, same) -> list[int]:
    if not same:
        return [0] * len(space)
    axes = zip(space, kernel, stride, dilation, strict=True)
    totals = [(math.ceil(n / s) - 1) * s + (k - 1) * d + 1 - n for n, k, s, d in axes]
    return [max(total, 0) // 2 for total in totals]


def oracle_step(cell: ConvLSTMCell, x, h, c, factors) -> tuple[np.ndarray, np.ndarray]:
    """One step of one row."""
    geometry, kernel, out = cell.input_convolution, cell.weight_ih.shape[2:], h.shape[1:]
    ones = (1,) * len(out)
    of_x = geometry.stride, geometry.dilation
    of_x = *of_x, zeros_before(x.shape[1:], kernel, *of_x, geometry.same)
    of_h = ones, ones, zeros_before(out, kernel, ones, ones, True)
    peephole = np.zeros(1) if cell.peephole is None else cell.peephole
    peephole = np.broadcast_to(peephole, (3, F, *out))
    seen, h_new, c_new = h * factors, np.empty_like(h), np.empty_like(c)
    for unit, *at in np.ndindex(h.shape):
        sums = []
        for row in range(unit, 4 * F, F):
            by_x = product(x, cell.weight_ih[row], at, *of_x)
            by_h = product(seen, cell.weight_hh[row], at, *of_h)
            sums.append(by_x + by_h + cell.bias_ih[row] + cell.bias_hh[row])
        p_i, p_f, p_o = (float(p) for p in peephole[:, unit, *at])
        old = c[unit, *at]
        i, f = (1 / (1 + math.exp(-a - p * old)) for a, p in ((sums[0], p_i), (sums[1], p_f)))
        new = f * old + i * math.tanh(sums[2])
        o = 1 / (1 + math.exp(-sums[3] - p_o * new))
        c_new[unit, *at], h_new[unit, *at] = new, o * math.tanh(new)
    return h_new, c_new


def oracle(problem: Problem) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    h, c = (part.copy() for part in problem.state)
    y = np.zeros(problem.d_output.shape)
    for n, t in zip(*problem.mask.nonzero(), strict=True):
        h[n], c[n] = oracle_step(problem.cell, problem.x[n, t], h[n], c[n], problem.factors[n])
        y[n, t] = h[n]
    return y, h, c


def assert_close(found, expected, tolerance: float = 1e-12) -> None:
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


def check_forward(geometry: str, peepholes: str | None = "positions") -> None:
    problem = make(geometry, peepholes)
    assert_close(run(problem), oracle(problem))


def check_gradients(geometry: str, peepholes: str | None = "positions") -> None:
    """Every input, in three random directions: slopes of the loss against its gradient."""
    problem = make(geometry, peepholes)
    found, rng, step = gradients(problem), np.random.default_rng(8), 1e-5
    assert set(found) == set(problem.inputs())
    for name, value in problem.inputs().items():
        assert found[name].shape == value.shape
        for _ in range(3):
            way = rng.normal(size=value.shape)
            ahead, behind = (loss(problem.with_input(name, value + s * step * way)) for s in (1, -1))
            slope = (ahead - behind) / (2 * step)
            assert (found[name] * way).sum() == pytest.approx(slope, rel=1e-6, abs=1e-7), name


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_forward_equals_scalar_loops(geometry) -> None:
    check_forward(geometry)


@pytest.mark.parametrize("peepholes", [None, "channels"])
def test_forward_equals_scalar_loops_with_other_peepholes(peepholes) -> None:
    check_forward("image", peepholes)


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_gradients_are_slopes(geometry) -> None:
    check_gradients(geometry)


@pytest.mark.parametrize("peepholes", [None, "channels"])
def test_gradients_are_slopes_with_other_peepholes(peepholes) -> None:
    check_gradients("image", peepholes)


def test_images_of_one_position_are_a_plain_lstm() -> None:
    problem = replace(make("line", "channels"), factors=np.ones((N, F, 1)))
    cell = replace(
        problem.cell, weight_ih=problem.cell.weight_ih[..., 1:2], weight_hh=problem.cell.weight_hh[..., 1:2]
    )
    plain = LSTMCell(
        cell.weight_ih[..., 0], cell.weight_hh[..., 0], cell.bias_ih, cell.bias_hh, cell.peephole[..., 0]
    )
    x, state = problem.x[..., :1], tuple(part[..., :1] for part in problem.state)
    y, final, tape = conv_lstm_forward(cell, x, state, mask=MASK)
    expected = layer_forward(plain, x[..., 0], tuple(part[..., 0] for part in state), mask=MASK)
    assert_close([y[..., 0], final[0][..., 0], final[1][..., 0]], [expected.output, *expected.final])
    d_y, d_final = problem.d_output[..., :1], tuple(part[..., :1] for part in problem.d_final)
    found = conv_lstm_backward(tape, d_y, d_final)
    other = layer_backward(expected.tape, d_y[..., 0], tuple(part[..., 0] for part in d_final))
    assert_close([found.x[..., 0], *(part[..., 0] for part in found.state)], [other.x, *other.initial])
    for name, gradient in found.weights.items():
        np.testing.assert_allclose(
            gradient.reshape(other.weights[name].shape), other.weights[name], atol=1e-12
        )


def test_a_step_that_is_not_real_is_never_looked_at() -> None:
    problem = make("image")
    spoilt = problem.x.copy()
    spoilt[~MASK] = np.nan
    assert_close(run(replace(problem, x=spoilt)), run(problem), 0.0)
    found, expected = gradients(replace(problem, x=spoilt)), gradients(problem)
    assert_close(found.values(), expected.values(), 0.0)


@pytest.mark.parametrize("name", ["weight_ih", "weight_hh", "bias_ih", "bias_hh", "peephole"])
def test_weights_that_do_not_fit_are_refused(name) -> None:
    problem = make("image")
    wrong = np.zeros((5, *problem.cell.weights[name].shape[1:]))
    with pytest.raises(ValueError, match=rf"ConvLSTMCell: {name} has shape .* expected"):
        problem.with_input(name, wrong)


# Tests of the tests: each of these mistakes is caught by one of the two checks above.


def broken_step(change: Callable[[str], str], method: str = "step") -> Callable[..., object]:
    """The method with its source changed."""
    source = textwrap.dedent(inspect.getsource(getattr(ConvLSTMCell, method)))
    changed = change(source)
    assert changed != source
    names = dict(vars(module))
    exec(compile("from __future__ import annotations\n" + changed, "broken", "exec"), names)
    return names[method]


MISTAKES = {
    "two gates change places": ("step", "a_i, a_f, a_g, a_o = np", "a_f, a_i, a_g, a_o = np"),
    "o sees the old cell state": ("step", "p_o * C_new", "p_o * C"),
    "no peephole of f": ("step", "a_f + p_f * C", "a_f"),
    "only one bias": ("step", "self.bias_ih + self.bias_hh", "self.bias_ih"),
    "no recurrent dropout": ("step", "seen = factors * H", "seen = H"),
    "h is the cell state": ("step", "o * np.tanh(C_new), C_new)", "o * C_new, C_new)"),
    "the new cell state forgets nothing": ("step", "C_new = f * C", "C_new = C"),
    "no gradient through the peephole of o": ("step_backward", " + d_a_o * p_o", ""),
    "no gradient through the peephole of i": ("step_backward", " + d_a_i * p_i", ""),
    "the forget gate is left out on the way back": ("step_backward", "d_C_new * f + ", "d_C_new + "),
    "the factors are left out on the way back": ("step_backward", "factors * d_seen", "d_seen"),
    "the peephole of o learns from the old state": ("step_backward", "d_a_o * C_new", "d_a_o * C"),
    "the recurrent weights learn from the input's order": (
        "step_backward",
        "[d_a_i, d_a_f, d_a_g, d_a_o]",
        "[d_a_i, d_a_f, d_a_o, d_a_g]",
    ),
    "a gate's slope is missing": ("step_backward", "d_C_new * C * f * (1.0 - f)", "d_C_new * C * f"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_broken_cell_is_caught(mistake, monkeypatch) -> None:
    method, text, replacement = MISTAKES[mistake]
    monkeypatch.setattr(
        ConvLSTMCell, method, broken_step(lambda source: source.replace(text, replacement), method)
    )
    check = check_forward if method == "step" else check_gradients
    with pytest.raises(AssertionError):
        check("image")


def test_a_mirrored_kernel_is_caught(monkeypatch) -> None:
    forward = Convolution.forward
    monkeypatch.setattr(Convolution, "forward", lambda self, x, w: forward(self, x, w[..., ::-1]))
    with pytest.raises(AssertionError):
        check_forward("image")


def test_padding_with_the_larger_half_in_front_is_caught(monkeypatch) -> None:
    before = Convolution._before

    def wrong(self, space, kernel):
        halves = zip(before(self, space, kernel), kernel, strict=True)
        return tuple(b + (self.same and k % 2 == 0) for b, k in halves)

    monkeypatch.setattr(Convolution, "_before", wrong)
    with pytest.raises(AssertionError):
        check_forward("image")
