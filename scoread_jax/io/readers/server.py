"""A process beside this one that opens files with a library that some files can end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from multiprocessing import spawn
from pathlib import Path
from typing import Any

import numpy as np

from scoread_jax.errors import SceneError

_SERVING = Path(__file__).with_name("serving.py")

# Longest description of a file; those of real ones take some kilobytes.
_LONGEST = 64 << 20
# Larger pipes are faster, but a user has 64 MiB of them on Linux.
_PIPE = 1 << 18


class Server:
    """A script that answers, started when it is first asked, kept, and replaced when it died.

    Any thread may ask: one at a time is served. A process forked from this one starts its own.

    Args:
        script: its ``COMMANDS`` answer; see ``serving``.
        library: what it reads with, for messages.
    """

    def __init__(self, script: Path, library: str) -> None:
        self._script, self._library = script, library
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forked)

    def ask(self, path: Path, command: str, *arguments: Any) -> dict[str, Any]:
        """What a command says of a file.

        Raises:
            SceneError: where the process dies of it.
            OSError: where the library refuses.
        """
        with self._lock:
            return self._asked(path, command, arguments)

    def read(self, path: Path, shape: tuple[int, ...], dtype: np.dtype, command: str, *arguments: Any) -> np.ndarray:
        """The array that a command answers with, which must be of this shape and type.

        Raises:
            SceneError: where the process dies of it.
            OSError: where the library refuses, and for another array.
        """
        with self._lock:
            head = self._asked(path, command, arguments)
            if (tuple(head["shape"]), head["dtype"]) != (shape, dtype.str):
                self._end()
                raise OSError(f"another array than was described: {head}")
            values = np.empty(shape, dtype)
            with self._surviving(path) as process:
                _fill(process.stdout, values.reshape(-1).view(np.uint8).data)
        return values

    def _asked(self, path: Path, command: str, arguments: tuple[Any, ...]) -> dict[str, Any]:
        with self._surviving(path) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(json.dumps([command, [os.path.abspath(path), *arguments]]).encode() + b"\n")
            process.stdin.flush()
            line = process.stdout.readline(_LONGEST)
            if not line.endswith(b"\n"):
                raise EOFError
            answer = json.loads(line)
        if "error" in answer:
            raise OSError(answer["error"])
        return answer

    @contextlib.contextmanager
    def _surviving(self, path: Path) -> Any:
        """The process, started where there is none; where it dies, or is left in the middle of an answer, none."""
        if self._process is None or self._process.poll() is not None:
            self._process = self._started(path)
        try:
            yield self._process
        except (EOFError, BrokenPipeError) as error:
            raise SceneError(
                f"{path}: expected a file that the library {self._library} can read, found one on which it "
                f"{_why(self._end())}; it is damaged or made to do harm: get it again"
            ) from error
        except BaseException:
            self._end()
            raise

    def _started(self, path: Path) -> subprocess.Popen[bytes]:
        # Isolated: the folder of the script is not searched for modules; what this process finds is found there.
        command = [os.fsdecode(spawn.get_executable()), "-I", str(_SERVING), json.dumps(sys.path), str(self._script)]
        environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
        pipe = subprocess.PIPE
        try:
            return subprocess.Popen(
                command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, env=environment, pipesize=_PIPE
            )
        except OSError as error:
            raise SceneError(
                f"{path}: expected to start a process that reads it with {self._library}, found: {error.strerror}; "
                "free some memory, or allow more processes"
            ) from error

    def _end(self) -> int:
        """End the process, and say how it had ended."""
        assert self._process is not None
        process, self._process = self._process, None
        with contextlib.suppress(subprocess.TimeoutExpired):  # it may be about to end by itself, and say how
            process.wait(0.5)
        process.kill()
        with contextlib.suppress(OSError):
            process.communicate()
        return process.returncode

    def _forked(self) -> None:
        self._process, self._lock = None, threading.Lock()


def _fill(stream: Any, room: memoryview) -> None:
    while room:
        count = stream.readinto(room)
        if not count:
            raise EOFError
        room = room[count:]


def _why(code: int) -> str:
    if hasattr(signal, "SIGPROF") and code == -signal.SIGPROF:
        return "comes to no end"
    return f"dies ({signal.Signals(-code).name if -code in signal.valid_signals() else f'exit code {code}'})"
