"""`ConvLSTM2D` beside Keras' own on each of its backends, and beside a loop in torch.

    python benchmarks/conv_lstm.py                 # half an hour; wants a quiet machine
    python benchmarks/conv_lstm.py --only "64×64"  # cases whose name has the word, with their own page

Every library runs in a process of its own and is called in turn, each round beginning with another. Answers
are compared before anything is timed. Writes `results/conv_lstm.json` and `results/conv_lstm.md`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from kernel_table.statistics import spread, three_digits
from kernel_table.workers import COMMANDS, Worker, WorkerError, Workers, _processor_s, busy_share
from protocol.machine import describe_machine, machine_words
from protocol.tables import markdown_table

HERE = Path(__file__).resolve().parent
OURS, LOOP = "gatestack", "torch loop"
OTHERS = (LOOP, "keras-torch", "keras-jax", "keras-tensorflow")
ENVIRONMENTS = {"keras-jax": "keras", "keras-tensorflow": "keras"}
NAMES = {
    LOOP: "torch loop",
    "keras-torch": "Keras, torch",
    "keras-jax": "Keras, JAX",
    "keras-tensorflow": "Keras, TensorFlow",
}
FEWEST_ROUNDS, LONGEST_CASE_S = 3, 10
MOST_OF_JAX = 100_000  # positions of all images, for which its training is waited for
LONG_CALL_S = 5.0  # whose call takes longer is called in the first round alone
TOLERANCE = 1e-3  # of the largest number: sums of up to 300,000 products in float32, in another order


@dataclass(frozen=True)
class Case:
    """A layer and its batch.

    Args:
        batch, steps, size: N images of size × size in each of T steps.
        inputs, channels: C and F.
        kernel: k, of both convolutions.
        threads: of each library.
        ragged: rows of T/2 to T real steps.
    """

    batch: int
    steps: int
    size: int
    inputs: int
    channels: int
    kernel: int
    threads: int = 1
    ragged: bool = False

    @property
    def name(self) -> str:
        """As in the page."""
        ragged = ", ragged" if self.ragged else ""
        return (
            f"{self.batch} row{'s' * (self.batch > 1)}, {self.steps} steps{ragged}, {self.size}×{self.size}, "
            f"{self.inputs}→{self.channels}, {self.kernel}×{self.kernel}"
        )


CASES = [
    Case(8, 10, 64, 1, 16, 3),
    Case(8, 10, 32, 8, 8, 3),
    Case(4, 10, 64, 1, 40, 3),
    Case(16, 20, 16, 1, 32, 3),
    Case(8, 10, 64, 1, 16, 3, ragged=True),
    Case(1, 10, 64, 1, 16, 3),
    Case(16, 10, 32, 1, 8, 5),
    Case(2, 10, 64, 16, 64, 3),
    Case(8, 10, 64, 1, 16, 3, threads=2),
]


def inputs_of(case: Case) -> dict[str, np.ndarray]:
    """Weights of torch's shapes, x, the gradient of the output, lengths."""
    numbers = np.random.default_rng(1)
    k, F = case.kernel, case.channels
    shapes = {"weight_ih_l0": (4 * F, case.inputs, k, k), "weight_hh_l0": (4 * F, F, k, k)}
    arrays = {n: numbers.normal(0, (shape[1] * k * k) ** -0.5, shape) for n, shape in shapes.items()}
    arrays["bias_ih_l0"] = numbers.normal(0, 0.5, 4 * F)
    images = (case.batch, case.steps)
    arrays["x"] = numbers.normal(size=(*images, case.inputs, case.size, case.size))
    arrays["grad_y"] = numbers.normal(size=(*images, F, case.size, case.size))
    least = case.steps // 2 if case.ragged else case.steps
    lengths = numbers.integers(least, case.steps + 1, case.batch)
    return {name: array.astype(np.float32) for name, array in arrays.items()} | {"lengths": lengths}


def measure(case: Case, mode: str, workers: Workers, folder: Path, rounds: int, block_s: float) -> Any:
    """Seconds of every library in every round, of the clock and of the processor."""
    np.savez(folder / "inputs.npz", **inputs_of(case))  # type: ignore[arg-type]
    command = {"do": "prepare", "key": "layer", "options": {}, "inputs": str(folder / "inputs.npz")}
    command["case"] = asdict(case) | {"mode": mode}
    found: dict[str, dict[str, Any]] = {}
    ready: dict[str, tuple[Worker, int]] = {}
    truth: dict[str, np.ndarray] = {}
    for who in (LOOP, OURS, *OTHERS[1:]):
        if who == "keras-jax" and mode == "train" and case.batch * case.steps * case.size**2 > MOST_OF_JAX:
            found[who] = {"missing": "not tried: it takes too long in the smaller cases"}
            continue
        try:
            worker = workers.get(who, case.threads)
            path = folder / "answers.npz"
            reply = worker.ask(command | {"answers": str(path)})
            if "unsupported" in reply:
                found[who] = {"missing": reply["unsupported"]}
                continue
            with np.load(path) as stored:
                answers = dict(stored)
            truth = truth or answers
            error = largest_error(answers, truth)
            if error > TOLERANCE:
                raise WorkerError(f"wrong answer: error {error:.1e}")
            _, once = timed(worker, 1)
            found[who] = {"error": error, "clock_s": [], "processor_s": [], "once": once}
            ready[who] = worker, max(1, round(block_s / once))
        except WorkerError as failure:
            workers.drop(who, case.threads)
            found[who] = {"missing": str(failure).splitlines()[0]}
    order = list(ready)
    once_s = {who: found[who].pop("once") for who in order}
    one_round = sum(calls * once_s[who] for who, (_, calls) in ready.items())
    for turn in range(min(rounds, max(FEWEST_ROUNDS, round(LONGEST_CASE_S / one_round)))):
        for who in order[turn % len(order) :] + order[: turn % len(order)]:
            worker, calls = ready[who]
            if turn and once_s[who] > LONG_CALL_S:
                continue
            of_processor, of_clock = timed(worker, calls)
            found[who]["clock_s"].append(float(f"{of_clock:.4g}"))
            found[who]["processor_s"].append(float(f"{of_processor:.4g}"))
    for worker, _ in ready.values():
        worker.ask({"do": "drop", "key": "layer"})
    return {**asdict(case), "name": case.name, "mode": mode, "busy_share": busy_share(), "found": found}


def timed(worker: Worker, calls: int) -> tuple[float, float]:
    """Let a worker make some calls -> seconds of each, of the processor and of the clock."""
    start = _processor_s(worker.process.pid)
    worker.ask({"do": "drop", "key": "nothing"})  # a collection of garbage, which a block begins with
    begun = _processor_s(worker.process.pid)
    block = {"calls": calls, "warm": False, "steps": None}
    seconds: float = worker.ask({"do": "time", "key": "layer", "block": block})["seconds"]
    used = _processor_s(worker.process.pid) - begun - (begun - start)
    worker.rest()
    return used / calls, seconds


def largest_error(answers: dict[str, np.ndarray], truth: dict[str, np.ndarray]) -> float:
    """The largest difference in any array, in units of its largest number."""
    if answers.keys() != truth.keys():
        raise WorkerError(f"answers {sorted(answers)}, expected {sorted(truth)}")
    return max(float(np.abs(answers[n] - right).max() / np.abs(right).max()) for n, right in truth.items())


def times_of(case: dict[str, Any], who: str) -> list[float] | None:
    """What counts: with one thread the time of the processor, which others on the machine do not use up."""
    found: dict[str, Any] = case["found"][who]
    return found.get("processor_s" if case["threads"] == 1 else "clock_s")


def cell(case: dict[str, Any], who: str) -> str:
    """Their time over ours: the median of the ratios within a round, with quartiles."""
    own, theirs = times_of(case, OURS), times_of(case, who)
    if not own or not theirs:
        return "—"
    s = spread([b / a for a, b in zip(own, theirs, strict=False)])
    shown = f"{s.middle:.2f} [{s.low:.2f}–{s.high:.2f}]"
    return f"**{shown}**" if s.middle < 1 else shown


def verdict(table: dict[str, Any]) -> str:
    """One sentence for each of the others."""
    lines = []
    for who in OTHERS:
        ratios = []
        for case in table["cases"]:
            own, theirs = times_of(case, OURS), times_of(case, who)
            if own and theirs:
                ratios.append(statistics.median(b / a for a, b in zip(own, theirs, strict=False)))
        if ratios:
            lost = sum(ratio < 1 for ratio in ratios)
            lines.append(
                f"- {NAMES[who]}: {min(ratios):.2f} to {max(ratios):.2f}, median "
                f"{statistics.median(ratios):.2f}; {lost} of {len(ratios)} lost"
            )
    return "\n".join(lines)


def page(table: dict[str, Any]) -> str:
    """The results as a page."""
    sections = []
    for threads in sorted({case["threads"] for case in table["cases"]}):
        rows = []
        for case in table["cases"]:
            own = times_of(case, OURS)
            if case["threads"] == threads and own:
                s = spread([1e3 * value for value in own])
                shown = f"{three_digits(s.middle)} [{three_digits(s.low)}–{three_digits(s.high)}]"
                rows.append([case["name"], case["mode"], shown, *(cell(case, who) for who in OTHERS)])
        clock = "processor time" if threads == 1 else "time by the clock"
        head = ["case", "call", f"Gatestack, ms of {clock}", *(NAMES[who] for who in OTHERS)]
        sections.append(f"## {threads} thread{'s' * (threads > 1)}\n\n{markdown_table(head, rows)}")
    missing = [
        f"- {case['name']}, {case['mode']}, {NAMES.get(who, who)}: {found['missing']}"
        for case in table["cases"]
        for who, found in case["found"].items()
        if "missing" in found
    ]
    versions = ", ".join(f"{name} {version}" for name, version in table["versions"].items())
    busy = [case["busy_share"] for case in table["cases"]]
    measured = {(case["name"], case["threads"], case["mode"]) for case in table["cases"]}
    missing += [
        f"- {case.name}, {mode}, {case.threads} thread{'s' * (case.threads > 1)}: not measured in this run"
        for case in CASES
        for mode in ("infer", "train")
        if (case.name, case.threads, mode) not in measured
    ]
    if missing:
        sections.append("## Missing\n\n" + "\n".join(missing))
    tables = "\n\n".join(sections)
    return f"""# Convolutional LSTMs

`gatestack.nn.ConvLSTM2D` beside `keras.layers.ConvLSTM2D` on its three backends and beside a loop in torch.
Ratios are their time over ours, the median of the ratios within a round with its quartiles; above 1 we are
faster, and what we lose is bold. Over all cases:

{verdict(table)}

## Read this first

- "infer" is a call without gradients, "train" a call and the gradients of kernels and bias from a random
  gradient of the output. All steps are put out, padding is "same", float32.
- The case says N rows, T steps, the size of the images, C→F channels, the size of both kernels. Ragged: rows
  of T/2 to T real steps, lengths for us, a mask for Keras, `torch.where` in the loop.
- The loop is what one writes by hand: one convolution of x and h side by side in each step.
- Keras runs as its backends like it: step after step on torch, one `tf.function`, one `jax.jit`; the arrays
  are on the device already, and compiling is not counted.
- One thread: time of the processor, since {table["shared"]}. Two threads: time by the clock,
  to be taken with a grain of salt for the same reason.
- Between {min(busy):.0%} and {max(busy):.0%} of the processors were used by others right after the cases.
  Caches being shared, milliseconds are larger than on a quiet machine; ratios compare like with like.
- Quartiles are those within one run. Runs differ by more: of two on the machine of the committed results, an
  hour apart, ratios differed by a factor of 1.14 in the median and of 1.54 at most.
- Before anything was timed, outputs and gradients were compared with those of the loop.

## Measured on

- {machine_words(table["machine"])}
- {versions}
- {FEWEST_ROUNDS} to {table["rounds"]} rounds of {table["block_s"]:g} s or one call each, one round for
  a call of more than {LONG_CALL_S:g} s by the clock; every library in a process of its own

{tables}

## Again

```
python benchmarks/conv_lstm.py
```
"""


def main() -> None:
    """Measure, and write table and page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", metavar="WORD", help="cases whose name has the word")
    parser.add_argument("--rounds", type=int, default=5, help="at most")
    parser.add_argument("--block-seconds", type=float, default=0.1)
    parser.add_argument("--shared", action="store_true", help="other programs used the machine meanwhile")
    parser.add_argument("--environments", type=Path, default=HERE.parent / ".peers")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    arguments = parser.parse_args()

    for who in (OURS, *OTHERS):
        COMMANDS[who] = (ENVIRONMENTS.get(who, "gatestack"), "conv_lstm_worker.py", (who,))
    table: dict[str, Any] = {
        "machine": describe_machine(),
        "rounds": arguments.rounds,
        "block_s": arguments.block_seconds,
        "shared": "other programs used the machine" if arguments.shared else "that is the steadier clock",
        "cases": [],
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    stored = arguments.out / "conv_lstm"
    with tempfile.TemporaryDirectory() as name:
        workers = Workers(arguments.environments, Path(name))
        try:
            for case in [case for case in CASES if arguments.only in case.name]:
                for mode in ("infer", "train"):
                    found = measure(
                        case, mode, workers, Path(name), arguments.rounds, arguments.block_seconds
                    )
                    table["cases"].append(found)
                    table["versions"] = {}
                    for told in workers.versions().values():
                        table["versions"] |= {
                            package: v for package, v in told.items() if package != "python"
                        }
                    stored.with_suffix(".json").write_text(
                        json.dumps(table, indent=1) + "\n", encoding="utf-8"
                    )
                    stored.with_suffix(".md").write_text(page(table), encoding="utf-8")
                    print(case.name, case.threads, mode, *(cell(found, who) for who in OTHERS), flush=True)
        finally:
            workers.close()


if __name__ == "__main__":
    main()
