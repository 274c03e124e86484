"""The MLflow store: its address, how it is opened, and the errors if it cannot be used.

mlflow is imported inside functions, for the start-up time (1 to 4 seconds).
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from mfbench.core.errors import MfbenchError, WorkError, is_disk_full
from mfbench.core.paths import RUNS, workspace

if TYPE_CHECKING:
    from mlflow import MlflowClient

LOCK_SECONDS = 120.0
BUSY_SECONDS = 5.0  # for another process to end its transaction
CHECK_SECONDS = 1.0
FULL = ("No space left on device", "database or disk is full")
"""How the system and SQLite say that the disk is full."""

# By default MLflow sends usage data, and prints an address to stdout for each run.
FIRM_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
# Unless the user has set them. We report in one sentence what MLflow logs as a page, retry ourselves where it would wait
# minutes for a server that is down, and download models too quickly for a progress bar to be of use.
OWN_SETTINGS = {
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}


def store_uri() -> str:
    """The address of the store: `MLFLOW_TRACKING_URI`, by default `mlflow.db` in the workspace."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{workspace() / 'mlflow.db'}"


def make_store() -> MlflowClient:
    """A client of the store. If several processes call this at once, one of them creates the tables."""
    os.environ.update(FIRM_SETTINGS)  # before the import, which reads some of them
    for name, value in OWN_SETTINGS.items():
        os.environ.setdefault(name, value)
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
    uri = store_uri()
    path = sqlite_path(uri)
    # Before the import, which takes seconds. A relative path would be tied to the folder of the first call, since MLflow
    # caches one engine per address.
    ready = path is not None and has_tables(path := path.resolve())
    from mlflow import MlflowClient

    if uri.startswith(("http:", "https:")):
        return MlflowClient(uri)
    if path is None or not ready:
        # Processes that create the tables of a new database at the same time all crash, hence the lock.
        lock = path.with_name(f"{path.name}.lock") if path else RUNS / ".mlflow.lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(lock, timeout=LOCK_SECONDS):
            if path is None:
                return MlflowClient(uri)
            if not has_tables(path):
                # MLflow cannot use a database whose tables a killed process left incomplete: rename it when it is complete.
                new = path.with_name(f"{path.name}.new")
                new.unlink(missing_ok=True)
                new.with_name(f"{new.name}-journal").unlink(missing_ok=True)
                MlflowClient(f"sqlite:///{new}")
                new.replace(path)
    assert path is not None
    _write_ahead(path)
    return MlflowClient(f"sqlite:///{path}")


_ahead: set[str] = set()


def _write_ahead(path: Path) -> None:
    """Use SQLite's write-ahead log for our connections to that database, without a flush to disk for each commit.

    The flushes, ten per run, would take most of the time of an export. A power failure cannot damage the database, but may
    lose the last runs; `mfbench sync` exports those again.
    """
    from sqlalchemy import Engine, event

    if not _ahead:
        event.listen(Engine, "connect", _prepare)
    _ahead.add(str(path))


def _prepare(connection: Any, _: Any) -> None:
    if isinstance(connection, sqlite3.Connection) and connection.execute("PRAGMA database_list").fetchone()[2] in _ahead:
        with suppress(sqlite3.OperationalError):  # some file systems do not support it
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")


def sqlite_path(uri: str) -> Path | None:
    """The file of the store if it is an SQLite database, else None."""
    path = uri.removeprefix("sqlite:///")
    return Path(path) if path != uri and path and path[0] != ":" else None


def has_tables(path: Path) -> bool:
    """Whether the SQLite file is a database with tables; False if there is none, or it is empty.

    DamagedStoreError if it is damaged, and StoreError if it cannot be read now: MLflow itself would retry for minutes.
    """
    if not path.exists() or (path.is_file() and path.stat().st_size == 0):
        return False
    if not path.is_file():
        raise StoreError("it is not a file")
    ends = time.monotonic() + CHECK_SECONDS
    try:
        with closing(sqlite3.connect(path, timeout=BUSY_SECONDS)) as database:
            tables = database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            # 500 MB a second; of a larger file a part is enough.
            database.set_progress_handler(lambda: time.monotonic() > ends, 10_000)
            try:
                found = [str(line) for (line,) in database.execute("PRAGMA quick_check(1)")]
            except sqlite3.OperationalError as error:
                if getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_INTERRUPT:
                    raise
                found = ["ok"]
    except sqlite3.OperationalError as error:  # locked, read-only, no permission
        raise StoreError(why(error)) from None
    except sqlite3.DatabaseError as error:  # malformed, or no database at all
        raise DamagedStoreError(str(error)) from None
    if found != ["ok"]:
        raise DamagedStoreError("database disk image is malformed")
    return bool(tables)


def set_aside() -> Path | None:
    """If the store is an SQLite file and damaged, rename it and the files of its log; return its new path, else None."""
    path = sqlite_path(store_uri())
    if path is None:
        return None
    try:
        has_tables(path)
    except DamagedStoreError:
        number = 1
    else:
        return None
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    path.rename(aside)
    for end in ("-wal", "-shm", "-journal"):  # they belong to the damaged file, and would damage the new one
        if (beside := path.with_name(f"{path.name}{end}")).exists():
            beside.rename(aside.with_name(f"{aside.name}{end}"))
    return aside


class StoreError(WorkError):
    """The MLflow store cannot be reached, or refuses a request; `reason` says why in a few words."""

    remedy = "check it, or set MLFLOW_TRACKING_URI to another store"

    def __init__(self, reason: str) -> None:
        super().__init__(f"MLflow at {shown(store_uri())} cannot be used ({reason}); {self.remedy}")
        self.reason = reason


class DamagedStoreError(StoreError):
    """The store is an SQLite file that is no whole database, so that waiting does not help."""

    remedy = "`mfbench sync --anew` sets the damaged file aside and exports all runs again"


@contextmanager
def store_errors() -> Iterator[None]:
    """Turn whatever MLflow raises in the block into a StoreError."""
    try:
        yield
    except MfbenchError:
        raise
    except Exception as error:  # of MLflow, SQLAlchemy, requests or the system
        raise StoreError(why(error)) from error


def shown(uri: str) -> str:
    """The address of the store without user name and password."""
    return re.sub(r"//[^/@]*@", "//", uri)


def quoted(value: str) -> str:
    """The text as a string of MLflow's search syntax."""
    return f'"{value}"' if "'" in value else f"'{value}'"


def _has_room() -> bool:
    """Whether SQLite has room beside the database: it needs a file of 32 KiB to open one, and says nothing of a full disk."""
    path = sqlite_path(store_uri())
    return path is None or shutil.disk_usage(path.resolve().parent).free > 1 << 16


def why(error: Exception) -> str:
    """The reason for an error of the store in a few words; MLflow's own messages are long."""
    if isinstance(error, StoreError):
        return error.reason
    text = " ".join(str(error).split())
    if is_disk_full(error) or any(words in text for words in FULL) or ("disk I/O error" in text and not _has_room()):
        return "the disk is full"
    if found := re.search(r"too many (\d+) error responses", text):
        return f"the server answers with HTTP error {found[1]}"
    if "timed out" in text:
        return "timeout"
    if any(words in text for words in ("Connection refused", "Max retries exceeded", "Connection aborted")):
        return "connection refused"
    return shown(text[:200]) or type(error).__name__


def is_away(error: Exception) -> bool:
    """Whether the server, or a proxy before it, says that it cannot be reached at present, as while it restarts."""
    reason = why(error)
    return reason in ("connection refused", "timeout") or reason.endswith(("error 502", "error 503", "error 504"))
