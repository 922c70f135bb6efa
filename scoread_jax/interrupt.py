"""Signals: work that can be kept is kept before the process ends."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
KEPT = 75  # the exit code: EX_TEMPFAIL of sysexits.h, try again later

# Seconds. A terminal or a launcher gives one signal to a process and to its parent, which hands it on.
_ECHO = 1.0


class Interrupted(Exception):
    """Work was stopped by a signal and kept; the message says how to go on."""


class Stop:
    """Whether somebody asked for the end.

    Attributes:
        requested: number of the first signal, 0 for none.
    """

    requested = 0


@contextlib.contextmanager
def deferred() -> Iterator[Stop]:
    """While work is under way that watches ``Stop``: the first signal asks for the end, the second ends at once.

    One that came too late for the work to see it is delivered again at the end. Only the main thread hears signals;
    elsewhere nothing is changed.
    """
    stop = Stop()

    heard = 0.0

    def handle(number: int, _: FrameType | None) -> None:
        nonlocal heard
        if stop.requested:
            if time.monotonic() - heard > _ECHO:
                os._exit(128 + number)
            return
        stop.requested, heard = number, time.monotonic()
        print("scoread: stopping after the steps under way; once more to stop at once", file=sys.stderr, flush=True)

    with contextlib.ExitStack() as stack:
        for number in SIGNALS:
            with contextlib.suppress(ValueError):  # not in the main thread
                stack.callback(signal.signal, number, signal.signal(number, handle))
        yield stop
    if stop.requested:
        signal.raise_signal(stop.requested)


@contextlib.contextmanager
def terminated_like_interrupted() -> Iterator[None]:
    """Let SIGTERM unwind the program, as SIGINT does, so that no temporary file stays."""

    def handle(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    with contextlib.ExitStack() as stack:
        with contextlib.suppress(ValueError):
            stack.callback(signal.signal, signal.SIGTERM, signal.signal(signal.SIGTERM, handle))
        yield
