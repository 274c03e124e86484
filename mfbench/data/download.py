"""Fetch an official archive from the data home, a mirror or its official address, and verify its size and checksums."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mfbench.core.errors import DataError, WorkError
from mfbench.core.files import sole_writer
from mfbench.core.paths import data_home
from mfbench.data.pins import kept

if TYPE_CHECKING:
    import requests

AT_ONCE = 1 << 18
CONNECT_AND_READ_SECONDS = (15, 60)

GROUPLENS = "https://files.grouplens.org/datasets/movielens/"


Layout = Literal["csv", "100k", "dat"]


@dataclass(frozen=True)
class Archive:
    """An official archive, identified by its size and checksums, not by the address it comes from.

    Every checksum given is verified; if none is, the first download is what later ones are compared with, see
    `mfbench.data.pins`. layout: the format of the ratings inside, see `mfbench.data.movielens`; None if an entry of a
    catalogue says it. address: the URL of its folder, ending in a slash. remote: its file name there, if it is another.
    """

    file: str
    size: int | None
    md5: str | None
    sha256: str | None
    layout: Layout | None = None
    encoding: str = "utf-8"
    redistributable: bool = False
    address: str = GROUPLENS
    remote: str | None = None

    @property
    def url(self) -> str:
        """The address of the archive itself."""
        return self.address + (self.remote or self.file)


def fetch(archive: Archive) -> Path:
    """The path of the verified archive in `MFBENCH_DATA`; if it is not there, copy it from `MFBENCH_MIRROR` or download it.

    A download is written to `<file>.part`, resumes if interrupted, and is renamed once its size and checksums match.
    DataError: it is not available, or not the official archive. WorkError: the download was interrupted.
    """
    with sole_writer(archive.file):
        path = data_home() / archive.file
        if path.exists():
            return _kept(checked(path, archive), archive)
        mirror = os.environ.get("MFBENCH_MIRROR", "")
        if mirror.startswith(("http://", "https://")):
            addresses = [f"{mirror.rstrip('/')}/{archive.file}", archive.url]
        elif mirror:
            folder = Path(mirror).expanduser()
            if not folder.is_dir():
                raise DataError(f"MFBENCH_MIRROR: {mirror} is neither a folder nor an http(s) address; correct it")
            if (folder / archive.file).exists():
                return _kept(_copied(checked(folder / archive.file, archive), path), archive)
            addresses = [archive.url]
        else:
            addresses = [archive.url]
        if not any(_download(address, path, archive) for address in addresses):
            places = " nor ".join([mirror, archive.address] if mirror else [archive.address])
            raise DataError(f"{archive.file}: not found at {places}; set MFBENCH_MIRROR to a folder or address that has it")
        return _kept(path, archive)


def _kept(path: Path, archive: Archive) -> Path:
    return path if archive.md5 or archive.sha256 else kept(path)


def checked(path: Path, archive: Archive) -> Path:
    """The path of an archive that is there already; DataError unless it has the size and the checksums that are known."""
    if fault := _fault(path, archive):
        raise DataError(
            f"{path}: this is not the official {archive.file} ({fault}); replace it by the official one, or move it away"
        )
    return path


def _copied(source: Path, path: Path) -> Path:
    part = path.with_name(path.name + ".part")
    try:
        shutil.copyfile(source, part)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise WorkError(
            f"{path}: the archive cannot be written ({error.strerror}); check free space and permissions"
        ) from None
    return path


def _fault(path: Path, archive: Archive) -> str | None:
    """How the file differs from the official archive, or None."""
    try:
        if archive.size is not None and path.stat().st_size != archive.size:
            return f"it has {path.stat().st_size:,} bytes instead of {archive.size:,}"
        hashes = {"md5": hashlib.md5(usedforsecurity=False), "sha256": hashlib.sha256()}
        with path.open("rb") as file:
            while content := file.read(AT_ONCE):
                for h in hashes.values():
                    h.update(content)
    except OSError as error:
        raise DataError(f"{path}: this file cannot be read ({error.strerror}); check its permissions") from None
    for kind, h in hashes.items():
        expected = getattr(archive, kind)
        if expected is not None and h.hexdigest() != expected:
            return f"its {kind} is {h.hexdigest()[:12]}… instead of {expected[:12]}…"
    return None


def _download(url: str, path: Path, archive: Archive) -> bool:
    """Download to `path` and verify; False if the server has no such file."""
    part = path.with_name(path.name + ".part")
    there = part.stat().st_size if part.exists() else 0
    if there and (archive.size is None or there > archive.size):  # of unknown size, it may be of another version
        part.unlink()
        there = 0
    if there != archive.size and not _get(url, part, there, archive):
        return False
    if archive.size is not None and part.stat().st_size < archive.size:
        raise _broke_off(url, part, archive.size)
    if fault := _fault(part, archive):
        part.unlink()
        raise _not_official(url, archive, fault)
    part.replace(path)
    return True


def _get(url: str, part: Path, there: int, archive: Archive) -> bool:
    """Download into `part` from byte `there` on; False if the server has no such file."""
    import requests  # here for the start-up time

    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={there}-"} if there else {})
    began = False
    try:
        with requests.get(url, headers=headers, stream=True, timeout=CONNECT_AND_READ_SECONDS) as response:
            if response.status_code in (404, 410):
                return False
            if response.status_code == 416 and there:  # the partial file is longer than the server's
                part.unlink()
                return _get(url, part, 0, archive)
            content_range = response.headers.get("Content-Range", "")
            resumes = response.status_code == 206 and content_range.startswith(f"bytes {there}-")
            if not resumes and response.status_code != 200:
                raise DataError(
                    f"{url}: the server answered {response.status_code} {response.reason}; try again later, or set "
                    "MFBENCH_MIRROR to a folder or address that has the archive"
                )
            start = there if resumes else 0
            told = response.headers.get("Content-Length")
            size = archive.size if told is None else start + int(told)
            if archive.size is not None and size != archive.size:
                part.unlink(missing_ok=True)
                raise _not_official(url, archive, f"it has {size:,} bytes instead of {archive.size:,}")
            began = True
            _save(response, part, start, size)
            if size is not None and part.stat().st_size < size:
                raise _broke_off(url, part, size)
    except requests.exceptions.SSLError:
        raise DataError(
            f"{url}: the TLS certificate of this host is not valid; set MFBENCH_MIRROR to a folder or address that has "
            "the archive (its checksums are verified)"
        ) from None
    except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema) as error:
        raise DataError(f"{url}: this is not a valid address ({error}); correct MFBENCH_MIRROR") from None
    except requests.exceptions.RequestException:
        if began:
            raise _broke_off(url, part, archive.size) from None
        raise DataError(
            f"{url}: the host cannot be reached; check the network, or set MFBENCH_MIRROR to a folder that has the archive"
        ) from None
    except OSError as error:
        raise WorkError(
            f"{part}: the download cannot be written ({error.strerror}); check free space and permissions"
        ) from None
    return True


def _save(response: requests.Response, part: Path, start: int, size: int | None) -> None:
    with part.open("ab" if start else "wb") as file, _progress(part.stem, start, size) as advance:
        for content in response.iter_content(AT_ONCE):
            file.write(content)
            advance(len(content))
            if size is not None and file.tell() > size:  # an endless response; the size check that follows reports it
                break
        file.flush()
        os.fsync(file.fileno())


def _broke_off(url: str, part: Path, size: int | None) -> WorkError:
    of = f" of {size:,}" if size is not None else ""
    return WorkError(
        f"{url}: the download was interrupted after {part.stat().st_size:,}{of} bytes; rerun the command to resume"
    )


def _not_official(url: str, archive: Archive, fault: str) -> DataError:
    return DataError(
        f"{url}: the download is not the official {archive.file} ({fault}) and was deleted; try again, or set "
        "MFBENCH_MIRROR to a folder or address that has it"
    )


@contextmanager
def _progress(what: str, there: int, size: int | None) -> Iterator[Callable[[int], None]]:
    """A progress bar on stderr if that is a terminal; yields the function that advances it."""
    from rich.console import Console  # here for the start-up time
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task(what, total=size, completed=there)
        yield lambda n: progress.advance(task, n)
