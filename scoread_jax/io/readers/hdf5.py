"""HDF5 through h5py: an array that can be read piece by piece, whatever container of HDF5 it lies in."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np

from scoread_jax.io.readers.stored import Stored, as_text

SIGNATURE = b"\x89HDF\r\n\x1a\n"

_REFERENCES = ("DIMENSION_LIST", "REFERENCE_LIST")


def variables(path: Path, file: Any) -> dict[str, Stored]:
    """All arrays of an open file, by their path in it; not dimensions of NetCDF that hold nothing."""
    import h5py

    found: dict[str, Stored] = {}

    def visit(name: str, item: Any) -> None:
        empty = as_text(item.attrs.get("NAME", b"")).startswith("This is a netCDF dimension but")
        if isinstance(item, h5py.Dataset) and item.shape is not None and not empty:
            found[name] = stored(path, item)

    file.visititems(visit)
    return found


def stored(path: Path, dataset: Any) -> Stored:
    """An array of an open file, to be read when the file is closed again."""
    import h5py

    name = dataset.name

    def get(index: Any) -> np.ndarray:
        with h5py.File(path, "r") as file:
            return np.asarray(cast(h5py.Dataset, file[name])[index])

    size = dataset.id.get_storage_size()
    return Stored(dataset.shape, dataset.dtype, dataset.chunks, size, _dimensions(dataset), attributes(dataset), get)


def attributes(item: Any) -> dict[str, Any]:
    """Those of an array or a group that are numbers or texts."""
    all_of_them = {name: item.attrs[name] for name in item.attrs if name not in _REFERENCES}
    return {
        name: value
        for name, value in all_of_them.items()
        if isinstance(value, (str, bytes)) or np.asarray(value).dtype.kind in "biufSU"
    }


def _dimensions(dataset: Any) -> tuple[str, ...]:
    """Names of the axes: those of their scales; a scale names its own axis."""
    if as_text(dataset.attrs.get("CLASS", b"")) == "DIMENSION_SCALE":
        return (_last(dataset.name),) * len(dataset.shape)
    return tuple(_last(axis[0].name) if len(axis) else axis.label for axis in dataset.dims)


def _last(name: str) -> str:
    return name.rsplit("/", 1)[-1]
