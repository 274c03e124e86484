"""MLflow's UI for our store, reachable from this machine only."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import webbrowser

from mfbench.core.errors import InputError, WorkError
from mfbench.tracking.addresses import UI_PORT
from mfbench.tracking.export import stop_killed_sweeps
from mfbench.tracking.store import FIRM_SETTINGS, make_store, shown, store_errors, store_uri

HOST = "127.0.0.1"
START_SECONDS = 120.0  # it takes 10 on an idle machine


def ui(port: int | None = None) -> tuple[str, subprocess.Popen[bytes] | None]:
    """Start MLflow's server on the loopback interface; once it responds, return its address and its process.

    port: by default 5000, or any free one if that is taken. If `MLFLOW_TRACKING_URI` names a server, nothing is started: the
    result is its address and None. End the process with its `terminate()`.
    """
    uri = store_uri()
    if uri.startswith(("http:", "https:")):
        return shown(uri), None
    with store_errors():
        make_store()
        stop_killed_sweeps()
    port = free_port(port, UI_PORT)
    address = f"http://{HOST}:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port)]
    # One worker and no job runner, since there is one user: the default of four takes twice as long to start.
    quiet = {**FIRM_SETTINGS, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [*command, "--backend-store-uri", uri, "--workers", "1"],
            env={**os.environ, **quiet},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            _wait_for(process, address)
        except BaseException as error:
            process.terminate()
            process.wait()
            if isinstance(error, WorkError):
                log.seek(0)
                last = (log.read().decode(errors="replace").strip().splitlines() or ["it printed nothing"])[-1]
                raise WorkError(f"{error} ({last})") from None
            raise
    return address, process


def open_page(address: str) -> None:
    """Open a page in the user's browser, if there is a screen."""
    screen = sys.platform in ("darwin", "win32") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if screen:  # without one, webbrowser may start a text browser in this terminal
        webbrowser.open(address)


def free_port(port: int | None, default: int) -> int:
    """The given port, InputError if it is taken; if None, the default port, or any free one if that is taken."""
    for wanted in (default, 0) if port is None else (port,):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, wanted))
            except (OSError, OverflowError):
                continue
            return int(probe.getsockname()[1])
    raise InputError(f"--port {port}: cannot listen on this port of {HOST}; give another one, or leave --port out")


def _wait_for(process: subprocess.Popen[bytes], address: str) -> None:
    started = time.monotonic()
    while time.monotonic() - started < START_SECONDS:
        if process.poll() is not None:
            raise WorkError(f"MLflow's server exited at once with code {process.returncode}")
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=5):
                return
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            time.sleep(0.2)
    raise WorkError(f"MLflow's server did not respond at {address} within {START_SECONDS:.0f} s")
