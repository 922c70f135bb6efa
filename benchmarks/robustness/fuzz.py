"""Mutated files: readers answer with a scene or with an error of ours, soon, and in bounded memory."""

from __future__ import annotations

import multiprocessing
import os
import re
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.robustness.mutate import mutated
from benchmarks.robustness.seeds import SEEDS
from scoread_jax import io
from scoread_jax.errors import ScoreADError

HANG_SECONDS = 10.0  # of computing
_BUSY = 12  # times as long on the clock, for a machine that is busy
_MEMORY_FACTOR, _MEMORY_BASE = 4, 500e6
_MOST_FINDINGS = 20


def fuzz(
    reader: str, count: int, minutes: float = float("inf"), before: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Give a reader ``count`` mutated files, in a process that is replaced when it dies or hangs.

    Args:
        reader: one of ``SEEDS``.
        count: files, among them those of ``before``; the same number is the same file.
        minutes: after which no more files are given.
        before: what this returned, to go on from there.

    Returns:
        Counts of files that were read and refused, and the findings.
    """
    context = multiprocessing.get_context("spawn")
    earlier = before or {"files": 0, "read": 0, "refused": 0, "findings": [], "seconds": 0.0}
    begin, findings = time.monotonic(), list(earlier["findings"])
    # The next file, those read and refused, and after which no more are given.
    state = context.Array("q", [earlier["files"], earlier["read"], earlier["refused"], count])
    queue: Any = context.Queue()
    while state[0] < state[3] and len(findings) < _MOST_FINDINGS:
        process = context.Process(target=_work, args=(reader, state, queue), daemon=True)
        process.start()
        died = _watch(process, state, begin + 60 * minutes)
        while not queue.empty():
            findings.append(queue.get())
        if died:
            findings.append({"file": int(state[0]), "what": died})
            state[0] += 1
    seconds = earlier["seconds"] + time.monotonic() - begin
    return {"files": state[0], "read": state[1], "refused": state[2], "findings": findings, "seconds": seconds}


class Files:
    """The mutated files of a reader, by their numbers.

    Args:
        reader: one of ``SEEDS``.
        folder: empty; it holds the files.

    Attributes:
        path: of the scene.
        good: what all the files held at first.
    """

    def __init__(self, reader: str, folder: Path) -> None:
        self.path = folder / SEEDS[reader](folder)
        self._salt = sum(reader.encode())
        self.good = {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
        self._changed = self.path

    def write(self, number: int) -> int:
        """Write the files of a number, all but one of them good, and return their size."""
        rng = np.random.default_rng([self._salt, number])
        if self._changed in self.good:
            self._changed.write_bytes(self.good[self._changed])
        self._changed = list(self.good)[rng.integers(len(self.good))]
        content = mutated(rng, self.good[self._changed])
        self._changed.write_bytes(content)
        return sum(map(len, self.good.values())) - len(self.good[self._changed]) + len(content)


def _watch(process: Any, state: Any, end: float) -> str:
    """Wait for a worker; say how it died, or nothing. A machine that is busy with other work hangs nobody."""
    seen, since, computed = -1, time.monotonic(), 0.0
    while True:
        process.join(0.2)
        if not process.is_alive():
            return "" if process.exitcode == 0 else f"the process died ({process.exitcode})"
        if time.monotonic() > end:
            state[3] = min(state[3], state[0] + 1)
        patience = HANG_SECONDS + 20 * (seen == -1)
        if state[0] != seen:
            seen, since, computed = state[0], time.monotonic(), _computed(process.pid)
        elif _computed(process.pid) - computed > patience or time.monotonic() - since > _BUSY * patience:
            process.kill()
            process.join()
            return f"no answer in {HANG_SECONDS:g} s"


def _computed(process: int) -> float:
    """Seconds that a process, and those that read for it, have computed."""
    fields = _about(process, "stat").rpartition(")")[2].split()
    own = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    return own + sum(_computed(child) for child in _children(process))


def _children(process: int) -> list[int]:
    return [int(child) for child in _about(process, f"task/{process}/children").split()]


def _about(process: int | str, what: str) -> str:
    try:
        return Path(f"/proc/{process}/{what}").read_text()
    except OSError:  # it has just ended
        return ""


def _work(reader: str, state: Any, queue: Any) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (24 << 30, 24 << 30))
    place = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=place) as name:
        files = Files(reader, Path(name))
        io.read_scene(files.path)
        base = _peak()
        while state[0] < state[3]:
            size, before = files.write(state[0]), _peak()
            try:
                io.read_scene(files.path)
                state[1] += 1
            except ScoreADError:
                state[2] += 1
            except BaseException as error:  # whatever it is, it is a finding
                queue.put({"file": int(state[0]), "what": f"{type(error).__name__}: {error}"})
            if before < _peak() > base + _MEMORY_FACTOR * size + _MEMORY_BASE:
                queue.put({"file": int(state[0]), "what": f"{(_peak() - base) / 1e6:.0f} MB for {size} bytes"})
            state[0] += 1


def _peak() -> int:
    """Most memory that this process and the one that reads for it have held, in bytes."""
    own, ended = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    living = [re.search(r"VmHWM:\s*(\d+)", _about(child, "status")) for child in _children(os.getpid())]
    return (own + max(ended, *(int(each[1]) for each in living if each), 0)) * 1024
