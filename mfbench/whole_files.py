"""Files that are there completely or not at all, whatever stops the process that writes them."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


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
