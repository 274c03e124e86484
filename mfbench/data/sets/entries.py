"""The catalogue of data sets besides MovieLens, the archive of an entry, and the ratings in it."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from mfbench.core.errors import DataError
from mfbench.core.files import file_digest
from mfbench.data.dataset import Dataset
from mfbench.data.download import Archive, checked, fetch
from mfbench.data.prepared import read_or_make
from mfbench.data.sets.tables import read_entry
from mfbench.spec import DataEntry

CATALOGUE = Path(__file__).with_name("catalogue.yaml")


@cache
def entries() -> dict[str, DataEntry]:
    """The entries of `catalogue.yaml` by the name of the data set."""
    tree = yaml.safe_load(CATALOGUE.read_text(encoding="utf-8"))
    found: dict[str, Any] = dict(tree["sets"])
    for family, one in tree["families"].items():
        for name, more in one["names"].items():
            entry = {
                key: value.replace("NAME", name) if isinstance(value, str) else value for key, value in one["entry"].items()
            }
            found[f"{family}-{name.lower().replace('_', '-')}"] = entry | more
    return {name: DataEntry.model_validate(entry) for name, entry in found.items()}


def archive_of(name: str, entry: DataEntry) -> Archive:
    """The archive of an entry: in the data home it has its own name in our catalogue, else that of the data set.

    >>> archive_of("mine", DataEntry(address="https://example.org/v1.2/all.csv.gz?download=1")).file
    'mine.csv.gz'
    """
    folder, _, remote = (entry.address or "").rpartition("/")
    base = urlsplit(remote).path
    file = base if entry is entries().get(name) else name + _suffix(base)
    return Archive(
        file, entry.size, entry.md5, entry.sha256, redistributable=entry.redistributable, address=f"{folder}/", remote=remote
    )


def load_entry(name: str, entry: DataEntry) -> Dataset:
    """The data set of an entry, prepared on first use; DataError if it is not available, or not as the entry says."""
    archive = archive_of(name, entry)
    source: dict[str, Any] = {"entry": entry.content()}
    if entry.file is not None:
        path = Path(entry.file).expanduser()
        try:
            source["file"] = file_digest(path)
            if entry.titles and (beside := path.parent / entry.titles.member).is_file():
                source["titles"] = file_digest(beside)
        except OSError as error:
            raise DataError(f"{path}: the file of {name} cannot be read ({error.strerror}); correct its entry") from None
        return read_or_make(name, source, lambda: read_entry(checked(path, archive), name, entry))
    read: list[Path] = []

    def make() -> Dataset:
        read.append(fetch(archive))
        return read_entry(read[0], name, entry)

    return read_or_make(name, source, make, lambda: {"archive_sha256": file_digest(read[0])})


def _suffix(file: str) -> str:
    found = re.search(r"(\.(tar|csv|tsv|txt|dat|jsonl|ndjson))?\.[A-Za-z]\w*$", file)
    return found[0] if found else ""
