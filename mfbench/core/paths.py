"""The standard folders, and paths in the portable form that records store."""

from __future__ import annotations

import os
import re
from pathlib import Path

RUNS = Path("runs")


RESULTS = Path("results")


def data_home() -> Path:
    """The folder of archives and prepared data sets: `MFBENCH_DATA`, by default `data` in the current folder."""
    return Path(os.environ.get("MFBENCH_DATA") or "data").expanduser()


def file_safe(backend: str) -> str:
    """The name of a backend as part of a file's or a metric's: `my_mine.py_Mine` for `my/mine.py:Mine`."""
    return backend.replace("/", "_").replace(":", "_")


def portable(path: str) -> str:
    """A user's path as a record stores it: relative to the current folder, or below the home folder as `~/...`.

    A path outside both is relative to the current folder, with `..`. A relative path is returned unchanged.
    """
    if not Path(path).is_absolute():
        return path
    absolute, here, home = (place.resolve() for place in (Path(path), Path.cwd(), Path.home()))
    if absolute.is_relative_to(here):
        return absolute.relative_to(here).as_posix()
    if absolute.is_relative_to(home):
        return f"~/{absolute.relative_to(home).as_posix()}"
    return Path(os.path.relpath(absolute, here)).as_posix()


def without_places(text: str) -> str:
    """The text (an error message, say) with the current folder shown as `.` and the home folder as `~`."""
    for place, shown in ((Path.cwd(), "."), (Path.home(), "~")):
        if place != Path(place.anchor):
            text = re.sub(rf"{re.escape(str(place))}(?=$|[^\w.-])", shown, text)
    return text
