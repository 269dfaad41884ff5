"""Figures and the report page: what a fitted model is worth, in one file that opens anywhere."""

from __future__ import annotations

from gatestack.reports.page import render_report, report
from gatestack.reports.pictures import draw_backtest_picture

__all__ = ["draw_backtest_picture", "render_report", "report"]
