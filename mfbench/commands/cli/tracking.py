"""The commands that show runs in MLflow and trials in Optuna's dashboard, and export what is missing."""

from __future__ import annotations

from typing import Annotated

import typer

from mfbench.commands.cli import completion
from mfbench.commands.cli.terminal import AsJson, say, show, warn

app = typer.Typer()


@app.command()
def ui(
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="SPEC|EXPERIMENT",
            help="Whose charts to show. Default: the latest that has run.",
            autocompletion=completion.specs_and_experiments,
        ),
    ] = None,
    port: Annotated[int | None, typer.Option(help="Default: 5000, or a free port if that is taken.")] = None,
    opened: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in a browser, if there is a screen.")] = True,
) -> None:
    """Serve MLflow locally until Ctrl-C, with charts of the runs."""
    from mfbench.commands.find import charted
    from mfbench.tracking.pages import charts_page
    from mfbench.tracking.ui import open_page
    from mfbench.tracking.ui import ui as serve

    records = charted(what)
    address, process = serve(port)
    try:
        page = charts_page(records, address) if records else address
        say(f"MLflow: {page}" + ("\npress Ctrl-C to stop it" if process else ""), False)
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
def dashboard(
    port: Annotated[int | None, typer.Option(help="Default: 8080, or a free port if that is taken.")] = None,
    opened: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in a browser, if there is a screen.")] = True,
) -> None:
    """Serve Optuna's dashboard locally until Ctrl-C, with all trials.

    Trials are exported to the file optuna.journal, again whenever new ones have finished.
    """
    from mfbench.tracking.dashboard import check_installed, follow, serving
    from mfbench.tracking.journal import open_journal, update
    from mfbench.tracking.ui import open_page

    check_installed()
    try:
        journal = open_journal()
        update(journal)
        with serving(journal, port) as address:
            say(f"Optuna's dashboard: {address}\npress Ctrl-C to stop it", False)
            if opened:
                open_page(address)
            follow(journal, warn)
    except KeyboardInterrupt:
        pass


@app.command()
def sync(
    what: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SPEC|EXPERIMENT",
            help="Whose runs to export. Default: all.",
            autocompletion=completion.specs_and_experiments,
        ),
    ] = None,
    anew: Annotated[
        bool, typer.Option("--anew", help="If mlflow.db is damaged, set it aside and export to a new one.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Export to MLflow the runs that are missing there."""
    from mfbench.commands.find import studies
    from mfbench.tracking.export import sync as sync_study
    from mfbench.tracking.store import set_aside

    if anew and (aside := set_aside()):
        say(f"set the damaged database aside as {aside}", as_json)
    exported = {study: sync_study(study) for study in studies(what or [])}
    show(f"{sum(exported.values())} runs exported to MLflow", as_json, {"exported": exported})
