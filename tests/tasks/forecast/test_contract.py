"""The contract of every estimator, and that every option does something."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import clone

from gatestack.errors import ArgumentError, NotFittedError
from gatestack.tasks.forecast import Architecture, Forecaster
from gatestack.training import Training

from .tables import ahead_of, many_series, one_series, values_of

Make = Callable[..., Forecaster]


def weights(model: Forecaster) -> dict[str, torch.Tensor]:
    return model.fitted_.network.state_dict()


def same_weights(one: Forecaster, other: Forecaster) -> bool:
    a, b = weights(one), weights(other)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_the_constructor_stores_what_it_is_given_unchanged() -> None:
    given: dict[str, Any] = {
        "horizon": "seven",
        "layers": [3, -1],
        "hidden_size": None,
        "window": 0.5,
        "quantiles": {"a"},
        "max_steps": -1,
        "season": object(),
        "calendar": 3,
        "mode": "none",
        "intervals": "wide",
        "architecture": "big",
        "training": 1,
        "seed": "x",
    }
    model = Forecaster(**given)
    parameters = model.get_params(deep=False)
    assert parameters.keys() == given.keys()
    assert all(parameters[name] is value for name, value in given.items())


def test_clone_and_set_params_keep_to_scikit_learns_contract(make: Make) -> None:
    model = make(architecture=Architecture(cell="gru"), training=Training(batch_size=7))
    copy = clone(model.fit(one_series()))
    assert not hasattr(copy, "fitted_")
    assert copy.get_params() == model.get_params()
    assert copy.set_params(horizon=9, seed=4) is copy
    assert (copy.horizon, copy.seed, model.horizon, model.seed) == (9, 4, 3, 0)
    assert "horizon=9" in repr(copy)


def test_set_params_refuses_an_unknown_name(make: Make) -> None:
    with pytest.raises(ValueError, match="horizons"):
        make().set_params(horizons=3)


def test_equal_seeds_give_equal_weights_bit_for_bit(make: Make) -> None:
    frame = one_series()
    settings: dict[str, Any] = {"architecture": Architecture(dropout=0.3)}
    one, other = make(**settings).fit(frame), make(**settings).fit(frame)
    assert same_weights(one, other)
    assert one.predict().equals(other.predict())
    assert not same_weights(one, make(seed=1, **settings).fit(frame))


def test_fit_leaves_the_global_random_numbers_alone(make: Make) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    make(architecture=Architecture(dropout=0.3)).fit(one_series())
    assert torch.equal(torch.rand(3), expected)


def test_fitting_again_forgets_the_first_fit(make: Make) -> None:
    model = make().fit(one_series(seed=1)).fit(one_series(seed=2))
    assert same_weights(model, make().fit(one_series(seed=2)))


@pytest.mark.parametrize(
    "call",
    [
        lambda model, _: model.predict(),
        lambda model, _: model.evaluate(one_series()),
        lambda model, _: model.stream(),
        lambda model, _: model.plot(),
        lambda model, folder: model.save(folder / "model"),
    ],
    ids=["predict", "evaluate", "stream", "plot", "save"],
)
def test_every_method_that_needs_a_fit_says_so(make: Make, call: Callable[..., Any], tmp_path: Any) -> None:
    with pytest.raises(NotFittedError, match="this Forecaster is not fitted yet"):
        call(make(), tmp_path)
    assert not list(tmp_path.iterdir())


CHANGES: dict[str, dict[str, Any]] = {
    "layers": {"layers": 1},
    "widths": {"layers": [5, 4]},
    "hidden_size": {"hidden_size": 6},
    "window": {"window": 12},
    "max_steps": {"max_steps": 5},
    "season": {"season": 4},
    "seasons": {"season": [4, 5]},
    "no season": {"season": None},
    "found season": {"season": "auto", "window": 22},
    "calendar": {"calendar": ["day_of_week"]},
    "windows": {"mode": "windows"},
    "recursive": {"mode": "recursive"},
    "seed": {"seed": 3},
    "gru": {"architecture": Architecture(cell="gru")},
    "rnn": {"architecture": Architecture(cell="rnn")},
    "dropout": {"architecture": Architecture(dropout=0.4)},
    "variational_dropout": {"architecture": Architecture(variational_dropout=0.4)},
    "residual": {"architecture": Architecture(residual=True)},
    "initial_state": {"architecture": Architecture(initial_state="trained")},
    "scaling": {"architecture": Architecture(scaling="series")},
    "head_size": {"architecture": Architecture(head_size=7)},
    "autoregression": {"architecture": Architecture(autoregression=False)},
    "batch_size": {"training": Training(batch_size=9)},
    "learning_rate": {"training": Training(learning_rate=0.02)},
    "weight_decay": {"training": Training(weight_decay=0.5)},
    "clip_norm": {"training": Training(clip_norm=0.01)},
    "warmup": {"training": Training(warmup=0.5)},
    "schedule": {"training": Training(schedule="constant")},
    "precision": {"training": Training(precision="bf16-mixed")},
}


@pytest.mark.parametrize("name", CHANGES)
def test_each_option_changes_the_forecast(make: Make, name: str) -> None:
    frame = one_series()
    # Four steps move the initial states so little that float32 may not show it in the forecast.
    shared = {"max_steps": 12} if name == "initial_state" else {}
    changed = make(**shared, **CHANGES[name]).fit(frame)
    usual = make(**shared).fit(frame)
    assert np.isfinite(values_of(changed.predict())).all()
    assert not np.array_equal(values_of(changed.predict()), values_of(usual.predict()))


@pytest.mark.usefixtures("validated")
def test_validation_comes_as_often_as_was_asked_for(make: Make) -> None:
    history = make(training=Training(validate_every=2)).fit(one_series()).fitted_.record.history
    assert [row.step for row in history] == [0, 2, 4]
    assert all(row.validation is not None and row.validation > 0 for row in history)


@pytest.mark.usefixtures("validated")
def test_patience_ends_a_fit_that_does_not_get_better(make: Make) -> None:
    settings: dict[str, Any] = {"validate_every": 1, "learning_rate": 3.0, "clip_norm": None}
    long = make(max_steps=12, training=Training(patience=None, **settings)).fit(one_series())
    short = make(max_steps=12, training=Training(patience=2, **settings)).fit(one_series())
    assert long.fitted_.record.steps == 12
    assert short.fitted_.record.steps < 12
    assert short.fitted_.record.stopped_by == "patience"


def test_the_quantiles_are_those_that_were_asked_for(make: Make) -> None:
    forecast = make(quantiles=(0.05, 0.2, 0.5, 0.8, 0.95)).fit(one_series()).predict()
    names = ["gatestack-lo-60", "gatestack-hi-60", "gatestack-lo-90", "gatestack-hi-90"]
    assert forecast.columns == ["ds", "gatestack", *names]
    assert make(quantiles=[0.5]).fit(one_series()).predict().columns == ["ds", "gatestack"]


def test_double_precision_is_used_and_predicts(make: Make) -> None:
    double = make(training=Training(precision="64-true")).fit(one_series())
    single = make().fit(one_series())
    assert np.allclose(values_of(double.predict()), values_of(single.predict()), rtol=1e-3)


@pytest.mark.parametrize(
    ("options", "nearest"),
    [({"cells": "gru"}, "cell"), ({"drop_out": 0.1}, "dropout"), ({"headsize": 3}, "head_size")],
)
def test_an_unknown_option_of_the_architecture_offers_the_nearest(
    options: dict[str, Any], nearest: str
) -> None:
    with pytest.raises(ArgumentError, match=f"did you mean '{nearest}'"):
        Architecture.from_dict(options)


@pytest.mark.parametrize(
    "options",
    [
        {"cell": "lstms"},
        {"cell": None},
        {"dropout": 1.0},
        {"dropout": -0.1},
        {"dropout": True},
        {"variational_dropout": "0.1"},
        {"residual": "yes"},
        {"autoregression": 1},
        {"initial_state": "one"},
        {"scaling": "global"},
        {"head_size": 0},
        {"head_size": 2.5},
    ],
)
def test_an_architecture_out_of_its_range_is_refused_when_it_is_made(options: dict[str, Any]) -> None:
    name = next(iter(options))
    with pytest.raises(ArgumentError, match=f"'{name}' parameter of Architecture"):
        Architecture(**options)


BAD: list[tuple[dict[str, Any], str]] = [
    ({"horizon": 0}, "'horizon' parameter of Forecaster is 0"),
    ({"horizon": -1}, "'horizon'"),
    ({"horizon": 1.5}, "'horizon'"),
    ({"horizon": True}, "'horizon'"),
    ({"horizon": "7"}, "'horizon'"),
    ({"layers": 0}, "'layers'"),
    ({"layers": []}, "'layers'"),
    ({"layers": [64, 0]}, "'layers'"),
    ({"layers": 2.0}, "'layers'"),
    ({"layers": True}, "'layers'"),
    ({"layers": 10**9}, "more than 64"),
    ({"layers": "automatic"}, "or 'auto'"),
    ({"layers": [4, 5], "architecture": Architecture(residual=True)}, "same width"),
    ({"hidden_size": 0}, "'hidden_size'"),
    ({"window": 1}, "'window'"),
    ({"window": "long"}, "'window'"),
    ({"season": 1}, "'season'"),
    ({"season": [7, 0]}, "'season'"),
    ({"season": "weekly"}, "'season'"),
    ({"season": 11}, "season 11 is longer than the window of 10"),
    ({"quantiles": (0.1, 0.9)}, "'quantiles'"),
    ({"quantiles": (0.1, 0.5, 0.8)}, "'quantiles'"),
    ({"quantiles": (0.9, 0.5, 0.1)}, "'quantiles'"),
    ({"quantiles": (0.0, 0.5, 1.0)}, "'quantiles'"),
    ({"quantiles": ()}, "'quantiles'"),
    ({"quantiles": 0.5}, "'quantiles'"),
    ({"quantiles": ("0.5",)}, "'quantiles'"),
    ({"quantiles": (float("nan"),)}, "'quantiles'"),
    ({"quantiles": (0.5,), "mode": "recursive"}, "three quantiles"),
    ({"max_steps": 0}, "'max_steps'"),
    ({"seed": -1}, "'seed'"),
    ({"seed": None}, "'seed'"),
    ({"seed": 2**63}, "'seed'"),
    ({"mode": "recursiv"}, "did you mean 'recursive'"),
    ({"calendar": "hourly"}, "'calendar'"),
    ({"calendar": ["day_of_weak"]}, "did you mean 'day_of_week'"),
    ({"calendar": 3}, "'calendar'"),
    ({"architecture": {"cell": "gru"}}, "'architecture' parameter of Forecaster is of type dict"),
    ({"training": "fast"}, "'training' parameter of Forecaster is of type str"),
]


@pytest.mark.parametrize(("changes", "text"), BAD, ids=[str(changes) for changes, _ in BAD])
def test_a_bad_argument_is_refused_by_name(make: Make, changes: dict[str, Any], text: str) -> None:
    model = make(**changes)
    for call in (model.fit, model.backtest):
        with pytest.raises(ArgumentError) as error:
            call(one_series())
        assert text in str(error.value)
    assert not hasattr(model, "fitted_")


def test_numbers_of_numpy_are_numbers(make: Make) -> None:
    plain = make(3, layers=2, window=10, season=5, seed=1).fit(one_series())
    numpy = make(
        np.int64(3), layers=np.int32(2), window=np.int64(10), season=np.int64(5), seed=np.uint8(1)
    ).fit(one_series())
    assert numpy.predict().equals(plain.predict())


def test_wrong_helpers_of_fit_and_backtest_are_refused(make: Make) -> None:
    with pytest.raises(ArgumentError, match="'run' parameter of fit is of type str"):
        make().fit(one_series(), run="folder")
    with pytest.raises(ArgumentError, match="'origins' parameter of backtest is of type int"):
        make().backtest(one_series(), origins=7)
    for call in (make().fit, make().backtest):
        with pytest.raises(ArgumentError, match="'short_series' parameter of fit is 'drop'"):
            call(one_series(), short_series="drop")


def test_a_misspelt_column_offers_the_nearest(make: Make) -> None:
    frame = one_series().rename({"y": "temp_max"})
    with pytest.raises(ArgumentError, match="did you mean 'temp_max'"):
        make().fit(frame, target="temp_mx", time="ds")
    with pytest.raises(ArgumentError, match="did you mean 'rain'"):
        make().fit(frame, target="temp_max", past=["rian"])


def test_past_columns_cannot_be_sampled(make: Make) -> None:
    with pytest.raises(ArgumentError, match="recursive' with past columns rain"):
        make(mode="recursive").fit(one_series(), past=["rain"])


@pytest.mark.parametrize(
    "roles",
    [{"past": ["rain"]}, {"future": ["open"]}, {"static": ["size"]}],
    ids=lambda roles: next(iter(roles)),
)
def test_each_kind_of_column_is_read(make: Make, roles: dict[str, Any]) -> None:
    frame = many_series()
    arguments = {"future": ahead_of(frame, 3)} if "future" in roles else {}
    beside = make().fit(frame)
    model = make().fit(frame, **roles)
    assert not np.array_equal(values_of(model.predict(**arguments)), values_of(beside.predict()))
