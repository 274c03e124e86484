"""The commands on suites and claims."""

from __future__ import annotations

from typing import Annotated

import typer

from mfbench.commands.cli import completion
from mfbench.commands.cli.terminal import AsJson, Trust, fail, say, seconds, show, stoppable, warn

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


@app.command()
def claim(
    what: Annotated[
        str, typer.Argument(metavar="SPEC|SUITE", help="A sweep or a suite that is finished.", autocompletion=completion.specs)
    ],
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="The changes with which it ran; repeatable.")
    ] = None,
    out: Annotated[str | None, typer.Option(metavar="FILE", help="The file; default: results/NAME/claim.json.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write results as one file that others can check.

    It has every cell of the table with the records of its runs: their spec, code and versions, and how often their test part
    had been opened. Nothing is trained.
    """
    import mfbench

    found = mfbench.claim(what, changes or (), out)
    for sentence in found.warnings:
        warn(sentence)
    said = f"wrote the claim: {found.path}; check it elsewhere with `mfbench verify {found.path.name}`"
    show(said, as_json, found.summary())


@app.command()
def verify(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A file that `mfbench claim` wrote.")],
    sample: Annotated[int | None, typer.Option(min=1, help="Check only so many cells, drawn at random.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="The seed of that sample; choose one of your own.")] = 0,
    trust: Trust = False,
    as_json: AsJson = False,
) -> None:
    """Make the runs of a claim again; say which cells agree.

    Each agrees to the bit, within the tolerance for another machine, or not. The exit code is 0 if all agree. The searches are
    not made again; `mfbench suite` does that.
    """
    import mfbench

    with stoppable("nothing is changed; rerun the command to start again"):
        found = mfbench.verify(file, sample, seed, trust)
    say(found.drawn(), as_json)
    for one in found.cells:
        if one.says:
            say(f"{one.dataset}, {one.backend}: {one.says}", as_json)
    show(found.sentence, as_json, found.summary())
    raise typer.Exit(0 if found.verified else 1)
