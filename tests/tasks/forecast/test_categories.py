"""Columns of categories: coded, embedded, unknown to a new series, stored, and the same everywhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import gatestack as gs
from gatestack.convert.onnx.export import export_onnx
from gatestack.data.category_column import LONGEST_NAME, MOST_CATEGORIES
from gatestack.data.series_table import SeriesTable
from gatestack.errors import DataError, ModelFileError
from gatestack.tasks.forecast import Forecaster
from gatestack.tasks.forecast.embeddings import CategoryEmbeddings, drop_categories
from gatestack.tasks.forecast.panel import Chunk
from gatestack.training import Training

from .tables import ahead_of, many_series, values_of

Make = Callable[..., Forecaster]
ROLES: dict[str, Any] = {"past": ["sky"], "future": ["promo", "open"], "static": ["region", "size"]}


def shops(lengths: dict[str, int] | None = None) -> pl.DataFrame:
    """Series with categories over time and per series, beside numbers."""
    frame = many_series(lengths)
    region = {"b": "north", "a": "south", "c": "north"}
    return frame.with_columns(
        region=pl.col("unique_id").replace_strict(region, default="east"),
        sky=pl.when(pl.col("rain") > 1).then(pl.lit("wet")).otherwise(pl.lit("dry")),
        promo=pl.when(pl.col("open") > 0).then(pl.lit("none of them")).otherwise(pl.lit("half price")),
    )


def promos(frame: pl.DataFrame, horizon: int = 3) -> pl.DataFrame:
    return ahead_of(frame, horizon).with_columns(promo=pl.lit("half price"))


@pytest.fixture
def fitted(make: Make) -> Forecaster:
    return make(max_steps=30).fit(shops(), **ROLES)


def with_region(frame: pl.DataFrame, name: str | None) -> pl.DataFrame:
    return frame.with_columns(region=pl.lit(name, dtype=pl.String))


def test_text_becomes_categories_and_numbers_stay_numbers(fitted: Forecaster) -> None:
    tail, shape = fitted.fitted_.tail, fitted.fitted_.network.shape
    assert tail.categories == {
        "sky": ("dry", "wet"),
        "promo": ("half price", "none of them"),
        "region": ("north", "south"),
    }
    assert (shape.categories, shape.static_categories) == ((2, 2, 0), (2, 0))
    assert tail.sequences.static is not None
    assert tail.sequences.static.tolist() == [[1, 0], [2, 1], [1, 2]]


@pytest.mark.parametrize("column", ["region", "sky", "promo"])
def test_a_category_moves_the_forecast(fitted: Forecaster, column: str) -> None:
    frame = shops()
    ahead = promos(frame)
    changed = {"region": "south", "sky": "wet", "promo": "none of them"}[column]
    other = ahead.with_columns(promo=pl.lit(changed)) if column == "promo" else ahead
    history = frame if column == "promo" else frame.with_columns(pl.lit(changed).alias(column))
    usual = values_of(fitted.predict(frame, future=ahead))
    moved = values_of(fitted.predict(history, future=other))
    assert np.isfinite(moved).all()
    assert not np.array_equal(usual, moved)


def test_unknown_and_missing_categories_are_one_and_the_same(fitted: Forecaster) -> None:
    frame = shops()
    unknown = fitted.predict(with_region(frame, "moon"), future=promos(frame))
    missing = fitted.predict(with_region(frame, None), future=promos(frame))
    assert unknown.equals(missing)
    assert not unknown.equals(fitted.predict(frame, future=promos(frame)))
    strange = promos(frame).with_columns(promo=pl.lit(None, dtype=pl.String))
    assert np.isfinite(values_of(fitted.predict(frame, future=strange))).all()


def test_the_unknown_category_is_trained(fitted: Forecaster) -> None:
    for embeddings in (fitted.fitted_.network.past, fitted.fitted_.network.static):
        assert embeddings.table(0).abs().sum(dim=1).gt(0).all()


def test_a_category_without_an_example_is_forecast_as_an_unknown_one() -> None:
    embeddings = CategoryEmbeddings((3,))
    with torch.no_grad():
        embeddings.weights["0"][:3] = torch.randn(3, embeddings.width)
    assert torch.equal(embeddings(torch.tensor([[3.0]])), embeddings(torch.tensor([[0.0]])))
    assert not torch.equal(embeddings(torch.tensor([[2.0]])), embeddings(torch.tensor([[0.0]])))


def test_a_tenth_of_the_rows_loses_its_categories_and_no_number() -> None:
    rows = 4000
    ones = torch.ones(rows, 5, 3)
    chunk = Chunk(torch.zeros(rows, 9), ones[..., 0], ones, ones, None, torch.ones(rows, 2))
    found = drop_categories(chunk, (0, 7, 0), (2, 0), np.random.default_rng(0))
    assert torch.equal(found.covariates[..., 0], ones[..., 0])
    assert torch.equal(found.static[:, 1], torch.ones(rows))
    for dropped in (found.covariates[..., 1].amax(dim=1), found.static[:, 0]):
        # Three standard deviations of a share of 0.1 over 4,000 rows.
        assert abs(float((dropped == 0).float().mean()) - 0.1) < 3 * np.sqrt(0.09 / rows)
    assert torch.equal(found.covariates[..., 1].amin(dim=1), found.covariates[..., 1].amax(dim=1))


def test_a_saved_model_knows_its_categories(fitted: Forecaster, tmp_path: Path) -> None:
    fitted.save(tmp_path / "model")
    again = Forecaster.load(tmp_path / "model")
    frame, ahead = with_region(shops(), "south"), promos(shops())
    assert again.predict(frame, future=ahead).equals(fitted.predict(frame, future=ahead))
    text = json.loads((tmp_path / "model" / "model.json").read_text())
    assert text["fitted"]["table"]["categories"]["region"] == ["north", "south"]


DAMAGES: dict[str, Callable[[dict[str, Any]], None]] = {
    "one more": lambda table: table["categories"]["region"].append("west"),
    "one twice": lambda table: table["categories"]["region"].__setitem__(1, "north"),
    "of no column": lambda table: table["categories"].update(moon=["a"]),
    "none": lambda table: table["categories"].pop("sky"),
    "a long name": lambda table: table["categories"]["region"].__setitem__(1, "x" * (LONGEST_NAME + 1)),
    "too many": lambda table: table["categories"].update(sky=[str(n) for n in range(MOST_CATEGORIES + 1)]),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_model_folder_with_other_categories_is_refused(
    fitted: Forecaster, tmp_path: Path, name: str
) -> None:
    fitted.save(tmp_path / "model")
    path = tmp_path / "model" / "model.json"
    model = json.loads(path.read_text())
    DAMAGES[name](model["fitted"]["table"])
    path.write_text(json.dumps(model))
    with pytest.raises(ModelFileError):
        gs.load(tmp_path / "model")


def test_a_stream_takes_names(make: Make) -> None:
    roles: dict[str, Any] = {"future": ["promo"], "static": ["region"]}
    frame = shops()
    cut = pl.col("ds").rank("ordinal", descending=True).over("unique_id") > 1
    history, last = frame.filter(cut), frame.filter(~cut)
    # One step of a category must move float32 numbers.
    model = make(max_steps=20, training=Training(learning_rate=0.02)).fit(history, **roles)
    ahead = promos(frame)
    batch = model.predict(frame, future=ahead)
    stream = model.stream("a")
    step = last.row(by_predicate=pl.col("unique_id") == "a", named=True)
    future = {"promo": ["half price"] * 3}
    found = stream.step({"y": step["y"], "promo": step["promo"]}, future)
    expected = batch.filter(pl.col("unique_id") == "a")["gatestack"].to_numpy()
    np.testing.assert_allclose(found["gatestack"], expected, rtol=1e-5)
    unknown = model.stream("a").step({"y": step["y"], "promo": "never seen"}, future)
    assert not np.array_equal(unknown["gatestack"], found["gatestack"])


def test_the_onnx_graph_takes_codes(fitted: Forecaster, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    with torch.no_grad():
        for parameter in fitted.fitted_.network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    exported = export_onnx(fitted, tmp_path / "model.onnx")  # replays the proof
    assert exported is not None


def test_a_backtest_and_an_evaluation_take_categories(make: Make) -> None:
    frame = shops()
    scores = make().backtest(frame, **ROLES).scores
    assert np.isfinite(scores["mase"].to_numpy()).all()


BAD: dict[str, tuple[Callable[[pl.DataFrame], pl.DataFrame], dict[str, Any], str]] = {
    "a word among numbers": (
        lambda frame: frame.with_columns(
            rain=pl.when(pl.int_range(pl.len()) == 7).then(pl.lit("wet")).otherwise(pl.col("rain").cast(str))
        ),
        {"past": ["rain"]},
        "row 7 (from 0), column 'rain': 'wet' is not a number",
    ),
    "a category that changes": (
        lambda frame: frame.with_columns(
            region=pl.when(pl.int_range(pl.len()) == 5).then(pl.lit("south")).otherwise(pl.col("region"))
        ),
        {"static": ["region"]},
        "row 5 (from 0), column 'region': series 'b' has 'south' here and 'north' before",
    ),
    "a long name": (
        lambda frame: frame.with_columns(sky=pl.lit("x" * (LONGEST_NAME + 1))),
        {"past": ["sky"]},
        "row 0 (from 0), column 'sky': the category",
    ),
    "too many": (
        lambda frame: (
            pl.concat([frame] * 60)
            .with_row_index()
            .with_columns(
                unique_id=pl.format("k{}", pl.col("index") // 5), ds=pl.col("index").cast(pl.Int64) % 5
            )
            .with_columns(sky=pl.format("n{}", "index"))
        ),
        {"past": ["sky"]},
        "frame: the column 'sky' has 10,800 different names",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_categories_are_refused_with_their_place(make: Make, name: str) -> None:
    change, roles, expected = BAD[name]
    with pytest.raises(DataError) as found:
        make().fit(change(shops()), **roles)
    assert expected in str(found.value)


NAMES = st.sampled_from(["north", "south", "", "NA", "ä, b", "1"])


@settings(max_examples=25)
@given(st.lists(NAMES, min_size=6, max_size=40), st.lists(NAMES, min_size=3, max_size=10))
def test_codes_depend_on_the_names_of_the_fit_alone(known: list[str], later: list[str]) -> None:
    """Whatever the order of rows and whatever a later table holds, a name keeps its code."""
    roles: dict[str, Any] = {"past": ["kind"]}

    def table(kinds: list[str], **more: Any) -> SeriesTable:
        frame = pl.DataFrame({"ds": range(len(kinds)), "y": [1.0] * len(kinds), "kind": kinds})
        return SeriesTable.from_frame(frame, **roles, **more)

    words = {name for name in known if name not in ("", "NA")}
    mostly = sum(name in ("north", "south", "ä, b") for name in known) * 2
    if mostly <= sum(name in words for name in known):
        return  # a column of numbers
    fit = table(known, categories="find")
    names = fit.categories["kind"]
    assert names == tuple(sorted(words))
    codes = table(later, categories=fit.categories).sequences.values[:, 1]
    assert codes.tolist() == [names.index(name) + 1 if name in names else 0 for name in later]
    assert np.array_equal(table(known[::-1], categories="find").sequences.values[::-1], fit.sequences.values)
