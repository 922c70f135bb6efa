"""NumPy files: ``.npy`` and ``.npz``, without pickles."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from scoread_jax.errors import SceneError
from scoread_jax.io.contents import Contents

NPY_SIGNATURE = b"\x93NUMPY"
ZIP_SIGNATURE = b"PK"
ARRAY = "array"  # what the one array of a .npy is called


def read(path: Path) -> Contents:
    """Read a ``.npy`` or ``.npz`` file, told apart by content.

    Args:
        path: the file.

    Returns:
        Its arrays; that of a ``.npy`` is called ``array``.

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


def _members(path: Path) -> dict[str, np.ndarray]:
    loaded = np.load(path, allow_pickle=False)
    if isinstance(loaded, np.ndarray):
        return {ARRAY: loaded}
    with loaded:
        return {name: np.asarray(loaded[name]) for name in loaded.files}
