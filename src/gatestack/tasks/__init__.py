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
    from gatestack.tasks.estimator import Estimator

__all__ = ["load"]


def load(path: str | Path) -> Estimator:
    """Read a model folder of any task.

    Args:
        path: the folder that `save` wrote.

    Returns:
        The estimator, fitted.

    Raises:
        ModelFileError: the folder is missing, damaged, of an unknown version or kind.

    Example:
        >>> load("no/such/folder")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        gatestack.errors.ModelFileError: no/such/folder: there is no such folder...
    """
    # Every task registers itself with the estimators when it is imported.
    from gatestack.tasks import forecast  # noqa: F401
    from gatestack.tasks.estimator import load_estimator

    return load_estimator(path)
