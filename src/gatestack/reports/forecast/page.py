"""The page of a forecaster: scores, forecasts, data, training."""

from __future__ import annotations

from pathlib import Path

from gatestack.data.frames import Frame, as_polars
from gatestack.reports.forecast import content, pictures
from gatestack.reports.forecast.material import Material
from gatestack.reports.forecast.repeat import command_to_repeat, python_to_repeat
from gatestack.reports.svg import report_style
from gatestack.reports.template import Scored, fill_template
from gatestack.tasks.forecast import BASELINES, CoherentForecaster, Forecaster, ForecastEvaluation
from gatestack.tasks.forecast.hierarchy.evaluation import INCOHERENT
from gatestack.tasks.forecast.prediction import read_like_fit

__all__ = ["render_page"]


def render_page(
    model: Forecaster | CoherentForecaster,
    *,
    evaluation: ForecastEvaluation | None,
    data: Frame | None,
    scored: Scored,
) -> str:
    """Make the page as text; see `gatestack.reports.report`."""
    source = str(data) if isinstance(data, str | Path) else None
    settings: dict[str, str] = {}
    sums = None
    if isinstance(model, CoherentForecaster):
        sums, settings = model, content.list_sums(model)
        data = None if data is None else model.with_totals(data)
        model = model.model_
    fitted = model.fitted_
    table = fitted.tail if data is None else read_like_fit(fitted, as_polars(data), data)
    material = Material(table, evaluation, fitted.network.shape.window, fitted.horizon)
    with report_style():
        drawn, forecasts = pictures.draw_pictures(model, material), pictures.draw_forecasts(material)
    return fill_template(
        "forecast/template.html.jinja",
        evaluation,
        notes=content.skill_notes(evaluation),
        title=f"{table.columns.target}, {fitted.horizon} step{'s' if fitted.horizon > 1 else ''} ahead",
        verdict=content.verdict_of(evaluation),
        scored=scored,
        baselines=BASELINES | {INCOHERENT: "the same model, before its forecasts were made to add up"},
        facts=content.list_facts(model, material, whole=data is not None),
        gaps=content.list_gaps(table),
        pictures=drawn,
        forecasts=forecasts,
        intervals=content.list_intervals(evaluation),
        interval_kind=content.interval_kind(model),
        recency=content.check_recency(model),
        settings=settings | content.list_settings(model),
        record=fitted.record,
        command=command_to_repeat(model, source, sums),
        python=python_to_repeat(model, source, sums),
    )
