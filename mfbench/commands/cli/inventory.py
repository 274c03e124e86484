"""The commands that list backends and data sets, and describe this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from mfbench.commands.cli.terminal import AsJson, show

app = typer.Typer()
data_app = typer.Typer(help="List, download and describe data sets.", no_args_is_help=True)
app.add_typer(data_app, name="data")

DataName = Annotated[str, typer.Argument(metavar="NAME", help="A data set of `mfbench data list`.")]


@app.command()
def backends(as_json: AsJson = False) -> None:
    """List the backends and their options."""
    from rich.table import Table

    from mfbench.backends.registry import describe, names

    described = [describe(name) for name in names()]
    shown = Table("backend", "algorithm", "searches", "options (model.options.BACKEND)", show_lines=True)
    for one in described:
        knobs = ", ".join(f"{knob}: {default}" for knob, default in one["knobs"].items())
        shown.add_row(one["name"], one["what"], ", ".join(one["tunable"]) or "–", knobs or "–")
    show(shown, as_json, {"backends": described})


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Show versions, cores, memory and devices of this machine."""
    from rich.table import Table

    from mfbench.commands.doctor import findings

    found = findings()
    shown = Table("name", "value", show_header=False)
    for name, value in found.items():
        shown.add_row(name, str(value))
    show(shown, as_json, found)


@data_app.command("list")
def data_list(as_json: AsJson = False) -> None:
    """List the data sets that have a name."""
    from rich.table import Table

    from mfbench.data.catalogue import catalogue

    shown = Table("name", "ratings", "users", "items", "description")
    for entry in catalogue():
        shown.add_row(entry.name, f"{entry.ratings:,}", f"{entry.users:,}", f"{entry.items:,}", entry.what)
    show(shown, as_json, {"datasets": [entry.summary() for entry in catalogue()]})


@data_app.command("get")
def data_get(name: DataName, as_json: AsJson = False) -> None:
    """Download a data set, check its hash, and prepare it."""
    from mfbench.data.catalogue import dataset_named
    from mfbench.data.prepared import summary

    found = summary(dataset_named(name))
    sentence = f"{name} is ready: {found['ratings']:,} ratings, {found['users']:,} users, {found['items']:,} items"
    show(sentence, as_json, found)


@data_app.command("info")
def data_info(name: DataName, as_json: AsJson = False) -> None:
    """Describe a data set, in more detail once it is downloaded."""
    from rich.table import Table

    from mfbench.data.catalogue import entry
    from mfbench.data.prepared import card

    found = {**entry(name).summary(), "here": card(name) is not None, **(card(name) or {})}
    shown = Table("name", "value", show_header=False)
    for key, value in found.items():
        if value is not None and key not in ("version", "source", "arrays_digest"):
            shown.add_row(key, str(value))
    show(shown, as_json, found)
