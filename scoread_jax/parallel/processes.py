"""Several processes on one piece of work, on one machine or many."""

from __future__ import annotations

import os
from typing import NamedTuple

from scoread_jax.errors import ConfigError


class Rank(NamedTuple):
    """Which of several processes this is.

    Attributes:
        number: from 0.
        of: how many there are.
    """

    number: int
    of: int


def rank(distributed: bool, processes: int | None, process_id: int | None) -> Rank:
    """Find out which process this is, without asking the others.

    Args:
        distributed: whether there are others at all; then SLURM's word counts where none is given.
        processes: how many.
        process_id: which one this is, from 0.

    Returns:
        (0, 1) for a process on its own.

    Raises:
        ConfigError: for numbers that do not fit together, and where nobody says them.
    """
    if (processes is None) != (process_id is None):
        given, absent = ("--processes", "--process-id") if process_id is None else ("--process-id", "--processes")
        raise ConfigError(f"{given} expects {absent} beside it, found none; give both")
    if processes is not None and process_id is not None:
        if not 0 <= process_id < processes:
            raise ConfigError(f"--process-id must be in [0, {processes}) (--processes), found {process_id}")
        return Rank(process_id, processes)
    if not distributed:
        return Rank(0, 1)
    if "SLURM_PROCID" not in os.environ:
        raise ConfigError(
            "--distributed expects to be started by srun, found no SLURM_PROCID in the environment; "
            "give --processes N --process-id I"
        )
    return Rank(int(os.environ["SLURM_PROCID"]), int(os.environ.get("SLURM_NTASKS", "1")))


def share_memory() -> None:
    """Leave room on an accelerator for other processes of this machine; before JAX starts."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
