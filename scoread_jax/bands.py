"""Which bands count and where they lie: wavelengths in nm, the user's choice, and bands that are mostly noise."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import numpy as np

from scoread_jax.cube import Cube, pixels, size_of
from scoread_jax.errors import ConfigError, SceneError

# No sensor of this kind sees beyond 100 µm or below 100 nm, so the numbers tell the unit.
_LARGEST_MICROMETRES = 100.0

UNKNOWN_UNIT = "unknown"
_NM, _UM = "nm", "µm"
# How headers spell them, in lower case.
_SPELLINGS = {
    _NM: ("nm", "nanometer", "nanometers", "nanometre", "nanometres"),
    # The micro sign is one character of Latin-1, the Greek mu another; both are about.
    _UM: ("um", "\u00b5m", "\u03bcm", "micrometer", "micrometers", "micrometre", "micrometres", "micron", "microns"),
    UNKNOWN_UNIT: ("", "unknown", "none"),
}

# A band is noise where its four neighbours leave more than this share of its variance unexplained, ...
_LEAST_UNEXPLAINED = 0.05
# ... and that share stands out among the bands by so many standard deviations of its logarithm.
_LEAST_DEVIATION = 2.5
_NOISE_ROWS, _NOISE_PIXELS = 256, 20_000


@dataclasses.dataclass(frozen=True)
class Selection:
    """Which bands the user wants.

    Attributes:
        keep: (first, last) bands of the file, counted from 0, both included; all where empty.
        drop_wavelengths: (shortest, longest) nm, both included; bands within are left out.
        drop_noisy: leave out bands that ``noisy`` finds.
    """

    keep: tuple[tuple[int, int], ...] = ()
    drop_wavelengths: tuple[tuple[float, float], ...] = ()
    drop_noisy: bool = False


ALL = Selection()


def parse_bands(text: str) -> tuple[tuple[int, int], ...]:
    """Read ``0-49,55``; nothing for an empty text.

    Raises:
        ConfigError: for anything else.
    """
    return tuple((int(low), int(high)) for low, high in _ranges(text, r"\d+", "--bands", "0-49,55"))


def parse_wavelengths(text: str) -> tuple[tuple[float, float], ...]:
    """Read ``1340-1450,1790-1960``; nothing for an empty text.

    Raises:
        ConfigError: for anything else.
    """
    found = _ranges(text, r"\d+(?:\.\d+)?", "--drop-wavelengths", "1340-1450,1790-1960")
    return tuple((float(low), float(high)) for low, high in found)


def candidates(
    selection: Selection, wavelengths: np.ndarray | None, good_bands: np.ndarray, source: str
) -> tuple[np.ndarray, list[str]]:
    """Bands that may count, before their values are looked at.

    Args:
        selection: what the user wants.
        wavelengths: float64 [bands] in nm; None when not known.
        good_bands: bool [bands], False where the file says that a band is bad.
        source: for messages.

    Returns:
        bool [bands]; and what was left out, a sentence each.

    Raises:
        SceneError: when the choice does not fit the scene.
    """
    count, notes, chosen = good_bands.size, [], good_bands.copy()
    if not good_bands.all():
        notes.append(left_out("bad", ~good_bands, "by the file's own list"))
    if selection.keep:
        last = max(high for _, high in selection.keep)
        if last >= count:
            raise SceneError(f"{source}: expected --bands from 0 to {count - 1}, found {last}; count bands from 0")
        indices = np.arange(count)
        kept = np.any([(indices >= low) & (indices <= high) for low, high in selection.keep], axis=0)
        notes += [left_out("", chosen & ~kept, "by --bands")] if (chosen & ~kept).any() else []
        chosen &= kept
    if selection.drop_wavelengths:
        if wavelengths is None:
            raise SceneError(
                f"{source}: expected wavelengths for --drop-wavelengths, found none in the file; "
                "choose bands by their number with --bands"
            )
        dropped = np.any([(wavelengths >= low) & (wavelengths <= high) for low, high in selection.drop_wavelengths], 0)
        notes.append(left_out("", chosen & dropped, "by --drop-wavelengths"))
        chosen &= ~dropped
    if notes and np.count_nonzero(chosen) < 2:
        raise SceneError(
            f"{source}: expected at least 2 bands, found {np.count_nonzero(chosen)} left of {count} "
            f"({'; '.join(notes)}); leave out fewer"
        )
    return chosen, notes


def noisy(cube: Cube, valid: np.ndarray, good_bands: np.ndarray) -> np.ndarray:
    """Find bands that are mostly noise: not explained by their neighbours, unlike the other bands.

    The share of a band's variance that a linear regression on the two good bands on either side leaves
    unexplained is its noise (spectral decorrelation; R. E. Roger and J. F. Arnold, Int. J. Remote Sensing 17,
    1951, 1996). Noisy is a band with more than 5 % of it whose logarithm lies 2.5 robust standard deviations
    above the median of the bands.

    Args:
        cube: of a scene.
        valid: bool [rows, cols].
        good_bands: bool [bands], those to judge; none of them constant.

    Returns:
        bool [bands].
    """
    rows = np.unique(np.linspace(0, len(valid) - 1, _NOISE_ROWS).round().astype(int))
    some = np.zeros_like(valid)
    some[rows] = valid[rows]
    places = np.argwhere(some)
    x = pixels(cube, places[:: 1 + len(places) // _NOISE_PIXELS])[:, good_bands].astype(np.float64)
    x -= x.mean(axis=0)
    covariance = x.T @ x
    unexplained = np.ones(len(covariance))
    for band, variance in enumerate(covariance.diagonal()):
        near = [other for other in range(band - 2, band + 3) if other != band and 0 <= other < len(covariance)]
        to_near = covariance[near, band]
        solution = np.linalg.lstsq(covariance[np.ix_(near, near)], to_near, rcond=None)[0]
        unexplained[band] = 1 - to_near @ solution / variance if variance > 0 else 1.0
    level = np.log(np.maximum(unexplained, np.finfo(np.float64).eps))
    above = level - np.median(level)
    deviation = 1.4826 * np.median(np.abs(above))
    result = np.zeros(good_bands.shape, bool)
    result[good_bands] = (unexplained > _LEAST_UNEXPLAINED) & (above > _LEAST_DEVIATION * deviation)
    return result


def nanometres(
    wavelengths: Any, bands: int, source: str, unit: str | None = None
) -> tuple[np.ndarray | None, list[str]]:
    """Convert wavelengths to nm. Where the unit and the numbers disagree, the numbers are believed.

    Args:
        wavelengths: [bands], positive.
        bands: of the cube.
        source: for messages.
        unit: as the file spells it, ``UNKNOWN_UNIT`` where it gives none; None: nm, or µm when all are below 100.

    Returns:
        float64 [bands] in nm, or None for a unit that is no length; and what was decided, a sentence each.

    Raises:
        SceneError: for another number of wavelengths, or such as are not positive.
    """
    given = np.asarray(wavelengths)
    if given.dtype.kind not in "iuf" or given.shape != (bands,):
        raise SceneError(
            f"{source}: expected {bands} wavelengths, one a band, found {size_of(given)} of type {given.dtype}; "
            "correct the list of wavelengths or leave it out"
        )
    given = given.astype(np.float64)
    if not (np.isfinite(given).all() and (given > 0).all()):
        raise SceneError(f"{source}: expected positive wavelengths, found {given.min()} to {given.max()}")
    said = None if unit is None else _unit(unit)
    if unit is not None and said is None:
        return None, [f"wavelengths left out: expected them in nm or µm, found the unit {unit!r}"]
    fits = _UM if given.max() < _LARGEST_MICROMETRES else _NM
    words = "all are below 100" if fits == _UM else "they reach above 100"
    notes = []
    if said == UNKNOWN_UNIT:
        notes.append(f"guessed: wavelengths are in {fits}, for no unit is given and {words}")
    elif said not in (None, fits):
        notes.append(f"guessed: wavelengths are in {fits}, for {words}, though the file says {unit!r}")
    if fits == _UM:
        notes.append("wavelengths converted from µm to nm")
    return given * 1000 if fits == _UM else given, notes


def left_out(word: str, bands: np.ndarray, why: str = "") -> str:
    """Say which bands are left out: ``2 empty bands left out (counted from 0): 3, 9``."""
    indices = np.flatnonzero(bands)
    noun = f"{word} band{'' if len(indices) == 1 else 's'}".strip()
    listed = f" (counted from 0): {ranges(indices)}" if len(indices) else ""
    return f"{len(indices)} {noun} left out{f' {why}' if why else ''}{listed}"


def ranges(indices: np.ndarray) -> str:
    """``3, 5–9`` for 3, 5, 6, 7, 8, 9."""
    runs = np.split(indices, np.flatnonzero(np.diff(indices) > 1) + 1)
    return ", ".join(f"{run[0]}" if len(run) == 1 else f"{run[0]}–{run[-1]}" for run in runs)


def _unit(spelling: str) -> str | None:
    return next((unit for unit, known in _SPELLINGS.items() if spelling.strip().lower() in known), None)


def _ranges(text: str, number: str, option: str, example: str) -> list[tuple[str, str]]:
    """Cut ``1-3,5`` into pairs of the texts of the numbers."""
    pairs = []
    for part in text.split(",") if text else ():
        match = re.fullmatch(rf"\s*({number})\s*(?:-\s*({number})\s*)?", part)
        low, high = match.groups() if match else ("1", "0")
        pairs.append((low, high or low))
        if float(pairs[-1][0]) > float(pairs[-1][1]):
            raise ConfigError(f"{option}: expected ranges such as {example}, found {part.strip()!r}")
    return pairs
