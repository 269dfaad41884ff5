"""The C ABI called bare, with everything around it made to notice a fault.

Every array that the library gets to write lies between guards, compared afterwards, and is filled with
NaN before; so are `packed`, `saved` and `scratch`. Rows of x and y are apart by more than they are wide.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from stacks import Problem

from gatestack.kernels import abi, library

if TYPE_CHECKING:
    from solvers import Case

GUARD = 256
FIELDS = {
    "weight_ih": "weight_input",
    "weight_hh": "weight_hidden",
    "bias_ih": "bias_input",
    "bias_hh": "bias_hidden",
    "weight_hr": "weight_projection",
    "peephole": "peephole",
    "gain_ih": "gain_input",
    "gain_hh": "gain_hidden",
    "gain_c": "gain_cell",
    "bias_c": "bias_cell",
}
GAP = 3  # numbers between the rows of x and y


@dataclass
class Memory:
    """Guarded arrays that live as long as the call."""

    blocks: list[np.ndarray] = field(default_factory=list)

    def bytes(self, count: int) -> np.ndarray:
        """`count` bytes of 0xFF (as floats: NaN) at a multiple of 64, guards of 0xA5 around."""
        whole = np.full(count + 2 * GUARD + 64, 0xA5, dtype=np.uint8)
        start = GUARD + -(whole.ctypes.data + GUARD) % 64
        inside = whole[start : start + count]
        inside[:] = 0xFF
        self.blocks.append(whole)
        self.blocks.append(inside)
        return inside

    def array(self, shape: tuple[int, ...], dtype: np.dtype, values: np.ndarray | None = None) -> np.ndarray:
        """An array of NaN, or of the given values."""
        made = self.bytes(int(np.prod(shape)) * dtype.itemsize).view(dtype).reshape(shape)
        if values is not None:
            made[...] = values
        return made

    def check(self) -> None:
        """Raise AssertionError where a guard was written to."""
        for whole, inside in zip(self.blocks[::2], self.blocks[1::2], strict=True):
            start = inside.ctypes.data - whole.ctypes.data
            before, after = whole[:start], whole[start + inside.nbytes :]
            assert (before == 0xA5).all(), "something was written before the beginning of an array"
            assert (after == 0xA5).all(), "something was written after the end of an array"


def _pointer(array: np.ndarray | None) -> Any:
    return None if array is None else array.ctypes.data


@dataclass
class BareCall:
    """A `gatestack_call` over one problem, with its arrays; `sizes`, `forward` and `backward` run it."""

    problem: Problem
    case: Case
    threads: int = 1
    save: bool = True
    half: bool = False  # products in bfloat16
    wanted: set[int] | None = None  # which gradients are asked for, by their number; None for all
    missing: set[int] = field(default_factory=set)  # upstream gradients that are NULL, by their number
    memory: Memory = field(default_factory=Memory)

    def __post_init__(self) -> None:
        problem, case, spec = self.problem, self.case, self.problem.spec
        self.raw = library.load()
        self.dtype = np.dtype(str(problem.x.dtype).removeprefix("torch."))
        N, T, _ = problem.x.shape
        D = spec.directions
        self.real = case.real(N, T)
        call = self.call = abi.empty_call()
        call.dtype, call.threads, call.directions = abi.DTYPES[self.dtype.name], self.threads, D
        call.flags = (
            abi.Flag.SAVE * self.save
            | abi.Flag.BFLOAT16 * self.half
            | abi.Flag.RECOMPUTE * case.recompute
            | abi.Flag.TRAINING * case.training
        )
        call.batch, call.steps, call.layer_count, call.seed = N, T, len(spec.layers), case.seed
        self.layers = (abi.Layer * len(spec.layers))()
        call.layers = ctypes.cast(self.layers, ctypes.POINTER(abi.Layer))
        given = problem.x.detach().numpy()
        self.x = self._padded(np.where(self.real[:, :, None], given, np.nan))
        call.x, call.x_batch, call.x_step = self._strided(self.x)
        self.y = self.memory.array((N, T, spec.output_size + GAP), self.dtype)
        call.y, call.y_batch, call.y_step = self._strided(self.y)
        if case.lengths is not None:
            self.lengths = np.array(case.lengths, dtype=np.int64)
            call.lengths = _pointer(self.lengths)
        if case.mask is not None:
            self.mask = case.mask.astype(np.uint8)
            call.mask = _pointer(self.mask)
        self.kept: list[Any] = []
        self.finals: list[list[np.ndarray]] = []
        self.cells: list[np.ndarray] = []
        for number, (layer, at) in enumerate(zip(spec.layers, self.layers, strict=True)):
            at.cell, at.residual = abi.CELLS[layer.cell], int(layer.residual)
            at.input_size, at.hidden_size = layer.input_size, layer.hidden_size
            at.projection_size = layer.projection_size
            at.input_dropout_per_step = int(layer.input_dropout_per_step)
            for name in ("input_dropout", "hidden_dropout", "candidate_dropout", "zoneout_hidden"):
                setattr(at, name, getattr(layer, name))
            at.zoneout_cell = layer.zoneout_cell
            at.weights = self._weights(number, values=True)
            finals = []
            for name, size, index in zip("hc", layer.state_sizes, (0, 1), strict=False):
                state = problem.states[number]
                if state is not None:
                    initial = self.memory.array((D, N, size), self.dtype, state[index].detach().numpy())
                    setattr(at, f"{name}0", _pointer(initial))
                finals.append(self.memory.array((D, N, size), self.dtype))
                setattr(at, f"{name}n", _pointer(finals[-1]))
            self.finals.append(finals)
            if case.cells:
                self.cells.append(self.memory.array((N, T, D * layer.hidden_size), self.dtype))
                at.cells = _pointer(self.cells[-1])
        self.sizes = self.raw.sizes(call)
        self.packed = self.memory.bytes(self.sizes.packed)
        self.saved = self.memory.bytes(self.sizes.saved)
        call.packed, call.saved = _pointer(self.packed), _pointer(self.saved)

    def forward(self) -> list[np.ndarray]:
        """Pack and run; the results in the order of `stacks.results`."""
        scratch = self.memory.bytes(self.sizes.scratch_forward)
        self.call.scratch = _pointer(scratch)
        self.raw.pack(self.call)
        self.raw.forward(self.call)
        self.memory.check()
        assert np.isnan(self.y[:, :, -GAP:]).all(), "something was written between the rows of y"
        finals = [part for parts in self.finals for part in parts]
        return [part.astype(np.float64) for part in (self.y[:, :, :-GAP], *finals, *self.cells)]

    def backward(self, upstream: list[np.ndarray]) -> list[np.ndarray]:
        """The gradients in the order of `Problem.inputs`; what is not wanted stays NaN."""
        problem, spec, call = self.problem, self.problem.spec, self.call
        N, T, C = problem.x.shape
        D = spec.directions
        rest = [None if number in self.missing else part for number, part in enumerate(upstream)]
        call.grad_y = None
        if rest[0] is not None:
            d_y = self._padded(np.where(self.real[:, :, None], rest[0], np.nan))
            call.grad_y, call.grad_y_batch, call.grad_y_step = self._strided(d_y)
        del rest[0]
        d_x = self.memory.array((N, T, C + GAP), self.dtype)
        call.grad_x, call.grad_x_batch, call.grad_x_step = self._strided(d_x)
        gradients = [d_x[:, :, :-GAP]]
        if not self._is_wanted(0):
            call.grad_x = None
        for number, (layer, at) in enumerate(zip(spec.layers, self.layers, strict=True)):
            for name, size in zip("hc", layer.state_sizes, strict=False):
                setattr(at, f"grad_{name}n", self._given((D, N, size), rest.pop(0)))
                if problem.states[number] is not None:
                    gradient = self.memory.array((D, N, size), self.dtype)
                    if self._is_wanted(len(gradients)):
                        setattr(at, f"grad_{name}0", _pointer(gradient))
                    gradients.append(gradient)
        for layer, at in zip(spec.layers, self.layers, strict=True):
            if self.case.cells:
                given = rest.pop(0)
                spoilt = None if given is None else np.where(self.real[:, :, None], given, np.nan)
                at.grad_cells = self._given((N, T, D * layer.hidden_size), spoilt)
        for number, at in enumerate(self.layers):
            at.gradients = self._weights(number, values=False, first=len(gradients))
            gradients += self.kept[-1]
        scratch = self.memory.bytes(self.sizes.scratch_backward)
        call.scratch = _pointer(scratch)
        self.raw.backward(call)
        self.memory.check()
        assert np.isnan(d_x[:, :, -GAP:]).all(), "something was written between the rows of the gradient of x"
        return [part.astype(np.float64) for part in gradients]

    def _is_wanted(self, number: int) -> bool:
        return self.wanted is None or number in self.wanted

    def _padded(self, values: np.ndarray) -> np.ndarray:
        """Rows apart by GAP numbers, which are NaN."""
        made = self.memory.array((*values.shape[:2], values.shape[2] + GAP), self.dtype)
        made[:, :, :-GAP] = values
        return made

    def _strided(self, array: np.ndarray) -> tuple[Any, int, int]:
        size = self.dtype.itemsize
        return _pointer(array), array.strides[0] // size, array.strides[1] // size

    def _given(self, shape: tuple[int, ...], values: np.ndarray | None) -> Any:
        return None if values is None else _pointer(self.memory.array(shape, self.dtype, values))

    def _weights(self, number: int, *, values: bool, first: int = 0) -> Any:
        """The structs of one layer; with `values` the weights, otherwise where their gradients go.

        `first` is the number of the first gradient.
        """
        made = (abi.Weights * self.problem.spec.directions)()
        arrays = []
        for struct, given in zip(made, self.problem.weights[number], strict=True):
            for name, part in zip(given._fields, given, strict=True):
                if part is not None:
                    filled = part.detach().numpy() if values else None
                    arrays.append(self.memory.array(tuple(part.shape), self.dtype, filled))
                    if values or self._is_wanted(first + len(arrays) - 1):
                        setattr(struct, FIELDS[name], _pointer(arrays[-1]))
        self.kept += [made, arrays]
        return ctypes.cast(made, ctypes.POINTER(abi.Weights))


def solve_by_abi(
    problem: Problem, case: Case, upstream: list[np.ndarray], *, threads: int = 1
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """All results and all gradients."""
    call = BareCall(problem, case, threads=threads)
    found = call.forward()
    return found, call.backward(upstream)
