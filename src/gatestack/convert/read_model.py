"""Reading a foreign file, whatever its kind."""

from __future__ import annotations

import os
from pathlib import Path

from gatestack.convert.network import Network
from gatestack.convert.onnx_import.reader import read_onnx
from gatestack.convert.torch.weights import WEIGHT_ENDINGS, network_of_weights
from gatestack.errors import ArgumentError, nearest_name

__all__ = ["ENDINGS", "read_model"]

ENDINGS = (".keras", ".h5", ".hdf5", ".onnx", *WEIGHT_ENDINGS)
"""Of the files that can be read."""


def read_model(path: str | os.PathLike[str]) -> Network:
    """Read a file of Keras, ONNX or torch as a network, by its ending.

    Weights of torch have no architecture: those of one `nn.LSTM` or `nn.GRU` are read, others refused with
    what to do in Python (`from_torch`).

    Args:
        path: .keras, .h5, .hdf5, .onnx; .safetensors, .pt, .pth.

    Returns:
        The network, in eval mode.

    Raises:
        ArgumentError: another ending.
        ModelFileError: the file is damaged, hostile, or has something that is not understood.
        StorageError: the system would not let it be read.

    Example:
        >>> read_model("model.pkl")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        gatestack.errors.ArgumentError: model.pkl: the ending is '.pkl'...
    """
    ending = Path(path).suffix.lower()
    if ending in (*WEIGHT_ENDINGS, ".pt2"):  # the second is refused there, with the reason
        return network_of_weights(path)
    if ending not in ENDINGS:
        raise ArgumentError(
            f"the ending is {Path(path).suffix!r}",
            where=os.fspath(path),
            expected=" or ".join(ENDINGS),
            hint=nearest_name(ending, ENDINGS),
        )
    if ending == ".onnx":
        return read_onnx(path)
    from gatestack.convert.keras.reader import read_keras

    return read_keras(path)
