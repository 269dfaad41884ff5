"""Tables of the sections whose columns are not milliseconds per call of each library."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from protocol.tables import markdown_table

from kernel_table.aims import PLAIN, shape_name
from kernel_table.statistics import median, ratio, with_spread

__all__ = ["SPECIAL"]

CaseData = dict[str, Any]


def _regularised(title: str, cases: list[CaseData]) -> str:
    labels = list(dict.fromkeys(label for case in cases for label in case["contenders"]))
    rows = []
    for case in cases:
        row = [shape_name(case), str(case["threads"])]
        for label in labels:
            found = case["contenders"].get(label, {"missing": ""})
            if "missing" in found:
                row.append("–")
                continue
            times = None if label == PLAIN else ratio(case, label, PLAIN)
            row.append(with_spread(found["seconds"], 1e3) + (f", {times.middle:.2f}×" if times else ""))
        rows.append(row)
    told = "Our own layers, milliseconds per training step, and their time over that of the plain LSTM."
    return f"## {title}\n\n{told}\n\n" + markdown_table(["shape", "threads", *labels], rows)


def _per_step(title: str, cases: list[CaseData]) -> str:
    labels = list(dict.fromkeys(label for case in cases for label in case["contenders"]))
    rows = []
    for case in cases:
        row = [str(case["shape"]["batch"])]
        for label in labels:
            found = case["contenders"].get(label, {"missing": ""})
            if "missing" in found:
                row.append("–")
                continue
            rate = case["shape"]["batch"] / median(found["seconds"]) / 1e6
            row.append(f"{with_spread(found['seconds'], 1e6)}, {rate:.2f} M/s")
        rows.append(row)
    told = (
        "One step of an LSTM (8→64, two layers) with given states, one thread: microseconds per call, and "
        "million steps of a row per second."
    )
    return f"## {title}\n\n{told}\n\n" + markdown_table(["streams", *labels], rows)


def _first_call(title: str, cases: list[CaseData]) -> str:
    rows = []
    for case in cases:
        for label, found in case["contenders"].items():
            if "missing" in found:
                rows.append([f"{case['mode']} {shape_name(case)}", label, "–", "–", found["missing"]])
                continue
            times = [with_spread(found[name], scale) for name, scale in _FIRST_COLUMNS]
            rows.append([f"{case['mode']} {shape_name(case)}", label, *times])
    told = "Each in a new process."
    head = ["case", "", "imports, s", "building the model, ms", "first call, ms"]
    return f"## {title}\n\n{told}\n\n" + markdown_table(head, rows)


_FIRST_COLUMNS = (("import_s", 1.0), ("build_s", 1e3), ("seconds", 1e3))


def _memory(title: str, cases: list[CaseData]) -> str:
    rows = []
    for case in cases:
        s = case["shape"]
        units = s["steps"] * s["layers"] * s["batch"] * s["hidden_size"]
        for label, found in case["contenders"].items():
            if "missing" in found:
                rows.append([shape_name(case), label, "–", "–", "–", found["missing"]])
                continue
            taken = [median(found[name]) for name in ("kept_bytes", "peak_bytes")]
            columns = [text for t in taken for text in (f"{t / 1e6:.1f}", f"{t / units:.1f}")]
            rows.append([shape_name(case), label, *columns])
    told = (
        "The first training step of a new process, beyond what the process held with model and inputs: what "
        "is kept between forward and backward, without the output; and the peak, without the output and the "
        "gradients. Packed weights and working memory are included."
    )
    head = ["shape", "", "kept, MB", "per T·L·B·H", "peak, MB", "per T·L·B·H"]
    return f"## {title}\n\n{told}\n\n" + markdown_table(head, rows)


SPECIAL: dict[str, Callable[[str, list[CaseData]], str]] = {
    "regularised LSTM training": _regularised,
    "one step": _per_step,
    "streams": _per_step,
    "first call": _first_call,
    "memory": _memory,
}
