"""The environments of peers: for each a folder with a Python of its own, in which its pinned packages are installed."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from mfbench.core.errors import InputError, WorkError
from mfbench.core.files import write_whole
from mfbench.core.paths import peers_home

State = Literal["ready", "outdated", "missing"]

INSIDE = """
import importlib.metadata, json, platform, sysconfig
found = importlib.metadata.distributions(path=[sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
packages = {one.name: one.version for one in found if one.name not in ("pip", "setuptools")}
print(json.dumps({"python": platform.python_version(), "packages": dict(sorted(packages.items()))}))
"""


@dataclass(frozen=True)
class PeerEnvironment:
    """The environment of a peer. name: of the peer, and of its folder. requirements: the file that pins its packages.

    Its folder also has `installed.json`, written last: without it, the environment is incomplete and counts as missing.
    """

    name: str
    requirements: Path

    @property
    def folder(self) -> Path:
        """Where it is or would be, below `core.paths.peers_home`."""
        return peers_home() / self.name

    @property
    def python(self) -> Path:
        """Its Python."""
        return self.folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")

    @cached_property
    def pins(self) -> str:
        """16 hex digits of a digest of the requirements."""
        return hashlib.sha256(self.requirements.read_bytes()).hexdigest()[:16]

    @property
    def state(self) -> State:
        """Whether it can be used; `outdated` if other pins are installed than this version of mfbench has."""
        found = self._installed()
        if found.get("python") is None or not self.python.exists():
            return "missing"
        return "ready" if found.get("pins") == self.pins else "outdated"

    def versions(self) -> dict[str, str]:
        """The version of its `python`, a digest of its `pins`, and the version of each package; empty if it is missing."""
        found = self._installed()
        packages = found.pop("packages", {})
        return {**found, **packages}

    def get(self) -> PeerEnvironment:
        """Make the environment and install the peer, unless it is ready. WorkError if that fails; nothing is left then."""
        from filelock import FileLock

        home = peers_home()
        home.mkdir(parents=True, exist_ok=True)
        with FileLock(home / f".{self.name}.lock"):  # two processes must not install into one folder
            if self.state != "ready":
                try:
                    self._make()
                except BaseException:
                    shutil.rmtree(self.folder, ignore_errors=True)
                    raise
        return self

    def remove(self) -> bool:
        """Delete the environment; False if there was none."""
        there = self.folder.exists()
        if there:
            (self.folder / "installed.json").unlink(missing_ok=True)  # first, so that a part of it never counts as ready
            shutil.rmtree(self.folder)
        (peers_home() / f".{self.name}.lock").unlink(missing_ok=True)
        return there

    def _make(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self._run([sys.executable, "-m", "venv", str(self.folder)], "install venv and pip for this Python")
        pip = [str(self.python), "-m", "pip", "--disable-pip-version-check", "--no-input"]
        remedy = "check the network, and that the peer supports this version of Python"
        self._run([*pip, "install", "--requirement", str(self.requirements)], remedy)
        found = {"pins": self.pins, **json.loads(self._run([str(self.python), "-c", INSIDE], remedy))}
        write_whole(self.folder / "installed.json", json.dumps(found, indent=1).encode())

    def _run(self, words: Sequence[str], remedy: str) -> str:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
            errors = [line for line in said if line.lower().startswith("error")]
            why = (errors or said or [f"exit status {done.returncode}"])[-1].strip()
            raise WorkError(f"{self.name} could not be installed ({why}); {remedy}")
        return done.stdout

    def _installed(self) -> dict[str, Any]:
        try:
            found = json.loads((self.folder / "installed.json").read_bytes())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}


def folders() -> list[str]:
    """The names of the folders in the home of the peers."""
    home = peers_home()
    return sorted(path.name for path in home.iterdir() if path.is_dir()) if home.exists() else []


def check_name(name: str) -> None:
    """InputError if the name cannot be that of a folder."""
    if not name.replace("-", "").replace("_", "").isalnum():
        raise InputError(f"peer {name!r}: a name has letters, digits, - and _ only; choose another")
