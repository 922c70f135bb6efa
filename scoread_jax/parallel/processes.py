"""Several processes on one piece of work, on one machine or many."""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import os
import pickle
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from scoread_jax.errors import ConfigError, ProcessError, ScoreADError
from scoread_jax.group import ALONE, Group
from scoread_jax.interrupt import KEPT, SIGNALS

# How long processes wait for each other at the start, and how long one may be silent, in seconds.
_MEETING = 120
_SILENCE = 60

# In what JAX says when a collective meets a process that is gone.
_GONE = ("Gloo", "NCCL", "CoordinationService", "heartbeat", "Connection")

Result = TypeVar("Result")


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
    jax.config.update("jax_enable_preemption_service", False)  # it would take SIGTERM from us
    try:
        jax.distributed.initialize(
            coordinator, processes, process_id,
            initialization_timeout=_MEETING, heartbeat_timeout_seconds=_SILENCE, shutdown_timeout_seconds=_SILENCE,
        )  # fmt: skip
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

    Signals are handed on to it.

    Args:
        run: returns an exit code; a function of a module.
        *arguments: of it.

    Raises:
        ProcessError: where it was ended so.
    """
    child = multiprocessing.get_context("spawn").Process(target=_exit_with, args=(run, *arguments))
    child.start()
    with contextlib.ExitStack() as stack:
        for number in SIGNALS:
            handle = functools.partial(_hand_on, child)
            stack.callback(signal.signal, number, signal.signal(number, handle))
        child.join()
    if child.exitcode == -signal.SIGABRT:
        raise _gone(None)
    assert child.exitcode is not None
    return child.exitcode if child.exitcode >= 0 else 128 - child.exitcode


@contextlib.contextmanager
def with_others() -> Iterator[None]:
    """Say in a sentence what JAX finds while it computes with processes of which one is gone.

    Raises:
        ProcessError: then.
    """
    try:
        yield
    except (RuntimeError, ValueError) as error:  # by what the collective's library makes of it
        if jax.process_count() > 1 and any(word in str(error) for word in _GONE):
            raise _gone(error) from error
        raise


def process_index() -> int:
    """Which of the processes that run together this is; 0 for one on its own."""
    return jax.process_index()


def process_count() -> int:
    """How many processes run together."""
    return jax.process_count()


def group() -> Group:
    """The processes that run together, this one on its own among them."""
    return Group(jax.process_index(), jax.process_count(), _gather) if jax.process_count() > 1 else ALONE


def agree(tree: Any) -> Any:
    """Take the first process's arrays in place of one's own, so that all go on with the same."""
    together = group()
    return jax.tree.map(lambda leaf: together.gather(np.asarray(leaf))[0], tree)


def from_first(fn: Callable[[], Result]) -> Result:
    """What a function finds in the first process, for all of them; its error, too, is an error of all.

    Raises:
        ScoreADError: of the function.
    """
    if jax.process_count() == 1:
        return fn()
    found: Any = None
    if jax.process_index() == 0:
        try:
            found = fn()
        except ScoreADError as error:
            found = error
    said = pickle.dumps(found)
    length = int(_gather(np.array(len(said)))[0])
    told = _gather(np.frombuffer(said.ljust(length)[:length], np.uint8))[0]
    if jax.process_index() > 0:
        found = pickle.loads(told.tobytes())
    if isinstance(found, ScoreADError):
        raise found
    return found


def _gather(array: np.ndarray) -> np.ndarray:
    """The arrays of all processes, [processes, ...]; bit for bit, whatever their type."""
    flat = np.frombuffer(array.tobytes(), np.uint8)
    found = np.asarray(multihost_utils.process_allgather(flat))
    return found.view(array.dtype).reshape(len(found), *array.shape)


def _gone(error: Exception | None) -> ProcessError:
    reason = "JAX ended this one" if error is None else str(error).partition("\n")[0]
    return ProcessError(
        f"expected all processes of the run to come within {_MEETING} s and to stay, found that one is gone "
        f"({reason}); see what the others say, and start all of them again"
    )


def _hand_on(child: BaseProcess, number: int, _: Any) -> None:
    assert child.pid is not None
    if child.is_alive():
        os.kill(child.pid, number)


def _exit_with(run: Callable[..., int], *arguments: Any) -> None:
    # Libraries that print to the standard output do not print among our results.
    sys.stdout = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    try:
        code = run(*arguments)
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:  # whatever it is, the others are not waited for
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    if code == KEPT:  # all of them end so, and say goodbye to each other
        sys.exit(code)
    if code:  # without waiting for the others
        os._exit(code)
