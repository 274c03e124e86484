"""What the documentation is made with: the references of commands and of a spec's keys, and the notebook of the tutorial.

`python docs/hooks.py` runs the tutorial in the current folder, puts what its cells print into `tutorial.md`, and writes
`experiments/tutorial.ipynb` from it.
"""

from __future__ import annotations

import io
import json
import os
import re
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

TEXT = Path(__file__).with_name("tutorial.md").resolve()
NOTEBOOK = TEXT.parents[1] / "experiments/tutorial.ipynb"
CELL = re.compile(r"^```python\n(?P<code>.*?)^```\n(?:\n```text\n(?P<said>.*?)^```\n)?", re.MULTILINE | re.DOTALL)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """MkDocs: put a reference where a page says `{{ commands }}` or `{{ keys }}`."""
    for name, made in (("{{ commands }}", _commands), ("{{ keys }}", _keys)):
        if name in markdown:
            markdown = markdown.replace(name, made())
    return markdown


def _keys() -> str:
    from mfbench.commands.start.keys import markdown

    return markdown()


def _commands() -> str:
    from typer.cli import get_docs_for_click
    from typer.main import get_command
    from typer.models import Context

    from mfbench.commands.cli.main import app

    command = get_command(app)
    told = get_docs_for_click(obj=command, ctx=Context(command, info_name="mfbench"), name="mfbench")
    return told.partition("\n")[2].replace("```console", "```sh").replace("\n$ mfbench", "\nmfbench")


def ran(code: str, names: dict[str, Any]) -> str:
    """What a cell prints; `names` are the variables of the cells before it."""
    said = io.StringIO()
    with redirect_stdout(said):
        exec(compile(code, str(TEXT), "exec"), names)
    return said.getvalue()


def notebook(text: str) -> str:
    """The tutorial as a notebook: each `python` block a cell, the `text` block after it its output, the rest Markdown."""
    cells: list[dict[str, Any]] = []
    end = 0
    for count, cell in enumerate([*CELL.finditer(text), None]):
        prose = text[end : cell.start() if cell else None].strip()
        if prose:
            cells.append({"cell_type": "markdown", "id": f"text-{count}", "metadata": {}, "source": _lines(prose)})
        if cell:
            said = [{"name": "stdout", "output_type": "stream", "text": _lines(cell["said"])}] if cell["said"] else []
            one = {"cell_type": "code", "execution_count": count + 1, "id": f"code-{count}", "metadata": {}, "outputs": said}
            cells.append({**one, "source": _lines(cell["code"].rstrip("\n"))})
            end = cell.end()
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    return json.dumps({"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}, indent=1) + "\n"


def _lines(text: str) -> list[str]:
    return re.sub(r"\]\((\S+?\.md)\)", r"](../docs/\1)", text).splitlines(keepends=True)


def _filled(text: str) -> str:
    names: dict[str, Any] = {}

    def again(cell: re.Match[str]) -> str:
        said = ran(cell["code"], names)
        return f"```python\n{cell['code']}```\n" + (f"\n```text\n{said}```\n" if said else "")

    return CELL.sub(again, text)


if __name__ == "__main__":
    sys.path.insert(0, os.getcwd())  # noqa: PTH109
    new = _filled(TEXT.read_text(encoding="utf-8"))
    TEXT.write_text(new, encoding="utf-8")
    NOTEBOOK.write_text(notebook(new), encoding="utf-8")
