"""Files that one process at a time may hold."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from scoread_jax.errors import ScoreADError


@contextlib.contextmanager
def lock(path: str | os.PathLike[str], *, patient: bool = False) -> Iterator[bool]:
    """Hold a file while the block runs. The system lets go of it when the process ends, however it ends.

    Args:
        path: made where it does not exist, and removed at the end; what a killed process left holds nobody up.
        patient: wait for the one who holds it.

    Yields:
        Whether it is held: False where another process, of this machine or another one, holds it.

    Raises:
        ScoreADError: when the system refuses to make the file.
    """
    path = Path(path)
    with contextlib.ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            held, current = True, False
            while held and not current:  # who held it before may have removed it
                file = stack.enter_context(path.open("ab"))
                held = _take(file.fileno(), patient)
                current = path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat())
        except OSError as error:
            raise ScoreADError(
                f"{path}: expected to make this file, found: {error.strerror}; choose another place"
            ) from error
        try:
            yield held
        finally:
            if held:
                with contextlib.suppress(OSError):  # Windows removes no open file
                    path.unlink()


if sys.platform == "win32":
    import msvcrt

    def _take(descriptor: int, patient: bool) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_LOCK if patient else msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _take(descriptor: int, patient: bool) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if patient else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        return True
