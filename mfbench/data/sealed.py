"""Who has opened a test part: it is a surprise once, and wears out with every further study that looks at it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mfbench.matrix.ratings import Ratings

if TYPE_CHECKING:
    from mfbench.data.splits import Parts

import json
import time
from collections.abc import Sequence

from filelock import FileLock

from mfbench.core.files import named_in_errors
from mfbench.core.paths import RUNS

LOG = "test-openings.jsonl"
NAMED = 5  # studies in a sentence


def log_opening(study: str, split_digest: str, test_digest: str | None, reason: str) -> None:
    """Add a line to `runs/<study>/test-openings.jsonl`: what was opened, why, and when (seconds since 1970).

    An opening belongs to its study and has its reason: what a study reads again for the same one, as for the final runs of
    its other backends and repeats, is no other opening.
    """
    log = RUNS / study / LOG
    log.parent.mkdir(parents=True, exist_ok=True)
    digests = {"split_digest": split_digest, "test_digest": test_digest}
    line = {"study": study, **digests, "time": time.time(), "reason": reason}
    with named_in_errors(log), FileLock(log.with_name(".openings.lock")), log.open("a+", encoding="utf-8") as file:
        file.seek(0)
        if not any(split_digest in one and json.dumps(reason) in one for one in file):
            file.write(json.dumps(line) + "\n")


def openers(test_digest: str | None) -> list[str]:
    """The keys of the studies under `runs/` that have opened the test part of that digest, each once, in order.

    A study that goes on, or makes its final runs again, is one study still. It is the part that wears out, so studies of
    other names count as well.
    """
    if test_digest is None:
        return []
    digest = test_digest.encode()  # looked for in the whole file: a line that a full disk cut short hides no other
    return [log.parent.name for log in sorted(RUNS.glob(f"*/{LOG}")) if digest in log.read_bytes()]


def other_openers(test_digest: str | None, study: str) -> list[str]:
    """The openers but for that study."""
    return [opener for opener in openers(test_digest) if opener != study]


def worn(test_digest: str | None, others: Sequence[str]) -> list[str]:
    """A sentence where other studies have opened the test part of that digest, else none."""
    if test_digest is None or not others:
        return []
    count = "1 other study" if len(others) == 1 else f"{len(others)} other studies"
    named = ", ".join(others[:NAMED]) + (f" and {len(others) - NAMED} more" if len(others) > NAMED else "")
    return [f"test part {test_digest[:8]} has been opened by {count} ({named}): its numbers are less and less of a surprise"]


def sealed_path(folder: Path) -> Path:
    return folder / "sealed" / "test.npz"


def open_test(parts: Parts, study: str, reason: str) -> Ratings:
    """The test part: the only way to it. When and why it was opened is logged, see `openings.log_opening`."""
    log_opening(study, parts.split_digest, parts.test_digest, reason)
    return parts._read(sealed_path(parts.folder))
