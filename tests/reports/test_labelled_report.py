"""The page of classifiers and regressors: whole, honest, and safe against hostile names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_report import HOSTILE, Page

from gatestack.errors import NotFittedError
from gatestack.reports import render_report, report
from gatestack.tasks.classify import Architecture, Augmentation, ClassificationEvaluation, Classifier
from gatestack.tasks.labelled.difference import Difference
from gatestack.tasks.regress import Regressor
from gatestack.training import Training

SERIES = [np.sin(np.arange(8 + case % 3) * (0.5, 2.0)[case % 2]) for case in range(12)]
LATER = [series + 0.01 for series in SERIES]
NAMES = ["slow", "fast"] * 6
PLAIN = Architecture(recipe="plain")


def classifier(**changes: object) -> Classifier:
    settings = {"layers": 1, "hidden_size": 4, "max_steps": 5, "architecture": PLAIN} | changes
    return Classifier(**settings)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def model() -> Classifier:
    return classifier().fit(SERIES, NAMES)


def words_of(page: str) -> str:
    parsed = Page(page)
    assert not parsed.open
    return " ".join(" ".join(parsed.texts).split())


def test_the_page_of_a_classifier_is_whole(model: Classifier) -> None:
    evaluation = model.evaluate(LATER, NAMES)
    page = render_report(model, evaluation=evaluation)
    assert Page(page).count("svg") == 4  # scores, reliability, cases, learning curve
    words = words_of(page)
    assert evaluation.sentence.removeprefix("The model loses: ")[1:] in words
    assert all(name in words for name in ("majority", "1-nn", "linear", "log loss", "fast: 6, slow: 6"))
    assert "minirocket" not in words
    assert "//" not in page.replace("://www.w3.org", "")


def test_the_page_of_a_regressor_is_whole() -> None:
    model = Regressor(layers=1, hidden_size=4, max_steps=5, architecture=PLAIN)
    X, y = np.array([series[:8] for series in SERIES]), np.arange(12.0)
    evaluation = model.cross_validate(X, y, folds=3)
    words = words_of(render_report(model.fit(X, y), evaluation=evaluation))
    assert "By cross-validation on the cases of the fit: 3 fits" in words
    assert "R²" in words
    assert "0 to 11, mean 5.5" in words


def test_a_page_without_scores_says_so(model: Classifier) -> None:
    words = words_of(render_report(model))
    assert "nothing here says that it is any good" in words
    assert "Worst mistakes" not in words


@pytest.mark.parametrize(
    ("low", "high", "loses", "kind"),
    [(0.1, 0.3, "", "wins"), (-0.3, -0.1, "The model loses: ", "loses"), (-0.1, 0.1, "", "open")],
)
def test_the_verdict_is_that_of_the_interval(
    model: Classifier, low: float, high: float, loses: str, kind: str
) -> None:
    found = model.evaluate(LATER, NAMES)
    made: ClassificationEvaluation = replace(
        found,
        difference={name: Difference((low + high) / 2, low, high) for name in found.difference},
        sentence=f"{loses}3 of 4 cases",
    )
    assert f'class="verdict {kind}"' in render_report(model, evaluation=made)


def test_the_worst_mistakes_are_the_surest(model: Classifier) -> None:
    wrong = ["fast", "slow"] * 6
    evaluation = model.evaluate(LATER, wrong)
    table = evaluation.predictions.with_columns(
        sure=np.maximum(
            evaluation.predictions["probability-fast"], evaluation.predictions["probability-slow"]
        )
    )
    mistaken = table.filter(table["truth"] != table["predicted"]).sort("sure", descending=True)
    page = render_report(model, evaluation=evaluation)
    first = page.split("Worst mistakes")[1].split("<tbody><tr><td>")[1].split("<")[0]
    assert first == str(mistaken["case"][0])


def test_hostile_class_names_stay_text() -> None:
    model = classifier().fit(SERIES, [HOSTILE, "b"] * 6)
    page = Page(render_report(model, evaluation=model.evaluate(LATER, [HOSTILE, "b"] * 6)))
    assert not page.open
    assert page.count("script") == 0


def test_the_python_lines_repeat_the_fit(tmp_path: Path) -> None:
    rows = "".join(
        f"{case},{step},{case * step},{'ab'[case % 2]}\n" for case in range(6) for step in range(5)
    )
    (tmp_path / "long.csv").write_text("run,step,x,kind\n" + rows)
    from gatestack.data.collections import read_labelled

    data = read_labelled(tmp_path / "long.csv", label="kind", case="run", time="step")
    model = classifier(
        augmentation=Augmentation(jitter=0.1),
        training=Training(batch_size=3),
        class_weight={"a": 2.0},
        seed=2,
    ).fit(data)
    page = render_report(model)
    code = page.split("<pre")[-1].split("<code>")[1].split("</code>")[0]
    code = code.replace("&#39;", "'").replace("&#34;", '"')
    found: dict[str, Classifier] = {}
    exec(code, found)  # the page's own lines
    assert np.array_equal(found["model"].predict_proba(data), model.predict_proba(data))
    assert "gatestack fit classify" not in page  # a mapping of weights has no option


def test_an_unfitted_model_has_no_page(tmp_path: Path) -> None:
    with pytest.raises(NotFittedError):
        report(Classifier(), tmp_path / "page.html")
    assert not list(tmp_path.iterdir())
