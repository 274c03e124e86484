"""Waiting for what another process does, and not for ever."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import pytest

T = TypeVar("T")

SECONDS = 60.0


def wait_until(condition: Callable[[], T], seconds: float = SECONDS) -> T:
    """What the condition gives as soon as it is true; the test fails where that takes too long."""
    __tracebackhide__ = True
    end = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > end:
            pytest.fail(f"this did not come true within {seconds:g} seconds")
        time.sleep(0.005)
    return found
