"""The page of the benchmark of detectors."""

from __future__ import annotations

import statistics
from typing import Any

from protocol.machine import machine_words
from protocol.tables import markdown_table

__all__ = ["nab_page"]

_COLUMNS = {
    "standard": "standard",
    "few_false_alarms": "few false alarms",
    "few_misses": "few misses",
    "found": "found",
    "false_alarms": "false alarms",
    "vus_pr": "VUS-PR",
    "standard_best_events": "best, events",
    "standard_best_every_step": "best, every row",
}

_INTRODUCTION = """# Detectors on files of the Numenta benchmark

{files} files, {lines:,} rows, {windows} labelled windows; the first 15 % (at most 750 rows) are for \
learning and are not scored. {seeds} seeds: mean (least–most). A fit with the scores of a file took \
{seconds} in the middle, on one thread with much other work beside it. {machine}; torch {torch}. \
Scores of this part do not compare with those of the whole corpus.

## Without labels

The threshold of each detector is set on the tail of its probationary scores, for about one false \
alarm in 2,000 rows: {promised:.0f} in the {scored:,} rows that are scored, if all of these were \
usual. The two "best" columns read the labels: one threshold for all files, the one with the highest \
standard score, with one alarm per event, or with an alarm at every row that reaches it, the \
benchmark's own protocol. "windowed_gaussian" is our own writing of the published idea."""

_PUBLISHED = """## What others published, on the same files

The benchmark's repository holds the scores of other detectors, row by row, and one threshold for \
each profile, chosen with the labels of the whole corpus for the highest score; an alarm is every \
row that reaches it. From these our scoring gives the repository's own scores of each file (largest \
difference {differs:.0e})."""

_READING = """## How to read it

VUS-PR rewards scores that stay high through the whole labelled window, about a tenth of a file; a \
detector that speaks where an anomaly begins earns little by it{examples}. With an alarm at every \
row, detectors of events lose: while an event lasts, each of its rows is anomalous, and outside the \
windows each counts as a false alarm of its own."""

_EXAMPLES = """: among the published ones, CAD OSE has {volume:.3f} with a NAB score of {score:.1f}, \
and windowed Gaussian {other_volume:.3f} with {other_score:.1f}"""


def nab_page(table: dict[str, Any]) -> str:
    """Write the results as Markdown."""
    published = table["published"]
    seconds = " and ".join(
        f"{statistics.median(each):.1f} s ({method})" for method, each in table["seconds"].items()
    )
    parts = [
        _INTRODUCTION.format(
            **{name: table[name] for name in ("files", "lines", "windows", "scored", "torch")},
            seeds=max(map(len, table["rows"].values())),
            seconds=seconds,
            machine=machine_words(table["machine"]),
            promised=table["scored"] / 2000,
        ),
        _table(table["rows"]),
    ]
    examples = ""
    if published:
        differs = max(row["nab_differs"] for row in published.values())
        parts += [_PUBLISHED.format(differs=differs), _table({name: [published[name]] for name in published})]
        one, other = published["CAD OSE"], published["windowed Gaussian"]
        examples = _EXAMPLES.format(
            volume=one["vus_pr"],
            score=one["standard"],
            other_volume=other["vus_pr"],
            other_score=other["standard"],
        )
        own = statistics.mean(row["standard"] for row in table["rows"]["gatestack, forecast"])
        above = [name for name, row in published.items() if row["standard"] > own]
        parts.append(f"Above ours, with thresholds that read the labels: {', '.join(above) or 'none'}.")
    return "\n\n".join([*parts, _READING.format(examples=examples)]) + "\n"


def _table(rows: dict[str, list[dict[str, float]]]) -> str:
    return markdown_table(
        ["detector", *_COLUMNS.values()],
        [
            [name, *(_cell([row[column] for row in seeds], column) for column in _COLUMNS)]
            for name, seeds in rows.items()
        ],
    )


def _cell(numbers: list[float], column: str) -> str:
    whole = column in ("found", "false_alarms") and len(numbers) == 1
    digits = 3 if column == "vus_pr" else 0 if whole else 1
    text = f"{statistics.mean(numbers):.{digits}f}"
    if max(numbers) > min(numbers):
        text += f" ({min(numbers):.{digits}f}–{max(numbers):.{digits}f})"
    return text
