"""The command line: arguments in, tables for people or one line of JSON out. No logic of its own.

Everything slow is imported inside the commands, so that `mfbench --help` answers at once.
"""

from __future__ import annotations

import re
import signal
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

import mfbench
from mfbench.commands.cli import inventory, models
from mfbench.commands.cli.terminal import AsJson, fail, say, show, stoppable, terminate, warn
from mfbench.core.errors import InputError, MfbenchError, is_disk_full, of_the_machine

if TYPE_CHECKING:
    from mfbench.search.audit import Audit

app = typer.Typer(
    help="Matrix factorization of ratings, R ≈ P Qᵀ: run, sweep, compare, reproduce, race.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # importing rich would double the time that --help takes
)
app.add_typer(models.app)
app.add_typer(inventory.app)

SpecFile = Annotated[str, typer.Argument(metavar="SPEC", help="A YAML file, see experiments/.")]
Changes = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change the spec, e.g. --set model.K=32; repeatable.")
]


def main() -> None:
    """The entry point: an error meant for a person is one sentence on stderr, and its exit code."""
    signal.signal(signal.SIGTERM, terminate)
    try:
        try:
            app()
        except OSError as error:
            if error.filename is None and not is_disk_full(error):
                raise
            raise of_the_machine(error) from error
    except MfbenchError as error:
        print(f"mfbench: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(error.exit_code)


@app.command()
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the experiment, and of the file: NAME.yaml.")],
    as_json: AsJson = False,
) -> None:
    """Write a commented spec to start from."""
    from mfbench.commands.new import new_spec

    path = new_spec(name)
    sentence = f"{path} is a commented spec; edit it, then\n  mfbench sweep {path}\n  mfbench report {path}"
    show(sentence, as_json, {"name": name, "spec_path": str(path)})


@app.command()
def run(spec: SpecFile, changes: Changes = None, as_json: AsJson = False) -> None:
    """Train once; score on train and valid."""
    with stoppable("the same command makes the run again"):
        from mfbench.report.leaderboard import table
        from mfbench.tracking.pages import pointer, run_page

        result = mfbench.run(spec, changes or ())
        show(
            table(result.record.run_key, result.leaderboard(), result.record.data.oracle_of("valid")),
            as_json,
            result.summary(),
        )
        for record in result.records:
            say(f"run {record.run_key}, recorded in {record.path}", as_json)
        if result.run_id:
            say(pointer(run_page, result.record.spec.name, result.run_id), as_json)
    broken = [record for record in result.records if record.outcome != "completed"]
    if broken:
        fail("; ".join(f"{record.run_key} {record.outcome}: {record.reason}" for record in broken))


@app.command()
def sweep(
    spec: SpecFile,
    trials: Annotated[int | None, typer.Option(min=1, help="Trials a backend, instead of the spec's number.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that train side by side.")] = 1,
    timeout: Annotated[
        str | None, typer.Option(metavar="TIME", help="Stop between batches after it: 90s, 10m or 1h; no final runs then.")
    ] = None,
    backends: Annotated[
        list[str] | None, typer.Option("--backend", metavar="NAME", help="Only this one of the spec's backends; repeatable.")
    ] = None,
    changes: Changes = None,
    as_json: AsJson = False,
) -> None:
    """Search each backend, then test the best; resumes if interrupted.

    Each study searches the hyperparameters of one backend on the valid part. Then the best of each is trained on train and
    valid, and the test part is opened.
    """
    with stoppable("finished trials are saved; rerun the command to resume"):
        from mfbench.report.leaderboard import table
        from mfbench.search.pareto import table as pareto_table
        from mfbench.tracking.pages import charts_page, pointer

        result = mfbench.sweep(spec, trials, workers, changes or (), _seconds(timeout) if timeout else None, backends or ())
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
    if result.swept.failures:
        fail("; ".join(result.swept.failures))


@app.command()
def race(
    spec: SpecFile,
    target: Annotated[str | None, typer.Option(metavar="METRIC=VALUE", help="Time to it, e.g. valid_rmse=0.87.")] = None,
    changes: Changes = None,
    as_json: AsJson = False,
) -> None:
    """Backends against each other: updates/s, time to a target."""
    with stoppable("a race leaves its results once it has ended"):
        from mfbench.commands.race import table

        laps = mfbench.race(spec, target, changes or ())
        show(table(spec, laps), as_json, {"laps": [asdict(lap) for lap in laps]})


@app.command()
def compare(
    what: Annotated[list[str] | None, typer.Argument(metavar="[SPEC|EXPERIMENT|RUN]...", help="Default: all.")] = None,
    as_json: AsJson = False,
) -> None:
    """A leaderboard of runs, and its MLflow address."""
    from mfbench.commands.compare import addresses, compared
    from mfbench.report.leaderboard import table

    comparison = compared(what or [])
    show(table("leaderboard", comparison.board, comparison.oracle), as_json, comparison.summary())
    if comparison.audit:
        _say_audit(comparison.audit, as_json)
    for sentence in addresses(comparison):
        say(sentence, as_json)


@app.command()
def report(
    spec: Annotated[str, typer.Argument(metavar="SPEC|EXPERIMENT", help="Of which runs.")], as_json: AsJson = False
) -> None:
    """Board, pictures and a page of HTML, in results/."""
    from mfbench.commands.compare import compared
    from mfbench.report.page import write_report

    path = write_report(compared([spec]))
    show(f"{path.parent}: the leaderboard, pictures, and {path.name}", as_json, {"report_path": str(path)})


@app.command()
def reproduce(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run key, an MLflow run id, or the path of a record.")],
    strict: Annotated[
        bool, typer.Option("--strict", help="Do not run where something differs that can change a bit.")
    ] = False,
    data: Annotated[str | None, typer.Option(metavar="FILE", help="Where your own ratings are now.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a run again from its record; do the bits agree?"""
    with stoppable("the record is as it was"):
        result = mfbench.reproduce(run, strict, data)
        if result.lines:
            say(result.table(), as_json)
        show(result.sentence, as_json, result.summary())
    raise typer.Exit(0 if result.reproduced else 1)


@app.command()
def ui(
    what: Annotated[str | None, typer.Argument(metavar="[SPEC|EXPERIMENT]", help="Default: the latest that has run.")] = None,
    port: Annotated[int | None, typer.Option(help="Default: 5000, or a free one where that is taken.")] = None,
    opened: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the page in a browser, where there is a screen.")
    ] = True,
) -> None:
    """MLflow on loopback until ^C, and the charts of final runs."""
    from mfbench.commands.find import charted
    from mfbench.tracking.pages import charts_page
    from mfbench.tracking.ui import open_page
    from mfbench.tracking.ui import ui as serve

    records = charted(what)
    address, process = serve(port)
    try:
        page = charts_page(records, address) if records else address
        say(f"MLflow: {page}" + ("\n^C ends it" if process else ""), False)
        if opened:
            open_page(page)
        if process:
            process.wait()
    except KeyboardInterrupt:
        pass
    finally:
        if process:
            process.terminate()
            process.wait()


@app.command()
def sync(
    what: Annotated[list[str] | None, typer.Argument(metavar="[SPEC|EXPERIMENT]...", help="Default: all.")] = None,
    as_json: AsJson = False,
) -> None:
    """Export to MLflow what is missing there."""
    from mfbench.commands.find import studies
    from mfbench.tracking.export import sync as sync_study

    exported = {study: sync_study(study) for study in studies(what or [])}
    show(f"{sum(exported.values())} runs exported", as_json, {"exported": exported})


# --- reading arguments -----------------------------------------------------------------------------------------------


def _seconds(duration: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", duration)
    if not found:
        raise InputError(f"--timeout {duration}: write a number and s, m or h, as in 90s, 10m or 1h")
    return float(found[1]) * {"s": 1, "m": 60, "h": 3600}[found[2]]


# --- saying things ---------------------------------------------------------------------------------------------------


def _say_audit(audit: Audit, as_json: bool) -> None:
    if audit.searched:
        say(audit.table(), as_json)
    for sentence in audit.sentences():
        say(sentence, as_json)


if __name__ == "__main__":
    main()
