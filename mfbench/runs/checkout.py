"""The code that runs: its commit, what was changed since, and a digest of it."""

from __future__ import annotations

import hashlib
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import mfbench

PACKAGE = Path(mfbench.__file__).parent
ROOT = PACKAGE.parent
MOST_BYTES = 1 << 20
BUT_RESULTS = [".", ":!results", ":!dvc.lock"]  # what runs write, and what dvc writes of it
# The user's own settings for diffs aside.
DIFF = ["diff", "--binary", "--no-ext-diff", "--no-textconv", "--no-color", "--src-prefix=a/", "--dst-prefix=b/"]


@cache
def code() -> dict[str, Any]:
    """What tells this code from any other.

    source: 16 hex digits over the package's Python files, their names and contents. git_commit, git_dirty: the commit of
    the checkout that mfbench runs from, and whether anything but `results/` and `dvc.lock` was changed since; None where it
    was installed from a package, which has a version instead. git_diff: sha256 of `changes()`, None where there are none.
    """
    status = _git("status", "--porcelain", "--", *BUT_RESULTS)
    changed = changes() if status else b""
    return {
        "source": _source(),
        "git_commit": commit.decode().strip() if (commit := _git("rev-parse", "HEAD")) else None,
        "git_dirty": None if status is None else bool(status),
        "git_diff": hashlib.sha256(changed).hexdigest() if changed else None,
    }


@cache
def changes() -> bytes:
    """The diff from the commit to the working tree, results aside, with the package's files that git does not know."""
    new = (_git("ls-files", "-z", "--others", "--exclude-standard", "--", PACKAGE.name) or b"").decode().split("\0")
    told = [_git(*DIFF, "HEAD", "--", *BUT_RESULTS)]
    told += [_git(*DIFF, "--no-index", "/dev/null", name, wrong=1) for name in new if name]
    return b"".join(one or b"" for one in told)


def kept_changes() -> bytes:
    """The diff as it is kept beside the records: whole, or a sentence in its place where it is larger than 1 MiB."""
    changed = changes()
    if len(changed) <= MOST_BYTES:
        return changed
    return f"The diff has {len(changed):,} bytes, more than the {MOST_BYTES:,} that are kept; its digest is of all.\n".encode()


def _source() -> str:
    h = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        content = path.read_bytes()
        h.update(f"{path.relative_to(PACKAGE).as_posix()} {len(content)}\n".encode() + content)
    return h.hexdigest()[:16]


def _git(*words: str, wrong: int = 0) -> bytes | None:
    """What git says of the checkout; None where there is none, or it ends with a status that is neither 0 nor `wrong`."""
    if not (ROOT / ".git").exists():
        return None
    # Without the optional lock on the index, for several processes may ask at once.
    command = ["git", "--no-optional-locks", "-C", str(ROOT), *words]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except OSError:
        return None
    return done.stdout if done.returncode in (0, wrong) else None
