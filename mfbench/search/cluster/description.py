"""Which cluster: the address of a scheduler, a YAML file that describes one to start, or processes of this machine."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mfbench.core.errors import InputError, SpecError
from mfbench.spec.faults import fault

LOCAL = {"n_workers": 0, "threads_per_worker": 1, "dashboard_address": None, "memory_limit": 0}
"""The arguments of Dask's LocalCluster for `local:N`."""


class ClusterFile(BaseModel):
    """A cluster to start, from a YAML file, e.g.

        class: dask_jobqueue.SLURMCluster
        arguments: {cores: 4, memory: 8GB, walltime: "04:00:00"}
        workers: 16

    class, arguments: of any class of Dask's cluster managers; without a class, the cluster is there already. workers: how
    many to ask for; or `adapt`, the arguments of its method `adapt`. resources: that a task takes of a worker, e.g.
    `{GPU: 1}`. deadline: seconds without a scored epoch after which the worker of a task is restarted, and seconds to wait
    for the first worker.
    """

    model_config = ConfigDict(extra="forbid")

    name: str | None = Field(None, alias="class")
    arguments: dict[str, Any] = {}
    workers: int = Field(1, ge=1)
    adapt: dict[str, Any] | None = None
    resources: dict[str, float] = {}
    deadline: float = Field(600, gt=0)


def described(where: str) -> ClusterFile:
    """What to start, and what to ask of it; InputError for a file or a number that is not valid.

    where: the address of a scheduler that is there, the path of a YAML file, or `local:N`.
    """
    if where.startswith("local:"):
        count = where.removeprefix("local:")
        if not count.isdigit() or int(count) < 1:
            raise InputError(f"--cluster {where}: give the number of workers, e.g. local:2")
        return ClusterFile.model_validate({"class": "distributed.LocalCluster", "workers": int(count), "arguments": LOCAL})
    if not where.endswith((".yaml", ".yml")):
        return ClusterFile.model_validate({})
    try:
        tree = yaml.safe_load(Path(where).read_text())
        return ClusterFile.model_validate(tree)
    except OSError as error:
        raise SpecError(f"{where}: this file cannot be read ({error.strerror}); give a YAML file with a class") from None
    except yaml.YAMLError as error:
        raise SpecError(f"{where}: this is not YAML ({str(error).splitlines()[0]}); correct it") from None
    except ValidationError as error:
        wrong = fault(error)
        raise SpecError(f"{where}: {wrong.key}: {wrong.says}") from None


def started(file: ClusterFile) -> Any:
    """The cluster of that file, with its workers asked for; None if it describes none to start."""
    if file.name is None:
        return None
    module, _, name = file.name.rpartition(".")
    try:
        make = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(f"class: {file.name} cannot be imported ({error}); install it, or correct its name") from None
    cluster = make(**file.arguments)
    if file.adapt is None:
        cluster.scale(file.workers)
    else:
        cluster.adapt(**file.adapt)
    return cluster
