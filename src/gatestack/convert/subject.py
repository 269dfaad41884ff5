"""A network that was imported, as inspection sees it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from gatestack.convert.layers.sequence import OverTime
from gatestack.convert.ports import NetworkLike
from gatestack.convert.subject_inputs import read_inputs
from gatestack.errors import ArgumentError, check_choice, nearest_name
from gatestack.inspect.subject import Outcome, Subject, Truth

__all__ = ["LossName", "network_subject"]

LossName = Literal["squared error", "cross-entropy", "cross-entropy of logits"]

_LEAST = 1e-12


def network_subject(
    network: NetworkLike,
    inputs: npt.ArrayLike | Mapping[str, npt.ArrayLike],
    target: npt.ArrayLike | None,
    *,
    loss: LossName | None,
    output: str | None,
    sequences: int,
) -> Subject:
    """Offer a network: one of its inputs is looked at, one of its outputs is scored and explained.

    Args:
        network: a module as well, called with a tensor for each input.
        inputs: see `subject_inputs.read_inputs`.
        target: (N,) classes, or numbers of the shape of the output; None where nothing is known.
        loss: by which an answer is scored; None takes the cross-entropy for whole numbers where the output is
            (N, K), of probabilities or of logits as the output is, else the squared error.
        output: name of the output; None takes the first.
        sequences: number of sequences to look at, at most.

    Raises:
        ArgumentError: shapes that do not fit, an output that there is not, or a loss that does not fit the
            target.
    """
    if loss is not None:
        check_choice("loss", loss, get_args(LossName), owner="inspect")
    if not isinstance(network, nn.Module):
        raise RuntimeError("a network is a module")
    place = _place_of(output, network)
    read = read_inputs(network, inputs, sequences)
    known = None
    if target is not None:
        given = np.asarray(target)
        if len(given) != read.available:
            raise ArgumentError(
                f"{len(given)} targets of {read.available} sequences", where="inspect", expected="as many"
            )
        known = torch.as_tensor(given[read.rows])

    def answer_of(model: nn.Module, values: Tensor) -> Tensor:
        found = read.call(model, values)
        one: Tensor = found[place] if isinstance(found, tuple) else found
        return one

    with torch.no_grad():
        # A copy in float64, as inspection runs it: the state that the network keeps stays.
        said = answer_of(copy.deepcopy(network).double().eval(), read.values)
    scored = _scoring(said, known, loss)
    # The mean of shares that add up to 1 says nothing: of them the largest is explained.
    named = scored is not None and scored[0] != "squared error"
    largest = named or _adds_to_one(said)
    first = said.flatten(1).argmax(dim=1, keepdim=True)

    def run(model: nn.Module, values: Tensor) -> Outcome:
        found = answer_of(model, values)
        flat = found.flatten(1)
        answer = flat.gather(1, first)[:, 0] if largest else flat.mean(dim=1)
        return Outcome(answer, None if scored is None else scored[1](found))

    truth = None
    if known is not None:
        values = known.numpy()
        truth = Truth(values, "classes") if named else Truth(values.reshape(len(values), -1), "numbers")
    which = "" if len(network.outputs) == 1 else f" {network.outputs[place]!r}, of {len(network.outputs)}"
    return Subject(
        title=network.name,
        network=network,
        inputs=read.values,
        run=run,
        features=read.features,
        sequences=tuple(f"sequence {row}" for row in read.rows),
        lengths=read.lengths,
        truth=truth,
        answer=f"{'largest output' if largest else 'mean of the output'}{which}",
        loss="loss" if scored is None else scored[0],
        backwards=_backwards(network),
    )


def _place_of(output: str | None, network: NetworkLike) -> int:
    if output is None:
        return 0
    if output not in network.outputs:
        raise ArgumentError(
            f"there is no output {output!r}",
            where=network.name,
            expected=", ".join(network.outputs),
            hint=nearest_name(output, list(network.outputs)),
        )
    return network.outputs.index(output)


def _adds_to_one(said: Tensor) -> bool:
    if said.shape[-1] < 2 or said.dim() < 2:
        return False
    return bool((said >= 0).all() and ((said.sum(dim=-1) - 1).abs() < 1e-5).all())


def _scoring(
    said: Tensor, known: Tensor | None, loss: LossName | None
) -> tuple[LossName, Callable[[Tensor], Tensor]] | None:
    """Choose the loss -> its name, and the loss of each sequence, (N,), of an output (N, …)."""
    if known is None:
        return None
    shape = tuple(said.shape)
    named = known.dim() == 1 and not known.is_floating_point() and len(shape) == 2 and shape[1] > 1
    entropy: LossName = "cross-entropy" if _adds_to_one(said) else "cross-entropy of logits"
    chosen: LossName = loss or (entropy if named else "squared error")
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
    if int(known.min()) < 0 or int(known.max()) >= shape[1]:
        raise ArgumentError(
            f"the target holds {int(known.min())} to {int(known.max())}",
            where="inspect",
            expected=f"classes from 0 to {shape[1] - 1}, as many as the output has",
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
