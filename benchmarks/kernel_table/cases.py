"""What is measured: shapes, cases, and who takes part in each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

__all__ = ["OURS", "SHAPES", "TORCH", "Case", "Contender", "Shape", "flop", "make_cases"]

Mode = Literal["train", "infer", "eval_grad", "step"]


@dataclass(frozen=True)
class Shape:
    """The sizes of a call: batch N, steps T, input features C, hidden H, layers L."""

    batch: int
    steps: int
    input_size: int
    hidden_size: int
    layers: int

    def __str__(self) -> str:
        sizes = f"{self.input_size}→{self.hidden_size}"
        return f"({self.batch}, {self.steps}, {sizes}, {self.layers})"


@dataclass(frozen=True)
class Contender:
    """One column: a label, the worker that runs it, and what the worker is told beyond the case."""

    label: str
    worker: str
    options: dict[str, Any] = field(default_factory=dict)


OURS = Contender("Gatestack", "gatestack")
TORCH = Contender("torch", "torch")
COMPILED = Contender("torch.compile", "torch", {"compile": True})
KERAS_TF = Contender("Keras on TensorFlow", "keras-tensorflow")
KERAS_JAX = Contender("Keras on JAX", "keras-jax")
RUNTIME = Contender("ONNX Runtime", "onnxruntime")
OPENVINO = Contender("OpenVINO", "openvino")

RECOMPUTED = Contender("Gatestack, gates recomputed", "gatestack", {"recompute": True})
PLAIN = Contender("plain", "gatestack")
REGULARISED = (
    PLAIN,
    Contender("layer norm", "gatestack", {"layer_norm": True}),
    Contender("recurrent dropout", "gatestack", {"recurrent_dropout": 0.2}),
    Contender("zoneout", "gatestack", {"zoneout": 0.1}),
    Contender("all three", "gatestack", {"layer_norm": True, "recurrent_dropout": 0.2, "zoneout": 0.1}),
)

ONE_STEP = Shape(1, 1, 8, 64, 2)
SMALL = Shape(32, 100, 8, 64, 2)
MIDDLE = Shape(32, 100, 128, 128, 2)
LARGEST = Shape(128, 100, 512, 512, 2)
SHAPES = (
    Shape(1, 100, 8, 64, 2),
    Shape(32, 30, 1, 50, 4),
    SMALL,
    Shape(64, 168, 1, 64, 2),
    MIDDLE,
    Shape(64, 50, 256, 256, 2),
    Shape(20, 35, 650, 650, 2),
    LARGEST,
)
"""The shapes of sequences, smallest first; one step has a section of its own."""


ONCE = ("one step", "streams", "first call", "torch.compile", "memory", "busy")
"""Sections with one number of threads."""


@dataclass(frozen=True)
class Case:
    """One row of the table.

    Attributes:
        section: the table it stands in.
        mode: "train" (forward and the gradients of x, all weights and biases), "infer" (no gradients, each
            library's inference mode), "eval_grad" (forward only, gradients not switched off), "step" (forward
            from given states).
        directions: 1 or 2.
        ragged: lengths from T/2 to T, in no order; mean 75 % of T.
        random_steps: another T at every call, from T/2 to T.
        threads: of every contender.
        busy: another process keeps one core busy.
    """

    section: str
    shape: Shape
    mode: Mode
    contenders: tuple[Contender, ...]
    cell: Literal["lstm", "gru"] = "lstm"
    directions: int = 1
    ragged: bool = False
    random_steps: bool = False
    dtype: Literal["float32", "bfloat16"] = "float32"
    threads: int = 2
    busy: bool = False

    @property
    def name(self) -> str:
        """What tells this case from all others."""
        return f"{self.section} {self.mode} {self.shape} {self.dtype} {self.threads}t"

    def told(self) -> dict[str, Any]:
        """What a worker is told of it."""
        names = ("mode", "cell", "directions", "ragged", "random_steps", "dtype")
        return {name: getattr(self, name) for name in names} | asdict(self.shape)


def flop(case: Case, real_steps: int) -> int:
    """Floating-point operations of the products in `real_steps` steps of single rows.

    A step of a layer multiplies (G·H, I + H) by a vector, 2 operations per weight; the backward pass does
    that twice more. Element-wise work is not counted, so 100 % of the peak cannot be reached.
    """
    gates, hidden = {"lstm": 4, "gru": 3}[case.cell], case.shape.hidden_size
    weights, width = 0, case.shape.input_size
    for _ in range(case.shape.layers):
        weights += case.directions * gates * hidden * (width + hidden)
        width = case.directions * hidden
    return 2 * weights * real_steps * (3 if case.mode == "train" else 1)


def make_cases(*, quick: bool) -> list[Case]:
    """Every row of the table, or with `quick` what the aims ask for, nearly all on two threads only.

    A quick table leaves out Keras and torch's packed batches where one call of theirs takes seconds.
    """
    found = []
    for case in _all_cases(quick):
        plain = case.section in ("LSTM training", "LSTM inference") and case.dtype == "float32"
        if case.section not in ONCE and (not quick or (plain and case.shape in (SMALL, MIDDLE))):
            found.append(replace(case, threads=1))
        found.append(case)
    names = [case.name for case in found]
    assert len(set(names)) == len(names), "two cases with one name"
    return found


def _all_cases(quick: bool) -> Iterator[Case]:
    keras = (KERAS_TF, KERAS_JAX)
    engines = (RUNTIME, OPENVINO)
    few = (SMALL, MIDDLE) if quick else SHAPES
    for shape in SHAPES:
        slow = quick and shape == LARGEST
        some = () if slow else keras
        yield Case("LSTM training", shape, "train", (OURS, TORCH, *some))
        yield Case("LSTM inference", shape, "infer", (OURS, TORCH, *some, *engines))
    for shape in few:
        yield Case("eval with grad mode on", shape, "eval_grad", (OURS, TORCH))
    rest = () if quick else keras
    for shape in SHAPES:
        slow = quick and shape == LARGEST
        yield Case("GRU training", shape, "train", (OURS, TORCH, *rest), cell="gru")
        yield Case("BiLSTM training", shape, "train", (OURS, TORCH, *rest), directions=2)
        if shape.batch > 1 and not slow:
            yield Case("ragged LSTM training", shape, "train", (OURS, TORCH, *rest), ragged=True)
    for shape in few:
        if shape.batch > 1:
            some = (OURS, TORCH, *rest, *engines)
            yield Case("ragged LSTM inference", shape, "infer", some, ragged=True)
    for shape in (SMALL, MIDDLE) if quick else SHAPES[:-1]:
        yield Case("regularised LSTM training", shape, "train", REGULARISED)
    for shape in (SMALL, MIDDLE, SHAPES[5], LARGEST) if quick else SHAPES:
        yield Case("LSTM training", shape, "train", (OURS, TORCH), dtype="bfloat16")
        yield Case("LSTM inference", shape, "infer", (OURS, TORCH, OPENVINO), dtype="bfloat16")
    yield from _special_cases(quick, keras, engines)


def _special_cases(
    quick: bool, keras: tuple[Contender, ...], engines: tuple[Contender, ...]
) -> Iterator[Case]:
    everyone = (OURS, TORCH, *keras, *engines)
    handle = Contender("Gatestack, step handle", "gatestack", {"handle": True})
    yield Case("one step", ONE_STEP, "step", (handle, *everyone, COMPILED), threads=1)
    for batch in (64, 1024):
        streams = Shape(batch, 1, 8, 64, 2)
        yield Case("streams", streams, "step", (handle, *everyone), threads=1)
    yield Case("another T at every call", SMALL, "train", (OURS, TORCH, *keras), random_steps=True)
    yield Case("another T at every call", SMALL, "infer", everyone, random_steps=True)
    yield Case("first call", SMALL, "train", (OURS, TORCH, *keras))
    yield Case("first call", SMALL, "infer", (OURS, TORCH, *keras, *engines))
    if not quick:
        # Minutes of compiling; one shape is enough to tell what comes of it.
        yield Case("torch.compile", SMALL, "train", (OURS, TORCH, COMPILED))
    for shape in (SMALL, MIDDLE, SHAPES[5], LARGEST):
        yield Case("memory", shape, "train", (OURS, RECOMPUTED, TORCH))
    for shape in (SMALL, MIDDLE):
        yield Case("busy", shape, "train", (OURS, TORCH), busy=True)
        yield Case("busy", shape, "infer", (OURS, TORCH, *engines), busy=True)
