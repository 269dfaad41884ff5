"""What every recurrent layer shares: parameters, checks, states, directions, the form of the output.

A cell's own file adds its equations and its options. The letters: N batch, T time, C input features, H
hidden, P projection (H where there is none), D directions (1 or 2), G gates.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from gatestack.errors import ArgumentError, check_choice, check_whole
from gatestack.kernels.backend import shown_backend
from gatestack.kernels.recurrent import run_stack
from gatestack.kernels.spec import DirectionWeights, LayerSpec, StackResult, StackSpec
from gatestack.nn.checks import check_input, check_states
from gatestack.nn.layer import SequenceLayer
from gatestack.nn.merge import Merge, merged
from gatestack.nn.options import Regularisation
from gatestack.nn.parameters import check_size, declare_parameters, draw_parameter, make_parameters
from gatestack.nn.steps import Lengths, Mask, Steps

__all__ = ["InitialState", "Recurrent", "draw_seed"]

InitialState = Literal["zeros", "trained"]

_SUFFIXES = ("_l0", "_l0_reverse")  # torch's names in a module of one layer
_NOTHING = Regularisation()


class Recurrent(SequenceLayer):
    """Base of `LSTM`, `GRU` and `RNN`: one layer over padded, ragged or masked sequences, one or both ways.

    Parameters have torch's names and shapes: `weight_ih_l0` (G·H, C), `weight_hh_l0` (G·H, P), `bias_ih_l0`
    and `bias_hh_l0` (G·H,), with a projection `weight_hr_l0` (P, H), the same with `_reverse` for the second
    direction; what torch has no name for, `peephole_l0` (3, H), `gain_ih_l0` and `gain_hh_l0` (G·H,),
    `gain_c_l0` and `bias_c_l0` (H,), is named alike. They are made when `input_size` is known: in the
    constructor, by `build`, by `load_state_dict`, or at the first call. An optimiser made before that sees no
    parameters; `repr` shows `input_size=?` until then.

    Each gate's block of `weight_ih`, and `weight_hr`, start Glorot uniform (Glorot & Bengio 2010, Eq. 16),
    each gate's block of `weight_hh` orthogonal (Saxe et al. 2014), gains one; biases, peepholes and trained
    initial states zero.

    Args:
        hidden_size: H, at least 1.
        input_size: C, or None to take it from the first input.
        bidirectional: run a second direction from each row's last real step to its first.
        merge: how the two directions become one output: side by side ("concat"), or "sum", "mul", "average".
        return_sequences: output every step; otherwise only the final state h of each direction.
        initial_state: "zeros", or "trained": parameters `initial_h_l0` (D, P), and `initial_c_l0` (D, H),
            used where a call gives no state.
        regularisation: see `Regularisation`; None for none.
        dtype: of the parameters; None takes torch's default.

    Raises:
        ArgumentError: a value outside its range, or a merge other than "concat" without a second direction.

    Note:
        The state of a call may also hold gradients: nothing is detached on the way.

    Example:
        >>> from gatestack.nn import GRU
        >>> GRU(5).input_size is None
        True
        >>> GRU(5).build(3).weight_ih_l0.shape
        torch.Size([15, 3])
    """

    gates: ClassVar[int]
    state_names: ClassVar[tuple[str, ...]] = ("h",)
    refused: ClassVar[tuple[str, ...]] = ()  # probabilities of a Regularisation that the cell cannot have
    input_size: int | None = None
    _like: Tensor

    def __init__(
        self,
        hidden_size: int,
        input_size: int | None = None,
        *,
        bidirectional: bool = False,
        merge: Merge = "concat",
        return_sequences: bool = True,
        initial_state: InitialState = "zeros",
        regularisation: Regularisation | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        owner = type(self).__name__
        check_choice("merge", merge, get_args(Merge), owner=owner)
        check_choice("initial_state", initial_state, get_args(InitialState), owner=owner)
        if merge != "concat" and not bidirectional:
            raise ArgumentError(
                f"merge={merge!r} with one direction",
                where=owner,
                expected="bidirectional=True, or no merge",
            )
        self.hidden_size = check_whole("hidden_size", hidden_size, owner=owner)
        self.bidirectional = bidirectional
        self.merge = merge
        self.return_sequences = return_sequences
        self.initial_state = initial_state
        self._regularisation = _checked(regularisation, owner)
        self._regularisation.refuse(self.refused, owner)
        self._spec = self._regularised(1)
        # Per direction, in the order of `DirectionWeights`, the names of its parameters.
        self._parts = [
            [part + suffix if part in self._spec.weight_shapes else None for part in DirectionWeights._fields]
            for suffix in _SUFFIXES[: self.num_directions]
        ]
        self._alone: StackSpec | None = None
        declare_parameters(self, self._parameter_shapes(), dtype)
        if input_size is not None:
            self.build(input_size)

    @property
    def dtype(self) -> torch.dtype:
        """Of the parameters."""
        found = self._buffers["_like"]  # past torch's look-up, which is slow
        return self._like.dtype if found is None else found.dtype

    @property
    def num_directions(self) -> int:
        """D: 2 when bidirectional, else 1."""
        return 2 if self.bidirectional else 1

    @property
    def output_size(self) -> int:
        """Features of the output: D·P when directions are side by side, else P."""
        return self._spec.output_size * (self.num_directions if self.merge == "concat" else 1)

    @property
    def looks_ahead(self) -> bool:
        """Whether an output depends on later steps: with a second direction."""
        return self.bidirectional

    @property
    def regularisation(self) -> Regularisation:
        """What was given to the constructor."""
        return self._regularisation

    @property
    def spec(self) -> LayerSpec:
        """The layer as the kernels know it.

        Raises:
            ArgumentError: the layer is not built yet.
        """
        if self.input_size is None:
            raise ArgumentError("the layer has no input_size yet", where=type(self).__name__, hint="build it")
        return self._spec

    def build(self, input_size: int) -> Recurrent:
        """Make the parameters for inputs of `input_size` features; nothing happens where they exist already.

        Returns:
            The layer itself.

        Raises:
            ArgumentError: the layer was built for another input size.

        Example:
            >>> from gatestack.nn import LSTM
            >>> LSTM(4).build(2).input_size
            2
        """
        size = check_size(input_size, self.input_size, type(self).__name__)
        if self.input_size == size:
            return self
        self._spec = self._regularised(size)
        self._alone = StackSpec((self._spec,), self.num_directions)
        make_parameters(self, self._like, self._parameter_shapes())
        self.input_size = size
        self.reset_parameters()
        return self

    def check_input(self, x: object, owner: str) -> Tensor:
        """Refuse an x that is not (N, T, C) in the dtype and on the device of the parameters.

        Returns:
            x.
        """
        return check_input(x, self.input_size, self._like, owner)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw the weights anew from torch's random state (see the class for the distributions).

        Example:
            >>> from gatestack.nn import RNN
            >>> layer = RNN(4, 2)
            >>> layer.reset_parameters()
            >>> layer.bias_ih_l0.tolist()
            [0.0, 0.0, 0.0, 0.0]
        """
        for name in self._parameter_shapes():
            draw_parameter(name, getattr(self, name), self.gates)

    def extra_repr(self) -> str:
        """Size first, then every setting that is not its default, and the backend where it is not native."""
        parts = [str(self.hidden_size), f"input_size={'?' if self.input_size is None else self.input_size}"]
        if self.bidirectional:
            parts += ["bidirectional=True"]
        if self.merge != "concat":
            parts += [f"merge={self.merge!r}"]
        if not self.return_sequences:
            parts += ["return_sequences=False"]
        if self.initial_state != "zeros":
            parts += [f"initial_state={self.initial_state!r}"]
        parts += self._shown_options()
        if self._regularisation != _NOTHING:
            parts += [f"regularisation={self._regularisation!r}"]
        backend = shown_backend(self._like)
        if backend is not None:
            parts += [f"backend={backend!r}"]
        return ", ".join(parts)

    def weights(self, *, dropped: bool = True) -> tuple[DirectionWeights, ...]:
        """Give the parameters of each direction as the kernels take them.

        Args:
            dropped: apply `weight_drop`, where it is set and the layer trains.

        Returns:
            One `DirectionWeights` for each direction, shapes as the class has them.
        """
        own = self._own
        every = []
        for names in self._parts:
            parts = [own(name) if name else None for name in names]
            every.append(DirectionWeights(*parts))  # type: ignore[arg-type]
        drop = self._regularisation.weight_drop
        if dropped and drop and self.training:
            every = [one._replace(weight_hh=nn.functional.dropout(one.weight_hh, drop)) for one in every]
        return tuple(every)

    def _own(self, name: str) -> Tensor:
        """Give a parameter; past torch's look-up, which is slow, unless something replaced the parameter."""
        found = self._parameters.get(name)
        return getattr(self, name) if found is None else found

    def _layer_spec(self, input_size: int) -> LayerSpec:
        """Say which cell the kernels are to compute, with its own options."""
        raise NotImplementedError

    def _shown_options(self) -> list[str]:
        """Give what `repr` shows of the options of the cell."""
        return []

    def _regularised(self, input_size: int) -> LayerSpec:
        """Say what the kernels are to compute, with the regularisation."""
        chosen = self._regularisation
        return replace(
            self._layer_spec(input_size),
            hidden_dropout=chosen.recurrent_dropout,
            candidate_dropout=chosen.candidate_dropout,
            zoneout_hidden=chosen.zoneout_hidden,
            zoneout_cell=chosen.zoneout_cell,
        )

    def _run(
        self, x: Tensor, state: object, lengths: Lengths | None, mask: Mask | None, *, cells: bool = False
    ) -> tuple[Tensor, StackResult]:
        """Check a call and compute it -> the output in the form that was asked for, all results."""
        owner = type(self).__name__
        self.check_input(x, owner)
        if self._alone is None:
            self.build(x.shape[2])
        spec = self._alone
        if spec is None:
            raise RuntimeError("a layer was built without a spec")
        steps = Steps.read(x, lengths, mask, owner)
        result = run_stack(
            spec,
            x,
            [self._states(x, state)],
            [self.weights()],
            lengths=steps.lengths,
            mask=steps.mask,
            training=self.training,
            seed=draw_seed() if self.training and spec.draws else 0,
            cells=cells,
        )
        return self._formed(result.output, result.finals[0][0]), result

    def _formed(self, output: Tensor, h_n: Tensor) -> Tensor:
        """Give the output (N, T, D·P) of the kernels the form that was asked for."""
        if not self.return_sequences:
            return merged(h_n[0], h_n[1], self.merge, dim=1) if self.bidirectional else h_n[0]
        if self.merge == "concat":  # as the kernels give it
            return output
        forward, reverse = output.chunk(2, dim=2)
        return merged(forward, reverse, self.merge, dim=2)

    def _states(self, x: Tensor, state: object) -> tuple[Tensor, ...] | None:
        """Check a state, or take the trained one; None for zeros."""
        if state is None and self.initial_state == "zeros":
            return None
        shapes = [(self.num_directions, x.shape[0], size) for size in self._spec.state_sizes]
        if state is not None:
            return check_states(state, self.state_names, shapes, self._like, type(self).__name__)
        trained = (self._own(f"initial_{name}_l0") for name in self.state_names)
        return tuple(part[:, None].expand(shape) for part, shape in zip(trained, shapes, strict=True))

    def _parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        shapes = {
            name + suffix: shape
            for suffix in _SUFFIXES[: self.num_directions]
            for name, shape in self._spec.weight_shapes.items()
        }
        if self.initial_state == "trained":
            for name, size in zip(self.state_names, self._spec.state_sizes, strict=True):
                shapes[f"initial_{name}_l0"] = (self.num_directions, size)
        return shapes


def draw_seed() -> Tensor:
    """Draw the seed of the masks of one call from torch's random state -> one int64, shape ()."""
    return torch.randint(0, 2**63 - 1, ())


def _checked(regularisation: object, owner: str) -> Regularisation:
    if regularisation is None:
        return _NOTHING
    if not isinstance(regularisation, Regularisation):
        raise ArgumentError(
            f"regularisation is of type {type(regularisation).__name__}",
            where=owner,
            expected="a Regularisation, or None",
        )
    return regularisation
