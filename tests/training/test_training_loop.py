"""The loop: against a plain one, best weights, early stopping, random numbers, and what goes wrong."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from gatestack.errors import ArgumentError, ModelFileError, TrainingError
from gatestack.training import Training, TrainingRecord, train
from gatestack.training.finite import LossWatch
from gatestack.training.optimiser import learning_rate_at

Same = Callable[[dict[str, Tensor], dict[str, Tensor]], bool]


def test_the_weights_are_those_of_a_plain_loop(problem: Any) -> None:
    options = problem.options(clip_norm=0.5, weight_decay=0.3)
    plain = problem.fresh_network()
    vectors = [p for p in plain.parameters() if p.ndim < 2]
    matrices = [p for p in plain.parameters() if p.ndim >= 2]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.3}, {"params": vectors, "weight_decay": 0.0}]
    )
    with torch.random.fork_rng():
        torch.manual_seed(7)
        for step in range(25):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate_at(step, 25, options)
            optimizer.zero_grad()
            problem.loss(plain, problem.sampler(step)).backward()
            nn.utils.clip_grad_norm_(plain.parameters(), 0.5)
            optimizer.step()
    problem.train(options=options, max_steps=25, validate=None)
    for name, tensor in plain.state_dict().items():
        # the plain optimiser is not the fused one, which rounds in another order
        torch.testing.assert_close(problem.weights()[name], tensor, rtol=1e-4, atol=1e-6)


def test_one_seed_gives_one_result_and_another_seed_another(
    make_problem: Callable[[], Any], same_weights: Same
) -> None:
    runs = []
    for seed in (7, 7, 8):
        problem = make_problem()
        torch.manual_seed(len(runs))  # what the caller drew before must not matter
        record = problem.train(seed=seed)
        runs.append((problem.weights(), [row.train_loss for row in record.history]))
    assert same_weights(runs[0][0], runs[1][0])
    assert runs[0][1] == runs[1][1]
    assert not same_weights(runs[0][0], runs[2][0])


def test_the_callers_random_numbers_are_undisturbed(problem: Any) -> None:
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    problem.train()
    assert torch.equal(torch.rand(3), expected)
    torch.manual_seed(11)
    with pytest.raises(ZeroDivisionError):
        problem.train(loss=lambda *_: 1 / 0)
    assert torch.equal(torch.rand(3), expected)


def test_validation_that_draws_random_numbers_does_not_change_the_training(
    make_problem: Callable[[], Any], same_weights: Same
) -> None:
    plain, drawing = make_problem(), make_problem()
    plain.train(validate=lambda _: 1.0, options=plain.options(patience=None))
    drawing.train(
        validate=lambda _: 1.0 + 0 * float(torch.rand(5).sum()), options=drawing.options(patience=None)
    )
    assert same_weights(plain.weights(), drawing.weights())


def test_the_best_weights_are_the_ones_left(problem: Any) -> None:
    seen: list[tuple[float, dict[str, Tensor]]] = []
    losses = iter([6.0, 5.0, 3.0, 1.0, 2.0, 4.0, 1.0, 6.0, 7.0])

    def validate(network: nn.Module) -> float:
        assert not network.training
        assert not torch.is_grad_enabled()
        seen.append((next(losses), {name: tensor.clone() for name, tensor in network.state_dict().items()}))
        return seen[-1][0]

    record = problem.train(validate=validate)
    assert (record.best_step, record.best_validation, record.steps) == (15, 1.0, 40)
    assert all(torch.equal(tensor, seen[3][1][name]) for name, tensor in problem.weights().items())
    assert not torch.equal(seen[3][1]["head.weight"], seen[-1][1]["head.weight"])
    assert not problem.network.training


def test_the_initial_weights_are_kept_when_every_update_makes_it_worse(
    problem: Any, same_weights: Same
) -> None:
    before = problem.weights()

    def distance(network: nn.Module) -> float:
        now = network.state_dict()
        return float(sum((now[name] - tensor).abs().sum() for name, tensor in before.items()))

    record = problem.train(validate=distance, options=problem.options(patience=3))
    assert (record.best_step, record.best_validation) == (0, 0.0)
    assert (record.steps, record.stopped_by) == (15, "patience")  # the first row is no failed validation
    assert same_weights(problem.weights(), before)


def _denormals() -> float:
    return float(torch.full((1,), 1e-30) * 1e-10)


@pytest.mark.parametrize("on", [False, True])
def test_denormals_are_flushed_inside_and_the_setting_comes_back(problem: Any, on: bool) -> None:
    if not torch.set_flush_denormal(on):
        pytest.skip("this CPU cannot flush denormals")
    inside: list[float] = []

    def sampler(step: int) -> Any:
        inside.append(_denormals())
        return problem.sampler(step) if step < 20 else 1 / 0

    try:
        before = _denormals()
        assert (before == 0) is on
        problem.train(sampler=sampler, max_steps=20)
        assert _denormals() == before
        with pytest.raises(ZeroDivisionError):
            problem.train(sampler=sampler)
        assert _denormals() == before
    finally:
        torch.set_flush_denormal(False)
    assert set(inside) == {0.0}


def test_a_cpu_that_cannot_flush_denormals_trains_too(problem: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "set_flush_denormal", lambda _: False)
    assert problem.train().steps == 40


def test_without_validation_the_last_weights_are_left(problem: Any, same_weights: Same) -> None:
    last: list[dict[str, Tensor]] = []

    def loss(network: nn.Module, batch: Any) -> Tensor:
        last[:] = [{name: tensor.clone() for name, tensor in network.state_dict().items()}]
        return problem.loss(network, batch)

    record = problem.train(validate=None, loss=loss)
    assert (record.best_step, record.best_validation) == (40, None)
    assert [row.validation for row in record.history] == [None] * 8
    assert not same_weights(problem.weights(), last[0])  # one update came after the last loss


def test_patience_ends_the_training(problem: Any) -> None:
    losses = iter([4.0, 3.0, 2.0, 2.0, 2.5, 2.1, 0.0])
    record = problem.train(validate=lambda _: next(losses), options=problem.options(patience=3))
    assert (record.stopped_by, record.steps, record.best_step) == ("patience", 25, 10)


def test_the_history_has_a_row_per_validation_and_one_at_the_end(problem: Any) -> None:
    losses: list[float] = []

    def loss(network: nn.Module, batch: Any) -> Tensor:
        value = problem.loss(network, batch)
        losses.append(float(value.detach()))
        return value

    options = problem.options()
    record = problem.train(loss=loss, max_steps=12)
    assert [row.step for row in record.history] == [0, 5, 10, 12]
    means = [sum(losses[a:b]) / (b - a) for a, b in ((0, 5), (5, 10), (10, 12))]
    assert record.history[0].train_loss is None
    assert [row.train_loss for row in record.history[1:]] == pytest.approx(means)
    rates = [learning_rate_at(step, 12, options) for step in (0, 4, 9, 11)]
    assert [row.learning_rate for row in record.history] == rates
    assert 0 < record.history[0].seconds < record.history[-1].seconds <= record.seconds
    assert record.steps_per_second == record.steps / record.seconds
    assert record.device == "cpu"


def test_the_loss_falls(problem: Any) -> None:
    record = problem.train(max_steps=300, options=problem.options(learning_rate=0.03, patience=None))
    assert record.best_validation is not None
    assert record.history[0].validation is not None
    assert record.best_validation < 0.5 * record.history[0].validation


def test_the_record_goes_through_json(problem: Any) -> None:
    record = problem.train()
    assert TrainingRecord.from_dict(json.loads(json.dumps(record.to_dict()))) == record


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"steps": "many"}, "steps"),
        ({"stopped_by": "boredom"}, "stopped_by"),
        ({"history": [{"step": 1}]}, "history.0.train_loss"),
        ({"history": 3}, "history"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_bad_record_is_named(change: dict[str, Any], told: str) -> None:
    good = TrainingRecord(1, 1, None, (), "max_steps", 1.0, 1.0, "cpu").to_dict()
    with pytest.raises(ModelFileError) as caught:
        TrainingRecord.from_dict({**good, **change})
    assert told in str(caught.value)


class _Named(NamedTuple):
    x: Tensor
    y: Tensor


@dataclass
class _Data:
    x: Tensor
    y: Tensor


@pytest.mark.parametrize("kind", [dict, _Named, _Data])
def test_batches_may_be_mappings_named_tuples_and_dataclasses(
    make_problem: Callable[[], Any], same_weights: Same, kind: Callable[..., Any], tmp_path: Any
) -> None:
    plain, other = make_problem(), make_problem()
    plain.train()

    def loss(network: nn.Module, batch: Any) -> Tensor:
        x, y = (batch["x"], batch["y"]) if kind is dict else (batch.x, batch.y)
        return plain.loss(network, (x, y))

    def sampler(step: int) -> Any:
        x, y = plain.sampler(step)
        return kind(x=x, y=y)

    other.train(loss=loss, sampler=sampler, folder=tmp_path)
    assert same_weights(plain.weights(), other.weights())


def test_gradients_that_the_caller_left_do_not_count(
    make_problem: Callable[[], Any], same_weights: Same
) -> None:
    plain, other = make_problem(), make_problem()
    plain.train()
    for parameter in other.network.parameters():
        parameter.grad = torch.full_like(parameter, math.nan)
    other.train()
    assert same_weights(plain.weights(), other.weights())


def test_frozen_parameters_stay(problem: Any) -> None:
    before = problem.weights()["head.weight"]
    problem.network.head.weight.requires_grad_(False)
    problem.train()
    assert torch.equal(problem.weights()["head.weight"], before)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"max_steps": 0}, "'max_steps' parameter of train is 0"),
        ({"max_steps": 1.5}, "'max_steps' parameter of train is 1.5"),
        ({"max_steps": True}, "'max_steps' parameter of train is True"),
        ({"seed": -1}, "'seed' parameter of train is -1"),
        ({"seed": 1.5}, "'seed' parameter of train is 1.5"),
        ({"seed": True}, "'seed' parameter of train is True"),
        ({"seed": 2**63}, "'seed' parameter of train is"),
        ({"resume": True}, "no folder"),
        ({"checkpoint_every_seconds": -1.0}, "checkpoint_every_seconds"),
        ({"checkpoint_every_seconds": math.nan}, "checkpoint_every_seconds"),
        ({"network": nn.ReLU()}, "no parameter"),
        ({"loss": lambda network, batch: network(batch[0])}, "shape (8, 1)"),
        ({"loss": lambda network, batch: network(batch[0]).sum().detach()}, "requires_grad=False"),
    ],
)
def test_a_wrong_argument_is_named(problem: Any, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        problem.train(**changes)
    assert told in str(caught.value)


# --- what is not finite ---


def test_nan_in_the_data_is_named_with_its_place(problem: Any) -> None:
    def sampler(step: int) -> Any:
        x, y = problem.sampler(step)
        return (x, y * math.nan) if step == 16 else (x, y)

    with pytest.raises(TrainingError) as caught:
        problem.train(sampler=sampler)
    text = str(caught.value)
    assert text.startswith("step 17: the loss is nan at learning rate 0.00")
    assert "batch[1]" in text
    assert "hint: the data hold NaN" in text


def test_a_bad_step_does_not_reach_the_weights(problem: Any) -> None:
    def sampler(step: int) -> Any:
        x, y = problem.sampler(step)
        return (x * math.inf, y) if step == 16 else (x, y)

    with pytest.raises(TrainingError, match="step 17"):
        problem.train(sampler=sampler)
    assert all(torch.isfinite(tensor).all() for tensor in problem.weights().values())


def test_a_learning_rate_far_too_high_is_named() -> None:
    network = nn.Sequential(nn.Linear(2, 8), nn.Linear(8, 8), nn.Linear(8, 1))
    x = torch.ones(4, 2)
    options = Training(learning_rate=1e9, weight_decay=0, device="cpu")
    with pytest.raises(TrainingError, match=r"step \d+: .*learning rate") as caught:
        train(network, lambda n, b: (n(b) ** 2).mean(), lambda _: x, options=options, max_steps=100, seed=0)
    assert "lower learning rate" in str(caught.value)


def test_a_gradient_that_is_not_finite_is_named() -> None:
    network = nn.Linear(1, 1)

    def loss(network: nn.Module, _: Tensor) -> Tensor:
        weight = network.weight
        return torch.sqrt((weight - weight).abs()).sum()  # 0, with an infinite slope

    with pytest.raises(TrainingError, match="norm of the gradients is nan") as caught:
        train(network, loss, lambda _: torch.ones(1, 1), options=Training(device="cpu"), max_steps=9, seed=0)
    assert "the gradient of weight" in str(caught.value)


def test_a_weight_that_is_not_finite_is_named(problem: Any) -> None:
    with torch.no_grad():
        problem.network.lstm.weight_hh_l1[0, 0] = math.inf
    with pytest.raises(TrainingError, match=r"the parameter lstm\.weight_hh_l1"):
        problem.train(validate=None)
    with pytest.raises(TrainingError, match=r"step 0: .*the parameter lstm\.weight_hh_l1"):
        problem.train()


def test_a_validation_loss_that_is_not_finite_is_named(problem: Any) -> None:
    with pytest.raises(TrainingError, match=r"step 0: the validation loss is nan\s+hint: .*initial weights"):
        problem.train(validate=lambda _: math.nan)
    losses = iter([1.0, math.nan])
    with pytest.raises(TrainingError, match="step 5: the validation loss is nan"):
        problem.train(validate=lambda _: next(losses))


def test_on_a_gpu_the_losses_are_read_together_and_the_bad_step_is_still_named() -> None:
    watch = LossWatch(nn.Linear(1, 1), torch.device("cuda"))  # the type alone decides; the tensors stay here
    for step in range(20):
        watch.add(step, 0.1, torch.tensor(float(step)), torch.tensor(1.0), None)
    assert watch.take_mean() == sum(range(20)) / 20
    for step in range(20, 30):
        watch.add(step, 0.1, torch.tensor(math.nan if step == 23 else 1.0), torch.tensor(1.0), None)
    with pytest.raises(TrainingError, match="step 24"):
        watch.take_mean()
