"""The inspection of a subject, from one run on the fast path to every table."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn

from gatestack.errors import check_whole
from gatestack.inspect.gradient_flow import gradient_table
from gatestack.inspect.initialised import initialised_scales
from gatestack.inspect.input_worth import attribution_tables, occlusion_table
from gatestack.inspect.inspection import Inspection
from gatestack.inspect.layer_worth import worth_table
from gatestack.inspect.opening import DirectionRun, open_gates
from gatestack.inspect.probes import FEWEST, probe_table
from gatestack.inspect.recording import LayerCall, Place, calls_of, closed_layers, find_places
from gatestack.inspect.sentences import make_sentences
from gatestack.inspect.subject import Subject
from gatestack.inspect.time_scales import changed_inputs, reads_the_inputs, scales_of
from gatestack.inspect.units import (
    CLOSED,
    DEAD,
    OPEN,
    SATURATED,
    SATURATED_SHARE,
    distribution_table,
    gate_table,
    step_table,
    unit_table,
)

__all__ = ["inspect_subject"]

_ADDS_UP = 0.01
_NOTHING = 1e-9  # a change of the answer that is rounding


@torch.enable_grad()  # whatever surrounds the call
def inspect_subject(subject: Subject, *, shown: int = 3) -> Inspection:
    """Look into a network.

    Args:
        subject: the network, what it reads, (N, T, C), and what its answers are worth.
        shown: number of sequences whose gates are kept step by step, 1 or more; everything else is told of
            all sequences.

    Returns:
        Tables and sentences.

    Raises:
        ArgumentError: there is no recurrent layer whose gates can be opened.

    Example:
        >>> from gatestack.inspect import Outcome
        >>> from gatestack.nn import LSTM, Stack
        >>> network = Stack(LSTM(4), input_size=2)
        >>> subject = Subject(
        ...     title="a stack",
        ...     network=network,
        ...     inputs=torch.randn(8, 10, 2),
        ...     run=lambda network, x: Outcome(network(x)[0][:, -1].sum(dim=1)),
        ...     features=("a", "b"),
        ...     sequences=tuple("12345678"),
        ... )
        >>> inspect_subject(subject).table("gates").shape
        (120, 13)
    """
    check_whole("shown", shown, owner="inspect_subject")
    network = copy.deepcopy(subject.network).double().eval()
    inputs = subject.inputs.double() if subject.continuous else subject.inputs
    with torch.no_grad():
        places = find_places(network, lambda: subject.run(network, inputs), subject.backwards)
        calls = calls_of(subject.run, network, places, inputs)
    notes = [
        f"{name} is a cell made of several, and has gates that are not opened here: the same cells as layers "
        "of a Stack can be looked into"
        for name in closed_layers(network)
    ]
    tables, states = _opened(subject, network, places, calls, inputs, shown, notes)
    tables["initialised_time_scales"] = initialised_scales(subject, network, places, inputs)
    tables["gradient_flow"] = gradient_table(subject, network, places, inputs)
    with torch.no_grad():
        scored = subject.run(network, inputs).loss is not None
    if scored:
        tables["layer_worth"] = worth_table(subject, network, places, calls, inputs)
    else:
        notes.append("the worth of the layers is not known: there is no truth to score against")
    _probe(subject, states, tables, notes)
    if subject.continuous:
        tables["attributions"], tables["completeness"] = attribution_tables(subject, network, inputs)
        notes += _incomplete(tables["completeness"])
        tables["occlusion"] = occlusion_table(subject, network, inputs)
    else:
        notes.append("the worth of the inputs is not known: whole numbers cannot be changed a little")
    lengths = subject.real_lengths
    return Inspection(
        title=subject.title,
        sentences=tuple(make_sentences(subject, tables)),
        notes=tuple(dict.fromkeys(notes)),  # both directions of a layer say the same
        settings={
            "sequences": len(inputs),
            "steps": [int(lengths.min()), int(lengths.max())],
            "shown": list(subject.sequences[:shown]),
            "closed below": CLOSED,
            "open above": OPEN,
            "saturated": f"beyond {SATURATED} at {SATURATED_SHARE:.0%} of the steps",
            "dead": f"deviation below {DEAD}",
        },
        words={"answer": subject.answer, "loss": subject.loss, "step": subject.steps},
        tables=tables,
    )


def _opened(
    subject: Subject,
    network: nn.Module,
    places: Sequence[Place],
    calls: dict[str, LayerCall],
    inputs: Tensor,
    shown: int,
    notes: list[str],
) -> tuple[dict[str, pl.DataFrame], list[tuple[int | None, Tensor]]]:
    """Open the gates layer by layer, so that only one layer's gates are held -> tables, last states."""
    moved, at = None, None
    if subject.continuous:
        other, at = changed_inputs(subject, inputs)
        with torch.no_grad():
            moved = calls_of(subject.run, network, places, other)
    parts: dict[str, list[pl.DataFrame]] = {}
    states: dict[int, list[Tensor]] = {}
    for place in places:
        runs = open_gates(place, calls[place.path])
        states.setdefault(place.number, []).extend(run.final for run in runs)
        if runs[0].space:
            notes.append(_about_images(runs[0]))
        again = None if moved is None else open_gates(place, moved[place.path])
        if moved and not reads_the_inputs(subject, runs):
            notes.append(
                f"{place.name} reads other steps than those of the inputs: how a change fades is not known"
            )
        for run, scales in zip(runs, scales_of(subject, runs, again, at), strict=True):
            for name, table in {
                "layers": _layer_row(run),
                "gates": _all_columns(step_table(run, subject.sequences, shown)),
                "gate_statistics": gate_table(run),
                "distributions": distribution_table(run),
                "units": unit_table(run),
                "time_scales": scales,
            }.items():
                parts.setdefault(name, []).append(table)
    joined = {name: pl.concat(tables, how="vertical_relaxed") for name, tables in parts.items()}
    return joined, [(number, torch.cat(finals, dim=1)) for number, finals in states.items()]


def _incomplete(table: pl.DataFrame) -> list[str]:
    """Say for how many sequences integrated gradients do not add up."""
    change = float(table["change"].abs().to_numpy().max())
    off = int((table["error"] > max(_ADDS_UP * change, _NOTHING)).sum())
    if not off:
        return []
    return [
        f"the integrated gradients of {off} of {table.height} sequences do not add up to the change of the "
        f"answer within {_ADDS_UP:.0%} of the largest one: the answer jumps on the way from the average to "
        "the actual inputs; there, trust occlusion"
    ]


def _layer_row(run: DirectionRun) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "layer": [run.place.number],
            "direction": [run.direction],
            "path": [run.place.path],
            "cell": [run.opened.cell],
            "activation": [run.opened.functions.squash],
            "gate_activation": [run.opened.functions.gate if run.spec.gates > 1 else None],
            "units": [run.spec.hidden_size],
            "outputs": [run.spec.output_size],
            "inputs": [run.spec.input_size],
            "projection": [run.spec.projection_size > 0],
            "peepholes": [run.spec.peepholes],
            "layer_norm": [run.spec.layer_norm],
            "positions": [run.positions],
            "difference": [run.difference],
        },
        schema_overrides={"gate_activation": pl.String},
    )


def _about_images(run: DirectionRun) -> str:
    count = int(torch.Size(run.space).numel())
    middle = ", ".join(str(size // 2) for size in run.space)
    return (
        f"the states of {run.place.name} are images of {' × '.join(map(str, run.space))} positions, and a "
        f"unit is a channel: step by step its gates are those at ({middle}), all else is of "
        f"{'all' if run.positions == count else run.positions} positions"
    )


_STEP_COLUMNS = ("input", "forget", "candidate", "output", "cell", "reset", "update", "hidden")


def _all_columns(steps: pl.DataFrame) -> pl.DataFrame:
    """Give the columns of all cells; those that this one lacks are null."""
    absent = [pl.lit(None, pl.Float64).alias(name) for name in _STEP_COLUMNS if name not in steps.columns]
    labels = ["sequence", "layer", "direction", "step", "unit"]
    return steps.with_columns(absent).select(*labels, *_STEP_COLUMNS)


def _probe(
    subject: Subject,
    states: list[tuple[int | None, Tensor]],
    tables: dict[str, pl.DataFrame],
    notes: list[str],
) -> None:
    if subject.truth is None:
        notes.append("there are no probes: no truth is known")
        return
    read = [(layer, state.numpy()) for layer, state in states]
    if subject.continuous:
        read.insert(0, (None, _of_inputs(subject)))
    found = probe_table(read, subject.truth)
    if found is None:
        notes.append(
            f"there are no probes: they need {FEWEST} sequences, and five of each class or values that differ"
        )
    else:
        tables["probes"] = found


def _of_inputs(subject: Subject) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Give mean and last step of each feature, (N, 2·C)."""
    inputs, lengths = subject.inputs.double(), torch.from_numpy(subject.real_lengths)
    real = torch.arange(inputs.shape[1]) < lengths[:, None]
    mean = inputs.masked_fill(~real[..., None], 0.0).sum(dim=1) / lengths[:, None]
    last = inputs[torch.arange(len(inputs)), lengths - 1]
    return torch.cat([mean, last], dim=1).numpy()
