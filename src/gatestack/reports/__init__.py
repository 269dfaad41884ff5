"""Figures and the report page: what a fitted model is worth, in one file that opens anywhere."""

from __future__ import annotations

from gatestack.reports.page import render_report, report

__all__ = ["render_report", "report"]
