"""The page of a budgeted search."""

from __future__ import annotations

from gatestack.reports.tune.page import HEADS, render_tune_page, table_rows

__all__ = ["HEADS", "render_tune_page", "table_rows"]
