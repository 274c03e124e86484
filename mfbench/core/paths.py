"""The standard folders, and paths in the portable form that records store."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

DVC_EXPERIMENTS = Path(".dvc/tmp/exps")


def workspace() -> Path:
    """The folder that holds records and the exports: the current one, `Path()`, except inside a DVC experiment.

    `dvc exp run --temp` and `dvc queue` run stages in a temporary copy of the project and then delete it. There, the
    workspace is the project itself, which DVC names in `DVC_ROOT`: a record or an opening of the test part must outlive
    the copy, also if the experiment fails or is removed.
    """
    here, root = Path.cwd(), os.environ.get("DVC_ROOT")
    if not root or not here.is_relative_to(Path(root).resolve() / DVC_EXPERIMENTS):
        return Path()
    copy = next(folder for folder in (here, *here.parents) if (folder / ".dvc").is_dir())
    return Path(root).resolve() / here.relative_to(copy)


RUNS = workspace() / "runs"
RESULTS = Path("results")


def data_home() -> Path:
    """The folder of archives and prepared data sets: `MFBENCH_DATA`, by default `data` in the current folder."""
    return Path(os.environ.get("MFBENCH_DATA") or "data").expanduser()


def peers_home() -> Path:
    """The folder of the peers' environments: `MFBENCH_PEERS`, by default `mfbench/peers` in the user's folder for data."""
    if given := os.environ.get("MFBENCH_PEERS"):
        return Path(given).expanduser().absolute()
    places = {"darwin": "~/Library/Application Support", "win32": os.environ.get("LOCALAPPDATA", "~")}
    base = os.environ.get("XDG_DATA_HOME") or places.get(sys.platform, "~/.local/share")
    return Path(base).expanduser() / "mfbench" / "peers"


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


_ROOT = r"(?:/(?!/)|[A-Za-z]:[/\\]+)"
_QUOTED = re.compile(rf"""(?<=['"`]){_ROOT}(?:[^'"`\n/\\]+[/\\]+)*(?=[^'"`\n/\\]+[/\\]?['"`])""")
_BARE = re.compile(rf"""(?:(?<![\w.~/…-])|(?<=://)|(?<=:///)){_ROOT}(?:[^\s'"`/\\:;,=|<>()\[\]{{}}]+[/\\]+)+""")


def without_places(text: str) -> str:
    """The text (an error message, say) with the current folder as `.`, the home folder as `~`, and any other as `…`.

    >>> without_places("[Errno 2] No such file or directory: '/mnt/somebody/x y.csv', a/b/c, https://a.org/b, rows/s")
    "[Errno 2] No such file or directory: '…/x y.csv', a/b/c, https://a.org/b, rows/s"
    """
    for place, shown in ((Path.cwd(), "."), (Path.home(), "~")):
        if place != Path(place.anchor):
            text = re.sub(rf"{re.escape(str(place))}(?=$|[^\w.-])", shown, text)
    return _BARE.sub("…/", _QUOTED.sub("…/", text))
