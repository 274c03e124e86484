"""The commands that list backends, data sets and peers, fetch or install them, and describe this machine."""

from __future__ import annotations

from typing import Annotated

import typer

import mfbench
from mfbench.commands.cli import completion
from mfbench.commands.cli.terminal import AsJson, say, show, stoppable

app = typer.Typer()
data_app = typer.Typer(help="List, download and describe data sets.", no_args_is_help=True)
app.add_typer(data_app, name="data")

DataName = Annotated[
    str,
    typer.Argument(metavar="NAME", help="A data set of `mfbench data list`.", autocompletion=completion.datasets),
]


@app.command()
def backends(as_json: AsJson = False) -> None:
    """List the backends and their options."""
    from rich.table import Table

    described = mfbench.list_backends()
    shown = Table("backend", "algorithm", "searches", "options (model.options.BACKEND)", show_lines=True)
    for one in described:
        knobs = ", ".join(f"{knob}: {default}" for knob, default in one["knobs"].items())
        shown.add_row(one["name"], one["what"], ", ".join(one["tunable"]) or "–", knobs or "–")
    show(shown, as_json, {"backends": described})


@app.command()
def references(
    dataset: Annotated[
        str | None,
        typer.Argument(metavar="DATASET", help="Only those on this data set.", autocompletion=completion.datasets),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List published results, which compare and report show beside runs on the same data and split."""
    from mfbench.report.published.beside import listed
    from mfbench.report.published.registry import lines_of

    show(listed("published results", lines_of(dataset)), as_json, {"references": mfbench.list_references(dataset)})


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Show versions, cores, memory and devices of this machine."""
    from rich.table import Table

    found = mfbench.doctor()
    shown = Table("name", "value", show_header=False)
    for name, value in found.items():
        shown.add_row(name, str(value))
    show(shown, as_json, found)


@data_app.command("list")
def data_list(as_json: AsJson = False) -> None:
    """List the data sets that have a name."""
    from rich.table import Table

    found = mfbench.list_data()
    shown = Table("name", "ratings", "users", "items", "description")
    for one in found:
        sizes = (one[size] for size in ("ratings", "users", "items"))
        shown.add_row(one["name"], *("–" if size is None else f"{size:,}" for size in sizes), one["what"])
    show(shown, as_json, {"datasets": found})


@data_app.command("get")
def data_get(name: DataName, as_json: AsJson = False) -> None:
    """Download a data set, check its hash, and prepare it."""
    found = mfbench.get_data(name)
    sentence = f"{name} is ready: {found['ratings']:,} ratings, {found['users']:,} users, {found['items']:,} items"
    if digest := found.get("archive_sha256"):
        sentence += f"; sha256 of its archive: {digest}"
    show(sentence, as_json, found)


@data_app.command("info")
def data_info(
    what: Annotated[
        str, typer.Argument(metavar="NAME|FILE|SPEC", help="A data set of `mfbench data list`, your own file, or a spec.")
    ],
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="How to read a file, e.g. --set data.header=false; repeatable."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Describe a data set of the catalogue, a file or a spec's data."""
    from rich.table import Table

    from mfbench.commands.start.new import flow
    from mfbench.data.prepared import sentence

    found = mfbench.data_info(what, changes or ())
    if "what" not in found:
        read_as = found.get("read_as")
        show(sentence(found) + (f"\nread as data: {flow(read_as)}" if read_as else ""), as_json, found)
        return
    shown = Table("name", "value", show_header=False)
    for key, value in found.items():
        if value is not None and key not in ("version", "source", "arrays_digest"):
            shown.add_row(key, str(value))
    if found["here"]:
        say(sentence(found), as_json)
    show(shown, as_json, found)


peers_app = typer.Typer(help="List, install and remove peers: other libraries as backends.", no_args_is_help=True)
app.add_typer(peers_app, name="peers")

PeerName = Annotated[str, typer.Argument(metavar="NAME", help="A peer of `mfbench peers list`, or your own FILE.py:CLASS.")]


@peers_app.command("list")
def peers_list(as_json: AsJson = False) -> None:
    """List the peers, and which are installed."""
    from rich.table import Table

    from mfbench.backends.peers.inventory import list_peers

    found = list_peers()
    shown = Table("peer", "backends", "package", "environment")
    for one in found:
        version = f" {one['version']}" if one["version"] else ""
        shown.add_row(one["name"], ", ".join(one["backends"]) or "your own", one["package"] + version, one["state"])
    show(shown, as_json, {"peers": found})


@peers_app.command("get")
def peers_get(name: PeerName, as_json: AsJson = False) -> None:
    """Install a peer in an environment of its own."""
    from mfbench.backends.peers.inventory import get_peer

    with stoppable("nothing is left of it; rerun the command to start again"):
        found = get_peer(name)
    packages = len(found["versions"]) - 2  # those of Python and of the pins are not packages
    say(f"its {packages} packages are in {found['path']}", as_json)
    is_ready = f"{found['name']} is ready: {found['package'] or 'the peer'} {found['version'] or ''}".rstrip()
    show(f"{is_ready}, as the backends {', '.join(found['backends'])}", as_json, found)


@peers_app.command("remove")
def peers_remove(name: PeerName, as_json: AsJson = False) -> None:
    """Delete the environment of a peer."""
    from mfbench.backends.peers.inventory import remove_peer

    found = remove_peer(name)
    show(f"{found['name']} {'is removed' if found['removed'] else 'was not installed'}", as_json, found)
