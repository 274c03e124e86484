"""Optuna's dashboard for the trials, reachable from this machine only."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from mfbench.core.errors import InputError, RecordError
from mfbench.tracking.journal import JOURNAL, update
from mfbench.tracking.ui import HOST, free_port

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

DASHBOARD_PORT = 8080
"""The port of `mfbench dashboard`, unless it is taken."""

POLL_SECONDS = 2.0


def check_installed() -> None:
    """InputError if the package optuna-dashboard is missing."""
    if importlib.util.find_spec("optuna_dashboard") is None:
        raise InputError(
            "dashboard: this needs optuna-dashboard, which this environment lacks; run `pip install 'mfbench[dashboard]'`"
        )


@contextmanager
def serving(storage: Any, port: int | None = None) -> Iterator[str]:
    """Serve a storage of Optuna on the loopback interface, in threads of this process; yields the address.

    port: by default 8080, or any free one if that is taken. The page is read-only.
    """
    from optuna_dashboard import wsgi

    port = free_port(port, DASHBOARD_PORT)
    with make_server(HOST, port, _guarded(wsgi(storage)), _Server, _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        thread.start()
        try:
            yield f"http://{HOST}:{port}"
        finally:
            server.shutdown()
            thread.join()


def follow(storage: Any, say: Callable[[str], None]) -> None:
    """Export trials whenever there are new records, until interrupted; each export and each problem is told in a sentence."""
    told = ""
    while True:
        time.sleep(POLL_SECONDS)
        try:
            added = update(storage)
        except RecordError as error:
            if told != (told := str(error)):
                say(told)
            continue
        if added:
            say(f"{added} more trial{'s' if added > 1 else ''} exported to {JOURNAL}")


def _guarded(app: WSGIApplication) -> WSGIApplication:
    """Refuse requests with a foreign Host header, as from a page that was rebound to loopback, and requests for changes."""

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if not re.fullmatch(r"(127\.0\.0\.1|localhost)(:\d+)?", environ.get("HTTP_HOST", "")):
            reason = f"this page is served at {HOST} and localhost only"
        elif environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            reason = "this page shows the records of mfbench and cannot change them"
        else:
            return app(environ, start_response)
        start_response("403 Forbidden", [("Content-Type", "application/json")])
        return [json.dumps({"reason": reason}).encode()]  # the form in which the dashboard shows an error

    return answer


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # a browser that closes a connection is no error
            super().handle_error(request, client_address)


class _Handler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing; by default each request is a line on stderr."""
