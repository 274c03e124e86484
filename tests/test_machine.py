"""The memory of the machine: as another library finds it, and unknown where Python has no way to ask."""

from __future__ import annotations

import os

import psutil
import pytest

from mfbench.core.machine import total_memory


def test_the_memory_of_the_machine() -> None:
    if total_memory() is None:
        pytest.skip("Python cannot ask this system for its memory")
    assert total_memory() == pytest.approx(psutil.virtual_memory().total, rel=0.01)


def test_a_system_that_cannot_be_asked_has_unknown_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: str) -> int:
        raise ValueError("unrecognized configuration name")

    monkeypatch.setattr(os, "sysconf", refused, raising=False)
    assert total_memory() is None
    monkeypatch.delattr(os, "sysconf")
    assert total_memory() is None
