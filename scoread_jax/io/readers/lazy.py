"""Cubes that stay in their file: what every reader of them shares.

A file is opened for each block and closed again: nothing stays open, and any thread may read.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from scoread_jax.cube import LazyCube
from scoread_jax.errors import SceneError, ScoreADError

Read = Callable[[int, int], np.ndarray]

# Deflate shrinks zeros by 1032, data hardly ever by 4; what claims more, and is large, is a mistake or a trap.
_GREATEST_RATIO, _LARGE = 200, 2**28


def check_claim(path: Path, shape: tuple[int, ...], dtype: np.dtype, stored: int | None = None) -> None:
    """Refuse an array that a file cannot hold, before any memory is taken for it.

    Args:
        path: the file.
        shape: of the array, as the file claims.
        dtype: of the array.
        stored: bytes that are there, compressed or not; those of the file where None.

    Raises:
        SceneError: for a claim beyond what compression can do.
    """
    claimed = math.prod(shape) * dtype.itemsize
    stored = path.stat().st_size if stored is None else stored
    if claimed > greatest_bytes(stored):
        raise SceneError(
            f"{path}: expected as much data as the file claims, {' × '.join(map(str, shape))} {dtype} or {claimed} "
            f"bytes, found {stored} bytes in it; it is damaged or cut short: get it again"
        )


def greatest_bytes(stored: int) -> int:
    """Most bytes that may come of ``stored`` ones."""
    return max(_LARGE, _GREATEST_RATIO * stored)


def file_cube(
    path: Path, dtype: np.dtype, sizes: tuple[int, ...], axes: tuple[int, int, int], offset: int = 0, **decoding: Any
) -> LazyCube:
    """A cube that lies plainly in a file.

    Args:
        path: the file.
        dtype: of the values, with its byte order.
        sizes: of the three axes as they lie in the file, the slowest first.
        axes: which of them are rows, cols and bands.
        offset: bytes before the first value.
        decoding: see ``decoded``.
    """

    def read(start: int, stop: int) -> np.ndarray:
        # A map of its own for each block: the pages of a lasting one would count as this program's memory.
        values = np.memmap(path, dtype, "r", offset, sizes).transpose(axes)[start:stop]
        return np.array(values, dtype.newbyteorder("="), order="C")

    rows, cols, bands = (sizes[axis] for axis in axes)
    return decoded(path, (rows, cols, bands), dtype.newbyteorder("="), read, **decoding)


def decoded(
    path: Path,
    shape: tuple[int, int, int],
    dtype: np.dtype,
    read: Read,
    *,
    tile_rows: int = 1,
    scale: Any = None,
    shift: Any = None,
    nodata: float | None = None,
) -> LazyCube:
    """A lazy cube of what ``read`` returns: scale · value + shift, NaN for no data.

    Floats replace integers where a scale, a shift or a value for "no data" asks for them: float32, or float64
    for types that float32 cannot hold. What the file refuses to give is one sentence.

    Args:
        path: the file, for messages.
        shape: (rows, cols, bands).
        dtype: of the values of ``read``.
        read: (first row, row after the last) to [rows read, cols, bands].
        tile_rows: rows that the file keeps together.
        scale: a number, or one a band.
        shift: a number, or one a band, added after scaling.
        nodata: value that means "no data", before scaling.
    """
    marked = nodata is not None and _holds(dtype, nodata)
    plain = not marked and scale is None and shift is None
    with np.errstate(over="ignore"):  # a float64 written for a float32
        no_value = dtype.type(nodata) if marked else None
    result = dtype if plain else np.result_type(dtype, np.float32) if dtype.itemsize < 4 else _wide(dtype)

    def decode(start: int, stop: int) -> np.ndarray:
        try:
            raw = read(start, stop)
        except ScoreADError:
            raise
        except Exception as error:  # a damaged file can make any library raise nearly anything
            reason = " ".join(str(error).split()) or type(error).__name__
            raise SceneError(
                f"{path}: expected to read rows {start} to {stop - 1}, found data that cannot be read ({reason}); "
                "the file may be damaged or cut short: get it again"
            ) from error
        if plain:
            return raw
        values = raw.astype(result)
        if scale is not None:
            values *= np.asarray(scale, result)
        if shift is not None:
            values += np.asarray(shift, result)
        if marked:
            values[raw == no_value] = np.nan
        return values

    return LazyCube(shape, result, decode, tile_rows)


def plane(
    path: Path, values: np.ndarray, scale: Any = None, shift: Any = None, nodata: float | None = None
) -> np.ndarray:
    """Decode a plane in memory as ``decoded`` does a cube; "no data" is 0 where it stays in whole numbers.

    Args:
        path: the file, for messages.
        values: [rows, cols].
        scale: a number.
        shift: a number, added after scaling.
        nodata: value that means "no data", before scaling.
    """
    if values.dtype.kind not in "iuf":
        return values
    if values.dtype.kind in "iu" and scale is None and shift is None:
        return values if nodata is None else np.where(values == nodata, values.dtype.type(0), values)
    whole = values[:, :, None]
    packing = {"scale": scale, "shift": shift, "nodata": nodata}
    return decoded(path, whole.shape, values.dtype, lambda start, stop: whole[start:stop], **packing)[:][:, :, 0]


def _holds(dtype: np.dtype, value: float) -> bool:
    """Whether a type has this value; NaN is none that needs marking."""
    if dtype.kind == "f":
        return not np.isnan(value)
    limits = np.iinfo(dtype)
    return float(value).is_integer() and limits.min <= value <= limits.max


def _wide(dtype: np.dtype) -> np.dtype:
    return np.dtype(np.float32 if dtype == np.float32 else np.float64)
