"""What there is: backends, data sets, and this machine."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mfbench.backends import registry
from mfbench.backends.on_device.accelerator import devices
from mfbench.commands.start.looking import look
from mfbench.core.errors import InputError
from mfbench.core.machine import total_memory
from mfbench.core.paths import data_home
from mfbench.data.catalogue import catalogue, dataset_named, entry, load
from mfbench.data.prepared import card, summary
from mfbench.report.published.registry import lines_of
from mfbench.runs.environment import environment
from mfbench.spec import load_spec
from mfbench.tracking.store import store_uri


def list_backends() -> list[dict[str, Any]]:
    """All backends: `name`, `what` it is, which of K, alpha and beta are `tunable`, and its `knobs` with their defaults.

    >>> import mfbench
    >>> loop = mfbench.list_backends()[0]
    >>> loop["name"], loop["tunable"]
    ('loop', ['K', 'alpha', 'beta'])
    """
    return [registry.describe(name) for name in registry.names()]


def list_data() -> list[dict[str, Any]]:
    """The data sets that have a name, with their sizes and the licence of their publisher.

    >>> import mfbench
    >>> [one["ratings"] for one in mfbench.list_data() if one["name"] == "ml-1m"]
    [1000209]
    """
    return [one.summary() for one in catalogue()]


def data_info(what: str, changes: Sequence[str] = ()) -> dict[str, Any]:
    """What the data holds; of a data set of the catalogue also what its publisher says, and whether it is `here`.

    what: the name of a data set, the path of a spec (.yaml), or of a file of ratings. changes: to the spec, for a file to its
    data section, e.g. `data.header=false`; what they leave open is found out as by `mfbench new`, and `read_as` is the data
    section of a spec that reads the file so. A data set of the catalogue is not downloaded for this. InputError for an
    unknown name.

    >>> import mfbench
    >>> mfbench.data_info("ml-1m")["users"]
    6040
    """
    if what.endswith((".yaml", ".yml")):
        return summary(load(load_spec(what, changes).data))
    named, here = what in {known.name for known in catalogue()}, Path(what).expanduser().exists()
    if not named and not here and (Path(what).suffix or Path(what).name != what):
        raise InputError(f"{what}: no such file; give its path from the current folder, or a name of `mfbench data list`")
    if named or not here:
        if changes:
            raise InputError(f"--set {changes[0]}: {what} is not a file here; --set is for files and specs")
        return {**entry(what).summary(), "here": card(what) is not None, **(card(what) or {})}
    section, dataset = look(what, changes)
    return {**summary(dataset), "read_as": section}


def get_data(name: str) -> dict[str, Any]:
    """Download a data set of the catalogue, check its hash and prepare it, unless that is done; return what it holds.

    >>> import mfbench
    >>> mfbench.get_data("notebook-6x4")["ratings"]
    16
    """
    found = summary(dataset_named(name))
    digest = (card(name) or {}).get("archive_sha256")
    return {**found, "archive_sha256": digest} if digest else found


def list_references(dataset: str | None = None) -> list[dict[str, Any]]:
    """Published results, of one data set or of all: data, split, metric, value, model and its class, source, caveat.

    `comparable` says whether a split here is the same one. InputError if there are none on that data set.

    >>> import mfbench
    >>> [(one["model"], one["value"]) for one in mfbench.list_references("ml-10m")][0]
    ('biased MF by SGD', 0.7756)
    """
    return [line.as_dict() for line in lines_of(dataset)]


def doctor() -> dict[str, Any]:
    """Versions, cores, memory, JAX devices, and where data and runs are stored, by name.

    >>> import mfbench
    >>> mfbench.doctor()["cores"] >= 1
    True
    """
    found = environment().model_dump(exclude_none=True)
    versions = found.pop("versions")
    memory = total_memory()
    return {
        **found,
        "memory": f"{memory / 2**30:.1f} GiB" if memory else "unknown",
        "devices": devices(),
        **{f"version of {name}": version for name, version in versions.items()},
        "data": str(data_home()),
        "mirror": os.environ.get("MFBENCH_MIRROR", "none"),
        "tracking": store_uri(),
    }
