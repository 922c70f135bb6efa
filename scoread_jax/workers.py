"""Tasks spread over processes of this machine, any of which may die without taking the others along."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple, TypeVar

Task = TypeVar("Task")
Found = TypeVar("Found")


class Died(NamedTuple):
    """In place of a result: the process that worked on the task is gone.

    Attributes:
        reason: in a few words.
    """

    reason: str


def spread(
    work: Callable[[Task], Found], tasks: Sequence[Task], jobs: int, begin: Callable[[int], None] | None = None
) -> Iterator[tuple[Task, Found | Died]]:
    """Do every task in one of several processes, each started afresh and kept for many tasks.

    Args:
        work: of a task; a function of a module, since it is called in another process. It should catch its exceptions:
            one that it lets through ends its process.
        tasks: each of them handed out once.
        jobs: processes at a time, ≥ 1.
        begin: called in each process with its number, from 0, before the first task.

    Yields:
        Each task with what became of it, as soon as it is known.
    """
    waiting = deque(tasks)
    working: dict[Connection, tuple[Any, int, Task]] = {}

    def start(number: int) -> None:
        hand_out(*_start(work, begin, number), number)

    def hand_out(here: Connection, process: Any, number: int) -> None:
        task = waiting.popleft()
        working[here] = process, number, task
        with contextlib.suppress(OSError):  # a process that is gone is met at the next reading
            here.send(task)

    try:
        for number in range(min(jobs, len(waiting))):
            start(number)
        while working:
            for here in wait(list(working)):
                assert isinstance(here, Connection)
                process, number, task = working.pop(here)
                try:
                    found = here.recv()
                except (EOFError, OSError):
                    process.join()
                    found = Died(_reason(process.exitcode))
                    if waiting:
                        start(number)
                else:
                    if waiting:
                        hand_out(here, process, number)
                yield task, found
    finally:
        for process, *_ in working.values():
            process.terminate()


@contextlib.contextmanager
def started(
    work: Callable[[Task], Found], begin: Callable[[int], None] | None = None, copied: bool = False
) -> Iterator[Callable[[Task], Callable[[], Found | Died]]]:
    """Start one process now that is asked for something later.

    Args:
        work: as for ``spread``.
        begin: called in the process at once, with 0.
        copied: make it of this process, with all that is loaded here, instead of afresh; only where this is
            ``can_be_copied``, and in a process that has no threads of its own.

    Yields:
        What hands out a task there, and returns what waits for the result.
    """
    with _told_to_end() if copied else contextlib.nullcontext():
        # No daemon: those may not start others.
        here, process = _start(work, begin, 0, "fork" if copied else "spawn", daemon=False)

        def end() -> None:
            here.close()
            process.terminate()
            process.join()

        def hand_out(task: Task) -> Callable[[], Found | Died]:
            with contextlib.suppress(OSError):  # a process that is gone is met at the reading
                here.send(task)
            return result

        def result() -> Found | Died:
            try:
                return here.recv()
            except (EOFError, OSError):
                process.join()
                return Died(_reason(process.exitcode or 0))
            except BaseException:  # who does not wait clears up what the task may still write to
                end()
                raise

        try:
            yield hand_out
        finally:
            end()


@contextlib.contextmanager
def _told_to_end() -> Iterator[None]:
    """Where this process is terminated, it first ends what it has started."""
    usual = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, usual)


def can_be_copied() -> bool:
    """Whether this system copies processes well; macOS can, but its libraries do not survive it."""
    return sys.platform == "linux"


def _start(
    work: Callable[[Any], Any],
    begin: Callable[[int], None] | None,
    number: int,
    method: str = "spawn",
    daemon: bool = True,
) -> tuple[Connection, Any]:
    """A process that serves, and the pipe to it."""
    context: Any = multiprocessing.get_context(method)
    here, there = context.Pipe()
    # A copy has both ends.
    other = here if method == "fork" else None
    process = context.Process(target=_serve, args=(there, work, begin, number, other))
    process.daemon = daemon
    process.start()
    there.close()  # so that the end of the process is the end of the pipe
    return here, process


def _serve(
    there: Connection,
    work: Callable[[Any], Any],
    begin: Callable[[int], None] | None,
    number: int,
    other: Connection | None,
) -> None:
    """What a process does: tasks, until there is no one to ask."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the one who started it is interrupted, and ends it
    if other is not None:
        other.close()
    if begin is not None:
        begin(number)
    with contextlib.suppress(EOFError, OSError):
        while True:
            there.send(work(there.recv()))


def _reason(code: int) -> str:
    if code == -signal.SIGKILL:
        return "its process was killed, as systems do when memory runs out; use fewer --jobs"
    if code < 0:
        return f"its process was ended by {signal.Signals(-code).name}"
    return f"its process ended with code {code}"
