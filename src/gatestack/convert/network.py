"""A network of layers: the hub through which every foreign format goes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from gatestack.convert.layers.base import Signal
from gatestack.convert.network_data import network_from_data, network_to_data
from gatestack.convert.network_folder import load_network, save_network
from gatestack.convert.own import layer as _own_layer
from gatestack.convert.ports import Node, Port
from gatestack.convert.subject import LossName, network_subject
from gatestack.errors import ArgumentError, ModelFileError, check_whole, nearest_name
from gatestack.inspect import Inspection, inspect_subject

__all__ = ["Network"]

_KINDS = (_own_layer,)  # imported so that files may hold them


class Network(nn.Module):
    """A network of layers as data: what a file of Keras, torch or ONNX holds, and what can be written as one.

    Each node computes the signals of its layer from those of the nodes above it. It trains as any module of
    torch does; its layers over time run on the kernels.

    Args:
        inputs: their names, shapes and dtypes.
        nodes: in such an order that each one's inputs stand above it. Two nodes may have the same layer, and
            then share its weights.
        outputs: names of what the network gives, written as the inputs of a node are.
        name: of the network. Default "network".

    Raises:
        ArgumentError: a name twice, a name that nothing above has, a number of signals that a layer does not
            take.

    Attributes:
        inputs, nodes, outputs, name: what was given, as tuples.

    Example:
        >>> from gatestack.convert import Network, Node, Port
        >>> from gatestack.convert.layers import Dense, DenseOptions, RecurrentLayer, RecurrentOptions
        >>> lstm = RecurrentOptions(cell="lstm", input_size=3, hidden_size=8, return_sequences=False)
        >>> network = Network(
        ...     [Port("x", (None, 3))],
        ...     [
        ...         Node("lstm", RecurrentLayer(lstm), ("x",)),
        ...         Node("out", Dense(DenseOptions(units=2, input_size=8)), ("lstm",)),
        ...     ],
        ...     ["out"],
        ... )
        >>> network(torch.zeros(4, 10, 3)).shape
        torch.Size([4, 2])
    """

    def __init__(
        self, inputs: Sequence[Port], nodes: Sequence[Node], outputs: Sequence[str], *, name: str = "network"
    ) -> None:
        super().__init__()
        self.inputs = tuple(inputs)
        self.nodes = tuple(nodes)
        self.outputs = tuple(outputs)
        self.name = name
        self._plan, self._ends = _planned(self.inputs, self.nodes, self.outputs)
        # A layer that two nodes share stands twice in here; torch knows that it is one.
        self.layers = nn.ModuleList([node.layer for node in self.nodes])

    @property
    def dtype(self) -> torch.dtype:
        """What the network computes in: the dtype of its first parameter, else of a float64 input."""
        for tensor in (*self.parameters(), *self.buffers()):
            if tensor.is_floating_point() and tensor.numel():
                return tensor.dtype
        wide = any(port.dtype == "float64" for port in self.inputs)
        return torch.float64 if wide else torch.float32

    def forward(self, *tensors: Tensor) -> Any:
        """Compute the network.

        Args:
            tensors: one for each input, of its shape with the batch, such as (N, T, C). Floats of another
                precision are converted to that of the network.

        Returns:
            The output, or a tuple of them where there are several.

        Raises:
            ArgumentError: another number of tensors, or one that does not fit its input.
        """
        found = [signal.value for signal in self.run([Signal(tensor) for tensor in tensors])]
        return found[0] if len(found) == 1 else tuple(found)

    def run(self, signals: Sequence[Signal]) -> tuple[Signal, ...]:
        """Compute the network on signals, masks included -> one signal for each output.

        Args:
            signals: one for each input; values as `forward` takes them, masks (N, T) or None.
        """
        if len(signals) != len(self.inputs):
            raise ArgumentError(
                f"{len(signals)} inputs",
                where=self.name,
                expected=f"{len(self.inputs)}: {', '.join(port.described for port in self.inputs)}",
            )
        like = self.dtype
        every: list[tuple[Signal, ...]] = [
            (Signal(port.check(signal.value, like), signal.mask),)
            for port, signal in zip(self.inputs, signals, strict=True)
        ]
        for node, sources in zip(self.nodes, self._plan, strict=True):
            try:
                every.append(node.layer(*[every[place][output] for place, output in sources]))
            except ArgumentError as error:
                raise ArgumentError(
                    error.what,
                    where=f"node {node.name!r}" + (f", {error.where}" if error.where else ""),
                    expected=error.expected,
                    hint=error.hint,
                ) from None
        return tuple(every[place][output] for place, output in self._ends)

    @torch.no_grad()
    def predict(self, *arrays: npt.ArrayLike) -> Any:
        """Compute the network on NumPy arrays, without dropout and gradients.

        Args:
            arrays: one for each input, of its shape with the batch.

        Returns:
            An array, or a tuple of them where the network has several outputs.

        Raises:
            ArgumentError: as `forward`.
        """
        trained = self.training
        self.eval()
        try:
            device = next((parameter.device for parameter in self.parameters()), None)
            found = self(*[torch.as_tensor(np.asarray(array), device=device) for array in arrays])
        finally:
            self.train(trained)
        if isinstance(found, tuple):
            return tuple(one.cpu().numpy() for one in found)
        return found.cpu().numpy()

    def inspect(
        self,
        inputs: npt.ArrayLike | Mapping[str, npt.ArrayLike],
        target: npt.ArrayLike | None = None,
        *,
        loss: LossName | None = None,
        output: str | None = None,
        sequences: int = 64,
    ) -> Inspection:
        """Look into the network: gates, time-scales, gradient flow, the worth of layers and of inputs.

        Args:
            inputs: (N, T, C), images (N, T, …), or (N, T) whole numbers such as words; for a network of
                several inputs an array for each by its name, of which the first is looked at.
            target: (N,) classes, or numbers of the shape of the output; None where nothing is known: the
                worth of the layers is then not known either.
            loss: `"squared error"`, `"cross-entropy"` of probabilities, or `"cross-entropy of logits"`; None
                takes the first, but where the target is (N,) whole numbers and the output (N, classes) the
                second if the outputs of each sequence add up to 1, and the third if not.
            output: name of the output that is scored and explained; None takes the first.
            sequences: number of sequences to look at, 1 or more.

        Returns:
            Tables and sentences; see `gatestack.inspect`.

        Raises:
            ArgumentError: names or shapes that do not fit, or no recurrent layer to look into.
        """
        check_whole("sequences", sequences, owner="inspect")
        subject = network_subject(self, inputs, target, loss=loss, output=output, sequences=sequences)
        return inspect_subject(subject)

    def reset_state(self) -> None:
        """Forget what stateful layers keep between calls."""
        for node in self.nodes:
            node.layer.reset_state()

    @property
    def parameter_count(self) -> int:
        """How many numbers can be trained."""
        return sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad)

    def node(self, name: str) -> Node:
        """Find a node.

        Raises:
            ArgumentError: there is none of this name.
        """
        for node in self.nodes:
            if node.name == name:
                return node
        names = [node.name for node in self.nodes]
        raise ArgumentError(f"there is no node {name!r}", where=self.name, hint=nearest_name(name, names))

    def to_data(self) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
        """Give the network as JSON values, and its weights by name, "node/parameter".

        Returns:
            Architecture and weights, of which `from_data` makes the network again.
        """
        return network_to_data(self)

    @classmethod
    def from_data(cls, model: Mapping[str, Any], weights: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Make a network of what `to_data` gave.

        Args:
            model: JSON values.
            weights: name to array, of the shapes that the layers have.

        Raises:
            ModelFileError: a field or a weight is missing, unknown, or does not fit.
        """
        parts = network_from_data(model, weights)
        try:
            made = cls(parts.inputs, parts.nodes, parts.outputs, name=parts.name)
        except ArgumentError as error:
            raise ModelFileError(str(error), where="model.json") from None
        return made.eval()

    def save(
        self,
        path: str | os.PathLike[str],
        *,
        example: Sequence[npt.ArrayLike] | None = None,
        overwrite: bool = False,
    ) -> Path:
        """Write the network as a Gatestack model folder of the kind "network", with a proof inside.

        Args:
            path: the folder to make.
            example: inputs to prove with; None draws them.
            overwrite: replace a model folder that stands there.

        Returns:
            The path.

        Raises:
            ArgumentError: the path exists; the network cannot be computed on the example.
            StorageError: the folder cannot be written; nothing is left behind.
        """
        return save_network(self, path, example=example, overwrite=overwrite)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read what `save` wrote and check it against its proof; no code in it can run.

        Raises:
            ModelFileError: the folder is missing, damaged, of another kind or version, or gives other numbers
                than its proof.
        """
        return load_network(cls, path)

    def extra_repr(self) -> str:
        """Inputs and outputs."""
        inputs = ", ".join(port.described for port in self.inputs)
        return f"name={self.name!r}, inputs=[{inputs}], outputs={list(self.outputs)}"


def _planned(
    inputs: Sequence[Port], nodes: Sequence[Node], outputs: Sequence[str]
) -> tuple[list[list[tuple[int, int]]], list[tuple[int, int]]]:
    """Find for each node, and for the outputs, where their signals come from: number of the giver, output."""
    places: dict[str, tuple[int, int]] = {}
    counts: dict[str, int] = {}
    plan = []

    def found(source: str, where: str) -> tuple[int, int]:
        if source in places:
            return places[source]
        head, _, tail = source.rpartition(":")
        if head in places and tail.isdecimal() and len(tail) < 10:
            if int(tail) < counts[head]:
                return places[head][0], int(tail)
            raise ArgumentError(
                f"the input {source!r}", where=where, expected=f"one of {counts[head]} outputs"
            )
        raise ArgumentError(
            f"there is no {source!r} above it", where=where, hint=nearest_name(source, list(places))
        )

    for number, port in enumerate(inputs):
        _add(places, port.name, number)
        counts[port.name] = 1
    for number, node in enumerate(nodes, start=len(inputs)):
        where = f"node {node.name!r}"
        plan.append([found(source, where) for source in node.inputs])
        wanted = node.layer.inputs
        if len(node.inputs) not in wanted:
            most = wanted[-1]
            raise ArgumentError(
                f"{len(node.inputs)} inputs",
                where=where,
                expected=f"{wanted[0]}" if most == wanted[0] else f"{wanted[0]} to {most}",
            )
        _add(places, node.name, number)
        counts[node.name] = node.layer.outputs
    if not inputs or not outputs:
        raise ArgumentError(
            f"{len(inputs)} inputs and {len(outputs)} outputs",
            where="Network",
            expected="one of each or more",
        )
    return plan, [found(source, "outputs") for source in outputs]


def _add(places: dict[str, tuple[int, int]], name: str, number: int) -> None:
    if not isinstance(name, str) or not name or name in places:
        raise ArgumentError(f"the name {name!r}", where="Network", expected="one that nothing else has")
    places[name] = (number, 0)
