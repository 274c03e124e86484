"""Which peers there are, and getting and removing one by its name."""

from __future__ import annotations

from typing import Any

from mfbench.backends import registry
from mfbench.backends.peers.environments import check_name, folders
from mfbench.backends.peers.peer import Peer
from mfbench.core.errors import InputError


def list_peers() -> list[dict[str, Any]]:
    """The peers with their `backends`, the `version` that is installed or None, and the `state` of their environments.

    After those of mfbench, the environments of other names in the same folder, whose peers are the user's own.
    """
    found = [_described(name) for name in _known()]
    others = [name for name in folders() if name not in _known()]
    return found + [{"name": name, "backends": [], "version": None, "state": "ready", "package": ""} for name in others]


def get_peer(name: str) -> dict[str, Any]:
    """Install a peer in an environment of its own, unless it is there; return what `list_peers` says of it.

    name: of a peer, of one of its backends, or of the user's own class, `mine.py:Mine`. InputError for another name, WorkError
    if it cannot be installed.
    """
    peer = _peer(name)
    check_name(peer.peer)
    versions = peer.environment().get().versions()
    return {**_described(name), "versions": versions, "path": str(peer.environment().folder)}


def remove_peer(name: str) -> dict[str, Any]:
    """Delete the environment of a peer, named as for `get_peer`; `removed` says whether there was one."""
    peer = _peer(name)
    return {"name": peer.peer, "removed": peer.environment().remove()}


def _known() -> dict[str, list[str]]:
    """The backends of each peer."""
    found: dict[str, list[str]] = {}
    for name in registry.PEERS:
        found.setdefault(registry.backend_class(name).peer, []).append(name)
    return found


def _peer(name: str) -> type[Peer]:
    known = _known()
    if name not in known and name not in registry.PEERS and ":" not in name:
        raise InputError(f"peer: unknown peer {name!r}; choose from {', '.join(known)}, or give your own as mine.py:Mine")
    found: Any = registry.backend_class(known.get(name, [name])[0])
    if not issubclass(found, Peer):
        raise InputError(f"peer: {name} is not a peer; derive its class from mfbench.backends.peers.peer.Peer")
    peer: type[Peer] = found
    return peer


def _described(name: str) -> dict[str, Any]:
    peer = _peer(name)
    environment = peer.environment()
    version = environment.versions().get(peer.package)
    backends = _known().get(peer.peer, [name])
    return {
        "name": peer.peer, "backends": backends, "package": peer.package, "version": version, "state": environment.state,
    }  # fmt: skip
