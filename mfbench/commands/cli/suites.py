"""The command on suites."""

from __future__ import annotations

from typing import Annotated

import typer

from mfbench.commands.cli import completion
from mfbench.commands.cli.terminal import AsJson, fail, say, seconds, show, stoppable, warn

app = typer.Typer()

SuiteFile = Annotated[
    str,
    typer.Argument(metavar="SUITE", help="The suite: a spec with datasets in place of data.", autocompletion=completion.specs),
]


@app.command()
def suite(
    suite: SuiteFile,
    workers: Annotated[int, typer.Option(min=1, help="Number of processes that train in parallel.")] = 1,
    timeout: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Stop at the end of a batch after this time (90s, 10m, 1h), without a table."),
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(metavar="WHERE", help="Train the trials on a Dask cluster: ADDRESS, FILE.yaml or local:N."),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Override a key of all its specs, e.g. --set sweep.trials=5; repeatable."
        ),
    ] = None,
    out: Annotated[str | None, typer.Option(metavar="FOLDER", help="Where to; default: results/SUITE.")] = None,
    as_json: AsJson = False,
) -> None:
    """Sweep one spec on several data sets; write one table.

    The sweeps run one after the other, and rerunning the command resumes them. The table has the test RMSE of each backend on
    each data set, with what can be told apart and average ranks; it is written with its pictures to results/.
    """
    import mfbench

    with stoppable("finished trials are saved; rerun the command to resume"):
        found = mfbench.suite(suite, workers, changes or (), seconds(timeout) if timeout else None, cluster, out)
    if found.stopped:
        warn(f"{found.stopped}; rerun the command to resume")
        show(None, as_json, found.summary())
        return
    show(found.table.drawn(), as_json, found.summary())
    say(f"wrote the table, pictures and a page: {found.path}", as_json)
    if found.failures:
        fail("; ".join(found.failures))
