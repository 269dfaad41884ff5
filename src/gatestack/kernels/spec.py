"""What a call of the kernels is about: cells, sizes, options, weights, results.

Shared by the seam (`recurrent.py`) and every backend. Letters: N batch, T time, C input features, H hidden, P
projection (H where there is none), D directions, G gates (LSTM 4, GRU 3, RNN 1).
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias, get_args

from gatestack.errors import ArgumentError, check_choice, check_share, check_whole

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Cell", "DirectionWeights", "LayerSpec", "StackResult", "StackSpec", "States"]

Cell = Literal["lstm", "gru", "gru_reset_before", "rnn_tanh", "rnn_relu"]

_GATES = {"lstm": 4, "gru": 3, "gru_reset_before": 3, "rnn_tanh": 1, "rnn_relu": 1}
_PROBABILITIES = ("input_dropout", "hidden_dropout", "candidate_dropout", "zoneout_hidden", "zoneout_cell")


@dataclass(frozen=True)
class LayerSpec:
    """One recurrent layer: its cell, its sizes, its options.

    The equations stand in `gatestack.nn`, the order of the masks in `gatestack.kernels.dropout`.

    Args:
        cell: "lstm", "gru" (reset after the recurrent product), "gru_reset_before", "rnn_tanh", "rnn_relu".
        input_size: C.
        hidden_size: H.
        projection_size: P, or 0 for none (LSTM).
        peepholes: gates see the cell state (LSTM).
        layer_norm: both products, and the cell state of an LSTM, are normalised.
        residual: the layer's input, before dropout, is added to its output; C must be D·P.
        input_dropout: probability with which an element of the input is dropped.
        input_dropout_per_step: draw it anew at each step instead of once per sequence.
        hidden_dropout: the same for h in the recurrent product, once per sequence.
        candidate_dropout: the same for the candidate g or n, at each step.
        zoneout_hidden: probability with which an element of h keeps its last value.
        zoneout_cell: the same for c (LSTM).

    Raises:
        ArgumentError: a value outside its range, or an option that the cell does not have.

    Example:
        >>> LayerSpec("lstm", 3, 8, projection_size=4).output_size
        4
    """

    cell: Cell
    input_size: int
    hidden_size: int
    projection_size: int = 0
    peepholes: bool = False
    layer_norm: bool = False
    residual: bool = False
    input_dropout: float = 0.0
    input_dropout_per_step: bool = False
    hidden_dropout: float = 0.0
    candidate_dropout: float = 0.0
    zoneout_hidden: float = 0.0
    zoneout_cell: float = 0.0

    def __post_init__(self) -> None:
        check_choice("cell", self.cell, get_args(Cell), owner="LayerSpec")
        check_whole("input_size", self.input_size, owner="LayerSpec")
        check_whole("hidden_size", self.hidden_size, owner="LayerSpec")
        for name in _PROBABILITIES:
            check_share(name, getattr(self, name), owner="LayerSpec")
        if self.cell != "lstm":
            for name in ("projection_size", "peepholes", "zoneout_cell"):
                self._refuse(name, "the cell 'lstm'")
        if self.cell in ("rnn_tanh", "rnn_relu"):
            self._refuse("candidate_dropout", "a cell with a candidate: 'lstm', 'gru', 'gru_reset_before'")
        if self.cell == "gru_reset_before":
            self._refuse("layer_norm", "the cell 'gru', which resets after the recurrent product")

    def _refuse(self, name: str, expected: str) -> None:
        value = getattr(self, name)
        if value:
            raise ArgumentError(f"{name}={value!r} with {self.cell!r}", where="LayerSpec", expected=expected)

    @property
    def gates(self) -> int:
        """G."""
        return _GATES[self.cell]

    @property
    def output_size(self) -> int:
        """P, the width of h: the projection's where there is one."""
        return self.projection_size or self.hidden_size

    @property
    def state_sizes(self) -> tuple[int, ...]:
        """The widths of the state: (P, H) for an LSTM, (H,) otherwise."""
        return (self.output_size, self.hidden_size) if self.cell == "lstm" else (self.hidden_size,)

    @property
    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """The parts of `DirectionWeights` that the layer has, with their shapes."""
        rows, hidden, width = self.gates * self.hidden_size, self.hidden_size, self.output_size
        shapes: dict[str, tuple[int, ...]] = {
            "weight_ih": (rows, self.input_size),
            "weight_hh": (rows, width),
            "bias_ih": (rows,),
            "bias_hh": (rows,),
        }
        if self.projection_size:
            shapes["weight_hr"] = (width, hidden)
        if self.peepholes:
            shapes["peephole"] = (3, hidden)
        if self.layer_norm:
            shapes |= {"gain_ih": (rows,), "gain_hh": (rows,)}
            if self.cell == "lstm":
                shapes |= {"gain_c": (hidden,), "bias_c": (hidden,)}
        return shapes

    @property
    def draws(self) -> bool:
        """Whether training draws random masks."""
        return any(getattr(self, name) for name in _PROBABILITIES)


@dataclass(frozen=True)
class StackSpec:
    """Layers, the lowest first, all with the same number of directions.

    Args:
        layers: each reads what the one below gives: input_size is D·P of the layer below.
        directions: D, 1 or 2.

    Attributes:
        text: the spec as JSON, for operators of torch, which take no objects.
        draws: whether training draws random masks.
        state_count: tensors of state, two for an LSTM, one for another cell, over all layers.

    Raises:
        ArgumentError: no layer, a width that is not that of the layer below, a residual of another width.

    Example:
        >>> spec = StackSpec((LayerSpec("gru", 3, 8), LayerSpec("gru", 8, 8, residual=True)))
        >>> StackSpec.parse(spec.text) == spec
        True
    """

    layers: tuple[LayerSpec, ...]
    directions: int = 1
    text: str = field(init=False, repr=False, compare=False)
    draws: bool = field(init=False, repr=False, compare=False)
    state_count: int = field(init=False, repr=False, compare=False)
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.layers:
            raise ArgumentError("no layers", where="StackSpec", expected="one or more")
        if self.directions not in (1, 2):
            raise ArgumentError(f"directions={self.directions!r}", where="StackSpec", expected="1 or 2")
        for number, layer in enumerate(self.layers):
            width = self.directions * layer.output_size
            below = self.directions * self.layers[number - 1].output_size if number else layer.input_size
            if layer.input_size != below:
                raise ArgumentError(
                    f"layer {number} has input_size {layer.input_size}",
                    where="StackSpec",
                    expected=f"{below}, the features of layer {number - 1}",
                )
            if layer.residual and layer.input_size != width:
                raise ArgumentError(
                    f"layer {number} has residual=True, {layer.input_size} features in and {width} out",
                    where="StackSpec",
                    expected="as many in as out",
                )
        text = json.dumps({"directions": self.directions, "layers": [asdict(layer) for layer in self.layers]})
        # Now and not when asked for: a compiler that traces a call can read them, not make them. And plans
        # are looked up by their spec at every call, where hashing every field anew would be felt.
        made = {
            "text": text,
            "draws": any(layer.draws for layer in self.layers),
            "state_count": sum(len(layer.state_sizes) for layer in self.layers),
            "_hash": zlib.crc32(text.encode()),  # the same in every process, for it is pickled with the spec
        }
        for name, value in made.items():
            object.__setattr__(self, name, value)

    def __hash__(self) -> int:
        return self._hash

    @property
    def output_size(self) -> int:
        """D·P of the last layer."""
        return self.directions * self.layers[-1].output_size

    @classmethod
    def parse(cls, text: str) -> StackSpec:
        """Read `text` back."""
        read = json.loads(text)
        return cls(tuple(LayerSpec(**layer) for layer in read["layers"]), read["directions"])


class DirectionWeights(NamedTuple):
    """The parameters of one direction of one layer, in torch's layout; gates i f g o, r z n.

    weight_ih (G·H, C), weight_hh (G·H, P), bias_ih and bias_hh (G·H,) or None for zeros, weight_hr (P, H),
    peephole (3, H) in the order i f o, gain_ih and gain_hh (G·H,), gain_c and bias_c (H,).

    Example:
        >>> from gatestack.nn import GRU
        >>> GRU(4, input_size=2).weights()[0].weight_ih.shape
        torch.Size([12, 2])
    """

    weight_ih: Tensor
    weight_hh: Tensor
    bias_ih: Tensor | None
    bias_hh: Tensor | None
    weight_hr: Tensor | None = None
    peephole: Tensor | None = None
    gain_ih: Tensor | None = None
    gain_hh: Tensor | None = None
    gain_c: Tensor | None = None
    bias_c: Tensor | None = None


States: TypeAlias = "Sequence[tuple[Tensor, ...] | None]"


class StackResult(NamedTuple):
    """What a stack gives.

    output (N, T, D·P) of the last layer; finals, per layer (h_n (D, N, P), c_n (D, N, H)) or (h_n,); cells,
    per layer (N, T, D·H), or None where they were not asked for.
    """

    output: Tensor
    finals: tuple[tuple[Tensor, ...], ...]
    cells: tuple[Tensor, ...] | None
