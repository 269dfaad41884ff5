"""The page of a study of depth."""

from __future__ import annotations

from gatestack.reports.depth.page import render_depth_page

__all__ = ["render_depth_page"]
