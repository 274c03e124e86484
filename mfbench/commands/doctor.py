"""What `mfbench doctor` reports about this machine."""

from __future__ import annotations

import os
from typing import Any

from mfbench.backends.on_device.accelerator import devices
from mfbench.core.machine import total_memory
from mfbench.core.paths import data_home
from mfbench.runs.environment import environment
from mfbench.tracking.store import store_uri


def findings() -> dict[str, Any]:
    """Versions, cores, memory, JAX devices, and where data and runs are stored, by name."""
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
