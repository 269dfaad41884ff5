"""A fitted forecaster as data: JSON values and named arrays, and back."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np
import polars as pl
import torch
from pydantic import BaseModel, ConfigDict, Field

from gatestack.data.category_column import LONGEST_NAME, MOST_CATEGORIES
from gatestack.data.frequency import Frequency
from gatestack.data.sequences import Sequences
from gatestack.data.series_table import SeriesTable
from gatestack.data.table_columns import Columns
from gatestack.data.time_column import TimeKind
from gatestack.tasks.estimator import Arrays, check_proof
from gatestack.tasks.forecast.autoregression import Autoregression
from gatestack.tasks.forecast.embeddings import category_counts
from gatestack.tasks.forecast.fitted import FittedForecast
from gatestack.tasks.forecast.intervals.corrected import corrected
from gatestack.tasks.forecast.intervals.saved import (
    SavedCalibration,
    calibration_from_data,
    calibration_to_data,
    shares_from_data,
)
from gatestack.tasks.forecast.network import ForecastNetwork, NetworkShape
from gatestack.tasks.forecast.options import Architecture, Mode
from gatestack.tasks.forecast.scaling import SeriesScale
from gatestack.tasks.forecast.state import SeriesState
from gatestack.tasks.saved import not_together, part_of, reading_model
from gatestack.training import TrainingRecord

__all__ = ["fitted_from_data", "fitted_to_data"]


_BASELINE = ("weight", "bias", "spread")


_Name: TypeAlias = Annotated[str, Field(max_length=LONGEST_NAME)]


class _Network(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=False)

    shape: dict[str, Any]
    architecture: dict[str, Any]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid")

    columns: dict[str, Any]
    frequency: dict[str, Any]
    time_kind: dict[str, Any]
    keys: list[str]
    key_type: Literal["string", "integer"]
    source: str
    categories: dict[str, Annotated[list[_Name], Field(max_length=MOST_CATEGORIES)]] = {}


class _Fitted(BaseModel):
    """The part of `model.json` that belongs to a forecaster."""

    model_config = ConfigDict(extra="forbid")

    network: _Network
    horizon: int
    levels: list[float]
    mode: Mode
    calendar: list[str]
    season: int | None
    table: _Table
    record: dict[str, Any]
    seed: int
    # Models that were saved before there were calibrated intervals have none.
    calibration: SavedCalibration | None = None


def fitted_to_data(fitted: FittedForecast) -> tuple[dict[str, Any], Arrays, Arrays]:
    """Write a fitted forecaster as JSON values, weights and proof.

    Args:
        fitted: what fitting found.

    Returns:
        `{"fitted": …}`; arrays named `network.…`, `state.…`, `tail.…`, `baseline.…`, `scale.…`,
        `calibration.…`, `shares.…`; and the proof: the quantiles that the state gives.
    """
    tail = fitted.tail
    keys = tail.series_keys
    model = _Fitted(
        network=_Network(shape=fitted.network.shape.to_dict(), architecture=fitted.architecture.to_dict()),
        horizon=fitted.horizon,
        levels=list(fitted.levels),
        mode=fitted.mode,
        calendar=list(fitted.calendar),
        season=fitted.season,
        table=_Table(
            columns=asdict(tail.columns),
            frequency=asdict(tail.frequency),
            time_kind=asdict(tail.time_kind),
            keys=[str(key) for key in keys],
            key_type="integer" if keys.dtype.is_integer() else "string",
            source=tail.source,
            categories={name: list(names) for name, names in tail.categories.items()},
        ),
        record=fitted.record.to_dict(),
        seed=fitted.seed,
        calibration=None if fitted.calibration is None else calibration_to_data(fitted.calibration),
    )
    weights: Arrays = {
        f"network.{name}": tensor.numpy() for name, tensor in fitted.network.state_dict().items()
    }
    weights |= {f"state.{name}": array for name, array in fitted.state.to_arrays().items()}
    weights |= {f"tail.{name}": array for name, array in _tail_arrays(tail).items()}
    weights |= {f"baseline.{name}": getattr(fitted.autoregression, name) for name in _BASELINE}
    if fitted.series_scale is not None:
        weights |= {f"scale.{name}": array for name, array in fitted.series_scale.state().items()}
    if fitted.calibration is not None:
        weights["calibration.scores"] = fitted.calibration.scores
    if fitted.shares is not None:
        weights |= {f"shares.{name}": array for name, array in fitted.shares.to_arrays().items()}
    plain = {name: np.ascontiguousarray(array) for name, array in weights.items()}
    return {"fitted": model.model_dump(mode="json")}, plain, {"quantiles": _proof(fitted)}


def fitted_from_data(model: dict[str, Any], weights: Arrays, proof: Arrays) -> FittedForecast:
    """Read what `fitted_to_data` wrote, and check the model against its proof.

    Raises:
        ModelFileError: a field or an array is missing, unknown, or of the wrong shape; or the answers are not
            those of the proof.
    """
    with reading_model():
        return _read(_Fitted.model_validate(model.get("fitted")), weights, proof)


def _read(model: _Fitted, weights: Arrays, proof: Arrays) -> FittedForecast:
    architecture = Architecture.from_dict(model.network.architecture)
    levels = tuple(model.levels)
    shape = NetworkShape.from_dict(model.network.shape)
    _check_categories(model.table, shape)
    network = ForecastNetwork(shape, architecture, levels)
    tensors = {name: torch.from_numpy(np.array(array)) for name, array in part_of(weights, "network").items()}
    network.load_state_dict(tensors)
    network.eval()
    scale = part_of(weights, "scale")
    fitted = FittedForecast(
        network=network,
        horizon=model.horizon,
        levels=levels,
        mode=model.mode,
        calendar=tuple(model.calendar),
        season=model.season,
        architecture=architecture,
        series_scale=SeriesScale.from_state(scale) if scale else None,
        autoregression=Autoregression(*(weights[f"baseline.{name}"] for name in _BASELINE)),
        tail=_tail(model.table, part_of(weights, "tail")),
        state=SeriesState.from_arrays(part_of(weights, "state")),
        record=TrainingRecord.from_dict(model.record),
        seed=model.seed,
        calibration=calibration_from_data(
            model.calibration,
            part_of(weights, "calibration"),
            horizon=model.horizon,
            intervals=len(levels) // 2,
        ),
        shares=shares_from_data(
            part_of(weights, "shares"),
            series=len(model.table.keys),
            horizon=model.horizon,
            levels=len(levels),
        ),
    )
    _check_sizes(fitted, part_of(weights, "state"))
    _check_codes(fitted.tail)
    if "quantiles" not in proof:
        raise not_together("proof.safetensors lacks 'quantiles'")
    check_proof(_proof(fitted), proof["quantiles"], "proof.safetensors")
    return fitted


def _check_categories(table: _Table, shape: NetworkShape) -> None:
    """Compare the names of categories with the sizes of the network, before memory is taken for these."""
    past, future, static = (tuple(table.columns.get(role, ())) for role in ("past", "future", "static"))
    for name, names in table.categories.items():
        if name not in (*past, *future, *static):
            raise not_together(f"{name!r} has categories and is no past, future or static column")
        if len(set(names)) != len(names):
            raise not_together(f"a category of {name!r} is named twice")
    calendar = shape.past + shape.known - len(past) - len(future)
    found = (shape.categories, shape.static_categories)
    wanted = (
        category_counts(table.categories, (*past, *future), calendar),
        category_counts(table.categories, static),
    )
    if found != wanted:
        raise not_together(f"the network has {found} categories, the table {wanted}")


def _check_codes(table: SeriesTable) -> None:
    """Refuse codes of categories that are none."""
    sequences = table.sequences
    static = np.zeros((0, 0)) if sequences.static is None else sequences.static
    parts = {name: sequences.values[:, place] for place, name in enumerate(table.columns.features)}
    parts |= {name: static[:, place] for place, name in enumerate(table.columns.static)}
    for name, names in table.categories.items():
        if not np.isin(parts[name], np.arange(len(names) + 1)).all():
            raise not_together(f"{name!r} has codes that are not whole numbers from 0 to {len(names)}")


def _check_sizes(fitted: FittedForecast, state: Arrays) -> None:
    """Compare the arrays of the state, and what `model.json` says twice, with the sizes of the network."""
    shape, rows = fitted.network.shape, len(fitted.tail.sequences)
    if len(fitted.levels) != shape.quantiles:
        raise not_together(f"{len(fitted.levels)} levels, but {shape.quantiles} quantiles")
    if shape.horizon != (1 if fitted.mode == "recursive" else fitted.horizon):
        raise not_together(f"the horizon is {fitted.horizon}, that of the network {shape.horizon}")
    wanted = SeriesState.start(fitted.network, rows, fitted.scaling_of(fitted.tail)).to_arrays()
    for name in sorted(wanted.keys() | state.keys()):
        if name not in wanted or name not in state or wanted[name].shape != state[name].shape:
            found = state[name].shape if name in state else "missing"
            expected = wanted[name].shape if name in wanted else "nothing"
            raise not_together(f"state.{name} is {found}, expected {expected}")


def _proof(fitted: FittedForecast) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Forecast from the state of at most 8 series, with covariates at zero."""
    rows = np.arange(min(8, len(fitted.state.target)))
    shape = fitted.network.shape
    future = torch.zeros(len(rows), fitted.horizon, shape.known)
    quantiles = fitted.quantiles_from(fitted.state.take(rows), future, torch.zeros(len(rows), shape.static))
    keys = (fitted.tail.sequences.keys or ())[: len(rows)]
    scale = fitted.state.moments[: len(rows), 1].numpy().astype(np.float64)
    return corrected(fitted, keys, quantiles, scale, fitted.shares and fitted.shares.take(rows))


def _tail_arrays(tail: SeriesTable) -> Arrays:
    sequences = tail.sequences
    arrays: Arrays = {"values": sequences.values, "offsets": sequences.offsets}
    if sequences.observed is not None:
        arrays["observed"] = sequences.observed
    if sequences.static is not None:
        arrays["static"] = sequences.static
    if sequences.time is not None:
        arrays["time"] = sequences.time.astype(np.int64)
    return arrays


def _tail(table: _Table, arrays: Arrays) -> SeriesTable:
    kind = TimeKind(**table.time_kind)
    times = arrays["time"].astype(np.int64)
    groups: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in table.columns.items()
    }
    named = Columns(**groups)
    sequences = Sequences(
        values=arrays["values"],
        offsets=arrays["offsets"],
        observed=arrays.get("observed"),
        time=times if kind.kind == "integer" else times.astype("datetime64[us]"),
        static=arrays.get("static"),
        keys=tuple(table.keys),
        names=named.features,
    )
    keys = [int(key) for key in table.keys] if table.key_type == "integer" else table.keys
    return SeriesTable(
        sequences=sequences,
        columns=named,
        frequency=Frequency(**table.frequency),
        gaps=pl.DataFrame(),
        time_kind=kind,
        series_keys=pl.Series(named.series or "series", keys),
        source=table.source,
        categories={name: tuple(names) for name, names in table.categories.items()},
    )
