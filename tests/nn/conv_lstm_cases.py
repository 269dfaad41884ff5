"""Drawn configurations of convolutional LSTMs, and how Keras' layer and ours are run over one.

A case is its seed: `draw(17)` gives the case of a message "seed 17".
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gatestack.nn import ConvLSTM1D, ConvLSTM2D, ConvLSTM3D, ConvLSTMForm, Stateful

OURS = {1: ConvLSTM1D, 2: ConvLSTM2D, 3: ConvLSTM3D}
SPACES = {1: (7,), 2: (5, 6), 3: (5, 5, 6)}


@dataclass(eq=False)
class Case:
    """What is drawn.

    Args:
        seed: that it was drawn with.
        dimensions: of space.
        options: of Keras' constructor, but for `dtype` and what says what is returned.
        form: our names of the activations.
        x: (N, T, *space, C), per call of the layer; two where it is stateful.
        mask: (N, T), or None.
        initial: whether initial states are given.
        dtype: of all of it.
    """

    seed: int
    dimensions: int
    options: dict[str, Any]
    form: ConvLSTMForm
    x: list[Tensor]
    mask: Tensor | None
    initial: bool
    dtype: torch.dtype

    def __str__(self) -> str:
        mask = None if self.mask is None else self.mask.int().tolist()
        return (
            f"seed {self.seed}: ConvLSTM{self.dimensions}D({self.options}), {self.form}, {self.dtype}, "
            f"x {[tuple(x.shape) for x in self.x]}, mask {mask}, initial states {self.initial}"
        )

    @property
    def stateful(self) -> bool:
        """Whether the second call goes on where the first ended."""
        return bool(self.options["stateful"])


def draw(seed: int) -> Case:
    """Draw a case."""
    chosen, numbers = random.Random(seed), torch.Generator().manual_seed(seed)
    dimensions = chosen.choice([1, 2, 2, 3])
    rows, steps, channels = chosen.choice([1, 2, 3]), chosen.choice([1, 2, 4]), chosen.choice([1, 3])
    dtype = chosen.choice([torch.float64, torch.float64, torch.float32])
    sizes = [1, 2, 3, tuple(chosen.choice([1, 2, 3]) for _ in range(dimensions))]
    strides = tuple(chosen.choice([1, 2]) for _ in range(dimensions))
    dilation = tuple(chosen.choice([1, 2]) for _ in range(dimensions))
    geometry = chosen.choice([{}, {"strides": strides}, {"dilation_rate": dilation}])
    activation, gate_activation = chosen.choice(
        [("tanh", "sigmoid")] * 3 + [("relu", "sigmoid"), ("softsign", "hard_sigmoid")]
    )
    options: dict[str, Any] = {
        "filters": chosen.choice([1, 2, 5]),
        "kernel_size": chosen.choice(sizes),
        "padding": chosen.choice(["same", "valid"]),
        **geometry,
        "activation": activation,
        "recurrent_activation": gate_activation,
        "use_bias": chosen.random() < 0.8,
        "unit_forget_bias": chosen.random() < 0.5,
        "return_sequences": chosen.random() < 0.7,
        "go_backwards": chosen.random() < 0.3,
        "stateful": chosen.random() < 0.25,
    }
    mask = None
    if chosen.random() < 0.5:
        mask = torch.rand((rows, steps), generator=numbers) < 0.6
        if chosen.random() < 0.3:
            mask = mask.sort(dim=1, descending=True).values  # padded on the right, no holes
    shape = (rows, steps, *SPACES[dimensions], channels)
    x = [torch.randn(shape, generator=numbers, dtype=dtype) for _ in range(1 + options["stateful"])]
    initial = not options["stateful"] and chosen.random() < 0.4
    form = ConvLSTMForm(activation=activation, gate_activation=gate_activation)
    return Case(seed, dimensions, options, form, x, mask, initial, dtype)


def features_of(case: Case) -> set[str]:
    """Name what is special in a case, so that a test can count how often it was drawn."""
    options = case.options
    found = {name for name in ("return_sequences", "go_backwards", "stateful", "use_bias") if options[name]}
    found |= {name for name in ("strides", "dilation_rate") if set(options.get(name, (1,))) != {1}}
    found |= {options["padding"], f"{case.dimensions}D", str(case.dtype)}
    if case.initial:
        found.add("initial states")
    if options["activation"] != "tanh":
        found.add("activations")
    if case.mask is not None and not case.mask.all():
        found.add("masked")
        if (case.mask.int().diff(dim=1) > 0).any():
            found.add("holes")
    return found


def build_theirs(layers: Any, case: Case) -> Any:
    """Make a layer of a module of Keras' layers, with drawn weights."""
    layer = getattr(layers, f"ConvLSTM{case.dimensions}D")(
        **case.options,
        return_state=True,
        zero_output_for_mask=True,
        dtype=str(case.dtype).removeprefix("torch."),
    )
    layer.build(tuple(case.x[0].shape))
    numbers = torch.Generator().manual_seed(case.seed)
    for weight in layer.trainable_weights:
        scale = weight.value[..., 0].numel() ** -0.5 if weight.value.dim() > 1 else 1.0
        weight.assign(scale * torch.randn(weight.shape, generator=numbers, dtype=case.dtype))
    return layer


def build_ours(case: Case, theirs: Any) -> torch.nn.Module:
    """Make our layer, with the weights of Keras' layer."""
    options = case.options
    layer = OURS[case.dimensions](
        options["filters"],
        options["kernel_size"],
        case.x[0].shape[-1],
        stride=options.get("strides", 1),
        padding=options["padding"],
        dilation=options.get("dilation_rate", 1),
        return_sequences=options["return_sequences"],
        form=case.form,
    ).to(case.dtype)
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0")
    layer.bias_ih_l0.detach().zero_()
    for name, weight in zip(names, theirs.trainable_weights, strict=False):
        value = weight.value.detach()
        getattr(layer, name).data.copy_(value.movedim((-1, -2), (0, 1)) if value.dim() > 1 else value)
    return layer


def states_of(case: Case, shape: tuple[int, ...]) -> list[Tensor]:
    """Draw initial states, with channels last."""
    numbers = torch.Generator().manual_seed(case.seed + 1)
    return [torch.randn(shape, generator=numbers, dtype=case.dtype).requires_grad_() for _ in range(2)]


def upstream_of(case: Case, results: list[Tensor]) -> Tensor:
    """A loss in which every number has a weight of its own."""
    numbers = torch.Generator().manual_seed(case.seed + 2)
    weights = [torch.randn(r.shape, generator=numbers, dtype=r.dtype) for r in results]
    return sum(((w * r).sum() for w, r in zip(weights, results, strict=True)), torch.zeros(()))


def run_theirs(case: Case, layer: Any) -> tuple[list[Tensor], list[Tensor]]:
    """Results and gradients: those of x, of the weights and of the states given."""
    *before, last = case.x
    for x in before:
        with torch.no_grad():
            layer(x, mask=case.mask)
    x, initial = last.clone().requires_grad_(), []
    if case.initial:
        initial = states_of(case, tuple(layer.compute_output_shape(x.shape)[1]))
    if case.stateful:
        # Keras writes the states into memory that its own backward pass needs: the same layer, not stateful.
        states = [state.value.detach().clone() for state in layer.states]
        layer.stateful = False
        y, *finals = layer(x, initial_state=states, mask=case.mask)
    else:
        y, *finals = layer(x, initial_state=initial or None, mask=case.mask)
    # What comes out without sequences where the last step is masked is Keras' own: the state says the same.
    results = [y if case.options["return_sequences"] else finals[0], *finals]
    inputs = [x, *(weight.value for weight in layer.trainable_weights), *initial]
    found = torch.autograd.grad(upstream_of(case, results), inputs, materialize_grads=True, allow_unused=True)
    return [result.detach() for result in results], list(found)


def run_ours(case: Case, layer: Any) -> tuple[list[Tensor], list[Tensor]]:
    """The same in Keras' layout."""
    backwards = case.options["go_backwards"]
    mask = None if case.mask is None else case.mask.flip(1) if backwards else case.mask

    def steps(x: Tensor) -> Tensor:
        return (x.flip(1) if backwards else x).movedim(-1, 2)

    *before, last = case.x
    around = Stateful(layer) if case.stateful else layer
    for x in before:
        with torch.no_grad():
            around(steps(x), mask=mask)
    x, initial = last.clone().requires_grad_(), []
    state = None
    if case.initial:
        shape = (x.shape[0], *layer.output_space(tuple(x.shape[2:-1])), layer.channels)
        initial = states_of(case, shape)
        state = tuple(part.movedim(-1, 1).unsqueeze(0) for part in initial)
    y, (h, c) = around(steps(x), mask=mask) if case.stateful else layer(steps(x), state, mask=mask)
    finals = [part.squeeze(0).movedim(1, -1) for part in (h, c)]
    results = [y.movedim(2, -1) if case.options["return_sequences"] else y.movedim(1, -1), *finals]
    weights = [layer.weight_ih_l0, layer.weight_hh_l0, layer.bias_ih_l0][: 2 + case.options["use_bias"]]
    d_x, *gradients = torch.autograd.grad(
        upstream_of(case, results), [x, *weights, *initial], materialize_grads=True, allow_unused=True
    )
    d_weights, d_states = gradients[: len(weights)], gradients[len(weights) :]
    in_keras = [d.movedim((0, 1), (-1, -2)) if d.dim() > 1 else d for d in d_weights]
    return [result.detach() for result in results], [d_x, *in_keras, *d_states]
