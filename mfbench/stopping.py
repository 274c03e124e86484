"""Being stopped by ^C or SIGTERM: one sentence, and the exit code that a shell expects."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from mfbench.saying import fail


class Terminated(KeyboardInterrupt):
    """SIGTERM came; all that holds for ^C holds for it."""


def terminate(*_: object) -> NoReturn:
    """The handler of SIGTERM."""
    raise Terminated


@contextmanager
def stoppable(what_is_kept: str) -> Iterator[None]:
    """A command that ^C or SIGTERM may end: one sentence, and the exit code that a shell expects."""
    try:
        yield
    except KeyboardInterrupt as stop:
        fail(f"stopped; {what_is_kept}", 128 + (signal.SIGTERM if isinstance(stop, Terminated) else signal.SIGINT))
