"""The page of the kernel table: caveats, aims, losses, every case, how to repeat it."""

from __future__ import annotations

from typing import Any

from protocol.machine import machine_words
from protocol.tables import markdown_table

from kernel_table.aims import HANDLE, shape_name, verdicts
from kernel_table.special_tables import SPECIAL
from kernel_table.statistics import Ratio, median, peak_share, ratio, spread, three_digits, with_spread

__all__ = ["kernel_page", "losses"]

OURS = "Gatestack"
QUIET_SHARE = 0.1
CaseData = dict[str, Any]

_KINDS = {"train": "training", "infer": "inference", "eval_grad": "grad mode on", "step": "step"}

_HEAD = """# The kernels beside the frameworks

What a call of a stacked recurrent layer costs. Times are medians over rounds with [quartiles]; in each round
every library is called in turn, in a process of its own that rests while others are measured. "×" is their
time over ours, the median of the ratios within one round: above 1 we are faster. "%" is the share of the peak
of float32 multiply-adds that this machine reached in the same rounds, counting matrix products alone. "ns" is
the time per real step of one row through all layers. A shape is (batch, steps, features→hidden, layers).

Before anything was timed its answers (outputs, in training gradients) were compared with torch in float64.
"""

_CAVEATS = """## Read this first

- One machine, named below, and random data. Other processors have other ratios; run it on yours.
- Every library is called at its best setting: torch with time-major tensors, `inference_mode` and oneDNN;
  Keras as one compiled function on arrays that are on the device already; ONNX Runtime and OpenVINO with
  time-major tensors and fixed shapes. We are called as a user would, batch-first, through `gatestack.nn`.
- Training is forward and backward for the gradients of the input, all weights and all biases, given the
  gradient of the output. No loss, no optimiser.
- A ragged batch has lengths from T/2 to T. torch packs it (packing and unpacking are timed), Keras gets a
  mask, ONNX Runtime and OpenVINO the lengths; Keras computes the padded steps all the same.
- bfloat16: torch gets weights and input in bfloat16, and so do we; OpenVINO its precision hint. Keras was not
  tried, ONNX Runtime has no such LSTM on the CPU.
- With one thread a process is held on one core. `torch.compile` of `nn.LSTM` unrolls every step, which takes
  minutes for 100 steps: it takes part in one case of 100 steps and in the one of a single step.
"""


def losses(cases: list[CaseData]) -> list[tuple[CaseData, str, Ratio]]:
    """Where another is faster: (case, who, their time over ours), the worst first."""
    found = []
    for case in cases:
        for label in case["contenders"]:
            own = HANDLE if HANDLE in case["contenders"] else OURS
            times = None if label.startswith(OURS) else ratio(case, label, own)
            if times is not None and times.middle < 1:
                found.append((case, label, times))
    return sorted(found, key=lambda loss: loss[2].middle)


def _aims(cases: list[CaseData]) -> str:
    words = {True: "met", False: "**missed**", None: "–"}
    rows, last = [], ""
    for verdict in verdicts(cases):
        aim = "" if verdict.aim == last else verdict.aim
        last = verdict.aim
        rows.append([aim, verdict.where, verdict.measured, words[verdict.met]])
    return "## The aims\n\n" + markdown_table(["aim", "case", "measured", ""], rows)


def _losses(cases: list[CaseData]) -> str:
    found = losses(cases)
    if not found:
        return "## Where we lose\n\nIn no case that was measured."
    rows = [
        [_title(case), shape_name(case), case["dtype"], str(case["threads"]), label, _times(times)]
        for case, label, times in found
    ]
    head = ["section", "shape", "type", "threads", "faster", "their time over ours"]
    count = len({case["name"] for case, _, _ in found})
    told = f"{count} of {len(cases)} cases. ≈: 1 lies between the quartiles, so the order may be chance."
    return f"## Where we lose\n\n{told}\n\n" + markdown_table(head, rows)


def _title(case: CaseData) -> str:
    """The section, and the kind of call where a section has several."""
    section: str = case["section"]
    return section if _KINDS[case["mode"]] in section else f"{section}, {_KINDS[case['mode']]}"


def _times(found: Ratio) -> str:
    return f"{found.middle:.2f}×" + (" ≈" if found.level else "")


def _cell(case: CaseData, label: str) -> str:
    row = case["contenders"].get(label)
    if row is None:
        return ""
    if "missing" in row:
        return "wrong answer" if "error" in row else "–"
    times = None if label == OURS else ratio(case, label, OURS)
    share = peak_share(case, label)
    text = with_spread(row["seconds"], 1e3)
    if share is not None:
        text += f", {share:.0%}"
    return text if times is None else f"{text}, **{_times(times)}**"


def _section(title: str, cases: list[CaseData]) -> str:
    labels = list(dict.fromkeys(label for case in cases for label in case["contenders"]))
    rows = []
    for case in cases:
        ours = case["contenders"].get(OURS, {}).get("seconds")
        per_step, rate = "–", "–"
        if ours:
            per_step = three_digits(1e9 * median(ours) / case["real_steps"])
            rate = three_digits(case["flop"] / median(ours) / 1e9)
        start = [shape_name(case), _KINDS[case["mode"]], case["dtype"], str(case["threads"]), per_step, rate]
        rows.append(start + [_cell(case, label) for label in labels])
    head = ["shape", "call", "type", "threads", "our ns", "our GFLOP/s"]
    return f"## {title}\n\nMilliseconds per call.\n\n" + markdown_table(
        head + [f"{label}, ms" for label in labels], rows
    )


def _measured_on(table: dict[str, Any]) -> str:
    lines = [f"- {machine_words(table['machine'])}"]
    kernels = table["kernels"]
    if kernels["isa"]:
        lines.append(f"- kernels: {kernels['isa']} (this machine has {', '.join(kernels['isas'])})")
    else:
        lines.append("- **no compiled kernels: Gatestack ran on torch's operators**")
    for threads in (1, 2):
        rates = [r for c in table["cases"] if c["threads"] == threads for r in c.get("peak_gflops") or []]
        if rates:
            s = spread(rates)
            lines.append(
                f"- FMA peak in float32, {threads} thread{'s' * (threads > 1)}: {s.middle:.0f} GFLOP/s "
                f"[{s.low:.0f}–{s.high:.0f}]"
            )
    for worker, versions in table["versions"].items():
        lines.append(f"- {worker}: " + ", ".join(f"{name} {v}" for name, v in versions.items()))
    errors = [
        row["error"]
        for c in table["cases"]
        for row in c["contenders"].values()
        if "seconds" in row and "error" in row and c["dtype"] == "float32"
    ]
    if errors:
        lines.append(
            f"- largest error of any answer that was timed in float32: {max(errors):.0e} of the array's "
            "largest number"
        )
    first = [
        (row["first_call_s"], label)
        for c in table["cases"]
        for label, row in c["contenders"].items()
        if row.get("first_call_s", 0) > 1
    ]
    for label in dict.fromkeys(label for _, label in first):
        most = max(seconds for seconds, name in first if name == label)
        lines.append(
            f"- {label}: up to {three_digits(most)} s for the first call of a case (not timed below)"
        )
    shares = [case["busy_share"] for case in table["cases"] if "busy_share" in case]
    if shares:
        disturbed = sum(share > QUIET_SHARE for share in shares)
        lines.append(
            f"- other processes used {median(shares):.0%} of the processors in the median, and more than "
            f"{QUIET_SHARE:.0%} before {disturbed} of {len(shares)} cases"
        )
    slow = {name: s for name, s in table["longest_rest_s"].items() if s > 0.1}
    for name, seconds in slow.items():
        lines.append(
            f"- {name} went on using a processor for up to {seconds:.1f} s after a call; others waited"
        )
    return "## Measured on\n\n" + "\n".join(lines)


def kernel_page(table: dict[str, Any]) -> str:
    """Markdown of everything that was measured."""
    cases = table["cases"]
    parts = [_HEAD.rstrip(), _CAVEATS.rstrip(), _measured_on(table), _aims(cases), _losses(cases)]
    for section in dict.fromkeys(case["section"] for case in cases):
        own = [case for case in cases if case["section"] == section]
        parts.append(SPECIAL.get(section, _section)(section, own))
    missing = {
        f"- {label}, {case['section']}, {case['dtype']}: {row['missing']}"
        for case in cases
        for label, row in case["contenders"].items()
        if "missing" in row
    }
    if missing:
        parts.append("## What is missing, and why\n\n" + "\n".join(sorted(missing)))
    again = "python benchmarks/kernels.py" + (" --quick" if table["quick"] else "")
    parts.append(f"## How to repeat it\n\n`{again}` on a quiet machine.")
    return "\n\n".join(parts) + "\n"
