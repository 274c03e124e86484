"""The MLflow store: where it is, how it is opened, and what is said when it cannot be had.

mlflow is imported inside functions, for the start-up time (1 to 4 seconds).
"""

from __future__ import annotations

import logging
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from mfbench.core.errors import MfbenchError, WorkError
from mfbench.core.paths import RUNS

if TYPE_CHECKING:
    from mlflow import MlflowClient

LOCK_SECONDS = 120.0

# Left alone, MLflow sends usage data and prints an address a run to stdout.
FIRM_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
# Where the user has not set them. We tell in a sentence what its log tells in a page, and try again ourselves where it
# would wait minutes for a server that is down; and a model is here before its progress bar can be read.
OWN_SETTINGS = {
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}


def store_uri() -> str:
    """Where MLflow keeps its runs: `MLFLOW_TRACKING_URI`, or `mlflow.db` in the current folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"


def make_store() -> MlflowClient:
    """A client of the store, whose tables exist when this returns, however many processes ask at once."""
    os.environ.update(FIRM_SETTINGS)  # before the import, for MLflow reads some of it there
    for name, value in OWN_SETTINGS.items():
        os.environ.setdefault(name, value)
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    from mlflow import MlflowClient

    uri = store_uri()
    if uri.startswith(("http:", "https:")):
        return MlflowClient(uri)
    path = sqlite_path(uri)
    # Processes that open a fresh database together all crash while they create its tables: one at a time.
    lock = path.with_name(f"{path.name}.lock") if path else RUNS / ".mlflow.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock, timeout=LOCK_SECONDS):
        if path is None:
            return MlflowClient(uri)
        # MLflow keeps one engine an address, which a relative path would tie to the folder of the first call.
        path = path.resolve()
        if not path.exists():
            # MLflow cannot go on with tables that a killed process left half made: the file gets its name once it is whole.
            new = path.with_name(f"{path.name}.new")
            new.unlink(missing_ok=True)
            new.with_name(f"{new.name}-journal").unlink(missing_ok=True)
            MlflowClient(f"sqlite:///{new}")
            new.replace(path)
        _write_ahead(path)
        return MlflowClient(f"sqlite:///{path}")


_ahead: set[str] = set()


def _write_ahead(path: Path) -> None:
    """Let our connections to that database write ahead, and not wait for the disk at each of the ten commits of a run.

    That is most of the time that an export takes. SQLite stays whole through a loss of power all the same; the last runs may
    then be missing, which `mfbench sync` sends again.
    """
    from sqlalchemy import Engine, event

    if not _ahead:
        event.listen(Engine, "connect", _prepare)
    _ahead.add(str(path))


def _prepare(connection: Any, _: Any) -> None:
    if isinstance(connection, sqlite3.Connection) and connection.execute("PRAGMA database_list").fetchone()[2] in _ahead:
        with suppress(sqlite3.OperationalError):  # a file system that cannot do it
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")


def sqlite_path(uri: str) -> Path | None:
    """The file of a store that is an SQLite database, else None."""
    path = uri.removeprefix("sqlite:///")
    return Path(path) if path != uri and path and path[0] != ":" else None


class StoreError(WorkError):
    """MLflow's store cannot be had, or does not take what it is given; `reason` says why in a few words."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"MLflow at {shown(store_uri())} cannot be used ({reason})")
        self.reason = reason


@contextmanager
def store_errors() -> Iterator[None]:
    """Whatever MLflow raises inside, as a StoreError."""
    try:
        yield
    except MfbenchError:
        raise
    except Exception as error:  # MLflow's own, SQLAlchemy's, those of requests, of the system
        raise StoreError(why(error)) from error


def shown(uri: str) -> str:
    """The address of the store without a password in it."""
    return re.sub(r"//[^/@]*@", "//", uri)


def why(error: Exception) -> str:
    """What went wrong with the store, in a few words; MLflow's own messages are long."""
    if isinstance(error, StoreError):
        return error.reason
    text = " ".join(str(error).split())
    if found := re.search(r"too many (\d+) error responses", text):
        return f"it answers with error {found[1]}"
    if "timed out" in text:
        return "no answer in time"
    if "Connection refused" in text or "Max retries exceeded" in text:
        return "nobody answers there"
    return shown(text[:200]) or type(error).__name__
