"""What a file holds, whatever its format.

A format is one module beside this one, with a function ``read``, and a line in ``READERS``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from scoread_jax.errors import MissingExtraError, SceneError, ScoreADError
from scoread_jax.io.contents import Contents
from scoread_jax.io.readers import envi, hdf, mat, npy, raster, zarr

__all__ = ["READERS", "read"]

Reader = Callable[[Path], Contents]

READERS: Mapping[str, Reader] = {
    ".mat": mat.read,
    ".npy": npy.read,
    ".npz": npy.read,
    ".hdr": envi.read,
    **dict.fromkeys(hdf.SUFFIXES, hdf.read),
    **dict.fromkeys(raster.SUFFIXES, raster.read),
    zarr.SUFFIX: zarr.read,
}


def read(path: str | os.PathLike[str]) -> Contents:
    """Read whatever a file holds, with one sentence for each way in which it can fail.

    Args:
        path: the file; its format is told by its suffix, by its content for MATLAB files, and by a header beside
            it for ENVI files.

    Raises:
        SceneError: for a file that cannot be read.
        MissingExtraError: for a format whose library is not installed.
    """
    path = Path(path)
    if not os.path.exists(path):
        raise SceneError(f"{path}: expected a file, found nothing there; check the path")
    if os.path.isdir(path) and path.suffix != zarr.SUFFIX and not zarr.is_store(path):
        raise SceneError(f"{path}: expected a file, found a folder; name a file in it")
    try:
        return _reader(path)(path)
    except MissingExtraError as error:
        raise MissingExtraError(f"{path}: {error}") from error
    except ScoreADError:
        raise
    except Exception as error:  # a damaged file can make any library raise nearly anything
        reason = " ".join(str(error).split()) or "no more is known"
        raise SceneError(
            f"{path}: expected a file of numbers, found one that cannot be read ({type(error).__name__}: "
            f"{reason}); it may be damaged, cut short or of another kind: get it again"
        ) from error


def _reader(path: Path) -> Reader:
    if path.is_dir():
        return zarr.read
    with path.open("rb") as file:
        head = file.read(len(mat.SIGNATURE))
    if not head:
        raise SceneError(f"{path}: expected a scene, truth or map, found an empty file; get it again")
    suffix = path.suffix.lower()
    if head == mat.SIGNATURE:  # MATLAB files say what they are, whatever they are called
        return mat.read
    if suffix in READERS:
        return READERS[suffix]
    if envi.find_header(path) is not None:
        return envi.read
    if raster.opens(path):
        return raster.read
    if suffix in envi.DATA:
        return envi.read
    raise SceneError(
        f"{path}: expected a file ending in {', '.join((*READERS, *envi.DATA))}, "
        f"found {path.suffix or 'no suffix'!r}; convert it to one of these"
    )
