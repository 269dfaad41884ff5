"""What a check hands to an implementation, and what it wants back: plain NumPy float64 on both sides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Variant:
    """A cell by name, its number of gates and of state arrays, and its options.

    `form` is "after" or "before" for a GRU, "tanh" or "relu" for an RNN. `masks` names what `LayerMasks`
    holds; with `expected` they are constants, as zoneout has them outside training.
    """

    name: str
    gates: int
    state_count: int
    form: str = ""
    peephole: bool = False
    projection: bool = False
    norm: bool = False
    masks: tuple[str, ...] = ()
    expected: bool = False

    @property
    def cell(self) -> str:
        """The kind of the cell: "lstm", "gru" or "rnn"."""
        return self.name.partition("-")[0]


DROPOUTS = ("hidden", "candidate")
ZONEOUTS = ("zoneout_hidden", "zoneout_cell")
EXPECTED_SHARE = 0.75

VARIANTS = {
    variant.name: variant
    for variant in (
        Variant("lstm", gates=4, state_count=2),
        Variant("lstm-peephole", gates=4, state_count=2, peephole=True),
        Variant("lstm-projection", gates=4, state_count=2, projection=True),
        Variant("lstm-norm", gates=4, state_count=2, norm=True),
        Variant("lstm-dropout", gates=4, state_count=2, masks=DROPOUTS),
        Variant("lstm-zoneout", gates=4, state_count=2, masks=ZONEOUTS),
        Variant("lstm-expected", gates=4, state_count=2, masks=ZONEOUTS, expected=True),
        Variant(
            "lstm-all",
            gates=4,
            state_count=2,
            peephole=True,
            projection=True,
            norm=True,
            masks=(*DROPOUTS, *ZONEOUTS),
        ),
        Variant("gru-after", gates=3, state_count=1, form="after"),
        Variant("gru-after-norm", gates=3, state_count=1, form="after", norm=True),
        Variant(
            "gru-after-all", gates=3, state_count=1, form="after", norm=True, masks=(*DROPOUTS, ZONEOUTS[0])
        ),
        Variant("gru-after-expected", 3, 1, form="after", masks=ZONEOUTS[:1], expected=True),
        Variant("gru-before", gates=3, state_count=1, form="before"),
        Variant("gru-before-all", gates=3, state_count=1, form="before", masks=(*DROPOUTS, ZONEOUTS[0])),
        Variant("rnn-tanh", gates=1, state_count=1, form="tanh"),
        Variant("rnn-tanh-norm", gates=1, state_count=1, form="tanh", norm=True),
        Variant(
            "rnn-tanh-all", gates=1, state_count=1, form="tanh", norm=True, masks=("hidden", ZONEOUTS[0])
        ),
        Variant("rnn-relu", gates=1, state_count=1, form="relu"),
    )
}


@dataclass(frozen=True, eq=False)
class Problem:
    """One layer in one direction, everything that goes in, and the gradients of everything that comes out.

    x (N, T, C); weights by the names of the reference; masks by the names of `LayerMasks`;
    initial: (h, c) or (h,), (N, P) and (N, H). Either `lengths` (N,) or `mask` (N, T) or neither (all steps
    real). The gradients are d_output (N, T, P), d_final like `initial`, and d_cells (N, T, H) or None.
    With `results_only` nobody will look at the gradients of the outcome; they may be left out.
    """

    variant: Variant
    x: Array
    weights: dict[str, Array]
    initial: tuple[Array, ...]
    lengths: NDArray[np.int64] | None
    mask: NDArray[np.bool_] | None
    reverse: bool
    d_output: Array
    d_final: tuple[Array, ...]
    d_cells: Array | None
    masks: dict[str, Array] = field(default_factory=dict)
    results_only: bool = False

    @property
    def real(self) -> NDArray[np.bool_]:
        """The mask (N, T), whichever way it was given."""
        if self.mask is not None:
            return self.mask
        rows, steps, _ = self.x.shape
        if self.lengths is None:
            return np.ones((rows, steps), dtype=np.bool_)
        return np.arange(steps)[None, :] < self.lengths[:, None]

    def rows(self, rows: slice) -> Problem:
        """The same problem for some rows."""
        return replace(
            self,
            x=self.x[rows],
            initial=tuple(part[rows] for part in self.initial),
            lengths=None if self.lengths is None else self.lengths[rows],
            mask=None if self.mask is None else self.mask[rows],
            d_output=self.d_output[rows],
            d_final=tuple(part[rows] for part in self.d_final),
            d_cells=None if self.d_cells is None else self.d_cells[rows],
            masks={name: mask[rows] for name, mask in self.masks.items()},
        )

    def steps(self, steps: slice) -> Problem:
        """The same problem for some steps, all of them given by a mask."""
        return replace(
            self,
            x=self.x[:, steps],
            lengths=None,
            mask=self.real[:, steps],
            d_output=self.d_output[:, steps],
            d_cells=None if self.d_cells is None else self.d_cells[:, steps],
            masks={name: mask if mask.ndim == 2 else mask[:, steps] for name, mask in self.masks.items()},
        )


@dataclass(frozen=True, eq=False)
class Outcome:
    """What an implementation makes of a problem: results, and gradients of Σ results · their gradients."""

    output: Array
    final: tuple[Array, ...]
    cells: Array | None
    d_x: Array | None = None
    d_initial: tuple[Array, ...] = ()
    d_weights: dict[str, Array] = field(default_factory=dict)


@dataclass(frozen=True)
class Implementation:
    """Something that can be checked.

    run: solves a problem, forward and backward.
    variant: the cell that it computes.
    cells: whether it gives the cell state at every step (LSTM only).
    tolerance: of parity with another implementation, relative and absolute; 1e-10 suits float64.
    """

    run: Callable[[Problem], Outcome]
    variant: Variant
    cells: bool = True
    tolerance: float = 1e-10


Lengths = tuple[int, ...]
RAGGED: Lengths = (5, 0, 1, 3)
MASK = np.array(
    [
        [1, 1, 1, 1, 1],
        [0, 0, 0, 0, 0],
        [0, 1, 0, 0, 1],
        [1, 0, 1, 1, 0],
    ],
    dtype=np.bool_,
)


def make_problem(
    implementation: Implementation,
    *,
    reverse: bool = False,
    lengths: Lengths | None = None,
    mask: NDArray[np.bool_] | None = None,
    rows: int = 4,
    steps: int = 5,
    seed: int = 0,
) -> Problem:
    """Random weights, input, initial state and gradients, none of them zero or saturating.

    H = 3 and C = 2; with a projection P = 2, and otherwise P = H.
    """
    C, H = 2, 3
    variant = implementation.variant
    P = 2 if variant.projection else H
    rng = np.random.default_rng(seed)
    G = variant.gates * H
    weights = {
        "weight_ih": rng.normal(scale=0.6, size=(G, C)),
        "weight_hh": rng.normal(scale=0.6, size=(G, P)),
        "bias_ih": rng.normal(scale=0.5, size=G),
        "bias_hh": rng.normal(scale=0.5, size=G),
    }
    if variant.peephole:
        weights["peephole"] = rng.normal(scale=0.7, size=(3, H))
    if variant.projection:
        weights["weight_hr"] = rng.normal(scale=0.8, size=(P, H))
    if variant.norm:
        weights |= {name: rng.normal(1.0, 0.4, size=G) for name in ("gain_ih", "gain_hh")}
    if variant.norm and variant.cell == "lstm":
        weights |= {"gain_c": rng.normal(1.0, 0.4, size=H), "bias_c": rng.normal(scale=0.5, size=H)}
    widths = (P, H)[: variant.state_count]
    has_cells = variant.state_count == 2 and implementation.cells
    return Problem(
        variant=variant,
        x=rng.normal(size=(rows, steps, C)),
        weights=weights,
        initial=tuple(rng.normal(size=(rows, width)) for width in widths),
        lengths=None if lengths is None else np.array(lengths),
        mask=mask,
        reverse=reverse,
        d_output=rng.normal(size=(rows, steps, P)),
        d_final=tuple(rng.normal(size=(rows, width)) for width in widths),
        d_cells=rng.normal(size=(rows, steps, H)) if has_cells else None,
        masks=_draw_masks(rng, variant, rows, steps, P, H),
    )


def _draw_masks(
    rng: np.random.Generator, variant: Variant, rows: int, steps: int, P: int, H: int
) -> dict[str, Array]:
    """Dropout at 0.4, zoneout at 0.5: with so few units, each mask still has both kinds of them."""
    shapes = {
        "hidden": (rows, P),
        "candidate": (rows, steps, H),
        "zoneout_hidden": (rows, steps, P),
        "zoneout_cell": (rows, steps, H),
    }
    masks = {}
    for name in variant.masks:
        kept = (rng.random(shapes[name]) >= (0.4 if name in DROPOUTS else 0.5)).astype(np.float64)
        masks[name] = kept / 0.6 if name in DROPOUTS else kept
        if variant.expected:
            masks[name] = np.full(shapes[name], EXPECTED_SHARE)
    return masks
