"""The errors that mfbench raises, each with a message of one sentence.

A message says what is wrong, where (file, line or key, value), and what to do about it. The command line prints it and
exits with `exit_code`; a traceback means a bug in mfbench.
"""

import errno

from mfbench.core.inert import visible

LONGEST = 480
"""Characters of a message, which has less than 500 with what the command line puts before it."""


def in_one_line(text: str) -> str:
    r"""The text as one line for a terminal: control characters as escapes, and without the middle of a long text.

    Names in users' files are in messages, so they may have line breaks, commands to a terminal or a megabyte in them.

    >>> print(in_one_line("a" + chr(10) + "b" + chr(27) + "[31m"))
    a\nb\x1b[31m
    """
    shown = visible(text)
    return shown if len(shown) <= LONGEST else f"{shown[: LONGEST - 203]} … {shown[-200:]}"  # the remedy is at the end


class MfbenchError(Exception):
    """Base class of all errors whose message is meant for the user; it is kept `in_one_line`, whatever names are in it."""

    exit_code = 1

    def __init__(self, message: str) -> None:
        super().__init__(in_one_line(message))


class InputError(MfbenchError):
    """Invalid user input: a spec, a data file, an argument."""

    exit_code = 2


class SpecError(InputError):
    """A key or value of a spec is invalid."""


class DataError(InputError):
    """A data set is not available, or does not match its format."""


class RecordError(MfbenchError):
    """The record or the model file of a run is missing or damaged."""


class LeftOutWarning(UserWarning):
    """A record, or a file beside one, is damaged, and the command goes on without it."""


class WorkError(MfbenchError):
    """The work itself failed: every trial diverged, a worker kept dying, a download was interrupted."""


class RunError(WorkError):
    """What made a single run fail, as a peer that crashed: its outcome is `failed` for this reason, and others go on."""


def is_disk_full(error: BaseException) -> bool:
    """Whether the disk is full or the user's quota is used up."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def of_the_machine(error: OSError) -> WorkError:
    """The WorkError for an OSError such as a full disk or a read-only folder, which is no bug in mfbench."""
    where = error.filename or "a file"
    if is_disk_full(error):
        return WorkError(f"{where}: the disk is full; free some space and rerun the command to resume")
    return WorkError(f"{where}: {error.strerror}; make sure that it can be read and written")
