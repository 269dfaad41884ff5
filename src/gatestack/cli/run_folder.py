"""The folder of checkpoints beside the model that is being fitted: `runs/m.training` for `runs/m`."""

from __future__ import annotations

import contextlib
from pathlib import Path

from gatestack.cli.console import Talk
from gatestack.errors import ArgumentError

STUDY_FILE = "study.db"  # as in `gatestack.tasks.estimator`, which would load torch

__all__ = ["name_study", "open_training", "remove_training", "training_folder", "unfinished"]


def training_folder(out: Path) -> Path:
    """Name the folder of checkpoints for a model.

    Example:
        >>> training_folder(Path("runs/weather")).as_posix()
        'runs/weather.training'
    """
    return out.with_name(f"{out.name}.training")


def unfinished(folder: Path) -> Path | None:
    """Give the newest checkpoint in a folder, or None."""
    return max(
        folder.glob("checkpoint-*.safetensors"), default=None, key=lambda path: (len(path.name), path.name)
    )


def open_training(out: Path, *, resume: bool, restart: bool) -> Path:
    """Decide what becomes of the checkpoints of an earlier run.

    Args:
        out: the model to be written.
        resume: go on from them.
        restart: throw them away.

    Returns:
        The folder of checkpoints, which may not exist yet.

    Raises:
        ArgumentError: there are checkpoints, and neither was asked for; or both were.
    """
    folder = training_folder(out)
    if resume and restart:
        raise ArgumentError("--resume and --restart exclude each other", expected="one of them")
    newest = unfinished(folder)
    if restart:
        remove_training(folder, study=True)
    if newest is not None and not resume and not restart:
        raise ArgumentError(
            f"holds checkpoints of an unfinished run, the newest is {newest.name}",
            where=str(folder),
            hint="pass --resume to go on with that run, or --restart to throw it away",
        )
    return folder


def name_study(folder: Path) -> None:
    """Say, where a study of `--layers auto` was interrupted, that its fits are not lost."""
    if (folder / STUDY_FILE).is_file():
        Talk(False).say(
            f"the study's fits are kept in {folder / STUDY_FILE}; the same command goes on from there"
        )


def remove_training(folder: Path, *, study: bool = False) -> None:
    """Remove the checkpoints of a finished run, and the folder if nothing else is in it.

    Args:
        folder: of the checkpoints.
        study: remove the study of `--layers auto` too: its fits are not needed any more.

    Raises:
        TrainingError: another run holds the folder.
    """
    if not folder.is_dir():
        return
    from gatestack.training.lock import hold_folder

    with hold_folder(folder):
        patterns = ["checkpoint-*.safetensors", "checkpoint-*.damaged", ".checkpoint-*.tmp"]
        for pattern in [*patterns, STUDY_FILE] if study else patterns:
            for path in folder.glob(pattern):
                path.unlink(missing_ok=True)
    # What a user put there stays, and so does the folder then.
    with contextlib.suppress(OSError):
        (folder / "lock").unlink()
        folder.rmdir()
