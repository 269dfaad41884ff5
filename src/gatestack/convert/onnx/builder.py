"""Building an ONNX graph: values are names, operators give new names; `onnx` is needed at the end only.

A graph is kept as plain records, so that a subgraph (the body of a loop over steps) may put its weights where
they belong, into the graph around it. Letters: N batch, T time, C input features, H hidden, P projection, D
directions, G gates.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gatestack.convert.onnx.assemble import assembled
from gatestack.convert.onnx.int8 import pays, quantised
from gatestack.convert.onnx.records import DTYPES, Array, Node, Tensor, Value
from gatestack.errors import ArgumentError

if TYPE_CHECKING:
    import onnx

__all__ = ["Array", "GraphBuilder", "Tensor", "Value"]

Values = Sequence[Value]
Step = Callable[["GraphBuilder", tuple[Value, ...], tuple[Value, ...]], tuple[Values, Values]]


class GraphBuilder:
    """A graph that grows operator by operator.

    Args:
        name: of the graph.
        int8: keep large weights as whole numbers of eight bits with one scale per output channel, see
            `gatestack.convert.onnx.int8`. Default False.

    Raises:
        ArgumentError: from `input`, a name twice or an unknown kind; from `model`, an axis declared open that
            the graph has frozen, or a graph that ONNX does not accept.

    Example:
        >>> builder = GraphBuilder()
        >>> x = builder.input("x", "float32", ("batch", 2))
        >>> two = builder.constant(np.float32(2))
        >>> builder.output(builder.op("Mul", x, two), "y", ("batch", 2))
        >>> model = builder.model()
        >>> [node.op_type for node in model.graph.node]
        ['Mul', 'Identity']
    """

    def __init__(self, name: str = "gatestack", *, int8: bool = False) -> None:
        self.name = name
        self.int8 = int8
        self.inputs: list[Tensor] = []
        self.outputs: list[Tensor] = []
        self.nodes: list[Node] = []
        self.tensors: dict[str, Array] = {}
        self.outside: GraphBuilder | None = None
        self._taken: set[str] = set()
        self._constants: dict[tuple[str, tuple[int, ...], bytes], Value] = {}
        self._weights: dict[tuple[int, tuple[int, ...], bytes], Value] = {}
        self._prefix: list[str] = []

    def input(self, name: str, dtype: str, shape: Sequence[str | int]) -> Value:
        """Declare an input of the graph.

        Args:
            name: of it.
            dtype: one of `DTYPES`.
            shape: sizes of its axes; a text such as "batch" for an axis that may have any size. Equal texts
                are equal sizes.

        Returns:
            Its name.
        """
        self._check(name, dtype, [tensor.name for tensor in self.inputs])
        self._taken.add(name)
        self.inputs.append(Tensor(name, dtype, tuple(shape)))
        return name

    def output(self, value: Value, name: str, shape: Sequence[str | int], dtype: str = "float32") -> None:
        """Declare an output of the graph.

        Args:
            value: what it is.
            name: what it is called outside.
            shape: as for `input`. An axis with a text must come out open, else `model` refuses the graph.
            dtype: one of `DTYPES`.
        """
        self._check(name, dtype, [tensor.name for tensor in self.inputs + self.outputs])
        self._taken.add(name)
        self.nodes.append(Node("Identity", (value,), (name,), {}))
        self.outputs.append(Tensor(name, dtype, tuple(shape)))

    def fresh(self, hint: str) -> Value:
        """Give a name that nothing has yet, inside the current `scope`."""
        if self.outside is not None:
            return self.outside.fresh(hint)
        name = "/".join([*self._prefix, hint])
        found, number = name, 1
        while found in self._taken:
            number += 1
            found = f"{name}_{number}"
        self._taken.add(found)
        return found

    @contextlib.contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """Put `name/` before all names that are made meanwhile: a viewer shows what belongs together."""
        root = self.root
        root._prefix.append(name)
        try:
            yield
        finally:
            root._prefix.pop()

    @property
    def is_body(self) -> bool:
        """Whether it stands inside another graph."""
        return self.outside is not None

    @property
    def root(self) -> GraphBuilder:
        """The outermost graph."""
        return self if self.outside is None else self.outside.root

    def constant(self, value: npt.ArrayLike) -> Value:
        """Keep an array (any shape, any kind of `DTYPES`) in the graph; equal arrays are kept once."""
        if self.outside is not None:
            return self.outside.constant(value)
        array = np.ascontiguousarray(value) if np.ndim(value) else np.asarray(value)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            name = self.fresh("constant")
            self.tensors[name] = array
            self._constants[key] = name
        return self._constants[key]

    def ints(self, *values: int) -> Value:
        """Keep whole numbers as an int64 vector, (n,)."""
        return self.constant(np.array(values, dtype=np.int64))

    def number(self, value: float) -> Value:
        """Keep one float32 number, a scalar."""
        return self.constant(np.float32(value))

    def weight(self, name: str, value: npt.ArrayLike, *, channel_axes: int = 1) -> Value:
        """Keep a parameter in the graph under its own name; equal ones are kept once.

        Args:
            name: of the parameter; a number is added where it is taken.
            value: float32 of any shape.
            channel_axes: with int8, how many leading axes number output channels: each has its scale.

        Returns:
            The value to compute with, in float32.
        """
        if self.outside is not None:
            return self.outside.weight(name, value, channel_axes=channel_axes)
        array = np.ascontiguousarray(value, dtype=np.float32)
        key = (channel_axes, array.shape, hashlib.sha256(array.tobytes()).digest())
        if key not in self._weights:
            self._weights[key] = self._stored(self.fresh(name), array, channel_axes)
        return self._weights[key]

    def _stored(self, name: Value, array: Array, channel_axes: int) -> Value:
        if not self.int8 or not pays(array, channel_axes):
            self.tensors[name] = array
            return name
        scale = name + "_scale"
        self._taken.add(scale)
        self.tensors[name], self.tensors[scale] = quantised(array, channel_axes)
        flat = self.op("DequantizeLinear", name, scale, axis=0)
        return flat if channel_axes == 1 and array.ndim == 2 else self.reshape(flat, array.shape)

    def matrix(self, name: str, value: npt.ArrayLike) -> Value:
        """Keep a weight (out, in) for use as `x @ Wᵀ`; gives the value (in, out)."""
        if self.outside is not None:
            return self.outside.matrix(name, value)
        if self.int8 and pays(np.asarray(value), 1):
            return self.op("Transpose", self.weight(name, value), perm=(1, 0))
        return self.weight(name, np.asarray(value).T)

    def op(self, op_type: str, *inputs: Value | None, domain: str = "", **attributes: Any) -> Value:
        """Add an operator of one output.

        Args:
            op_type: as ONNX calls it.
            inputs: values; None for an optional one that is left out.
            domain: of the operator; "" is ONNX's own.
            attributes: its attributes: numbers, texts, sequences of them, arrays.

        Returns:
            The name of the output.
        """
        return self.ops(op_type, *inputs, outputs=1, domain=domain, **attributes)[0]

    def ops(
        self, op_type: str, *inputs: Value | None, outputs: int, domain: str = "", **attributes: Any
    ) -> tuple[Value, ...]:
        """Add an operator of several outputs; the other arguments are those of `op`.

        Returns:
            The names of the outputs.
        """
        names = tuple(self.fresh(op_type) for _ in range(outputs))
        given = tuple("" if value is None else value for value in inputs)
        self.nodes.append(Node(op_type, given, names, attributes, domain))
        return names

    def scan(
        self,
        step: Step,
        states: Sequence[Value],
        inputs: Mapping[Value, str],
        *,
        kinds: Sequence[str] | None = None,
    ) -> tuple[tuple[Value, ...], tuple[Value, ...]]:
        """Loop over the first axis of `inputs`.

        Args:
            step: called once with (body, states, inputs of one step), gives (new states, outputs of the
                step); it may use any value of the graph around it.
            states: values that go from step to step.
            inputs: values (T, …) with their kind.
            kinds: of what the step gives, states first, then outputs; None for float32 throughout.

        Returns:
            The states after the last step, and the outputs, each (T, …).

        Note:
            ONNX Runtime refuses T = 0 here: see `gatestack.convert.onnx.ragged`.
        """
        body = GraphBuilder("step")
        body.outside = self
        of_states = ["float32"] * len(states) if kinds is None else list(kinds[: len(states)])
        inner = tuple(body._inner("state", kind) for kind in of_states)
        seen = tuple(body._inner("input", dtype) for dtype in inputs.values())
        after, outputs = step(body, inner, seen)
        given = (*after, *outputs)
        for value, kind in zip(given, kinds or ["float32"] * len(given), strict=True):
            # A body must give values of its own, each once.
            name = self.fresh("out")
            body.nodes.append(Node("Identity", (value,), (name,), {}))
            body.outputs.append(Tensor(name, kind, ()))
        names = tuple(self.fresh("Scan") for _ in body.outputs)
        self.nodes.append(
            Node("Scan", (*states, *inputs), names, {"body": body, "num_scan_inputs": len(inputs)})
        )
        return names[: len(states)], names[len(states) :]

    def reshape(self, value: Value, shape: Sequence[int]) -> Value:
        """Give a value another shape; 0 keeps an axis, -1 is what is left."""
        return self.op("Reshape", value, self.ints(*shape))

    def size(self, value: Value, axis: int) -> Value:
        """Give the size of an axis as int64, (1,)."""
        return self.op("Shape", value, start=axis, end=axis + 1)

    def model(self, opset: int = 17, *, metadata: Mapping[str, str] | None = None) -> onnx.ModelProto:
        """Make the model and check it.

        Args:
            opset: the version of the operators, 17 to 22.
            metadata: texts to keep in the model.

        Returns:
            An `onnx.ModelProto`.

        Raises:
            ArgumentError: `onnx` is not installed; an axis is frozen; ONNX does not accept the graph.
        """
        return assembled(self, opset, metadata or {})

    def _inner(self, hint: str, dtype: str) -> Value:
        name = self.fresh(hint)
        self.inputs.append(Tensor(name, dtype, ()))
        return name

    def _check(self, name: str, dtype: str, taken: Sequence[str]) -> None:
        if dtype not in DTYPES:
            raise ArgumentError(
                f"{name!r} is of kind {dtype!r}", where="GraphBuilder", expected=", ".join(DTYPES)
            )
        if name in taken or name in self._taken:
            raise ArgumentError(f"the name {name!r} is taken", where="GraphBuilder")
