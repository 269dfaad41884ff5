"""A network as a model folder of the kind "network", with the inputs and outputs that prove it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from gatestack.convert.answers import answers_of
from gatestack.convert.examples import draw_examples
from gatestack.convert.ports import NetworkLike
from gatestack.convert.proof import compare
from gatestack.errors import ArgumentError, ModelFileError
from gatestack.runtime.model_folder import ModelFolder, read_model_folder, write_model_folder

__all__ = ["KIND", "TOLERANCE", "load_network", "network_from_folder", "proof_difference", "save_network"]

KIND = "network"
"""The kind of a model folder that holds a network."""

TOLERANCE = 1e-4
"""Of the largest output: processors round float32 sums in different order."""

_Made = TypeVar("_Made", bound=NetworkLike)


def save_network(
    network: NetworkLike,
    path: str | os.PathLike[str],
    *,
    example: Sequence[npt.ArrayLike] | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a network; see `Network.save`."""
    model, weights = network.to_data()
    inputs = draw_examples(network) if example is None else [np.asarray(array) for array in example]
    proof = {f"input.{number}": np.asarray(array, order="C") for number, array in enumerate(inputs)}
    proof |= {f"output.{number}": array for number, array in enumerate(answers_of(network, inputs))}
    write_model_folder(
        path, model={"kind": KIND, "network": model}, weights=weights, proof=proof, overwrite=overwrite
    )
    return Path(path)


def load_network(made: type[_Made], path: str | os.PathLike[str]) -> _Made:
    """Read a network; see `Network.load`."""
    return network_from_folder(made, read_model_folder(path))


def network_from_folder(made: type[_Made], folder: ModelFolder) -> _Made:
    """Make a network of a folder that was read, and check it against its proof.

    Args:
        made: the class of the network.
        folder: of the kind "network".

    Raises:
        ModelFileError: it is of another kind, does not fit together, or gives other numbers than its proof.
    """
    if folder.model.get("kind") != KIND or set(folder.model) != {"kind", "network"}:
        raise ModelFileError(
            f"it holds {', '.join(f'{key!r}' for key in sorted(folder.model))}, of the kind "
            f"{folder.model.get('kind')!r}",
            where=str(folder.path),
            expected=f"'kind', which is {KIND!r}, and 'network'",
        )
    model = folder.model["network"]
    if not isinstance(model, dict):
        raise ModelFileError("'network' is not an object", where=f"{folder.path}, model.json")
    try:
        network = made.from_data(model, folder.weights)
    except ModelFileError as error:
        raise ModelFileError(
            error.what, where=f"{folder.path}, {error.where}", expected=error.expected, hint=error.hint
        ) from None
    difference = proof_difference(network, folder.proof, where=f"{folder.path}, proof.safetensors")
    if difference > TOLERANCE:
        raise ModelFileError(
            f"the network's outputs differ from its proof by {difference:.3g} of the largest",
            where=str(folder.path),
            expected=f"at most {TOLERANCE:g}",
            hint="the folder was changed, or this version computes differently; import or save it again",
        )
    return network


def proof_difference(network: NetworkLike, proof: Mapping[str, npt.NDArray[Any]], *, where: str) -> float:
    """Compute a network on the inputs of a proof, and compare.

    Args:
        network: to be proved.
        proof: `input.0`, `input.1`, …, and `output.0`, …, arrays of any shape.
        where: for messages.

    Returns:
        The largest difference, as a part of the size of that output (see `compare`); infinite where one is
        not a number and the other is.

    Raises:
        ModelFileError: an array is missing; the network cannot be computed on the inputs, or would make far
            more of them than its weights and inputs let expect (`gatestack.convert.budget`).
    """
    inputs, expected = _numbered(proof, "input"), _numbered(proof, "output")
    counts = (len(network.inputs), len(network.outputs))
    if (len(inputs), len(expected)) != counts or len(proof) != sum(counts):
        raise ModelFileError(
            f"it holds {', '.join(sorted(proof)[:12])}",
            where=where,
            expected=f"{counts[0]} inputs and {counts[1]} outputs",
        )
    try:
        found = answers_of(network, inputs)
    except (ArgumentError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise ModelFileError(f"the network cannot be computed on it: {reason}", where=where) from None
    pairs = zip(expected, found, strict=True)
    return TOLERANCE * max(compare([a], [b], TOLERANCE, inputs=inputs).share for a, b in pairs)


def _numbered(proof: Mapping[str, npt.NDArray[Any]], name: str) -> list[npt.NDArray[Any]]:
    found: list[npt.NDArray[Any]] = []
    while f"{name}.{len(found)}" in proof:
        found.append(proof[f"{name}.{len(found)}"])
    return found
