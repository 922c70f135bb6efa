"""MATLAB v5 to v7: the arrays of real numbers in them, and what else there is by its class.

SciPy's reader of these files ends the process on some damaged ones (data types out of range are followed), so this one
reads what the format's document calls numeric arrays and no more ("MAT-File Format", MathWorks, chapter 1).
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from scoread_jax.errors import SceneError
from scoread_jax.io.readers.lazy import check_claim, greatest_bytes

_HEADER = 128
_MATRIX, _COMPRESSED = 14, 15
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_CLASSES = {1: "cell", 2: "struct", 3: "object", 4: "text", 5: "sparse matrix", 16: "function_handle", 17: "object"}
_NUMERIC_CLASSES = range(6, 16)
_COMPLEX = 1 << 11


class _Element(NamedTuple):
    """A tagged piece: its type, its content, and where the next one begins."""

    kind: int
    content: memoryview
    end: int


def read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Read a file.

    Args:
        path: of MATLAB v5 to v7.

    Returns:
        Arrays of real numbers by name, in the type in which they are stored; and the class of what else there is.

    Raises:
        SceneError: for a file that is damaged, or claims more than it can hold.
    """
    arrays: dict[str, np.ndarray] = {}
    others: dict[str, str] = {}
    with path.open("rb") as file:
        order = {b"IM": "<", b"MI": ">"}.get(file.read(_HEADER)[126:])
        if order is None:
            raise _damaged(path, "no byte order in its header")
        for body in _matrices(path, file, order):
            name, found = _matrix(path, body, order)
            if isinstance(found, np.ndarray):
                arrays[name] = found
            elif name:  # MATLAB keeps what belongs to its objects in a variable without a name
                others[name] = found
    return arrays, others


def _matrices(path: Path, file: IO[bytes], order: str) -> Iterator[memoryview]:
    """The content of each variable."""
    size = path.stat().st_size
    while tag := file.read(8):
        if len(tag) < 8:
            raise _damaged(path, "a variable without its length")
        kind, length = struct.unpack(f"{order}II", tag)
        if kind not in (_MATRIX, _COMPRESSED) or length > size - file.tell():
            raise _damaged(path, f"a variable of type {kind} and {length} bytes, {size - file.tell()} of them there")
        content = memoryview(file.read(length))
        if kind == _COMPRESSED:
            content = _decompressed(path, content)
            inner = _element(path, content, 0, order)
            if inner.kind != _MATRIX:
                raise _damaged(path, f"a variable of type {inner.kind}")
            content = inner.content
        yield content


def _decompressed(path: Path, content: memoryview) -> memoryview:
    limit = greatest_bytes(len(content))
    decompressor = zlib.decompressobj()
    found = decompressor.decompress(content, limit)
    if decompressor.unconsumed_tail:
        check_claim(path, (limit + 1,), np.dtype(np.uint8), len(content))
    return memoryview(found)


def _matrix(path: Path, body: memoryview, order: str) -> tuple[str, np.ndarray | str]:
    """The name of a variable, and its values or its class."""
    flags = _element(path, body, 0, order)
    dims = _element(path, body, flags.end, order)
    name = _element(path, body, dims.end, order)
    if len(flags.content) < 4 or len(dims.content) % 4:
        raise _damaged(path, "a variable without class or size")
    word = int(np.frombuffer(flags.content[:4], f"{order}u4")[0])
    shape = tuple(np.frombuffer(dims.content, f"{order}i4").tolist())
    kind, title = word & 0xFF, bytes(name.content).decode("utf-8", "replace")
    if kind not in _NUMERIC_CLASSES:
        return title, _CLASSES.get(kind, "unknown")
    if word & _COMPLEX:
        return title, "complex128"
    if not math.prod(shape):
        return title, "empty"
    real = _element(path, body, name.end, order)
    dtype = np.dtype(order + _NUMBERS.get(real.kind, "V1"))
    if dtype.kind == "V" or min(shape) < 0 or len(real.content) != math.prod(shape) * dtype.itemsize:
        raise _damaged(
            path, f"{len(real.content)} bytes of type {real.kind} for {' × '.join(map(str, shape))} values of {title!r}"
        )
    values: Any = np.frombuffer(real.content, dtype).reshape(shape, order="F")
    return title, values.astype(dtype.newbyteorder("="), copy=False)


def _element(path: Path, body: memoryview, start: int, order: str) -> _Element:
    if start + 8 > len(body):
        raise _damaged(path, "a variable that ends too soon")
    kind, length = struct.unpack_from(f"{order}II", body, start)
    if kind >> 16:  # a small element: its length, its type and up to four bytes in one tag
        kind, length = kind & 0xFFFF, kind >> 16
        begin, end = start + 4, start + 8
    else:
        begin, end = start + 8, start + 8 + length + -length % 8
    if begin + length > min(len(body), max(end, begin)):
        raise _damaged(path, f"a piece of {length} bytes where {len(body) - begin} are left")
    return _Element(kind, body[begin : begin + length], end)


def _damaged(path: Path, found: str) -> SceneError:
    return SceneError(
        f"{path}: expected a whole MATLAB file, found {found}; it may be damaged, cut short or of another kind: "
        "get it again"
    )
