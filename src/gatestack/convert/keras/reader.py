"""Keras' files as networks, without Keras: `.keras`, `.h5`, and weights alone."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any, BinaryIO

from gatestack.convert.archive import read_archive
from gatestack.convert.bounded_read import open_bounded
from gatestack.convert.hdf5 import Hdf5Group, open_hdf5
from gatestack.convert.keras.assemble import assemble
from gatestack.convert.keras.model_config import read_architecture
from gatestack.convert.keras.stores import ListedWeights, PathWeights
from gatestack.convert.network import Network
from gatestack.errors import ModelFileError, quote_value
from gatestack.runtime.strict_json import read_json

__all__ = ["open_file", "read_keras", "read_keras_stream"]

_MEMBERS = {"metadata.json": True, "config.json": True, "model.weights.h5": True}
_MOST_CONFIG_BYTES = 2 * 2**20


def read_keras(path: str | os.PathLike[str], *, max_bytes: int = 2**30) -> Network:
    """Read a model that Keras saved; neither Keras nor TensorFlow nor an HDF5 library is needed.

    Sequential and Functional models of Keras 2 and 3 are read, with the layers of an allow-list (see the
    guide "Keras files"). Nothing in the file is run or imported.

    Args:
        path: a `.keras` or `.h5` file; what it is, is told by its content.
        max_bytes: how large the file, and all its weights together, may be. Default 1 GiB.

    Returns:
        The network, in eval mode. Its nodes have the names of Keras' layers; its numbers are those of Keras.
        Models in half precision compute in float32.

    Raises:
        ModelFileError: the file is missing, damaged or hostile, or has a layer or a setting that is not read:
            the message names the file, the layer, and the reason.
        StorageError: the system would not let it be read.

    Example:
        >>> from gatestack.convert import Network, Node, Port
        >>> from gatestack.convert.layers import RecurrentLayer, RecurrentOptions
        >>> lstm = RecurrentLayer(RecurrentOptions(cell="lstm", input_size=3, hidden_size=8))
        >>> network = Network([Port("x", (None, 3))], [Node("lstm", lstm, ("x",))], ["lstm"])
        >>> from gatestack.convert.keras import write_keras
        >>> write_keras(network, "model.keras")
        >>> read_keras("model.keras").node("lstm").layer.options.hidden_size
        8
    """
    with open_file(path, max_bytes) as stream:
        return read_keras_stream(stream, os.fspath(path), max_bytes=max_bytes)


def read_keras_stream(stream: BinaryIO, where: str, *, max_bytes: int = 2**30) -> Network:
    """Read a model that Keras saved out of an open file; see `read_keras`.

    Args:
        stream: seekable, at its start.
        where: its path, for errors.
        max_bytes: how large all weights together may be.

    Raises:
        ModelFileError: as `read_keras`.

    Example:
        >>> read_keras_stream(io.BytesIO(b"GIF89a"), "m.keras")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        gatestack.errors.ModelFileError: m.keras: ...
    """
    if stream.read(4) == b"PK\3\4":
        return _read_archive(stream, where, max_bytes)
    return _read_hdf5(open_hdf5(stream, where, max_bytes=max_bytes), where)


def open_file(path: str | os.PathLike[str], limit: int) -> BinaryIO:
    """Open a regular file that is not larger than the limit.

    Args:
        path: of the file.
        limit: in bytes.

    Raises:
        ModelFileError: it is missing, no regular file, or too large.
        StorageError: the system would not let it be read.

    Example:
        >>> Path("a").write_bytes(b"abc")
        3
        >>> with open_file("a", 3) as stream:
        ...     stream.read()
        b'abc'
    """
    if Path(path).is_dir():
        raise ModelFileError(
            "a folder", where=os.fspath(path), expected="a .keras or .h5 file",
            hint="a SavedModel holds a program of TensorFlow: save the model as .keras",
        )  # fmt: skip
    larger = "raise max_bytes where you trust the file"
    return open_bounded(Path(path), limit, "give the path of a .keras or .h5 file", larger=larger)


def _read_archive(stream: BinaryIO, where: str, limit: int) -> Network:
    members = read_archive(stream, _MEMBERS, where=where, max_bytes=limit)
    config = _json(members["config.json"], f"{where}, member 'config.json'")
    metadata = _json(members["metadata.json"], f"{where}, member 'metadata.json'")
    version = _version(metadata.get("keras_version") if isinstance(metadata, dict) else None, where)
    architecture = read_architecture(config, where, version=version)
    weights = members.pop("model.weights.h5")
    root = open_hdf5(io.BytesIO(weights), f"{where}, member 'model.weights.h5'", max_bytes=limit)
    return assemble(architecture, PathWeights(root), where)


def _read_hdf5(root: Hdf5Group, where: str) -> Network:
    config = root.attributes.get("model_config")
    if not isinstance(config, str):
        raise ModelFileError(
            "it has weights at most, and no architecture",
            where=where,
            expected="an attribute model_config",
            hint="read it into a network of the same layers with read_keras_weights",
        )
    version = _version(root.attributes.get("keras_version", "1"), where)
    architecture = read_architecture(_json(config.encode(), f"{where}, model_config"), where, version=version)
    return assemble(architecture, ListedWeights(root.group("model_weights")), where)


def _json(text: bytes, where: str) -> Any:
    if len(text) > _MOST_CONFIG_BYTES:
        raise ModelFileError(f"{len(text)} bytes", where=where, expected=f"at most {_MOST_CONFIG_BYTES}")
    try:
        return read_json(text)
    except ValueError as error:
        raise ModelFileError(
            str(error), where=where, hint="the file is damaged: take it from its source or a copy again"
        ) from None


def _version(found: Any, where: str) -> int:
    """Tell Keras 3 from those before it, which have other activations and defaults."""
    major = found.partition(".")[0] if isinstance(found, str) else ""
    if major not in ("1", "2", "3"):
        raise ModelFileError(
            f"it was written by Keras {quote_value(found)}",
            where=where,
            expected="Keras 1 to 3",
            hint="a newer Gatestack may read it: `pip install --upgrade gatestack`",
        )
    return 3 if major == "3" else 2
