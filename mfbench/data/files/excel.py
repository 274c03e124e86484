"""Excel files, old (.xls) and new (.xlsx), as delimited text: the cells of the first sheet."""

from __future__ import annotations

import io
from pathlib import Path

from mfbench.core.errors import DataError

OLD = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


def is_sheet(path: Path, raw: bytes) -> bool:
    """Whether this is an Excel file, by its first bytes; a new one, which is a zip file, also by its name."""
    return raw.startswith(OLD) or (raw.startswith(b"PK") and path.suffix.lower() == ".xlsx")


def as_csv(path: Path, raw: bytes) -> bytes:
    """The sheet as CSV in UTF-8, whole numbers without a point; DataError if it cannot be read, or its reader is missing."""
    import pandas as pd  # takes a third of a second to import

    try:
        sheet = pd.read_excel(io.BytesIO(raw), header=None, dtype=object, engine="calamine")
    except ImportError:
        raise DataError(
            f"{path}: an Excel file needs the package python-calamine; install it with `pip install 'mfbench[excel]'`, or save"
            " the sheet as CSV"
        ) from None
    except Exception as error:  # that package has kinds of its own, and pandas ValueError
        raise DataError(f"{path}: this Excel file cannot be read ({error}); save the sheet as CSV") from None
    return sheet.to_csv(header=False, index=False).encode()
