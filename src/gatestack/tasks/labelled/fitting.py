"""Fitting: one trained network per seed, and running them over new series."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from gatestack.data.sequences import Sequences
from gatestack.tasks.labelled.network import LabelledNetwork, NetworkShape, RecurrentPart
from gatestack.tasks.labelled.plan import LabelledPlan, recipe_training, scheduled_steps
from gatestack.tasks.labelled.sampler import CaseSampler, TrainingCases, gaps_marked
from gatestack.tasks.labelled.scaling import length_batches
from gatestack.training import RunFolder, TrainingRecord, train

__all__ = ["Member", "fit_members", "run_members"]

_NO_FOLDER = RunFolder()
_CASES_OF_HALF_TRUST = 200
# Cases that are prepared once and kept, 130 kB each in the recipe "kernels"; of more, each batch anew.
_MOST_PREPARED_CASES = 4000


@dataclass(frozen=True)
class Member:
    """One trained network.

    Attributes:
        network: in eval mode, float32, on the CPU.
        record: how its training went.
        seed: of what was drawn: kernels, initial weights, batches, dropout.

    Example:
        >>> from gatestack.data import Sequences
        >>> plan = LabelledPlan(task="regress", outputs=1, widths=(4,), max_steps=2, seeds=(7,))
        >>> (member,) = fit_members(Sequences.from_arrays([[0.0, 1.0], [2.0]]), np.array([0.5, 2.0]), plan)
        >>> member.seed, member.record.steps
        (7, 2)
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

    In the recipe "kernels" the linear part is solved first. What it predicts for each training case without
    having seen it (leave one out) is where the recurrent part starts from in training: from its fit to cases
    that it has seen there would be nothing left to learn.

    Args:
        sequences: n series of one step or more; a value that was not observed is missing.
        targets: (n,) classes from 0 to K - 1, or (n, K) numbers.
        plan: the settings.
        folder: of the run; each member has a folder `member-<seed>` in it.

    Returns:
        The members, in the order of the seeds; after Ctrl-C or SIGTERM those so far, of which the last one's
        record says `"interrupt"`.

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
        typical_steps=int(lengths.median()),
        flags=bool(x.isnan().any()),
    )
    truth = torch.from_numpy(np.asarray(targets))
    truth = truth.long() if plan.task == "classify" else truth.double().reshape(len(x), plan.outputs)
    if plan.class_weights == "balanced":
        # Here and not in the estimator, so that a fold is balanced by its own cases; it may lack a class.
        counts = truth.bincount(minlength=plan.outputs).clamp(min=1).double()
        weights = tuple((len(x) / (plan.outputs * counts)).tolist())
        plan = dataclasses.replace(plan, class_weights=weights)
    members = []
    for seed in plan.seeds:
        place = None if folder.path is None else folder.path / f"member-{seed}"
        network, cases = _start(shape, plan, x, lengths, truth, seed)
        record = _train(network, plan, cases, seed, dataclasses.replace(folder, path=place))
        network.float()  # precision="64-true" trains in float64; model folders are float32
        network.eval()
        members.append(Member(network, record, seed))
        if record.stopped_by == "interrupt":
            break
    return members


def run_members(networks: Sequence[LabelledNetwork], sequences: Sequences) -> npt.NDArray[np.float64]:
    """Run trained networks over series, in float64: a case alone and in a batch differ by rounding of 10⁻¹².

    Args:
        networks: M of them.
        sequences: n series of one step or more.

    Returns:
        (M, n, K) logits or targets.

    Example:
        >>> from gatestack.data import Sequences
        >>> level = Sequences.from_arrays([[float(value)] * 5 for value in range(9)])
        >>> plan = LabelledPlan(task="regress", outputs=1, widths=(4,), max_steps=2)
        >>> members = fit_members(level, np.arange(9.0), plan)
        >>> run_members([member.network for member in members], level[:2]).shape
        (1, 2, 1)
    """
    outputs = np.zeros((len(networks), len(sequences), networks[0].shape.outputs))
    exact = [copy.deepcopy(network).double() for network in networks]
    with torch.inference_mode():
        for rows in length_batches(sequences.lengths):
            x, lengths = gaps_marked(sequences.rows(rows))
            for number, network in enumerate(exact):
                outputs[number, rows] = network(x.double(), lengths).numpy()
    return outputs


def _start(
    shape: NetworkShape, plan: LabelledPlan, x: Tensor, lengths: Tensor, truth: Tensor, seed: int
) -> tuple[LabelledNetwork, TrainingCases]:
    """Make the network of a seed, fit what is fitted in closed form, and say where training starts from."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = LabelledNetwork(shape, plan.architecture)
    scaled = network.recurrent.fit(x, lengths, seed)
    if plan.task == "regress":
        deviation = truth.std(dim=0, correction=0)
        network.target_mean.copy_(truth.mean(dim=0))
        network.target_deviation.copy_(deviation.masked_fill(deviation == 0, 1.0))
        truth = ((truth - network.target_mean) / network.target_deviation).float()
    start = torch.zeros(len(x), plan.outputs)
    if network.linear is not None:
        network.trust.fill_(len(x) / (len(x) + _CASES_OF_HALF_TRUST))
        start = network.linear.fit(scaled, lengths, truth, seed)
        if plan.class_weights is not None:  # odds that a weighted loss would have led to
            network.linear.bias += torch.tensor(plan.class_weights).log()
            start += torch.tensor(plan.class_weights).log()
    return network, TrainingCases(x, lengths, truth, start)


def _train(
    network: LabelledNetwork, plan: LabelledPlan, cases: TrainingCases, seed: int, folder: RunFolder
) -> TrainingRecord:
    steps = plan.max_steps or scheduled_steps(plan, len(cases.x))
    training = recipe_training(plan, steps)
    recurrent = copy.deepcopy(network.recurrent)  # the trunk may be on another device while it is trained
    beforehand = not plan.augmentation.on and len(cases.x) <= _MOST_PREPARED_CASES
    sampler = CaseSampler(
        prepared(recurrent, cases) if beforehand else cases,
        batch_size=training.batch_size,
        augmentation=plan.augmentation,
        deviation=recurrent.scaling.deviation,
        seed=seed,
    )

    def draw(step: int) -> TrainingCases:
        return sampler(step) if beforehand else prepared(recurrent, sampler(step))

    return train(
        network.recurrent.trunk,
        _loss(plan, len(cases.x)),
        draw,
        options=training,
        max_steps=steps,
        seed=seed,
        folder=folder.path,
        resume=folder.resume,
        progress=folder.progress,
    )


@torch.no_grad()
def prepared(recurrent: RecurrentPart, cases: TrainingCases) -> TrainingCases:
    """Give the cases as the trunk reads them."""
    parts = length_batches(cases.lengths.numpy())
    order = torch.from_numpy(np.concatenate(parts))
    read = [recurrent.prepare(*_cut(cases, torch.from_numpy(part))) for part in parts]
    longest = max(x.shape[1] for x, _ in read)
    x = torch.cat([nn.functional.pad(x, (0, 0, 0, longest - x.shape[1])) for x, _ in read])
    lengths = torch.cat([lengths for _, lengths in read])
    back = order.argsort()
    return TrainingCases(x[back], lengths[back], cases.targets, cases.start)


def _cut(cases: TrainingCases, rows: Tensor) -> tuple[Tensor, Tensor]:
    lengths = cases.lengths[rows]
    return cases.x[rows, : int(lengths.max())], lengths


def _loss(plan: LabelledPlan, cases: int) -> Callable[[nn.Module, TrainingCases], Tensor]:
    if plan.task == "regress":

        def squares(model: nn.Module, batch: TrainingCases) -> Tensor:
            answers: Tensor = model(batch.x, batch.lengths) + batch.start
            return (answers - batch.targets).square().mean()

        return squares
    weights = None if plan.class_weights is None else torch.tensor(plan.class_weights)
    smoothing = plan.label_smoothing
    if plan.architecture.recipe == "kernels":
        smoothing = max(smoothing, plan.outputs / (cases + plan.outputs))

    def cross_entropy(model: nn.Module, batch: TrainingCases) -> Tensor:
        logits = model(batch.x, batch.lengths) + batch.start
        return nn.functional.cross_entropy(
            logits,
            batch.targets,
            weight=None if weights is None else weights.to(logits),
            label_smoothing=smoothing,
        )

    return cross_entropy
