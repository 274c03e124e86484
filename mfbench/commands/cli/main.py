"""The entry point, and the commands that make, compare and export runs. Slow imports are inside the commands."""

from __future__ import annotations

import gc
import signal
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

import mfbench
from mfbench.commands.cli import completion, inventory, models, records, starting, suites, tracking
from mfbench.commands.cli.processes import among
from mfbench.commands.cli.terminal import (
    AsJson,
    Trust,
    fail,
    say,
    say_beside,
    say_what_is_left_out,
    seconds,
    show,
    stoppable,
    terminate,
    warn,
)
from mfbench.core.errors import MfbenchError, is_disk_full, of_the_machine
from mfbench.core.machine import leads

if TYPE_CHECKING:
    from mfbench.search.audit import Audit

app = typer.Typer(
    help="Train, tune and compare matrix factorizations of ratings, R ≈ P Qᵀ.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # importing rich would double the time of --help
)
app.add_typer(starting.app)
app.add_typer(tracking.app)
app.add_typer(models.app)
app.add_typer(inventory.app)
app.add_typer(records.app)
app.add_typer(suites.app)

SpecFile = Annotated[
    str,
    typer.Argument(
        metavar="SPEC", help="The spec, a YAML file; `mfbench new NAME` writes one.", autocompletion=completion.specs
    ),
]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key of the spec, e.g. --set model.K=32; repeatable."),
]


def _version(asked: bool) -> None:
    if asked:
        sys.stdout.write(f"mfbench {mfbench.__version__}\n")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options before a command."""


def main() -> None:
    """Run the command line; an MfbenchError becomes one sentence on stderr and its exit code."""
    signal.signal(signal.SIGTERM, terminate)
    # Modules and records stay: to look through them for cycles time and again takes a quarter of `compare`.
    gc.set_threshold(100_000, 50, 100)
    say_what_is_left_out()
    try:
        try:
            app(prog_name="mfbench")  # whatever it was started as, completion is for this name
        except OSError as error:
            if error.filename is None and not is_disk_full(error):
                raise
            raise of_the_machine(error) from error
    except MfbenchError as error:
        print(f"mfbench: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(error.exit_code)


@app.command()
def run(
    spec: SpecFile,
    changes: Changes = None,
    processes: Annotated[
        str | None, typer.Option(metavar="N|auto", help="Train in N processes, or in those that srun started (auto).")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train the spec's model once and score it on train and valid."""
    with stoppable("rerun the command to start the run again"):
        among(processes)
        from mfbench.commands.cli.next_steps import after_run
        from mfbench.report.leaderboard import table
        from mfbench.tracking.pages import pointer, run_page

        result = mfbench.run(spec, changes or ())
        if not leads():
            return
        show(
            table(result.record.run_key, result.leaderboard(), result.record.data.oracle_of("valid")),
            as_json,
            result.summary(),
        )
        say_beside(result.given_and_filled(), as_json)
        for record in result.records:
            say(f"run {record.run_key} saved to {record.path}", as_json)
        if result.run_id:
            say(pointer(run_page, result.record.spec.name, result.run_id), as_json)
        say(after_run(result.records, spec, changes or ()), as_json)
    broken = [record for record in result.records if record.outcome != "completed"]
    if broken:
        fail("; ".join(f"{record.run_key} {record.outcome}: {record.reason}" for record in broken))


@app.command()
def sweep(
    spec: SpecFile,
    trials: Annotated[int | None, typer.Option(min=1, help="Trials per backend; overrides the spec.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Number of processes that train in parallel.")] = 1,
    timeout: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Stop at the end of a batch after this time (90s, 10m, 1h), before the final runs."),
    ] = None,
    backends: Annotated[
        list[str] | None,
        typer.Option(
            "--backend",
            metavar="NAME",
            help="Sweep only this one of the spec's backends; repeatable.",
            autocompletion=completion.backends,
        ),
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(metavar="WHERE", help="Train the trials on a Dask cluster: ADDRESS, FILE.yaml or local:N."),
    ] = None,
    changes: Changes = None,
    as_json: AsJson = False,
) -> None:
    """Search each backend, then test the best; rerun to resume.

    For each backend, a study searches the hyperparameters by the score on the valid part. Then the best trial of each
    backend is trained on train and valid together, and scored on the test part, which the search never sees.
    """
    with stoppable("finished trials are saved; rerun the command to resume"):
        from mfbench.commands.cli.next_steps import after_sweep
        from mfbench.report.leaderboard import table
        from mfbench.search.pareto import table as pareto_table
        from mfbench.tracking.pages import charts_page, pointer

        within = seconds(timeout) if timeout else None
        result = mfbench.sweep(spec, trials, workers, changes or (), within, backends or (), cluster)
        if result.swept.stopped:
            warn(f"{result.swept.stopped}; rerun the command to resume")
            show(None, as_json, result.summary())
            return
        show(table(result.swept.study, result.leaderboard(), result.swept.oracle), as_json, result.summary())
        if result.swept.front is not None:
            say(pareto_table(result.swept.front), as_json)
        if result.swept.audit:
            _say_audit(result.swept.audit, as_json)
        say(pointer(charts_page, result.swept.finals), as_json)
        say(after_sweep(result.swept, spec, changes or (), backends or ()), as_json)
    if result.swept.failures:
        fail("; ".join(result.swept.failures))


@app.command()
def race(
    spec: SpecFile,
    target: Annotated[
        str | None, typer.Option(metavar="METRIC=VALUE", help="Also measure the time to this, e.g. valid_rmse=0.87.")
    ] = None,
    changes: Changes = None,
    as_json: AsJson = False,
) -> None:
    """Compare the speed of backends: updates/s, time to a target."""
    with stoppable("nothing is saved; rerun the command to start the race again"):
        from mfbench.commands.race import table

        laps = mfbench.race(spec, target, changes or ())
        show(table(spec, laps), as_json, {"laps": [asdict(lap) for lap in laps]})


@app.command()
def compare(
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SPEC|EXPERIMENT|RUN",
            help="Which runs to compare. Default: all final and plain runs.",
            autocompletion=completion.anything_compared,
        ),
    ] = None,
    metrics: Annotated[
        list[str] | None,
        typer.Option("--metric", metavar="NAME", help="Add this column, e.g. test_ndcg_10; one on valid orders. Repeatable."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show a leaderboard of runs for each data set and split, and the MLflow page for them.

    A board is ordered by the objective of its sweep, by default the valid RMSE, or by the first --metric on valid. A metric
    on test is a column, but never orders: to choose by the test part would make its scores optimistic.
    """
    from mfbench.commands.compare import addresses
    from mfbench.report.leaderboard import table
    from mfbench.report.published.beside import shown

    found = mfbench.compare(*(what or []), metrics=metrics or ())
    if as_json:
        show(None, as_json, {"boards": [board.summary() for board in found]})
    for board in found:
        say(table(board.heading, board.board, board.oracle), as_json)
        for part in shown(board.records):
            say(part, as_json)
        if board.audit:
            _say_audit(board.audit, as_json)
        for sentence in addresses(board):
            say(sentence, as_json)


@app.command()
def report(
    spec: Annotated[
        str,
        typer.Argument(
            metavar="SPEC|EXPERIMENT",
            help="A spec that has run, or the name of its experiment.",
            autocompletion=completion.specs_and_experiments,
        ),
    ],
    out: Annotated[str | None, typer.Option(metavar="FOLDER", help="Where to; default: results/EXPERIMENT.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write leaderboard, pictures and an HTML page to results/."""
    path = mfbench.write_report(spec, out)
    show(f"wrote the leaderboard, pictures and a page: {path}", as_json, {"report_path": str(path)})


@app.command()
def reproduce(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN", help="A run key, an MLflow run id, or the path of a record.", autocompletion=completion.runs
        ),
    ],
    strict: Annotated[
        bool, typer.Option("--strict", help="Do not run if something differs here that can change a bit.")
    ] = False,
    data: Annotated[
        str | None, typer.Option(metavar="FILE", help="The path of your own ratings file, if it has moved.")
    ] = None,
    trust: Trust = False,
    as_json: AsJson = False,
) -> None:
    """Re-run a recorded run and compare it bit for bit."""
    with stoppable("the record is unchanged"):
        result = mfbench.reproduce(run, strict, data, trust)
        if result.lines:
            say(result.table(), as_json)
        show(result.sentence, as_json, result.summary())
    raise typer.Exit(0 if result.reproduced else 1)


# --- output ----------------------------------------------------------------------------------------------------------


def _say_audit(audit: Audit, as_json: bool) -> None:
    if audit.searched:
        say(audit.table(), as_json)
    for sentence in audit.sentences():
        say(sentence, as_json)


if __name__ == "__main__":
    main()
