"""The commands that move records about."""

from __future__ import annotations

from typing import Annotated

import typer

from mfbench.commands.cli.terminal import AsJson, show, warn

app = typer.Typer()


@app.command()
def merge(
    other: Annotated[str, typer.Argument(metavar="OTHER", help="Another runs folder, e.g. from another machine.")],
    as_json: AsJson = False,
) -> None:
    """Bring in the records of another runs folder; resume from them.

    Only records that are whole and unchanged are taken, each run once. A run that is here with another result stays as it is,
    and is named; the exit code is then 1.
    """
    import mfbench

    merged = mfbench.merge(other)
    for sentence in merged.others:
        warn(sentence)
    found = f"{len(merged.added)} new runs, {merged.same} that were here already, {len(merged.others)} left out"
    show(f"{found}; `mfbench sync` exports new ones to MLflow", as_json, merged.summary())
    if merged.others:
        raise typer.Exit(1)
