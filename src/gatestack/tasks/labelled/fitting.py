"""Fitting: one trained network per seed, and running them over new series."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from gatestack.data.sequences import Sequences
from gatestack.tasks.labelled.network import LabelledNetwork, NetworkShape
from gatestack.tasks.labelled.plan import LabelledPlan, scheduled_steps
from gatestack.tasks.labelled.sampler import CaseSampler, TrainingCases, gaps_marked
from gatestack.training import RunFolder, TrainingRecord, train

__all__ = ["Member", "fit_members", "run_members"]

_NO_FOLDER = RunFolder()
_STEPS_AT_ONCE = 1 << 16  # padded steps of a batch; keeps the memory of a prediction small


@dataclass(frozen=True)
class Member:
    """One trained network.

    Attributes:
        network: in eval mode, float32, on the CPU.
        record: how its training went.
        seed: of its initial weights, batches and dropout.
    """

    network: LabelledNetwork
    record: TrainingRecord
    seed: int


def fit_members(
    sequences: Sequences,
    targets: npt.NDArray[np.generic],
    plan: LabelledPlan,
    *,
    folder: RunFolder = _NO_FOLDER,
) -> list[Member]:
    """Train one network per seed. Nothing is held out: the number of updates is fixed beforehand.

    Args:
        sequences: n series of one step or more; a value that was not observed is missing.
        targets: (n,) classes from 0 to K - 1, or (n, K) numbers.
        plan: the settings.
        folder: of the run; each member has a folder `member-<seed>` in it.

    Returns:
        The members, in the order of the seeds.

    Raises:
        TrainingError: the loss is not finite. ArgumentError: the folder holds another run.

    Example:
        >>> from gatestack.data import Sequences
        >>> waves = Sequences.from_arrays([np.sin(np.arange(9) * (1 + case % 2)) for case in range(8)])
        >>> plan = LabelledPlan(task="classify", outputs=2, widths=(4,), max_steps=2)
        >>> members = fit_members(waves, np.arange(8) % 2, plan)
        >>> run_members([member.network for member in members], waves).shape
        (1, 8, 2)
    """
    x, lengths = gaps_marked(sequences)
    shape = NetworkShape(
        features=sequences.num_features,
        outputs=plan.outputs,
        widths=plan.widths,
        steps=int(lengths.max()),
        flags=bool(x.isnan().any()),
    )
    truth = torch.from_numpy(np.asarray(targets))
    truth = truth.long() if plan.task == "classify" else truth.float().reshape(len(x), plan.outputs)
    members = []
    for seed in plan.seeds:
        place = None if folder.path is None else folder.path / f"member-{seed}"
        network = _start(shape, plan, x, lengths, truth, seed)
        record = _train(network, plan, x, lengths, truth, seed, dataclasses.replace(folder, path=place))
        network.float()  # precision="64-true" trains in float64; model folders are float32
        network.eval()
        members.append(Member(network, record, seed))
    return members


def run_members(networks: Sequence[LabelledNetwork], sequences: Sequences) -> npt.NDArray[np.float64]:
    """Run trained networks over series, long ones in smaller batches.

    Args:
        networks: M of them.
        sequences: n series of one step or more.

    Returns:
        (M, n, K) logits or targets.
    """
    order = np.argsort(sequences.lengths, kind="stable")  # neighbours of like length need little padding
    outputs = np.zeros((len(networks), len(sequences), networks[0].shape.outputs))
    with torch.inference_mode():
        for rows in _batches(sequences.lengths[order]):
            picked = order[rows]
            x, lengths = gaps_marked(sequences.rows(picked))
            for number, network in enumerate(networks):
                outputs[number, picked] = network(x, lengths).numpy()
    return outputs


def _batches(lengths: npt.NDArray[np.int64]) -> list[slice]:
    parts, first = [], 0
    for last in range(1, len(lengths) + 1):
        if last == len(lengths) or (last - first + 1) * int(lengths[last]) > _STEPS_AT_ONCE:
            parts.append(slice(first, last))
            first = last
    return parts


def _start(
    shape: NetworkShape, plan: LabelledPlan, x: Tensor, lengths: Tensor, truth: Tensor, seed: int
) -> LabelledNetwork:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = LabelledNetwork(shape, plan.architecture)
    network.scaling.fit(x, lengths)
    if plan.task == "regress":
        deviation = truth.double().std(dim=0, correction=0)
        network.target_mean.copy_(truth.double().mean(dim=0))
        network.target_deviation.copy_(deviation.masked_fill(deviation == 0, 1.0))
    return network


def _train(
    network: LabelledNetwork,
    plan: LabelledPlan,
    x: Tensor,
    lengths: Tensor,
    truth: Tensor,
    seed: int,
    folder: RunFolder,
) -> TrainingRecord:
    sampler = CaseSampler(
        x,
        lengths,
        truth,
        batch_size=plan.training.batch_size,
        augmentation=plan.augmentation,
        deviation=network.scaling.deviation,
        seed=seed,
    )
    return train(
        network,
        _loss(network, plan),
        sampler,
        options=plan.training,
        max_steps=plan.max_steps or scheduled_steps(len(x), plan.training.batch_size),
        seed=seed,
        folder=folder.path,
        resume=folder.resume,
        progress=folder.progress,
    )


def _loss(network: LabelledNetwork, plan: LabelledPlan) -> Callable[[nn.Module, TrainingCases], Tensor]:
    if plan.task == "regress":
        deviation = network.target_deviation.clone()

        def squares(model: nn.Module, batch: TrainingCases) -> Tensor:
            miss: Tensor = model(batch.x, batch.lengths) - batch.targets
            return (miss / deviation.to(miss.device)).square().mean()

        return squares
    weights = None if plan.class_weights is None else torch.tensor(plan.class_weights)

    def cross_entropy(model: nn.Module, batch: TrainingCases) -> Tensor:
        logits = model(batch.x, batch.lengths)
        return nn.functional.cross_entropy(
            logits,
            batch.targets,
            weight=None if weights is None else weights.to(logits),
            label_smoothing=plan.label_smoothing,
        )

    return cross_entropy
