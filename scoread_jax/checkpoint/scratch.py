"""Finished blocks of a scene that is being scored: ``DIR/scoring/NAME-DIGEST/ROWS.npz``."""

from __future__ import annotations

import hashlib
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from scoread_jax import parallel
from scoread_jax._version import __version__
from scoread_jax.blocks import Block
from scoread_jax.errors import CheckpointError, ScoreADError
from scoread_jax.interrupt import Interrupted, Stop
from scoread_jax.io.atomic import atomic_write

FOLDER = "scoring"


def digest(decides: Any) -> str:
    """Digest of all that decides a result, the versions that compute it among that.

    Args:
        decides: a tree of arrays, and of what is written the same where it is the same.
    """
    total = hashlib.sha256(f"{__version__} {jax.__version__}\n".encode())
    for path, leaf in jax.tree.flatten_with_path(decides)[0]:
        if isinstance(leaf, np.ndarray | jax.Array):
            total.update(f"{jax.tree_util.keystr(path)} {leaf.shape} {leaf.dtype}\n".encode())
            total.update(np.ascontiguousarray(leaf).reshape(-1).view(np.uint8).data)
        else:
            total.update(f"{jax.tree_util.keystr(path)} {leaf!r}\n".encode())
    return total.hexdigest()[:32]


class Scratch:
    """Keeps blocks that were finished, the newest ones in memory for a while.

    Args:
        folder: made when the first block is written.
        form: makes a block's result of its arrays.
        every: seconds of work that may be lost.
        stop: asked after every block.
        goes_on: how the user goes on.
        say: told what the user should know.
    """

    def __init__(
        self,
        folder: Path,
        form: Callable[[list[np.ndarray]], Any],
        every: float,
        stop: Stop,
        goes_on: str,
        say: Callable[[str], None],
    ) -> None:
        self._folder, self._form, self._every = folder, form, every
        self._stop, self._goes_on, self._say = stop, goes_on, say
        self._unwritten: list[tuple[Block, Any]] = []
        self._before, self._row = time.monotonic(), 0

    def load(self, block: Block) -> Any:
        """Return what was kept of a block; None where that is nothing, or damaged."""
        try:
            with np.load(self._path(block), allow_pickle=False) as found:  # every array has a CRC
                leaves = [found[f"arr_{number}"] for number in range(len(found.files))]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None
        wanted = block.pixels.stop - block.pixels.start
        return self._form(leaves) if leaves and all(leaf.shape[-1] == wanted for leaf in leaves) else None

    def done(self, block: Block, part: Any) -> bool:
        """Keep a block. Returns whether to go on: no signal asked for the end."""
        self._unwritten.append((block, part))
        self._row = block.core.stop
        if not self._stop.requested and time.monotonic() - self._before >= self._every:
            try:
                self._write()
            except ScoreADError as error:
                self._say(f"{error}; the scoring goes on without")
                self._unwritten = []
            self._before = time.monotonic()
        return not self._stop.requested

    def end(self) -> None:
        """Hear that no block is left, or that one of the processes was asked to stop.

        Raises:
            Interrupted: when a signal asked for the end; all blocks are written then.
            ScoreADError: when they cannot be written.
        """
        if parallel.group().any(bool(self._stop.requested)):
            self._write()
            raise Interrupted(f"stopped after row {self._row}; {self._goes_on}")

    def _write(self) -> None:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CheckpointError(
                f"{self._folder}: expected a directory for finished blocks, found: {error.strerror}"
            ) from error
        for block, part in self._unwritten:
            with atomic_write(self._path(block)) as temporary:
                np.savez(temporary, *jax.tree.leaves(part))
        self._unwritten = []

    def _path(self, block: Block) -> Path:
        return self._folder / f"{block.core.start}-{block.core.stop}.npz"
