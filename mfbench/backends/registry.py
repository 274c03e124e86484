"""Finding backends by name: built-in ones, those of installed packages, and those in a user's own file.

Importing this module loads no backend: jax, optax and the like are imported when a backend that needs them is resolved.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, cast

from pydantic import TypeAdapter, ValidationError

from mfbench.backends.base import Backend
from mfbench.core.errors import SpecError
from mfbench.core.own_code import files_digest, own_digest, own_object
from mfbench.spec.faults import fault

BUILT_IN = {
    "loop": "mfbench.backends.loop:Loop",
    "numba": "mfbench.backends.numba:Numba",
    "jax": "mfbench.backends.jax:Jax",
    "adam": "mfbench.backends.adam:Adam",
    "mlp": "mfbench.backends.mlp:Mlp",
    "als": "mfbench.backends.als:Als",
    "bmf": "mfbench.backends.bmf:Bmf",
    "mean": "mfbench.backends.mean:Mean",
}
PEERS = {
    "surprise": "mfbench.backends.peers.known:Surprise",
    "surprise-svdpp": "mfbench.backends.peers.known:SurpriseSvdpp",
    "surprise-baseline": "mfbench.backends.peers.known:SurpriseBaseline",
    "myfm": "mfbench.backends.peers.known:Myfm",
    "cornac": "mfbench.backends.peers.known:Cornac",
    "lenskit": "mfbench.backends.peers.known:Lenskit",
    "keras": "mfbench.backends.peers.known:Keras",
    "cmfrec": "mfbench.backends.peers.known:Cmfrec",
    "spark": "mfbench.backends.peers.known:Spark",
}
"""Other libraries, each in an environment of its own; see `backends.peers`."""
GROUP = "mfbench.backends"
"""The entry point group in which an installed package offers backends."""


def names() -> list[str]:
    """The names of the built-in backends, then of the peers, then of those in installed packages."""
    return [*BUILT_IN, *PEERS, *sorted(_installed())]


def resolve(name: str, options: Mapping[str, Any], where: str | None = None) -> Backend:
    """The backend `name`, with `options` as the values of its knobs.

    name: one of `names()`, or `path/to/mine.py:Mine`, or `package.module:Mine`. where: the key of the options in the spec,
    for error messages. SpecError for an unknown name, a class that is not a backend, an unknown knob or an invalid value.
    """
    backend = _class(name)
    known = [field.name for field in _knobs(backend)]
    where = where or f"model.options.{name}"
    for key in options:
        if key not in known:
            there = f"choose from {', '.join(known)}" if known else f"{name} has no knobs; remove it"
            raise SpecError(f"{where}.{key}: unknown key; {there}")
    try:
        # Validated as JSON: strict on types like a spec, but a list is accepted for a tuple.
        made = _adapter(backend).validate_json(json.dumps(dict(options), default=str), strict=True)
    except SpecError as error:  # a backend's own check; its message starts with the knob
        raise SpecError(f"{where}.{error}") from None
    except ValidationError as error:
        wrong = fault(error)
        raise SpecError(f"{where}.{wrong.key}: {wrong.says}") from None
    return cast(Backend, made)


def tunable(name: str) -> frozenset[str]:
    """Which of K, alpha and beta the backend uses."""
    parameters: frozenset[str] = _class(name).tunable
    return parameters


def in_one_go(name: str) -> bool:
    """Whether the backend trains without epochs, as some peers do; its runs then have one."""
    return bool(getattr(_class(name), "in_one_go", False))


def knobs(backend: Backend) -> dict[str, Any]:
    """The knobs of a backend and their values."""
    return {field.name: getattr(backend, field.name) for field in _knobs(backend)}


def digest(name: str) -> str | None:
    """16 hex digits of a digest of the file that defines a user's own backend; None for a built-in one.

    Of a peer, the digest is that of its adapter and its pins, for one of the user's own of that file too.
    """
    if name in BUILT_IN:
        return None
    source: tuple[Path, ...] = getattr(_class(name), "source", tuple)()
    if name in PEERS:
        return files_digest(*source)
    return own_digest(name if ":" in name else _installed()[name].value, *source)


def backend_class(name: str) -> Any:
    """The dataclass of that name; SpecError as in `resolve`."""
    return _class(name)


def describe(name: str) -> dict[str, Any]:
    """A description for people: `name`, `what` it is, what is `tunable`, and its `knobs` with their defaults (or None)."""
    backend = _class(name)
    return {
        "name": name,
        "what": (inspect.getdoc(backend) or "").partition("\n")[0].rstrip(".:"),
        "tunable": [one for one in ("K", "alpha", "beta") if one in backend.tunable],
        "knobs": {field.name: _default(field) for field in _knobs(backend)},
    }


@cache
def _adapter(backend: Any) -> TypeAdapter[Any]:
    return TypeAdapter(backend)  # cached, as building one takes milliseconds


def _knobs(backend: Any) -> list[dataclasses.Field[Any]]:
    return [field for field in dataclasses.fields(backend) if field.init]


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return None if field.default is dataclasses.MISSING else field.default


# --- from a name to a class ------------------------------------------------------------------------------------------


def _class(name: str) -> Any:
    loaded = _load(name)
    lacks = [part for part in ("tunable", "arrange", "epochs") if not hasattr(loaded, part)]
    if not inspect.isclass(loaded) or lacks:
        why = f"it lacks {', '.join(lacks)}" if lacks else "it is not a class"
        raise SpecError(f"backend: {name} is not a backend: {why}; see mfbench.backends.base for the interface")
    if not dataclasses.is_dataclass(loaded):
        raise SpecError(f"backend: {name} is not a dataclass; put @dataclass(frozen=True) above class {loaded.__name__}")
    return loaded


def _load(name: str) -> Any:
    target = BUILT_IN.get(name) or PEERS.get(name, name)
    if ":" in target:
        return own_object(target, "backend", "class", name)
    entry = _installed().get(name)
    if entry is None:
        raise SpecError(
            f"backend: unknown backend {name!r}; choose from {', '.join(names())}, "
            "or give your own as path/to/mine.py:Mine or package.module:Mine"
        )
    try:
        return entry.load()
    except Exception as error:  # a user's module can raise anything on import
        raise SpecError(f"backend: {name} cannot be imported ({type(error).__name__}: {error})") from error


def _installed() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUP)}
