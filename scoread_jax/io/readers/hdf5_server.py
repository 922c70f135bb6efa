"""The process that opens HDF5 files for another one: run as a script, never imported. Through h5py alone.

A request is a line of JSON; the answer to it is a line of JSON, and for a reading the bytes that it announces. HDF5
loops, crashes or takes gigabytes on some damaged files, so every request has limits, and whoever asks survives.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

sys.path[:] = json.loads(sys.argv[1])

import h5py  # noqa: E402
import numpy as np  # noqa: E402

try:
    import resource
except ImportError:  # Windows, which has no such limits
    resource = None

# Beside what a request asks for: bytes, seconds of computing, and stored bytes that a slow filter takes in a second.
_ROOM, _SECONDS, _SPEED = 128 << 20, 1, 4e6
_LONGEST_WALK = 60  # seconds of computing
_REFERENCES = ("DIMENSION_LIST", "REFERENCE_LIST")


def describe(path: str, deep: bool) -> dict[str, Any]:
    """What lies in a file: itself, its members, and where ``deep`` theirs too. Links are not followed."""
    _limit(0, min(Path(path).stat().st_size / _SPEED, _LONGEST_WALK))
    found: list[dict[str, Any]] = []
    with h5py.File(path, "r") as file:
        found.append(_described("", file))
        if deep:
            file.visititems(lambda name, item: found.append(_described(str(name), item)))
        else:
            hard = [name for name in map(str, file) if isinstance(file.get(name, getlink=True), h5py.HardLink)]
            found += [_described(name, file[name]) for name in hard]
    return {"items": found}


def read(path: str, name: str, index: list[list[int]]) -> np.ndarray:
    """Part of an array: from where to where on each axis."""
    with h5py.File(path, "r") as file:
        dataset: Any = file[name]
        whole = min(dataset.id.get_storage_size(), Path(path).stat().st_size)
        wanted = np.prod([stop - start for start, stop in index], dtype=float) * dataset.dtype.itemsize
        chunk = np.prod(dataset.chunks or 0, dtype=float) * dataset.dtype.itemsize
        _limit(int(wanted + 2 * min(chunk, Path(path).stat().st_size)), whole / _SPEED)
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


def _limit(wanted: int, seconds: float) -> None:
    """Let the system end this process where it takes far more than a request can need."""
    if resource is None:
        return
    with contextlib.suppress(ValueError, OSError):  # a system that knows them and sets none
        computed = time.process_time() + _SECONDS + seconds
        resource.setrlimit(resource.RLIMIT_CPU, (int(computed) + 1, resource.getrlimit(resource.RLIMIT_CPU)[1]))
        if sys.platform == "linux":
            room = _address_space() + _ROOM + wanted
            resource.setrlimit(resource.RLIMIT_AS, (room, resource.getrlimit(resource.RLIMIT_AS)[1]))


def _address_space() -> int:
    """Bytes of addresses that this process has taken."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def _serve(requests: BinaryIO, answers: BinaryIO) -> None:
    commands: Mapping[str, Callable[..., Any]] = {"describe": describe, "read": read}
    for line in requests:
        try:
            command, arguments = json.loads(line)
            found = commands[command](*arguments)
        except Exception as error:  # a damaged file can make any library raise nearly anything
            found = {"error": " ".join(str(error).split()) or type(error).__name__}
        data = found if isinstance(found, np.ndarray) else None
        head = found if data is None else {"dtype": data.dtype.str, "shape": data.shape}
        answers.write(json.dumps(head).encode() + b"\n")
        if data is not None:
            answers.write(data.reshape(-1).view(np.uint8).data)
        answers.flush()


if __name__ == "__main__":
    # It ends when nobody can ask any more: signals to all processes of a run are for those that ask.
    for _number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(_number, signal.SIG_IGN)
    _serve(sys.stdin.buffer, sys.stdout.buffer)
