"""Output of the command line: text for people, or one line of JSON for programs."""

from __future__ import annotations

import json
import re
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, NoReturn, TextIO

import typer

from mfbench.core.errors import InputError, LeftOutWarning, in_one_line
from mfbench.core.inert import visible_lines

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line of stdout.")]

Trust = Annotated[
    bool, typer.Option("--trust", help="Import code and read files that the record names, even from outside this project.")
]


def seconds(duration: str) -> float:
    """A time as `--timeout` takes it: 90s, 10m or 1h."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", duration)
    if not found:
        raise InputError(f"--timeout {duration}: not a time; write a number with s, m or h, e.g. 90s, 10m or 1h")
    return float(found[1]) * {"s": 1, "m": 60, "h": 3600}[found[2]]


def show(for_people: Any, as_json: bool, summary: dict[str, Any]) -> None:
    """Print the result of a command: for people, unless it is None, and as JSON if asked for."""
    if for_people is not None:
        say(for_people, as_json)
    if as_json:
        sys.stdout.write(json.dumps(summary) + "\n")


def say(for_people: Any, as_json: bool) -> None:
    """Print a sentence or a table of rich's to stdout, or to stderr if stdout is for JSON; control characters are shown."""
    from rich.console import Console
    from rich.measure import Measurement

    # No markup: a title may have brackets in it.
    console = Console(stderr=as_json, markup=False, emoji=False)
    if isinstance(for_people, str):
        console.print(visible_lines(for_people), highlight=False, soft_wrap=True)
        return
    # Too narrow a terminal wraps the rows; rich would cut them off, and numbers with them.
    needed = Measurement.get(console, console.options.update(width=1000), for_people).minimum
    wide = max(console.width, needed)
    Console(stderr=as_json, markup=False, emoji=False, width=wide).print(for_people, highlight=False)


def say_beside(drawn: Sequence[Any], as_json: bool) -> None:
    """Print tables of rich's side by side, or if the terminal is too narrow one below the other."""
    from rich.console import Console
    from rich.measure import Measurement
    from rich.table import Table

    row = Table.grid(padding=(0, 4))
    row.add_row(*drawn)
    console = Console(stderr=as_json, markup=False, emoji=False)
    fits = Measurement.get(console, console.options.update(width=1000), row).minimum <= console.width
    for one in [row] if drawn and fits else drawn:
        say(one, as_json)


def warn(sentence: str) -> None:
    """Print a sentence to stderr, `in_one_line`."""
    print(f"mfbench: {in_one_line(sentence)}", file=sys.stderr)  # noqa: T201


def say_what_is_left_out() -> None:
    """From now on, print a LeftOutWarning as a sentence of our own; called again, it changes nothing."""
    others = warnings.showwarning
    if others.__module__ == __name__:
        return

    def shown(
        message: Warning | str, category: type[Warning], filename: str, lineno: int,
        file: TextIO | None = None, line: str | None = None,
    ) -> None:  # fmt: skip
        if issubclass(category, LeftOutWarning):
            warn(str(message))
        else:
            others(message, category, filename, lineno, file, line)

    warnings.showwarning = shown


def fail(sentence: str, code: int = 1) -> NoReturn:
    """Print what went wrong to stderr, and exit with that code."""
    warn(sentence)
    raise typer.Exit(code)


class Terminated(KeyboardInterrupt):
    """SIGTERM was received; it is handled like Ctrl-C."""


def terminate(*_: object) -> NoReturn:
    """The handler of SIGTERM."""
    raise Terminated


@contextmanager
def stoppable(advice: str) -> Iterator[None]:
    """Turn Ctrl-C or SIGTERM in the block into one sentence, with this advice, and the exit code that shells expect."""
    try:
        yield
    except KeyboardInterrupt as stop:
        fail(f"stopped; {advice}", 128 + (signal.SIGTERM if isinstance(stop, Terminated) else signal.SIGINT))
