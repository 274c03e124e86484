"""What a run was made with: versions, code, processor, cores; no host name, user name or absolute path."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from mfbench.checkout import code

PACKAGES = (
    "mfbench", "numpy", "scipy", "numba", "llvmlite", "jax", "jaxlib", "optax", "pandas", "pyarrow", "optuna", "mlflow",
)  # fmt: skip

SETTINGS = (
    "XLA_FLAGS", "JAX_DEFAULT_MATMUL_PRECISION", "JAX_DISABLE_JIT", "NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES", "NUMBA_OPT",
    "NUMBA_DISABLE_JIT", "OPENBLAS_CORETYPE", "NPY_DISABLE_CPU_FEATURES",
)  # fmt: skip
"""Variables of the environment that can change a bit."""

OWN_XLA_FLAG = "--xla_cpu_max_isa=AVX"
"""Set by `backends.accelerator`, and so no setting of the user's."""


def environment() -> dict[str, Any]:
    """Versions, code (see `checkout.code`), settings, Python, system, processor, its cores, the threads that a run may use.

    threads: the number of cores that this process may use; a worker has its share of them.
    """
    return {**_fixed(), "threads": len(core_list())}


@cache
def _fixed() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu(),
        "cores": os.cpu_count() or 1,
        **code(),
        "settings": {name: value for name in SETTINGS if (value := _setting(name))},
        "versions": {**{name: _version(name) for name in PACKAGES}, "blas": _blas()},
    }


def core_list() -> list[int]:
    """The cores that this process may use, by number."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


@contextmanager
def on_cores(n: int) -> Iterator[None]:
    """This thread, and those that it starts, use n cores, or all where there are fewer; where the system can."""
    there = core_list()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, there[: max(1, n)])
    try:
        yield
    finally:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, there)


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


def _setting(name: str) -> str:
    words = os.environ.get(name, "").split()
    return without_places(" ".join(word for word in words if word != OWN_XLA_FLAG))


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _blas() -> str | None:
    """The library behind NumPy's dot products: the same NumPy comes with one or another, and they sum in other orders."""
    import numpy as np  # here for the start-up time

    found = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return f"{found['name']} {found['version']}" if found.get("found") else None


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
