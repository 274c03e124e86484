"""Where things live on this machine, and paths as they may stand in a record."""

from __future__ import annotations

import os
import re
from pathlib import Path

RUNS = Path("runs")


RESULTS = Path("results")


def data_home() -> Path:
    """The folder of archives and prepared data sets: `MFBENCH_DATA`, by default `data` under the current folder."""
    return Path(os.environ.get("MFBENCH_DATA") or "data").expanduser()


def file_safe(backend: str) -> str:
    """The name of a backend as part of a file's or a metric's: `my_mine.py_Mine` for `my/mine.py:Mine`."""
    return backend.replace("/", "_").replace(":", "_")


def portable(path: str) -> str:
    """A path of the user's as it may stand in a record: from the current folder, or from the home folder as `~/...`.

    One that is in neither is told from the current folder with `..`; one that is not absolute stays as it is.
    """
    if not Path(path).is_absolute():
        return path
    whole, here, home = (one.resolve() for one in (Path(path), Path.cwd(), Path.home()))
    if whole.is_relative_to(here):
        return whole.relative_to(here).as_posix()
    if whole.is_relative_to(home):
        return f"~/{whole.relative_to(home).as_posix()}"
    return Path(os.path.relpath(whole, here)).as_posix()


def without_places(text: str) -> str:
    """A text, such as the message of an error, without the paths of the current and the home folder in it."""
    for place, shown in ((Path.cwd(), "."), (Path.home(), "~")):
        if place != Path(place.anchor):
            text = re.sub(rf"{re.escape(str(place))}(?=$|[^\w.-])", shown, text)
    return text
