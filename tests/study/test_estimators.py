"""Every estimator can be studied, and can ask for a study itself: `layers="auto"`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.base import clone

import gatestack as gs
from gatestack.errors import ArgumentError, DataError, ModelFileError
from gatestack.study import DepthPlan, DepthRange, depth
from gatestack.tasks import estimator
from gatestack.tasks.folding import fit_perceptron
from gatestack.tasks.forecast import CoherentForecaster
from gatestack.tasks.labelled import Architecture
from gatestack.tasks.labelled.folded import deal_folds

RANDOM = np.random.default_rng(0)
PLAIN = Architecture(recipe="plain", bidirectional=False)
WAVES = [np.sin(np.arange(16) * (1 + case % 2)) + 0.3 * RANDOM.normal(size=16) for case in range(24)]
SERIES = pl.DataFrame(
    {"ds": range(160), "y": np.sin(np.arange(160) * 2 * np.pi / 8) + 0.3 * RANDOM.normal(size=160)}
)
PARTS = pl.concat(
    SERIES.with_columns(unique_id=pl.lit(name), y=pl.col("y") + 0.2 * RANDOM.normal(size=160) + level)
    for name, level in {"a": 3.0, "b": 5.0, "c": 8.0}.items()
).with_columns(region=pl.when(pl.col("unique_id") == "c").then(pl.lit("south")).otherwise(pl.lit("north")))

ESTIMATORS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "forecaster": (
        gs.Forecaster(2, layers="auto", hidden_size=4, window=8, season=8, max_steps=2),
        SERIES,
        {},
    ),
    "classifier": (
        gs.Classifier(layers="auto", hidden_size=4, max_steps=2),
        WAVES,
        {"y": np.array(["slow", "fast"] * 12)},
    ),
    "regressor": (
        gs.Regressor(layers="auto", hidden_size=4, max_steps=2, architecture=PLAIN),
        WAVES,
        {"y": np.arange(24.0)},
    ),
    "detector": (
        gs.AnomalyDetector(layers="auto", hidden_size=4, window=8, max_steps=2),
        SERIES,
        {"train": 0.9},
    ),
    "coherent": (
        CoherentForecaster(
            gs.Forecaster(2, layers="auto", hidden_size=4, window=8, season=8, max_steps=2), ["region"]
        ),
        PARTS,
        {},
    ),
}
PLAIN_ANSWERS = {
    "forecaster": {"last_value", "seasonal_naive", "drift", "linear", "perceptron"},
    "classifier": {"majority", "1-nn", "linear", "perceptron", "kernels"},
    "regressor": {"mean", "1-nn", "linear", "perceptron"},
    "detector": {"last_value", "mean", "perceptron"},
    "coherent": {"last_value", "seasonal_naive", "drift", "linear", "perceptron"},
}
FINE = {"classifier": "log_loss"}
SMALL = DepthPlan(depths=DepthRange(1, 2), seeds=1)
each = pytest.mark.parametrize("kind", ESTIMATORS)


@pytest.fixture
def small_study(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `layers="auto"` look at few folds and depths."""
    monkeypatch.setattr(depth, "DepthPlan", lambda **given: DepthPlan(**given) if given else SMALL)
    monkeypatch.setattr(estimator, "_FOLDS", 2)


@each
def test_each_fit_has_scores_and_costs_of_its_own(kind: str) -> None:
    model, data, options = ESTIMATORS[kind]
    task = model.folded_task(data, options, folds=2)
    plain, network = task.plain(0, 0), task.network((4, 4), 1, 0)
    assert set(plain.scores) == PLAIN_ANSWERS[kind]
    assert all(np.isfinite(score) for score in (*plain.scores.values(), *network.scores.values()))
    assert set(network.scores) == {"gatestack"}
    assert network.training is not None
    assert network.parameters is not None
    assert network.parameters > task.network((4,), 1, 0).parameters
    assert network.step_ms > 0
    assert network.step_bytes >= 4 * network.parameters
    # The same fit gives the same score, another seed or fold another one; an accuracy is too coarse to tell.
    fine = model.folded_task(data, options, folds=2, measure=FINE.get(kind))
    scores = [fine.network((4, 3), fold, seed).training for fold, seed in ((1, 0), (1, 0), (0, 0), (1, 1))]
    assert scores[0] == scores[1]
    assert len(set(scores)) == 3
    assert model.layers == "auto"
    assert not model.__sklearn_is_fitted__()


@each
def test_the_identity_tells_data_and_settings_apart(kind: str) -> None:
    model, data, options = ESTIMATORS[kind]
    task = model.folded_task(data, options, folds=2)
    assert task.identity == model.folded_task(data, options, folds=2).identity
    name = "forecaster__max_steps" if kind == "coherent" else "max_steps"
    other = clone(model).set_params(**{name: 3})
    assert other.folded_task(data, options, folds=2).identity != task.identity
    fewer = data[:20] if isinstance(data, list) else data.filter(pl.col("ds") < 150)
    if "y" in options:
        options = {"y": options["y"][:20]}
    assert model.folded_task(fewer, options, folds=2).identity != task.identity


@pytest.mark.parametrize("kind", ["forecaster", "detector"])
def test_the_identity_tells_clocks_apart(kind: str) -> None:
    """The same instants are other hours of the day elsewhere, which a calendar feature reads."""
    model, data, _ = ESTIMATORS[kind]
    time = pl.datetime(2024, 1, 1, time_zone="UTC") + pl.duration(hours="ds")
    here = data.with_columns(ds=time)
    there = data.with_columns(ds=time.dt.convert_time_zone("Asia/Tokyo"))
    one, other = (model.folded_task(frame, {}, folds=2).identity for frame in (here, there))
    assert one != other


def test_the_identity_tells_what_is_done_with_short_series() -> None:
    model, data, _ = ESTIMATORS["forecaster"]
    error, keep = (
        model.folded_task(data, {"short_series": choice}, folds=2).identity for choice in ("error", "keep")
    )
    assert error != keep


def test_no_estimator_is_left_out() -> None:
    own = {kind for kind in estimator._KINDS.values() if kind.__module__.startswith("gatestack.")}
    assert {type(model) for model, _, _ in ESTIMATORS.values()} == own


@each
@pytest.mark.usefixtures("small_study")
def test_one_interface(kind: str, tmp_path: Path) -> None:
    """Every estimator is studied, tuned, fitted with the depth that was found, saved, loaded, looked into."""
    model, data, options = ESTIMATORS[kind]
    model = clone(model)
    study = gs.study_depth(model, data, options, layers="1-2", folds=2, seeds=1, progress=False)
    assert [row.layers for row in study.rows] == [1, 2]
    inner = "forecaster__layers" if kind == "coherent" else "layers"
    tuned = gs.tune(
        clone(model).set_params(**{inner: 1}),
        data,
        options,
        search=["zoneout"],
        trials=1,
        folds=3,
        check_seeds=1,
        progress=False,
    )
    assert [set(row.settings) for row in tuned.rows] == [{"zoneout"}]
    model.fit(data, **options)
    assert model.depth_.chosen == study.chosen
    assert [row.score for row in model.depth_.rows] == [row.score for row in study.rows]
    network = model.fitted_.members[0].network if hasattr(model.fitted_, "members") else model.fitted_.network
    assert network.shape.widths == (4,) * study.chosen
    loaded = gs.load(model.save(tmp_path / "model"))
    assert loaded.depth_ == model.depth_
    assert model.layers == loaded.layers == "auto"
    found = loaded.inspect(data, options.get("y"), sequences=2)
    assert found.tables["layers"]["layer"].n_unique() == study.chosen


@pytest.mark.usefixtures("small_study")
def test_without_auto_there_is_no_evidence(tmp_path: Path) -> None:
    model = gs.Regressor(layers="auto", hidden_size=4, max_steps=2, architecture=PLAIN)
    model.fit(WAVES, np.arange(24.0))
    assert model.depth_ is not None
    model.set_params(layers=1).fit(WAVES, np.arange(24.0))
    assert model.depth_ is None
    folder = model.save(tmp_path / "model")
    assert '"depth"' not in (folder / "model.json").read_text()


@pytest.mark.usefixtures("small_study")
def test_damaged_evidence_is_refused(tmp_path: Path) -> None:
    model = gs.Regressor(layers="auto", hidden_size=4, max_steps=2, architecture=PLAIN)
    folder = model.fit(WAVES, np.arange(24.0)).save(tmp_path / "model")
    text = (folder / "model.json").read_text()
    (folder / "model.json").write_text(text.replace('"chosen"', '"taken"'))
    with pytest.raises(ModelFileError, match="the study of depth"):
        gs.load(folder)


@pytest.mark.usefixtures("small_study")
def test_a_study_of_a_fit_goes_on_beside_its_checkpoints(tmp_path: Path) -> None:
    run = gs.training.RunFolder(path=tmp_path / "run", progress=False)
    model = gs.Regressor(layers="auto", hidden_size=4, max_steps=2, architecture=PLAIN)
    model.fit(WAVES, np.arange(24.0), run=run)
    assert (tmp_path / "run" / "study.db").is_file()


def test_where_no_layer_is_worth_it_one_is_taken_with_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = DepthPlan(depths=DepthRange(0, 1), seeds=1, min_gain=1e9)
    monkeypatch.setattr(depth, "DepthPlan", lambda: plan)
    model = gs.Regressor(layers="auto", hidden_size=4, max_steps=2, architecture=PLAIN)
    with pytest.warns(UserWarning, match="No layers: .* This Regressor has one layer all the same") as caught:
        model.fit(WAVES, np.arange(24.0))
    assert caught[0].filename == __file__
    assert model.depth_ is not None
    assert model.depth_.chosen == 0
    assert model.fitted_.members[0].network.shape.widths == (4,)


def test_too_little_data_to_choose_by_is_said() -> None:
    model = gs.Forecaster(2, layers="auto", hidden_size=4, window=4, max_steps=2)
    with pytest.raises(DataError, match="hint: give a number of layers"):
        model.fit(SERIES.head(12))


@pytest.mark.usefixtures("small_study")
def test_cross_validation_chooses_inside_each_fold(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def note(task: Any, plan: Any, **options: Any) -> Any:
        seen.append(len(task.data))
        return original(task, plan, **options)

    original = depth.run_depth_study
    monkeypatch.setattr(depth, "run_depth_study", note)
    model = gs.Regressor(layers="auto", hidden_size=4, max_steps=2, architecture=PLAIN)
    model.cross_validate(WAVES, np.arange(24.0), folds=2)
    assert seen == [12, 12]


def test_groups_stay_together() -> None:
    groups, answers = np.repeat(np.arange(8), 3), np.tile([0, 1, 1], 8)
    for classes in (True, False):
        dealt = deal_folds(answers, 4, groups, classes=classes, seed=0)
        assert all(len(set(dealt[groups == group])) == 1 for group in range(8))
        assert set(dealt) == {0, 1, 2, 3}
    with pytest.raises(ArgumentError, match="8 names"):
        deal_folds(answers, 9, groups, classes=True, seed=0)


def test_rolling_origins_look_only_back() -> None:
    model, data, _ = ESTIMATORS["forecaster"]
    task = model.folded_task(data, {}, folds=2)
    assert task.ends[:, 0].tolist() == [96, 128, 160]
    # What comes after a block changes nothing in it.
    changed = data.with_columns(pl.when(pl.col("ds") >= 128).then(999.0).otherwise("y").alias("y"))
    later = model.folded_task(changed, {}, folds=2)
    assert later.network((4,), 0, 0).scores == task.network((4,), 0, 0).scores
    assert later.plain(0, 0).scores == task.plain(0, 0).scores


def test_the_detectors_study_reads_nothing_after_the_training_part() -> None:
    model, data, _ = ESTIMATORS["detector"]
    changed = data.with_columns(pl.when(pl.col("ds") >= 144).then(999.0).otherwise("y").alias("y"))
    one, two = (model.folded_task(frame, {"train": 0.9}, folds=2) for frame in (data, changed))
    assert one.network((4,), 1, 0).scores == two.network((4,), 1, 0).scores
    assert one.identity == two.identity


def test_a_reconstruction_has_principal_components_beside_it() -> None:
    model = gs.AnomalyDetector("reconstruction", hidden_size=4, window=8, max_steps=2)
    task = model.folded_task(SERIES, {}, folds=2)
    scores = task.plain(1, 0).scores
    assert set(scores) == {"mean", "components"}
    assert scores["components"] < scores["mean"]
    # Steps that are missing in a block count for neither.
    gaps = SERIES.with_columns(y=pl.when((pl.col("ds") < 130) | (pl.col("ds") % 2 == 0)).then("y"))
    fewer = model.folded_task(gaps, {}, folds=2).plain(1, 0).scores
    assert 0 < fewer["components"] < 2 * scores["components"]


def test_a_perceptron_learns_a_map_without_memory() -> None:
    x = RANDOM.normal(size=600)
    frame = pl.DataFrame({"ds": range(600), "y": np.sin(2 * x), "x": x})
    model = gs.Forecaster(1, hidden_size=16, window=4, season=None, max_steps=2)
    scores = model.folded_task(frame, {"future": ["x"]}, folds=2).plain(1, 0).scores
    assert scores["perceptron"] < 0.6 * scores["linear"]


@pytest.mark.parametrize("classes", [True, False])
def test_ctrl_c_ends_a_perceptron_too(monkeypatch: pytest.MonkeyPatch, classes: bool) -> None:
    """scikit-learn would give a model that is half trained, and go on."""
    from sklearn.neural_network import _multilayer_perceptron

    def press(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(_multilayer_perceptron.BaseMultilayerPerceptron, "_backprop", press)
    with pytest.raises(KeyboardInterrupt):
        fit_perceptron(RANDOM.normal(size=(20, 3)), np.arange(20) % 2, units=2, classes=classes, seed=0)


def test_other_measures() -> None:
    model, data, options = ESTIMATORS["classifier"]
    task = model.folded_task(data, options, folds=2, measure="log_loss")
    assert (task.measure.label, task.measure.better) == ("log loss", "lower")
    assert "1-nn" not in task.plain(0, 0).scores  # it gives names, no probabilities
    with pytest.raises(ArgumentError, match="there is no measure 'log-loss'"):
        model.folded_task(data, options, folds=2, measure="log-loss")


@pytest.mark.parametrize(
    ("kind", "options", "folds", "text"),
    [
        ("forecaster", {"targt": "y"}, 2, "has no option 'targt'"),
        ("detector", {"tain": 0.5}, 2, "has no option 'tain'"),
        ("classifier", {"z": 1}, 2, "has no option 'z'"),
        ("forecaster", {}, 40, "40 blocks of a horizon"),
        ("detector", {"train": 20}, 30, "cannot be cut into 30 blocks"),
        ("regressor", {"y": np.arange(24.0)}, 25, "24 cases cannot be dealt to 25 folds"),
    ],
)
def test_what_cannot_be_studied_is_refused(kind: str, options: dict[str, Any], folds: int, text: str) -> None:
    model, data, _ = ESTIMATORS[kind]
    with pytest.raises((ArgumentError, DataError), match=text):
        model.folded_task(data, options, folds=folds)


def test_series_of_a_few_steps_are_kept() -> None:
    short = [SERIES.head(steps).with_columns(unique_id=pl.lit(f"{steps}")) for steps in (160, 20, 3, 1)]
    model = ESTIMATORS["forecaster"][0]
    task = model.folded_task(pl.concat(short), {"short_series": "keep"}, folds=2)
    assert np.isfinite(task.network((4,), 0, 0).training)
    assert np.isfinite(list(task.plain(0, 0).scores.values())).all()


def test_the_columns_that_the_lowest_layer_reads_are_counted() -> None:
    """Equal parameters are counted with them."""
    day = pl.datetime(2024, 1, 1) + pl.duration(hours="ds")
    hours = SERIES.with_columns(ds=day, x=pl.col("y").shift(1).fill_null(0.0), z=pl.col("ds") % 5)
    gaps = hours.with_columns(y=pl.when(pl.col("z") > 0).then("y"))
    for frame in (hours, gaps):
        for calendar in ((), ("hour", "day_of_week")):
            model = gs.Forecaster(2, hidden_size=4, window=8, season=8, max_steps=1, calendar=calendar)
            task = model.folded_task(frame, {"past": ["x"], "future": ["z"]}, folds=2)
            assert task.features == task._fit((4,), 0, 0).network.input_size
        for method in ("forecast", "reconstruction"):
            model = gs.AnomalyDetector(method, hidden_size=4, window=8, max_steps=1)
            task = model.folded_task(frame, {"values": ["y", "x"]}, folds=2)
            network = task._fit((4,), 0, 0).network
            stack = network.stack if method == "forecast" else network.encoder
            assert task.features == stack.input_size


@pytest.mark.parametrize("kind", ["forecaster", "detector", "coherent"])
def test_missing_values_do_not_stop_a_study(kind: str) -> None:
    model, data, _ = ESTIMATORS[kind]
    gaps = data.with_columns(y=pl.when(pl.col("ds") % 2 == 0).then("y"))  # no horizon is known whole
    task = model.folded_task(gaps, {}, folds=2)
    for scores in (task.plain(0, 0).scores, task.network((4,), 0, 0).scores):
        assert np.isfinite(list(scores.values())).all()


@pytest.mark.parametrize("kind", ["classifier", "regressor"])
def test_a_fit_reads_nothing_of_the_cases_held_out(kind: str) -> None:
    model, _, options = ESTIMATORS[kind]
    task = clone(model).set_params(layers=1).folded_task(WAVES, options, folds=2, measure=FINE.get(kind))
    # Other values and answers in the fold held out leave the score in training as it was, to the last bit.
    held = task.dealt == 0
    waves = [50 * wave if out else wave for wave, out in zip(WAVES, held, strict=True)]
    changed = clone(model).set_params(layers=1).folded_task(waves, options, folds=2, measure=FINE.get(kind))
    changed.dealt = task.dealt
    if kind == "regressor":
        changed.answers = task.answers + 1000 * held
        changed.data = replace(changed.data, targets=changed.answers)
    one, other = (found.network((4,), 0, 0) for found in (task, changed))
    assert one.training == other.training
    assert one.scores != other.scores


@pytest.mark.parametrize("kind", ["forecaster", "detector"])
def test_a_fit_reads_no_column_of_the_block(kind: str) -> None:
    model, data, _ = ESTIMATORS[kind]
    frame = data.with_columns(x=pl.col("y").shift(3).fill_null(0.0), z=pl.col("ds") % 5)
    names = ["y", "x"] if kind == "detector" else ["y", "x", "z"]
    options = {"past": ["x"], "future": ["z"]} if kind == "forecaster" else {"values": ["y", "x"]}
    after = pl.col("ds") >= 96
    changed = frame.with_columns(
        pl.when(after).then(7.0 * pl.col(name)).otherwise(name).alias(name) for name in names
    )
    one, other = (
        model.folded_task(table, options, folds=2).network((4,), 0, 0) for table in (frame, changed)
    )
    assert one.training == other.training
    assert one.scores != other.scores


def test_the_same_data_from_elsewhere_is_the_same_study(tmp_path: Path) -> None:
    model, data, _ = ESTIMATORS["forecaster"]
    data.write_csv(tmp_path / "a.csv")
    one, other = (model.folded_task(place, {}, folds=2) for place in (data, tmp_path / "a.csv"))
    assert one.identity == other.identity
    assert other.source.endswith("a.csv")


def test_forecasts_that_add_up_are_judged_after_they_do() -> None:
    """The score of a fold is that of a fit on what lies before it, with its projection."""
    model = CoherentForecaster(
        gs.Forecaster(2, layers=1, hidden_size=4, window=8, season=8, max_steps=2),
        ["region"],
        method="bottom-up",
    )
    task = model.folded_task(PARTS, {}, folds=2)
    assert task.ends.tolist() == [[96] * 5, [128] * 5, [160] * 5]  # total, north, a, b, c
    before = model.fit(PARTS.filter(pl.col("ds") < 96))
    scores = before.evaluate(PARTS.filter(pl.col("ds") < 128), step=2).scores
    assert task.network((4,), 0, 0).scores["gatestack"] == pytest.approx(scores["mase"][0], rel=1e-6)
    changed = PARTS.with_columns(pl.when(pl.col("ds") >= 128).then(99.0).otherwise("y").alias("y"))
    later = model.folded_task(changed, {}, folds=2)
    assert later.network((4,), 0, 0).scores == task.network((4,), 0, 0).scores
    assert later.plain(0, 0).scores == task.plain(0, 0).scores
    other = CoherentForecaster(model.forecaster, ["region"], method="top-down").folded_task(
        PARTS, {}, folds=2
    )
    assert other.identity != task.identity
    assert other.network((4,), 0, 0).scores != task.network((4,), 0, 0).scores


def test_plain_answers_add_up_too() -> None:
    """A perceptron of each node does not; those that repeat values do as they are."""
    plain = {
        method: CoherentForecaster(ESTIMATORS["coherent"][0].forecaster, ["region"], method=method)
        .folded_task(PARTS, {}, folds=2)
        .plain(0, 0)
        .scores
        for method in ("bottom-up", "top-down")
    }
    for name in ("last_value", "seasonal_naive", "drift"):
        assert plain["bottom-up"][name] == plain["top-down"][name]
    for name in ("perceptron", "linear"):
        assert plain["bottom-up"][name] != plain["top-down"][name]


def test_series_that_begin_late_are_cut_at_the_same_time() -> None:
    model = ESTIMATORS["coherent"][0]
    late = PARTS.filter((pl.col("unique_id") != "c") | (pl.col("ds") >= 60))
    task = model.folded_task(late, {}, folds=2)
    # c, the shortest, has 100 steps: 60, 80, 100; the others begin 60 steps before it.
    assert task.ends[:, -1].tolist() == [60, 80, 100]
    assert task.ends[:, -2].tolist() == [120, 140, 160]
    assert np.isfinite(task.network((4,), 0, 0).training)
    assert np.isfinite(list(task.plain(0, 0).scores.values())).all()
