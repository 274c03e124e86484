"""Files that are written completely or not at all, whatever interrupts the process."""

from __future__ import annotations

import hashlib
import os
import uuid
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from mfbench.core.arrays import Array
from mfbench.core.errors import DataError, RecordError
from mfbench.core.paths import data_home


def write_whole(path: Path, content: bytes, wait: bool = True) -> None:
    """Write a file atomically; see `whole_file`."""
    with whole_file(path, wait) as file:
        file.write(content)


@contextmanager
def whole_file(path: Path, wait: bool = True) -> Iterator[BinaryIO]:
    """Open a file to write atomically: it appears, complete, when the block ends, and not at all if the block raises.

    wait: flush it to disk first, so that a power failure cannot damage it either.
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
    """Make an OSError raised in the block name `path`: a failed write names no file, or the temporary one."""
    try:
        yield
    except OSError as error:
        error.filename = str(path)
        raise


def write_model(path: Path, arrays: Mapping[str, Array]) -> None:
    """Save named arrays as npz, atomically and without pickle."""
    with whole_file(path) as file:
        np.savez(file, allow_pickle=False, **arrays)


class DamagedError(ValueError):
    """A file of arrays is not what was written; the message is the reason, in a few words."""


def file_digest(path: Path) -> str:
    """sha256 of a file's content, in hex; about 2 GB/s."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_arrays(path: Path, digest: str | None = None) -> dict[str, Array]:
    """Read the named arrays of an npz file, without pickle; OSError if it cannot be read, DamagedError if it is damaged.

    digest: the `file_digest` that it must have, so that code which indexes with the arrays can rely on them.
    """
    if path.exists() and not path.is_file():
        raise DamagedError("it is not a file")
    if digest is not None and file_digest(path) != digest:
        raise DamagedError("it is not the file that its card describes")
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > path.stat().st_size:  # ours are not compressed
                raise DamagedError("it unpacks to more than its size")
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)  # reading checks the CRC of each
    except (OSError, DamagedError):
        raise
    except Exception as error:  # zipfile, zlib and numpy raise a dozen kinds for damaged files
        # numpy advises to allow pickle, which we never do
        raise DamagedError("no arrays" if "pickle" in str(error) else " ".join(str(error).split())[:200]) from None


def load_model_arrays(path: Path) -> dict[str, Array]:
    """Read the arrays of a model, by name, from its npz file; RecordError if that is missing or damaged."""
    try:
        return read_arrays(path)
    except FileNotFoundError:
        raise RecordError(f"{path}: no such model file; trials keep no model, so give a plain or final run") from None
    except (OSError, DamagedError) as error:
        why = getattr(error, "strerror", None) or error
        raise RecordError(f"{path}: this file is damaged ({why}); delete it and its record, then train again") from None


@contextmanager
def sole_writer(name: str) -> Iterator[Path]:
    """Create the data home and lock `name` in it, so that one process at a time works on `name` and the others wait.

    Yields the data home; DataError if it is not writable.
    """
    from filelock import FileLock  # here for the start-up time

    home = data_home()
    try:
        home.mkdir(parents=True, exist_ok=True)
        lock = FileLock(home / f".{name}.lock")
        lock.acquire()
    except OSError as error:
        raise DataError(
            f"{home}: data sets cannot be stored there ({error.strerror}); set MFBENCH_DATA to a writable folder"
        ) from None
    try:
        yield home
    finally:
        lock.release()
