"""The version of the running code: its commit, its uncommitted changes, and a digest of its source."""

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
BUT_RESULTS = [".", ":!results", ":!dvc.lock"]  # not the files that runs and dvc write
# Independent of the user's own git settings, so that the same changes always give the same diff.
DIFF = ["diff", "--binary", "--no-ext-diff", "--no-textconv", "--no-color", "--src-prefix=a/", "--dst-prefix=b/"]


@cache
def code() -> dict[str, Any]:
    """The fields that identify the running code.

    source: 16 hex digits of a digest over the names and contents of the package's Python files. git_commit, git_dirty: the
    commit of the checkout that mfbench runs from, and whether anything except `results/` and `dvc.lock` differs from it;
    None if mfbench was installed from a package, which has a version instead. git_diff: sha256 of `changes()`, None if
    there are no changes.
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
    """The diff from the commit to the working tree, without results but with the package's untracked files."""
    new = (_git("ls-files", "-z", "--others", "--exclude-standard", "--", PACKAGE.name) or b"").decode().split("\0")
    diffs = [_git(*DIFF, "HEAD", "--", *BUT_RESULTS)]
    diffs += [_git(*DIFF, "--no-index", "/dev/null", name, wrong=1) for name in new if name]
    return b"".join(diff or b"" for diff in diffs)


def kept_changes() -> bytes:
    """The diff that is saved beside the records; if it is larger than 1 MiB, one sentence that says so."""
    changed = changes()
    if len(changed) <= MOST_BYTES:
        return changed
    size = f"{len(changed):,} bytes, more than the limit of {MOST_BYTES:,}"
    return f"This diff was not saved: it has {size}; its digest covers the whole diff.\n".encode()


def _source() -> str:
    h = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        content = path.read_bytes()
        h.update(f"{path.relative_to(PACKAGE).as_posix()} {len(content)}\n".encode() + content)
    return h.hexdigest()[:16]


def _git(*words: str, wrong: int = 0) -> bytes | None:
    """The output of a git command in the checkout; None without a checkout or if the exit status is neither 0 nor `wrong`."""
    if not (ROOT / ".git").exists():
        return None
    # Without the optional lock on the index, as several processes may run git at the same time.
    command = ["git", "--no-optional-locks", "-C", str(ROOT), *words]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except OSError:
        return None
    return done.stdout if done.returncode in (0, wrong) else None
