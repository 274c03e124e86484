"""What a record's backends would import, found out without importing it: a record may come from somebody else."""

from __future__ import annotations

import importlib.util
import site
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

CODE = ":"  # in a name: path/to/mine.py:Mine or package.module:Mine


def named_code(tree: Any) -> Iterator[str]:
    """The names of code, as `mine.py:Mine`, among the keys and values of a part of a spec."""
    if isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from named_code(key)
            yield from named_code(value)
    elif isinstance(tree, str):
        place, colon, attribute = tree.rpartition(CODE)
        if colon and place and attribute.isidentifier():
            yield tree
    elif isinstance(tree, Iterable):
        for value in tree:
            yield from named_code(value)


def is_installed(name: str) -> bool:
    """Whether importing this code runs only what is installed; True too if nothing can be imported under that name.

    The standard library does not count: it has no backends, and modules that do things when they are imported.
    """
    place = name.rpartition(CODE)[0]
    if place.endswith(".py"):
        return False
    top = place.partition(".")[0]
    if top in sys.stdlib_module_names:
        return False
    location = _location(top)
    if location is None or top == "mfbench":
        return True
    packages = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), site.getusersitepackages()]
    if any(location.is_relative_to(Path(folder).resolve()) for folder in packages):
        return True
    return not location.is_relative_to(Path.cwd()) and top in packages_distributions()  # installed as editable


def is_within(name: str, folder: Path) -> bool:
    """Whether the file or package that this name would import lies in the folder, links followed."""
    place = name.rpartition(CODE)[0]
    location = Path(place).expanduser().resolve() if place.endswith(".py") else _location(place.partition(".")[0])
    return location is not None and location.is_relative_to(folder.resolve())


def _location(top: str) -> Path | None:
    """The file or folder of a top-level package, which finding does not import; None if there is none."""
    try:
        found = importlib.util.find_spec(top)
    except (ValueError, ImportError):
        return None
    if found is None:
        return None
    place = found.origin or next(iter(found.submodule_search_locations or ()), None)
    return Path(place).resolve() if place else None
