"""`gatestack fit forecast --sums`: the forecaster whose totals are the sums of their parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gatestack.errors import ArgumentError

if TYPE_CHECKING:
    from gatestack.tasks.forecast import Forecaster
    from gatestack.tasks.forecast.hierarchy.projection import Method

__all__ = ["with_sums"]

_TOTAL_ALONE = "total"


def with_sums(
    model: Forecaster, columns: dict[str, Any], sums: str, method: Method
) -> tuple[Any, dict[str, Any]]:
    """Make the model's forecasts add up.

    Args:
        model: not fitted.
        columns: what `Forecaster.fit` takes.
        sums: columns that name the hierarchy, coarse to fine, with commas; `"total"` for one total.
        method: how they are made to add up.

    Returns:
        The coherent forecaster, and what its `fit` takes.

    Raises:
        ArgumentError: an option was given that forecasts of totals do not have.
    """
    from gatestack.tasks.forecast import CoherentForecaster

    for option, unset in (("static", ()), ("short_series", "error")):
        if columns[option] != unset:
            raise ArgumentError(
                f"--{option.replace('_', '-')} was given with --sums",
                expected="the one or the other",
                hint="every series is part of a total, and a total has no column of its own",
            )
    names = [] if sums == _TOTAL_ALONE else [name.strip() for name in sums.split(",")]
    kept = {name: value for name, value in columns.items() if name not in ("static", "short_series")}
    return CoherentForecaster(model, names, method=method), kept
