"""A network that was imported, as inspection sees it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from gatestack.convert.layers.sequence import OverTime
from gatestack.convert.ports import Port
from gatestack.errors import ArgumentError, check_choice
from gatestack.inspect.subject import Outcome, Subject, Truth, evenly

__all__ = ["LossName", "network_subject"]

LossName = Literal["squared error", "cross-entropy", "cross-entropy of logits"]

_LEAST = 1e-12


def network_subject(
    network: nn.Module,
    port: Port,
    inputs: npt.ArrayLike,
    target: npt.ArrayLike | None,
    *,
    loss: LossName | None,
    title: str,
    sequences: int,
    outputs: Sequence[str],
) -> Subject:
    """Offer a network of one input; of several outputs the first is scored and explained.

    Args:
        network: any, called as `network(x)`, with the batch first.
        port: its input.
        inputs: (N, T, C), or (N, T) whole numbers.
        target: (N,) classes, or numbers of the shape of the output; None where nothing is known.
        loss: by which an answer is scored; None takes the cross-entropy of probabilities for whole numbers
            where the output is (N, K), else the squared error.
        title: of the model.
        sequences: number of sequences to look at, at most.
        outputs: names of the outputs.

    Raises:
        ArgumentError: shapes that do not fit, or a loss that does not fit the target.
    """
    if loss is not None:
        check_choice("loss", loss, get_args(LossName), owner="inspect")
    whole = torch.as_tensor(np.asarray(inputs))
    chosen = evenly(len(whole), sequences)
    x = whole[torch.from_numpy(chosen)]
    if whole.dim() != 3 and (port.dtype != "int64" or whole.dim() != 2):
        raise ArgumentError(
            f"the inputs have shape {tuple(whole.shape)}",
            where="inspect",
            expected="(sequences, steps, features), or (sequences, steps) of whole numbers",
        )
    x = x.double() if port.dtype != "int64" else x.to(torch.int64)
    known = None
    if target is not None:
        given = np.asarray(target)
        if len(given) != len(whole):
            raise ArgumentError(
                f"{len(given)} targets of {len(whole)} sequences", where="inspect", expected="as many"
            )
        known = torch.as_tensor(given[chosen])
    with torch.no_grad():
        said = _called(copy.deepcopy(network).eval(), x)  # a copy: the state that it keeps stays
    scored = _scoring(tuple(said.shape), known, loss)
    classes = scored is not None and scored[0] != "squared error"
    first = said.flatten(1).argmax(dim=1, keepdim=True)

    def run(model: nn.Module, inputs: Tensor) -> Outcome:
        output = _called(model, inputs)
        flat = output.flatten(1)
        answer = flat.gather(1, first)[:, 0] if classes else flat.mean(dim=1)
        return Outcome(answer, None if scored is None else scored[1](output))

    truth = None
    if known is not None:
        values = known.numpy()
        truth = Truth(values, "classes") if classes else Truth(values.reshape(len(values), -1), "numbers")
    which = "" if len(outputs) == 1 else f" {outputs[0]!r}, the first of {len(outputs)}"
    features = tuple(f"feature {n}" for n in range(x.shape[2])) if x.dim() == 3 else ()
    return Subject(
        title=title,
        network=network,
        inputs=x,
        run=run,
        features=features,
        sequences=tuple(f"sequence {row}" for row in chosen),
        truth=truth,
        answer=f"{'output for the class that is named' if classes else 'mean of the output'}{which}",
        loss="loss" if scored is None else scored[0],
        backwards=_backwards(network),
    )


def _called(network: nn.Module, x: Tensor) -> Tensor:
    reset = getattr(network, "reset_state", None)
    if reset is not None:  # what a stateful layer keeps would make every run another one
        reset()
    output: Any = network(x)
    first: Tensor = output[0] if isinstance(output, tuple) else output
    return first


def _scoring(
    shape: tuple[int, ...], known: Tensor | None, loss: LossName | None
) -> tuple[LossName, Callable[[Tensor], Tensor]] | None:
    """Choose the loss -> its name, and the loss of each sequence, (N,), of an output (N, …)."""
    if known is None:
        return None
    named = known.dim() == 1 and not known.is_floating_point() and len(shape) == 2 and shape[1] > 1
    chosen: LossName = loss or ("cross-entropy" if named else "squared error")
    if chosen == "squared error":
        numbers = known.double().reshape(len(known), -1)
        if numbers.shape[1] != int(np.prod(shape[1:])):
            raise ArgumentError(
                f"the target has shape {tuple(known.shape)}",
                where="inspect",
                expected=f"(sequences, {', '.join(map(str, shape[1:]))}), as the output",
            )
        return chosen, lambda output: (output.flatten(1) - numbers).square().mean(dim=1)
    if not named:
        raise ArgumentError(
            f"loss={chosen!r} with a target of shape {tuple(known.shape)} and outputs of shape {shape[1:]}",
            where="inspect",
            expected="(sequences,) whole numbers, and an output (sequences, classes)",
        )
    if chosen == "cross-entropy of logits":
        return chosen, lambda output: nn.functional.cross_entropy(output, known.long(), reduction="none")
    at = known.long()[:, None]
    return chosen, lambda output: -output.gather(1, at)[:, 0].clamp(min=_LEAST).log()


def _backwards(network: nn.Module) -> frozenset[str]:
    """Name the layers around which an input is turned round."""
    return frozenset(
        f"{path}.core"
        for path, module in network.named_modules()
        if isinstance(module, OverTime) and module.options.reversed
    )
