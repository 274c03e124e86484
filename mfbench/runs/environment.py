"""The environment of a run: versions, code, processor, cores; no host name, user name or absolute path."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field

from mfbench.core.machine import OWN_XLA_FLAG, core_list
from mfbench.core.paths import without_places
from mfbench.runs.checkout import code

PACKAGES = (
    "mfbench", "numpy", "scipy", "numba", "llvmlite", "jax", "jaxlib", "optax", "pandas", "pyarrow", "optuna", "mlflow",
)  # fmt: skip

SETTINGS = (
    "XLA_FLAGS", "JAX_DEFAULT_MATMUL_PRECISION", "JAX_DISABLE_JIT", "NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES", "NUMBA_OPT",
    "NUMBA_DISABLE_JIT", "OPENBLAS_CORETYPE", "NPY_DISABLE_CPU_FEATURES",
)  # fmt: skip
"""Environment variables that can change the bits of a result."""


class Environment(BaseModel):
    """Versions, code (see `checkout.code`), settings, Python, system, processor and its cores.

    threads: the number of cores that the run's process may use; a worker gets its share of them. device: what the backend
    computes on. A field is None if it was not recorded, for example in a record older than the field.
    """

    python: str | None = None
    system: str | None = None
    cpu: str | None = None
    cores: int | None = None
    source: str | None = None
    git_commit: str | None = None
    git_dirty: bool | None = None
    git_diff: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None  # also the name of a file
    settings: dict[str, str] | None = None
    versions: dict[str, str | None] | None = None
    device: dict[str, str] | None = None
    threads: int | None = None


def environment(device: Mapping[str, str] | None = None) -> Environment:
    """The environment of this process, for a run that computes on this device."""
    return _fixed().model_copy(update={"threads": len(core_list()), "device": device and dict(device)})


@cache
def _fixed() -> Environment:
    return Environment(
        python=platform.python_version(),
        system=f"{platform.system()} {platform.machine()}",
        cpu=_cpu(),
        cores=os.cpu_count() or 1,
        **code(),
        settings={name: value for name in SETTINGS if (value := _setting(name))},
        versions={**{name: _version(name) for name in PACKAGES}, "blas": _blas()},
    )


def _setting(name: str) -> str:
    words = os.environ.get(name, "").split()
    return without_places(" ".join(word for word in words if word != OWN_XLA_FLAG))


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _blas() -> str | None:
    """The BLAS library of NumPy: builds of the same NumPy version differ in it, and each library sums in its own order."""
    import numpy as np  # not at the top, to keep start-up fast

    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return f"{blas['name']} {blas['version']}" if blas.get("found") else None


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
