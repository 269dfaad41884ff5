"""The convolutional LSTM: the seam on both backends against the reference, and its step called bare."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from abi_driver import Memory
from solvers import needs_kernels
from torch import Tensor

from gatestack import reference
from gatestack.errors import ArgumentError
from gatestack.kernels import abi, library
from gatestack.kernels.backend import use_backend
from gatestack.kernels.conv_lstm import ConvSpec, ConvWeights, fused, job, run_conv_lstm, spec
from gatestack.kernels.conv_lstm.rows import RealRows

N, T, C = 4, 5, 2
MASK = torch.tensor([[1, 0, 1, 1, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1], [0, 1, 0, 0, 1]], dtype=torch.bool)
LENGTHS = torch.tensor([3, 0, 5, 4])
BACKENDS = [pytest.param("native", marks=needs_kernels), "torch"]
WHICH = {"all": {}, "lengths": {"lengths": LENGTHS}, "mask": {"mask": MASK}}
# space, kernel, stride, dilation, same
GEOMETRIES = {
    "line": ((7,), (3,), (1,), (1,), True),
    "line, even kernel, stride": ((8,), (4,), (3,), (1,), True),
    "image": ((5, 4), (3, 5), (1, 1), (1, 1), True),
    "image, even kernel": ((5, 4), (2, 3), (1, 1), (1, 1), True),
    "image, stride": ((5, 6), (3, 3), (2, 2), (1, 1), True),
    "image, dilation": ((5, 4), (2, 3), (1, 1), (2, 3), True),
    "image, valid": ((5, 6), (2, 3), (2, 1), (1, 2), False),
    "volume": ((2, 3, 4), (2, 1, 3), (1, 2, 2), (1, 1, 1), True),
}


@dataclass(eq=False)
class Problem:
    """All that goes into a layer, and the gradients of all that comes out of it."""

    spec: ConvSpec
    x: Tensor
    state: tuple[Tensor, Tensor]
    weights: ConvWeights
    factors: Tensor | None
    upstream: tuple[Tensor, Tensor, Tensor]

    def inputs(self) -> list[Tensor]:
        return [tensor for tensor in (self.x, *self.state, *self.weights) if tensor is not None]

    def run(self, **options: object) -> tuple[Tensor, ...]:
        return run_conv_lstm(self.spec, self.x, self.state, self.weights, factors=self.factors, **options)

    def solve(self, **options: object) -> list[np.ndarray]:
        """Results, then gradients of every input, then results without gradients at work."""
        results = self.run(**options)
        loss = sum((result * up).sum() for result, up in zip(results, self.upstream, strict=True))
        gradients = torch.autograd.grad(loss, self.inputs())
        with torch.no_grad():
            again = self.run(**options)
        return [tensor.detach().numpy() for tensor in (*results, *gradients, *again)]


def make(
    geometry: str = "image",
    *,
    F: int = 3,
    peepholes: str | None = None,
    factors: bool = False,
    dtype: torch.dtype = torch.float64,
) -> Problem:
    space, kernel, stride, dilation, same = GEOMETRIES[geometry]
    random = torch.Generator().manual_seed(3)

    def normal(*shape: int, scale: float = 1.0) -> Tensor:
        return (torch.randn(shape, generator=random, dtype=torch.float64) * scale).to(dtype)

    def parameter(*shape: int, scale: float = 1.0) -> Tensor:
        return normal(*shape, scale=scale).requires_grad_()

    spec = ConvSpec(stride, dilation, same)
    out = spec.output_space(space, kernel)
    maps = {None: None, "positions": (3, F, *out), "channels": (3, F, *(1 for _ in out))}[peepholes]
    weights = ConvWeights(
        parameter(4 * F, C, *kernel, scale=0.5),
        parameter(4 * F, F, *kernel, scale=0.5),
        parameter(4 * F),
        None if maps is None else parameter(*maps),
    )
    drawn = torch.randint(0, 2, (N, F, *out), generator=random).to(dtype) * 2 if factors else None
    return Problem(
        spec,
        parameter(N, T, C, *space),
        (parameter(N, F, *out), parameter(N, F, *out)),
        weights,
        drawn,
        (normal(N, T, F, *out), normal(N, F, *out), normal(N, F, *out)),
    )


def solve_by_reference(problem: Problem, **options: Tensor) -> list[np.ndarray]:
    """The same in NumPy float64."""

    def array(tensor: Tensor) -> np.ndarray:
        return tensor.detach().double().numpy()

    weight_ih, weight_hh, bias, peephole = problem.weights
    cell = reference.ConvLSTMCell(
        array(weight_ih),
        array(weight_hh),
        array(bias),
        np.zeros(len(bias)),
        reference.Convolution(problem.spec.stride, problem.spec.dilation, problem.spec.same),
        None if peephole is None else array(peephole),
    )
    y, state, tape = reference.conv_lstm_forward(
        cell,
        array(problem.x),
        tuple(array(part) for part in problem.state),
        factors=1.0 if problem.factors is None else array(problem.factors),
        **{name: option.numpy() for name, option in options.items()},
    )
    d_y, *d_final = (array(part) for part in problem.upstream)
    found = reference.conv_lstm_backward(tape, d_y, tuple(d_final))
    names = ("weight_ih", "weight_hh", "bias_ih", *(() if peephole is None else ("peephole",)))
    gradients = [found.x, *found.state, *(found.weights[name] for name in names)]
    return [y, *state, *gradients, y, *state]


def assert_close(found: list[np.ndarray], expected: list[np.ndarray], tolerance: float = 1e-10) -> None:
    assert len(found) == len(expected)
    for number, (one, other) in enumerate(zip(found, expected, strict=True)):
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance, err_msg=f"number {number}")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("options", WHICH.values(), ids=WHICH)
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_results_and_gradients_are_those_of_the_reference(geometry, options, backend) -> None:
    problem = make(geometry, peepholes="positions", factors=True)
    with use_backend(backend):
        found = problem.solve(**options)
    assert_close(found, solve_by_reference(problem, **options))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("factors", [False, True])
@pytest.mark.parametrize("peepholes", [None, "channels", "positions"])
@pytest.mark.parametrize("F", [1, 8, 17])
def test_every_cell_and_width(F, peepholes, factors, backend) -> None:
    problem = make("line", F=F, peepholes=peepholes, factors=factors)
    with use_backend(backend):
        found = problem.solve(lengths=LENGTHS)
    assert_close(found, solve_by_reference(problem, lengths=LENGTHS))


@pytest.mark.parametrize("backend", BACKENDS)
def test_float32(backend) -> None:
    """Some hundred roundings of 6e-8, on numbers of size 10."""
    problem = make("image", F=9, peepholes="positions", dtype=torch.float32)
    with use_backend(backend):
        found = problem.solve(mask=MASK)
    assert all(array.dtype == np.float32 for array in found)
    assert_close(found, solve_by_reference(problem, mask=MASK), 2e-4)


@needs_kernels
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_gradients_are_slopes(geometry) -> None:
    problem = make(geometry, peepholes="positions", factors=True)

    def run(*_: Tensor) -> tuple[Tensor, ...]:
        return problem.run(mask=MASK)

    with use_backend("native"):
        assert torch.autograd.gradcheck(run, tuple(problem.inputs()), fast_mode=True, atol=1e-6)


@needs_kernels
def test_second_derivatives_are_slopes_of_the_first() -> None:
    problem = make("line", peepholes="channels")

    def run(*_: Tensor) -> tuple[Tensor, ...]:
        return problem.run(lengths=LENGTHS)

    with use_backend("native"):
        assert torch.autograd.gradgradcheck(run, tuple(problem.inputs()), fast_mode=True, atol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_state_is_a_state_of_zeros(backend) -> None:
    problem = make("image", factors=True)
    zeros = tuple(torch.zeros_like(part) for part in problem.state)
    inputs = [problem.x, *problem.weights[:3]]
    found = []
    with use_backend(backend):
        for state in (None, zeros):
            results = run_conv_lstm(
                problem.spec, problem.x, state, problem.weights, factors=problem.factors, lengths=LENGTHS
            )
            loss = sum((result * up).sum() for result, up in zip(results, problem.upstream, strict=True))
            found.append([t.detach().numpy() for t in (*results, *torch.autograd.grad(loss, inputs))])
    assert_close(*found, 1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_without_sequences_the_output_is_the_final_h(backend) -> None:
    problem = make("image")
    with use_backend(backend), torch.no_grad():
        expected = problem.run(mask=MASK)
        y, h, c = problem.run(mask=MASK, sequences=False)
    assert torch.equal(y, h)
    assert torch.equal(h, expected[1])
    assert torch.equal(c, expected[2])
    with use_backend(backend):
        y, _, _ = problem.run(mask=MASK, sequences=False)
        found = torch.autograd.grad((y * problem.upstream[1]).sum(), problem.inputs())
        _, h, _ = problem.run(mask=MASK)
        expected = torch.autograd.grad((h * problem.upstream[1]).sum(), problem.inputs())
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_stands_where_no_step_is_real_is_never_read(backend) -> None:
    problem = make("image")
    spoilt = torch.where(MASK[:, :, None, None, None], problem.x.detach(), torch.nan).requires_grad_()
    with use_backend(backend):
        found = replace(problem, x=spoilt).solve(mask=MASK)
        expected = problem.solve(mask=MASK)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@needs_kernels
def test_zeros_are_not_convolved(monkeypatch) -> None:
    problem = make("image")
    seen = []
    add = fused.add_convolved_state
    monkeypatch.setattr(fused, "add_convolved_state", lambda *given: seen.append(given) or add(*given))
    with use_backend("native"):
        run_conv_lstm(problem.spec, problem.x, problem.state, problem.weights)
        given = len(seen)
        run_conv_lstm(problem.spec, problem.x, None, problem.weights)
    assert given == problem.x.shape[1]
    assert len(seen) - given == given - 1


@needs_kernels
@pytest.mark.parametrize("images", [2, 3, 5])  # parts of steps, ends of one and beginnings of the next
@pytest.mark.parametrize("options", WHICH.values(), ids=WHICH)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-4)])
def test_pieces_of_any_size_give_the_same(images, options, dtype, tolerance, monkeypatch) -> None:
    problem = make("image", peepholes="channels", factors=True, dtype=dtype)
    with use_backend("native"):
        expected = problem.solve(**options)
        monkeypatch.setattr(job, "_MOST_SUMS", images * 4 * problem.state[0][0].numel())
        found = problem.solve(**options)
    assert_close(found, expected, tolerance)


@needs_kernels
@pytest.mark.parametrize("F", [1, 2, 17])
@pytest.mark.parametrize("space", [(1, 1), (1, 7), (5, 1), (4, 3), (1, 1, 1), (2, 3, 4)])
def test_the_recurrent_convolution_is_added_in_place(space, F) -> None:
    """Whatever sizes of 1 make of the layout in memory."""
    torch.manual_seed(1)
    weight = job.last_channels(torch.randn(4 * F, F, *(3,) * len(space)))
    for rows in (1, 3):
        h, sums = torch.randn(rows, *space, F), torch.randn(rows, *space, 4 * F)
        seen, found = job.as_images(h), job.as_images(sums)
        wanted = found + spec.convolve_state(seen, weight)
        rest = spec.add_convolved_state(found, seen, weight)
        torch.testing.assert_close(found if rest is None else found + rest, wanted, rtol=0, atol=1e-4)


@pytest.mark.parametrize("lengths", [None, torch.tensor([2])])
def test_steps_are_taken_with_their_channels_last(lengths) -> None:
    """Also where axes of size 1 leave that open."""
    x = torch.randn(1, 3, 1, 4, 4)
    assert RealRows.of(x, lengths, None).taken(x).stride() == (16, 1, 4, 1)


@needs_kernels
def test_without_onednn_the_kernels_add(monkeypatch) -> None:
    problem = make("image", dtype=torch.float32)
    with use_backend("native"):
        expected = problem.solve(lengths=LENGTHS)
        monkeypatch.setattr(spec, "_ONTO", None)
        found = problem.solve(lengths=LENGTHS)
    assert_close(found, expected, 1e-4)


@needs_kernels
def test_inference_needs_no_more_memory_for_more_steps(monkeypatch) -> None:
    problem = make("image")
    sizes: list[int] = []
    empty = job.empty

    def counted(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        sizes.append(int(np.prod(shape)))
        return empty(shape, dtype)

    monkeypatch.setattr(job, "empty", counted)
    monkeypatch.setattr(fused, "empty", counted)
    monkeypatch.setattr(job, "_MOST_SUMS", 4 * problem.state[0].numel())
    needed = []
    for times in (1, 20):
        sizes.clear()
        with use_backend("native"), torch.no_grad():
            replace(problem, x=problem.x.repeat(1, times, 1, 1, 1)).run(sequences=False)
        needed.append(sum(sizes))
    assert needed[0] == needed[1] == (2 + 4) * problem.state[0].numel()  # states, sums of a step


@needs_kernels
def test_the_same_call_gives_the_same_bits() -> None:
    problem = make("image", F=16, peepholes="positions", dtype=torch.float32)
    with use_backend("native"):
        for one, other in zip(problem.solve(mask=MASK), problem.solve(mask=MASK), strict=True):
            np.testing.assert_array_equal(one, other)


@needs_kernels
def test_results_may_be_changed_in_place() -> None:
    problem = make("image")
    with use_backend("native"):
        y, h, c = problem.run()
        (h.mul_(2.0).sum() + c.add_(1.0).sum()).backward()
        assert problem.x.grad is not None
        y, _, _ = problem.run()
        y.mul_(2.0)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.sum().backward()


# What is used, and what is refused.


@needs_kernels
def test_other_activations_are_computed_by_torch_and_refused_of_the_kernels() -> None:
    problem = make("image")
    other = replace(problem, spec=replace(problem.spec, gate_activation=torch.nn.functional.hardsigmoid))
    with use_backend("torch"):
        expected = other.run()
    assert all(torch.equal(one, two) for one, two in zip(other.run(), expected, strict=True))
    with use_backend("native"), pytest.raises(ArgumentError, match="other activations than tanh"):
        other.run()


def test_half_precision_is_computed_by_torch() -> None:
    problem = make("image", dtype=torch.bfloat16)
    y, h, c = problem.run(lengths=LENGTHS)
    assert y.dtype is h.dtype is c.dtype is torch.bfloat16
    exact = make("image", dtype=torch.float32).run(lengths=LENGTHS)[0]
    np.testing.assert_allclose(y.float().detach(), exact.detach(), atol=0.1)


def test_autocast_is_computed_by_torch() -> None:
    problem = make("image", dtype=torch.float32)
    expected = problem.run(lengths=LENGTHS)[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, _, _ = problem.run(lengths=LENGTHS)
    assert not torch.equal(y, expected)
    np.testing.assert_allclose(y.float().detach(), expected.detach(), atol=0.1)


# The step, called bare.


def sigmoid(a: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-a))


class Step:
    """A `gatestack_conv_lstm` over random numbers, its arrays guarded."""

    def __init__(
        self, rows: int, positions: int, F: int, *, peephole: bool = False, dtype: str = "float64"
    ) -> None:
        random = np.random.default_rng(rows + positions + F)
        self.memory, self.dtype = Memory(), np.dtype(dtype)
        self.image, self.four, self.map = (rows, positions, F), (rows, positions, 4 * F), (3, positions, F)
        shapes = {"sums_input": self.four, "sums_hidden": self.four, "c_before": self.image}
        shapes |= {"grad_y": self.image, "grad_h": self.image, "grad_c": self.image}
        if peephole:
            shapes |= {"peephole": self.map, "grad_peephole": self.map}
        self.given = {name: random.normal(size=shape).astype(dtype) for name, shape in shapes.items()}
        self.arrays = {
            name: self.memory.array(value.shape, self.dtype, value) for name, value in self.given.items()
        }
        for name in ("c", "h"):
            self.arrays[name] = self.memory.array(self.image, self.dtype)
        for name in ("gates", "grad_gates"):
            self.arrays[name] = self.memory.array(self.four, self.dtype)
        self.call = abi.ConvLSTMStep(
            size=ctypes.sizeof(abi.ConvLSTMStep),
            version=abi.VERSION,
            dtype=abi.DTYPES[dtype],
            threads=1,
            rows=rows,
            positions=positions,
            channels=F,
        )
        for name in self.arrays:
            self.point(name, name)

    def point(self, field: str, name: str | None) -> None:
        """Let a pointer of the call name an array, or nothing."""
        setattr(self.call, field, None if name is None else self.arrays[name].ctypes.data)

    def forward(self) -> int:
        return library.load().raw.gatestack_conv_lstm_forward(self.call)

    def backward(self) -> int:
        return library.load().raw.gatestack_conv_lstm_backward(self.call)

    def run(self) -> None:
        assert self.forward() == abi.Status.OK
        assert self.backward() == abi.Status.OK
        self.memory.check()

    def expected(self, **missing: bool) -> dict[str, np.ndarray]:
        """What the arrays hold after both calls; `missing` are those that the call was not given."""
        given = {
            name: value.astype(np.float64) * (0.0 if missing.get(name) else 1.0)
            for name, value in self.given.items()
        }
        p = given.get("peephole", np.zeros(self.map))
        c_before, d_h, d_c = given["c_before"], given["grad_y"] + given["grad_h"], given["grad_c"]
        a_i, a_f, a_g, a_o = np.split(given["sums_input"] + given["sums_hidden"], 4, axis=2)
        i, f, g = sigmoid(a_i + p[0] * c_before), sigmoid(a_f + p[1] * c_before), np.tanh(a_g)
        c = f * c_before + i * g
        o = sigmoid(a_o + p[2] * c)
        d_o = d_h * np.tanh(c) * o * (1 - o)
        d_c = d_c + d_h * o * (1 - np.tanh(c) ** 2) + d_o * p[2]
        d_i, d_f, d_g = d_c * g * i * (1 - i), d_c * c_before * f * (1 - f), d_c * i * (1 - g**2)
        d_p = np.stack([(d_i * c_before).sum(0), (d_f * c_before).sum(0), (d_o * c).sum(0)])
        return {
            "c": c,
            "h": o * np.tanh(c),
            "gates": np.concatenate([i, f, g, o], axis=2),
            "grad_gates": np.concatenate([d_i, d_f, d_g, d_o], axis=2),
            "grad_c": d_c * f + d_i * p[0] + d_f * p[1],
            "grad_peephole": d_p + given.get("grad_peephole", 0.0),
        }

    def assert_right(self, expected: dict[str, np.ndarray], tolerance: float = 1e-12) -> None:
        for name, value in expected.items():
            if name in self.arrays:
                np.testing.assert_allclose(
                    self.arrays[name], value, rtol=tolerance, atol=tolerance, err_msg=name
                )


SIZES = [(1, 1, 1), (3, 7, 1), (2, 33, 16), (2, 5, 100), (1, 31, 17), (2, 3, 511), (2, 2, 513), (1, 2, 1030)]


@needs_kernels
@pytest.mark.parametrize("peephole", [False, True])
@pytest.mark.parametrize(("rows", "positions", "F"), SIZES)
def test_a_step_alone(rows, positions, F, peephole) -> None:
    step = Step(rows, positions, F, peephole=peephole)
    step.run()
    step.assert_right(step.expected())


@needs_kernels
def test_a_step_alone_in_float32() -> None:
    """Two ulp of each function, on numbers of size 10."""
    step = Step(2, 35, 15, peephole=True, dtype="float32")
    step.run()
    step.assert_right(step.expected(), 1e-5)


@needs_kernels
@pytest.mark.parametrize("name", ["sums_hidden", "grad_y", "grad_h"])
def test_what_is_not_given_is_zero(name) -> None:
    step = Step(2, 9, 20)
    step.point(name, None)
    step.run()
    step.assert_right(step.expected(**{name: True}))


@needs_kernels
@pytest.mark.parametrize("sums", ["sums_input", "sums_hidden"])
def test_gates_may_take_the_place_of_sums(sums) -> None:
    step = Step(2, 9, 20, peephole=True)
    expected = step.expected()
    step.point("gates", sums)
    step.run()
    np.testing.assert_allclose(step.arrays[sums], expected.pop("gates"), rtol=1e-12)
    step.assert_right(expected)


@needs_kernels
def test_the_cell_state_may_be_changed_in_place_and_gates_left_out() -> None:
    step = Step(2, 9, 20)
    expected = step.expected()
    step.point("c", "c_before")
    step.point("gates", None)
    assert step.forward() == abi.Status.OK
    step.memory.check()
    np.testing.assert_allclose(step.arrays["c_before"], expected["c"], rtol=1e-12)
    np.testing.assert_allclose(step.arrays["h"], expected["h"], rtol=1e-12)
    np.testing.assert_array_equal(step.arrays["sums_input"], step.given["sums_input"])


@needs_kernels
@pytest.mark.parametrize("peephole", [False, True])
def test_threads_give_the_same_bits(peephole) -> None:
    found = []
    for threads in (1, 2, 3):
        step = Step(3, 97, 40, peephole=peephole, dtype="float32")
        step.call.threads = threads
        step.run()
        found.append(step.arrays)
    for other in found[1:]:
        for name, array in found[0].items():
            np.testing.assert_array_equal(array, other[name], err_msg=name)


@needs_kernels
def test_no_rows_are_no_work() -> None:
    step = Step(0, 5, 3)
    step.run()


@needs_kernels
@pytest.mark.parametrize(
    ("field", "value", "status"),
    [
        ("size", 8, abi.Status.BAD_SIZE),
        ("version", 99, abi.Status.BAD_SIZE),
        ("dtype", 2, abi.Status.BAD_ARGUMENT),
        ("threads", 0, abi.Status.BAD_ARGUMENT),
        ("rows", -1, abi.Status.BAD_ARGUMENT),
        ("positions", 0, abi.Status.BAD_ARGUMENT),
        ("channels", 0, abi.Status.BAD_ARGUMENT),
    ],
)
def test_wrong_numbers_are_refused(field, value, status) -> None:
    step = Step(1, 2, 3)
    setattr(step.call, field, value)
    assert step.forward() == status
    assert step.backward() == status


@needs_kernels
@pytest.mark.parametrize(
    ("name", "of_forward", "of_backward"),
    [
        ("sums_input", True, False),
        ("c_before", True, True),
        ("c", True, False),
        ("h", True, False),
        ("gates", False, True),
        ("grad_c", False, True),
        ("grad_gates", False, True),
        ("grad_peephole", False, True),
    ],
)
def test_missing_memory_is_refused(name, of_forward, of_backward) -> None:
    step = Step(1, 2, 3, peephole=True)
    step.point(name, None)
    for refused, call in ((of_forward, step.forward), (of_backward, step.backward)):
        assert call() == (abi.Status.BAD_ARGUMENT if refused else abi.Status.OK)
