"""What a process runs on: its memory stage by stage (on Linux only), the machine's, its cores, and its fellow processes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mfbench.core.errors import InputError

STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")


class Memory:
    """Bytes of resident memory: `before` the first stage, then the peak during each stage under the stage's name."""

    def __init__(self) -> None:
        self.bytes: dict[str, int] = {}
        self._keep("before", "VmRSS")
        _reset_peak()

    def mark(self, stage: str) -> None:
        """End `stage` and begin the next one."""
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


def check_memory(what: str, size: int, remedy: str) -> None:
    """InputError if `what` needs more bytes than this machine has: such a size is a slip, and would hang before it fails."""
    total = total_memory()
    if total is not None and size > total:
        gigabytes = [f"{one / 1e9:,.0f} GB" if one < 1e18 else "more memory than any machine has" for one in (size, total)]
        raise InputError(f"{what} needs {gigabytes[0]}, and this machine has {gigabytes[1]} of memory; {remedy}")


OWN_XLA_FLAG = "--xla_cpu_max_isa=AVX"
"""Set by `backends.on_device.accelerator`, so it does not count as a setting of the user's."""


def core_list() -> list[int]:
    """The numbers of the CPU cores that this process may use."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))


@contextmanager
def on_cores(n: int) -> Iterator[None]:
    """Limit this thread, and the threads that it starts, to n cores; no effect on systems without CPU affinity."""
    cores = core_list()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores[: max(1, n)])
    try:
        yield
    finally:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, cores)


# The processes of one training: all of them run the same code, and the first alone writes, prints and exports.
_number, _count = 0, 1


def be_one_of(number: int, count: int) -> None:
    """Make this process number `number`, from 0, of `count`."""
    global _number, _count
    _number, _count = number, count


def leads() -> bool:
    """Whether this is the process that writes: the first, or the only one."""
    return _number == 0


def processes() -> int:
    """The number of processes."""
    return _count
