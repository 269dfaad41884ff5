"""A network as Python source that needs torch alone.

Nothing of a network's own texts gets into the source but as an identifier: names are cut down to letters,
digits and underscores, options are numbers and words of ours.
"""

from __future__ import annotations

import keyword
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gatestack.convert.layers import Constant, NetworkLayer
from gatestack.convert.network import Network
from gatestack.convert.ports import Node
from gatestack.errors import ArgumentError

__all__ = ["SourceWriter", "identifier"]

_RESERVED = {"Path", "folder", "forward", "load", "model", "nn", "self", "torch", "training", "_"}
_ASSIGNED = re.compile(r"(\w+) = ")


@dataclass
class SourceWriter:
    """The source that grows: what the constructor makes, what `forward` computes, and the weights.

    Args:
        network: that is written.

    Attributes:
        made: lines of the constructor.
        steps: lines of `forward`.
        state: name in the `state_dict` of the module to tensor.
        modules: attributes that hold modules or weights.
        parts: variable that holds states of several layers, to how many.
    """

    network: Network
    made: list[str] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)
    state: dict[str, Tensor] = field(default_factory=dict)
    modules: list[str] = field(default_factory=list)
    parts: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._expressions: dict[str, str] = {}
        self._sizes: dict[str, list[str]] = {}
        self._taken: set[str] = set(_RESERVED)
        self._attributes: dict[int, str] = {}
        self._nodes = {node.name: node for node in self.network.nodes}
        self.uses = Counter(name for node in self.network.nodes for name in node.inputs)
        self.uses.update(self.network.outputs)
        self.arguments = [self.variable(port.name) for port in self.network.inputs]
        for port, argument in zip(self.network.inputs, self.arguments, strict=True):
            self._expressions[port.name] = argument

    def variable(self, name: str) -> str:
        """Give a variable that nothing else has, named like this."""
        found = _free(identifier(name), self._taken)
        self._taken.add(found)
        return found

    def attribute(self, node: Node, made: str, state: dict[str, Tensor]) -> str:
        """Have the constructor make something, once for each layer -> `self.` and its name.

        Args:
            node: whose layer it is.
            made: an expression, such as `nn.Linear(3, 2)`.
            state: its tensors, by their names in it; "" for a tensor itself.
        """
        if id(node.layer) not in self._attributes:
            name = self._attribute(node)
            self.made.append(f"self.{name} = {made}")
            frozen = [key for key, tensor in state.items() if _is_frozen(tensor)]
            self.made += [f"self.{name}{'.' * bool(key)}{key}.requires_grad_(False)" for key in frozen]
            self.state |= {f"{name}{'.' * bool(key)}{key}": tensor for key, tensor in state.items()}
        return f"self.{self._attributes[id(node.layer)]}"

    def buffer(self, node: Node, made: str, tensor: Tensor) -> str:
        """Have the constructor register a tensor that does not train -> `self.` and its name."""
        if id(node.layer) not in self._attributes:
            name = self._attribute(node)
            self.made.append(f'self.register_buffer("{name}", {made})')
            self.state[name] = tensor
        return f"self.{self._attributes[id(node.layer)]}"

    def give(self, output: str, expression: str) -> None:
        """Compute an output of a node: a line of `forward`.

        Args:
            output: its name in the network.
            expression: what computes it.
        """
        variable = self.variable(output)
        self.steps.append(f"{variable} = {expression}")
        self.stand_for(output, variable)

    def stand_for(self, output: str, expression: str) -> None:
        """Say which expression holds an output of a node."""
        self._expressions[output] = expression

    def stand_for_sizes(self, output: str, expressions: list[str]) -> None:
        """Say which expressions, whole numbers of Python, are the sizes that an output holds."""
        self._sizes[output] = expressions

    def value(self, name: str) -> str:
        """Give the expression of a tensor; of a single size, the number."""
        return self._sizes[name][0] if name in self._sizes else self._expressions[name]

    def operand(self, name: str) -> str:
        """Give the expression of a tensor, or the number itself where it is a constant one."""
        layer = self._constant(name)
        if layer is None or layer.value.dim() or isinstance(layer.value, torch.nn.Parameter):
            return self.value(name)
        return literal(layer.value)

    def sizes(self, name: str) -> list[str]:
        """Give the expressions of sizes, one for each."""
        if name in self._sizes:
            return self._sizes[name]
        layer = self._constant(name)
        if layer is not None and layer.value.dim() == 1:
            return [str(int(size)) for size in layer.value.tolist()]
        return [f"int({self.value(name)})"]

    def is_written(self, name: str) -> bool:
        """Whether an output is computed already, by a module that does more than its own layer."""
        return name in self._expressions

    def is_size(self, name: str) -> bool:
        """Whether an output holds sizes, which are numbers of Python in the source."""
        return name in self._sizes

    def node_of(self, name: str) -> Node | None:
        """Find the node that gives this output; None for an input of the network."""
        return self._nodes.get(name)

    def refuse(self, node: Node, what: str, hint: str | None = None) -> ArgumentError:
        """Make the error that names a node that torch cannot compute."""
        return ArgumentError(
            what,
            where=f"node {node.name!r} ({node.layer.kind})",
            expected="what plain torch modules compute",
            hint=hint or "export to ONNX, which has it",
        )

    def finish(self) -> str:
        """Give the whole source."""
        name = self.class_name
        outputs = [self.value(one) for one in self.network.outputs]
        ports = ", ".join(
            f"{argument} {port.axes} {port.dtype}"
            for argument, port in zip(self.arguments, self.network.inputs, strict=True)
        )
        double = ".double()" if self.network.dtype == torch.float64 else ""
        lines = [
            '"""A network in plain torch, written by Gatestack; `load` gives it its weights."""',
            "",
            "from pathlib import Path",
            "",
            "import torch",
            "from torch import nn",
            "",
            "",
            f"class {name}(nn.Module):",
            f'    """Takes {ports}."""',
            "",
            "    def __init__(self):",
            "        super().__init__()",
            *[f"        {line}" for line in self.made],
            "",
            f"    def forward(self, {', '.join(self.arguments)}):",
            *[f"        {line}" for line in _read_lines(self.steps, ", ".join(outputs))],
            f"        return {', '.join(outputs)}",
            "",
            "",
            "def load(folder=None):",
            '    """Make the network, in eval mode, with the weights beside this file or in a folder."""',
            "    from safetensors.torch import load_file",
            "",
            "    folder = Path(__file__).parent if folder is None else Path(folder)",
            f"    model = {name}(){double}",
            '    model.load_state_dict(load_file(folder / "weights.safetensors"))',
            "    return model.eval()",
            "",
        ]
        return "\n".join(lines)

    @property
    def class_name(self) -> str:
        """Name of the class in the source."""
        name = identifier(self.network.name)
        name = name[0].upper() + name[1:]
        return f"{name}Network" if name in _RESERVED else name

    def _constant(self, name: str) -> Constant | None:
        layer: NetworkLayer | None = self._nodes[name].layer if name in self._nodes else None
        return layer if isinstance(layer, Constant) else None

    def _attribute(self, node: Node) -> str:
        # Layers of one module are named alike but for the number of the layer.
        name = _free(identifier(re.sub(r"\.l\d+$", "", node.name)), {*self.modules, *_RESERVED})
        self._attributes[id(node.layer)] = name
        self.modules.append(name)
        return name


def identifier(name: str) -> str:
    """Make an identifier of Python of any text.

    Example:
        >>> identifier("encoder.lstm:1"), identifier("2nd"), identifier("class"), identifier("…")
        ('encoder_lstm_1', 'n2nd', 'class_', 'n')
    """
    plain = re.sub(r"[^0-9A-Za-z]+", "_", name).strip("_")[:60]
    if not plain or plain[0].isdigit():
        plain = f"n{plain}"
    return f"{plain}_" if keyword.iskeyword(plain) else plain


def literal(value: Tensor) -> str:
    """Write a number that reads back as the same one.

    Example:
        >>> literal(torch.tensor(0.1)), literal(torch.tensor(float("inf"))), literal(torch.tensor(2))
        ('0.1', 'torch.inf', '2')
    """
    number = value.item()
    if isinstance(number, float) and number - number != 0:  # not finite
        return "torch.nan" if number != number else "torch.inf" if number > 0 else "(-torch.inf)"
    text = str(value.numpy()) if value.dtype == torch.float32 else repr(number)
    return f"({text})" if text.startswith("-") else text


def tuple_of(expressions: Sequence[str]) -> str:
    """Write a tuple.

    Example:
        >>> tuple_of(["a"]), tuple_of(["a", "b"])
        ('(a,)', '(a, b)')
    """
    return f"({', '.join(expressions)}{',' * (len(expressions) == 1)})"


def _read_lines(lines: Sequence[str], ending: str) -> list[str]:
    """Leave out lines that compute what nothing behind them reads."""
    kept: list[str] = []
    for line in reversed(lines):
        assigned = _ASSIGNED.match(line)
        behind = " ".join([*kept, ending])
        if assigned is None or re.search(rf"(?<!\.)\b{assigned[1]}\b", behind):
            kept.append(line)
    return kept[::-1]


def _free(wanted: str, taken: set[str]) -> str:
    free, number = wanted, 1
    while free in taken:
        number += 1
        free = f"{wanted}_{number}"
    return free


def _is_frozen(tensor: Tensor) -> bool:
    return isinstance(tensor, torch.nn.Parameter) and not tensor.requires_grad
