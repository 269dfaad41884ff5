"""Where a study is kept: in memory, in an SQLite file, or in PostgreSQL, through Optuna's storages."""

from __future__ import annotations

import signal
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from gatestack.errors import ArgumentError, StorageError
from gatestack.runtime.durable import storage_error

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

__all__ = ["Place", "open_storage", "quiet_optuna", "storage_errors", "storage_name", "storage_url"]

Place = str | Path | None
"""A path of an SQLite file, a URL, or None for memory."""

_SQLITE_WAIT_SECONDS = 60
_GO_ON = "finished fits are kept: run the same command again"
_HINTS = {
    "disk is full": f"free some space, then go on; {_GO_ON}",
    "disk i/o error": f"check that the disk has space left and is in order; {_GO_ON}",
    "readonly": "change its permissions, or name another file",
    "unable to open": "check the path, and that you may write there",
    "permission denied": "change the permissions, or name another place",
    "not a database": "this is no study: move the file away, or name another one",
    "malformed": "the file is damaged: move it away, or name another one",
    "locked": f"another program holds the file: end it, or name another file; {_GO_ON}",
    "authentication": "check user and password in the URL",
    'database "': "make the database first (createdb NAME), and check the URL",
    "resolve host": "check the name of the host in the URL",
    "connection": f"check that the server runs and the URL is right; {_GO_ON}",
}
"""What to do, by a word of what the database says; the first that is found."""
_PLACES = "a path of a file, sqlite:///path, or postgresql://user@host/database"
_OPENINGS, _SECONDS_BETWEEN_OPENINGS = 6, 0.5


def storage_url(place: str | Path) -> str:
    """Give the URL of a study.

    Args:
        place: a path of an SQLite file, or a URL that begins with `sqlite:///` or `postgresql://`.

    Raises:
        ArgumentError: a URL of another kind.

    Example:
        >>> storage_url("runs/studies.db"), storage_url("postgresql://me@cluster/studies")
        ('sqlite:///runs/studies.db', 'postgresql+psycopg://me@cluster/studies')
    """
    if not isinstance(place, str | Path):
        raise ArgumentError(f"the study is of type {type(place).__name__}", where="study", expected=_PLACES)
    text = str(place)
    scheme, found, rest = text.partition("://")
    if not text.strip():
        raise ArgumentError("the study has no place", where="study", expected=_PLACES)
    if not found:
        return f"sqlite:///{Path(text).as_posix()}"
    if scheme in ("postgresql", "postgres", "postgresql+psycopg"):
        return _checked(f"postgresql+psycopg://{rest}")
    if scheme == "sqlite" and rest.startswith("/") and len(rest) > 1:
        return text
    raise ArgumentError(f"a study cannot be kept in {scheme}://…", where="study", expected=_PLACES)


def _checked(url: str) -> str:
    """Refuse a URL that cannot be read; it is not shown, since a password may be anywhere in it."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError as UrlError

    try:
        parsed = make_url(url)
    except (UrlError, ValueError):  # such as a port that is no number
        parsed = None
    if parsed is None or url.count("@") > 1 or not parsed.database:
        raise ArgumentError(
            "the URL of the study cannot be read",
            where="study",
            expected="postgresql://user@host/database, or postgresql://user:password@host:5432/database",
            hint="in a password, write @ as %40, / as %2F and : as %3A",
        )
    return url


def storage_name(place: Place) -> str:
    """Name a place for people: never with its password.

    Example:
        >>> storage_name("postgresql://me:secret@cluster/studies"), storage_name(None)
        ('postgresql+psycopg://me:***@cluster/studies', 'memory')
    """
    if place is None:
        return "memory"
    if "://" not in str(place):
        return str(place)
    from sqlalchemy.engine import make_url

    return make_url(storage_url(place)).render_as_string(hide_password=True)


def open_storage(place: Place, *, heartbeat_seconds: int, grace_seconds: int) -> BaseStorage:
    """Open the storage of studies, and make it where there is none yet.

    Args:
        place: see `Place`.
        heartbeat_seconds: time between two signs of life of a worker.
        grace_seconds: a worker is taken for dead after so long without a sign of life.

    Raises:
        ArgumentError: Optuna is not installed, or the URL is of another kind.
        StorageError: the database cannot be opened.
    """
    try:
        from optuna.storages import InMemoryStorage, RDBStorage
    except ModuleNotFoundError as error:
        raise ArgumentError(
            "studies are kept by Optuna, which is not installed",
            where="study",
            hint="pip install 'gatestack[study]'",
        ) from error
    if place is None:
        return InMemoryStorage()
    url, options = storage_url(place), {}
    if url.startswith("sqlite:"):
        folder = Path(url.removeprefix("sqlite:///")).parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise storage_error(error, folder, "make the folder of the study") from error
        file = Path(url.removeprefix("sqlite:///"))
        if file.is_dir():
            raise StorageError("the study is a folder", where=str(file), expected="a file, or no file yet")
        options = {"connect_args": {"timeout": _SQLITE_WAIT_SECONDS}}
    with storage_errors(place), quiet_optuna():
        for opening in range(_OPENINGS):
            try:
                return RDBStorage(
                    url,
                    engine_kwargs=options,
                    heartbeat_interval=heartbeat_seconds,
                    grace_period=grace_seconds,
                )
            except _database_errors():
                # Two workers that make the tables at once: one of them is told that they are there.
                if opening == _OPENINGS - 1:
                    raise
                time.sleep(_SECONDS_BETWEEN_OPENINGS)
            except RuntimeError as error:  # tables of an Optuna that this one cannot read
                raise StorageError(
                    f"the study was written by another version of Optuna: {str(error).splitlines()[0]}",
                    where=storage_name(place),
                    hint="name another file, or run with the version of Optuna that wrote it",
                ) from error
    raise AssertionError("unreachable")  # pragma: no cover


@contextmanager
def storage_errors(place: Place) -> Iterator[None]:
    """Turn what goes wrong in the database into a `StorageError` that names the place.

    Ctrl-C waits for the end of the block: in the middle of a transaction it would leave the database locked
    by a process that is about to give back what it holds.
    """
    try:
        with _uninterrupted():
            yield
    except _database_errors() as error:
        parts = (getattr(each, "orig", None) for each in (error, error.__cause__))
        cause = str(next((part for part in parts if part is not None), error)).splitlines()[0]
        hints = [hint for word, hint in _HINTS.items() if word in cause.lower()]
        raise StorageError(
            f"the study cannot be read or written: {cause}",
            where=storage_name(place),
            hint=hints[0] if hints else f"check that you may read and write it; {_GO_ON}",
        ) from error


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Hold the first Ctrl-C back until the end of the block; a second one comes through at once."""
    usual = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(usual):
        yield
        return
    noted: list[tuple[int, FrameType | None]] = []

    def note(number: int, frame: FrameType | None) -> None:
        noted.append((number, frame))
        if len(noted) > 1:
            usual(number, frame)

    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)
        if noted:
            usual(*noted[0])


def _database_errors() -> tuple[type[Exception], ...]:
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    return (StorageInternalError, SQLAlchemyError)


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Keep Optuna from talking: what a study says, it says itself."""
    import optuna

    level: Any = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            # Heartbeats are called experimental; our tests hold what we need of them.
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            # Our claims give their own signs of life (`database.Claim`).
            warnings.filterwarnings("ignore", "Heartbeat of storage", UserWarning)
            yield
    finally:
        optuna.logging.set_verbosity(level)
