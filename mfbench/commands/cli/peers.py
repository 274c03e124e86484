"""The commands that list, install and remove peers."""

from __future__ import annotations

from typing import Annotated

import typer

from mfbench.commands.cli.terminal import AsJson, say, show, stoppable

app = typer.Typer()
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
