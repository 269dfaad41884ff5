"""What the architectures of all tasks share: choices by name, as a table and back."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Self, TypeVar

from gatestack.errors import ArgumentError, nearest_name

__all__ = ["Choices", "check_instance"]

Options = TypeVar("Options")


@dataclass(frozen=True, kw_only=True)
class Choices:
    """Base of a frozen dataclass whose fields are choices, each with a default."""

    def to_dict(self) -> dict[str, Any]:
        """Give the choices as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, choices: dict[str, Any]) -> Self:
        """Read the choices that `to_dict` gave, or some of them.

        Raises:
            ArgumentError: an unknown name (the nearest is offered), or a value outside its range.

        Example:
            >>> from gatestack.tasks.forecast import Architecture
            >>> Architecture.from_dict({"cells": "gru"})
            Traceback (most recent call last):
            gatestack.errors.ArgumentError: Architecture: there is no option 'cells'
            <BLANKLINE>
            hint: did you mean 'cell'?
        """
        known = [field.name for field in fields(cls)]
        for name in choices:
            if name not in known:
                raise ArgumentError(
                    f"there is no option {name!r}", where=cls.__name__, hint=nearest_name(name, known)
                )
        return cls(**choices)

    def _check_switches(self, *names: str) -> None:
        """Refuse a switch that is neither True nor False."""
        for name in names:
            if not isinstance(getattr(self, name), bool):
                raise ArgumentError(
                    f"the '{name}' parameter of {type(self).__name__} is {getattr(self, name)!r}",
                    expected="True or False",
                )


def check_instance(name: str, value: Options | None, kind: type[Options], *, owner: str) -> Options:
    """Give `value`, or the defaults of `kind` for None; raise an `ArgumentError` for anything else."""
    if value is None:
        return kind()
    if not isinstance(value, kind):
        raise ArgumentError(
            f"the '{name}' parameter of {owner} is of type {type(value).__name__}",
            expected=f"a {kind.__name__} of gatestack, or None",
        )
    return value
