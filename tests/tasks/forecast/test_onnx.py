"""A forecaster in ONNX Runtime answers as it does here: whole histories as `predict`, steps as a stream."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from gatestack.convert.onnx.builder import GraphBuilder
from gatestack.convert.onnx.calendar import calendar
from gatestack.convert.onnx.export import export_onnx
from gatestack.convert.onnx.terms import Term
from gatestack.convert.verify import verify
from gatestack.data.calendar_encoding import CALENDAR_NAMES, calendar_features
from gatestack.errors import ArgumentError, NotFittedError
from gatestack.tasks.forecast import Architecture, Forecaster
from gatestack.tasks.forecast.onnx.graph import METADATA_KEY, emit_forecaster

from .tables import ahead_of, hourly, many_series, one_series, values_of, wave

onnxruntime = pytest.importorskip("onnxruntime")

Make = Callable[..., Forecaster]
Feeds = dict[str, np.ndarray]

# Both sides compute in float32 with sums in another order, and agree to about 1e-6 of the scale of a series;
# a hundred times that is still less than anything a user could see.
OF_SCALE = 1e-4


class Server:
    """What a server needs: ONNX Runtime, NumPy, and what the file says of itself."""

    def __init__(self, content: bytes) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        self.session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        self.about = json.loads(self.session.get_modelmeta().custom_metadata_map[METADATA_KEY])
        self.state: Feeds = {}

    def start(self, rows: int) -> None:
        self.state = {
            part["input"]: np.zeros(
                [rows if size == "batch" else size for size in part["shape"]], part["dtype"]
            )
            for part in self.about["state"]
        }

    def feed(self, target: Any, *, lengths: Any = None, **others: Any) -> np.ndarray:
        """Feed steps (batch, time) and give the quantiles (batch, horizon, quantiles)."""
        target = np.asarray(target, dtype=np.float32)
        if not self.state:
            self.start(len(target))
        lengths = np.full(len(target), target.shape[1]) if lengths is None else np.asarray(lengths)
        names = ["quantiles", *(part["output"] for part in self.about["state"])]
        feeds = {"target": target, "lengths": lengths} | others | self.state
        quantiles, *state = self.session.run(names, feeds)
        self.state = dict(zip(self.state, state, strict=True))
        return quantiles


def serve(model: Forecaster, *, int8: bool = False) -> Server:
    graph = GraphBuilder(int8=int8)
    metadata = emit_forecaster(model.fitted_, graph)
    return Server(graph.model(metadata=metadata).SerializeToString())


def stirred(model: Forecaster) -> Forecaster:
    """Give the head weights that matter: after a few steps the forecast is nearly the autoregression's.

    The state does not depend on them.
    """
    head = model.fitted_.network.head
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in (head.to_quantiles.weight, head.to_quantiles.bias, head.lag_weight, head.spread):
            weight.add_(0.3 * torch.rand(weight.shape, generator=random))
    return model


def in_order(quantiles: np.ndarray) -> np.ndarray:
    """Bring quantiles (…, levels ascending) into the order of a forecast's columns, one row per step."""
    count = quantiles.shape[-1]
    outwards = [index for low in reversed(range(count // 2)) for index in (low, count - 1 - low)]
    return quantiles.reshape(-1, count)[:, [count // 2, *outwards]]


def assert_close(found: np.ndarray, forecast: pl.DataFrame, model: Forecaster) -> None:
    """Compare the quantiles of a graph with a forecast of `predict`, in units of the smallest scale."""
    expected = values_of(forecast)
    scale = float(model.fitted_.state.moments[:, 1].min())
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(in_order(found), expected, rtol=0, atol=OF_SCALE * scale)


def microseconds(times: pl.Series) -> np.ndarray:
    """Times on the wall clock as the graph takes them, (1, steps)."""
    stamps = times.cast(pl.Datetime("us")) if times.dtype == pl.Date else times.dt.replace_time_zone(None)
    return stamps.to_numpy().astype("datetime64[us]").astype(np.int64)[None]


def column(frame: pl.DataFrame, name: str) -> np.ndarray:
    """A column as one row, NaN where missing, (1, steps)."""
    return frame[name].cast(pl.Float32).fill_null(np.nan).to_numpy()[None]


def fed(frame: pl.DataFrame, future: pl.DataFrame | None = None) -> Feeds:
    """The inputs for one daily series with the columns of `one_series`."""
    feeds = {"target": column(frame, "y"), "past": column(frame, "rain")[..., None]}
    if future is not None:
        feeds |= {
            "future": column(frame, "open")[..., None],
            "future_ahead": column(future, "open")[..., None],
        }
        feeds |= {"times": microseconds(frame["ds"]), "times_ahead": microseconds(future["ds"])}
    return feeds


@pytest.mark.parametrize("scaling", ["window", "series"])
@pytest.mark.parametrize(("cell", "layers"), [("lstm", 1), ("lstm", [4, 6]), ("gru", 3), ("rnn", 2)])
def test_a_whole_history_gives_what_predict_gives(make: Make, cell: str, layers: Any, scaling: str) -> None:
    frame = one_series(70)
    architecture = Architecture(
        cell=cell, scaling=scaling, residual=layers == 3, initial_state="trained" if layers == 2 else "zeros"
    )
    model = stirred(make(layers=layers, architecture=architecture).fit(frame))
    own = {"series": np.array([0])} if scaling == "series" else {}
    server = serve(model)
    assert_close(server.feed(column(frame, "y"), **own), model.predict(), model)
    # and other data than that of the fit, of another length
    other = one_series(33, seed=5)
    server.start(1)
    assert_close(server.feed(column(other, "y"), **own), model.predict(other), model)


@pytest.mark.parametrize("mode", ["direct", "windows"])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_series_that_begins_starts_from_the_trained_state(make: Make, cell: str, mode: str) -> None:
    architecture = Architecture(cell=cell, initial_state="trained")
    model = stirred(make(mode=mode, architecture=architecture).fit(one_series(60)))
    with torch.no_grad():
        for name, start in model.fitted_.network.named_parameters():
            if "initial_" in name:
                start.fill_(0.7)
    frame = one_series(4, seed=5)
    server = serve(model)
    if mode == "direct":
        server.feed(column(frame, "y")[:, :2])
    found = server.feed(column(frame, "y")[:, 0 if mode == "windows" else 2 :])
    assert_close(found, model.predict(frame), model)


@pytest.mark.parametrize("mode", ["direct", "recursive"])
@pytest.mark.parametrize(
    ("cell", "scaling"), [("lstm", "window"), ("gru", "window"), ("rnn", "series"), ("lstm", "series")]
)
def test_each_step_gives_what_the_stream_gives(make: Make, cell: str, scaling: str, mode: str) -> None:
    frame = one_series(60)
    architecture = Architecture(cell=cell, scaling=scaling, initial_state="trained")
    model = stirred(make(architecture=architecture, mode=mode).fit(frame))
    own = {"series": np.array([0])} if scaling == "series" else {}
    server, stream = serve(model), model.stream()
    server.feed(column(frame, "y"), **own)
    scale = float(model.fitted_.state.moments[0, 1])
    for value in (21.0, None, 18.5, None, None, 25.0):
        expected = stream.step({"y": value})
        found = in_order(server.feed([[np.nan if value is None else value]], **own))
        np.testing.assert_allclose(
            found, np.stack(list(expected.values()), axis=1), rtol=0, atol=OF_SCALE * scale
        )
    assert server.state["steps_in"].tolist() == [66]


@pytest.mark.parametrize("mode", ["direct", "windows"])
@pytest.mark.parametrize("gaps", [False, True])
def test_all_kinds_of_columns(make: Make, mode: str, gaps: bool) -> None:
    step = pl.int_range(pl.len())
    frame = one_series(70)
    if gaps:
        frame = frame.with_columns(
            pl.when((step > 2) & (step % 4 != 1)).then("y").alias("y"),
            pl.when(step % 3 != 0).then("rain").alias("rain"),
        )
    model = make(mode=mode, calendar=["day_of_week", "week_of_year"], season=[5, 7])
    stirred(model.fit(frame, past=["rain"], future=["open"]))
    server = serve(model)
    future = ahead_of(frame, 3)
    assert_close(server.feed(**fed(frame, future)), model.predict(frame, future=future), model)
    if mode == "direct":
        # gaps where the fit had none
        stream = model.stream()
        row = {"y": None, "rain": None, "open": 1.0}
        expected = stream.step(row, {"open": [1.0, 0.0, 1.0]})
        tomorrow = pl.DataFrame({"ds": future["ds"][:1], **{name: [value] for name, value in row.items()}})
        next_days = future.with_columns(pl.col("ds").dt.offset_by("1d"), open=pl.Series([1.0, 0.0, 1.0]))
        found = in_order(server.feed(**fed(tomorrow, next_days)))
        np.testing.assert_allclose(found, np.stack(list(expected.values()), axis=1), rtol=1e-5)


@pytest.mark.parametrize("mode", ["direct", "windows", "recursive"])
def test_a_ragged_batch_of_many_series(make: Make, mode: str) -> None:
    frame = many_series({"b": 60, "a": 25, "c": 41})
    model = stirred(make(mode=mode, window=12, season=None).fit(frame, static=["size"]))
    target = np.full((3, 60), np.nan, dtype=np.float32)
    lengths = [60, 25, 41]
    for row, key in enumerate("bac"):
        values = frame.filter(pl.col("unique_id") == key)["y"].to_numpy()
        target[row, : len(values)] = values
        target[row, len(values) :] = 1e6  # what stands past the end is not read
    static = np.array([[0], [1], [2]], dtype=np.float32)
    found = serve(model).feed(target, lengths=lengths, static=static)
    assert_close(found, model.predict(), model)
    for row in range(3):
        alone = serve(model).feed(target[[row], : lengths[row]], static=static[[row]])
        np.testing.assert_allclose(alone[0], found[row], rtol=1e-5)


@pytest.mark.parametrize("scaling", ["window", "series"])
@pytest.mark.parametrize("mode", ["direct", "recursive"])
def test_chunks_of_any_size_end_where_one_call_ends(make: Make, scaling: str, mode: str) -> None:
    architecture = Architecture(scaling=scaling, initial_state="trained", cell="gru")
    model = stirred(make(mode=mode, architecture=architecture).fit(one_series(60)))
    own = {"series": np.array([0, 0, 0])} if scaling == "series" else {}
    random = np.random.default_rng(3)
    target = 20 + np.cumsum(random.normal(size=(3, 40)), axis=1).astype(np.float32)
    target[random.random(target.shape) < 0.2] = np.nan
    target[1, :6] = np.nan  # begins late
    target[2, 15:32] = np.nan  # more than a window
    lengths = np.array([40, 37, 36])
    whole = serve(model)
    expected = whole.feed(target, lengths=lengths, **own)
    server = serve(model)
    done = 0
    for size in (1, 4, 0, 13, 2, 20):
        part = target[:, done : done + size]
        found = server.feed(part, lengths=np.clip(lengths - done, 0, size), **own)
        done += size
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    for name, array in whole.state.items():
        np.testing.assert_allclose(server.state[name], array, rtol=1e-4, atol=1e-5, err_msg=name)


def test_rows_may_pause_begin_and_be_many_or_none(make: Make) -> None:
    model = stirred(make().fit(one_series(60)))
    target = wave(30)[None].astype(np.float32)
    server = serve(model)
    before = server.feed(target)
    again = server.feed(np.zeros((1, 1)), lengths=[0])  # no step: the same forecast, the same state
    np.testing.assert_array_equal(again, before)
    np.testing.assert_array_equal(server.feed(np.zeros((1, 0))), before)
    assert server.state["steps_in"].tolist() == [30]
    # a row of zeros beside it begins anew
    server.state = {
        name: np.concatenate([array, np.zeros_like(array)], axis=1 if name[:2] in ("h_", "c_") else 0)
        for name, array in server.state.items()
    }
    both = server.feed([[20.0], [20.0]])
    fresh = serve(model)
    np.testing.assert_allclose(both[1], fresh.feed([[20.0]])[0], rtol=1e-6)
    assert not np.allclose(both[0], both[1])
    server.start(0)
    assert server.feed(np.zeros((0, 5))).shape == (0, 3, 3)


@pytest.mark.parametrize("steps", [1, 4, 10, 11, 35])
def test_windows_start_each_forecast_anew(make: Make, steps: int) -> None:
    model = stirred(make(mode="windows").fit(one_series(60)))
    frame = one_series(steps, seed=2)
    server = serve(model)
    assert server.about["state"] == []
    assert [entry.name for entry in server.session.get_inputs()] == ["target", "lengths"]
    assert_close(server.feed(column(frame, "y")), model.predict(frame), model)


def test_the_recursive_mode_draws_the_same_paths(make: Make) -> None:
    frame = one_series(60)
    settings = {
        "mode": "recursive",
        "calendar": ["day_of_week"],
        "seed": 7,
        "quantiles": (0.05, 0.2, 0.5, 0.8, 0.95),
    }
    model = stirred(make(4, **settings).fit(frame, future=["open"]))
    future = ahead_of(frame, 4)
    feeds = fed(frame, future)
    del feeds["past"]
    found = serve(model).feed(**feeds)
    assert_close(found, model.predict(future=future), model)
    model.fitted_.__dict__["seed"] = 8
    assert not np.allclose(serve(model).feed(**feeds), found, rtol=1e-3)


def test_a_zone_with_summer_time_is_fed_by_its_wall_clock(make: Make) -> None:
    frame = hourly(70, "Europe/Berlin")
    model = stirred(make(calendar=["hour"]).fit(frame))
    forecast = model.predict()
    feeds = {"times": microseconds(frame["ds"]), "times_ahead": microseconds(forecast["ds"])}
    server = serve(model)
    assert server.about["zone"] == "Europe/Berlin"
    assert_close(server.feed(column(frame, "y"), **feeds), forecast, model)


def test_each_calendar_feature_is_that_of_the_table() -> None:
    random = np.random.default_rng(0)
    # from year 1 to 9999, and every day around four centuries, with their leap years and first weeks
    days = np.arange(-150 * 366, 260 * 366) * 86_400_000_000
    times = np.concatenate([random.integers(-62_135_596_800, 253_402_300_799, 20_000) * 1_000_000, days])
    times[:20_000] += random.integers(0, 1_000_000, 20_000)
    graph = GraphBuilder()
    given = Term(graph, graph.input("times", "int64", ("batch", "time")), "int64")
    graph.output(calendar(given, CALENDAR_NAMES).name, "waves", ("batch", "time", 2 * len(CALENDAR_NAMES)))
    session = onnxruntime.InferenceSession(graph.model().SerializeToString())
    (found,) = session.run(None, {"times": times[None]})
    expected, _ = calendar_features(times.view("datetime64[us]"), CALENDAR_NAMES)
    np.testing.assert_allclose(found[0], expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize(("offset", "size"), [(1e4, 1.0), (-3e5, 50.0), (0.0, 1e-6), (0.0, 1e8)])
def test_a_series_far_from_zero_or_of_any_unit_keeps_its_digits(
    make: Make, offset: float, size: float
) -> None:
    frame = pl.DataFrame({"ds": range(900), "y": offset + size * np.cumsum(wave(900) - 20)})
    model = stirred(make().fit(frame.head(100)))
    server = serve(model)
    found = server.feed(column(frame, "y"))
    expected = model.predict(frame)
    part = frame.tail(10)["y"].std()
    assert isinstance(part, float)
    # float32 itself rounds each value at its offset
    rounding = 4 * np.spacing(np.float32(frame["y"].abs().max()))
    np.testing.assert_allclose(
        in_order(found), values_of(expected), rtol=0, atol=OF_SCALE * part + float(rounding)
    )
    kept = np.nanmean(column(frame, "y").astype(np.float64))
    sums, origin = server.state["sums_in"][0], server.state["origin_in"][0]
    np.testing.assert_allclose(origin + sums[1] / sums[0], kept, rtol=1e-12)


def test_flat_and_unseen_series_stay_finite(make: Make) -> None:
    model = stirred(make().fit(one_series(60)))
    flat = pl.DataFrame({"ds": one_series(30)["ds"], "y": 5.0})
    target = np.stack([np.full(30, 5.0), np.full(30, np.nan)])
    found = serve(model).feed(target)
    np.testing.assert_allclose(in_order(found[0]), values_of(model.predict(flat)), rtol=1e-6)
    assert np.isfinite(found).all()


def test_what_is_not_known_ahead_gives_no_number(make: Make) -> None:
    frame = one_series(60)
    model = make().fit(frame, future=["open"])
    ahead = np.array([[[1.0], [np.nan], [0.0]]], dtype=np.float32)
    found = serve(model).feed(column(frame, "y"), future=column(frame, "open")[..., None], future_ahead=ahead)
    assert np.isnan(found[0, 1]).all()
    assert np.isfinite(found[0, [0, 2]]).all()


@pytest.mark.parametrize("mode", ["direct", "windows"])
@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_wrong_lengths_are_refused(make: Make, cell: str, mode: str) -> None:
    model = make(mode=mode, architecture=Architecture(cell=cell)).fit(one_series(40))
    for length in (5, -1):
        with pytest.raises(Exception, match=r"sequence_lens|invalid index|bounds"):
            serve(model).feed(np.zeros((1, 4)), lengths=[length])


def test_a_series_that_was_not_in_the_fit_is_refused_where_it_matters(make: Make) -> None:
    model = make(architecture=Architecture(scaling="series")).fit(many_series({"b": 40, "a": 45}))
    server = serve(model)
    assert server.about["series"] == ["b", "a"]
    for number in (2, -1):
        with pytest.raises(Exception, match="out of data bounds"):
            server.feed(np.zeros((1, 4)), series=np.array([number]))


def test_the_file_says_what_its_inputs_are(make: Make) -> None:
    frame = many_series()
    model = make(calendar=["month"]).fit(frame, past=["rain"], future=["open"], static=["size"])
    server = serve(model)
    about = server.about
    assert (about["target"], about["past"], about["future"], about["static"]) == (
        "y",
        ["rain"],
        ["open"],
        ["size"],
    )
    assert (about["mode"], about["horizon"], about["window"]) == ("direct", 3, 10)
    assert (about["quantiles"], about["calendar"]) == ([0.1, 0.5, 0.9], ["month"])
    assert about["frequency"]["alias"] == "1d"
    assert about["series"] is about["seed"] is about["zone"] is None  # read only where they matter
    shapes = {entry.name: entry.shape for entry in server.session.get_inputs()}
    assert {name: shapes[name] for name in list(shapes)[:8]} == {
        "target": ["batch", "time"],
        "lengths": ["batch"],
        "past": ["batch", "time", 1],
        "future": ["batch", "time", 1],
        "times": ["batch", "time"],
        "static": ["batch", 1],
        "future_ahead": ["batch", 3, 1],
        "times_ahead": ["batch", 3],
    }
    state = {part["input"]: part["shape"] for part in about["state"]}
    assert {name: shape for name, shape in shapes.items() if "_in" in name} == state
    assert {entry.name: entry.shape for entry in server.session.get_outputs()} == {
        "quantiles": ["batch", 3, 3]
    } | {part["output"]: part["shape"] for part in about["state"]}


def test_a_model_that_is_not_fitted_is_refused(make: Make, tmp_path: Path) -> None:
    with pytest.raises(NotFittedError, match="not fitted"):
        export_onnx(make(), tmp_path / "m.onnx")


@pytest.mark.parametrize("mode", ["direct", "windows", "recursive"])
def test_the_export_is_proved_on_real_and_on_drawn_steps(make: Make, mode: str, tmp_path: Path) -> None:
    frame = many_series({"b": 60, "a": 45})
    settings = {"future": ["open"], "static": ["size"]} | ({} if mode == "recursive" else {"past": ["rain"]})
    model = stirred(make(mode=mode, calendar=["day_of_month"]).fit(frame, **settings))
    model.save(tmp_path / "model")
    exported = export_onnx(Forecaster.load(tmp_path / "model"), tmp_path / "m.onnx")
    assert set(exported.scores) == {"absolute error", "quantile loss"}
    found = verify(tmp_path / "m.onnx")
    assert found.passed
    assert found.vectors == 2 * found.real == (6 if mode == "windows" else 10)
    assert 0 < found.differences["quantiles"].allowed < 1e-3 * float(model.fitted_.state.moments[:, 0].max())
    # and without the file's own weights nothing passes
    graph = GraphBuilder()
    model.fitted_.network.head.lag_bias.add_(0.01)
    content = graph.model(metadata=emit_forecaster(model.fitted_, graph)).SerializeToString()
    (tmp_path / "m.onnx").write_bytes(content)
    changed = verify(tmp_path / "m.onnx", allow_changed=True)
    assert not changed.passed
    assert changed.differences["quantiles"].share > 10


def test_a_graph_that_answers_otherwise_is_not_written(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = stirred(make().fit(one_series(60)))
    monkeypatch.setattr("gatestack.tasks.forecast.onnx.distributions.FIRST_GAP", 0.5)
    with pytest.raises(ArgumentError, match="'quantiles' differs"):
        export_onnx(model, tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


def test_eight_bits_cost_what_the_export_says(make: Make, tmp_path: Path) -> None:
    frame = one_series(80)
    model = stirred(make(hidden_size=48).fit(frame))
    whole, small = (export_onnx(model, tmp_path / f"{int8}.onnx", int8=int8) for int8 in (False, True))
    assert small.file_bytes < 0.7 * whole.file_bytes
    assert small.plain_scores == whole.scores
    for name, score in small.scores.items():
        assert score != whole.scores[name]
        assert score == pytest.approx(whole.scores[name], rel=0.1)
    assert small.differences["quantiles"].largest > 100 * whole.differences["quantiles"].largest
    found = verify(small.path)
    assert found.passed
    assert found.rounding["quantiles"] == small.differences["quantiles"]
