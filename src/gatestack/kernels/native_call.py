"""One call of the compiled kernels: tensors in, the words of `gatestack_call` filled, tensors out.

A call is to cost a few microseconds, so its structures are not filled field by field: nearly all fields are
words of 64 bits, and a call is an array of words copied from a template, into which pointers and strides go
by position. The positions are those of the ctypes structures.

Tensors are trusted to be what the ABI wants: on the CPU, of the plan's dtype, contiguous but for x, y and
their gradients, whose features are.
"""

from __future__ import annotations

import ctypes
import threading
from array import array
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from gatestack.kernels import library
from gatestack.kernels.abi import CELLS, DTYPES, VERSION, Call, Flag, Layer, Weights
from gatestack.kernels.rooms import room
from gatestack.kernels.spec import StackSpec

__all__ = ["Plan", "Sizes", "Table", "plan_of", "pointer"]

Table: TypeAlias = "array[int]"

# Plain numbers: arithmetic on an enumeration takes a microsecond.
_SAVE = int(Flag.SAVE)


def _word(structure: type[ctypes.Structure], field: str) -> int:
    return int(getattr(structure, field).offset) // 8


_MOST_KEPT_BYTES = 1 << 20
_CALL = ctypes.sizeof(Call) // 8
_LAYER = ctypes.sizeof(Layer) // 8
WEIGHTS = ctypes.sizeof(Weights) // 8
_FLAGS, _THREADS = _word(Call, "flags"), _word(Call, "threads")
_BATCH, _SEED, _LAYERS = _word(Call, "batch"), _word(Call, "seed"), _word(Call, "layers")
_X, _Y, _GRAD_Y, _GRAD_X = (_word(Call, name) for name in ("x", "y", "grad_y", "grad_x"))
_LENGTHS, _MASK = _word(Call, "lengths"), _word(Call, "mask")
_PACKED, _SAVED, _SCRATCH = (_word(Call, name) for name in ("packed", "saved", "scratch"))
_LAYER_WEIGHTS, _LAYER_GRADIENTS = _word(Layer, "weights"), _word(Layer, "gradients")
_H0, _HN, _CELLS = _word(Layer, "h0"), _word(Layer, "hn"), _word(Layer, "cells")
_GRAD_HN, _GRAD_CELLS, _GRAD_H0 = (_word(Layer, name) for name in ("grad_hn", "grad_cells", "grad_h0"))


class Sizes(NamedTuple):
    """The bytes a call needs."""

    packed: int
    saved: int
    scratch_forward: int
    scratch_backward: int


def pointer(tensor: Tensor | None) -> int:
    """Give the address of a tensor's first element; 0, which is NULL, for None."""
    return 0 if tensor is None else tensor.data_ptr()


class Plan:
    """What all calls of one spec and dtype have in common.

    Args:
        spec: the layers.
        dtype: of all arrays, torch.float32 or torch.float64.
    """

    def __init__(self, spec: StackSpec, dtype: torch.dtype) -> None:
        self.spec, self.dtype = spec, dtype
        self.count = len(spec.layers)
        self.library = library.load()
        prototype = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p)
        self._pack, self._forward, self._backward = (
            prototype((f"gatestack_{name}", self.library.raw)) for name in ("pack", "forward", "backward")
        )
        self._sizes = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p)(
            ("gatestack_sizes", self.library.raw)
        )
        layers = (Layer * self.count)()
        for filled, layer in zip(layers, spec.layers, strict=True):
            filled.cell = CELLS[layer.cell]
            for name in (field[0] for field in Layer._fields_):
                if name != "cell" and hasattr(layer, name):
                    setattr(filled, name, getattr(layer, name))
        call = Call(
            size=ctypes.sizeof(Call),
            dtype=DTYPES[str(dtype).removeprefix("torch.")],
            directions=spec.directions,
            layer_count=self.count,
        )
        call.version = VERSION
        self._saved: dict[int, tuple[int, int]] = {}
        # Per tensor of state: where its layer begins, moved on by one word for c, and its width.
        self._states = [
            (_CALL + number * _LAYER + offset, size)
            for number, layer in enumerate(spec.layers)
            for offset, size in enumerate(layer.state_sizes)
        ]
        self._template: Table = array("q", bytes(call) + bytes(layers))

    def empty_table(self) -> Table:
        """Make room for the pointers of all weights: layer by layer, direction by direction."""
        return array("q", bytes(8 * WEIGHTS * self.count * self.spec.directions))

    def words(
        self,
        template: Table,
        shape: Sequence[int],
        lengths: Tensor | None,
        mask: Tensor | None,
        flags: int,
        seed: int = 0,
    ) -> Table:
        """Begin a call over x of `shape` (N, T, C) from the template of its weights."""
        words = template[:]
        # Two integers of 32 bits to the word, the first one low: little-endian, as all machines with kernels.
        words[_FLAGS] |= flags << 32
        words[_THREADS] |= torch.get_num_threads()
        words[_BATCH], words[_BATCH + 1] = shape[0], shape[1]
        words[_SEED], words[_LAYERS] = seed, words.buffer_info()[0] + 8 * _CALL
        if lengths is not None:
            words[_LENGTHS] = lengths.data_ptr()
        if mask is not None:
            words[_MASK] = mask.data_ptr()
        return words

    def template(self, table: Table, packed: Tensor | None = None) -> Table:
        """Give the words of a call with these weights, which both must outlive it."""
        template = self._template[:]
        template[_PACKED] = pointer(packed)
        self._point(template, _LAYER_WEIGHTS, table)
        return template

    def _point(self, words: Table, field: int, table: Table) -> None:
        """Name the table of weights, or of their gradients, in every layer."""
        each = 8 * WEIGHTS * self.spec.directions
        for number, at in enumerate(range(_CALL + field, len(words), _LAYER)):
            words[at] = table.buffer_info()[0] + number * each

    def sizes(self, words: Table) -> Sizes:
        """Ask how many bytes the call needs."""
        found = array("q", bytes(32))
        self._check(self._sizes(words.buffer_info()[0], found.buffer_info()[0]), "gatestack_sizes")
        return Sizes(*found)

    def most_saved(self, weights: Sequence[Tensor | None], flags: int, batch: int, steps: int) -> int:
        """Give what a call with steps all real saves, or a little more, by a formula: sizes may be symbols.

        What is saved are arrays with a row for each real step, each array rounded up to 64 bytes; so two
        questions to the library, with 64 and 128 real steps, tell the bytes of a step.
        """
        if flags not in self._saved:
            table = array("q", (int(weight is not None) for weight in weights))
            one, two = (
                self.sizes(self.words(self.template(table), (64, n), None, None, flags)).saved for n in (1, 2)
            )
            arrays = self.count * (2 * self.spec.directions + 1)
            self._saved[flags] = ((two - one) // 64, 2 * one - two + 64 * arrays)
        each, constant = self._saved[flags]
        return batch * steps * each + constant

    def pack(self, table: Table, flags: int) -> Tensor:
        """Bring the weights into the kernels' layout."""
        words = self.words(self.template(table), (1, 1), None, None, flags)
        packed = room(self.sizes(words).packed)
        words[_PACKED] = packed.data_ptr()
        self._check(self._pack(words.buffer_info()[0]), "gatestack_pack")
        return packed

    def forward(
        self,
        template: Table,
        x: Tensor,
        states: Sequence[Tensor | None],
        lengths: Tensor | None,
        mask: Tensor | None,
        *,
        flags: int,
        seed: int,
        cells: bool,
        saved_bytes: int = 0,
    ) -> tuple[Tensor, list[Tensor], Tensor | None]:
        """Run the stack forward.

        Args:
            template: what `template` gave for packed weights.
            x: (N, T, C), contiguous along C.
            states: per layer h0 (D, N, P) and for an LSTM c0 (D, N, H), one after the other; None for zeros.
            lengths: (N,) int64, or None.
            mask: (N, T) bool, contiguous, or None.
            flags: of the ABI.
            seed: of the masks.
            cells: also give the cell states of every step.
            saved_bytes: give room for at least so many to what is saved.

        Returns:
            y (N, T, D·P); the final states in the form of `states` and after them the cell states (N, T, D·H)
            per layer; what the backward pass wants, or None where the flags do not ask for it.
        """
        directions, dtype = self.spec.directions, self.dtype
        batch, time, _ = shape = x.shape
        words = self.words(template, shape, lengths, mask, flags, seed)
        y = torch.empty((batch, time, self.spec.output_size), dtype=dtype)
        words[_X], (words[_X + 1], words[_X + 2], _) = x.data_ptr(), x.stride()
        words[_Y], (words[_Y + 1], words[_Y + 2], _) = y.data_ptr(), y.stride()
        others: list[Tensor] = []
        last, last_size = y, -1
        for (at, size), state in zip(self._states, states, strict=True):
            # Like the last one where sizes agree: in half the time.
            last = (
                torch.empty_like(last)
                if size == last_size
                else torch.empty((directions, batch, size), dtype=dtype)
            )
            last_size = size
            others.append(last)
            words[at + _HN] = last.data_ptr()
            if state is not None:
                words[at + _H0] = state.data_ptr()
        if cells:
            for at, layer in zip(range(_CALL, len(words), _LAYER), self.spec.layers, strict=True):
                cell = torch.empty((batch, time, directions * layer.hidden_size), dtype=dtype)
                others.append(cell)
                words[at + _CELLS] = cell.data_ptr()
        sizes = self.sizes(words)
        saved = None
        if flags & _SAVE:
            saved = room(max(sizes.saved, saved_bytes))
            saved[sizes.saved :] = 0
            words[_SAVED] = saved.data_ptr()
        scratch = _scratch(sizes.scratch_forward)
        words[_SCRATCH] = scratch.data_ptr()
        self._check(self._forward(words.buffer_info()[0]), "gatestack_forward")
        return y, others, saved

    def backward(
        self,
        template: Table,
        x: Tensor,
        states: Sequence[Tensor | None],
        lengths: Tensor | None,
        mask: Tensor | None,
        y: Tensor,
        saved: Tensor,
        *,
        flags: int,
        seed: int,
        grad_y: Tensor | None,
        grad_finals: Sequence[Tensor | None],
        grad_cells: Sequence[Tensor | None],
        grad_x: Tensor | None,
        grad_states: Sequence[Tensor | None],
        gradients: Table,
    ) -> None:
        """Run the stack backward: write `grad_x`, `grad_states` and what `gradients` points to.

        The other arguments are those of `forward`, what it gave, and the gradients of it, None for zeros.
        """
        words = self.words(template, x.shape, lengths, mask, flags, seed)
        self._point(words, _LAYER_GRADIENTS, gradients)
        for at, rows in ((_X, x), (_Y, y), (_GRAD_Y, grad_y), (_GRAD_X, grad_x)):
            if rows is not None:
                words[at], (words[at + 1], words[at + 2], _) = rows.data_ptr(), rows.stride()
        for (at, _), *tensors in zip(self._states, states, grad_finals, grad_states, strict=True):
            for field, tensor in zip((_H0, _GRAD_HN, _GRAD_H0), tensors, strict=True):
                if tensor is not None:
                    words[at + field] = tensor.data_ptr()
        for at, cell in zip(range(_CALL, len(words), _LAYER), grad_cells, strict=False):
            words[at + _GRAD_CELLS] = pointer(cell)
        scratch = room(self.sizes(words).scratch_backward)
        words[_SAVED], words[_SCRATCH] = saved.data_ptr(), scratch.data_ptr()
        self._check(self._backward(words.buffer_info()[0]), "gatestack_backward")

    def _check(self, status: int, function: str) -> None:
        if status:
            self.library.check(status, function)


@cache
def plan_of(spec: StackSpec, dtype: torch.dtype) -> Plan:
    """Give the plan of a spec, made once."""
    return Plan(spec, dtype)


class _Kept(threading.local):
    """A thread's scratch, kept for its next call where it is small: calls of one step are that short."""

    room = torch.empty(0, dtype=torch.uint8)


_kept = _Kept()


def _scratch(count: int) -> Tensor:
    """Give at least `count` bytes for the time of a call."""
    kept = _kept.room
    if kept.numel() < count:
        kept = room(count)
        if count <= _MOST_KEPT_BYTES:
            _kept.room = kept
    return kept
