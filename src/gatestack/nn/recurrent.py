"""What every recurrent layer shares: parameters, checks, states, directions, the form of the output.

A cell's own file adds its equations and the call of its kernel. The letters: N batch, T time, C input
features, H hidden, D directions (1 or 2), G gates.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from gatestack.errors import ArgumentError, check_choice, check_whole
from gatestack.kernels.recurrent import run_stack
from gatestack.kernels.spec import Cell, DirectionWeights, LayerSpec, StackResult, StackSpec
from gatestack.nn.steps import Lengths, Mask, Steps

__all__ = ["InitialState", "Merge", "Recurrent"]

Merge = Literal["concat", "sum", "mul", "average"]
InitialState = Literal["zeros", "trained"]

_SUFFIXES = ("_l0", "_l0_reverse")  # torch's names in a module of one layer
_WEIGHT_NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


class Recurrent(nn.Module):
    """Base of `LSTM`, `GRU` and `RNN`: one layer over padded, ragged or masked sequences, one or both ways.

    Parameters have torch's names and shapes: `weight_ih_l0` (G·H, C), `weight_hh_l0` (G·H, H), `bias_ih_l0`
    and `bias_hh_l0` (G·H,), the same with `_reverse` for the second direction. They are made when
    `input_size` is known: in the constructor, by `build`, by `load_state_dict`, or at the first call. An
    optimiser made before that sees no parameters; `repr` shows `input_size=?` until then.

    Each gate's block of `weight_ih` starts Glorot uniform (Glorot & Bengio 2010, Eq. 16), each gate's block
    of `weight_hh` orthogonal (Saxe et al. 2014), biases zero, trained initial states zero.

    Args:
        hidden_size: H, at least 1.
        input_size: C, or None to take it from the first input.
        bidirectional: run a second direction from each row's last real step to its first.
        merge: how the two directions become one output: side by side ("concat"), or "sum", "mul", "average".
        return_sequences: output every step; otherwise only the final state h of each direction.
        initial_state: "zeros", or "trained": parameters `initial_h_l0` (and `initial_c_l0`) (D, H), used
            where a call gives no state.
        dtype: of the parameters; None takes torch's default.

    Raises:
        ArgumentError: a value outside its range, or a merge other than "concat" without a second direction.

    Example:
        >>> from gatestack.nn import GRU
        >>> GRU(5)
        GRU(5, input_size=?)
        >>> GRU(5).build(3).weight_ih_l0.shape
        torch.Size([15, 3])
    """

    gates: ClassVar[int]
    state_names: ClassVar[tuple[str, ...]] = ("h",)

    def __init__(
        self,
        hidden_size: int,
        input_size: int | None = None,
        *,
        bidirectional: bool = False,
        merge: Merge = "concat",
        return_sequences: bool = True,
        initial_state: InitialState = "zeros",
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
        self.input_size: int | None = None
        self.bidirectional = bidirectional
        self.merge = merge
        self.return_sequences = return_sequences
        self.initial_state = initial_state
        for name in self._parameter_names():
            self.register_parameter(name, None)
        # Follows .to(), .double() and the like, so that a layer built later lands where the user sent it.
        self.register_buffer("_like", torch.empty(0, dtype=dtype), persistent=False)
        self._like: Tensor
        self.register_load_state_dict_pre_hook(_build_from_state_dict)  # type: ignore[no-untyped-call]
        if input_size is not None:
            self.build(input_size)

    @property
    def num_directions(self) -> int:
        """D: 2 when bidirectional, else 1."""
        return 2 if self.bidirectional else 1

    @property
    def output_size(self) -> int:
        """Features of the output: D·H when directions are side by side, else H."""
        return self.hidden_size * (self.num_directions if self.merge == "concat" else 1)

    def build(self, input_size: int) -> Recurrent:
        """Make the parameters for inputs of `input_size` features; nothing happens where they exist already.

        Returns:
            The layer itself.

        Raises:
            ArgumentError: the layer was built for another input size.

        Example:
            >>> from gatestack.nn import LSTM
            >>> LSTM(4).build(2)
            LSTM(4, input_size=2)
        """
        owner = type(self).__name__
        size = check_whole("input_size", input_size, owner=owner)
        if self.input_size == size:
            return self
        if self.input_size is not None:
            raise ArgumentError(
                f"input_size {size}",
                where=owner,
                expected=f"{self.input_size}, for which the layer was built",
            )
        rows, hidden = self.gates * self.hidden_size, self.hidden_size
        shapes = {
            "weight_ih": (rows, size),
            "weight_hh": (rows, hidden),
            "bias_ih": (rows,),
            "bias_hh": (rows,),
        }
        shapes |= {f"initial_{name}": (self.num_directions, hidden) for name in self.state_names}
        for name in self._parameter_names():
            empty = self._like.new_empty(shapes[name.partition("_l0")[0]])
            self.register_parameter(name, nn.Parameter(empty))
        self.input_size = size
        self.reset_parameters()
        return self

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
        for name in self._parameter_names():
            parameter = getattr(self, name)
            if name.startswith("weight_ih"):
                for block in parameter.chunk(self.gates):
                    nn.init.xavier_uniform_(block)
            elif name.startswith("weight_hh"):
                for block in parameter.chunk(self.gates):
                    nn.init.orthogonal_(block)
            else:
                parameter.zero_()

    def extra_repr(self) -> str:
        """Size first, then every setting that is not its default."""
        parts = [str(self.hidden_size), f"input_size={'?' if self.input_size is None else self.input_size}"]
        if self.bidirectional:
            parts += ["bidirectional=True"]
        if self.merge != "concat":
            parts += [f"merge={self.merge!r}"]
        if not self.return_sequences:
            parts += ["return_sequences=False"]
        if self.initial_state != "zeros":
            parts += [f"initial_state={self.initial_state!r}"]
        return ", ".join(parts)

    def _enter(
        self, x: Tensor, state: object, lengths: Lengths | None, mask: Mask | None
    ) -> tuple[Tensor, tuple[Tensor, ...], Steps]:
        """Check a call -> x with each row's real steps first, the initial states (D, N, H), the steps."""
        owner = type(self).__name__
        check_input(x, self.input_size, self._like, owner)
        if self.input_size is None:
            self.build(x.shape[2])
        steps = Steps.read(x, lengths, mask, owner)
        return steps.compress(x), self._states(x, state), steps

    def _leave(self, output: Tensor, h_n: Tensor, steps: Steps) -> Tensor:
        """Give the output (N, T, D·H) of a kernel the form that was asked for."""
        if not self.return_sequences:
            return self._merged(tuple(h_n))
        if self.merge != "concat":
            output = self._merged(output.chunk(2, dim=2))
        return steps.expand(output)

    def _merged(self, directions: tuple[Tensor, ...]) -> Tensor:
        if len(directions) == 1:
            return directions[0]
        forward, reverse = directions
        if self.merge == "concat":
            return torch.cat((forward, reverse), dim=-1)
        if self.merge == "mul":
            return forward * reverse
        total = forward + reverse
        return total / 2 if self.merge == "average" else total

    def _run(
        self, x: Tensor, states: tuple[Tensor, ...], steps: Steps, *, cells: bool = False
    ) -> StackResult:
        """Call the kernels for this one layer."""
        spec = StackSpec((LayerSpec(self._cell(), x.shape[2], self.hidden_size),), self.num_directions)
        return run_stack(spec, x, [states], [self._weights()], lengths=steps.lengths, cells=cells)

    def _cell(self) -> Cell:
        raise NotImplementedError

    def _weights(self) -> tuple[DirectionWeights, ...]:
        """The parameters of each direction, as the kernels take them."""
        return tuple(
            DirectionWeights(
                getattr(self, "weight_ih" + suffix),
                getattr(self, "weight_hh" + suffix),
                getattr(self, "bias_ih" + suffix),
                getattr(self, "bias_hh" + suffix),
            )
            for suffix in _SUFFIXES[: self.num_directions]
        )

    def _states(self, x: Tensor, state: object) -> tuple[Tensor, ...]:
        owner, names = type(self).__name__, self.state_names
        shape = (self.num_directions, x.shape[0], self.hidden_size)
        if state is None:
            if self.initial_state == "zeros":
                return (x.new_zeros(shape, dtype=self._like.dtype),) * len(names)
            trained = (getattr(self, f"initial_{name}_l0") for name in names)
            return tuple(parameter[:, None].expand(shape).contiguous() for parameter in trained)
        given = (state,) if isinstance(state, Tensor) else state
        wanted = (
            "one tensor h" if len(names) == 1 else f"a tuple ({', '.join(names)}) of {len(names)} tensors"
        )
        if not isinstance(given, tuple | list) or len(given) != len(names):
            raise ArgumentError(f"state is {_kind(state)}", where=owner, expected=wanted)
        if isinstance(state, tuple | list) and len(names) == 1:
            raise ArgumentError(f"state is {_kind(state)}", where=owner, expected=wanted)
        for name, part in zip(names, given, strict=True):
            if not isinstance(part, Tensor):
                raise ArgumentError(f"state {name} is {_kind(part)}", where=owner, expected="a torch.Tensor")
            if part.shape != shape:
                raise ArgumentError(
                    f"state {name} has shape {tuple(part.shape)}",
                    where=owner,
                    expected=f"(directions, batch, hidden) = {shape}",
                )
            check_like(f"state {name}", part, self._like, owner)
        return tuple(part.contiguous() for part in given)

    def _parameter_names(self) -> list[str]:
        names = [name + suffix for suffix in _SUFFIXES[: self.num_directions] for name in _WEIGHT_NAMES]
        if self.initial_state == "trained":
            names += [f"initial_{name}_l0" for name in self.state_names]
        return names


def check_input(x: object, input_size: int | None, like: Tensor, owner: str) -> None:
    """Refuse an x that is not (batch, time, input_size) in the dtype and on the device of the parameters."""
    if not isinstance(x, Tensor):
        raise ArgumentError(
            f"x is {_kind(x)}", where=owner, expected="a torch.Tensor", hint="torch.as_tensor(x) makes one"
        )
    width = "features" if input_size is None else str(input_size)
    if x.dim() != 3 or (input_size is not None and x.shape[2] != input_size):
        hint = None
        if x.dim() == 2:
            hint = (
                "a recurrent layer reads a sequence of vectors for each row: x[:, :, None] makes "
                "(batch, time, 1), and a layer below must return sequences"
            )
        raise ArgumentError(
            f"x has shape {tuple(x.shape)}", where=owner, expected=f"(batch, time, {width})", hint=hint
        )
    check_like("x", x, like, owner)


def check_like(what: str, x: Tensor, like: Tensor, owner: str) -> None:
    """Refuse a tensor of another dtype (unless autocast converts it) or device than the parameters."""
    if x.device != like.device:
        raise ArgumentError(
            f"{what} is on {x.device}", where=owner, expected=f"{like.device}, where the parameters are"
        )
    if x.dtype != like.dtype and not torch.is_autocast_enabled(x.device.type):
        raise ArgumentError(
            f"{what} has dtype {_name(x.dtype)}",
            where=owner,
            expected=f"{_name(like.dtype)}, the parameters' own",
            hint=f"x.to(torch.{_name(like.dtype)}) converts x, .to(torch.{_name(x.dtype)}) the layer",
        )


def _build_from_state_dict(
    layer: Recurrent,
    state_dict: dict[str, Any],
    prefix: str,
    local_metadata: dict[str, Any],  # noqa: ARG001 (torch calls the hook with seven arguments)
    strict: bool,  # noqa: ARG001
    missing_keys: list[str],
    unexpected_keys: list[str],  # noqa: ARG001
    error_msgs: list[str],
) -> None:
    """Let an unbuilt layer take its input size from the weights it is about to load."""
    weight = state_dict.get(prefix + "weight_ih_l0")
    if layer.input_size is None and weight is None:
        missing_keys.append(prefix + "weight_ih_l0")
    elif layer.input_size is None and isinstance(weight, Tensor) and weight.dim() == 2:
        layer.build(weight.shape[1])
    if prefix + "weight_ih_l1" in state_dict:
        error_msgs.append(
            f"the weights have several layers ({prefix}weight_ih_l1), {type(layer).__name__} is one layer; "
            "gatestack.nn.Stack takes several."
        )


def _kind(value: object) -> str:
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    return f"of type {type(value).__module__}.{type(value).__qualname__}".replace("builtins.", "")


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
