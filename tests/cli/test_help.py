"""Every command opens its help with a sentence and a command that works, and stands on the reference page."""

from __future__ import annotations

import dataclasses
import inspect
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import Result

from gatestack import Forecaster, Training
from gatestack.cli.main import app
from gatestack.cli.reference import reference_page
from gatestack.tasks.forecast import Architecture

Run = Callable[..., Result]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "command-line.md"
COMMANDS = [
    [],
    ["demo"],
    ["fit"],
    ["fit", "forecast"],
    ["predict"],
    ["evaluate"],
    ["update"],
    ["report"],
    ["export"],
    ["verify"],
    ["doctor"],
    ["bench"],
]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_opens_with_a_sentence_and_a_command(gatestack: Run, words: list[str]) -> None:
    done = gatestack(*words, "--help")
    assert done.exit_code == 0
    assert not done.stderr
    paragraphs = re.split(r"\n\s*\n", done.stdout.strip())
    assert paragraphs[1].strip().endswith(".")
    assert len(re.findall(r"[.:] [A-Z]", paragraphs[1])) == 0, "one sentence"
    example = shlex.split(paragraphs[2])
    assert example[: 1 + len(words)] == ["gatestack", *words]
    # The example is understood: parsing it finds no unknown option and no missing one.
    command, arguments = typer.main.get_command(app), example[1:]
    while hasattr(command, "commands"):
        command, arguments = command.commands[arguments[0]], arguments[1:]
    command.make_context("example", arguments)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_option_says_what_it_does_and_its_default(gatestack: Run, words: list[str]) -> None:
    command = typer.main.get_command(app)
    for word in words:
        command = command.commands[word]  # type: ignore[attr-defined]
    text = " ".join(gatestack(*words, "--help").stdout.split())
    for option in command.params:
        assert option.opts[0] in text or option.param_type_name == "argument"
        assert getattr(option, "help", None), f"{option.name} has no help"
        takes_a_value = option.param_type_name == "option" and not option.is_flag
        if takes_a_value and not option.required and not option.multiple:
            shown = option.default is not None or "[default: " in (option.help or "")
            assert shown, f"the default of {option.name} is not told"


def test_reference_page_is_up_to_date() -> None:
    told = "run `python -m gatestack.cli.reference > docs/guides/command-line.md`"
    assert PAGE.read_text(encoding="utf-8") == reference_page(), told


def test_help_needs_no_colour(gatestack: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b" not in gatestack("--help").stdout


def test_the_defaults_of_a_fit_are_those_of_the_python_api() -> None:
    command = typer.main.get_command(app).commands["fit"].commands["forecast"]  # type: ignore[attr-defined]
    said = {option.name: option.default for option in command.params}
    for api in (inspect.signature(Forecaster).parameters.values(), dataclasses.fields(Architecture)):
        for parameter in api:
            if parameter.name in said and parameter.name not in ("horizon", "layers", "season", "calendar"):
                assert said[parameter.name] == parameter.default, parameter.name
    for name, field in Training.model_fields.items():
        if name in said:
            assert said[name] == field.default, name
