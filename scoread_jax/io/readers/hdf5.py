"""HDF5 files: an array that can be read piece by piece, whatever container of HDF5 it lies in.

HDF5 never runs in this process: ``hdf5_server`` opens the files, in one of its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from scoread_jax.errors import SceneError
from scoread_jax.io.readers.lazy import check_claim
from scoread_jax.io.readers.server import Server
from scoread_jax.io.readers.stored import Stored, as_text

SIGNATURE = b"\x89HDF\r\n\x1a\n"

_SERVER = Server(Path(__file__).with_name("hdf5_server.py"), "HDF5")


@dataclasses.dataclass(frozen=True)
class Member:
    """A group or an array of a file.

    Attributes:
        attributes: by name: numbers, arrays of numbers, texts.
        array: None for a group.
    """

    attributes: Mapping[str, Any]
    array: Stored | None


def members(path: Path, deep: bool = False) -> dict[str, Member]:
    """What lies in a file, by path in it; the file itself is called "".

    Args:
        path: the file.
        deep: also what lies in groups.

    Raises:
        SceneError: for a file that HDF5 dies of, and for arrays that lie in other files.
        OSError: for one that it refuses.
    """
    return {item["name"]: _member(path, item) for item in _SERVER.ask(path, "describe", deep)["items"]}


def variables(found: Mapping[str, Member]) -> dict[str, Stored]:
    """Those members that are arrays; not dimensions of NetCDF that hold nothing."""
    return {
        name: each.array
        for name, each in found.items()
        if each.array is not None
        and not as_text(each.attributes.get("NAME", "")).startswith("This is a netCDF dimension but")
    }


def _member(path: Path, item: Mapping[str, Any]) -> Member:
    attributes = {name: _attribute(value) for name, value in item["attributes"].items()}
    if item["shape"] is None:
        return Member(attributes, None)
    name, shape, dtype = item["name"], tuple(item["shape"]), np.dtype(item["dtype"])
    if item["elsewhere"]:
        raise SceneError(f"{path}: expected arrays in the file itself, found {name} in other files; join them in one")

    def get(index: Any) -> np.ndarray:
        check_claim(path, shape, dtype, item["size"])
        if dtype.hasobject:
            raise SceneError(f"{path}: expected numbers in {name}, found text or references; get it again")
        given = index if isinstance(index, tuple) else () if index is ... else (index,)
        slices = (*given, *[slice(None)] * (len(shape) - len(given)))
        ends = [each.indices(length)[:2] for each, length in zip(slices, shape, strict=True)]
        return _SERVER.read(path, tuple(stop - start for start, stop in ends), dtype, "read", name, ends)

    chunks = item["chunks"] and tuple(item["chunks"])
    array = Stored(shape, dtype, chunks, item["size"], tuple(item["dimensions"]), attributes, get)
    return Member(attributes, array)


def _attribute(value: Any) -> Any:
    if isinstance(value, dict):
        return np.frombuffer(bytes.fromhex(value["bytes"]), value["dtype"]).reshape(value["shape"])[()]
    return np.array(value) if isinstance(value, list) else value
