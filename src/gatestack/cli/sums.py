"""`gatestack fit forecast --sums`: the forecaster whose totals are the sums of their parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gatestack.errors import ArgumentError

if TYPE_CHECKING:
    from gatestack.tasks.forecast import Forecaster
    from gatestack.tasks.forecast.hierarchy.projection import Method

__all__ = ["with_sums"]


def with_sums(
    model: Forecaster, columns: dict[str, Any], sums: str | None, method: Method | None
) -> tuple[Any, dict[str, Any]]:
    """Make the model's forecasts add up, where that is asked for.

    Args:
        model: not fitted.
        columns: what `Forecaster.fit` takes.
        sums: columns that name the hierarchy, coarse to fine, with commas; `"total"` for one total; None
            leaves the model as it is.
        method: how they are made to add up; None takes the usual one.

    Returns:
        The forecaster, and what its `fit` takes.

    Raises:
        ArgumentError: an option was given that forecasts of totals do not have, or a method without sums.
    """
    if sums is None:
        if method is not None:
            raise ArgumentError("--add-up-by was given without --sums", expected="both, or neither")
        return model, columns
    from gatestack.tasks.forecast import CoherentForecaster
    from gatestack.tasks.forecast.hierarchy.nodes import TOTAL

    for option, unset in (("static", ()), ("short_series", "error")):
        if columns[option] != unset:
            raise ArgumentError(
                f"--{option.replace('_', '-')} was given with --sums",
                expected="the one or the other",
                hint="every series is part of a total, and a total has no column of its own",
            )
    names = [] if sums == TOTAL else [name.strip() for name in sums.split(",")]
    kept = {name: value for name, value in columns.items() if name not in ("static", "short_series")}
    return CoherentForecaster(model, names, method=method or "mint-shrink"), kept
