"""How estimators write their parameters as data, and read themselves back with one kind of error."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from typing import Any

import numpy as np
from pydantic import BaseModel, ValidationError

from gatestack.errors import ArgumentError, ModelFileError
from gatestack.tasks.estimator import Arrays

__all__ = ["not_together", "part_of", "plain_parameters", "read_parameters", "reading_model"]

_LONGEST_REASON = 300


def plain_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Write the parameters of a constructor as JSON values; of training options only those that were set.

    Example:
        >>> plain_parameters({"layers": (64, np.int64(32)), "seed": 0})
        {'layers': [64, 32], 'seed': 0}
    """
    return {name: _plain(value) for name, value in parameters.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(exclude_unset=True)
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, np.generic):
        return value.item()
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value


def read_parameters(
    parameters: object, names: Sequence[str], choices: Mapping[str, Callable[[dict[str, Any]], Any]]
) -> dict[str, Any]:
    """Read what `plain_parameters` wrote.

    Args:
        parameters: from `model.json`.
        names: of the constructor's parameters; neither more nor fewer are taken.
        choices: what makes the value of a parameter that is written as a table of options.

    Raises:
        ModelFileError: a parameter is missing, unknown, or not one that can be read.
    """
    if not isinstance(parameters, dict) or set(parameters) != set(names):
        found = sorted(parameters) if isinstance(parameters, dict) else type(parameters).__name__
        raise ModelFileError(f"parameters: {found}", where="model.json", expected=", ".join(sorted(names)))
    # JSON has no tuples; scikit-learn compares parameters by value.
    read: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in parameters.items()
    }
    try:
        for name, make in choices.items():
            if read[name] is not None:
                read[name] = make(read[name])
    except (ArgumentError, TypeError, ValueError) as error:
        raise ModelFileError(f"parameters: {error}", where="model.json") from error
    return read


@contextmanager
def reading_model() -> Iterator[None]:
    """Turn what goes wrong while a model is read from data into a `ModelFileError`."""
    try:
        yield
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in problem["loc"])
        raise ModelFileError(f"{place}: {problem['msg']}", where="model.json") from None
    except (KeyError, TypeError, IndexError, RuntimeError, ValueError) as error:
        if isinstance(error, ModelFileError):
            raise
        text = f"lacks {error.args[0]!r}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise not_together(text[:_LONGEST_REASON]) from error


def not_together(text: str) -> ModelFileError:
    """Make the error of a folder whose files contradict each other."""
    return ModelFileError(
        f"model.json and weights.safetensors do not belong together: {text}",
        hint="fit and save the model again",
    )


def part_of(weights: Arrays, name: str) -> Arrays:
    """Give the arrays whose names begin with `name` and a dot, without it."""
    return {key[len(name) + 1 :]: array for key, array in weights.items() if key.startswith(f"{name}.")}
