"""A disk that is almost full."""

from __future__ import annotations

import shutil
from pathlib import Path


def fill(place: Path, left: int) -> Path:
    """Fill a disk up but for so many bytes, and give the file that does it."""
    ballast = place / "ballast"
    ballast.write_bytes(bytes(shutil.disk_usage(place).free - left))
    return ballast
