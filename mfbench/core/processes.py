"""The processes of one training: all of them run the same code, and the first alone writes, prints and exports."""

from __future__ import annotations

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
