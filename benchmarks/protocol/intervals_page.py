"""The page of `intervals.py`: coverage, width and sCRPS of each kind of interval."""

from __future__ import annotations

import statistics
from typing import Any

from protocol.machine import machine_words
from protocol.tables import markdown_table

__all__ = ["intervals_page"]

NAMES = {
    "demo": "seattle_weather (the demo)",
    "ETTh1": "ETTh1",
    "vic_electricity": "vic_electricity",
    "m4_hourly": "m4_hourly",
    "beijing_pm25": "beijing_pm25",
}


def _spread(values: list[float], digits: int, factor: float = 1.0) -> str:
    mean = f"{factor * statistics.mean(values):.{digits}f}"
    if len(values) < 2:
        return mean
    return f"{mean} ({factor * min(values):.{digits}f}–{factor * max(values):.{digits}f})"


def _section(rows: list[dict[str, Any]], name: str) -> str:
    """The table of one data set in one split: a row per kind, means over the seeds with their range."""
    own = [row for row in rows if row["set"] == name]
    kinds = list(dict.fromkeys(row["kind"] for row in own))
    levels = [f"{interval['level']:g}" for interval in own[0]["intervals"]]
    lines = []
    for kind in kinds:
        part = [row for row in own if row["kind"] == kind]
        cells = [kind]
        for place in range(len(levels)):
            cells.append(_spread([row["intervals"][place]["coverage"] for row in part], 1, 100))
        widest = [row["intervals"][-1] for row in part]
        ends = [
            f"{100 * statistics.mean(interval[f'coverage_{end}'] for interval in widest):.1f}"
            for end in ("first", "last")
        ]
        width = statistics.mean(
            interval["width"] / row["level"] for interval, row in zip(widest, part, strict=True)
        )
        crps = _spread([row["scaled_crps"] for row in part], 4)
        lines.append([*cells, " … ".join(ends), f"{width:.3f}", crps])
    baselines = {
        label: statistics.mean(row["baselines"][label] for row in own) for label in own[0]["baselines"]
    }
    best = min(baselines, key=lambda label: baselines[label])
    head = ["intervals", *(f"in {level} %" for level in levels)]
    head += [f"in {levels[-1]} %, first … last step", f"width of {levels[-1]} %", "sCRPS"]
    count = len({row["seed"] for row in own})
    seeds = f"{count} seed{'s' * (count > 1)}"
    return (
        f"### {NAMES[name]}\n\n{own[0]['origins']} origins, {own[0]['horizon']} steps ahead, {seeds}. "
        f"The best baseline, {best.replace('_', ' ')}, has an sCRPS of {baselines[best]:.4f} as a point.\n\n"
        f"{markdown_table(head, lines)}\n"
    )


def intervals_page(table: dict[str, Any]) -> str:
    """Write the page from the rows that `intervals.py` kept."""
    parts = []
    for split, title in (("test", "Test parts"), ("training", "Training parts, on which was chosen")):
        rows = [row for row in table["rows"] if row["split"] == split]
        sections = [_section(rows, name) for name in NAMES if any(row["set"] == name for row in rows)]
        if sections:
            parts.append(f"## {title}\n\n" + "\n".join(sections))
    absent = [label for name, label in NAMES.items() if not any(row["set"] == name for row in table["rows"])]
    lacks = f"Not run here: {', '.join(absent)}.\n\n" if absent else ""
    return f"""# Intervals: of the model, conformal, adaptive

How often the truth lay inside intervals that should hold it in 50, 80 and 90 % of the cases; the width of
the widest, divided by the mean size of the values; the scaled CRPS (lower is better). Means over the seeds,
with the lowest and the highest. The rows of a seed share one fit, whose medians are the same: its intervals
as they were learned ("model"), corrected once ("conformal"), and corrected further by what came true
("adaptive").

An earlier form, which calibrated on a tenth of its own, was scored once on the test part of seattle_weather
before the two were compared on its training part.

{lacks}{chr(10).join(parts)}
Machine: {machine_words(table["machine"])}. One thread. `python benchmarks/intervals.py` repeats it.
"""
