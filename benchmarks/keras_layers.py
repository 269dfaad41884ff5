"""The layers of `gatestack.compat.keras` beside Keras' own, both on Keras' torch backend.

    KERAS_BACKEND=torch python benchmarks/keras_layers.py             # some minutes; wants a quiet machine
    KERAS_BACKEND=torch python benchmarks/keras_layers.py --only GRU

Two models of the same weights in one process, one of each kind, called in turn with `predict_on_batch` and
`train_on_batch`. Answers are compared before anything is timed. Writes `results/keras_layers.json` and
`results/keras_layers.md`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import numpy as np
import torch
from protocol.machine import describe_machine, machine_words
from protocol.tables import markdown_table

import gatestack
from gatestack.compat import keras as ours

HERE = Path(__file__).resolve().parent
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Case:
    """A model and its batch.

    Args:
        name: what it shows.
        shape: of the batch, (N, T, features) or (N, T, Y, X, channels); (N, T) for tokens.
        layers: (class, options) of the recurrent layers, the lowest first.
        mask: "none", "right" (rows of T/2 to T real steps) or "holes" (3 steps of 10 masked).
        both_ways: with a Bidirectional around each layer.
        kernels: whether the layers run on the kernels in (predict, train).
        batch_shape: whether the model knows its batch size, which a stateful one must.
    """

    name: str
    shape: tuple[int, ...]
    layers: tuple[tuple[str, dict[str, Any]], ...]
    mask: str = "none"
    both_ways: bool = False
    kernels: tuple[bool, bool] = (True, True)
    batch_shape: bool = field(default=False)


SEQUENCES = {"return_sequences": True}
CASES = [
    Case("LSTM 64", (32, 50, 16), (("LSTM", {"units": 64}),)),
    Case("LSTM 64, all steps out", (32, 50, 16), (("LSTM", {"units": 64, **SEQUENCES}),)),
    Case("LSTM 64, masked on the right", (32, 50, 16), (("LSTM", {"units": 64}),), "right"),
    Case("LSTM 64, masked with holes", (32, 50, 16), (("LSTM", {"units": 64, **SEQUENCES}),), "holes"),
    Case("GRU 64", (32, 50, 16), (("GRU", {"units": 64}),)),
    Case("GRU 64, reset before", (32, 50, 16), (("GRU", {"units": 64, "reset_after": False}),)),
    Case("GRU 64, masked on the right", (32, 50, 16), (("GRU", {"units": 64}),), "right"),
    Case("SimpleRNN 64", (32, 50, 16), (("SimpleRNN", {"units": 64}),)),
    Case("LSTM 256", (64, 100, 64), (("LSTM", {"units": 256}),)),
    Case(
        "two LSTM 128 over tokens, masked on the right",
        (32, 100),
        (("LSTM", {"units": 128, **SEQUENCES}), ("LSTM", {"units": 128})),
        "right",
    ),
    Case("Bidirectional LSTM 64", (32, 50, 16), (("LSTM", {"units": 64, **SEQUENCES}),), both_ways=True),
    Case(
        "Bidirectional LSTM 64, masked on the right",
        (32, 50, 16),
        (("LSTM", {"units": 64, **SEQUENCES}),),
        "right",
        both_ways=True,
    ),
    Case("LSTM 64, dropout 0.2", (32, 50, 16), (("LSTM", {"units": 64, "dropout": 0.2, "seed": 1}),)),
    Case("LSTM 16, one row of 10 steps", (1, 10, 4), (("LSTM", {"units": 16}),)),
    Case(
        "stateful LSTM 64, one row, one step",
        (1, 1, 16),
        (("LSTM", {"units": 64, "stateful": True}),),
        kernels=(True, False),
        batch_shape=True,
    ),
    Case(
        "ConvLSTM2D 16, 3×3, images of 32×32",
        (8, 10, 32, 32, 1),
        (("ConvLSTM2D", {"filters": 16, "kernel_size": 3, "padding": "same"}),),
    ),
    Case(
        "ConvLSTM2D 16, 3×3, masked on the right",
        (8, 10, 32, 32, 1),
        (("ConvLSTM2D", {"filters": 16, "kernel_size": 3, "padding": "same"}),),
        "right",
    ),
    Case(
        "LSTM 64, recurrent_dropout 0.2",
        (32, 50, 16),
        (("LSTM", {"units": 64, "recurrent_dropout": 0.2, "seed": 1}),),
        kernels=(True, False),
    ),
    Case(
        "LSTM 64, activation relu",
        (32, 50, 16),
        (("LSTM", {"units": 64, "activation": "relu"}),),
        kernels=(False, False),
    ),
]


def batch_of(case: Case) -> np.ndarray:
    """The input of a case; what a mask hides is zero."""
    numbers = np.random.default_rng(1)
    rows, steps = case.shape[:2]
    if len(case.shape) == 2:
        x = numbers.integers(1, 1000, case.shape)
    else:
        x = numbers.standard_normal(case.shape).astype("float32")
    real = np.ones((rows, steps), bool)
    if case.mask == "right":
        real = np.arange(steps) < numbers.integers(steps // 2, steps + 1, (rows, 1))
    elif case.mask == "holes":
        real = numbers.random((rows, steps)) < 0.7
    return x * real.reshape(rows, steps, *[1] * (x.ndim - 2)).astype(x.dtype)


class _FrameMasking(keras.layers.Layer):
    """A mask over images: `keras.layers.Masking` would give one for each pixel."""

    def compute_mask(self, inputs: Any, previous: Any = None) -> Any:  # noqa: ARG002 (of Keras)
        return keras.ops.any(keras.ops.not_equal(inputs, 0), axis=(2, 3, 4))

    def call(self, inputs: Any) -> Any:
        return inputs


def model_of(case: Case, layers: Any) -> Any:
    """Build the model of a case from the classes of a module."""
    keras.utils.set_random_seed(1)
    known = {"batch_shape": case.shape} if case.batch_shape else {"shape": case.shape[1:]}
    given = keras.Input(**known, dtype="int32" if len(case.shape) == 2 else "float32")
    y = given
    if len(case.shape) == 2:
        y = keras.layers.Embedding(1000, 64, mask_zero=case.mask != "none")(y)
    elif case.mask != "none":
        y = (_FrameMasking() if len(case.shape) == 5 else keras.layers.Masking())(y)
    for name, options in case.layers:
        layer = getattr(layers, name)(**options)
        y = (layers.Bidirectional(layer) if case.both_ways else layer)(y)
    model = keras.Model(given, keras.layers.Dense(4)(y))
    model.compile(keras.optimizers.Adam(1e-3), "mse")
    return model


def calls_of(case: Case) -> dict[str, tuple[Callable[[], Any], Callable[[], Any]]]:
    """What is timed, (ours, Keras'), after the answers were found to agree."""
    x = batch_of(case)
    fast, plain = model_of(case, ours), model_of(case, keras.layers)
    plain.set_weights(fast.get_weights())
    wanted = np.random.default_rng(2).standard_normal(fast.compute_output_shape(x.shape)).astype("float32")
    found = {"predict": (lambda: fast.predict_on_batch(x), lambda: plain.predict_on_batch(x))}
    compare(case, *[call() for call in found["predict"]])
    if not case.batch_shape:  # Keras' own stateful layer cannot be trained on this backend
        found["train"] = (lambda: fast.train_on_batch(x, wanted), lambda: plain.train_on_batch(x, wanted))
        for model in (fast, plain):
            keras.utils.set_random_seed(3)
            model.train_on_batch(x, wanted)
        for one, other in zip(fast.get_weights(), plain.get_weights(), strict=True):
            compare(case, one, other)
    return found


def compare(case: Case, one: Any, other: Any) -> None:
    """Stop where answers differ by more than rounding."""
    one, other = np.asarray(one), np.asarray(other)
    # Adam's first step is as long for the smallest gradient as for the largest: one share in a hundred
    # weights may have gone the other way.
    share = (np.abs(one - other) > TOLERANCE * max(1.0, np.abs(other).max())).mean()
    if share > 0.01:
        raise SystemExit(f"{case.name}: {share:.1%} of the answers differ")


def seconds(call: Callable[[], Any], repeats: int) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


def measure(pair: tuple[Callable[[], Any], Callable[[], Any]], rounds: int, block_s: float) -> dict[str, Any]:
    """Call both in turn, every second round in the other order."""
    repeats = [max(1, round(block_s / max(seconds(call, 2), 1e-6))) for call in pair]
    times: list[tuple[float, float]] = []
    for number in range(rounds):
        order = (0, 1) if number % 2 else (1, 0)
        found = {place: seconds(pair[place], repeats[place]) for place in order}
        times.append((found[0], found[1]))
    ratios = [plain / fast for fast, plain in times]
    return {
        "gatestack_ms": 1e3 * statistics.median(fast for fast, _ in times),
        "keras_ms": 1e3 * statistics.median(plain for _, plain in times),
        "ratio": quartiles(ratios),
        "rounds": rounds,
    }


def quartiles(values: list[float]) -> list[float]:
    """Lower quartile, median, upper quartile."""
    return [float(value) for value in np.quantile(values, [0.25, 0.5, 0.75])]


def page(table: dict[str, Any]) -> str:
    """The results as a page."""
    rows = []
    for case in table["cases"]:
        for mode, found in case["modes"].items():
            low, middle, high = found["ratio"]
            rows.append(
                [
                    case["name"],
                    "×".join(str(size) for size in case["shape"]),
                    mode,
                    "yes" if found["kernels"] else "no",
                    f"{found['keras_ms']:.2f}",
                    f"{found['gatestack_ms']:.2f}",
                    f"{middle:.2f} [{low:.2f}–{high:.2f}]",
                ]
            )
    head = ["model", "batch", "call", "on kernels", "Keras, ms", "Gatestack, ms", "ratio"]
    versions = ", ".join(f"{name} {version}" for name, version in table["versions"].items())
    ratios = [f["ratio"][1] for c in table["cases"] for f in c["modes"].values() if f["kernels"]]
    lost = sum(ratio < 1 for ratio in ratios)
    span = f"{min(ratios):.2f} to {max(ratios):.2f}, median {statistics.median(ratios):.2f}"
    return f"""# Keras' layers beside Keras' own

The layers of `gatestack.compat.keras` and Keras' own, both on Keras' torch backend, in models of the same
weights. "ratio" is Keras' time over ours: the median of the ratios within one round with its quartiles;
above 1 we are faster. Of {len(ratios)} calls on the kernels the ratio is {span};
{lost} {"is" if lost == 1 else "are"} lost.

## Read this first

- A call is `predict_on_batch` or `train_on_batch` (forward, backward, Adam) of a model with one Dense layer
  on top: what a user waits for. Keras' own work around the layer, the same for both, is the larger part of
  small models.
- Threads: {table["threads"]}; float32, a random batch. Both models are in one process and are called in turn,
  in the other order every second round. The machine was {table["shared"]}.
- Keras' layers have their defaults. Its `jit_compile` was not tried: torch unrolls every step, which takes
  minutes to compile.
- "masked on the right": rows of T/2 to T real steps. Keras computes the masked steps, the kernels do not.
- Where "on kernels" says no, both compute Keras' own code: the ratio shows the noise of the measurement.
- A stateful layer of Keras' own cannot be trained on this backend (torch refuses its backward pass).
- Before anything was timed, outputs and the weights after one training step were compared.

## Measured on

- {machine_words(table["machine"])}
- {versions}
- {table["rounds"]} rounds of {table["block_s"]:g} s or one call each

## Times

{markdown_table(head, rows)}

## Again

```
KERAS_BACKEND=torch python benchmarks/keras_layers.py
```
"""


def main() -> None:
    """Measure, and write table and page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", metavar="WORD", help="cases whose name has the word")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--block-seconds", type=float, default=0.2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--shared", action="store_true", help="other programs used the machine meanwhile")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    arguments = parser.parse_args()

    torch.set_num_threads(arguments.threads)
    cases = []
    for case in CASES:
        if arguments.only not in case.name:
            continue
        modes = {}
        for place, (mode, pair) in enumerate(calls_of(case).items()):
            found = measure(pair, arguments.rounds, arguments.block_seconds)
            modes[mode] = found | {"kernels": case.kernels[place]}
            low, middle, high = found["ratio"]
            print(f"{case.name}, {mode}: {middle:.2f} [{low:.2f}–{high:.2f}]", flush=True)
        cases.append({"name": case.name, "shape": case.shape, "modes": modes})
    table = {
        "machine": describe_machine(),
        "versions": {
            "gatestack": gatestack.__version__,
            "keras": keras.__version__,
            "torch": torch.__version__,
        },
        "threads": arguments.threads,
        "rounds": arguments.rounds,
        "block_s": arguments.block_seconds,
        "shared": "shared with other programs" if arguments.shared else "otherwise idle",
        "cases": cases,
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    stored = arguments.out / "keras_layers"
    stored.with_suffix(".json").write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    stored.with_suffix(".md").write_text(page(table), encoding="utf-8")


if __name__ == "__main__":
    main()
