"""Zarr stores of version 2 and 3, which are folders."""

from __future__ import annotations

import base64
import math
from pathlib import Path
from typing import Any

import numpy as np

from scoread_jax.errors import SceneError
from scoread_jax.extras import extra
from scoread_jax.io.contents import Contents
from scoread_jax.io.readers.stored import Stored, contents

SUFFIX = ".zarr"
ARRAY = "array"  # what the one array of a store is called that is no group

# A store may leave out chunks that hold one value alone, but not nearly all of them.
_MANY_CHUNKS, _CLAIMED_PER_FILE = 10_000, 200
_MARKS = ("zarr.json", ".zgroup", ".zarray")


def is_store(path: Path) -> bool:
    """Whether a folder is a Zarr store."""
    return any((path / mark).exists() for mark in _MARKS)


def read(path: Path) -> Contents:
    """Read the arrays of a store, those of groups in it as ``group/array``.

    Args:
        path: the folder.

    Raises:
        MissingExtraError: zarr is not installed.
        SceneError: for a folder that is no store.
    """
    zarr = extra("zarr", "zarr")
    if not is_store(path):
        raise SceneError(f"{path}: expected a Zarr store, found a folder without {', '.join(_MARKS)}; get it again")
    root = zarr.open(path, mode="r")
    members = root.members(max_depth=None) if isinstance(root, zarr.Group) else [(ARRAY, root)]
    arrays = {name: _stored(path, name, each) for name, each in members if isinstance(each, zarr.Array)}
    return contents(path, arrays, dict(root.attrs))


def _stored(path: Path, name: str, array: Any) -> Stored:
    folder = path if name == ARRAY and not (path / name).exists() else path / name

    def get(index: Any) -> np.ndarray:
        values = np.asarray(array[index])
        if not is_store(folder):  # to the library, chunks that went with it hold the value that fills
            raise FileNotFoundError(f"{folder} is gone")
        return values

    attributes = dict(array.attrs)
    named = getattr(array.metadata, "dimension_names", None) or attributes.get("_ARRAY_DIMENSIONS")
    if isinstance(attributes.get("_FillValue"), str):  # so xarray writes a float to a store of version 3
        attributes["_FillValue"] = np.frombuffer(base64.b64decode(attributes["_FillValue"]), "<f8")
    files = [each.stat().st_size for each in folder.rglob("*") if each.is_file()]
    claimed = math.prod(
        -(-length // part) for length, part in zip(array.shape, array.shards or array.chunks, strict=True)
    )
    if claimed > max(_MANY_CHUNKS, _CLAIMED_PER_FILE * len(files)):
        raise SceneError(
            f"{path}: expected as many chunks as {name} claims, {claimed}, found {len(files)} files; it is damaged or "
            "not whole: get it again"
        )
    if array.fill_value not in (None, 0):  # 0 is what the library fills with when nobody says
        attributes.setdefault("_FillValue", array.fill_value)
    return Stored(
        shape=array.shape,
        dtype=np.dtype(array.dtype),
        chunks=array.chunks,
        size=sum(files),
        dimensions=tuple(str(each or "") for each in named) if named else ("",) * array.ndim,
        attributes=attributes,
        get=get,
    )
