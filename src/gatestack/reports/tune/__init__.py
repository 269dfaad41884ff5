"""The page of a budgeted search."""

from __future__ import annotations

from gatestack.reports.tune.page import draw_trials, render_tune_page
from gatestack.reports.tune.table import TrialTable, trial_table

__all__ = ["TrialTable", "draw_trials", "render_tune_page", "trial_table"]
