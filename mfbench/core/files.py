"""Files that are there completely or not at all, whatever stops the process that writes them."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from mfbench.core.arrays import Array
from mfbench.core.errors import DataError, RecordError
from mfbench.core.paths import data_home


def write_whole(path: Path, content: bytes, wait: bool = True) -> None:
    """Write a file so that it is there completely or not at all; see `whole_file`."""
    with whole_file(path, wait) as file:
        file.write(content)


@contextmanager
def whole_file(path: Path, wait: bool = True) -> Iterator[BinaryIO]:
    """A file to be written: once the block ends it is there completely; where it breaks off, not at all.

    wait: until the disk has it, so that a loss of power cannot damage it either.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with named_in_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("xb") as file:
                yield file
                if wait:
                    file.flush()
                    os.fsync(file.fileno())
            temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def named_in_errors(path: Path) -> Iterator[None]:
    """An OSError of the block names this file: a write that fails names none, or one that nobody knows."""
    try:
        yield
    except OSError as error:
        error.filename = str(path)
        raise


def write_model(path: Path, arrays: Mapping[str, Array]) -> None:
    """Save named arrays as npz, whole or not at all; never pickled."""
    with whole_file(path) as file:
        np.savez(file, allow_pickle=False, **arrays)


def load_model_arrays(path: Path) -> dict[str, Array]:
    """The arrays of a model, by name, from the npz beside its record; RecordError where they are missing or damaged."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    except FileNotFoundError:
        raise RecordError(f"{path}: there is no such model; a trial keeps none, a run that completed has one") from None
    except Exception as error:  # of damaged files zipfile, zlib and numpy raise a dozen kinds
        said = "" if "pickle" in str(error) else f" ({error})"  # numpy's advice, to read it as pickle, is not ours
        raise RecordError(f"{path}: this model is no whole npz file{said}; remove it, and make the run again") from None


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
