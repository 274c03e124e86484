"""The commands before the first run: a spec to start from, and the reference of its keys."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from mfbench.commands.cli.terminal import AsJson, show

app = typer.Typer()


@app.command()
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name of the experiment; the file is NAME.yaml.")],
    data: Annotated[
        str | None, typer.Option(metavar="FILE", help="Your ratings; the spec then has ranges that suit them.")
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="How to read the file, e.g. --set data.rating=stars; repeatable."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a commented spec to start from."""
    from mfbench.commands.start.new import new_spec

    path, says = new_spec(name, data, changes or ())
    sentence = f"wrote {path}, a commented spec; edit it, then run\n  mfbench sweep {path}\n  mfbench report {path}"
    show(f"{says}\n{sentence}" if says else sentence, as_json, {"name": name, "spec_path": str(path)})


@app.command()
def keys(
    section: Annotated[str, typer.Argument(metavar="[SECTION]", help="Only this one, e.g. sweep or data.wide.")] = "",
    schema: Annotated[bool, typer.Option("--schema", help="As JSON Schema, for editors.")] = False,
) -> None:
    """Explain all keys of a spec, with their defaults, as Markdown."""
    import json

    from mfbench.commands.start.keys import markdown
    from mfbench.commands.start.keys import schema as json_schema

    sys.stdout.write(json.dumps(json_schema(), indent=1) + "\n" if schema else markdown(section))
