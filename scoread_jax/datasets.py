"""Public benchmark scenes by name, and a made one that needs no file.

A file is looked for in ``SCOREAD_DATA_DIR`` (default ``../shared/data``), then in the user's cache
(``SCOREAD_CACHE_DIR``), then downloaded into that cache from the repository that published it, pinned
by commit and SHA-256.
"""

from __future__ import annotations

import difflib
import hashlib
import os
from pathlib import Path

from scoread_jax import io
from scoread_jax.bands import ALL, Selection
from scoread_jax.catalogue import DATASETS, Dataset, File
from scoread_jax.errors import SceneError
from scoread_jax.scene import Scene
from scoread_jax.synthetic import SYNTHETIC, synthetic


def names() -> tuple[str, ...]:
    """List the names of all scenes."""
    return tuple(dataset.name for dataset in DATASETS)


def info(name: str) -> str:
    """Describe a scene in one line: sensor, size, files and who published them.

    Args:
        name: one of ``names()``.

    Raises:
        SceneError: for an unknown name.
    """
    dataset = find(name)
    files = ", ".join(f"{file.name} from github.com/{file.repository}" for file in dataset.files)
    return f"{dataset.sensor}: {dataset.description} ({files})" if files else dataset.description


def find(name: str) -> Dataset:
    """Look a scene up.

    Args:
        name: one of ``names()``.

    Raises:
        SceneError: for an unknown name.
    """
    for dataset in DATASETS:
        if dataset.name == name:
            return dataset
    close = difflib.get_close_matches(name, names(), n=1)
    raise SceneError(
        f"{name}: expected the name of a scene ({', '.join(names())}), found no such one"
        f"{f'; did you mean {close[0]}?' if close else '; choose one of these'}"
    )


def path(name: str) -> tuple[Path, ...]:
    """Find the files of a scene, downloading what is not there yet.

    Args:
        name: one of ``names()``.

    Returns:
        The file of the cube, then that of the truth where it is another; nothing for the made scene.

    Raises:
        SceneError: for an unknown name, and where a file can neither be found nor downloaded.
    """
    return tuple(_locate(file) for file in find(name).files)


def load(name: str, selection: Selection = ALL) -> Scene:
    """Load a scene by its name.

    Args:
        name: one of ``names()``.
        selection: which bands are wanted.

    Raises:
        SceneError: for an unknown name, and where a file can neither be found nor downloaded.
    """
    if name == SYNTHETIC:
        return synthetic(selection=selection)
    cube, *truth = path(name)
    return io.read_scene(cube, truth_path=truth[0] if truth else None, selection=selection, name=name)


def at_hand(name: str) -> bool:
    """Tell whether the files of a scene are on this machine already; they are not read."""
    folders = (_own_dir(), cache_dir())
    return all(any((folder / file.name).is_file() for folder in folders) for file in find(name).files)


def cache_dir() -> Path:
    """Find the folder that downloaded scenes are kept in."""
    chosen = os.environ.get("SCOREAD_CACHE_DIR")
    if chosen:
        return Path(chosen)
    import pooch

    return Path(pooch.os_cache("scoread_jax"))


def _own_dir() -> Path:
    return Path(os.environ.get("SCOREAD_DATA_DIR") or "../shared/data")


def _locate(file: File) -> Path:
    beside = _own_dir() / file.name
    if beside.is_file():  # the user's own: not judged by its digest
        return beside
    cached = cache_dir() / file.name
    if cached.is_file() and hashlib.sha256(cached.read_bytes()).hexdigest() == file.sha256:
        return cached
    found = "another file of this name" if cached.exists() else "none"
    by_hand = (
        f"put the one from github.com/{file.repository} there by hand (SHA-256 {file.sha256}), "
        "or one of your own into the folder SCOREAD_DATA_DIR"
    )
    if file.url is None:
        raise SceneError(f"{cached}: expected this file, found {found} and know of no download; {by_hand}")
    try:
        _download(file.url, file.sha256, cached)
    except Exception as error:  # whatever the network, the server or the disk have to say
        reason = " ".join(str(error).split()) or "no reason given"
        raise SceneError(
            f"{cached}: expected this file, found {found} and could not download it from {file.url} "
            f"({type(error).__name__}: {reason}); {by_hand}"
        ) from error
    return cached


def _download(url: str, sha256: str, target: Path) -> None:
    """Fetch ``url`` into ``target`` if its digest is ``sha256``."""
    import pooch

    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel("ERROR")  # it would print what it does
    try:
        pooch.retrieve(url, known_hash=f"sha256:{sha256}", fname=target.name, path=target.parent)
    finally:
        logger.setLevel(level)
