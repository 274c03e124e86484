"""`data info`: what a data set, a file of the user's, or the data of a spec holds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mfbench.core.errors import InputError
from mfbench.data.catalogue import catalogue, entry, load
from mfbench.data.prepared import card, summary
from mfbench.spec import load_spec


def information(what: str, changes: Sequence[str] = ()) -> dict[str, Any]:
    """The `summary` of the data; of a data set of the catalogue also its facts, and whether it is `here`.

    what: the name of a data set, the path of a spec (.yaml), or of a file of ratings. changes: to the spec, for a file to its
    data section, e.g. `data.header=false`. A data set of the catalogue is not downloaded for this.
    """
    if what.endswith((".yaml", ".yml")):
        return summary(load(load_spec(what, changes).data))
    if what in {known.name for known in catalogue()} or not Path(what).expanduser().exists():
        if changes:
            raise InputError(f"--set {changes[0]}: {what} is not a file here; --set is for files and specs")
        return {**entry(what).summary(), "here": card(what) is not None, **(card(what) or {})}
    return summary(load(load_spec({"name": "info", "data": {"file": what}, "split": {"kind": "none"}}, changes).data))
