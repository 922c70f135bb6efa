"""The process that opens files for another one: run as a script, never imported; see ``server``.

A request is a line of JSON; the answer to it is a line of JSON, and for an array the bytes that it announces. Libraries
in C loop, crash or take gigabytes on some damaged files, so every request has limits, and whoever asks survives.

Arguments: where modules are found, as JSON, and a script whose ``COMMANDS`` are the functions that answer, by name.
Each is called with ``limit``, which it tells what it needs, the path of a file, and what else was asked.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import runpy
import signal
import sys
from pathlib import Path
from typing import Any, BinaryIO

sys.path[:] = json.loads(sys.argv[1])

import numpy as np  # noqa: E402

if sys.platform == "linux":
    import resource

# Beside what a request asks for: bytes, and seconds of computing.
_ROOM, _SECONDS = 128 << 20, 2


def limit(wanted: int, seconds: float) -> None:
    """Let the system end this process where it takes far more than a request can need, from now on."""
    if sys.platform != "win32":  # which has no such limits
        # Not a limit of the process's whole time: the system counts that by its ticks, and the two clocks drift apart.
        signal.setitimer(signal.ITIMER_PROF, _SECONDS + seconds)
    if sys.platform == "linux":
        with contextlib.suppress(ValueError, OSError):  # a system that knows it and sets none
            room = _address_space() + _ROOM + wanted
            resource.setrlimit(resource.RLIMIT_AS, (room, resource.getrlimit(resource.RLIMIT_AS)[1]))


def _address_space() -> int:
    """Bytes of addresses that this process has taken."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")


@functools.cache
def _commands(script: str) -> dict[str, Any]:
    return runpy.run_path(script)["COMMANDS"]


def _serve(script: str, requests: BinaryIO, answers: BinaryIO) -> None:
    for line in requests:
        try:
            command, arguments = json.loads(line)
            answer = _commands(script)[command]
            limit(0, 0)
            found = answer(limit, *arguments)
        except Exception as error:  # a damaged file can make any library raise nearly anything
            found = {"error": " ".join(str(error).split()) or type(error).__name__}
        data = found if isinstance(found, np.ndarray) else None
        head = found if data is None else {"dtype": data.dtype.str, "shape": data.shape}
        answers.write(json.dumps(head).encode() + b"\n")
        if data is not None:
            answers.write(data.reshape(-1).view(np.uint8).data)
        answers.flush()


if __name__ == "__main__":
    # It ends when nobody can ask any more: signals to all processes of a run are for those that ask.
    for _number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(_number, signal.SIG_IGN)
    _serve(sys.argv[2], sys.stdin.buffer, sys.stdout.buffer)
