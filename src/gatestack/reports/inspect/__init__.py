"""Figures, section and pages of an inspection."""

from __future__ import annotations

from gatestack.reports.inspect.cell_page import render_cell_page
from gatestack.reports.inspect.content import figure_files
from gatestack.reports.inspect.page import render_inspection, render_section

__all__ = ["figure_files", "render_cell_page", "render_inspection", "render_section"]
