"""How much was scored, in words."""

from __future__ import annotations

__all__ = ["extent_of"]


def extent_of(cases: int, folds: int | None) -> str:
    """Name the number of cases, and of folds where the score is cross-validated.

    Example:
        >>> extent_of(1, None), extent_of(50, 5)
        ('1 case', '50 cases, 5-fold cross-validation')
    """
    number = f"{cases} case{'' if cases == 1 else 's'}"
    return number if folds is None else f"{number}, {folds}-fold cross-validation"
