"""What the README, the pages of docs/ and the programs of examples/ show, runs.

A block fenced as `python` is run as it stands; with `>>>` its output is compared too. The blocks of one page
share their names, from top to bottom. A block that cannot run says why in the line above,
`<!-- not run: … -->`.
"""

from __future__ import annotations

import doctest
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
PROGRAMS = sorted((ROOT / "examples").glob("*.py"))
FENCE = re.compile(r"^```(?P<language>\w*)[^\n]*\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
NOT_RUN = re.compile(r"<!-- not run: .*\S.* -->\n\Z")


@dataclass(frozen=True)
class Block:
    """A fenced piece of Python, with the line of the page on which its code begins."""

    code: str
    line: int


def blocks_of(text: str) -> list[Block]:
    """Find the blocks of a page that are to be run."""
    return [
        Block(found["code"], text.count("\n", 0, found.start("code")) + 1)
        for found in FENCE.finditer(text)
        if found["language"] in ("python", "pycon") and not NOT_RUN.search(text[: found.start()])
    ]


def run_blocks(blocks: list[Block], page: str) -> list[str]:
    """Run the blocks one after the other; give what differed from the page, none when all is well."""
    names: dict[str, object] = {"__name__": "page"}
    talk: list[str] = []
    for block in blocks:
        if re.search(r"^\s*>>> ", block.code, re.MULTILINE):
            test = doctest.DocTestParser().get_doctest(block.code, {}, page, page, block.line - 1)
            test.globs = names  # the parser would copy them
            runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
            runner.run(test, out=talk.append, clear_globs=False)
        else:
            padded = "\n" * (block.line - 1) + block.code
            exec(compile(padded, page, "exec"), names)
    return talk


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    talk = run_blocks(blocks_of(page.read_text(encoding="utf-8")), str(page.relative_to(ROOT)))
    assert not talk, "".join(talk)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_example_program_runs(program: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", str(program)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip(), "an example shows something"


def test_blocks_are_found_and_marked_ones_left_out() -> None:
    run, marked, shell = "```python\na = 1\n```", "```python\n1 / 0\n```", "```\nshell\n```"
    page = f"# A\n\n{run}\n\n<!-- not run: no such file -->\n{marked}\n\n{shell}\n"
    assert blocks_of(page) == [Block("a = 1\n", 4)]
    assert blocks_of(page.replace("not run: no such file", "not run: ")) != blocks_of(page)


def test_a_wrong_output_is_found() -> None:
    right, wrong = Block(">>> a + 1\n2\n", 5), Block(">>> a + 1\n3\n", 5)
    assert run_blocks([Block("a = 1\n", 1), right], "page") == []
    assert run_blocks([Block("a = 1\n", 1), wrong], "page")
    with pytest.raises(ZeroDivisionError):
        run_blocks([Block("1 / 0\n", 1)], "page")
