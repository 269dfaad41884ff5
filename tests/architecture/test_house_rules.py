"""Sizes and places that the house agreed on (CONTRIBUTING.md)."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

import gatestack

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = Path(gatestack.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))
LONGEST_MODULE_LINES = 400
LARGEST_FILE_BYTES = 1_000_000
TEXT_SUFFIXES = {"", ".csv", ".html", ".json", ".md", ".py", ".svg", ".toml", ".txt", ".yml"}


@pytest.fixture(scope="module")
def committed() -> list[Path]:
    """Every file of the repository."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout: which files are committed is not known")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_modules_are_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_MODULE_LINES


def test_committed_files_are_small(committed: list[Path]) -> None:
    assert not [str(path) for path in committed if path.stat().st_size > LARGEST_FILE_BYTES]


def test_no_committed_text_names_a_home_folder(committed: list[Path]) -> None:
    home = re.compile(r"(?<![\w.])/(?:home|root|Users)/\w+")
    found = [
        f"{path}: {match.group()}"
        for path in committed
        if path.suffix in TEXT_SUFFIXES
        for match in home.finditer(path.read_text(encoding="utf-8"))
    ]
    assert not found


def test_readme_has_a_line_for_every_folder() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    inside = {
        f"src/gatestack/{path.parent.relative_to(PACKAGE)}/" for path in PACKAGE.glob("*/**/__init__.py")
    }
    beside = {f"{name}/" for name in ("tests", "docs", "examples", "benchmarks")}
    listed = {line.split("`")[1] for line in readme.splitlines() if line.startswith("| `")}
    assert inside | beside <= listed, "a folder has no line in the README's index"
    gone = [name for name in listed if not (ROOT / name).exists()]
    assert not gone, "the README's index names what is not there"


def test_readme_names_the_two_commands() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "make demo" in readme
    assert "make test" in readme
