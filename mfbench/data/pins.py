"""Archives whose publisher gives no checksum: the first download is identified by its own, kept beside it."""

from __future__ import annotations

from pathlib import Path

from mfbench.core.errors import DataError
from mfbench.core.files import file_digest, write_whole


def kept(path: Path) -> Path:
    """The path of such an archive, once its sha256 is in `<file>.sha256`.

    DataError if another one is there, since then the archive is not the one that was there first.
    """
    pin, digest = path.with_name(path.name + ".sha256"), file_digest(path)
    if not pin.exists():
        write_whole(pin, f"{digest}  {path.name}\n".encode())
    elif (first := pin.read_text(encoding="utf-8", errors="replace").split(" ")[0]) != digest:
        raise DataError(
            f"{path}: this is not the file that was first downloaded (its sha256 is {digest[:12]}… instead of {first[:12]}…);"
            f" replace it by that one, or delete {pin} if its publisher has changed it"
        )
    return path
