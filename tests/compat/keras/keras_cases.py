"""Drawn configurations of recurrent layers, with weights, inputs, states and masks, and how one is run.

Nothing here is of Gatestack, nor of a backend of Keras until `run_on_torch`: the same cases are run by the
JAX backend in another environment. A case is its seed: `draw(137)` gives the case of a message "seed 137".
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import numpy as np

KINDS = ("LSTM", "GRU", "SimpleRNN")


@dataclass
class Case:
    """What is drawn.

    Args:
        seed: that it was drawn with.
        kind: of the layer.
        options: of its constructor.
        wrapper: options of a Bidirectional around it, or None.
        training: whether it is called in training.
        calls: per call of the layer x (N, T, C); more than one where it is stateful.
        mask: (N, T), or None.
        states: initial ones, or none of them.
    """

    seed: int
    kind: str
    options: dict[str, Any]
    wrapper: dict[str, Any] | None
    training: bool
    calls: list[np.ndarray]
    mask: np.ndarray | None
    states: list[np.ndarray] = field(default_factory=list)

    def __str__(self) -> str:
        mask = None if self.mask is None else self.mask.astype(int).tolist()
        shapes = [x.shape for x in self.calls]
        return (
            f"seed {self.seed}: {self.kind}({self.options}), Bidirectional {self.wrapper}, "
            f"training={self.training}, x {shapes}, mask {mask}, {len(self.states)} initial states"
        )

    @property
    def of_kernels(self) -> bool:
        """Whether the kernels are to compute it."""
        plain = ("tanh", "relu") if self.kind == "SimpleRNN" else ("tanh",)
        if self.options.get("activation", "tanh") not in plain:
            return False
        if self.kind == "ConvLSTM2D":
            if self.training and self.options.get("dropout"):
                return False
            if self.mask is not None and not self.mask.any():
                return False
        if self.options.get("recurrent_activation", "sigmoid") != "sigmoid":
            return False
        return not (self.training and self.options.get("recurrent_dropout"))

    @property
    def in_double(self) -> bool:
        """Whether Keras computes it in double precision: its `ops.matmul` multiplies float64 in float32."""
        fused = self.kind == "LSTM" or (self.kind == "GRU" and self.options["reset_after"])
        fused = fused or self.kind == "ConvLSTM2D"  # which multiplies no matrices
        plain = self.mask is None and not self.options.get("recurrent_dropout")
        return self.options["dtype"] == "float64" and fused and (plain or self.kind == "ConvLSTM2D")


def _mask(draw: random.Random, rows: int, steps: int) -> np.ndarray | None:
    form = draw.choice(["none", "none", "right", "left", "holes", "holes", "all", "a row of none"])
    if form == "none":
        return None
    mask = np.ones((rows, steps), bool)
    lengths = np.array([draw.randint(1, steps) for _ in range(rows)])[:, None]
    place = np.arange(steps)
    if form == "right":
        mask = place < lengths
    elif form == "left":
        mask = place >= steps - lengths
    elif form in ("holes", "a row of none"):
        mask = np.array([[draw.random() < 0.6 for _ in range(steps)] for _ in range(rows)])
    if form == "a row of none":
        mask[draw.randrange(rows)] = False
    return mask


def draw(seed: int, *, everywhere: bool = False) -> Case:
    """Draw a case; `everywhere` one that all backends of Keras compute alike.

    They differ in their random numbers. The JAX backend also fails in float64 in some loops, ignores
    `zero_output_for_mask` when it unrolls, and gives the initial state before the first real step, where
    torch gives zero.
    """
    chosen = random.Random(seed)
    numbers = np.random.default_rng(seed)
    kind = chosen.choice(KINDS)
    inputs, units = chosen.choice([1, 3, 8]), chosen.choice([1, 4, 7, 16])
    rows, steps = chosen.choice([1, 2, 5]), chosen.choice([1, 2, 3, 9])
    dtype = chosen.choice(["float32", "float32", "float32" if everywhere else "float64"])
    wrapper = None
    if chosen.random() < 0.35:
        wrapper = {"merge_mode": chosen.choice(["concat", "sum", "mul", "ave", None])}
    options: dict[str, Any] = {
        "units": units,
        "dtype": dtype,
        "use_bias": chosen.random() < 0.8,
        "return_sequences": chosen.random() < 0.6,
        "return_state": chosen.random() < 0.5,
        "zero_output_for_mask": chosen.random() < 0.3,
        "stateful": chosen.random() < 0.25,
        "go_backwards": wrapper is None and chosen.random() < 0.3,
        "unroll": chosen.random() < 0.15 and not everywhere,
    }
    if kind == "GRU":
        options["reset_after"] = chosen.random() < 0.6
    if kind == "SimpleRNN":
        options["activation"] = chosen.choice(["tanh", "relu"])
    if chosen.random() < 0.1:
        options["activation"] = chosen.choice(["softsign", "linear", "elu"])
    if kind != "SimpleRNN" and chosen.random() < 0.1:
        options["recurrent_activation"] = "hard_sigmoid"
    training = chosen.random() < 0.5
    mask = _mask(chosen, rows, steps)
    drawn_alike = not (everywhere and training)  # what is dropped in training is drawn by the backend
    if chosen.random() < 0.4 and drawn_alike:
        options |= {"dropout": 0.4, "seed": seed}
    if chosen.random() < 0.25 and drawn_alike:
        options |= {"recurrent_dropout": 0.3, "seed": seed}
    if options["unroll"] and mask is not None and (options["go_backwards"] or wrapper is not None):
        options["unroll"] = False  # Keras' loop for these raises an AttributeError on the torch backend
    if wrapper is not None and options["stateful"]:
        options["return_state"] = False  # Keras' compute_mask raises a TypeError
    if options["stateful"] and kind != "SimpleRNN":
        options["use_cudnn"] = False  # else Keras writes states into what its backward pass still needs
    counts = 2 if options["stateful"] else 1
    calls = [numbers.standard_normal((rows, steps, inputs)).astype(dtype) for _ in range(counts)]
    states: list[np.ndarray] = []
    if not options["stateful"] and chosen.random() < 0.5:
        count = (2 if kind == "LSTM" else 1) * (1 if wrapper is None else 2)
        states = [numbers.standard_normal((rows, units)).astype(dtype) for _ in range(count)]
    if everywhere and mask is not None and (states or options["stateful"]):
        mask[:, [0, -1]] = True
    return Case(seed, kind, options, wrapper, training, calls, mask, states)


def draw_convolutional(seed: int, *, everywhere: bool = False) -> Case:
    """Draw a ConvLSTM2D, as `draw` does the other layers."""
    chosen = random.Random(seed)
    numbers = np.random.default_rng(seed)
    size = (chosen.choice([5, 7]), chosen.choice([5, 6]))
    rows, steps, channels, filters = (chosen.choice(sizes) for sizes in ([1, 3], [1, 2, 4], [1, 3], [1, 4]))
    dtype = chosen.choice(["float32", "float32", "float32" if everywhere else "float64"])
    geometry = chosen.choice([{}, {}, {"strides": chosen.choice([2, (1, 2)])}, {"dilation_rate": (2, 1)}])
    first = chosen.random() < 0.3 and not everywhere  # TensorFlow and JAX may not have it on a CPU
    options: dict[str, Any] = {
        "filters": filters,
        "kernel_size": chosen.choice([1, 2, 3, (3, 2)]),
        "padding": chosen.choice(["same", "valid"]),
        **geometry,
        "data_format": "channels_first" if first else "channels_last",
        "dtype": dtype,
        "use_bias": chosen.random() < 0.8,
        "return_sequences": chosen.random() < 0.6,
        "return_state": chosen.random() < 0.5,
        "zero_output_for_mask": chosen.random() < 0.3,
        "stateful": chosen.random() < 0.25,
        "go_backwards": chosen.random() < 0.3,
    }
    if chosen.random() < 0.15:
        options["recurrent_activation"] = "hard_sigmoid"
    training = chosen.random() < 0.5
    if chosen.random() < 0.3 and not (everywhere and training):
        options |= {chosen.choice(["dropout", "recurrent_dropout"]): 0.3, "seed": seed}
    mask = _mask(chosen, rows, steps)
    if everywhere:
        mask = None  # JAX cannot broadcast it over images
    shape = (rows, steps, channels, *size) if first else (rows, steps, *size, channels)
    counts = 2 if options["stateful"] else 1
    calls = [numbers.standard_normal(shape).astype(dtype) for _ in range(counts)]
    return Case(seed, "ConvLSTM2D", options, None, training, calls, mask)


def features_of(case: Case) -> set[str]:
    """Name what is special in a case, so that a test can count how often it was drawn."""
    options = case.options
    flags = ("return_sequences", "return_state", "stateful", "go_backwards", "zero_output_for_mask")
    found = {name for name in flags if options[name]}
    if options.get("recurrent_dropout"):
        found.add("recurrent_dropout in training" if case.training else "recurrent_dropout in inference")
    if "reset_after" in options:
        found.add(f"reset_after={options['reset_after']}")
    if case.mask is not None and not case.mask.all():
        found.add("masked")
    if case.wrapper is not None:
        found.add("bidirectional")
    if case.states:
        found.add("initial_state")
    return {*found, case.kind}


def build(layers: Any, case: Case) -> Any:
    """Make the layer of a case from the classes of a module, with drawn weights."""
    layer = getattr(layers, case.kind)(**case.options)
    if case.wrapper is not None:
        layer = layers.Bidirectional(layer, dtype=case.options["dtype"], **case.wrapper)
    layer.build(case.calls[0].shape)
    numbers = np.random.default_rng([case.seed, 1])
    for weight in layer.trainable_weights:
        scale = 0.8 / np.sqrt(np.prod(weight.shape[:-1]))
        weight.assign(numbers.standard_normal(weight.shape).astype(case.options["dtype"]) * scale)
    return layer


def flat(results: Any) -> list[Any]:
    """Give the tensors of what a layer returned."""
    return [part for one in results for part in flat(one)] if isinstance(results, list | tuple) else [results]


def weighting(case: Case, number: int, shape: tuple[int, ...]) -> np.ndarray:
    """Weights of the elements of result `number` in the sum that is differentiated."""
    return np.random.default_rng([case.seed, 2, number]).standard_normal(shape).astype(case.options["dtype"])


def run_on_torch(layer: Any, case: Case) -> dict[str, np.ndarray]:
    """Call a layer, and give results, states kept between calls, and all gradients."""
    import torch

    torch.manual_seed(case.seed)  # the copy of a SimpleRNN that Bidirectional makes has lost its own seed
    leaves = [torch.tensor(array, requires_grad=True) for array in (*case.calls, *case.states)]
    calls, states = leaves[: len(case.calls)], leaves[len(case.calls) :]
    extra: dict[str, Any] = {"training": case.training}
    if case.mask is not None:
        extra["mask"] = torch.tensor(case.mask)
    if states:
        extra["initial_state"] = states
    results = [result for x in calls for result in flat(layer(x, **extra))]
    total = sum(
        (result * torch.tensor(weighting(case, number, tuple(result.shape)))).sum()
        for number, result in enumerate(results)
    )
    weights = [weight.value for weight in layer.trainable_weights]
    gradients = torch.autograd.grad(total, [*leaves, *weights], allow_unused=True)
    found = {f"result {n}": result.detach().numpy() for n, result in enumerate(results)}
    for number, (leaf, gradient) in enumerate(zip([*leaves, *weights], gradients, strict=True)):
        found[f"gradient {number}"] = (torch.zeros_like(leaf) if gradient is None else gradient).numpy()
    if case.options["stateful"]:
        kept = [state.value.detach().numpy().copy() for state in layer.states]
        found |= {f"kept {n}": state for n, state in enumerate(kept)}
    return found
