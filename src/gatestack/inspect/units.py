"""What the gates of each unit do over all sequences: their range, their distribution, and units that idle.

Thresholds, all of them shares of a range from 0 to 1:

    closed, open       a gate below 0.1, above 0.9
    never opens        a gate that is below 0.1 at every step
    saturated          tanh of the cell state (of an LSTM), or the state h, beyond ±0.99 at 95 % of the steps;
                       not asked of a function whose range is another one
    dead               the state h has a standard deviation below 0.01 over all steps and sequences

Source:
    Karpathy, Johnson & Li 2015, "Visualizing and Understanding Recurrent Networks" (the thresholds 0.1 and
    0.9 of a gate, there called left and right saturated).
"""

from __future__ import annotations

import polars as pl
import torch
from torch import Tensor

from gatestack.inspect.opening import DirectionRun
from gatestack.nn.activations import ACTIVATIONS

__all__ = ["CLOSED", "OPEN", "distribution_table", "gate_table", "step_table", "unit_table"]

CLOSED, OPEN = 0.1, 0.9
SATURATED, SATURATED_SHARE, DEAD = 0.99, 0.95, 0.01
_BINS = 20

# Functions whose values lie between −1 and 1.
_BOUNDED = ("tanh", "softsign", "hard_tanh")
_GATES = ("input", "forget", "output", "reset", "update")
# An update gate keeps: what never opens is its complement, which lets something new in.
_OPENINGS = {"update": "1 - update"}


def step_table(run: DirectionRun, names: tuple[str, ...], shown: int) -> pl.DataFrame:
    """Give every quantity of every unit at every step of the first sequences, in the order of time.

    Of the images of a convolutional layer it is the position in the middle.

    Args:
        run: of a layer.
        names: of the sequences.
        shown: number of sequences.

    Returns:
        A row per sequence, step (from 0) and unit; a column per quantity, null where the cell has none.
    """
    parts = []
    for row, name in enumerate(names[:shown]):
        at = row * run.positions + run.shown
        steps = int(run.lengths[at])
        values = {
            quantity: run.in_time(gate)[at, :steps].reshape(-1).numpy()
            for quantity, gate in run.gates.items()
        }
        units = run.spec.hidden_size
        parts.append(
            pl.DataFrame(
                {
                    "sequence": [name] * (steps * units),
                    **_labels(run, steps * units),
                    "step": torch.arange(steps).repeat_interleave(units).numpy(),
                    "unit": torch.arange(units).repeat(steps).numpy(),
                    **values,
                }
            )
        )
    return pl.concat(parts)


def gate_table(run: DirectionRun) -> pl.DataFrame:
    """Give mean, range, and the shares of closed and open steps of every quantity of every unit."""
    parts = []
    for quantity, values in run.gates.items():
        seen = values[run.real]  # -> (real steps, H)
        gate = quantity in _GATES
        parts.append(
            pl.DataFrame(
                {
                    **_labels(run, seen.shape[1]),
                    "unit": range(seen.shape[1]),
                    "quantity": [quantity] * seen.shape[1],
                    "mean": seen.mean(dim=0).numpy(),
                    "least": seen.amin(dim=0).numpy(),
                    "largest": seen.amax(dim=0).numpy(),
                    "deviation": seen.std(dim=0, correction=0).numpy(),
                    "closed": (seen < CLOSED).double().mean(dim=0).numpy() if gate else None,
                    "open": (seen > OPEN).double().mean(dim=0).numpy() if gate else None,
                },
                schema_overrides={"closed": pl.Float64, "open": pl.Float64},
            )
        )
    return pl.concat(parts)


def unit_table(run: DirectionRun) -> pl.DataFrame:
    """Say which units are dead, saturated, or have a gate that never opens; the module has the thresholds."""
    hidden = run.gates["hidden"][run.real]
    squash = run.opened.functions.squash
    squashed = ACTIVATIONS[squash](run.gates["cell"][run.real]) if run.opened.carries_cell else hidden
    units = hidden.shape[1]
    bounded = squash in _BOUNDED
    never: list[list[str]] = [[] for _ in range(units)]
    for quantity in _GATES:
        if quantity not in run.gates:
            continue
        seen = run.gates[quantity][run.real]
        opening = 1 - seen if quantity in _OPENINGS else seen
        for unit in torch.nonzero(opening.amax(dim=0) < CLOSED).flatten().tolist():
            never[unit].append(_OPENINGS.get(quantity, quantity))
    far = (squashed.abs() > SATURATED).double().mean(dim=0) >= SATURATED_SHARE
    return pl.DataFrame(
        {
            **_labels(run, units),
            "unit": range(units),
            "dead": (hidden.std(dim=0, correction=0) < DEAD).numpy(),
            "saturated": far.numpy() if bounded else [None] * units,
            "never_opens": [", ".join(names) for names in never],
            "deviation": hidden.std(dim=0, correction=0).numpy(),
        },
        schema_overrides={"saturated": pl.Boolean},
    )


def distribution_table(run: DirectionRun) -> pl.DataFrame:
    """Count how often each gate, over all units and steps, lies in each of 20 parts of its range."""
    parts = []
    for quantity, values in run.gates.items():
        seen = values[run.real].reshape(-1)
        low, high = _range(quantity, seen)
        counts = torch.histc(seen, bins=_BINS, min=low, max=high)
        edges = torch.linspace(low, high, _BINS + 1, dtype=torch.float64)
        parts.append(
            pl.DataFrame(
                {
                    **_labels(run, _BINS),
                    "quantity": [quantity] * _BINS,
                    "from": edges[:-1].numpy(),
                    "to": edges[1:].numpy(),
                    "share": (counts / len(seen)).numpy(),
                }
            )
        )
    return pl.concat(parts)


def _range(quantity: str, seen: Tensor) -> tuple[float, float]:
    low, high = float(seen.min()), float(seen.max())
    if quantity in _GATES and low >= 0 and high <= 1:
        return 0.0, 1.0
    reach = max(1.0, -low, high)
    return -reach, reach


def _labels(run: DirectionRun, rows: int) -> dict[str, list[object]]:
    return {"layer": [run.place.number] * rows, "direction": [run.direction] * rows}
