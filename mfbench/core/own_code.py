"""A user's own code, named in a spec as `path/to/mine.py:Name` or `package.module:Name`."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from mfbench.core.errors import SpecError


def own_object(target: str, key: str, kind: str, shown: str | None = None) -> Any:
    """The object with that name; SpecError if its module cannot be imported or does not have it.

    key: of the spec, and kind: `class` or `function`, for messages. shown: the name that the user knows it by.
    """
    place, _, attribute = target.rpartition(":")
    try:
        module = _module_at(Path(place).expanduser(), key) if place.endswith(".py") else importlib.import_module(place)
    except SpecError:
        raise
    except Exception as error:  # a user's module can raise anything on import
        raise SpecError(f"{key}: {shown or target} cannot be imported ({type(error).__name__}: {error})") from error
    if not hasattr(module, attribute):
        raise SpecError(f"{key}: {place} has no {kind} {attribute!r}; give {place}:{kind.upper()} with the name of its {kind}")
    return getattr(module, attribute)


def own_digest(target: str, *more: Path) -> str:
    """16 hex digits of a digest of the file in which that code is, and of more files."""
    place = target.rpartition(":")[0]
    if not place.endswith(".py"):
        module = importlib.util.find_spec(place)
        place = str(module.origin) if module else ""
    return files_digest(Path(place).expanduser(), *more)


def files_digest(*paths: Path) -> str:
    """16 hex digits of a digest of the content of these files, one after another."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()[:16]


def _module_at(path: Path, key: str) -> ModuleType:
    """The module in a user's file, loaded once for the same path and content."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SpecError(f"{key}: {path} cannot be read ({error.strerror}); give the path of a Python file") from None
    digest = hashlib.sha256(str(path.resolve()).encode() + b"\0" + content).hexdigest()[:12]
    name = f"mfbench_user_{path.stem}_{digest}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # dataclasses look up their module here
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]
