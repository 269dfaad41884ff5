"""A fitted detector as data: JSON values and named arrays, and back."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict, Field

from gatestack.data.frequency import Frequency
from gatestack.data.table_columns import Columns
from gatestack.data.time_column import TimeKind
from gatestack.errors import DataError
from gatestack.tasks.detect.alarms import AlarmRule, CalibratedRule, DynamicRule
from gatestack.tasks.detect.fitted import FittedDetector, SeriesScale
from gatestack.tasks.detect.networks import DetectorNetwork, NetworkShape, make_network
from gatestack.tasks.detect.options import Architecture
from gatestack.tasks.detect.scoring import EVIDENCE, Usual
from gatestack.tasks.detect.state import state_from_arrays, state_to_arrays
from gatestack.tasks.detect.tail import Tail
from gatestack.tasks.estimator import Arrays, check_proof
from gatestack.tasks.saved import not_together, part_of, reading_model
from gatestack.training import TrainingRecord

__all__ = ["fitted_from_data", "fitted_to_data"]

_PROOF_STEPS = 64
_PER_CHANNEL = ("centre", "scale", "pull", "spread", "spread_pull")
_Size = Annotated[int, Field(ge=1, le=2**24)]
_Above = Annotated[float, Field(gt=0)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class _Shape(_Strict):
    channels: _Size
    calendar: Annotated[int, Field(ge=0, le=64)]
    widths: Annotated[list[_Size], Field(min_length=1, max_length=64)]
    window: Annotated[int, Field(ge=2, le=2**24)]
    flags: bool


class _Fitted(_Strict):
    """The part of `model.json` that belongs to a detector."""

    shape: _Shape
    # Detectors that were saved before they could be regularised have none.
    architecture: dict[str, Any] = {}
    method: Literal["forecast", "reconstruction"]
    keys: list[str]
    memory: _Size
    tails: Annotated[list[tuple[_Above, float]], Field(min_length=len(EVIDENCE), max_length=len(EVIDENCE))]
    quiet: _Size
    threshold: Annotated[float, Field(ge=0)] | None
    columns: dict[str, Any]
    label: str
    train: Annotated[int | float, Field(gt=0)]
    frequency: dict[str, Any]
    time_kind: dict[str, Any]
    record: dict[str, Any]
    source: str


def fitted_to_data(fitted: FittedDetector) -> tuple[dict[str, Any], Arrays, Arrays]:
    """Write a fitted detector as JSON values, weights and proof.

    Args:
        fitted: what fitting found.

    Returns:
        `{"fitted": …}`; arrays named `network.…`, `series.…`, `usual.…`, `time.…`, `state.0.…`; and the
        proof: what is expected of a made-up series, and its scores.
    """
    usual = fitted.usual
    model = _Fitted(
        shape=_Shape(**fitted.network.shape.to_dict()),
        architecture=fitted.network.architecture.to_dict(),
        method=fitted.method,
        keys=list(fitted.series.keys),
        memory=usual.memory,
        tails=[(tail.scale, tail.shape) for tail in usual.tails],
        quiet=fitted.rule.quiet,
        threshold=fitted.rule.threshold if isinstance(fitted.rule, CalibratedRule) else None,
        columns=asdict(fitted.columns),
        label=fitted.label,
        train=fitted.train,
        frequency=asdict(fitted.frequency),
        time_kind=asdict(fitted.time_kind),
        record=fitted.record.to_dict(),
        source=fitted.source,
    )
    weights: Arrays = {
        f"network.{name}": tensor.numpy() for name, tensor in fitted.network.state_dict().items()
    }
    weights |= {"series.mean": fitted.series.mean, "series.deviation": fitted.series.deviation}
    weights |= {f"usual.{name}": getattr(usual, name) for name in _PER_CHANNEL}
    weights["usual.tails"] = np.stack([tail.body for tail in usual.tails])
    if usual.mixing is not None:
        weights["usual.mixing"] = usual.mixing
    weights |= {"time.ends": fitted.ends.astype(np.int64), "time.last": fitted.last_times.astype(np.int64)}
    for number, state in enumerate(fitted.states):
        weights |= {f"state.{number}.{name}": array for name, array in state_to_arrays(state).items()}
    plain = {name: np.ascontiguousarray(array) for name, array in weights.items()}
    return {"fitted": model.model_dump(mode="json")}, plain, _proof(fitted)


def fitted_from_data(model: dict[str, Any], weights: Arrays, proof: Arrays) -> FittedDetector:
    """Read what `fitted_to_data` wrote, and check the model against its proof.

    Raises:
        ModelFileError: a field or an array is missing, unknown, or of the wrong shape; or the answers are not
            those of the proof.
    """
    with reading_model():
        return _read(_Fitted.model_validate(model.get("fitted")), weights, proof)


def _read(model: _Fitted, weights: Arrays, proof: Arrays) -> FittedDetector:
    network = _network(model, part_of(weights, "network"))
    channels, series = model.shape.channels, len(model.keys)
    kind = TimeKind(**model.time_kind)
    groups: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in model.columns.items()
    }
    columns = Columns(**groups)
    wanted: dict[str, tuple[int, ...]] = {
        "series.mean": (series, channels),
        "series.deviation": (series, channels),
    }
    wanted |= {f"usual.{name}": (channels,) for name in _PER_CHANNEL}
    wanted |= {"usual.tails": (len(EVIDENCE), 46), "usual.mixing": (channels, channels)}
    wanted |= {"time.ends": (series,), "time.last": (series,)}
    if len(columns.features) != channels or not series:
        raise not_together(f"{channels} channels, the columns {columns.features}, {series} series")
    for name, shape in wanted.items():
        if name in weights or name != "usual.mixing":
            _check_array(name, weights[name], shape)
    usual = Usual(
        **{name: weights[f"usual.{name}"] for name in _PER_CHANNEL},
        mixing=weights.get("usual.mixing"),
        memory=model.memory,
        tails=tuple(
            Tail(body, scale, shape)
            for body, (scale, shape) in zip(weights["usual.tails"], model.tails, strict=True)
        ),
    )
    fitted = FittedDetector(
        network=network,
        method=model.method,
        series=SeriesScale(tuple(model.keys), weights["series.mean"], weights["series.deviation"]),
        usual=usual,
        rule=_rule(model),
        columns=columns,
        label=model.label,
        train=model.train,
        frequency=Frequency(**model.frequency),
        time_kind=kind,
        ends=_times(weights["time.ends"], kind),
        last_times=_times(weights["time.last"], kind),
        states=(),
        record=TrainingRecord.from_dict(model.record),
        source=model.source,
    )
    fitted = replace(fitted, states=tuple(_states(fitted, weights)))
    _check_names(weights, wanted, series)
    if model.shape.calendar != 2 * len(fitted.calendar):
        raise not_together(f"{model.shape.calendar} calendar features, expected {2 * len(fitted.calendar)}")
    found = _proof(fitted)
    for name, array in found.items():
        if name not in proof or proof[name].shape != array.shape:
            raise not_together(f"proof.safetensors lacks {name!r}, or it is of another shape")
        check_proof(array, proof[name], "proof.safetensors")
    return fitted


def _states(fitted: FittedDetector, weights: Arrays) -> list[Any]:
    start = fitted.start()
    try:
        return [
            state_from_arrays(part_of(weights, f"state.{number}"), start)
            for number in range(len(fitted.series.keys))
        ]
    except DataError as error:
        raise not_together(str(error)) from error


def _rule(model: _Fitted) -> AlarmRule:
    if model.threshold is None:
        return DynamicRule(model.quiet)
    return CalibratedRule(model.threshold, model.quiet)


def _network(model: _Fitted, arrays: Arrays) -> DetectorNetwork:
    architecture = Architecture.from_dict(model.architecture)
    shape = NetworkShape(**model.shape.model_dump() | {"widths": tuple(model.shape.widths)})
    # Built without memory first: what model.json claims is compared with what the file has.
    with torch.device("meta"):
        claimed = {
            name: tensor.shape
            for name, tensor in make_network(model.method, shape, architecture).state_dict().items()
        }
    for name in sorted(claimed.keys() | arrays.keys()):
        if name not in claimed:
            raise not_together(f"network.{name} belongs to no such network")
        _check_array(f"network.{name}", arrays[name], tuple(claimed[name]))
    network = make_network(model.method, shape, architecture)
    network.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in arrays.items()})
    return network.eval()


def _check_array(name: str, array: npt.NDArray[Any], shape: tuple[int, ...]) -> None:
    kinds = "i" if name.startswith("time.") else "f"
    if array.shape != shape or array.dtype.kind != kinds or not np.isfinite(array).all():
        raise not_together(f"{name} is {array.dtype} {array.shape}, expected finite {shape}")


def _check_names(weights: Arrays, wanted: dict[str, Any], series: int) -> None:
    for name in weights:
        group, *rest = name.split(".")
        known = group == "network" or name in wanted
        known |= group == "state" and len(rest) > 1 and rest[0] in map(str, range(series))
        if not known:
            raise not_together(f"there is an unknown array {name!r}")


def _times(array: npt.NDArray[Any], kind: TimeKind) -> npt.NDArray[Any]:
    return array if kind.kind == "integer" else array.astype("datetime64[us]")


def _proof(fitted: FittedDetector) -> Arrays:
    """Run over a made-up series: waves around the mean of the first one, with a jump at the end."""
    steps = np.arange(_PROOF_STEPS + fitted.network.shape.window)[:, None]
    waves = np.sin(steps * (1 + np.arange(fitted.network.shape.channels)) / 7) + 9.0 * (steps > steps[-4])
    calendar = np.zeros((len(steps), fitted.network.shape.calendar))
    values = fitted.series.mean[0] + fitted.series.deviation[0] * waves
    found, _ = fitted.run(0, values, calendar, fitted.start())
    return {"expected": np.nan_to_num(found.expected), "score": np.nan_to_num(found.scored.score)}
