"""The errors that mfbench raises: one sentence each, for a person.

A message says what is wrong, where (file, line or key, value), and what would be right. The command line prints it and
leaves with `exit_code`; a traceback is for bugs of our own.
"""


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
