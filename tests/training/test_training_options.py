"""Options say what is wrong with them, and each one changes the training."""

from __future__ import annotations

import copy
import inspect
import itertools
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gatestack.errors import ArgumentError
from gatestack.training import Training
from gatestack.training.optimiser import learning_rate_at

Same = Callable[[dict[str, Tensor], dict[str, Tensor]], bool]


@pytest.mark.parametrize(
    "values",
    [
        {"batch_size": 1.5},
        {"batch_size": 0},
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"learning_rate": float("inf")},
        {"weight_decay": -0.1},
        {"clip_norm": 0.0},
        {"schedule": "cosin"},
        {"patience": 0},
        {"validate_every": 0},
        {"device": "gpu"},
        {"device": "cuda:x"},
        {"precision": "16"},
        {"batch_size": None},
        {"batch_size": "many"},
        {"warmup": 1.0},
        {"warmup": -0.1},
    ],
)
def test_a_value_out_of_range_is_named_with_its_rule(values: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError) as caught:
        Training(**values)
    (name, value), text = next(iter(values.items())), str(caught.value)
    assert f"Training: {name} is " in text
    assert str(value) in text
    assert "expected" in text


def test_an_unknown_option_offers_the_nearest_name() -> None:
    with pytest.raises(ArgumentError, match="did you mean 'learning_rate'"):
        Training(learning_rat=0.1)  # type: ignore[call-arg]


def test_options_cannot_be_changed_afterwards() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Training().batch_size = 3  # type: ignore[misc]


def test_options_are_compared_copied_and_listed_by_value() -> None:
    options = Training(batch_size=np.int64(7), clip_norm=None)
    assert options == Training(batch_size=7, clip_norm=None)
    assert pickle.loads(pickle.dumps(options)) == copy.deepcopy(options) == options
    assert Training(**options.model_dump(mode="json")) == options
    assert "batch_size=7" in repr(options)


def test_there_are_at_most_ten_options_and_each_is_described() -> None:
    assert list(inspect.signature(Training).parameters) == list(Training.model_fields)
    assert len(Training.model_fields) <= 10
    for name in Training.model_fields:
        assert f"\n        {name}: " in f"\n        {inspect.getdoc(Training)}".replace(
            "\n    ", "\n        "
        )


@pytest.mark.parametrize(
    "change",
    [
        {"warmup": 0.2},
        {"learning_rate": 0.02},
        {"weight_decay": 1.0},
        {"clip_norm": 0.1},
        {"clip_norm": None},
        {"schedule": "constant"},
        {"patience": 1, "learning_rate": 0.5},
        {"precision": "bf16-mixed"},
    ],
)
def test_each_option_changes_the_weights(
    make_problem: Callable[[], Any], same_weights: Same, change: dict[str, Any]
) -> None:
    # clip_norm: gradients of this problem are longer than 0.5 at first, so half, a tenth and no limit differ
    plain, changed = make_problem(), make_problem()
    base = {**change, "patience": None} if "patience" in change else {}
    plain.train(options=plain.options(**{"clip_norm": 0.5, **base}))
    changed.train(options=changed.options(**{"clip_norm": 0.5, **change}))
    assert not same_weights(plain.weights(), changed.weights())


def test_validate_every_is_the_distance_of_the_rows(problem: Any) -> None:
    record = problem.train(options=problem.options(validate_every=9))
    assert [row.step for row in record.history] == [0, 9, 18, 27, 36, 40]


def test_double_precision_makes_the_network_double(problem: Any) -> None:
    problem.x, problem.y = problem.x.double(), problem.y.double()
    problem.train(options=problem.options(precision="64-true"))
    assert {tensor.dtype for tensor in problem.weights().values()} == {torch.float64}


def test_a_device_that_is_not_there_is_refused_by_name(problem: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    for device in ("cuda", "cuda:3"):
        with pytest.raises(ArgumentError, match=f"device is '{device}'"):
            problem.train(options=problem.options(device=device))


def test_the_learning_rate_rises_falls_and_ends_near_zero() -> None:
    options = Training(learning_rate=0.1)
    rates = [learning_rate_at(step, 200, options) for step in range(200)]
    assert rates[:10] == pytest.approx([0.01 * (step + 1) for step in range(10)])
    assert rates[10] == 0.1
    assert rates[105] == pytest.approx(0.05)
    assert all(before > after for before, after in itertools.pairwise(rates[10:]))
    assert 0 < rates[-1] < 1e-4
    constant = Training(learning_rate=0.1, schedule="constant")
    assert {learning_rate_at(step, 200, constant) for step in range(10, 200)} == {0.1}


@pytest.mark.parametrize("steps", [1, 2, 19, 20, 21])
@pytest.mark.parametrize("warmup", [0.0, 0.05, 0.99])
def test_the_learning_rate_is_positive_for_the_shortest_trainings(steps: int, warmup: float) -> None:
    options = Training(warmup=warmup)
    assert all(0 < learning_rate_at(step, steps, options) <= 1e-3 for step in range(steps))


def test_the_warm_up_takes_its_part_of_the_steps() -> None:
    rates = [
        learning_rate_at(step, 10, Training(learning_rate=1.0, warmup=0.4, schedule="constant"))
        for step in range(10)
    ]
    assert rates == [0.25, 0.5, 0.75, 1, 1, 1, 1, 1, 1, 1]
    assert learning_rate_at(0, 10, Training(learning_rate=1.0, warmup=0.0)) == 1.0


def test_without_a_learning_rate_it_is_a_thousandth(
    make_problem: Callable[[], Any], same_weights: Same
) -> None:
    open_, said = make_problem(), make_problem()
    record = open_.train(options=open_.options(learning_rate=None))
    said.train(options=said.options(learning_rate=0.001))
    assert max(row.learning_rate for row in record.history) <= 0.001
    assert same_weights(open_.weights(), said.weights())
