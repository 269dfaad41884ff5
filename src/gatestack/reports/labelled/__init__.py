"""The pages of classifiers and regressors."""

from __future__ import annotations

from gatestack.reports.labelled.page import render_page

__all__ = ["render_page"]
