"""The cube of a scene: in memory, or read from its file a few rows at a time.

Nothing takes more of a cube at once than a block of rows, so a scene may be larger than the memory.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

# Values that are worked on at once, so that no step needs a second copy of a large cube.
_BLOCK_VALUES = 2**22

# How many times that for the sake of whole tiles of a file, each of which is then decoded only once.
_TILE_FACTOR = 8


@dataclasses.dataclass(frozen=True, eq=False)
class LazyCube:
    """A cube in a file. ``cube[start:stop]`` reads those rows, from any thread.

    Attributes:
        shape: (rows, cols, bands).
        dtype: of the values, as ``read`` returns them.
        read: (first row, row after the last) to an array [rows read, cols, bands], scaled, NaN for no data.
        tile_rows: rows that the file keeps together, so that reading fewer costs as much.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype
    read: Callable[[int, int], np.ndarray]
    tile_rows: int = 1

    @property
    def ndim(self) -> int:
        """Number of axes, 3."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    def __getitem__(self, rows: slice) -> np.ndarray:
        """Read rows [rows read, cols, bands]; a slice without a step, and nothing else."""
        if not isinstance(rows, slice) or rows.step not in (None, 1):
            raise TypeError(f"a lazy cube is read by a slice of rows, not by {rows!r}")
        start, stop, _ = rows.indices(self.shape[0])
        return self.read(start, max(start, stop))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Read the whole cube, for who asks NumPy for it."""
        return np.asarray(self[:], dtype)


Cube = np.ndarray | LazyCube


def row_blocks(array: Cube, rows: slice = slice(None)) -> Iterator[slice]:
    """Cut the rows of a cube, or of any array, into blocks of bounded size, whole tiles where those are small.

    Args:
        array: whose first axis is cut.
        rows: only these.
    """
    values = max(1, math.prod(array.shape[1:]))
    step, tile = max(1, _BLOCK_VALUES // values), getattr(array, "tile_rows", 1)
    if tile * values <= _TILE_FACTOR * _BLOCK_VALUES:
        step = max(tile, step - step % tile)
    start, stop, _ = rows.indices(array.shape[0])
    while start < stop:
        end = min(stop, start + step - start % tile if step >= tile else start + step)
        yield slice(start, end)
        start = end


def pixels(cube: Cube, places: np.ndarray) -> np.ndarray:
    """The spectra of a few pixels.

    Args:
        cube: of a scene.
        places: int [pixels, (row, col)], in any order.

    Returns:
        [pixels, bands], in the cube's type.
    """
    result = np.empty((len(places), cube.shape[2]), cube.dtype)
    for rows in row_blocks(cube):
        here = np.flatnonzero((places[:, 0] >= rows.start) & (places[:, 0] < rows.stop))
        if len(here):
            first, last = places[here, 0].min(), places[here, 0].max()
            result[here] = cube[first : last + 1][places[here, 0] - first, places[here, 1]]
    return result


def planes(cube: Cube, bands: np.ndarray) -> np.ndarray:
    """The images of a few bands.

    Args:
        cube: of a scene.
        bands: which, int [chosen].

    Returns:
        [rows, cols, chosen], in the cube's type.
    """
    return np.concatenate([cube[rows][:, :, bands] for rows in row_blocks(cube)])


def size_of(array: Cube) -> str:
    """Describe an array: ``a 3-D array, 100 × 80 × 162``."""
    return f"a {array.ndim}-D array" + (f", {' × '.join(map(str, array.shape))}" if array.ndim else "")
