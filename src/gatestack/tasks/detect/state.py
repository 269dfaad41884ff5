"""Where a detector stands in a series, as plain arrays that can be stored."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from gatestack.errors import DataError
from gatestack.tasks.detect.alarms import AlarmState
from gatestack.tasks.detect.fitted import DetectorState
from gatestack.tasks.detect.scoring import ScoreState

__all__ = ["state_from_arrays", "state_to_arrays"]

Arrays = dict[str, npt.NDArray[Any]]

_COUNTS = ("above", "raised", "since", "length")


def state_to_arrays(state: DetectorState) -> Arrays:
    """Give everything that is carried from step to step."""
    scores, alarm = state.scores, state.scores.alarm
    arrays: Arrays = {f"network.{name}": tensor.numpy() for name, tensor in state.network.items()}
    arrays |= {"scale": scores.scale, "level": scores.level, "spread": scores.spread}
    arrays["mean"] = np.array([scores.mean])
    arrays["alarm"] = np.array([getattr(alarm, name) for name in _COUNTS], dtype=np.int64)
    arrays["errors"] = alarm.errors
    return {name: np.array(array) for name, array in arrays.items()}


def state_from_arrays(arrays: Arrays, like: DetectorState) -> DetectorState:
    """Read what `state_to_arrays` gave.

    Args:
        arrays: by name.
        like: a state of the same detector, to compare names and shapes with.

    Raises:
        DataError: an array is missing, unknown, or of the wrong shape or type.
    """
    wanted = state_to_arrays(like)
    for name in sorted(wanted.keys() | arrays.keys()):
        found = arrays.get(name)
        expected = wanted.get(name)
        fits = found is not None and expected is not None and found.dtype == expected.dtype
        if name == "errors":
            fits = fits and found is not None and found.ndim == 1
        else:
            fits = fits and found is not None and expected is not None and found.shape == expected.shape
        if not fits:
            raise DataError(
                f"the state has {'no ' if found is None else 'another '}{name!r}",
                where="stream",
                expected="a state of this detector" if expected is not None else f"no {name!r}",
            )
    above, raised, since, length = arrays["alarm"].tolist()
    alarm = AlarmState(bool(above), bool(raised), since, length, np.array(arrays["errors"]))
    parts = {name: np.array(arrays[name]) for name in ("scale", "level", "spread")}
    network = {
        name.removeprefix("network."): torch.from_numpy(np.array(array))
        for name, array in arrays.items()
        if name.startswith("network.")
    }
    return DetectorState(network, ScoreState(**parts, mean=float(arrays["mean"][0]), alarm=alarm))
