"""How HDF5 files are opened: a script of ``serving``, never imported. Through h5py alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

Limit = Callable[[int, float], None]

# Stored bytes that a slow filter takes in a second.
_SPEED = 4e6
_LONGEST_WALK = 60  # seconds of computing
_REFERENCES = ("DIMENSION_LIST", "REFERENCE_LIST")


def describe(limit: Limit, path: str, deep: bool) -> dict[str, Any]:
    """What lies in a file: itself, its members, and where ``deep`` theirs too. Links are not followed."""
    limit(0, min(Path(path).stat().st_size / _SPEED, _LONGEST_WALK))
    found: list[dict[str, Any]] = []
    with h5py.File(path, "r") as file:
        found.append(_described("", file))
        if deep:
            file.visititems(lambda name, item: found.append(_described(str(name), item)))
        else:
            hard = [name for name in map(str, file) if isinstance(file.get(name, getlink=True), h5py.HardLink)]
            found += [_described(name, file[name]) for name in hard]
    return {"items": found}


def read(limit: Limit, path: str, name: str, index: list[list[int]]) -> np.ndarray:
    """Part of an array: from where to where on each axis."""
    with h5py.File(path, "r") as file:
        dataset: Any = file[name]
        whole = min(dataset.id.get_storage_size(), Path(path).stat().st_size)
        wanted = np.prod([stop - start for start, stop in index], dtype=float) * dataset.dtype.itemsize
        chunk = np.prod(dataset.chunks or 0, dtype=float) * dataset.dtype.itemsize
        limit(int(wanted + 2 * min(chunk, Path(path).stat().st_size)), whole / _SPEED)
        values = np.ascontiguousarray(dataset[tuple(slice(*each) for each in index)])
    return values.reshape([stop - start for start, stop in index])  # a single value has no axes


def _described(name: str, item: Any) -> dict[str, Any]:
    described = {"name": name, "attributes": dict(_attributes(item)), "shape": None}
    if isinstance(item, h5py.Dataset) and item.shape is not None:
        described |= {
            "shape": item.shape,
            "dtype": item.dtype.str,
            "chunks": item.chunks,
            "size": item.id.get_storage_size(),
            "dimensions": _dimensions(item),
            "elsewhere": bool(item.external or item.is_virtual),
        }
    return described


def _attributes(item: Any) -> Iterator[tuple[str, Any]]:
    """Those that are numbers or texts."""
    for name in item.attrs:
        value = np.asarray(item.attrs[name]) if name not in _REFERENCES else np.asarray(None)
        if value.dtype.kind in "biuf":
            yield name, {"dtype": value.dtype.str, "shape": value.shape, "bytes": value.tobytes().hex()}
        elif value.dtype.kind in "SU":
            decoded = np.char.decode(value, "utf-8", "replace") if value.dtype.kind == "S" else value
            yield name, decoded.tolist()


def _dimensions(dataset: Any) -> tuple[str, ...]:
    """Names of the axes: those of their scales; a scale names its own axis."""
    if h5py.h5ds.is_scale(dataset.id):
        return (_last(dataset.name),) * len(dataset.shape)
    return tuple(_last(axis[0].name) if len(axis) else axis.label for axis in dataset.dims)


def _last(name: str) -> str:
    return name.rsplit("/", 1)[-1]


COMMANDS = {"describe": describe, "read": read}
