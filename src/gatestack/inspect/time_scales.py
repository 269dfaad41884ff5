r"""How long each unit remembers, measured in two independent ways, and whether higher layers remember longer.

From its gate: with f_t the share that unit u keeps of its carried state at step t (the forget gate of an
LSTM, the update gate of a GRU), what it carries falls by ∏ f_t, so that over many steps

    τ_u = −1 / mean_t ln f_t                  steps until 37 % (1/e) is left, if nothing is written

From a change: one step of the network's input is moved by a little ε, the network is run again, and with
Δ_u(k) the root mean square over the sequences of the change of what unit u carries, k steps later,

    τ_u = steps from the lag at which Δ_u is largest until it has fallen to Δ_u / e

interpolated between steps as an exponential, so that a change that decays by a factor f each step gives
exactly −1 / ln f. Where that never happens within the sequences τ_u is not known, only that it is longer
than what was seen. In a layer above the lowest the change arrives through the layers below.

Source:
    Hermans & Schrauwen 2013, "Training and Analysing Deep Recurrent Neural Networks" (a change of the
    input, and how long each layer remembers it).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from torch import Tensor

from gatestack.inspect.opening import DirectionRun
from gatestack.inspect.subject import Subject

__all__ = [
    "LayerTrend",
    "changed_inputs",
    "fading_steps",
    "gate_steps",
    "layer_trend",
    "reads_the_inputs",
    "scales_of",
    "time_scale_table",
]

_CHANGE = 1e-5  # in deviations of each feature: float64 leaves ten digits of the difference
_FIRST_SHARE = 0.25  # of the sequence lies before the change, so that it does not fall into the start


def gate_steps(run: DirectionRun) -> npt.NDArray[np.float64] | None:
    """Give the time-scale of each unit by its gate, (H,) in steps; None for a layer without such a gate.

    Infinite where nothing is lost: a gate that is 1 throughout, or, with another function than σ, beyond 1.
    """
    if run.kept is None:
        return None
    logarithms = run.kept[run.real].abs().clamp(min=1e-300).log().mean(dim=0)
    found: npt.NDArray[np.float64] = torch.where(logarithms < 0, -1.0 / logarithms, torch.inf).numpy()
    return found


def changed_inputs(subject: Subject, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Move one step of each sequence by a little.

    Args:
        subject: with lengths.
        inputs: (N, T, C) in float64.

    Returns:
        The changed inputs (N, T, C), and which step was changed, (N,).
    """
    at = torch.from_numpy((subject.real_lengths * _FIRST_SHARE).astype(np.int64))
    unit = inputs.flatten(0, 1).std(dim=0, correction=0)
    drawn = torch.Generator().manual_seed(0)
    sign = 2.0 * torch.randint(0, 2, (len(inputs), inputs.shape[2]), generator=drawn) - 1.0
    moved = inputs.clone()
    moved[torch.arange(len(inputs)), at] += _CHANGE * sign * unit.masked_fill(unit == 0, 1.0)
    return moved, at


def fading_steps(before: DirectionRun, after: DirectionRun, at: Tensor) -> npt.NDArray[np.float64]:
    """Give the time-scale of each unit by how a change fades, (H,) in steps.

    Args:
        before: a layer as it ran.
        after: the same layer after the change.
        at: (N,), the step that was changed, in time.

    Returns:
        NaN where a unit did not change at all, infinity where the change did not fade in time.
    """
    if before.direction == "reverse":  # the step of the change in the order in which this direction reads
        at = before.lengths - 1 - at
    change = (after.carried - before.carried).abs()  # -> (N, T, H)
    lags = int((before.lengths - at).max())
    place = at[:, None] + torch.arange(lags)
    real = place < before.lengths[:, None]
    seen = change.gather(
        1, place.clamp(max=change.shape[1] - 1)[..., None].expand(-1, -1, change.shape[2])
    ).masked_fill(~real[..., None], 0.0)
    count = real.sum(dim=0).clamp(min=1)[:, None]
    size = (seen.square().sum(dim=0) / count).sqrt().numpy()  # -> (lags, H)
    # A lag that few sequences reach would be their mean, not that of all.
    size = size[(real.sum(dim=0) >= max(1, len(at) // 2)).numpy()]
    return np.array([_fading(size[:, unit]) for unit in range(size.shape[1])])


def _fading(size: npt.NDArray[np.float64]) -> float:
    peak = int(size.argmax())
    if size[peak] <= 0:
        return float("nan")
    wanted = size[peak] / np.e
    below = np.flatnonzero(size[peak:] <= wanted * (1 + 1e-12))
    if not len(below):
        return float("inf")
    k = int(below[0])
    above, under = size[peak + k - 1], size[peak + k]
    if under <= 0:
        return float(k)
    return k - 1 + float(np.log(above / wanted) / np.log(above / under))


def time_scale_table(run: DirectionRun, fading: npt.NDArray[np.float64] | None) -> pl.DataFrame:
    """Put both time-scales of the units of a layer side by side.

    Args:
        run: of the layer.
        fading: (H,) from `fading_steps`, or None where the inputs cannot be changed.

    Returns:
        A row per unit: `gate_steps`, `change_steps` (null where unknown), and `change_lasts`, True where the
        change did not fade within the sequences.
    """
    units = run.spec.hidden_size
    gates = gate_steps(run)
    nothing = np.full(units, np.nan)
    change = nothing if fading is None else fading
    return pl.DataFrame(
        {
            "layer": [run.place.number] * units,
            "direction": [run.direction] * units,
            "unit": range(units),
            "gate_steps": nothing if gates is None else np.where(np.isinf(gates), np.nan, gates),
            "change_steps": np.where(np.isinf(change), np.nan, change),
            "change_lasts": np.isinf(change),
        }
    ).with_columns(pl.col("gate_steps", "change_steps").fill_nan(None))


def scales_of(
    subject: Subject, runs: Sequence[DirectionRun], changed: Sequence[DirectionRun] | None, at: Tensor | None
) -> list[pl.DataFrame]:
    """Give the time-scales of a layer, a table per direction.

    Args:
        subject: what is inspected.
        runs: of the layer.
        changed: with one step of the inputs changed; None where that is not possible.
        at: which step, (N,); None as well.
    """
    if changed is None or at is None or not reads_the_inputs(subject, runs):
        return [time_scale_table(run, None) for run in runs]
    return [
        time_scale_table(run, fading_steps(run, again, at.repeat_interleave(run.positions)))
        for run, again in zip(runs, changed, strict=True)
    ]


def reads_the_inputs(subject: Subject, runs: Sequence[DirectionRun]) -> bool:
    """Tell whether a layer reads as many steps as the inputs have.

    Where something between has changed the steps, a change of one of them has no place in the layer.
    """
    wanted = subject.real_lengths.tolist()
    return all(run.lengths[:: run.positions].tolist() == wanted for run in runs)


@dataclass(frozen=True)
class LayerTrend:
    """Whether time-scales grow with the number of the layer.

    Attributes:
        rho: Spearman's rank correlation of layer and time-scale over the units, from -1 to 1.
        p: chance of so large a correlation, either way, if layers did not differ and units were independent.
        units: how many there are.
        medians: layer → median time-scale, infinite where half of the units remember longer than was seen.
    """

    rho: float
    p: float
    units: int
    medians: dict[int, float]


def layer_trend(layers: Sequence[int], steps: Sequence[float]) -> LayerTrend | None:
    """Correlate layers and time-scales.

    Args:
        layers: of each unit.
        steps: its time-scale; infinity stands for longer than all that are known, NaN is left out.

    Returns:
        None with fewer than two layers, or where nothing differs.

    Example:
        >>> trend = layer_trend([1, 1, 1, 2, 2, 2], [1.0, 2.0, 3.0, 4.0, 5.0, float("inf")])
        >>> round(trend.rho, 2), trend.medians
        (0.88, {1: 2.0, 2: 5.0})
    """
    from scipy.stats import spearmanr

    number, value = np.asarray(layers), np.asarray(steps, dtype=np.float64)
    number, value = number[~np.isnan(value)], value[~np.isnan(value)]
    if len(np.unique(number)) < 2 or len(np.unique(value)) < 2:
        return None
    medians = {int(one): float(np.median(value[number == one])) for one in np.unique(number)}
    # Ranks are all that count, and a number beyond all others ranks as infinity does.
    finite = value[np.isfinite(value)]
    value = np.where(np.isinf(value), 2 * finite.max(initial=1.0), value)
    found = spearmanr(number, value)
    return LayerTrend(float(found.statistic), float(found.pvalue), len(value), medians)
