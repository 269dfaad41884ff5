"""What a module tree of torch does, written down by running it once on stand-ins for tensors (`torch.fx`)."""

from __future__ import annotations

import inspect
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import fx, nn
from torch.nn.utils import rnn

from gatestack.errors import ArgumentError

__all__ = ["MADE_TENSOR", "Alone", "forward_parameters", "is_ours", "place_of", "traced"]

_PACKING = (rnn.pack_padded_sequence, rnn.pad_packed_sequence)
MADE_TENSOR = "_tensor_constant"
"""How torch.fx names the attributes of a tree in which it keeps tensors that code makes of numbers."""

# The functions are replaced for every thread: of two at once, one would put back the other's.
_ONE_AT_A_TIME = threading.RLock()
_OURS = Path(__file__).parents[2]
_TORCHS = Path(torch.__file__).parent


def traced(module: nn.Module, inputs: Sequence[str]) -> fx.Graph:
    """Write down what `forward` does.

    Modules of torch and layers of `gatestack.nn` are taken whole; the code of all others is followed.

    Args:
        module: in eval mode.
        inputs: names of parameters of `forward`, in any order; "state.0" and "state.1" make a tuple of the
            parameter `state`. Parameters that are not named keep their defaults.

    Returns:
        The graph; its placeholders have the names of the inputs as targets.

    Raises:
        ArgumentError: what `forward` does depends on the numbers in a tensor or on its shape, or is out of
            the sight of the trace; with the line.

    Example:
        >>> [node.op for node in traced(nn.Sequential(nn.Linear(3, 4)), ["input"]).nodes]
        ['placeholder', 'call_module', 'output']
    """
    tracer = _Tracer(inputs)
    before = [(name, one, dict(vars(one))) for name, one in module.named_modules()]
    try:
        with _ONE_AT_A_TIME, _functions_recorded():
            graph = tracer.trace(module)
    except ArgumentError:
        raise
    except fx.proxy.TraceError as error:
        raise _refused(module, error, _control_flow(error)) from None
    except (TypeError, ValueError, RuntimeError, AttributeError, NotImplementedError, KeyError) as error:
        raise _refused(module, error, f"{type(error).__name__}: {str(error).splitlines()[0][:200]}") from None
    finally:
        kept = [f"{name}.{key}".strip(".") for name, one, was in before for key in _restored(one, was)]
    if kept:
        raise ArgumentError(
            f"forward sets self.{kept[0]}",
            where=type(module).__name__,
            expected="a forward that keeps nothing between calls",
            hint="give the state to forward, and return the next one",
        )
    return graph


def _restored(module: nn.Module, before: dict[str, Any]) -> list[str]:
    """Give a module the attributes that it had -> those that its code had set.

    Tensors that code makes of numbers stay: the graph finds them as attributes of the tree.
    """
    now = vars(module)
    new = [name for name in now if name not in before or now[name] is not before[name]]
    changed = [name for name in new if not name.startswith(MADE_TENSOR)]
    for name in changed:
        now.pop(name)
    now.update(before)
    return changed


def forward_parameters(module: nn.Module) -> dict[str, inspect.Parameter]:
    """Give the parameters of `forward`, without `self`, `*args` and `**kwargs`.

    Example:
        >>> list(forward_parameters(nn.LSTM(3, 4)))
        ['input', 'hx']
    """
    inner = module.inner if isinstance(module, Alone) else module
    found = inspect.signature(inner.forward).parameters
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY,
             inspect.Parameter.POSITIONAL_ONLY)  # fmt: skip
    return {name: parameter for name, parameter in found.items() if parameter.kind in named}


def place_of(node: fx.Node) -> str:
    """Say where a node comes from: the line of code, and the module that it calls.

    Example:
        >>> place_of(traced(nn.Sequential(nn.ReLU()), ["input"]).find_nodes(op="output")[0])
        'output'
    """
    called = f"module {node.target!r}" if node.op == "call_module" else node.name
    file, line = node.meta.get("place", ("", 0))
    return f"{called} ({file}, line {line})" if file else called


def _users_line() -> tuple[str, int]:
    """Give file and line of the code that is followed now; "" where it is torch's own."""
    frame = inspect.currentframe()
    while frame is not None and frame.f_code is not traced.__code__:
        if _users(frame.f_code.co_filename):
            return Path(frame.f_code.co_filename).name, frame.f_lineno
        frame = frame.f_back
    return "", 0


def _users(file: str) -> bool:
    """Whether a file is the user's, neither torch's nor ours."""
    return not file.startswith((str(_OURS), str(_TORCHS)))


class Alone(nn.Module):
    """A tree of one module that is taken whole.

    Args:
        module: for example an `nn.LSTM`.

    Example:
        >>> [name for name, _ in Alone.of(nn.LSTM(3, 4)).named_children()]
        ['lstm']
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self._name = type(module).__name__.lower()
        self.add_module(self._name, module)

    @staticmethod
    def of(module: nn.Module) -> Alone:
        """Make a tree that is named as the module is."""
        made: Alone = type(type(module).__name__, (Alone,), {})(module)
        return made

    @property
    def inner(self) -> nn.Module:
        """The module."""
        return self.get_submodule(self._name)

    def forward(self, **given: Any) -> Any:
        """Call the module."""
        return self.inner(**given)


def is_ours(module: nn.Module) -> bool:
    """Whether a module is a layer of `gatestack.nn`, or a drop-in.

    Example:
        >>> from gatestack.compat.torch import LSTM
        >>> is_ours(LSTM(3, 4)), is_ours(nn.LSTM(3, 4))
        (True, False)
    """
    return type(module).__module__.startswith(("gatestack.nn.", "gatestack.compat."))


class _Tracer(fx.Tracer):
    """Follows the code of a module, and stops at modules of torch and layers of ours."""

    def __init__(self, inputs: Sequence[str]) -> None:
        super().__init__(autowrap_functions=_PACKING)
        self._inputs = inputs

    def is_leaf_module(self, module: nn.Module, module_qualified_name: str) -> bool:
        """Stop at recurrent modules, drop-ins and subclasses included, and at layers of ours."""
        return is_ours(module) or super().is_leaf_module(module, module_qualified_name)

    def create_node(self, *args: Any, **kwargs: Any) -> fx.Node:
        """Note the line of the user's code with each node."""
        node = super().create_node(*args, **kwargs)
        node.meta["place"] = _users_line()
        return node

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Give what a recurrent module gives as the tuple that it is, so that code may look at it."""
        found = super().call_module(m, forward, args, kwargs)
        if isinstance(m, nn.LSTM):
            return found[0], (found[1][0], found[1][1])
        if isinstance(m, nn.RNNBase | nn.LSTMCell):
            return found[0], found[1]
        return found

    def create_args_for_root(
        self,
        root_fn: Callable[..., Any],
        is_module: bool,  # noqa: ARG002 (torch's arguments)
        concrete_args: Any = None,  # noqa: ARG002
    ) -> tuple[Callable[..., Any], list[Any]]:
        """Make a placeholder for each input; what is not an input keeps its default."""
        root = self.root
        made = {name: self.create_proxy("placeholder", name, (), {}) for name in self._inputs}
        given: dict[str, Any] = {}
        for name in forward_parameters(root):
            parts = [made[f"{name}.{number}"] for number in range(len(made)) if f"{name}.{number}" in made]
            if name in made or parts:
                given[name] = made[name] if name in made else tuple(parts)

        def call(*_: Any) -> Any:
            return root_fn(root, **given)

        return call, []

    def iter(self, obj: fx.Proxy) -> Iterator[Any]:  # noqa: ARG002
        """Refuse a loop over a tensor."""
        raise fx.proxy.TraceError("a loop over a tensor, whose length is known only when it runs")


@contextmanager
def _functions_recorded() -> Iterator[None]:
    """Have packing written down as one step, also where code finds it in torch's own module.

    The same for zeros, whose first size may be that of a batch: torch looks for stand-ins behind it only.
    """
    homes = [(rnn, function.__name__) for function in _PACKING] + [(torch, "zeros")]
    before = [getattr(home, name) for home, name in homes]
    for (home, name), function in zip(homes, before, strict=True):
        setattr(home, name, _recorded(function))
    try:
        yield
    finally:
        for (home, name), function in zip(homes, before, strict=True):
            setattr(home, name, function)


def _recorded(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        proxies = [value for value in (*args, *kwargs.values()) if isinstance(value, fx.Proxy)]
        if not proxies:
            return function(*args, **kwargs)
        return proxies[0].tracer.create_proxy("call_function", function, args, kwargs)

    return call


def _control_flow(error: Exception) -> str:
    if "control flow" in str(error):
        return "a decision that depends on a tensor or its shape, which is known only when it runs"
    return str(error).splitlines()[0][:200].removesuffix(".")


def _refused(module: nn.Module, error: Exception, what: str) -> ArgumentError:
    """Name the line of the user's code in which the trace ended."""
    frames = traceback.extract_tb(error.__traceback__)
    users = [frame for frame in frames if _users(frame.filename)] or frames[-1:]
    last = users[-1]
    where = f"{type(module).__name__}, {Path(last.filename).name}, line {last.lineno}"
    return ArgumentError(
        f"{what}: {last.line}" if last.line else what,
        where=where,
        expected="layers of torch and functions of tensors, the same for every input",
        hint="move what decides out of forward, or convert the part of the tree that can be followed",
    )
