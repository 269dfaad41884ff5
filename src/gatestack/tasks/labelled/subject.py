"""A classifier or regressor as inspection sees it: the network of one of its members, and what that reads."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from gatestack.data.collections import LabelledSequences
from gatestack.errors import ArgumentError
from gatestack.inspect.subject import Outcome, Subject, Truth, evenly
from gatestack.tasks.labelled.fitted import FittedLabelled
from gatestack.tasks.labelled.network import LabelledNetwork
from gatestack.tasks.labelled.sampler import gaps_marked
from gatestack.tasks.labelled.trunks import SegmentTrunk

__all__ = ["labelled_subject"]


def labelled_subject(
    fitted: FittedLabelled,
    data: LabelledSequences,
    answers: npt.NDArray[Any] | None,
    *,
    title: str,
    sequences: int,
    member: int,
) -> Subject:
    """Offer the network of a member.

    The inputs are what the trained half of the network reads: the scaled steps, or, in the recipe "kernels",
    what the fixed kernels say of each segment. What the linear part of that recipe says stays as it is.

    Args:
        fitted: what fitting found.
        data: the cases.
        answers: (n,) what is known of them, classes from 0 on or numbers; None where nothing is.
        title: of the model.
        sequences: number of cases to look at, at most.
        member: which one, from 1.

    Raises:
        ArgumentError: there is no such member.
    """
    count = len(fitted.members)
    if member > count:
        raise ArgumentError(
            f"member {member}", where="inspect", expected=f"1 to {count}, the trained networks"
        )
    rows = evenly(len(data.sequences), sequences)
    network = copy.deepcopy(fitted.members[member - 1].network).double().eval()
    x, lengths = gaps_marked(data.sequences.rows(rows))
    with torch.no_grad():
        scaled = network.recurrent.scaling(x.double(), lengths)
        read, read_lengths = network.recurrent.trunk.prepare(scaled, lengths)
        linear = None if network.linear is None else network.linear(scaled, lengths)
    known = None if answers is None else torch.from_numpy(np.asarray(answers)[rows])

    def outputs(model: nn.Module, inputs: Tensor) -> Tensor:
        if not isinstance(model, LabelledNetwork):
            raise RuntimeError("another network than the one that was offered")
        found: Tensor = model.recurrent.trunk(inputs, read_lengths)
        if linear is not None:
            found = model.trust * found + linear
        return model.target_mean + model.target_deviation * found

    with torch.no_grad():
        first = outputs(network, read)

    def run(model: nn.Module, inputs: Tensor) -> Outcome:
        found = outputs(model, inputs)
        if fitted.classes is None:
            answer = found[:, 0]
            return Outcome(answer, None if known is None else (answer - known.to(answer)).square())
        chances = torch.log_softmax(found / fitted.temperature, dim=1)
        answer = chances.gather(1, first.argmax(dim=1, keepdim=True))[:, 0]
        return Outcome(answer, None if known is None else -chances.gather(1, known.long()[:, None])[:, 0])

    segments = isinstance(network.recurrent.trunk, SegmentTrunk)
    return Subject(
        title=title if count == 1 else f"{title}, member {member} of {count}",
        network=network,
        inputs=read,
        run=run,
        features=_feature_names(network, data),
        sequences=tuple(_case_names(data, rows)),
        lengths=read_lengths,
        truth=None
        if known is None
        else Truth(known.numpy(), "numbers" if fitted.classes is None else "classes"),
        answer="the prediction, in the unit of the target"
        if fitted.classes is None
        else "logarithm of the probability of the class that is predicted",
        loss="squared error, in the squared unit of the target"
        if fitted.classes is None
        else "cross-entropy, in nats",
        steps="segment" if segments else "step",
    )


def _feature_names(network: LabelledNetwork, data: LabelledSequences) -> tuple[str, ...]:
    names = data.sequences.names or tuple(f"channel {n}" for n in range(data.sequences.num_features))
    scaling = network.recurrent.scaling
    channels = list(names)
    if scaling.scaling == "both":
        channels = [f"{name} (in its own unit)" for name in names] + list(names)
    if scaling.flags:
        channels += [f"{name} is known" for name in names]
    trunk = network.recurrent.trunk
    if not isinstance(trunk, SegmentTrunk):
        return tuple(channels)
    reader = trunk.reader
    return (
        *["shapes of the values"] * reader.of_values.output_size,
        *["shapes of the changes"] * reader.of_differences.output_size,
        *[f"mean of {name}" for name in channels],
    )


def _case_names(data: LabelledSequences, rows: npt.NDArray[np.int64]) -> list[str]:
    keys = data.sequences.keys
    names = [f"case {row}" if keys is None else str(keys[row]) for row in rows]
    if data.labels is None:
        return names
    return [f"{name} ({data.labels[row]})" for name, row in zip(names, rows, strict=True)]
