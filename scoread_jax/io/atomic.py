"""Files that are either whole or not there: written beside the target, then renamed."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import shutil
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


@contextlib.contextmanager
def atomic_files(path: str | os.PathLike[str]) -> Iterator[Path]:
    """The same for a format that is several files of one name, or a folder: all take their place, or none.

    Args:
        path: the file or folder to write; what exists is replaced, with whatever lies beside the path yielded.

    Yields:
        A path of the same name in an empty folder beside the target.

    Raises:
        ScoreADError: when the system refuses (no such folder, no permission, disk full, ...).
    """
    path = Path(path)
    with _staged(path.parent, path) as staging:
        yield staging / path.name


@contextlib.contextmanager
def atomic_set(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """The same for files that belong together: those that exist are replaced by all of them, or by none.

    Args:
        folder: in which they take their places.

    Yields:
        An empty folder, to write them in under their names.

    Raises:
        ScoreADError: when the system refuses, whichever file it was.
    """
    folder = Path(folder)
    with _staged(folder, folder) as staging:
        try:
            yield staging
        except ScoreADError as error:  # the user knows of the folder alone
            raise type(error)(str(error).replace(str(staging), str(folder))) from error


@contextlib.contextmanager
def _staged(folder: Path, wanted: Path) -> Iterator[Path]:
    staging = folder / f".{wanted.name}.{secrets.token_hex(4)}"
    try:
        os.mkdir(staging)
        yield staging
        _install(staging, folder)
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        raise ScoreADError(f"{wanted}: expected to write there, found: {reason}; choose another place") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _install(staging: Path, folder: Path) -> None:
    """Move all that was staged into a folder; what it replaces is moved back if one of the moves fails."""
    written = sorted(staging.iterdir())
    for each in staging.rglob("*"):
        _flush(each)
    replaced, installed = staging / ".replaced", []
    os.mkdir(replaced)
    try:
        for each in written:
            target = folder / each.name
            if target.is_dir() and not each.is_dir():
                raise IsADirectoryError(errno.EISDIR, f"{os.strerror(errno.EISDIR)}: {target}")
            if os.path.lexists(target) and (len(written) > 1 or each.is_dir()):
                os.replace(target, replaced / each.name)
            os.replace(each, target)
            installed.append(each)
    except OSError:
        for each in installed:
            os.replace(folder / each.name, each)
        for each in replaced.iterdir():
            os.replace(each, folder / each.name)
        raise
    _flush(folder)


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
