"""Access to the sealed test part, and the log of who has opened it: repeated use makes its scores optimistic."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from mfbench.core.errors import of_the_machine
from mfbench.core.files import named_in_errors
from mfbench.core.paths import RUNS
from mfbench.matrix.ratings import Ratings

if TYPE_CHECKING:
    from mfbench.data.splits import Parts

LOG = "test-openings.jsonl"
NAMED = 5  # the most studies that a message names


def log_opening(study: str, split_digest: str, test_digest: str | None, reason: str) -> None:
    """Log in `runs/<study>/test-openings.jsonl` which test part was opened, why, and when (seconds since 1970).

    A study that opens the same part again for the same reason, as for the final runs of its other backends and repeats,
    adds no line.
    """
    log = RUNS / study / LOG
    log.parent.mkdir(parents=True, exist_ok=True)
    digests = {"split_digest": split_digest, "test_digest": test_digest}
    line = {"study": study, **digests, "time": time.time(), "reason": reason}
    try:
        with named_in_errors(log), FileLock(log.with_name(".openings.lock")), log.open("ab+") as file:
            file.seek(0)
            logged = file.read()
            if not any(split_digest.encode() in one and json.dumps(reason).encode() in one for one in logged.splitlines()):
                unfinished = b"" if logged.endswith(b"\n") or not logged else b"\n"  # by a full disk
                file.write(unfinished + json.dumps(line).encode() + b"\n")
    except OSError as error:  # not a failure of the backend whose run this is
        raise of_the_machine(error) from error


def openers(test_digest: str | None) -> list[str]:
    """The keys of the studies under `runs/` that have opened the test part with that digest, sorted.

    A study that is resumed, or repeats its final runs, counts once. Studies of every spec count: the scores of a test part
    become optimistic whoever uses it.
    """
    if test_digest is None:
        return []
    digest = test_digest.encode()  # search the raw text: a line truncated by a full disk must not hide the others
    return [log.parent.name for log in sorted(RUNS.glob(f"*/{LOG}")) if log.is_file() and digest in log.read_bytes()]


def openings_of(test_digest: str) -> list[dict[str, Any]]:
    """The lines of the log about the test part with that digest: study, digests, time and reason of each opening."""
    found: list[dict[str, Any]] = []
    for opener in openers(test_digest):
        for line in (RUNS / opener / LOG).read_text(encoding="utf-8", errors="replace").splitlines():
            with suppress(ValueError):  # truncated by a full disk
                found += [json.loads(line)] if test_digest in line else []
    return found


def other_openers(test_digest: str | None, study: str) -> list[str]:
    """The openers other than `study`."""
    return [opener for opener in openers(test_digest) if opener != study]


def worn(test_digest: str | None, others: Sequence[str]) -> list[str]:
    """A warning if other studies have opened the test part with that digest, else an empty list."""
    if test_digest is None or not others:
        return []
    count = "1 other study" if len(others) == 1 else f"{len(others)} other studies"
    named = ", ".join(others[:NAMED]) + (f" and {len(others) - NAMED} more" if len(others) > NAMED else "")
    opened = f"test part {test_digest[:8]} has been opened by {count} ({named})"
    return [f"{opened}: repeated use of a test part makes its scores optimistic"]


def sealed_path(folder: Path) -> Path:
    """The file of the test part in the folder of a split."""
    return folder / "sealed" / "test.npz"


def open_test(parts: Parts, study: str, reason: str) -> Ratings:
    """Read the test part; there is no other way to do so, and `log_opening` logs when and why."""
    log_opening(study, parts.split_digest, parts.test_digest, reason)
    return parts._read(sealed_path(parts.folder))
