"""Weights that Keras has spread over several files, listed in a `.weights.json`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from gatestack.convert.bounded_read import read_bounded
from gatestack.errors import ModelFileError, quote_value
from gatestack.runtime.strict_json import read_json

__all__ = ["shards_of"]

_MOST_BYTES = 2 * 2**20
_MOST_FILES = 1000


def shards_of(path: str | os.PathLike[str]) -> list[Path]:
    """List the files that a `.weights.json` names; they lie beside it.

    Args:
        path: of the `.weights.json`.

    Raises:
        ModelFileError: it is missing, damaged, or names a file that does not lie beside it.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     index = Path(folder, "m.weights.json")
        ...     _ = index.write_text('{"weight_map": {"/layers/dense/vars": "m_00000.weights.h5"}}')
        ...     [file.name for file in shards_of(index)]
        ['m_00000.weights.h5']
    """
    where = os.fspath(path)
    content = bytes(read_bounded(Path(path), _MOST_BYTES, "save the weights again"))
    try:
        data = read_json(content)
    except ValueError as error:
        raise _damaged(str(error), where) from None
    places = data.get("weight_map") if isinstance(data, dict) else None
    if not isinstance(places, dict) or not places:
        raise _damaged("it has no weight_map", where)
    names: dict[str, None] = {}
    for found in places.values():
        for name in found if isinstance(found, list) else [found]:
            names[_checked(name, where)] = None
    if len(names) > _MOST_FILES:
        raise _damaged(f"it names more than {_MOST_FILES} files", where)
    return [Path(path).with_name(name) for name in names]


def _checked(name: Any, where: str) -> str:
    """Refuse a name that leads elsewhere."""
    plain = isinstance(name, str) and not set(name) & set("/\\:\0")
    if not plain or not name.endswith(".weights.h5"):
        raise _damaged(f"it names the file {quote_value(name)}", where)
    return str(name)


def _damaged(what: str, where: str) -> ModelFileError:
    return ModelFileError(
        what, where=where, expected="weights that Keras has spread over .weights.h5 files beside it"
    )
