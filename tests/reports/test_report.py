"""The page of a model: whole, self-contained, honest, and safe against hostile names."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from gatestack import Forecaster, report
from gatestack.errors import ArgumentError, NotFittedError, StorageError
from gatestack.reports import render_report
from gatestack.reports.forecast import draw_backtest_picture
from gatestack.reports.forecast.material import evenly
from gatestack.tasks.forecast import CoherentForecaster, ForecastEvaluation, Origins, Skill
from gatestack.tasks.skill import skill_sentence

VOID = {"meta", "br", "hr", "img", "input", "link"}
HOSTILE = "<script>alert(1)</script> & \"quoted\" 'name' $x_1$ ]]> \x07"


class Page(HTMLParser):
    """Reads a page and notes what is open, which elements there are, and the texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.elements)


def weekly(steps: int = 120) -> pl.DataFrame:
    noise = np.random.default_rng(0).normal(size=steps)
    day = pl.date_range(pl.date(2024, 1, 1), pl.date(2024, 1, 1) + pl.duration(days=steps - 1), eager=True)
    return pl.DataFrame({"ds": day, "y": 5 * np.sin(np.arange(steps) * 2 * np.pi / 7) + noise})


def small(**options: object) -> Forecaster:
    return Forecaster(3, hidden_size=4, max_steps=5, window=14, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def fitted() -> tuple[Forecaster, ForecastEvaluation]:
    return small().fit(weekly()), small().backtest(weekly())


@pytest.fixture(scope="module")
def page(fitted: tuple[Forecaster, ForecastEvaluation]) -> str:
    model, evaluation = fitted
    return render_report(model, evaluation=evaluation, data=weekly())


def test_page_is_well_formed(page: str) -> None:
    read = Page(page)
    assert not read.open
    assert read.count("h1") == 1
    headings = {"Scores", "Forecasts", "Data", "Training", "Settings", "How to repeat the run"}
    assert headings <= set(read.texts)


def test_page_loads_nothing(page: str) -> None:
    assert "http://" not in page
    assert "https://" not in page
    assert not re.search(r"\b(src|srcset|poster|background|action)=", page)
    assert not re.search(r"@import|url\((?!#)", page)
    assert Page(page).count("script") + Page(page).count("link") + Page(page).count("iframe") == 0
    assert all(
        (value or "").startswith("#")
        for _, attributes in Page(page).elements
        for name, value in attributes.items()
        if name in ("href", "xlink:href")
    )


def test_every_figure_has_a_caption_and_a_label(page: str) -> None:
    read = Page(page)
    pictures = [attributes for tag, attributes in read.elements if tag == "svg"]
    assert len(pictures) == read.count("figure") == read.count("figcaption") == 6 + 6
    assert all(attributes["role"] == "img" and attributes["aria-label"] for attributes in pictures)


def test_names_inside_the_pictures_do_not_collide(page: str) -> None:
    names = [attributes["id"] for _, attributes in Page(page).elements if "id" in attributes]
    assert len(names) == len(set(names))
    used = set(re.findall(r'(?:xlink:href="|url\()#([^")]+)', page))
    assert used
    assert used <= set(names)


def test_the_same_model_gives_the_same_page(fitted: tuple[Forecaster, ForecastEvaluation], page: str) -> None:
    model, evaluation = fitted
    assert render_report(model, evaluation=evaluation, data=weekly()) == page


def test_scores_stand_beside_every_baseline(fitted: tuple[Forecaster, ForecastEvaluation], page: str) -> None:
    _, evaluation = fitted
    texts = Page(page).texts
    assert evaluation.sentence.removeprefix("The model loses: ")[1:] in page
    for row in evaluation.scores.iter_rows(named=True):
        assert row["model"].replace("_", " ") in texts
        assert f"{row['mase']:.4g}" in texts


@pytest.mark.parametrize(
    ("low", "high", "mark", "says"),
    [
        (-0.3, -0.1, "The model loses", "Use the baseline."),
        (-0.1, 0.1, "Not proven better", "cannot be told apart"),
        (0.1, 0.3, "Better than every baseline", "lower than that of the best baseline"),
        (None, None, "Not proven better", "too few origins"),
    ],
)
def test_the_top_says_in_words_how_the_model_stands(
    fitted: tuple[Forecaster, ForecastEvaluation], low: float | None, high: float | None, mark: str, says: str
) -> None:
    model, evaluation = fitted
    value = 0.0 if low is None or high is None else (low + high) / 2
    skill = {name: Skill(value, low, high) for name in evaluation.skill}
    changed = replace(evaluation, skill=skill, sentence=skill_sentence(skill, 40))
    text = render_report(model, evaluation=changed)
    assert text.index(mark) < text.index(says) < text.index("<h2")


def test_a_copy_of_the_last_value_is_named_at_the_top(page: str) -> None:
    walk = np.cumsum(np.random.default_rng(1).normal(size=300))
    frame = pl.DataFrame({"ds": range(300), "y": walk})
    model = Forecaster(1, hidden_size=4, max_steps=3, window=10, season=None)
    evaluation = model.backtest(frame, origins=Origins(test=100, step=1))
    assert evaluation.copying.copies
    text = render_report(model.fit(frame), evaluation=evaluation)
    assert text.index("The last value in disguise") < text.index("<h2")
    assert "The last value in disguise" not in page
    assert "origins are too few to say whether the forecast copies" in page


def test_intervals_are_told_with_their_widths(
    fitted: tuple[Forecaster, ForecastEvaluation], page: str
) -> None:
    row = fitted[1].intervals.row(-1, named=True)
    held = " ".join(f"{100 * row[name]:.1f} %" for name in ("coverage", "coverage_first", "coverage_last"))
    whole, first, last = held.replace(" %", "").split()
    assert f"{whole} % ({first} %, {last} %)" in Page(page).texts
    assert "The intervals are as the model learned them." in Page(page).texts


def test_forecasts_that_add_up_have_a_page_with_their_levels() -> None:
    frame = pl.concat(
        [
            weekly().with_columns(pl.col("y") * (place + 1), unique_id=pl.lit(name))
            for place, name in enumerate("ab")
        ]
    )
    noise = np.random.default_rng(3).normal(size=frame.height)
    frame = frame.with_columns(y=pl.col("y") + pl.Series(noise))
    model = CoherentForecaster(small(), method="wls")
    evaluation = model.backtest(frame)
    text = render_report(model.fit(frame), evaluation=evaluation, data=frame)
    read = Page(text)
    assert not read.open
    for word in ("incoherent", "total", "total (1), unique_id (2)", "wls"):
        assert word in read.texts, word
    assert "before its forecasts were made to add up" in text
    assert "model = CoherentForecaster(gs.Forecaster(3" in text
    assert "--sums total --add-up-by wls" in text
    assert "Adding up makes the error" in text


def test_categories_and_calibrated_intervals_are_told() -> None:
    frame = pl.concat(
        [weekly().with_columns(unique_id=pl.lit(name), kind=pl.lit(kind)) for name, kind in ("ax", "by")]
    )
    model = small(intervals="conformal").fit(frame, static=["kind"])
    text = render_report(model, evaluation=model.backtest(frame, static=["kind"]), data=frame)
    assert "kind (2 categories)" in Page(text).texts
    assert "when to stop and how wide intervals must be" in text
    assert "corrected by the model" in text


def test_without_scores_it_says_that_there_are_none(fitted: tuple[Forecaster, ForecastEvaluation]) -> None:
    text = render_report(fitted[0])
    assert "The model was not evaluated" in text
    assert "Scores" not in Page(text).texts
    assert not Page(text).open


def test_hostile_names_stay_text() -> None:
    frame = weekly().rename({"y": HOSTILE}).with_columns(pl.lit("a<b>&").alias("key"))
    frame = pl.concat([frame, frame.with_columns(pl.lit(HOSTILE).alias("key"))])
    model = small().fit(frame, target=HOSTILE, time="ds", series="key")
    evaluation = small().backtest(frame, target=HOSTILE, time="ds", series="key")
    text = render_report(model, evaluation=evaluation, data=frame)
    read = Page(text)
    assert not read.open
    assert read.count("script") == 0
    assert "<script" not in text
    assert "<b>" not in text
    assert "$x_1$" in text, "a formula would have been set as mathematics"
    assert "alert(1)" in text


def test_gaps_and_missing_values_are_told() -> None:
    frame = weekly().with_row_index().filter(~pl.col("index").is_between(30, 39)).drop("index")
    frame = frame.with_columns(pl.when(pl.col("ds").dt.day() == 3).then(None).otherwise("y").alias("y"))
    text = render_report(small().fit(frame), data=frame)
    texts = [part.strip() for part in Page(text).texts]
    place = texts.index("2024-01-30")
    assert "2024-02-10" in texts[place : place + 3]
    assert "10" in texts[place : place + 5]
    assert any(part.startswith("13 of 120") for part in texts)


def test_many_series_and_long_ones_stay_small() -> None:
    frame = pl.concat([weekly(400).with_columns(unique_id=pl.lit(f"s{number}")) for number in range(30)])
    model = small(season=7).fit(frame)
    text = render_report(model, evaluation=small(season=7).backtest(frame), data=frame)
    assert len(text) < 1_000_000
    assert "4 of 30 series" in text


def test_report_is_not_written_over(fitted: tuple[Forecaster, ForecastEvaluation], tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.html"
    assert report(fitted[0], path) == path
    before = path.read_bytes()
    with pytest.raises(ArgumentError, match="exists already"):
        report(fitted[0], path, evaluation=fitted[1])
    assert path.read_bytes() == before
    report(fitted[0], path, evaluation=fitted[1], overwrite=True)
    assert path.read_bytes() != before
    with pytest.raises(StorageError):
        report(fitted[0], path / "below" / "a.html")


def test_an_unfitted_model_has_no_report(tmp_path: Path) -> None:
    with pytest.raises(NotFittedError):
        report(Forecaster(3), tmp_path / "report.html")
    assert not list(tmp_path.iterdir())


def test_picture_is_the_same_each_time_and_small(fitted: tuple[Forecaster, ForecastEvaluation]) -> None:
    first = draw_backtest_picture(fitted[1], kind="svg", target="y")
    assert first == draw_backtest_picture(fitted[1], kind="svg", target="y")
    assert first.startswith(b"<?xml")
    assert len(first) < 200_000
    assert draw_backtest_picture(fitted[1], kind="png")[1:4] == b"PNG"


def test_places_are_spread_evenly() -> None:
    for count in range(1, 30):
        for most in range(1, 8):
            places = evenly(count, most)
            assert len(places) == min(count, most)
            assert places == sorted(set(places))
            assert 0 <= places[0] <= places[-1] < count
