"""MLflow's UI on this machine alone, over our store."""

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
from mfbench.tracking.store import FIRM_SETTINGS, make_store, shown, store_errors, store_uri

HOST = "127.0.0.1"
START_SECONDS = 120.0  # it takes 10 on an idle machine


def ui(port: int | None = None) -> tuple[str, subprocess.Popen[bytes] | None]:
    """Start MLflow's server on loopback, and give its address and its process once it answers.

    port: where it is None, 5000, or a free one where that is taken. Where `MLFLOW_TRACKING_URI` names a server there is
    nothing to start: its address and None. `process.terminate()` ends it.
    """
    uri = store_uri()
    if uri.startswith(("http:", "https:")):
        return shown(uri), None
    with store_errors():
        make_store()
    port = _free_port(port)
    address = f"http://{HOST}:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--host", HOST, "--port", str(port)]
    # One worker and no job runner: four would take twice as long to start, and one person looks.
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
                last = (log.read().decode(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
                raise WorkError(f"{error} ({last})") from None
            raise
    return address, process


def open_page(address: str) -> None:
    """Show a page in the user's browser, where there is a screen to show it on."""
    screen = sys.platform in ("darwin", "win32") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if screen:  # without one, webbrowser may start a browser for the terminal, in the midst of our own words
        webbrowser.open(address)


def _free_port(port: int | None) -> int:
    for wanted in (UI_PORT, 0) if port is None else (port,):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, wanted))
            except (OSError, OverflowError):
                continue
            return int(probe.getsockname()[1])
    raise InputError(f"port {port} cannot be had on {HOST}; give another, or none to have one chosen")


def _wait_for(process: subprocess.Popen[bytes], address: str) -> None:
    started = time.monotonic()
    while time.monotonic() - started < START_SECONDS:
        if process.poll() is not None:
            raise WorkError(f"MLflow's server ended at once with code {process.returncode}")
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=5):
                return
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            time.sleep(0.2)
    raise WorkError(f"MLflow's server did not answer at {address} within {START_SECONDS:.0f} s")
