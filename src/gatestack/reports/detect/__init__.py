"""The page of a detector."""

from __future__ import annotations

from gatestack.reports.detect.page import render_page

__all__ = ["render_page"]
