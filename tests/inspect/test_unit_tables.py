"""Units that idle are named, and the distributions are those of the values."""

from __future__ import annotations

import numpy as np
import polars as pl
import torch
from inspected import LENGTHS, C, Reader, close, subject_of

from gatestack.inspect import inspect_subject
from gatestack.nn import GRU, LSTM, RNN


def reader_with(layer: torch.nn.Module, **blocks: tuple[int, float]) -> Reader:
    """A reader whose layer has a bias of `value` in one gate of one unit: `input=(unit, value)`."""
    reader = Reader(layer)
    order = {"input": 0, "forget": 1, "candidate": 2, "output": 3, "update": 1, "state": 0}
    with torch.no_grad():
        for gate, (unit, value) in blocks.items():
            reader.stack.layers[0].bias_ih_l0[order[gate] * layer.hidden_size + unit] = value
    return reader


def test_gates_that_never_open_are_named_per_unit() -> None:
    reader = reader_with(LSTM(4), input=(1, -20.0), output=(3, -20.0))
    units = inspect_subject(subject_of(reader)).tables["units"]
    assert units["never_opens"].to_list() == ["", "input", "", "output"]
    # Nothing is shown behind a closed output gate, nor carried where nothing is ever written.
    assert units["dead"].to_list() == [False, True, False, True]


def test_an_update_gate_that_keeps_everything_never_lets_anything_in() -> None:
    units = inspect_subject(subject_of(reader_with(GRU(3), update=(2, 20.0)))).tables["units"]
    assert units["never_opens"].to_list() == ["", "", "1 - update"]
    assert units["dead"].to_list() == [False, False, True]


def test_saturated_units_are_named_and_a_relu_has_no_end_of_its_range() -> None:
    units = inspect_subject(subject_of(reader_with(RNN(3), state=(1, 30.0)))).tables["units"]
    assert units["saturated"].to_list() == [False, True, False]
    units = inspect_subject(subject_of(reader_with(RNN(3, activation="relu"), state=(1, 30.0)))).tables[
        "units"
    ]
    assert units["saturated"].to_list() == [None, None, None]


def test_statistics_and_distributions_are_those_of_all_real_steps() -> None:
    subject = subject_of(Reader(LSTM(4, bidirectional=True)), lengths=LENGTHS)
    found = inspect_subject(subject, shown=len(LENGTHS)).tables
    for direction in ("forward", "reverse"):
        steps = found["gates"].filter(direction=direction)
        assert steps.height == 4 * sum(LENGTHS)
        for quantity in ("input", "forget", "candidate", "cell", "hidden"):
            spread = found["distributions"].filter(direction=direction, quantity=quantity)
            edges = [*spread["from"], spread["to"][-1]]
            counts, _ = np.histogram(steps[quantity].to_numpy(), bins=edges)
            close(spread["share"].sum(), 1.0)
            close(spread["share"], counts / steps.height)
            rows = found["gate_statistics"].filter(direction=direction, quantity=quantity)
            wanted = steps.group_by("unit", maintain_order=True).agg(
                pl.col(quantity).mean().alias("mean"),
                pl.col(quantity).std(ddof=0).alias("deviation"),
                pl.col(quantity).min().alias("least"),
                (pl.col(quantity) < 0.1).mean().alias("closed"),
                (pl.col(quantity) > 0.9).mean().alias("open"),
            )
            for column in ("mean", "deviation", "least"):
                close(rows[column], wanted[column])
            if quantity in ("input", "forget"):
                close(rows["closed"], wanted["closed"])
                close(rows["open"], wanted["open"])
            else:
                assert rows["closed"].null_count() == rows.height


def test_steps_of_different_cells_stand_in_one_table() -> None:
    found = inspect_subject(subject_of(Reader(LSTM(4), GRU(3), RNN(2), features=C))).tables["gates"]
    present = {
        layer: {name for name in ("forget", "update", "cell", "hidden") if part[name].null_count() == 0}
        for (layer,), part in found.group_by("layer")
    }
    assert present == {1: {"forget", "cell", "hidden"}, 2: {"update", "hidden"}, 3: {"hidden"}}
