"""MATLAB files: v4 through SciPy, v5 to v7 by ``mat5``, v7.3 is HDF5."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from scoread_jax.errors import SceneError
from scoread_jax.io.contents import Contents
from scoread_jax.io.readers import hdf5, mat5
from scoread_jax.io.readers.lazy import check_claim
from scoread_jax.io.readers.stored import as_text, load

SIGNATURE = b"MATLAB "

_USER_BLOCK = 512  # bytes of MATLAB's own header before the HDF5 begins
_TEXT_OR_REFERENCES = ("char", "cell", "string", "function_handle", "datetime", "table")


def read(path: Path) -> Contents:
    """Read a ``.mat`` file of any version, told apart by content.

    Args:
        path: the file.

    Returns:
        Its variables, axes in MATLAB's order.

    Raises:
        SceneError: for an HDF5 file that MATLAB did not write.
    """
    with path.open("rb") as file:
        head = file.read(_USER_BLOCK + len(hdf5.SIGNATURE))
    if head.startswith(b"MATLAB 7.3") or head.endswith(hdf5.SIGNATURE):
        return _read_hdf5(path)
    if head.startswith(hdf5.SIGNATURE):
        raise SceneError(
            f"{path}: expected a MATLAB file, found an HDF5 file without MATLAB's header, "
            "so the order of its axes is not known; save the cube [rows, cols, bands] as .npy"
        )
    if 0 in head[:4]:  # version 4 begins with a small number, all others with text
        return _read_v4(path)
    return Contents(path, *mat5.read(path))


def _read_v4(path: Path) -> Contents:
    import scipy.io

    arrays, others = {}, {}
    for _, shape, _ in scipy.io.whosmat(path, appendmat=False):
        check_claim(path, shape, np.dtype(np.uint8))  # MATLAB stores small whole numbers in one byte each
    for name, value in scipy.io.loadmat(path, appendmat=False).items():
        if name.startswith("__"):
            continue
        if isinstance(value, np.ndarray) and value.dtype.kind in "biuf" and value.size:
            arrays[name] = value
        else:
            others[name] = _kind(value)
    return Contents(path, arrays, others)


def _kind(value: Any) -> str:
    """Say what a variable is that is no array of real numbers, in MATLAB's words."""
    dtype = getattr(value, "dtype", None)
    if not isinstance(value, np.ndarray) or dtype is None:
        return "sparse matrix" if hasattr(value, "tocsc") else type(value).__name__
    if dtype.names:
        return "struct"
    if not value.size:
        return "empty"
    return {"O": "cell", "U": "text", "c": str(dtype)}.get(dtype.kind, str(dtype))


def _read_hdf5(path: Path) -> Contents:
    arrays, others = {}, {}
    for name, member in hdf5.members(path).items():
        if not name or name.startswith("#"):  # where MATLAB keeps the contents of cells and objects
            continue
        kind, array = as_text(member.attributes.get("MATLAB_class", "")), member.array
        if array is None:
            others[name] = "sparse matrix" if "MATLAB_sparse" in member.attributes else "struct"
        elif kind in _TEXT_OR_REFERENCES or array.dtype.kind not in "biuf":
            others[name] = "complex numbers" if array.dtype.kind == "V" else kind or str(array.dtype)
        elif "MATLAB_empty" in member.attributes or 0 in array.shape:
            others[name] = "empty"
        else:
            # MATLAB stores columns first, HDF5 says rows first: the axes come reversed.
            arrays[name] = load(path, array, tuple(range(len(array.shape)))[::-1])
    return Contents(path, arrays, others)
