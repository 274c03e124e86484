"""What a command that has trained says at its end: where the records are, what to do next, what its words mean."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mfbench.core.docs import docs_link
from mfbench.core.paths import RUNS

if TYPE_CHECKING:
    from mfbench.runs.records import Record
    from mfbench.search.outcome import Swept


def after_run(records: Sequence[Record], spec: str, changes: Sequence[str]) -> str:
    """For a run of one or more folds. spec, changes: as given on the command line."""
    first = records[0]
    if first.outcome == "diverged" and first.alpha is not None:
        others = [change for change in changes if not change.startswith("model.alpha=")]
        smaller = [*others, f"model.alpha={first.alpha / 10:.2g}"]
        return _next({_command("run", spec, smaller): "a smaller step size"}, "run")
    commands = {f"mfbench report {first.study if changes else shlex.quote(spec)}": "pictures and an HTML page"}
    if first.spec.sweep is not None:
        commands[_command("sweep", spec, changes)] = "search for better hyperparameters"
    else:
        commands[f"mfbench reproduce {shlex.quote(first.run_key)}"] = "train it again: are the bits the same?"
    return _next(commands, "run")


def after_sweep(swept: Swept, spec: str, changes: Sequence[str], backends: Sequence[str]) -> str:
    """For a finished sweep; the best final run is the first."""
    report = swept.study if changes or backends else shlex.quote(spec)
    commands = {f"mfbench report {report}": "pictures and an HTML page"}
    gaining = [search for search in swept.audit.searched if search.still_gaining] if swept.audit else []
    if gaining:
        trials = 2 * max(len(search.trials) for search in gaining)
        longer = _command("sweep", spec, changes, backends) + f" --trials {trials}"
        commands[longer] = "goes on, as more trials will probably find better ones"
    else:
        commands[f"mfbench ui {swept.study}"] = "all runs in MLflow"
    return f"records: {len(swept.records)} in {RUNS / swept.study}/\n{_next(commands, 'search')}"


def _command(name: str, spec: str, changes: Sequence[str], backends: Sequence[str] = ()) -> str:
    options = [word for backend in backends for word in ("--backend", backend)]
    options += [word for change in changes for word in ("--set", change)]
    return shlex.join(["mfbench", name, spec, *options])


def _next(commands: dict[str, str], words: str) -> str:
    widest = max(map(len, commands))
    lines = [f"  {command:<{widest}}  # {purpose}" for command, purpose in commands.items()]
    return "\n".join([*_to_activate(), "next:", *lines, f"what the words mean: {docs_link(words)}"])


def _to_activate() -> list[str]:
    """After `make demo` or the like, where the shell does not find `mfbench`: how it will."""
    scripts = Path(sys.executable).parent
    if shutil.which("mfbench") or not (scripts / "mfbench").exists() or not (scripts / "activate").exists():
        return []
    return [f"so that the shell finds mfbench: source {shlex.quote(os.path.relpath(scripts / 'activate'))}"]
