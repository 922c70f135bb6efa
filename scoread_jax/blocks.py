"""Rows of a scene that are worked on together, so that a scene may be larger than memory.

A block is scored whole and sees the rows around it, so the map does not depend on how a scene is cut. All blocks of a
scene are filled up to the same sizes: their functions are compiled once.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol, TypeVar

import jax
import numpy as np

from scoread_jax import parallel
from scoread_jax.group import Group

Read = TypeVar("Read")


class Block(NamedTuple):
    """Rows that are scored together.

    Attributes:
        core: the rows that are scored.
        reach: the rows that they look at, ``core`` among them.
        pixels: where the valid pixels of ``core`` lie in the list of the scene's valid pixels.
        most_rows: rows in the largest core of the scene.
        most_pixels: valid pixels in the fullest core of the scene.
        most_around: valid pixels in the fullest reach of the scene.
    """

    core: slice
    reach: slice
    pixels: slice
    most_rows: int
    most_pixels: int
    most_around: int


class Keep(Protocol):
    """Where finished blocks are kept, so that a run that was stopped need not do them again."""

    def load(self, block: Block) -> Any:
        """Return what was computed for a block, or None."""

    def done(self, block: Block, part: Any) -> bool:
        """Hear what was computed for a block. Returns whether to go on with the next."""
        ...

    def end(self) -> None:
        """Hear that this process has done its share. May raise, to stop: in all processes, or in none."""


def cut(valid: np.ndarray, rows: int, halo: int) -> tuple[Block, ...]:
    """Cut a scene into blocks of ``rows`` rows; those without a valid pixel are left out.

    Args:
        valid: bool [rows, cols].
        rows: of a block; the last one may have fewer.
        halo: rows that a block looks at on either side.

    Returns:
        The blocks from top to bottom.
    """
    height = len(valid)
    rows = min(rows, height)
    before = np.concatenate([[0], np.cumsum(np.count_nonzero(valid, axis=1))])
    cores = [slice(start, min(start + rows, height)) for start in range(0, height, rows)]
    reaches = [slice(max(0, core.start - halo), min(height, core.stop + halo)) for core in cores]
    pixels = [slice(int(before[core.start]), int(before[core.stop])) for core in cores]
    most_pixels = max(part.stop - part.start for part in pixels)
    most_around = int(max(before[reach.stop] - before[reach.start] for reach in reaches))
    parts = zip(cores, reaches, pixels, strict=True)
    return tuple(Block(*part, rows, most_pixels, most_around) for part in parts if part[2].stop > part[2].start)


def map_blocks(
    blocks: Sequence[Block],
    read: Callable[[Block], Read],
    compute: Callable[[Block, Read], Any],
    done: Callable[[int, int], None],
    keep: Keep | None = None,
) -> Any:
    """Work through the blocks of a scene; the next one is read while one is worked on.

    Where several processes run together each does its share of the blocks, and all get the whole.

    Args:
        blocks: of ``cut``.
        read: what is needed for a block, from the scene's file.
        compute: of a block and what was read for it, a tree of arrays [..., valid pixels of its core].
        done: told how many pixels are done, and of how many, after each block.
        keep: where blocks may have been kept.

    Returns:
        The same tree for all valid pixels, [..., pixels].
    """
    whole, finished = None, 0
    group = parallel.group()
    for block, part in _parts(group.share(blocks), read, compute, keep):
        if whole is None:
            whole = jax.tree.map(lambda leaf: np.empty((*leaf.shape[:-1], blocks[-1].pixels.stop), leaf.dtype), part)
        jax.tree.map(functools.partial(_put, block.pixels), whole, part)
        finished += block.pixels.stop - block.pixels.start
        done(finished, blocks[-1].pixels.stop)
    if keep is not None:
        keep.end()
    shares = [Group(number, group.of).share(blocks) for number in range(group.of)]
    slices = [slice(part[0].pixels.start, part[-1].pixels.stop) for part in shares]
    return jax.tree.map(lambda leaf: group.exchange(leaf, slices), whole)


def filled_up(table: np.ndarray, length: int) -> np.ndarray:
    """Fill a table up with zero rows to a multiple of ``length``, so that the tables of all blocks are equally long."""
    missing = -len(table) % length
    return np.concatenate([table, np.zeros((missing, *table.shape[1:]), table.dtype)])


def _parts(
    blocks: Sequence[Block], read: Callable[[Block], Read], compute: Callable[[Block, Read], Any], keep: Keep | None
) -> Iterator[tuple[Block, Any]]:
    missing = []
    for block in blocks:
        part = None if keep is None else keep.load(block)
        if part is None:
            missing.append(block)
        else:
            yield block, part
    for block, found in _read_ahead(missing, read):
        part = compute(block, found)
        yield block, part
        if keep is not None and not keep.done(block, part):
            return


def _put(pixels: slice, whole: np.ndarray, part: np.ndarray) -> None:
    whole[..., pixels] = part


def _read_ahead(blocks: Sequence[Block], read: Callable[[Block], Read]) -> Iterator[tuple[Block, Read]]:
    with ThreadPoolExecutor(1) as reader:
        coming = [reader.submit(read, block) for block in blocks[:1]]
        for number, block in enumerate(blocks, 1):
            found = coming.pop().result()
            coming += [reader.submit(read, following) for following in blocks[number : number + 1]]
            yield block, found
