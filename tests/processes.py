"""Processes of a test: the command line as its user calls it, or Python code. None outlives the test, or its time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

SECONDS = 240  # that a process may take, a slow machine included; under pytest's own limit, so that what it said is shown
SWEEP = ("sweep", "spec.yaml", "--json")


@contextmanager
def started(*words: str, settings: dict[str, str] | None = None, **given: Any) -> Iterator[subprocess.Popen[str]]:
    """`python` with these words, in a process group of its own, as a terminal starts it; at the end all of it is killed.

    It can import the modules beside the tests. settings: environment variables; given: as of `subprocess.Popen`.
    """
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    env = {**os.environ, "PYTHONPATH": path, **(settings or {})}
    given = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": env, **given}
    with subprocess.Popen([sys.executable, *words], start_new_session=True, **given) as process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def ended(process: subprocess.Popen[str], seconds: float = SECONDS) -> tuple[int, str, str]:
    """Exit code, stdout, stderr."""
    out, err = process.communicate(timeout=seconds)
    return process.returncode, out, err


def python(*words: str, seconds: float = SECONDS, **given: Any) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `python` with these words."""
    with started(*words, **given) as process:
        return ended(process, seconds)


def said_by(code: str, **given: Any) -> str:
    """What Python code prints, which must succeed."""
    status, out, err = python("-c", code, **given)
    assert status == 0, err
    return out


def mfbench(*words: str, **given: Any) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command."""
    return python("-m", "mfbench", *words, **given)


def last_line(out: str) -> Any:
    """The object that --json puts there."""
    return json.loads(out.splitlines()[-1])


def answer(*words: str, **given: Any) -> Any:
    """What a command, which must succeed, says in --json."""
    status, out, err = mfbench(*words, "--json", **given)
    assert status == 0, err
    return last_line(out)
