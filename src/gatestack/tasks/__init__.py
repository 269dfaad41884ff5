"""Tasks: one folder each, from a file to a model that stands beside its baseline.

Example:
    >>> from gatestack.tasks import load
    >>> load("no/such/folder")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    gatestack.errors.ModelFileError: no/such/folder: there is no such folder...
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gatestack.convert import Network
    from gatestack.tasks.estimator import Estimator

__all__ = ["load"]


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
    # Every task registers itself with the estimators when it is imported.
    from gatestack.tasks import forecast  # noqa: F401
    from gatestack.tasks.estimator import estimator_from_folder

    return estimator_from_folder(folder)
