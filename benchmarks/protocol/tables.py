"""Markdown tables."""

from __future__ import annotations

__all__ = ["markdown_table"]


def markdown_table(head: list[str], rows: list[list[str]]) -> str:
    """Lines of a Markdown table, one row per list, without a final newline."""
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])
