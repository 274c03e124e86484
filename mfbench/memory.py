"""The memory of this process, stage by stage; nothing is said where the system does not tell (Linux does)."""

from __future__ import annotations

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
