"""The peer's end of the protocol: `python serve.py ADAPTER.py`, inside the environment of the peer.

A message is one line of JSON, whose `arrays` says the dtype and the shape of each array that follows, then their bytes. The
harness sends `train` with the settings of a training, and `next` for each of its epochs. The adapter's function `train`, a
generator, is given both as one object, and yields once it is ready, then the model after each epoch: a dict of arrays, either
P, Q, user_bias, item_bias and mean, or the table `predictions` [n_users, n_items]. Each request gets one answer, which has an
`error` if it failed. Uses numpy and the standard library alone, as mfbench is not installed here.
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import queue
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any, BinaryIO

import numpy as np

KINDS = "fiu"  # of numbers: what an array may hold
LONGEST = 1 << 20


def send(stream: BinaryIO, header: Mapping[str, Any], arrays: Mapping[str, Any]) -> None:
    """Write one message."""
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    # ascontiguousarray makes an array of shape (1,) out of a number.
    shapes = {name: [one.dtype.str, np.shape(arrays[name])] for name, one in whole.items()}
    stream.write(json.dumps({**header, "arrays": shapes}).encode() + b"\n")
    for one in whole.values():
        stream.write(one.data.cast("B") if one.size else b"")
    stream.flush()


def receive(stream: BinaryIO) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read one message: its header and its arrays. EOFError at the end of the stream, ValueError if it is no message."""
    line = stream.readline(LONGEST)
    if not line.endswith(b"\n"):
        raise ValueError("no message") if len(line) == LONGEST else EOFError
    header = json.loads(line)
    if not isinstance(header, dict) or not isinstance(described := header.pop("arrays", None), dict):
        raise ValueError("no message")
    arrays = {}
    for name, (dtype, shape) in described.items():
        if np.dtype(dtype).kind not in KINDS:
            raise ValueError(f"{name} is no array of numbers")
        arrays[name] = np.empty(shape, dtype)
        if arrays[name].size and stream.readinto(arrays[name].reshape(-1).view("B")) != arrays[name].nbytes:  # type: ignore[attr-defined]
            raise EOFError
    return header, arrays


def main(path: str) -> None:
    """Answer requests until the harness is gone."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what the peer prints goes to stderr
    requests: queue.SimpleQueue[tuple[dict[str, Any], dict[str, Any]]] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(requests,), daemon=True).start()
    adapter: Any = None
    training: Iterator[dict[str, Any]] = iter(())
    model: dict[str, Any] | None
    while True:
        header, arrays = requests.get()
        try:
            if adapter is None:
                adapter = _loaded(path)
            if "train" in header:
                training = adapter.train(SimpleNamespace(**header["train"], **arrays))
            model = next(training)
        except Exception as error:
            answer, model = {"error": f"{type(error).__name__}: {error}"}, None
        else:
            answer = {"python": platform.python_version()}
        send(answers, answer, model or {})


def _read(requests: queue.SimpleQueue[tuple[dict[str, Any], dict[str, Any]]]) -> None:
    try:
        while True:
            requests.put(receive(sys.stdin.buffer))
    finally:
        os.killpg(0, signal.SIGKILL)  # the harness is gone: so go all processes that were started here


def _loaded(path: str) -> Any:
    spec = importlib.util.spec_from_file_location("adapter", path)  # its folder is not on sys.path: it has a `surprise.py`
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main(sys.argv[1])
