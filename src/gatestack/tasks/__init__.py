"""Tasks: one folder each, from a file to a model that stands beside its baseline.

Example:
    >>> from gatestack.tasks import load
    >>> load("no/such/folder")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    gatestack.errors.ModelFileError: no/such/folder: there is no such folder...
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gatestack.convert import Network
    from gatestack.tasks.estimator import Estimator

__all__ = ["load"]

# Kind in a model folder → the task that knows it.
_HOMES = {
    "classifier": "gatestack.tasks.classify",
    "coherent forecaster": "gatestack.tasks.forecast",
    "detector": "gatestack.tasks.detect",
    "forecaster": "gatestack.tasks.forecast",
    "regressor": "gatestack.tasks.regress",
}


def load(path: str | Path) -> Estimator | Network:
    """Read a model folder of any kind.

    Args:
        path: the folder that `save` or `gatestack import` wrote.

    Returns:
        The estimator, fitted; or the network, in eval mode, where the folder holds one.

    Raises:
        ModelFileError: the folder is missing, damaged, of an unknown version or kind.

    Example:
        >>> load("no/such/folder")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        gatestack.errors.ModelFileError: no/such/folder: there is no such folder...
    """
    from gatestack.runtime.model_folder import read_model_folder

    folder = read_model_folder(path)
    if folder.model["kind"] == "network":
        from gatestack.convert import Network
        from gatestack.convert.network_folder import network_from_folder

        return network_from_folder(Network, folder)
    from gatestack.tasks.estimator import estimator_from_folder

    # A task registers its estimator when it is imported; an unknown kind is refused with all of them at hand.
    kind = str(folder.model["kind"])
    for home in {_HOMES[kind]} if kind in _HOMES else _HOMES.values():
        import_module(home)
    return estimator_from_folder(folder)
