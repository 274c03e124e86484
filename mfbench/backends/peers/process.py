"""The process of a peer, as seen from the harness: requests with a time limit, and what went wrong in one sentence."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mfbench.backends.peers.adapters import serve
from mfbench.backends.peers.environments import PeerEnvironment
from mfbench.core.arrays import Array
from mfbench.core.errors import RunError
from mfbench.core.machine import core_list

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class PeerProcess:
    """A Python of the peer's environment that runs its adapter; killed with all that it started, by `stop` or at our end."""

    def __init__(self, environment: PeerEnvironment, adapter: Path):
        cores = len(core_list())  # which it inherits
        surroundings = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        surroundings |= dict.fromkeys(THREADS, str(cores)) | {"PYTHONHASHSEED": "0", "TQDM_DISABLE": "1"}
        self._name = environment.name
        # -P and -s: nothing is imported from the current folder, nor from the user's packages.
        self._process = subprocess.Popen(
            [environment.python, "-P", "-s", serve.__file__, adapter],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            cwd=environment.folder, env=surroundings, start_new_session=True,
        )  # fmt: skip
        self._said = b""
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def ask(self, header: Mapping[str, Any], arrays: Mapping[str, Array], seconds: float) -> dict[str, Array]:
        """The arrays of its answer; RunError if it reports an error, dies, answers nonsense, or not in time."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        late = threading.Event()

        def give_up() -> None:
            late.set()
            self.stop()

        timer = threading.Timer(seconds, give_up)
        timer.start()
        try:
            serve.send(self._process.stdin, header, arrays)  # type: ignore[arg-type]
            answer, found = serve.receive(self._process.stdout)  # type: ignore[arg-type]
        except (EOFError, OSError) as error:
            self.stop()
            if late.is_set():
                says = f"it did not answer within {seconds:g} s; raise its option timeout if it only needs more time"
                raise RunError(f"{self._name}: {says}") from None
            how = f"its process ended with exit status {self._process.returncode}" if self._process.returncode else "it ended"
            if self._process.returncode < 0:
                how = f"its process was ended by signal {-self._process.returncode}"
            raise RunError(f"{self._name}: {how}{self._last_words()}; see its adapter, or try a smaller model") from error
        except (ValueError, TypeError, MemoryError) as error:
            self.stop()
            says = "its adapter answered with something else than a message"
            raise RunError(f"{self._name}: {says} ({error}); it must not write to its answers' stream") from None
        finally:
            timer.cancel()
        if "error" in answer:
            self.stop()
            raise RunError(f"{self._name}: {answer['error']}; see its adapter, or the versions in its environment")
        return found

    @property
    def is_alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def stop(self) -> None:
        """Kill it, and all processes that it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _listen(self) -> None:
        assert self._process.stderr is not None
        while said := os.read(self._process.stderr.fileno(), 1 << 12):
            self._said = (self._said + said)[-(1 << 12) :]

    def _last_words(self) -> str:
        self._listener.join(1)
        lines = self._said.decode(errors="replace").replace("\r", "\n").splitlines()
        return next((f" ({line.strip()[:300]})" for line in reversed(lines) if line.strip()), "")


_idle: list[tuple[tuple[Any, ...], PeerProcess]] = []


@contextmanager
def process_of(environment: PeerEnvironment, adapter: Path) -> Iterator[PeerProcess]:
    """A process of that peer for one training: the one that the last training left, or a new one.

    To import a peer can take seconds. At most one process is kept, and it has the cores that this process may use.
    """
    key = (environment, environment.folder, adapter, tuple(core_list()))
    found = None
    while _idle and found is None:
        known, process = _idle.pop()
        if known == key and process.is_alive:
            found = process
        else:
            process.stop()
    found = found or PeerProcess(environment, adapter)
    usable = False
    try:
        yield found
        usable = True
    except GeneratorExit:  # the training was stopped after one of its epochs
        usable = True
        raise
    finally:
        if usable:
            _idle.append((key, found))
        else:
            found.stop()
