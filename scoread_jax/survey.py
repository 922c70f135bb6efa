"""What one reading of a cube finds: which pixels and bands count, and the range of each band.

A pixel whose bands are all equal is no measurement. All zeros always mean "nothing here"; another value does
where it is one that no measurement takes: below zero and below every other spectrum, or a number that writers
use for "nothing" and above every other spectrum. A band that is constant but not zero keeps a pixel that is zero in
all others: which bands are constant is not known before pixels are judged.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np

from scoread_jax.cube import Cube, row_blocks
from scoread_jax.group import ALONE, Group

# With fewer bands, a spectrum of equal values may be a measurement.
_FEWEST_BANDS_OF_FILL = 8

# Of the range of values: what a measurement is hardly told from another by, once it is scaled to [0, 1].
_LITTLE, _TINY = 0.02, float(np.finfo(np.float64).tiny)

# NetCDF's default for floats, and the round number of many models as float32 and float64 have it.
_CUSTOMARY_FILL = (9.969209968386869e36, 100000002004087734272.0, 1e20)


@dataclasses.dataclass(frozen=True, eq=False)
class Survey:
    """What counts in a cube.

    Attributes:
        filled: bool [bands], True for a band with a finite value other than zero inside the mask.
        finite: bool [rows, cols], True where all filled bands are finite.
        lit: bool [rows, cols], True where one of them is not zero; undefined where not finite.
        fill: bool [rows, cols], True where all of them hold the same value, one of ``fill_values``.
        fill_values: that no measurement takes, without zero.
        least: [rows, cols], of the filled bands.
        most: [rows, cols], of the filled bands.
        low: [bands], the least value of the pixels that remain; undefined where a band is not filled.
        high: [bands], their greatest value.
    """

    filled: np.ndarray
    finite: np.ndarray
    lit: np.ndarray
    fill: np.ndarray
    fill_values: tuple[float, ...]
    least: np.ndarray
    most: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def hot(self, valid: np.ndarray) -> tuple[np.ndarray, float]:
        """The few pixels, a thousandth at most, that set the range of values, where all others take little of it.

        Returns:
            bool [rows, cols], and the share of the range that is left to the others.
        """
        pixels = np.count_nonzero(valid)
        few = min(1 + pixels // 1000, pixels - 1)
        least, most = (plane[valid].astype(np.float64) for plane in (self.least, self.most))
        bottom, top = float(np.partition(least, few)[few]), float(np.partition(most, -few - 1)[-few - 1])
        room = top / 2 - bottom / 2  # halves, which do not overflow
        share = room / max(float(most.max()) / 2 - float(least.min()) / 2, _TINY)
        far = (self.least.astype(np.float64) / 2 < bottom / 2 - room) | (
            self.most.astype(np.float64) / 2 > top / 2 + room
        )
        return valid & far & (0 < share < _LITTLE), share

    def reasons(self, inside: np.ndarray) -> str:
        """Say how many pixels are masked for which reason."""
        reasons = {
            "NaN or infinite": inside & ~self.finite,
            "all-zero": inside & ~self.lit,
            "by the mask": ~inside,
        }
        counted = [f"{np.count_nonzero(pixels)} {reason}" for reason, pixels in reasons.items()]
        if self.fill_values:
            counted.append(f"{np.count_nonzero(inside & self.fill)} fill")
        return ", ".join(counted)


def survey(cube: Cube, inside: np.ndarray, candidates: np.ndarray, group: Group = ALONE) -> Survey:
    """Read a cube once and find what counts in it.

    Whether a pixel counts depends on which bands are filled, and that is only known at the end: the few blocks
    that were judged before a band showed its first value are read again.

    Args:
        cube: real [rows, cols, bands].
        inside: bool [rows, cols], False where the user's mask leaves a pixel out.
        candidates: bool [bands], False where a band is left out whatever it holds.
        group: processes that share the rows between them.
    """
    shares = group.slices(cube.shape[0])
    blocks, filled, seen = list(row_blocks(cube, shares[group.number])), np.zeros(cube.shape[2], bool), []
    for rows in blocks:
        block, wanted = cube[rows], inside[rows]
        filled |= _fills(block, wanted, candidates & ~filled)
        seen.append((np.count_nonzero(filled), _summary(block, wanted, filled)))
    filled = np.asarray(group.gather(filled).any(axis=0))
    final = np.count_nonzero(filled)
    parts = [
        summary if count == final else _summary(cube[rows], inside[rows], filled)
        for rows, (count, summary) in zip(blocks, seen, strict=True)
    ]
    finite, flat, value, most = (np.empty(inside.shape, kind) for kind in (bool, bool, cube.dtype, cube.dtype))
    top, bottom = _ends(cube.dtype)
    low, high = np.full(len(filled), top), np.full(len(filled), bottom)
    for rows, part in zip(blocks, parts, strict=True):
        finite[rows], flat[rows], value[rows], most[rows] = part.finite, part.flat, part.value, part.most
        low, high = np.minimum(low, part.low), np.maximum(high, part.high)
    finite, flat, value, most = (group.exchange(plane, shares, axis=0) for plane in (finite, flat, value, most))
    low, high = group.gather(low).min(axis=0), group.gather(high).max(axis=0)
    found = np.unique(value[inside & flat])
    fill_values = _fill_values(found, cube.dtype, filled, low, high)
    for measured in found[(found != 0) & ~np.isin(found, fill_values)]:
        low, high = np.minimum(low, measured), np.maximum(high, measured)
    fill = flat & np.isin(value, fill_values)
    return Survey(filled, finite, ~(flat & (value == 0)), fill, tuple(map(float, fill_values)), value, most, low, high)


class _Summary(NamedTuple):
    """What a block of rows holds in the filled bands.

    Attributes:
        finite: bool [rows, cols].
        flat: bool [rows, cols], finite and equal in all bands.
        value: [rows, cols], the least of the bands.
        most: [rows, cols], the greatest of them.
        low: [bands], over the pixels inside that are finite and not flat.
        high: [bands].
    """

    finite: np.ndarray
    flat: np.ndarray
    value: np.ndarray
    most: np.ndarray
    low: np.ndarray
    high: np.ndarray


def _summary(block: np.ndarray, inside: np.ndarray, filled: np.ndarray) -> _Summary:
    used = block if filled.all() else block[:, :, filled]
    top, bottom = _ends(block.dtype)
    if used.shape[2] == 0:
        nothing = np.zeros(inside.shape, bool)
        zeros = nothing.astype(block.dtype)
        return _Summary(~nothing, ~nothing, zeros, zeros, np.full(len(filled), top),
                        np.full(len(filled), bottom))  # fmt: skip
    least, most = used.min(axis=2), used.max(axis=2)
    finite = np.isfinite(least) & np.isfinite(most)
    flat = finite & (least == most)
    measured = inside & finite & ~flat
    spectra = block.reshape(-1, len(filled)) if measured.all() else block[measured]
    low, high = spectra.min(axis=0, initial=top), spectra.max(axis=0, initial=bottom)
    return _Summary(finite, flat, least, most, low, high)


def _fills(block: np.ndarray, inside: np.ndarray, bands: np.ndarray) -> np.ndarray:
    """Which of ``bands`` hold a finite value other than zero at some pixel of ``inside``: bool [all bands]."""
    result = np.zeros(len(bands), bool)
    if bands.any():
        values = block[inside][:, bands]
        result[bands] = (np.isfinite(values) & (values != 0)).any(axis=0)
    return result


def _fill_values(
    found: np.ndarray, dtype: np.dtype, filled: np.ndarray, low: np.ndarray, high: np.ndarray
) -> np.ndarray:
    """Those of the ``found`` values of flat spectra that are no measurement, without zero."""
    if np.count_nonzero(filled) < _FEWEST_BANDS_OF_FILL:
        return found[:0]
    greatest = np.finfo(dtype).max if dtype.kind == "f" else np.iinfo(dtype).max
    customary = (found == greatest) | np.isin(found.astype(np.float64), _CUSTOMARY_FILL)
    below = (found < 0) & (found < low[filled].min())
    return found[below | (customary & (found > high[filled].max()))]


def _ends(dtype: np.dtype) -> tuple[np.number, np.number]:
    """The greatest and the least value of a type, infinite for floats."""
    if dtype.kind == "f":
        return dtype.type(np.inf), dtype.type(-np.inf)
    limits = np.iinfo(dtype)
    return dtype.type(limits.max), dtype.type(limits.min)
