"""A directory that vouches for itself: one JSON file with the digest of every other file, and its own.

What stands in such a file may be anybody's: a digest finds damage, not malice. So names that lead out of the
directory, links, and files that are no plain files are refused before anything is opened.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import textwrap
from collections.abc import Collection
from pathlib import Path, PurePosixPath
from typing import Any

from scoread_jax import config as configuration
from scoread_jax.config import Config
from scoread_jax.errors import CheckpointError, ConfigError
from scoread_jax.io.atomic import write_text

# The JSON of a detector of a thousand bands takes 20 kB.
_LARGEST_SEAL = 1 << 24


def write(directory: Path, name: str, record: dict[str, Any]) -> None:
    """Seal a directory: write ``record`` with the digests of all files that lie there.

    Args:
        directory: complete but for the seal.
        name: of the seal.
        record: what JSON knows; ``files`` and ``sha256`` are added.

    Raises:
        ScoreADError: when the system refuses.
    """
    files = sorted(path for path in directory.rglob("*") if path.is_file() and path != directory / name)
    digests = {path.relative_to(directory).as_posix(): _digest(path) for path in files}
    write_text(directory / name, text(record | {"files": digests}))


def read(directory: Path, name: str, formats: Collection[int]) -> dict[str, Any]:
    """Read what a seal says, once every file under it is found to be as it was written.

    Args:
        directory: sealed.
        name: of the seal.
        formats: values of the record's ``format`` that the caller reads.

    Raises:
        CheckpointError: naming the file and what is wrong with it.
    """
    path = directory / name
    try:
        _check_plain(path)
        if path.stat().st_size > _LARGEST_SEAL:
            raise ValueError(f"it has more than {_LARGEST_SEAL >> 20} MiB")
        found = path.read_text(encoding="utf-8")
        record = json.loads(found)
        version, files = record["format"], dict(record.get("files", {}))
        whole = text({key: value for key, value in record.items() if key != "sha256"}) == found
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise damaged(path, reason(error)) from error
    if version not in formats:
        raise CheckpointError(
            f"{path}: expected {path.stem} format {' or '.join(map(str, formats))}, found {version!r}; "
            "use the scoread_jax that wrote it"
        )
    if not whole:
        raise damaged(path, "its digest is another")
    for file, digest in files.items():
        _check_file(directory, file, digest)
    return record


def text(record: dict[str, Any]) -> str:
    """What a seal's file holds: the record with the digest of all the rest, in the one way in which it is written."""
    whole = json.dumps(record, sort_keys=True)
    return json.dumps(record | {"sha256": hashlib.sha256(whole.encode()).hexdigest()}, indent=1)


def configuration_of(path: Path, record: dict[str, Any]) -> Config:
    """The configuration that a record holds.

    Raises:
        CheckpointError: for one that this version does not read.
    """
    try:
        return configuration.from_table(record["config"])
    except ConfigError as error:
        raise CheckpointError(
            f"{path}: expected a configuration of this version, found that {error}; "
            f"use scoread_jax {record['version']}, which wrote it"
        ) from error


def damaged(path: Path, why: str) -> CheckpointError:
    """Say that a file is not what it was."""
    return CheckpointError(
        f"{path}: expected a checkpoint's file as it was saved, found it damaged ({why}); restore a copy or train again"
    )


def reason(error: BaseException) -> str:
    """Return what an exception says in one short line."""
    text = getattr(error, "strerror", None) or str(error)
    return textwrap.shorten(text, 200, placeholder=" …") or type(error).__name__


def _check_file(directory: Path, name: str, digest: str) -> None:
    inside = PurePosixPath(name)
    if inside.is_absolute() or ".." in inside.parts:
        raise damaged(directory, f"it names the file {name!r} elsewhere")
    try:
        _check_plain(directory / inside)
        found = _digest(directory / inside)
    except (OSError, ValueError) as error:
        raise damaged(directory / inside, reason(error)) from error
    if found != digest:
        raise damaged(directory / inside, "its digest is another")


def _check_plain(path: Path) -> None:
    """Refuse links, which lead elsewhere, and pipes and devices, which never end."""
    if not stat.S_ISREG(os.lstat(path).st_mode):
        raise ValueError("it is no plain file")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
