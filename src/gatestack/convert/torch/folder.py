"""A network as a folder that torch reads without Gatestack: source, weights, and the proof of both.

    model.py              a class of torch and `load()`
    weights.safetensors   its state_dict
    architecture.json     the network as data, of which model.py was written
    proof.safetensors     test vectors

Reading it back runs no code of the folder: the source is written again out of architecture.json, must be the
same as model.py, and is run in its place.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import nn

from gatestack.convert.bounded_read import read_bounded
from gatestack.convert.child import answers_of_child
from gatestack.convert.layers import Constant, layer_from_data
from gatestack.convert.network import Network
from gatestack.convert.ports import Node, Port
from gatestack.convert.proof import Array, Proof, ProofVector, decode_proof, encode_proof
from gatestack.convert.torch.to_torch import TorchSource, torch_source
from gatestack.errors import ArgumentError, ModelFileError, quote_value
from gatestack.runtime.durable import flush_folder, storage_error, temporary_name, write_flushed
from gatestack.runtime.strict_json import read_json
from gatestack.runtime.tensor_file import decode_tensors

__all__ = [
    "FILES",
    "TorchFolder",
    "check_folder",
    "is_torch_folder",
    "read_torch_folder",
    "torch_files",
    "write_torch_folder",
]

FILES = ("model.py", "weights.safetensors", "architecture.json", "proof.safetensors")
"""What a folder holds."""

_LIMITS = {"model.py": 2**24, "weights.safetensors": 2**31, "architecture.json": 2**24,
           "proof.safetensors": 2**28}  # fmt: skip

_WORKER = Path(__file__).with_name("replay_worker.py")
_REPLAY_BYTES = 2 * 2**30  # beside what torch takes when it is imported
_COPIES = 8  # of weights and inputs, while a network is computed

_FAILS = (ArgumentError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, OverflowError)


@dataclass(frozen=True, eq=False)
class TorchFolder:
    """A folder that was read: a network as source and weights, and what proves it.

    Args:
        path: of the folder.
        source: written again, equal to its model.py.
        weights: of its weights.safetensors; they fit.
        proof: test vectors; inputs `input.0`, …, outputs `output.0`, ….
        changed: the files are not those that were exported.
    """

    path: Path
    source: TorchSource
    weights: Mapping[str, Array]
    proof: Proof
    changed: bool

    def answers(self) -> tuple[str, list[dict[str, Array]]]:
        """Compute the inputs of the proof in torch, in a process of its own and without Gatestack.

        Returns:
            torch with its version, and the outputs of each vector.

        Raises:
            ModelFileError: torch cannot compute them, or needs more memory than the sizes of weights and
                inputs let expect.
        """
        tensors = {name: torch.from_numpy(np.array(array)) for name, array in self.weights.items()}
        wide = any(tensor.dtype == torch.float64 for tensor in tensors.values())
        content = save(
            tensors,
            {
                "source": self.source.text,
                "class": self.source.class_name,
                "dtype": "float64" if wide else "float32",
            },
        )
        calls = [vector.inputs for vector in self.proof.vectors]
        given = len(content) + sum(array.nbytes for call in calls for array in call.values())
        return answers_of_child(
            _WORKER,
            "weights.safetensors",
            bytes(content),
            calls,
            where=str(self.path),
            memory_bytes=_REPLAY_BYTES + _COPIES * given,
        )


def is_torch_folder(path: Path) -> bool:
    """Whether a folder looks like one that was exported to torch.

    Example:
        >>> is_torch_folder(Path("no/such/folder"))
        False
    """
    return (path / "architecture.json").is_file() and (path / "model.py").is_file()


def torch_files(network: Network) -> dict[str, bytes]:
    """Write a network as the files of a folder, without the proof.

    Args:
        network: that torch can compute.

    Raises:
        ArgumentError: it cannot; names the node.
    """
    model, _ = network.to_data()
    # Small constants stand in the source, which could not be written again without them.
    model["constants"] = {
        node.name: [str(number) for number in layer.value.flatten().tolist()]
        for node in network.nodes
        if isinstance(layer := node.layer, Constant) and _is_small(node)
    }
    model["dtype"] = str(network.dtype).removeprefix("torch.")
    state = torch_source(network).state
    architecture = json.dumps(model, indent=1, allow_nan=False).encode()
    return {
        "model.py": _source_again(architecture, "architecture.json").text.encode(),
        "weights.safetensors": bytes(
            save({name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()})
        ),
        "architecture.json": architecture,
    }


def write_torch_folder(
    path: Path, files: Mapping[str, bytes], vectors: list[ProofVector], tolerance: float, *, overwrite: bool
) -> int:
    """Write the files and their proof, all or nothing -> bytes of the files.

    Args:
        path: the folder to make.
        files: of `torch_files`.
        vectors: of the proof.
        tolerance: of the proof.
        overwrite: replace a folder that was exported to torch before.

    Raises:
        ArgumentError: something else stands there.
        StorageError: the disk is full, or may not be written.
    """
    check_folder(path, overwrite)
    proof = encode_proof(Proof(vectors, tolerance, _sha256(files)))
    fresh, aside = temporary_name(path), temporary_name(path, "old")
    try:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            fresh.mkdir()
            for name, content in {**files, "proof.safetensors": proof}.items():
                write_flushed(fresh / name, content)
            flush_folder(fresh)
            if path.exists():
                path.rename(aside)
            try:
                fresh.rename(path)
            except OSError:
                if aside.exists():
                    aside.rename(path)
                raise
            flush_folder(path.parent)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    except OSError as error:
        raise storage_error(error, path, "write") from error
    with contextlib.suppress(OSError):
        if aside.exists():
            shutil.rmtree(aside)
    return sum(map(len, files.values()))


def check_folder(path: Path, overwrite: bool) -> None:
    """Refuse a place at which something stands that may not be replaced.

    Example:
        >>> check_folder(Path("no/such/folder"), overwrite=False)
    """
    if not os.path.lexists(path):
        return
    ours = path.is_dir() and not path.is_symlink() and is_torch_folder(path)
    strange = sorted(one.name for one in path.iterdir() if one.name not in FILES) if ours else []
    if not overwrite or not ours or strange:
        what = "exists already"
        if overwrite:
            what = f"it holds {quote_value(strange[0])}, which would be lost" if strange else (
                "it is not a folder that was exported to torch, so it is not overwritten")  # fmt: skip
        raise ArgumentError(what, where=str(path), hint="choose another path, or pass overwrite=True to "
                            "replace what was exported")  # fmt: skip


def read_torch_folder(path: Path) -> TorchFolder:
    """Read a folder; no code in it runs.

    Args:
        path: of the folder.

    Raises:
        ModelFileError: a file is missing or damaged, does not fit the others, or model.py is other code.
    """
    files: dict[str, bytearray] = {}
    for name in FILES:
        if (path / name).is_symlink():
            raise ModelFileError("a symbolic link, which could point anywhere", where=str(path / name))
        files[name] = read_bounded(path / name, _LIMITS[name], "export the model again")
    proof = decode_proof(files.pop("proof.safetensors"), where=str(path / "proof.safetensors"))
    where = str(path / "architecture.json")
    source = _source_again(bytes(files["architecture.json"]), where)
    if source.text.encode() != bytes(files["model.py"]):
        raise ModelFileError(
            "it is not the source that Gatestack writes of architecture.json, so it is not run",
            where=str(path / "model.py"),
            hint="it was changed, or written by another version: export the model again",
        )
    arrays = decode_tensors(files["weights.safetensors"], where=str(path / "weights.safetensors"))
    _check_weights(source, arrays, str(path / "weights.safetensors"))
    return TorchFolder(path, source, arrays, proof, changed=_sha256(files) != proof.sha256)


def _is_small(node: Node) -> bool:
    layer = node.layer
    return isinstance(layer, Constant) and not isinstance(layer.value, nn.Parameter) and (
        layer.value.dim() == 0 or (layer.value.dim() == 1 and layer.value.numel() <= 32))  # fmt: skip


def _sha256(files: Mapping[str, bytes | bytearray]) -> str:
    found = hashlib.sha256()
    for name in sorted(files):
        found.update(f"{name}\0{len(files[name])}\0".encode())
        found.update(files[name])
    return found.hexdigest()


def _source_again(content: bytes, where: str) -> TorchSource:
    """Write the source again, of the architecture alone."""
    try:
        data = read_json(content)
        constants, dtype = data.pop("constants"), data.pop("dtype")
        network = _empty_network(data).to(torch.float64 if dtype == "float64" else torch.float32)
        for node in network.nodes:
            if _is_small(node):
                _fill_constant(node, constants[node.name])
        return torch_source(network)
    except ModelFileError:
        raise
    except _FAILS as error:
        reason = str(error).splitlines()[0][:200]
        raise ModelFileError(f"it is not the architecture of a network: {reason}", where=where,
                             hint="export the model again") from None  # fmt: skip


def _empty_network(data: Mapping[str, Any]) -> Network:
    """Make a network without memory for its weights."""
    layers: dict[str, Any] = {}
    nodes = []
    with torch.device("meta"):
        for entry in data["nodes"]:
            shared = entry.get("shares")
            layer = layers[shared] if shared else layer_from_data(entry["kind"], entry["options"])
            layers[entry["name"]] = layer
            nodes.append(Node(entry["name"], layer, tuple(entry["inputs"])))
    ports = [Port(p["name"], tuple(p["shape"]), p["dtype"], p["batch_axis"]) for p in data["inputs"]]
    return Network(ports, nodes, data["outputs"], name=data["name"])


def _fill_constant(node: Node, texts: list[str]) -> None:
    layer: Any = node.layer
    readers: dict[str, Callable[[str], Any]] = {"int64": int, "bool": lambda text: text == "True"}
    read = readers.get(layer.options.dtype, float)
    numbers = torch.tensor([read(text) for text in texts], dtype=layer.value.dtype)
    layer.register_buffer("value", numbers.reshape(layer.options.shape))


def _check_weights(source: TorchSource, arrays: Mapping[str, Array], where: str) -> None:
    """Refuse weights that do not fit: sizes in the architecture are not believed."""
    for name, tensor in source.state.items():
        if name not in arrays or tuple(arrays[name].shape) != tuple(tensor.shape):
            found = tuple(arrays[name].shape) if name in arrays else "missing"
            raise ModelFileError(f"the weight {quote_value(name)} is {found}", where=where,
                                 expected=f"shape {tuple(tensor.shape)}")  # fmt: skip
    for name in arrays.keys() - source.state.keys():
        raise ModelFileError(f"no module has the weight {quote_value(name)}", where=where)
