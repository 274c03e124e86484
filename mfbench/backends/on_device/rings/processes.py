"""Joining the other processes of a training, before anything else of JAX."""

from __future__ import annotations

import os

from mfbench.backends.on_device import accelerator  # noqa: F401  # before JAX, whose settings it makes
from mfbench.core.errors import InputError
from mfbench.core.machine import be_one_of

NUMBER, COUNT = "MFBENCH_PROCESS", "MFBENCH_PROCESSES"
"""Environment variables for a launcher that JAX does not know; with JAX_COORDINATOR_ADDRESS, which JAX reads itself."""
SILENCE = 30
"""Seconds without a sign of life after which a process counts as dead, and the others are aborted."""


def join() -> None:
    """Join the processes that a launcher started with this one: SLURM, Open MPI, Kubernetes, or the variables above.

    InputError if there is none.
    """
    import jax

    given = {name: int(os.environ[name]) if name in os.environ else None for name in (NUMBER, COUNT)}
    try:
        jax.distributed.initialize(
            num_processes=given[COUNT],
            process_id=given[NUMBER],
            heartbeat_timeout_seconds=SILENCE,
            shutdown_timeout_seconds=SILENCE,
        )
    except (RuntimeError, ValueError, KeyError) as error:
        why = " ".join(str(error).split())[:200]
        raise InputError(
            f"--processes auto: no other processes found ({why}); start it by srun, or give their number"
        ) from None
    be_one_of(jax.process_index(), jax.process_count())
