"""What a run was made with: versions, commit, processor; no host name, user name or absolute path."""

from __future__ import annotations

import os
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import mfbench

PACKAGES = ("mfbench", "numpy", "scipy", "numba", "jax", "jaxlib", "optax", "optuna", "mlflow", "pandas")


@cache
def environment() -> dict[str, Any]:
    """Versions, git commit (with whether the tree was dirty, `results/` aside), processor, cores, Python and system."""
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu(),
        "cores": len(core_list()),
        **_git(),
        "versions": {name: _version(name) for name in PACKAGES},
    }


def core_list() -> list[int]:
    """The cores that this process may use, by number."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def _git() -> dict[str, Any]:
    """The commit of the checkout that mfbench runs from; empty where it was installed from a package."""
    root = Path(mfbench.__file__).parents[1]
    if not (root / ".git").exists():
        return {"git_commit": None, "git_dirty": None}

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=False)
        except OSError:
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    status = git("status", "--porcelain", "--", ".", ":!results")
    return {"git_commit": git("rev-parse", "HEAD"), "git_dirty": None if status is None else bool(status)}
