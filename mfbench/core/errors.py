"""The errors that mfbench raises: one sentence each, for a person.

A message says what is wrong, where (file, line or key, value), and what would be right. The command line prints it and
leaves with `exit_code`; a traceback is for bugs of our own.
"""

import errno


class MfbenchError(Exception):
    """Root of all errors that are meant for a person."""

    exit_code = 1


class InputError(MfbenchError):
    """What the user gave cannot be used: a spec, a data file, an argument."""

    exit_code = 2


class SpecError(InputError):
    """A key or value of a spec is wrong."""


class DataError(InputError):
    """A data set cannot be had, or does not hold what its format promises."""


class RecordError(MfbenchError):
    """A record of a run is missing or damaged."""


class WorkError(MfbenchError):
    """The work itself failed: every trial diverged, a worker could not be kept alive, a download broke off."""


def is_disk_full(error: BaseException) -> bool:
    """Whether the disk, or this user's share of it, has no space left."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def of_the_machine(error: OSError) -> WorkError:
    """A full disk, a folder that cannot be written, as a sentence: the machine's trouble, no bug of ours."""
    where = error.filename or "a file"
    if is_disk_full(error):
        return WorkError(f"{where}: the disk is full; free some space and run the same command again, it goes on from there")
    return WorkError(f"{where}: {error.strerror}; see that it can be read and written")
