"""The memory of this process, stage by stage, and of the machine, and its cores; what a system does not tell is left out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")


class Memory:
    """Bytes: what was resident `before`, then under each stage's name the peak while it lasted."""

    def __init__(self) -> None:
        self.bytes: dict[str, int] = {}
        self._keep("before", "VmRSS")
        _reset_peak()

    def mark(self, stage: str) -> None:
        """A stage ends here, and the next begins."""
        self._keep(stage, "VmHWM")
        _reset_peak()

    def _keep(self, stage: str, field: str) -> None:
        try:
            lines = STATUS.read_text().splitlines()
        except OSError:
            return
        for line in lines:
            if line.startswith(f"{field}:"):
                self.bytes[stage] = int(line.split()[1]) * 1024


def _reset_peak() -> None:
    try:
        CLEAR.write_text("5")  # proc(5): resets the peak resident set size
    except OSError:
        return


def total_memory() -> int | None:
    """Bytes of memory in this machine; None where Python cannot ask for them, as on Windows."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


OWN_XLA_FLAG = "--xla_cpu_max_isa=AVX"
"""Set by `backends.accelerator`, and so no setting of the user's."""


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
