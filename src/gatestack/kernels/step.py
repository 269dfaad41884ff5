"""A stack fed one step at a time: all is bound before, so that a step costs little more than its sums.

No torch here: weights and steps are NumPy arrays; tensors of torch on the CPU are taken as well.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gatestack.errors import ArgumentError, check_choice, check_whole
from gatestack.kernels import library
from gatestack.kernels.abi import CELLS, DTYPES, Call, Layer, Weights, empty_call
from gatestack.kernels.spec import DirectionWeights, StackSpec

__all__ = ["StackStepper"]

Array = npt.NDArray[Any]

# Both have the same order.
_FIELDS = dict(zip(DirectionWeights._fields, (field[0] for field in Weights._fields_), strict=True))


class StackStepper:
    """Runs streams through a stack, step by step, with the compiled kernels.

    Weights are copied and brought into the kernels' layout once; the states stay in place. What the steps of
    a stream give is to the bit what its whole sequence gives in one call. As in eval mode, dropout does
    nothing and zoneout takes the expected value.

    Args:
        spec: of the stack; one direction, because the other one starts at the end.
        weights: per layer, per direction `DirectionWeights`, arrays or tensors, shapes as there.
        streams: N, how many streams step side by side.
        dtype: "float32" or "float64".
        threads: at most so many; a step of few streams is done before a second thread has woken up.

    Attributes:
        output: (N, P), what the last step gave; the next step writes over it.
        state: per layer (h (1, N, P), c (1, N, H)) or (h,), the live arrays: reading them saves a stream,
            writing into them restores it.

    Raises:
        ArgumentError: two directions, a weight of another shape.
        KernelError: there are no compiled kernels.

    Note:
        One stepper belongs to one thread at a time.

    Example:
        >>> import numpy as np
        >>> from gatestack.kernels import library
        >>> from gatestack.kernels.spec import DirectionWeights, LayerSpec, StackSpec
        >>> draw = np.random.default_rng(0).normal
        >>> weights = DirectionWeights(draw(size=(32, 3)), draw(size=(32, 8)), None, None)
        >>> if library.find() is not None:
        ...     stepper = StackStepper(StackSpec((LayerSpec("lstm", 3, 8),)), [[weights]], streams=2)
        ...     for _ in range(5):
        ...         h = stepper.step(np.ones((2, 3)))
        ...     assert h.shape == (2, 8) and np.array_equal(h, stepper.state[0][0][0])
    """

    output: Array
    state: tuple[tuple[Array, ...], ...]

    def __init__(
        self,
        spec: StackSpec,
        weights: Sequence[Sequence[DirectionWeights]],
        *,
        streams: int = 1,
        dtype: str = "float32",
        threads: int = 1,
    ) -> None:
        check_choice("dtype", dtype, list(DTYPES), owner="StackStepper")
        if spec.directions != 1:
            raise ArgumentError(
                "a spec of two directions",
                where="StackStepper",
                expected="one direction",
                hint="the reverse direction starts at the last step, which a stream has not seen yet",
            )
        self.spec = spec
        self.streams = check_whole("streams", streams, owner="StackStepper")
        self._library = library.load()
        self._dtype = np.dtype(dtype)
        self._x = self._aligned((streams, spec.layers[0].input_size))
        self.output = self._aligned((streams, spec.output_size))
        self._real = np.ones(streams, dtype=np.bool_)
        self.state = tuple(
            tuple(self._aligned((1, streams, size)) for size in layer.state_sizes) for layer in spec.layers
        )
        self._shape = self._x.shape
        self._torch_output: Any = None
        self._weights = [[self._own(number, one) for one in each] for number, each in enumerate(weights)]
        self._call = self._filled(threads)
        # Two more questions than one call has, so that no step asks: with all streams, and with some of them.
        mask, self._call.mask = self._real.ctypes.data, None
        sizes = [self._library.sizes(self._call)]
        self._call.mask = mask
        sizes.append(self._library.sizes(self._call))
        self._call.mask = None
        self._packed = self._aligned((sizes[0].packed,), np.dtype(np.uint8))
        room = max(one.scratch_forward for one in sizes)
        self._scratch = self._aligned((room,), np.dtype(np.uint8))
        self._call.packed, self._call.scratch = self._packed.ctypes.data, self._scratch.ctypes.data
        self._library.pack(self._call)
        forward = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p)
        self._forward = forward(("gatestack_forward", self._library.raw))
        self._address = ctypes.c_void_p(ctypes.addressof(self._call))

    def step(self, x: Any, *, real: Array | None = None) -> Any:
        """Take one step of every stream.

        Args:
            x: (N, C), converted to the stepper's dtype; an array, or a tensor of torch.
            real: (N,) bool, which streams step; the state of another stays as it was, and its output is zero.
                None for all.

        Returns:
            `output`, (N, P): the output of the last layer. For a tensor a tensor on the same memory. The next
            step writes over it.

        Raises:
            ArgumentError: a shape that does not fit.
        """
        if x.shape != self._shape:
            raise ArgumentError(
                f"x has shape {tuple(x.shape)}",
                where="StackStepper",
                expected=f"(streams, features) = {self._shape}",
            )
        is_array = type(x) is np.ndarray
        self._x[...] = x if is_array or not hasattr(x, "detach") else x.detach().numpy()
        if real is not None:
            self._real[...] = real
            self._call.mask = self._real.ctypes.data
        status = self._forward(self._address)
        if real is not None:
            self._call.mask = None
        if status:
            self._library.check(status, "gatestack_forward")
        return self.output if is_array else self._as_given(x)

    def reset(self, real: Array | None = None) -> None:
        """Set states to zero.

        Args:
            real: (N,) bool, of which streams; None for all.
        """
        for parts in self.state:
            for part in parts:
                part[:, slice(None) if real is None else real] = 0.0

    def _as_given(self, x: Any) -> Any:
        if not hasattr(x, "detach"):
            return self.output
        if self._torch_output is None:
            import torch

            self._torch_output = torch.from_numpy(self.output)
        return self._torch_output

    def _own(self, number: int, weights: DirectionWeights) -> dict[str, Array]:
        """Copy the weights of a layer, which the call points to, after a look at their shapes."""
        shapes = self.spec.layers[number].weight_shapes
        found = {}
        for name, weight in zip(DirectionWeights._fields, weights, strict=True):
            if weight is None:
                continue
            given: Any = weight
            if hasattr(given, "detach"):
                given = given.detach().double().numpy()  # bfloat16, which NumPy does not know, included
            found[name] = np.array(given, dtype=self._dtype, order="C")
            if found[name].shape != shapes.get(name):
                raise ArgumentError(
                    f"{name} of layer {number} has shape {found[name].shape}",
                    where="StackStepper",
                    expected=str(shapes.get(name, "none: the spec has no such part")),
                )
        missing = [name for name in shapes if name not in found and not name.startswith("bias_")]
        if missing:
            raise ArgumentError(f"layer {number} has no {missing[0]}", where="StackStepper")
        return found

    def _filled(self, threads: int) -> Call:
        """Fill the call, but for packed weights and scratch."""
        count = len(self.spec.layers)
        self._layers, self._tables = (Layer * count)(), (Weights * count)()
        for number, layer in enumerate(self.spec.layers):
            filled, table, state = self._layers[number], self._tables[number], self.state[number]
            for name, part in self._weights[number][0].items():
                setattr(table, _FIELDS[name], part.ctypes.data)
            filled.cell = CELLS[layer.cell]
            for name in (field[0] for field in Layer._fields_):
                if name != "cell" and hasattr(layer, name):
                    setattr(filled, name, getattr(layer, name))
            filled.weights = ctypes.pointer(table)
            filled.h0 = filled.hn = state[0].ctypes.data
            if layer.cell == "lstm":
                filled.c0 = filled.cn = state[1].ctypes.data
        call = empty_call()
        call.dtype, call.threads, call.directions = DTYPES[self._dtype.name], threads, 1
        call.batch, call.steps, call.layer_count = self.streams, 1, count
        call.layers = self._layers
        call.x, call.x_batch = self._x.ctypes.data, self._x.shape[1]
        call.y, call.y_batch = self.output.ctypes.data, self.output.shape[1]
        call.x_step, call.y_step = call.x_batch, call.y_batch
        return call

    def _aligned(self, shape: tuple[int, ...], dtype: np.dtype[Any] | None = None) -> Array:
        """Make zeros that begin at a multiple of 64 bytes."""
        dtype = dtype or self._dtype
        count = int(np.prod(shape)) * dtype.itemsize
        room = np.zeros(count + 64, dtype=np.uint8)
        start = -room.ctypes.data % 64
        return room[start : start + count].view(dtype).reshape(shape)
