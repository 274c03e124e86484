"""A peer of the tests' own: a package that is built here, its adapter, and its class, in files as its user writes them."""

from __future__ import annotations

import textwrap
import zipfile
from pathlib import Path

import numpy as np

LIBRARY = """
def epoch(users, items, values, P, Q, rate, penalty):
    for u, i, r in zip(users, items, values):
        e = r - P[u] @ Q[i]
        P[u], Q[i] = P[u] + rate * (e * Q[i] - penalty * P[u]), Q[i] + rate * (e * P[u] - penalty * Q[i])
"""

ADAPTER = """
import os
import stat
import sys
import time

import numpy as np


def train(given):
    import tinymf

    print("what it prints is no answer")
    if given.mode == "error":
        raise ValueError("no such thing")
    yield {}
    tables = {"P": given.P, "Q": given.Q, "user_bias": given.user_bias, "item_bias": given.item_bias}
    for epoch in range(given.epochs):
        tinymf.epoch(given.users, given.items, given.values - given.mean, given.P, given.Q, 2 * given.alpha, given.beta / 2)
        if given.mode == "crash" and epoch == 1:
            print("out of luck", file=sys.stderr, flush=True)
            os._exit(3)
        if given.mode == "hang":
            time.sleep(600)
        if given.mode == "nonsense":
            for fd in range(3, 9):
                try:
                    if stat.S_ISFIFO(os.fstat(fd).st_mode):
                        os.write(fd, b"nonsense" + bytes([10]))
                except OSError:
                    pass
        if given.mode == "shape":
            yield {**tables, "P": given.P[1:], "mean": np.float64(given.mean)}
        elif given.mode == "nan":
            yield {**tables, "P": given.P + np.nan, "mean": np.float64(given.mean)}
        elif given.mode == "table":
            yield {"predictions": given.mean + given.P @ given.Q.T}
        else:
            yield {**tables, "mean": np.float64(given.mean)}
"""

CLASS = """
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from mfbench.backends.peers.peer import Peer


@dataclass(frozen=True)
class Tiny(Peer):
    '''SGD without biases.'''

    mode: str = "fine"

    tunable: ClassVar = frozenset({"K", "alpha", "beta"})
    peer: ClassVar = "tiny"
    package: ClassVar = "tinymf"
    files: ClassVar = Path(__file__).parent


@dataclass(frozen=True)
class TinyInOneGo(Tiny):
    '''The same, with the whole training in one answer.'''

    n_epochs: int = 3

    in_one_go: ClassVar = True
"""


def write_peer(folder: Path) -> str:
    """The name in a spec of the class. Its package needs no network: it finds numpy where these tests have it."""
    metadata = "tinymf-1.5.dist-info"
    wheel = folder / "tinymf-1.5-py3-none-any.whl"
    files = {
        "tinymf.py": LIBRARY,
        "tinymf.pth": str(Path(np.__file__).parents[1]),
        f"{metadata}/METADATA": "Metadata-Version: 2.1\nName: tinymf\nVersion: 1.5\n",
        f"{metadata}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        archive.writestr(f"{metadata}/RECORD", "".join(f"{name},,\n" for name in [*files, f"{metadata}/RECORD"]))
    (folder / "tiny.txt").write_text(f"--no-index\ntinymf @ {wheel.as_uri()}\n")
    (folder / "tiny.py").write_text(textwrap.dedent(ADAPTER))
    (folder / "tiny_peer_class.py").write_text(CLASS)
    return f"{folder / 'tiny_peer_class.py'}:Tiny"
