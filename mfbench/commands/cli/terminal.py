"""How the command line speaks: to people, or one line of JSON to programs."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, NoReturn

import typer

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on the last line of stdout.")]


def show(for_people: Any, as_json: bool, summary: dict[str, Any]) -> None:
    """What a command found: for people where there is something for them, and as JSON where that is asked for."""
    if for_people is not None:
        say(for_people, as_json)
    if as_json:
        sys.stdout.write(json.dumps(summary) + "\n")


def say(for_people: Any, as_json: bool) -> None:
    """A sentence or a table of rich's, on stdout, or on stderr where stdout is for JSON."""
    from rich.console import Console
    from rich.measure import Measurement

    console = Console(stderr=as_json)
    if isinstance(for_people, str):
        console.print(for_people, highlight=False, soft_wrap=True)
        return
    # A row that a narrow terminal wraps is still whole; one cut to fit has lost its numbers.
    needed = Measurement.get(console, console.options.update(width=1000), for_people).minimum
    Console(stderr=as_json, width=max(console.width, needed)).print(for_people, highlight=False)


def warn(sentence: str) -> None:
    """On stderr."""
    print(f"mfbench: {sentence}", file=sys.stderr)  # noqa: T201


def fail(sentence: str, code: int = 1) -> NoReturn:
    """Say what went wrong, and end with that exit code."""
    warn(sentence)
    raise typer.Exit(code)


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
