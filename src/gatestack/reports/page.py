"""The report: one page about a fitted model that opens anywhere, without a network."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from jinja2 import Environment, PackageLoader, StrictUndefined

from gatestack.data.frames import Frame, as_polars
from gatestack.errors import ArgumentError
from gatestack.reports import content, pictures
from gatestack.reports.material import Material
from gatestack.reports.repeat import command_to_repeat, python_to_repeat, versions
from gatestack.reports.svg import report_style
from gatestack.runtime.durable import storage_error, write_atomically
from gatestack.tasks.forecast import BASELINES, Evaluation, Forecaster
from gatestack.tasks.forecast.prediction import read_like_fit

__all__ = ["render_report", "report"]

Scored = Literal["backtest", "after the fit"]


def report(
    model: Forecaster,
    path: str | Path,
    *,
    evaluation: Evaluation | None = None,
    data: Frame | None = None,
    scored: Scored = "backtest",
    overwrite: bool = False,
) -> Path:
    """Write the report page of a fitted forecaster.

    Args:
        model: fitted or loaded.
        path: the HTML file.
        evaluation: what `backtest` or `evaluate` gave; None makes a page without scores, which says so.
        data: the table of the fit (or of the evaluation), a path or a frame, for the pictures; None shows the
            last steps, which the model keeps.
        scored: how `evaluation` was made: `"backtest"`, by a copy fitted on the first part, or
            `"after the fit"`.
        overwrite: replace a file that stands there.

    Returns:
        The path.

    Raises:
        ArgumentError: the file exists.
        NotFittedError: the model is not fitted.
        StorageError: the file cannot be written.

    Example:
        >>> import tempfile, polars as pl
        >>> from gatestack import Forecaster
        >>> frame = pl.DataFrame({"ds": range(60), "y": [float(step % 5) for step in range(60)]})
        >>> model = Forecaster(horizon=2, hidden_size=4, max_steps=5).fit(frame)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     report(model, folder + "/report.html", data=frame).name
        'report.html'
    """
    target = Path(path)
    if target.exists() and not overwrite:
        raise ArgumentError(
            "exists already", where=str(path), hint="choose another path, or pass overwrite=True"
        )
    content = render_report(model, evaluation=evaluation, data=data, scored=scored).encode()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(error, target, "write the report") from error
    write_atomically(target, content)
    return target


def render_report(
    model: Forecaster,
    *,
    evaluation: Evaluation | None = None,
    data: Frame | None = None,
    scored: Scored = "backtest",
) -> str:
    """Make the report page of a fitted forecaster as text; see `report`.

    Returns:
        HTML that loads nothing from anywhere.

    Example:
        >>> import polars as pl
        >>> from gatestack import Forecaster
        >>> frame = pl.DataFrame({"ds": range(60), "y": [float(step % 5) for step in range(60)]})
        >>> model = Forecaster(horizon=2, hidden_size=4, max_steps=5).fit(frame)
        >>> render_report(model)[:15]
        '<!doctype html>'
    """
    model._check_fitted("report")
    fitted = model.fitted_
    table = fitted.tail if data is None else read_like_fit(fitted, as_polars(data), data)
    material = Material(table, evaluation, fitted.network.shape.window, fitted.horizon)
    source = str(data) if isinstance(data, str | Path) else None
    with report_style():
        drawn, forecasts = pictures.draw_pictures(model, material), pictures.draw_forecasts(material)
    environment = Environment(
        loader=PackageLoader("gatestack.reports", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("template.html.jinja").render(
        title=f"{table.columns.target}, {fitted.horizon} step{'s' if fitted.horizon > 1 else ''} ahead",
        verdict=content.verdict_of(evaluation),
        evaluation=evaluation,
        scored=scored,
        scores=content.list_scores(evaluation),
        metrics=content.METRICS,
        baselines=BASELINES,
        facts=content.list_facts(model, material, whole=data is not None),
        gaps=content.list_gaps(table),
        pictures=drawn,
        forecasts=forecasts,
        recency=content.check_recency(model),
        settings=content.list_settings(model),
        record=fitted.record,
        command=command_to_repeat(model, source),
        python=python_to_repeat(model, source),
        versions=versions(),
    )
