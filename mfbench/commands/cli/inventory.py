"""The commands that say what there is: backends, data sets, this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from mfbench.commands.cli.terminal import AsJson, show

app = typer.Typer()
data_app = typer.Typer(help="The catalogue of data sets.", no_args_is_help=True)
app.add_typer(data_app, name="data")


@app.command()
def backends(as_json: AsJson = False) -> None:
    """The backends that are there, and their knobs."""
    from rich.table import Table

    from mfbench.backends.registry import describe, names

    described = [describe(name) for name in names()]
    shown = Table("backend", "what", "searches", "knobs (model.options.BACKEND)", show_lines=True)
    for one in described:
        knobs = ", ".join(f"{knob}: {default}" for knob, default in one["knobs"].items())
        shown.add_row(one["name"], one["what"], ", ".join(one["tunable"]) or "–", knobs or "–")
    show(shown, as_json, {"backends": described})


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """What this machine has: versions, cores, devices."""
    from rich.table import Table

    from mfbench.commands.doctor import findings

    found = findings()
    shown = Table("what", "found", show_header=False)
    for name, value in found.items():
        shown.add_row(name, str(value))
    show(shown, as_json, found)


@data_app.command("list")
def data_list(as_json: AsJson = False) -> None:
    """The data sets that are known by name."""
    from rich.table import Table

    from mfbench.data.catalogue import catalogue

    shown = Table("name", "ratings", "users", "items", "what")
    for entry in catalogue():
        shown.add_row(entry.name, f"{entry.ratings:,}", f"{entry.users:,}", f"{entry.items:,}", entry.what)
    show(shown, as_json, {"datasets": [entry.summary() for entry in catalogue()]})


@data_app.command("get")
def data_get(name: Annotated[str, typer.Argument(metavar="NAME")], as_json: AsJson = False) -> None:
    """Fetch a data set, check its pinned hash, prepare it."""
    from mfbench.data.catalogue import dataset_named
    from mfbench.data.prepared import summary

    found = summary(dataset_named(name))
    sentence = f"{name} is there: {found['ratings']:,} ratings, {found['users']:,} users, {found['items']:,} items"
    show(sentence, as_json, found)


@data_app.command("info")
def data_info(name: Annotated[str, typer.Argument(metavar="NAME")], as_json: AsJson = False) -> None:
    """What is known of a data set, and more once it is here."""
    from rich.table import Table

    from mfbench.data.catalogue import entry
    from mfbench.data.prepared import card

    found = {**entry(name).summary(), "here": card(name) is not None, **(card(name) or {})}
    shown = Table("what", "value", show_header=False)
    for key, value in found.items():
        if value is not None and key not in ("version", "source"):
            shown.add_row(key, str(value))
    show(shown, as_json, found)
