"""Where data sets live on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mfbench.errors import DataError


def data_home() -> Path:
    """The folder of archives and prepared data sets: `MFBENCH_DATA`, by default `data` under the current folder."""
    return Path(os.environ.get("MFBENCH_DATA") or "data").expanduser()


@contextmanager
def sole_writer(name: str) -> Iterator[Path]:
    """Make the data home, and hold the lock on `name` in it: of several processes one works, the others wait.

    Gives the data home; DataError where it cannot be written.
    """
    from filelock import FileLock  # here for the start-up time

    home = data_home()
    try:
        home.mkdir(parents=True, exist_ok=True)
        lock = FileLock(home / f".{name}.lock")
        lock.acquire()
    except OSError as error:
        raise DataError(
            f"{home}: data sets cannot be kept there ({error.strerror}); set MFBENCH_DATA to a folder you can write to"
        ) from None
    try:
        yield home
    finally:
        lock.release()
