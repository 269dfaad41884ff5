"""What an imported network reads, as inspection takes it: numbers that can be changed a little, (N, T, F).

Words are looked at as the vectors that the network's embedding makes of them, images as the numbers of all
their positions. Inputs beside the one that is looked at stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from gatestack.convert.layers.base import Signal
from gatestack.convert.layers.conv_lstm import ConvLSTMLayer
from gatestack.convert.layers.convolution import Convolution
from gatestack.convert.layers.dense import Embedding
from gatestack.convert.ports import NetworkLike, Port
from gatestack.errors import ArgumentError, nearest_name
from gatestack.inspect.subject import evenly

__all__ = ["SubjectInputs", "read_inputs"]


@dataclass(frozen=True, eq=False)
class SubjectInputs:
    """What inspection changes, and how a network is called with it.

    Args:
        values: (N, T, F) floats, or (N, T) whole numbers that no embedding reads.
        features: F names.
        rows: (N,) which of the sequences that were given these are.
        available: how many were given.
        call: computes a network, or a changed copy of it, on such values -> what the network gives.
        lengths: (N,) real steps of each row, where an embedding says which are; None for all.
    """

    values: Tensor
    features: tuple[str, ...]
    rows: npt.NDArray[np.int64]
    available: int
    call: Callable[[nn.Module, Tensor], Any]
    lengths: Tensor | None = None


def read_inputs(
    network: NetworkLike, given: npt.ArrayLike | Mapping[str, npt.ArrayLike], sequences: int
) -> SubjectInputs:
    """Take some of the sequences that were given.

    Args:
        network: a module as well.
        given: an array for the one input of the network, (N, T, F), (N, T) whole numbers, or images
            (N, T, …); or an array for each of its inputs by name, of which the first is looked at.
        sequences: how many to take at most, spread evenly.

    Raises:
        ArgumentError: an input is missing or unknown, has its batch elsewhere, no axis of time, or another
            number of rows.
    """
    arrays = _named(network, given)
    explained = next(iter(arrays))
    count = len(arrays[explained])
    rows = evenly(count, sequences)
    tensors = {}
    for port in network.inputs:
        array = arrays[port.name]
        if len(array) != count:
            raise ArgumentError(
                f"{len(array)} rows of {port.name!r}",
                where="inspect",
                expected=f"{count}, as {explained!r} has",
            )
        tensor = torch.as_tensor(array[rows])
        tensors[port.name] = tensor.to(torch.int64) if port.dtype == "int64" else tensor.double()
    x = tensors[explained]
    port = next(port for port in network.inputs if port.name == explained)
    if x.dim() < 3 and not (port.dtype == "int64" and x.dim() == 2):
        raise ArgumentError(
            f"the inputs have shape {arrays[explained].shape}, without time",
            where="inspect",
            expected="(sequences, steps, features), images (sequences, steps, …), "
            "or (sequences, steps) of whole numbers",
        )

    def call(model: nn.Module, values: Tensor) -> Any:
        reset = getattr(model, "reset_state", None)
        if reset is not None:  # what a stateful layer keeps would make every run another one
            reset()
        return model(*[values if one.name == explained else tensors[one.name] for one in network.inputs])

    if port.dtype == "int64":
        return _of_words(network, port, x, rows, count, call)
    shape = x.shape[2:]
    if len(shape) == 1:
        return SubjectInputs(x, tuple(f"feature {n}" for n in range(shape[0])), rows, count, call)
    return SubjectInputs(
        x.flatten(2),
        _channel_names(network, shape),
        rows,
        count,
        lambda model, values: call(model, values.reshape(*values.shape[:2], *shape)),
    )


def _named(
    network: NetworkLike, given: npt.ArrayLike | Mapping[str, npt.ArrayLike]
) -> dict[str, npt.NDArray[Any]]:
    names = [port.name for port in network.inputs]
    described = ", ".join(port.described for port in network.inputs)
    if any(port.batch_axis != 0 for port in network.inputs):
        raise ArgumentError(
            f"its inputs are {described}",
            where=network.name,
            expected="the batch first, so that sequences can be told apart",
        )
    if not isinstance(given, Mapping):
        if len(names) > 1:
            raise ArgumentError(
                f"one array, and its inputs are {described}",
                where=network.name,
                expected="an array for each by its name, first the one to look at",
            )
        given = {names[0]: given}
    for name in given:
        if name not in names:
            raise ArgumentError(
                f"there is no input {name!r}",
                where=network.name,
                expected=f"its inputs: {described}",
                hint=nearest_name(name, names),
            )
    missing = [name for name in names if name not in given]
    if missing:
        raise ArgumentError(
            f"there is no array for {', '.join(missing)}", where=network.name, expected=f"all of {described}"
        )
    return {name: _numbers(name, array) for name, array in given.items()}


def _numbers(name: str, given: npt.ArrayLike) -> npt.NDArray[Any]:
    array = np.asarray(given)
    if array.ndim == 0 or array.dtype.kind not in "biuf":
        raise ArgumentError(
            f"{name!r} is an array of shape {array.shape} and dtype {array.dtype}",
            where="inspect",
            expected="numbers, a row for each sequence",
        )
    unknown = np.argwhere(~np.isfinite(array))
    if len(unknown):
        place = ", ".join(str(number) for number in unknown[0])
        raise ArgumentError(
            f"{name!r} holds {array[tuple(unknown[0])]} at [{place}]",
            where="inspect",
            expected="finite numbers",
            hint="leave such sequences out, or fill them as the network was trained on",
        )
    return array


def _of_words(
    network: NetworkLike,
    port: Port,
    words: Tensor,
    rows: npt.NDArray[np.int64],
    count: int,
    call: Callable[[nn.Module, Tensor], Any],
) -> SubjectInputs:
    """Look at the vectors of words where one embedding alone reads them, at the numbers elsewhere."""
    readers = [place for place, node in enumerate(network.nodes) if port.name in node.inputs]
    embedding = network.nodes[readers[0]].layer if len(readers) == 1 else None
    if not isinstance(embedding, Embedding):
        return SubjectInputs(words, (), rows, count, call)
    (signal,) = embedding.run([Signal(words)])
    mask = signal.mask

    def with_vectors(model: nn.Module, vectors: Tensor) -> Any:
        def instead(module: nn.Module, given: Any, result: Any) -> tuple[Signal, ...]:  # noqa: ARG001
            return (Signal(vectors, mask),)

        with model.get_submodule(f"layers.{readers[0]}").register_forward_hook(instead):
            return call(model, words)

    names = ("vector of the word",) * embedding.options.size
    return SubjectInputs(
        signal.value.detach().double(), names, rows, count, with_vectors, _front_lengths(mask)
    )


def _front_lengths(mask: Tensor | None) -> Tensor | None:
    """Give the real steps of each row where they stand in front and there are some."""
    if mask is None:
        return None
    lengths = mask.sum(dim=1)
    in_front = torch.arange(mask.shape[1]) < lengths[:, None]
    return lengths if bool((mask == in_front).all()) and int(lengths.min()) > 0 else None


def _channel_names(network: NetworkLike, shape: tuple[int, ...]) -> tuple[str, ...]:
    """Name the channel of each number of an image (…, C), or (C, …) where the network's layers have it so."""
    last = True
    for node in network.nodes:
        modules = node.layer.modules()
        found = [part for part in modules if isinstance(part, Convolution | ConvLSTMLayer)]
        if found:
            last = found[0].options.channels_last
            break
    places = np.indices(shape)[-1 if last else 0].reshape(-1)
    return tuple(f"channel {place}" for place in places)
