"""The training loop: short, lean, and able to stop and go on at any step."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from gatestack.errors import ArgumentError, check_whole
from gatestack.training.checkpoint import CheckpointFolder
from gatestack.training.device import flushed_denormals, make_fabric, own_random_numbers
from gatestack.training.finite import LossWatch, explain_validation
from gatestack.training.interrupt import StopRequest
from gatestack.training.lock import hold_folder
from gatestack.training.optimiser import learning_rate_at, make_optimizer
from gatestack.training.options import Training
from gatestack.training.progress import ProgressReport
from gatestack.training.record import HistoryRow, TrainingRecord
from gatestack.training.state import RunState, check_identity, identify, restore, snapshot

if TYPE_CHECKING:
    from lightning_fabric.wrappers import _FabricOptimizer

__all__ = ["train"]


def train(
    network: nn.Module,
    loss: Callable[[nn.Module, Any], Tensor],
    sampler: Callable[[int], Any],
    *,
    validate: Callable[[nn.Module], float] | None = None,
    options: Training,
    max_steps: int,
    seed: int,
    folder: str | os.PathLike[str] | None = None,
    resume: bool = False,
    progress: bool | None = None,
    checkpoint_every_seconds: float = 30.0,
) -> TrainingRecord:
    """Train a network in place: AdamW, clipped gradients, warm-up, early stopping, the best weights kept.

    On the CPU equal arguments give equal weights, bit for bit, and so does a run that was killed and resumed.
    Ctrl-C or SIGTERM ends the run after the current step, with a checkpoint and the best weights so far; the
    second one raises KeyboardInterrupt at once.

    Args:
        network: its parameters are changed. Afterwards it is in eval mode on the device it came from, and has
            the weights of the best validation, the initial ones included, or the last without `validate`.
        loss: gets the network and a batch, returns a scalar. It should call `network(…)`, not its methods.
        sampler: gets the number of the step, from 0, and returns its batch: tensors in tuples, mappings or
            dataclasses. Must be a function of the number alone: its random numbers come from it and a seed.
        validate: gets the network in eval mode without gradients, returns a finite loss, lower is better.
            Random numbers that it draws do not change the training.
        options: how to train.
        max_steps: updates of the weights at most, at least 1.
        seed: of torch's random numbers in training (dropout), 0 or more and below 2⁶³. They are put back
            afterwards as they were. The initial weights are the caller's.
        folder: for checkpoints, the two newest are kept; None keeps none. Only one run at a time may have it.
        resume: go on from the newest checkpoint in `folder`, from the start if there is none.
        progress: None shows a bar on stderr if it is a terminal; True also writes lines if it is not; False
            is silent.
        checkpoint_every_seconds: the least time between two checkpoints, 0 or more. They are written after a
            validation (or every `validate_every` steps), and always at the end.

    Returns:
        Steps, best step, learning curve, speed, and why the training ended.

    Raises:
        ArgumentError: an argument is wrong; `folder` holds checkpoints and `resume` is False; or the run to
            be resumed had other options or `max_steps`, another seed, another network or other data.
        TrainingError: loss, gradients or validation are not finite, or another run holds the folder.
            Checkpoints that were written stay.
        ModelFileError: all checkpoints to resume from are damaged.
        StorageError: a checkpoint cannot be written. The older ones are whole.

    Example:
        >>> network = nn.Linear(1, 1)
        >>> x = torch.linspace(-1, 1, 8)[:, None]
        >>> record = train(
        ...     network,
        ...     lambda network, batch: nn.functional.mse_loss(network(batch[0]), batch[1]),
        ...     lambda step: (x, 3 * x + 1),
        ...     options=Training(learning_rate=0.1, weight_decay=0, device="cpu"),
        ...     max_steps=200,
        ...     seed=0,
        ... )
        >>> record.stopped_by, [round(parameter.item(), 2) for parameter in network.parameters()]
        ('max_steps', [3.0, 1.0])
    """
    _check_arguments(network, max_steps, seed, folder, resume, checkpoint_every_seconds)
    place = None if folder is None else Path(folder)
    with hold_folder(place) if place else contextlib.nullcontext(), flushed_denormals():
        run = _Run(network, loss, sampler, validate, options, max_steps, seed)
        with own_random_numbers(seed, run.device):
            try:
                if place:
                    run.open_checkpoints(place, resume, checkpoint_every_seconds)
                with ProgressReport(max_steps, run.state.step, show=progress) as report:
                    run.go(report)
                return run.finish()
            finally:
                network.to(run.home)
                network.eval()


class _Run:
    """One run of `train`, from set-up to record."""

    def __init__(
        self,
        network: nn.Module,
        loss: Callable[[nn.Module, Any], Tensor],
        sampler: Callable[[int], Any],
        validate: Callable[[nn.Module], float] | None,
        options: Training,
        max_steps: int,
        seed: int,
    ) -> None:
        self.network, self.loss, self.sampler, self.validate = network, loss, sampler, validate
        self.options, self.max_steps, self.seed = options, max_steps, seed
        self.home = next(network.parameters()).device
        self.fabric = make_fabric(options)
        self.device: torch.device = self.fabric.device
        # The optimiser must see the parameters where and as they will be, so the module is set up first.
        self.model = self.fabric.setup_module(network)
        self.optimizer = make_optimizer(network, options)
        self.fabric_optimizer = cast("_FabricOptimizer", self.fabric.setup_optimizers(self.optimizer))
        network.zero_grad()  # an earlier run that failed may have left gradients
        self.watch = LossWatch(network, self.device)
        self.state = RunState()
        self.checkpoints: CheckpointFolder | None = None
        self.identity: dict[str, Any] = {}
        self.started = time.perf_counter()
        self.seconds_before = 0.0

    def open_checkpoints(self, folder: Path, resume: bool, every_seconds: float) -> None:
        """Look into the folder, and go back to its newest checkpoint if that is wanted."""
        self.checkpoints = CheckpointFolder(folder)
        self.checkpoints.clean()
        self.checkpoint_seconds = every_seconds
        self.saved_step, self.saved_at = -1, self.started
        if not resume and (paths := self.checkpoints.paths()):
            raise ArgumentError(
                f"holds checkpoints of an earlier run, the newest is {paths[0].name}",
                where=str(folder),
                hint="pass resume=True to go on with that run, or choose another folder",
            )
        batch = self.sampler(0)
        validated = self.validate is not None
        self.identity = identify(self.network, self.options, self.max_steps, self.seed, batch, validated)
        if found := self.checkpoints.load_newest():
            record, tensors = found
            check_identity(record["identity"], self.identity, str(folder))
            self.state = restore(record, tensors, self.network, self.optimizer, self.device)
            self.watch.total, self.watch.count = self.state.loss_total, self.state.loss_count
            self.seconds_before = self.state.seconds
            self.saved_step = self.state.step

    def go(self, report: ProgressReport) -> None:
        """Step until a reason to stop; the checkpoint of the last step is written."""
        state, options = self.state, self.options
        self.model.train()
        with StopRequest() as stop:
            if self.validate is not None and not state.history:
                self.add_row(report)  # the initial weights may be the best
            while state.stopped_by is None and not stop.requested:
                self.step()
                report.stepped(state.step, self.watch.last)
                if state.step % options.validate_every == 0 or state.step == self.max_steps:
                    self.add_row(report)
                    self.decide()
                    self.save(always=state.stopped_by is not None)
            if state.stopped_by is None:
                self.watch.read()
                self.save(always=True)
                # This row is extra: a resumed run, like one without a pause, knows nothing of it.
                if not state.history or state.history[-1].step != state.step:
                    self.add_row(report)
                state.stopped_by = "interrupt"

    def step(self) -> None:
        """Make one update."""
        step = self.state.step
        rate = learning_rate_at(step, self.max_steps, self.options)
        batch = self.sampler(step)
        if self.device.type != "cpu":  # on the CPU the walk through the batch would be all that happens
            batch = self.fabric.to_device(batch)
        value = self.loss(self.model, batch)
        if value.ndim or not value.requires_grad:
            raise ArgumentError(
                f"returned a tensor of shape {tuple(value.shape)}, requires_grad={value.requires_grad}",
                where="loss",
                expected="a scalar with a gradient",
            )
        self.fabric.backward(value)
        norm = self.fabric.clip_gradients(
            self.model,
            self.fabric_optimizer,
            max_norm=math.inf if self.options.clip_norm is None else self.options.clip_norm,
            error_if_nonfinite=False,  # the watch says more than a plain error would
        )
        self.watch.add(step, rate, value, cast(Tensor, norm), batch)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.fabric_optimizer.step()
        self.optimizer.zero_grad()
        self.state.step = step + 1

    def add_row(self, report: ProgressReport) -> None:
        """Validate, add a row to the history, and keep the weights if they are the best."""
        state = self.state
        mean = self.watch.take_mean()
        validation = None
        if self.validate is not None:
            validation = self.validated(self.validate)
            if state.best_validation is None or validation < state.best_validation:
                state.best_step, state.best_validation = state.step, validation
                state.best_weights = {n: t.detach().clone() for n, t in self.network.state_dict().items()}
                state.validations_since_best = 0
            else:
                state.validations_since_best += 1
        rate = learning_rate_at(max(state.step - 1, 0), self.max_steps, self.options)
        state.history.append(HistoryRow(state.step, mean, validation, rate, self.seconds()))
        report.validated(state.step, mean, validation)

    def validated(self, validate: Callable[[nn.Module], float]) -> float:
        """Return the validation loss, leaving mode and random numbers as they were."""
        self.model.eval()
        with torch.no_grad(), torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            value = float(validate(self.model))
        self.model.train()
        if not math.isfinite(value):
            raise explain_validation(self.state.step, value, self.network)
        return value

    def decide(self) -> None:
        """Note whether there is a reason to stop."""
        state, patience = self.state, self.options.patience
        if state.step >= self.max_steps:
            state.stopped_by = "max_steps"
        elif patience is not None and state.validations_since_best >= patience:
            state.stopped_by = "patience"

    def save(self, *, always: bool) -> None:
        """Write a checkpoint if it is time, or in any case."""
        state = self.state
        if self.checkpoints is None or state.step == self.saved_step:
            return
        now = time.perf_counter()
        if not always and now - self.saved_at < self.checkpoint_seconds:
            return
        state.loss_total, state.loss_count = self.watch.total, self.watch.count
        state.seconds = self.seconds()
        record, tensors = snapshot(state, self.network, self.optimizer, self.device)
        self.checkpoints.save(state.step, {**record, "identity": self.identity}, tensors)
        self.saved_step, self.saved_at = state.step, now

    def seconds(self) -> float:
        """Return the time spent on this run and those it resumes."""
        return self.seconds_before + time.perf_counter() - self.started

    def finish(self) -> TrainingRecord:
        """Give the network its best weights and sum up."""
        state = self.state
        if state.best_weights:
            self.network.load_state_dict(state.best_weights)
        seconds = self.seconds()
        return TrainingRecord(
            steps=state.step,
            best_step=state.best_step if state.best_validation is not None else state.step,
            best_validation=state.best_validation,
            history=tuple(state.history),
            stopped_by=state.stopped_by or "max_steps",
            seconds=seconds,
            steps_per_second=state.step / seconds,
            device=str(self.device),
        )


def _check_arguments(
    network: nn.Module, max_steps: int, seed: int, folder: object, resume: bool, seconds: float
) -> None:
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise ArgumentError("has no parameter that could be trained", where="network")
    check_whole("max_steps", max_steps, owner="train")
    if check_whole("seed", seed, owner="train", least=0) >= 2**63:
        raise ArgumentError(f"the 'seed' parameter of train is {seed}", expected="at most 2⁶³ − 1")
    if resume and folder is None:
        raise ArgumentError("resume is True, but there is no folder to resume from", where="train")
    if not seconds >= 0:
        raise ArgumentError(f"checkpoint_every_seconds is {seconds}", where="train", expected="0 or more")
