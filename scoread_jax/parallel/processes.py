"""Several processes on one piece of work, on one machine or many."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from scoread_jax.errors import ConfigError, ProcessError

# How long processes wait for each other at the start, and how long one may be silent, in seconds.
_MEETING = 120
_SILENCE = 60

Part = TypeVar("Part")


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


def join(coordinator: str | None = None, processes: int | None = None, process_id: int | None = None) -> Rank:
    """Meet the other processes of a run, before JAX starts; afterwards its collectives reach all of them.

    Args:
        coordinator: ``HOST:PORT`` of process 0; as SLURM, a TPU pod or Open MPI say where None.
        processes: how many there are.
        process_id: which one this is, from 0.

    Raises:
        ConfigError: where nobody says who the others are.
        ProcessError: where they do not answer.
    """
    if (processes, process_id) != (None, None):
        rank(True, processes, process_id)
    if coordinator is not None:
        host, colon, port = coordinator.rpartition(":")
        if not (host and colon and port.isdigit()):
            raise ConfigError(f"--coordinator must be HOST:PORT of process 0, found {coordinator!r}")
        if processes is None:
            raise ConfigError("--coordinator expects --processes and --process-id beside it, found none; give all")
    elif processes is not None:
        raise ConfigError("--processes expects --coordinator HOST:PORT beside it, found none; give all")
    try:
        jax.distributed.initialize(
            coordinator, processes, process_id, initialization_timeout=_MEETING, heartbeat_timeout_seconds=_SILENCE
        )
        multihost_utils.sync_global_devices("scoread")
    except ValueError as error:  # nothing in the environment says who the others are
        raise ConfigError(
            f"--distributed expects SLURM, a TPU pod or Open MPI to say which processes there are, found none "
            f"({error}); give --coordinator HOST:PORT --processes N --process-id I"
        ) from error
    except RuntimeError as error:
        raise _gone(error) from error
    return Rank(jax.process_index(), jax.process_count())


def supervise(run: Callable[..., int], *arguments: Any) -> int:
    """Run a process of a distributed run in a process of its own, which JAX ends without a word when another is gone.

    Args:
        run: returns an exit code; a function of a module.
        *arguments: of it.

    Raises:
        ProcessError: where it was ended so.
    """
    child = multiprocessing.get_context("spawn").Process(target=_exit_with, args=(run, *arguments))
    child.start()
    child.join()
    if child.exitcode == -signal.SIGABRT:
        raise _gone(None)
    assert child.exitcode is not None
    return child.exitcode if child.exitcode >= 0 else 128 - child.exitcode


def process_index() -> int:
    """Which of the processes that run together this is; 0 for one on its own."""
    return jax.process_index()


def process_count() -> int:
    """How many processes run together."""
    return jax.process_count()


def share(parts: Sequence[Part], rank: Rank | None = None) -> Sequence[Part]:
    """What one process does of a list, at least one entry of it; all for a process on its own.

    Args:
        parts: one or more.
        rank: this process where None.
    """
    number, of = rank or Rank(process_index(), process_count())
    begin, end = (len(parts) * edge // of for edge in (number, number + 1))
    return parts[begin:end] or parts[-1:]


def exchange(whole: Any, slices: Sequence[slice]) -> Any:
    """Fill in what the other processes did.

    Args:
        whole: a tree of arrays [..., length], of which this process has filled its slice; changed in place.
        slices: of all processes.

    Returns:
        The tree.

    Raises:
        ProcessError: where one of the others is gone.
    """
    if jax.process_count() == 1:
        return whole
    longest = max(part.stop - part.start for part in slices)
    mine = slices[jax.process_index()]
    for leaf in jax.tree.leaves(whole):
        padded = np.zeros((*leaf.shape[:-1], longest), leaf.dtype)
        padded[..., : mine.stop - mine.start] = leaf[..., mine]
        for part, found in zip(slices, _gather(padded), strict=True):
            leaf[..., part] = found[..., : part.stop - part.start]
    return whole


def agree(tree: Any) -> Any:
    """Take the first process's arrays in place of one's own, so that all go on with the same."""
    if jax.process_count() == 1:
        return tree
    return jax.tree.map(lambda leaf: _gather(np.asarray(leaf))[0], tree)


def _gather(array: np.ndarray) -> np.ndarray:
    """The arrays of all processes, [processes, ...]; bit for bit, whatever their type."""
    flat = np.frombuffer(array.tobytes(), np.uint8)
    try:
        found = np.asarray(multihost_utils.process_allgather(flat))
    except RuntimeError as error:
        raise _gone(error) from error
    return found.view(array.dtype).reshape(len(found), *array.shape)


def _gone(error: Exception | None) -> ProcessError:
    reason = "JAX ended this one" if error is None else str(error).partition("\n")[0]
    return ProcessError(
        f"expected all processes of the run to come within {_MEETING} s and to stay, found that one is gone "
        f"({reason}); see what the others say, and start all of them again"
    )


def _exit_with(run: Callable[..., int], *arguments: Any) -> None:
    # Libraries that print to the standard output do not print among our results.
    sys.stdout = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    code = run(*arguments)
    if code:  # without waiting for the others
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
