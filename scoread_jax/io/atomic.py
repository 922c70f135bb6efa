"""Files that are either whole or not there: written beside the target, then renamed."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scoread_jax.errors import ScoreADError


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path to write to, and rename it to ``path`` when all went well.

    The temporary file lies beside the target and ends in the same suffix. After any failure it is removed and
    the target is as it was.

    Args:
        path: the file to write; one that exists is replaced.

    Yields:
        The temporary path, where nothing exists yet.

    Raises:
        ScoreADError: when the system refuses (no such folder, no permission, disk full, ...).
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")
    try:
        yield temporary
        _flush(temporary)
        os.replace(temporary, path)
        _flush(path.parent)
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        raise ScoreADError(f"{path}: expected to write this file, found: {reason}; choose another place") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a UTF-8 text file.

    Args:
        path: the file to write; one that exists is replaced.
        text: what it will hold.

    Raises:
        ScoreADError: when the system refuses.
    """
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write a JSON file, indented, with a newline at its end.

    Args:
        path: the file to write; one that exists is replaced.
        value: of what JSON knows; NaN and infinity are not among that.

    Raises:
        ScoreADError: when the system refuses.
    """
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def _flush(path: Path) -> None:
    """Have the system put a file, or a folder's list of files, on the disk."""
    if path.is_dir() and os.name == "nt":
        return  # Windows cannot open a folder, and needs no flush of it
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
