"""Checking the arguments of a forecaster before anything is computed."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any, get_args

import numpy as np

from gatestack.data.calendar_encoding import CALENDAR_NAMES, calendar_names_for
from gatestack.data.series_table import SeriesTable
from gatestack.errors import ArgumentError, check_choice, check_whole, nearest_name
from gatestack.tasks.choices import check_instance
from gatestack.tasks.forecast.fitting import FitPlan
from gatestack.tasks.forecast.options import Architecture, IntervalKind, Mode
from gatestack.training import Training

__all__ = ["make_plan"]

_OWNER = "Forecaster"
_MOST_LAYERS = 64
_LARGEST_SEED = 2**63 - 1  # what the random numbers of torch take


def make_plan(parameters: Mapping[str, Any], table: SeriesTable) -> FitPlan:
    """Check every parameter of a `Forecaster` against its range and against the table.

    Args:
        parameters: the arguments of its constructor, by name.
        table: the series to fit.

    Raises:
        ArgumentError: names the argument, its value, and what is expected.
    """
    for name in ("horizon", "hidden_size", "max_steps"):
        check_whole(name, parameters[name], owner=_OWNER)
    if check_whole("seed", parameters["seed"], owner=_OWNER, least=0) > _LARGEST_SEED:
        raise ArgumentError(
            f"the 'seed' parameter of {_OWNER} is {parameters['seed']}",
            expected=f"a whole number up to {_LARGEST_SEED}",
        )
    if parameters["window"] is not None:
        check_whole("window", parameters["window"], owner=_OWNER, least=2)
    check_choice("mode", parameters["mode"], get_args(Mode), owner=_OWNER)
    if parameters["mode"] == "recursive" and table.columns.past:
        raise ArgumentError(
            f"mode is 'recursive' with past columns {', '.join(table.columns.past)}",
            where=_OWNER,
            expected="no past columns: their values at the steps ahead are not known",
            hint="use mode='direct', or name them in future= if they are known ahead",
        )
    levels = _levels(parameters["quantiles"])
    architecture = check_instance("architecture", parameters["architecture"], Architecture, owner=_OWNER)
    piecewise = architecture.distribution == "quantiles"
    if parameters["mode"] == "recursive" and piecewise and len(levels) == 1:
        raise ArgumentError(
            f"mode is 'recursive' with the quantiles {levels}",
            where=_OWNER,
            expected="three quantiles or more, to draw values from; or a distribution that needs none",
        )
    check_choice("intervals", parameters["intervals"], get_args(IntervalKind), owner=_OWNER)
    if parameters["intervals"] != "model" and len(levels) == 1:
        raise ArgumentError(
            f"intervals is {parameters['intervals']!r} with the quantiles {levels}",
            where=_OWNER,
            expected="three quantiles or more, the bounds of intervals",
        )
    training = check_instance("training", parameters["training"], Training, owner=_OWNER)
    return FitPlan(
        horizon=int(parameters["horizon"]),
        widths=_widths(parameters["layers"], parameters["hidden_size"]),
        window=None if parameters["window"] is None else int(parameters["window"]),
        levels=levels,
        seasons=_seasons(parameters["season"]),
        calendar=_calendar(parameters["calendar"], table),
        mode=parameters["mode"],
        intervals=parameters["intervals"],
        architecture=architecture,
        training=training,
        max_steps=int(parameters["max_steps"]),
        seed=int(parameters["seed"]),
    )


def _widths(layers: object, hidden_size: int) -> tuple[int, ...]:
    if isinstance(layers, str) and layers == "auto":
        return (hidden_size,)  # until a study of the training part takes its place
    if isinstance(layers, int | np.integer) and not isinstance(layers, bool):
        check_whole("layers", layers, owner=_OWNER)
        widths: tuple[int, ...] = (hidden_size,) * min(int(layers), _MOST_LAYERS + 1)
    elif isinstance(layers, list | tuple) and layers:
        widths = tuple(layers)
    else:
        raise ArgumentError(
            f"the 'layers' parameter of {_OWNER} is {layers!r}",
            expected="a whole number of 1 or more, a list of widths, or 'auto'",
        )
    if len(widths) > _MOST_LAYERS:
        raise ArgumentError(
            f"the 'layers' parameter of {_OWNER} asks for more than {_MOST_LAYERS} layers",
            expected=f"at most {_MOST_LAYERS}",
        )
    for width in widths:
        check_whole("layers", width, owner=_OWNER)
    return tuple(int(width) for width in widths)


def _levels(quantiles: object) -> tuple[float, ...]:
    rule = "ascending levels in (0, 1), symmetric around 0.5, with 0.5 among them, such as (0.1, 0.5, 0.9)"
    if not isinstance(quantiles, list | tuple) or not all(
        isinstance(level, float | np.floating) for level in quantiles
    ):
        raise ArgumentError(f"the 'quantiles' parameter of {_OWNER} is {quantiles!r}", expected=rule)
    levels = tuple(float(level) for level in quantiles)
    symmetric = all(abs(a + b - 1) < 1e-9 for a, b in zip(levels, reversed(levels), strict=True))
    ascending = all(a < b for a, b in itertools.pairwise(levels))
    if not (levels and len(levels) % 2 and symmetric and ascending and levels[0] > 0):
        raise ArgumentError(f"the 'quantiles' parameter of {_OWNER} is {quantiles!r}", expected=rule)
    return levels


def _seasons(season: object) -> tuple[int, ...] | None:
    if isinstance(season, str) and season == "auto":
        return None
    if season is None:
        return ()
    seasons = tuple(season) if isinstance(season, list | tuple) else (season,)
    for length in seasons:
        check_whole("season", length, owner=_OWNER, least=2)
    return tuple(sorted({int(length) for length in seasons}))


def _calendar(calendar: object, table: SeriesTable) -> tuple[str, ...]:
    if isinstance(calendar, str):
        if calendar != "auto":
            raise ArgumentError(
                f"the 'calendar' parameter of {_OWNER} is {calendar!r}",
                expected="'auto' or a list of names",
                hint="there are: " + ", ".join(CALENDAR_NAMES),
            )
        return tuple(calendar_names_for(table.frequency))
    if not isinstance(calendar, list | tuple):
        raise ArgumentError(
            f"the 'calendar' parameter of {_OWNER} is {calendar!r}", expected="'auto' or a list of names"
        )
    for name in calendar:
        if name not in CALENDAR_NAMES:
            raise ArgumentError(
                f"there is no calendar feature {name!r}",
                where=_OWNER,
                hint=nearest_name(str(name), CALENDAR_NAMES),
            )
    return tuple(calendar)
