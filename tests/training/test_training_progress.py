"""Progress goes to stderr, and only where somebody looks."""

from __future__ import annotations

import io
import sys
from typing import Any

import pytest

from gatestack.training.progress import ProgressReport


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("show", [None, False])
def test_nothing_is_written_when_stderr_is_not_a_terminal(
    problem: Any, capfd: pytest.CaptureFixture[str], show: bool | None
) -> None:
    problem.train(progress=show)
    assert capfd.readouterr() == ("", "")


def test_plain_lines_where_asked_for(problem: Any, capsys: pytest.CaptureFixture[str]) -> None:
    problem.train(progress=True, max_steps=10)
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == ""
    assert [line.split("  ")[0] for line in lines] == ["step 0/10", "step 5/10", "step 10/10"]
    assert all("validation" in line and "steps/s" in line for line in lines)
    assert ["loss" in line for line in lines] == [False, True, True]
    assert "\x1b" not in err


def test_a_bar_with_all_numbers_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = _Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(sys, "stderr", terminal)
    with ProgressReport(100, 20, show=None) as report:
        report.validated(30, 0.5, 0.75)
        report.stepped(31, 0.25)
        print("from the caller")
    text = terminal.getvalue()
    assert "loss 0.25" in text
    assert "validation 0.75" in text
    assert "31/100" in text
    assert "steps/s" in text
    assert capsys.readouterr().out == "from the caller\n"


def test_no_bar_on_a_terminal_when_it_is_not_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with ProgressReport(100, 0, show=False) as report:
        report.stepped(1, 0.25)
    assert terminal.getvalue() == ""
