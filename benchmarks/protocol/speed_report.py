"""The committed page of the speed benchmark."""

from __future__ import annotations

from statistics import median
from typing import Any

from protocol.contenders import GATESTACK
from protocol.machine import machine_words
from protocol.tables import markdown_table

__all__ = ["speed_page"]

_HEAD = """\
# Speed and memory of a fit

What to know before reading the numbers:

- The contenders do not compute the same: Gatestack's loss looks at 16 steps of each window, the peers' at one
  forecast per window, and NHITS has no recurrence. The table says what one update costs, not what it teaches;
  for that see [forecast_accuracy.md](forecast_accuracy.md).
- Seconds per update are the mean over a fit, without the first 20 updates, inside the library's own loop:
  data loading, hooks, the start of epochs and Gatestack's validation are in it, imports and set-up are not.
- Gatestack takes denormal numbers as zero while it trains; the peers run as they come.
- Each fit is a process of its own; the contenders take turns, and the first one changes every round. Other
  work ran on the machine: read the ratios and the spread, not the milliseconds.
"""


def _spread(values: list[float], unit: float = 1.0, digits: int = 1) -> str:
    low, middle, high = (f"{x * unit:.{digits}f}" for x in (min(values), median(values), max(values)))
    return f"{middle} ({low}–{high})"


def _peers(part: dict[str, Any]) -> str:
    contenders = part["contenders"]
    own = contenders[GATESTACK.label]["seconds_per_update"]
    rows = [
        [
            label,
            _spread(row["seconds_per_update"], 1e3),
            _spread(
                [theirs / ours for theirs, ours in zip(row["seconds_per_update"], own, strict=True)], 1, 2
            ),
            _spread(row["fit_seconds"]),
            f"{row['parameters']:,}",
            str(row["loss"]),
        ]
        for label, row in sorted(contenders.items(), key=lambda item: median(item[1]["seconds_per_update"]))
    ]
    rounds = len(next(iter(contenders.values()))["seconds_per_update"])
    packages = sorted({f"{name} {v}" for row in contenders.values() for name, v in row["packages"].items()})
    return "\n\n".join(
        [
            "## Against the peers",
            "ETTh1 (OT), window 96, horizon 24, two recurrent layers of 64, 32 windows per update, float32. "
            f"{part['updates']} updates per fit, {rounds} rounds, {part['threads']} thread. "
            "Median over rounds, in brackets the lowest and the highest. The third column divides by the "
            "time of Gatestack in the same round: below 1 is faster than Gatestack.",
            markdown_table(
                ["model", "ms per update", "relative to Gatestack", "whole fit, s", "parameters", "loss"],
                rows,
            ),
            f"{machine_words(part['machine'])}. {', '.join(packages)}.",
        ]
    )


def _loop(part: dict[str, Any]) -> str:
    rows = []
    for label, name in (("loop by hand", "by_hand"), ("`gatestack.training.train`", "gatestack")):
        wall, thread = ([block[clock] for block in part[name]] for clock in (0, 1))
        rows.append([label, _spread(wall, 1e3, 2), _spread(thread, 1e3, 2)])
    over = []
    for clock in (0, 1):
        pairs = zip(part["gatestack"], part["by_hand"], strict=True)
        over.append(sorted(100 * (ours[clock] / hand[clock] - 1) for ours, hand in pairs))
    rows.append(
        ["ours over the loop by hand", *(f"{median(x):+.1f} % ({x[0]:+.1f} to {x[-1]:+.1f})" for x in over)]
    )
    return "\n\n".join(
        [
            "## Against a loop written by hand",
            "The same torch network (two LSTM layers of 64, window 96, horizon 24), loss, batches of 32, "
            "fused AdamW and clipping in both; after 20 updates both have the same weights. "
            f"{len(part['by_hand'])} blocks of {part['updates_per_block']} updates each, in turns, in one "
            "process; per block the median update. The last row compares the two blocks of each round: the "
            "median of the rounds, in brackets the lowest and the highest. The second column counts the time "
            "of the thread alone, which other work on the machine disturbs less: it is the one to read.",
            markdown_table(["", "ms per update", "ms of CPU per update"], rows),
            f"{machine_words(part['machine'])}.",
        ]
    )


def _memory(part: dict[str, Any]) -> str:
    rows = [
        ["the table in memory", f"{part['table'] / 1e9:.2f}"],
        ["peak of the process after imports and a tiny fit", f"{part['imported'] / 1e9:.2f}"],
        ["peak after reading the table", f"{part['read'] / 1e9:.2f}"],
        ["peak after the fit", f"{part['fitted'] / 1e9:.2f}"],
        [
            "peak without the imports, as a multiple of the table",
            f"{(part['fitted'] - part['imported']) / part['table']:.2f}",
        ],
    ]
    return "\n\n".join(
        [
            "## Memory of a fit",
            "A generated table of 1000 hourly series (number of the series, time, value: 24 bytes a row), "
            "held as a Polars frame while it is fitted.",
            markdown_table(["", "GB"], rows),
        ]
    )


def speed_page(table: dict[str, Any]) -> str:
    """Markdown of all parts that have been measured."""
    sections = [
        make(table[name])
        for name, make in (("peers", _peers), ("loop", _loop), ("memory", _memory))
        if name in table
    ]
    again = "Again: `python benchmarks/fit_speed.py`."
    return "\n\n".join([_HEAD.rstrip(), *sections, "## How to repeat it", again]) + "\n"
