"""The report: one page about a fitted model that opens anywhere, without a network."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from gatestack.errors import ArgumentError
from gatestack.inspect import Inspection
from gatestack.reports.depth.page import render_depth_section
from gatestack.reports.inspect.page import render_section
from gatestack.reports.template import Scored
from gatestack.runtime.durable import storage_error, write_atomically
from gatestack.tasks.estimator import Estimator
from gatestack.tasks.evaluation import Evaluation

__all__ = ["render_report", "report"]

# Kind of the model → the module with the page of its task.
_PAGES = {
    "classifier": "gatestack.reports.labelled",
    "detector": "gatestack.reports.detect",
    "coherent forecaster": "gatestack.reports.forecast",
    "forecaster": "gatestack.reports.forecast",
    "regressor": "gatestack.reports.labelled",
}


# In base.html.jinja, where sections stand that no task knows of.
_OUTSIDE = "<!-- sections from outside -->"


def report(
    model: Estimator,
    path: str | Path,
    *,
    evaluation: Evaluation | None = None,
    data: Any | None = None,
    scored: Scored = "backtest",
    inspection: Inspection | None = None,
    overwrite: bool = False,
) -> Path:
    """Write the report page of a fitted model.

    Args:
        model: fitted or loaded.
        path: the HTML file.
        evaluation: what `backtest` or `evaluate` gave; None makes a page without scores, which says so.
        data: what the model was fitted (or evaluated) on, a path or what `fit` takes, for the pictures; None
            shows what the model keeps.
        scored: how `evaluation` was made: `"backtest"`, by a copy fitted on the first part, or
            `"after the fit"`.
        inspection: what `model.inspect` gave, for a section of its own; None leaves it out.
        overwrite: replace a file that stands there.

    Returns:
        The path.

    Raises:
        ArgumentError: the file exists, or the model is not an estimator.
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
    page = render_report(model, evaluation=evaluation, data=data, scored=scored, inspection=inspection)
    content = page.encode()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(error, target, "write the report") from error
    write_atomically(target, content)
    return target


def render_report(
    model: Estimator,
    *,
    evaluation: Evaluation | None = None,
    data: Any | None = None,
    scored: Scored = "backtest",
    inspection: Inspection | None = None,
) -> str:
    """Make the report page of a fitted model as text; see `report`.

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
    if not isinstance(model, Estimator):
        raise ArgumentError(
            f"it is a {type(model).__name__}",
            where="report",
            expected="an estimator that was fitted or loaded",
        )
    model._check_fitted("report")
    page: str = import_module(_PAGES[model.kind]).render_page(
        model, evaluation=evaluation, data=data, scored=scored
    )
    sections = [] if model.depth_ is None else [render_depth_section(model.depth_)]
    sections += [] if inspection is None else [render_section(inspection)]
    return page.replace(_OUTSIDE, "\n".join(sections), 1)
