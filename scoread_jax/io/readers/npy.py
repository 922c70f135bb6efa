"""NumPy files: ``.npy`` and ``.npz``, without pickles."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import IO

import numpy as np

from scoread_jax.cube import Cube
from scoread_jax.errors import SceneError
from scoread_jax.io.contents import Contents
from scoread_jax.io.readers.lazy import check_claim, file_cube

NPY_SIGNATURE = b"\x93NUMPY"
ZIP_SIGNATURE = b"PK"
ARRAY = "array"  # what the one array of a .npy is called


def read(path: Path) -> Contents:
    """Read a ``.npy`` or ``.npz`` file, told apart by content.

    Args:
        path: the file.

    Returns:
        Its arrays; that of a ``.npy`` is called ``array``, and is lazy when it is a cube.

    Raises:
        SceneError: for a file of another kind, and for pickled objects, which are never loaded.
    """
    with path.open("rb") as file:
        head = file.read(len(NPY_SIGNATURE))
    if not head.startswith((NPY_SIGNATURE, ZIP_SIGNATURE)):
        raise SceneError(f"{path}: expected a NumPy file, found another kind of file; use numpy.save")
    try:
        members = _members(path)
    except ValueError as error:
        if "pickle" not in str(error):
            raise
        raise SceneError(
            f"{path}: expected arrays of numbers, found pickled objects, which are never loaded "
            "because they can run code; save plain arrays"
        ) from error
    arrays = {name: each for name, each in members.items() if each.dtype.kind in "biuf" and each.size}
    kinds = {name: str(each.dtype) if each.size else "empty" for name, each in members.items()}
    return Contents(path, arrays, {name: kind for name, kind in kinds.items() if name not in arrays})


def _members(path: Path) -> dict[str, Cube]:
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            return {ARRAY: _plain(path, file)}
    members = {}
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            name = entry.filename.removesuffix(".npy")
            with archive.open(entry) as file:
                if file.read(len(NPY_SIGNATURE)) == NPY_SIGNATURE:
                    file.seek(0)
                    check_claim(path, (entry.file_size,), np.dtype(np.uint8), entry.compress_size)
                    members[name] = np.lib.format.read_array(file, allow_pickle=False)
    return members


def _plain(path: Path, file: IO[bytes]) -> Cube:
    """The array of a ``.npy`` file: a cube stays there, unless it is a list of objects, which is refused."""
    version = np.lib.format.read_magic(file)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, by_columns, dtype = read_header(file)
    offset = file.tell()
    if any(length < 0 for length in shape):
        raise SceneError(f"{path}: expected lengths of 0 or more, found the shape {shape}; it is damaged: get it again")
    expected, found = offset + math.prod(shape) * dtype.itemsize, path.stat().st_size
    if not dtype.hasobject and found < expected:
        raise SceneError(
            f"{path}: expected {expected} bytes ({' × '.join(map(str, shape))} {dtype} after {offset}), found {found}; "
            "it is cut short: get it again"
        )
    if len(shape) == 3 and dtype.kind in "iuf" and math.prod(shape):
        axes = (2, 1, 0) if by_columns else (0, 1, 2)
        return file_cube(path, dtype, shape[::-1] if by_columns else shape, axes, offset)
    return np.load(path, allow_pickle=False)
