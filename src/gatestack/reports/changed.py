"""What a user set in the options that are parts of an estimator's arguments."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from gatestack.training import Training

__all__ = ["changed_fields"]


def changed_fields(value: Any) -> dict[str, Any]:
    """Give the fields of an `Architecture`, `Augmentation` or `Training` that differ from their defaults.

    Args:
        value: None gives none.

    Example:
        >>> changed_fields(Training(batch_size=8)), changed_fields(None)
        ({'batch_size': 8}, {})
    """
    if value is None:
        return {}
    if isinstance(value, Training):
        return dict(value.model_dump(exclude_defaults=True))
    default = type(value)()
    return {
        field.name: getattr(value, field.name)
        for field in fields(value)
        if getattr(value, field.name) != getattr(default, field.name)
    }
