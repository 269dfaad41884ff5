"""The aims of the kernels, each held against what was measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from kernel_table.statistics import median, peak_share, ratio, spread

__all__ = ["HANDLE", "PLAIN", "Verdict", "verdicts"]

OURS, TORCH, HANDLE, PLAIN = "Gatestack", "torch", "Gatestack, step handle", "plain"
RECOMPUTED = "Gatestack, gates recomputed"
THREADS = 2
MIDDLE = "(32, 100, 128→128, 2)"

CaseData = dict[str, Any]


@dataclass(frozen=True)
class Verdict:
    """One aim for one case.

    Attributes:
        aim: in words.
        where: the case.
        measured: in words, with the spread.
        met: None where it was not measured.
    """

    aim: str
    where: str
    measured: str
    met: bool | None


def shape_name(case: CaseData) -> str:
    """A shape as the tables write it."""
    s = case["shape"]
    return f"({s['batch']}, {s['steps']}, {s['input_size']}→{s['hidden_size']}, {s['layers']})"


def verdicts(cases: list[CaseData]) -> list[Verdict]:
    """Every aim for every case it speaks of."""
    by_section: dict[str, list[CaseData]] = {}
    for case in cases:
        by_section.setdefault(case["section"], []).append(case)
    found: list[Verdict] = []
    for aim, section, threads, judge in _AIMS:
        before = len(found)
        for case in by_section.get(section, []):
            if case["dtype"] == "float32" and case["threads"] == threads:
                found += judge(aim, case, by_section)
        if len(found) == before:
            found.append(Verdict(aim, section, "not measured", None))
    return found


Judge = Callable[[str, CaseData, dict[str, list[CaseData]]], Iterator[Verdict]]


def _times_torch(
    least: float, wanted: Callable[[CaseData], bool] = lambda _: True, other: str = TORCH
) -> Judge:
    def judge(aim: str, case: CaseData, _: dict[str, list[CaseData]]) -> Iterator[Verdict]:
        if not wanted(case):
            return
        found = ratio(case, other, OURS)
        if found is None:
            yield Verdict(aim, shape_name(case), _why_not(case, (OURS, other)), None)
            return
        words = f"{found.middle:.2f}× [{found.low:.2f}–{found.high:.2f}]"
        kind = ", inference" if case["mode"] == "infer" else ""
        yield Verdict(aim, shape_name(case) + kind, words, found.middle >= least)

    return judge


def _share_of_peak(aim: str, case: CaseData, _: dict[str, list[CaseData]]) -> Iterator[Verdict]:
    if shape_name(case) != MIDDLE:
        return
    share = peak_share(case, OURS)
    if share is None:
        yield Verdict(aim, shape_name(case), _why_not(case, (OURS,)) or "no FMA peak", None)
        return
    yield Verdict(aim, shape_name(case), f"{share:.0%}", share >= 0.8)


def _wide(aim: str, case: CaseData, _: dict[str, list[CaseData]]) -> Iterator[Verdict]:
    """1.2 times torch where torch is below 75 % of the peak, else not slower."""
    if case["shape"]["hidden_size"] < 256:
        return
    share = peak_share(case, TORCH)
    least = 1.0 if share is not None and share >= 0.75 else 1.2
    for verdict in _times_torch(least)(aim, case, {}):
        at = "no FMA peak" if share is None else f"torch at {share:.0%} of the peak"
        words = f"{verdict.measured} ({at}, so ≥ {least:g}×)"
        yield Verdict(aim, verdict.where, words, verdict.met)


def _proportional(aim: str, case: CaseData, by_section: dict[str, list[CaseData]]) -> Iterator[Verdict]:
    """Our time per real step of the ragged batch beside that of the full one: at most 1.1 of it."""
    full = _same(by_section.get("LSTM training", []), case)
    times = [c["contenders"].get(OURS, {}).get("seconds") for c in (case, full) if c]
    if len(times) < 2 or not all(times):
        yield Verdict(aim, shape_name(case), "not measured", None)
        return
    ragged, whole = (median(seconds) for seconds in times)
    share = case["real_steps"] / full["real_steps"]  # type: ignore[index]
    words = f"{share:.0%} of the steps in {ragged / whole:.0%} of the time"
    yield Verdict(aim, shape_name(case), words, ragged / whole <= 1.1 * share)


def _regularised(aim: str, case: CaseData, _: dict[str, list[CaseData]]) -> Iterator[Verdict]:
    for label in case["contenders"]:
        if label == PLAIN:
            continue
        where = f"{shape_name(case)}, {label}"
        found = ratio(case, label, PLAIN)
        if found is None:
            yield Verdict(aim, where, _why_not(case, (PLAIN, label)), None)
        else:
            words = f"{found.middle:.2f}× [{found.low:.2f}–{found.high:.2f}]"
            yield Verdict(aim, where, words, found.middle <= 1.25)


def _one_step(aim: str, case: CaseData, _: dict[str, list[CaseData]]) -> Iterator[Verdict]:
    seconds = case["contenders"].get(HANDLE, {}).get("seconds")
    if not seconds:
        yield Verdict(aim, shape_name(case), _why_not(case, (HANDLE,)), None)
        return
    s = spread([1e6 * value for value in seconds])
    words = f"{s.middle:.1f} µs [{s.low:.1f}–{s.high:.1f}]"
    yield Verdict(aim, shape_name(case), words, s.middle <= 4)


def _streams(aim: str, case: CaseData, _: dict[str, list[CaseData]]) -> Iterator[Verdict]:
    where = f"{case['shape']['batch']} streams"
    seconds = case["contenders"].get(HANDLE, {}).get("seconds")
    if not seconds:
        yield Verdict(aim, where, _why_not(case, (HANDLE,)), None)
        return
    rate = case["shape"]["batch"] / median(seconds)
    yield Verdict(aim, where, f"{rate / 1e6:.2f} M steps/s", rate >= 1e6)


def _not_slower_than_best(aim: str, case: CaseData, _: dict[str, list[CaseData]]) -> Iterator[Verdict]:
    if case["shape"]["hidden_size"] < 128:
        return
    for other in (TORCH, "ONNX Runtime"):
        found = ratio(case, other, OURS)
        where = f"{shape_name(case)}, {other}"
        if found is None:
            yield Verdict(aim, where, _why_not(case, (OURS, other)), None)
            continue
        words = f"{found.middle:.2f}× [{found.low:.2f}–{found.high:.2f}]"
        yield Verdict(aim, where, words, found.middle >= 1 or found.level)


def _memory(label: str, most: int) -> Judge:
    def judge(aim: str, case: CaseData, _: dict[str, list[CaseData]]) -> Iterator[Verdict]:
        taken = case["contenders"].get(label, {}).get("kept_bytes")
        if not taken:
            yield Verdict(aim, shape_name(case), _why_not(case, (label,)), None)
            return
        units = _unit_steps(case)
        words = f"{median(taken) / units:.1f}·T·L·B·H"
        theirs = case["contenders"].get(TORCH, {}).get("kept_bytes")
        if theirs:
            words += f" (torch {median(theirs) / units:.1f}·T·L·B·H)"
        # A packed copy of the weights stays from step to step, whatever the batch.
        own = median(taken) - _weight_bytes(case)
        yield Verdict(aim, shape_name(case), f"{words}, weights included", own <= most * units)

    return judge


def _unit_steps(case: CaseData) -> int:
    s = case["shape"]
    units: int = s["steps"] * s["layers"] * s["batch"] * s["hidden_size"]
    return units


def _weight_bytes(case: CaseData) -> int:
    """Of the matrices in float32, from the operations: 2 per weight and step forward, 4 backward."""
    count: int = case["flop"] // (6 * case["real_steps"])
    return 4 * count


def _same(cases: list[CaseData], like: CaseData) -> CaseData | None:
    """The case of the same shape, type and threads."""
    keys = ("shape", "dtype", "threads")
    return next((case for case in cases if all(case[key] == like[key] for key in keys)), None)


def _why_not(case: CaseData, labels: tuple[str, ...]) -> str:
    reasons = (case["contenders"].get(label, {}).get("missing") for label in labels)
    return next((reason for reason in reasons if reason), "not measured")


_AIMS: tuple[tuple[str, str, int, Judge], ...] = (
    (
        "LSTM training, H ≤ 64: ≥ 3× torch",
        "LSTM training",
        THREADS,
        _times_torch(3.0, lambda case: case["shape"]["hidden_size"] <= 64),
    ),
    (
        f"LSTM training {MIDDLE}: ≥ 2× torch",
        "LSTM training",
        THREADS,
        _times_torch(2.0, lambda case: shape_name(case) == MIDDLE),
    ),
    (f"LSTM training {MIDDLE}: ≥ 80 % of the FMA peak", "LSTM training", THREADS, _share_of_peak),
    (
        "LSTM training, H ≥ 256: ≥ 1.2× torch where torch is below 75 % of the peak, never slower",
        "LSTM training",
        THREADS,
        _wide,
    ),
    ("GRU training: ≥ 4× torch", "GRU training", THREADS, _times_torch(4.0)),
    ("ragged batch, training: ≥ 5× torch packed", "ragged LSTM training", THREADS, _times_torch(5.0)),
    (
        "ragged batch, training: time proportional to real steps (within 10 %)",
        "ragged LSTM training",
        THREADS,
        _proportional,
    ),
    ("BiLSTM training: ≥ 2× torch", "BiLSTM training", THREADS, _times_torch(2.0)),
    (
        "layer norm, recurrent dropout, zoneout: ≤ 1.25× our own plain time",
        "regularised LSTM training",
        THREADS,
        _regularised,
    ),
    ("one step, one stream, (8→64, 2): ≤ 4 µs through the handle", "one step", 1, _one_step),
    (
        "plain inference, H ≥ 128: not slower than the best of torch and ONNX Runtime",
        "LSTM inference",
        THREADS,
        _not_slower_than_best,
    ),
    ("streams, H = 64, L = 2, batched: ≥ 1 M steps/s per core", "streams", 1, _streams),
    (
        "training keeps, beyond inputs, outputs and packed weights: ≤ 24·T·L·B·H bytes",
        "memory",
        THREADS,
        _memory(OURS, 24),
    ),
    (
        "the same with gates recomputed: ≤ 8·T·L·B·H bytes",
        "memory",
        THREADS,
        _memory(RECOMPUTED, 8),
    ),
    (
        "two threads while another process holds a core: not slower than torch there",
        "busy",
        THREADS,
        _times_torch(1.0),
    ),
)
