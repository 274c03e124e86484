"""`--processes`: start the processes of one training on this machine, or join those that a launcher has started."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from typing import IO

import typer

from mfbench.commands.cli.terminal import fail
from mfbench.core.errors import InputError


def among(processes: str | None) -> None:
    """Return in a process that trains; in the one that only starts the others, wait for them and exit as they did.

    processes: None for this process alone, "auto", or a number. InputError if it is something else.
    """
    if processes is None:
        return
    if processes == "auto":
        from mfbench.backends.on_device.rings.processes import join

        join()
    elif processes.isdecimal() and int(processes) > 0:
        raise typer.Exit(_started(int(processes)))
    else:
        raise InputError(f"--processes {processes}: give a number, or auto for the processes that a launcher has started")


def _started(n: int) -> int:
    """Run the present command in n processes and return the exit code."""
    words = sys.argv[1:]
    at = next(k for k, word in enumerate(words) if word.startswith("--processes"))
    words[at : at + (1 if "=" in words[at] else 2)] = ["--processes", "auto"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    shared = {"JAX_COORDINATOR_ADDRESS": address, "JAX_COORDINATOR_BIND_ADDRESS": address, "MFBENCH_PROCESSES": str(n)}
    said: list[IO[bytes]] = [tempfile.TemporaryFile() for _ in range(n)]  # noqa: SIM115
    children: list[subprocess.Popen[bytes]] = []
    try:
        for number in range(n):
            env = {"JAX_NUM_CPU_DEVICES": "1", **os.environ, **shared, "MFBENCH_PROCESS": str(number)}
            quiet = {"stdout": said[number], "stderr": said[number]} if number else {}
            children.append(subprocess.Popen([sys.executable, "-m", "mfbench", *words], env=env, **quiet))  # type: ignore[call-overload]
        while None in (codes := [child.poll() for child in children]) and not any(codes):
            time.sleep(0.05)
        failed = next((number for number, code in enumerate(codes) if code), None)
        if failed is None:
            return 0
        code = children[failed].returncode
        if failed:
            said[failed].seek(0)
            why = said[failed].read().decode(errors="replace").strip().splitlines()[-1:] if code > 0 else [f"signal {-code}"]
            fail(f"process {failed + 1} of {n} ended ({' '.join(why)}); rerun the command to go on from its last checkpoint")
        return code if code > 0 else 128 - code
    finally:
        for child in children:
            if child.poll() is None:
                child.kill()
        for child, file in zip(children, said, strict=False):
            child.wait()
            file.close()
