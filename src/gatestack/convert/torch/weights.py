"""Weights of torch modules in files: `.safetensors`, `.pt` and `.pth`."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from gatestack.convert.bounded_read import read_bounded
from gatestack.convert.network import Network
from gatestack.convert.torch.from_torch import from_torch
from gatestack.convert.torch.pt_file import program_refused, read_pt
from gatestack.errors import ArgumentError, ModelFileError, nearest_name, quote_value
from gatestack.runtime.tensor_file import decode_tensors

__all__ = ["WEIGHT_ENDINGS", "network_of_weights", "read_state_dict", "read_torch_weights"]

WEIGHT_ENDINGS = (".safetensors", ".pt", ".pth")
"""Of the files that are read."""

_MAX_BYTES = 2**31
_PARAMETER = re.compile(r"(?P<part>(?:weight|bias)_(?:ih|hh|hr))_l(?P<layer>\d{1,4})(?P<reverse>_reverse)?")
_CLASSES: dict[int, type[nn.LSTM] | type[nn.GRU]] = {4: nn.LSTM, 3: nn.GRU}
_AXES = {
    "weight_ih": ("gates · hidden", "input"),
    "weight_hh": ("gates · hidden", "hidden"),
    "weight_hr": ("projection", "hidden"),
    "bias_ih": ("gates · hidden",),
    "bias_hh": ("gates · hidden",),
}
_Module = TypeVar("_Module", bound=nn.Module)


def read_torch_weights(
    path: str | os.PathLike[str], module: _Module, *, max_bytes: int = _MAX_BYTES
) -> _Module:
    """Read weights from a file into a module.

    Nothing is changed unless all of them fit: names, shapes and kinds of numbers.

    Args:
        path: .safetensors, .pt or .pth; a file of `torch.save` may also hold a dictionary with one
            `state_dict` in it, as checkpoints have.
        module: of torch, with the architecture that the file has not.
        max_bytes: how large the file may be. Default 2 GiB.

    Returns:
        The module.

    Raises:
        ArgumentError: another ending.
        ModelFileError: the file is damaged or has code in it; a weight is missing, unknown, or of another
            shape than the module has.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder) / "weights.pt"
        ...     torch.save(nn.LSTM(3, 4).state_dict(), file)
        ...     read_torch_weights(file, nn.LSTM(3, 4))
        LSTM(3, 4)
    """
    found = read_state_dict(path, max_bytes=max_bytes)
    own = module.state_dict()
    where = os.fspath(path)
    for name in own:
        if name not in found:
            raise ModelFileError(
                f"the weight {quote_value(name)} of {type(module).__name__} is missing",
                where=where,
                hint=nearest_name(name, found),
            )
    for name, tensor in found.items():
        if name not in own:
            raise ModelFileError(
                f"{type(module).__name__} has no weight {quote_value(name)}",
                where=where,
                hint=nearest_name(name, own),
            )
        if tensor.shape != own[name].shape:
            raise ModelFileError(
                f"the weight {quote_value(name)} has shape {tuple(tensor.shape)}",
                where=where,
                expected=_described(module, name, tuple(own[name].shape)),
            )
        if tensor.is_floating_point() != own[name].is_floating_point():
            raise ModelFileError(
                f"the weight {quote_value(name)} is {tensor.dtype}",
                where=where,
                expected=f"{own[name].dtype}",
            )
    module.load_state_dict(found)
    return module


def read_state_dict(path: str | os.PathLike[str], *, max_bytes: int = _MAX_BYTES) -> dict[str, Tensor]:
    """Read the weights in a file, by its ending.

    Args:
        path: .safetensors, .pt or .pth.
        max_bytes: how large the file may be.

    Returns:
        Name to tensor.

    Raises:
        ArgumentError: another ending.
        ModelFileError: the file is missing, too large, damaged, or holds other things than weights.

    Example:
        >>> read_state_dict("weights.bin")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        gatestack.errors.ArgumentError: weights.bin: the ending is '.bin'...
    """
    file, where = Path(path), os.fspath(path)
    if file.suffix.lower() == ".pt2":
        raise program_refused(where)
    if file.suffix.lower() not in WEIGHT_ENDINGS:
        raise ArgumentError(
            f"the ending is {file.suffix!r}",
            where=where,
            expected=" or ".join(WEIGHT_ENDINGS),
            hint=nearest_name(file.suffix.lower(), WEIGHT_ENDINGS),
        )
    content = read_bounded(file, max_bytes, "give a file of weights")
    if file.suffix.lower() == ".safetensors":
        return {name: torch.from_numpy(array) for name, array in decode_tensors(content, where=where).items()}
    return _state_dict(read_pt(content, where=where), where)


def network_of_weights(path: str | os.PathLike[str]) -> Network:
    """Make a network of a file of weights that belong to one `nn.LSTM` or `nn.GRU`.

    A state_dict has no architecture. That of one recurrent module says enough: the cell, its sizes, layers
    and directions. The network takes x (N, T, C) and gives output and final state.

    Args:
        path: .safetensors, .pt or .pth.

    Raises:
        ModelFileError: there are other weights too, or those of a plain RNN, whose activation is not in the
            file; the message says how to go on in Python.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     torch.save(nn.LSTM(3, 4, num_layers=2).state_dict(), Path(folder) / "w.pt")
        ...     network = network_of_weights(Path(folder) / "w.pt")
        >>> [port.described for port in network.inputs], len(network.outputs)
        (['input (batch, any, 3) float32'], 3)
    """
    where = os.fspath(path)
    state = read_state_dict(path)
    found = {name: _PARAMETER.fullmatch(name.rpartition(".")[2]) for name in state}
    prefixes = {name.rpartition(".")[0] for name in state}
    strange = [name for name, match in found.items() if match is None]
    if strange or len(prefixes) != 1:
        raise _no_architecture(where, strange[0] if strange else sorted(prefixes)[-1])
    bare = {name.rpartition(".")[2]: tensor for name, tensor in state.items()}
    module = _recurrent(bare, where)
    own = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    wrong = sorted(name for name in own.keys() | bare.keys() if own.get(name) != _shape(bare.get(name)))
    if wrong:
        name = wrong[0]
        raise ModelFileError(
            f"the weight {quote_value(name)} has shape {_shape(bare.get(name))}",
            where=where,
            expected=f"{own.get(name)}, as the others say",
        )
    dtype = bare["weight_hh_l0"].dtype
    module = module.to_empty(device="cpu").to(torch.float64 if dtype == torch.float64 else torch.float32)
    module.load_state_dict(bare)
    return from_torch(module)


def _shape(tensor: Tensor | None) -> tuple[int, ...] | None:
    return None if tensor is None else tuple(tensor.shape)


def _recurrent(bare: Mapping[str, Tensor], where: str) -> nn.RNNBase:
    """Make the module that these weights seem to be of, without memory for them."""
    first, across = bare.get("weight_ih_l0"), bare.get("weight_hh_l0")
    if first is None or across is None or first.dim() != 2 or across.dim() != 2 or not all(across.shape):
        raise ModelFileError("weight_ih_l0 or weight_hh_l0 is missing, or no matrix", where=where)
    projected = bare.get("weight_hr_l0")
    size = across.shape[1] if projected is None or projected.dim() != 2 else projected.shape[1]
    gates = across.shape[0] // max(size, 1)
    if gates * size != across.shape[0] or gates not in (*_CLASSES, 1):
        raise ModelFileError(
            f"weight_hh_l0 has shape {tuple(across.shape)}",
            where=where,
            expected="4 or 3 times as many rows as hidden features",
        )
    if gates == 1:
        raise ModelFileError(
            "the weights are those of a plain RNN, and whether it has tanh or relu is not in the file",
            where=where,
            hint="in Python: from_torch(read_torch_weights(path, torch.nn.RNN(…, nonlinearity=…)))",
        )
    layers = 1 + max(int(match["layer"]) for name in bare if (match := _PARAMETER.fullmatch(name)))
    options: dict[str, Any] = {
        "num_layers": min(layers, len(bare)),
        "bias": "bias_ih_l0" in bare,
        "bidirectional": "weight_ih_l0_reverse" in bare,
        "batch_first": True,
    }
    if gates == 4 and projected is not None:  # h is narrower than c
        options["proj_size"] = across.shape[1]
    made: type[nn.LSTM] | type[nn.GRU] = _CLASSES[gates]
    try:
        return made(first.shape[1], size, **options, device="meta")
    except (ValueError, RuntimeError) as error:
        raise ModelFileError(f"no {made.__name__} has such weights: {error}", where=where) from None


def _state_dict(found: object, where: str) -> dict[str, Tensor]:
    """Find the state_dict in what a file of torch holds."""
    if isinstance(found, Mapping):
        inner = [part for part in found.values() if _is_state_dict(part)]
        chosen = found if _is_state_dict(found) else inner[0] if len(inner) == 1 else None
        if isinstance(chosen, Mapping):
            for name, tensor in chosen.items():
                _check_tensor(name, tensor, where)
            return dict(chosen)
    shown = f"a dictionary of {', '.join(map(quote_value, list(found)[:5]))}" if isinstance(found, Mapping) \
        else f"a {type(found).__name__}"  # fmt: skip
    raise ModelFileError(
        f"it holds {shown}",
        where=where,
        expected="a state_dict, or a dictionary with one in it",
        hint="torch.save(module.state_dict(), path) writes one",
    )


def _is_state_dict(found: object) -> bool:
    return (
        isinstance(found, Mapping)
        and len(found) > 0
        and all(isinstance(name, str) and isinstance(value, Tensor) for name, value in found.items())
    )


def _check_tensor(name: str, tensor: Tensor, where: str) -> None:
    """Refuse a tensor that is no plain one, or that claims more numbers than the file has."""
    place = f"{where}, tensor {quote_value(name)}"
    if type(tensor) not in (Tensor, nn.Parameter) or tensor.layout != torch.strided or tensor.is_quantized:
        raise ModelFileError(f"a {type(tensor).__name__} of layout {tensor.layout}", where=place,
                             expected="a dense tensor")  # fmt: skip
    if tensor.device.type != "cpu":
        raise ModelFileError(f"it is on the device {tensor.device}", where=place, expected="numbers")
    held = tensor.untyped_storage().nbytes()
    if tensor.numel() * tensor.element_size() > held:
        raise ModelFileError(
            f"its shape {tuple(tensor.shape)} needs {tensor.numel() * tensor.element_size()} bytes",
            where=place,
            expected=f"at most the {held} that the file has for it",
        )


def _described(module: nn.Module, name: str, shape: tuple[int, ...]) -> str:
    """Give a shape with the names of its axes, where they are known."""
    owner = module.get_submodule(name.rpartition(".")[0])
    last = name.rpartition(".")[2]
    axes: tuple[str, ...] = ()
    if isinstance(owner, nn.RNNBase | nn.RNNCellBase):
        axes = _AXES.get(re.sub(r"_l\d+(_reverse)?$", "", last), ())
        if last.startswith("weight_hh") and isinstance(owner, nn.RNNBase) and owner.proj_size:
            axes = ("gates · hidden", "projection")
    elif isinstance(owner, nn.Linear):
        axes = ("out_features", "in_features") if last == "weight" else ("out_features",)
    elif isinstance(owner, nn.Embedding):
        axes = ("num_embeddings", "embedding_dim")
    return f"({', '.join(axes)}) = {shape}" if axes else f"{shape}"


def _no_architecture(where: str, name: str) -> ModelFileError:
    return ModelFileError(
        f"weights alone do not say how {quote_value(name)} and the others are connected",
        where=where,
        expected="the weights of one nn.LSTM or nn.GRU",
        hint="in Python: from_torch(read_torch_weights(path, module)).save(folder), with the module made "
        "by its own code",
    )
