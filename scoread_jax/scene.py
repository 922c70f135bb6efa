"""A scene: the cube, which of its pixels and bands count, and what is known about it.

Every check on a cube is in ``make_scene``, whichever door the cube came through. Masked pixels and bad bands
stay in the cube and are left out of scaling, training and scoring.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from scoread_jax.arrays import checked_cube, nonzero_plane, truth_notes
from scoread_jax.bands import ALL, Selection, candidates, left_out, nanometres, noisy, ranges
from scoread_jax.cube import Cube, row_blocks, size_of
from scoread_jax.errors import SceneError
from scoread_jax.georeference import Georeference
from scoread_jax.group import ALONE, Group
from scoread_jax.survey import survey


@dataclasses.dataclass(frozen=True, eq=False)
class Scene:
    """A hyperspectral scene, checked. Made by ``make_scene``.

    Attributes:
        cube: real [rows, cols, bands of the file], in the file's units; an array, or read by slices of rows.
        valid: bool [rows, cols], False where a pixel is masked.
        good_bands: bool [bands of the file], False where a band is left out.
        truth: bool [rows, cols], True where anomalous; None when not known.
        wavelengths: float64 [bands of the file], nm; None when not known.
        name: short, for titles and file names.
        source: the path of its file, or how it was made.
        notes: what was decided on the way, a sentence each.
        low: [bands of the file], least value of the valid pixels; undefined for a band that holds nothing.
        high: [bands of the file], their greatest value.
        georeference: where the pixels lie; None when not known.
        metadata: what else its file says, by the file's own names, as text.
    """

    cube: Cube
    valid: np.ndarray
    good_bands: np.ndarray
    truth: np.ndarray | None
    wavelengths: np.ndarray | None
    name: str
    source: str
    notes: tuple[str, ...]
    low: np.ndarray
    high: np.ndarray
    georeference: Georeference | None = None
    metadata: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.cube.shape[0]

    @property
    def cols(self) -> int:
        """Number of columns."""
        return self.cube.shape[1]

    @property
    def bands(self) -> int:
        """Number of good bands."""
        return int(np.count_nonzero(self.good_bands))

    @property
    def pixels(self) -> int:
        """Number of valid pixels."""
        return int(np.count_nonzero(self.valid))


@dataclasses.dataclass(frozen=True)
class Normalisation:
    """The two numbers of an affine scaling: normalised = (x − offset) / scale.

    Attributes:
        offset: in the cube's units.
        scale: in the cube's units, > 0.
    """

    offset: float
    scale: float


def make_scene(
    cube: Any,
    *,
    truth: Any = None,
    mask: Any = None,
    wavelengths: Any = None,
    wavelength_unit: str | None = None,
    good_bands: np.ndarray | None = None,
    selection: Selection = ALL,
    georeference: Georeference | None = None,
    metadata: Mapping[str, str] | None = None,
    name: str = "scene",
    source: str = "memory",
    group: Group = ALONE,
) -> Scene:
    """Check a cube and decide which of its pixels and bands count.

    A pixel is valid where ``mask`` is nonzero and its spectrum is finite and no fill (see ``survey``). Bands
    that hold only NaN, infinity and zeros are left out before pixels are judged, constant ones after.

    Args:
        cube: real numbers [rows, cols, bands], any unit; an array, or a lazy cube.
        truth: [rows, cols], nonzero where a pixel is anomalous.
        mask: [rows, cols], nonzero where a pixel is valid.
        wavelengths: [bands] in nm, or in µm when all are below 100.
        wavelength_unit: as a file spells it; wavelengths of a unit that is no length are left out.
        good_bands: bool [bands], False where a band is left out whatever it holds; all where None.
        selection: which of them the user wants.
        georeference: where the pixels lie.
        metadata: what else is known.
        name: short, for titles and file names.
        source: the path of its file, or how it was made; error messages start with it.
        group: processes that each read their share of the cube; all get the same scene.

    Returns:
        The scene. Its cube is the given array, not a copy.

    Raises:
        SceneError: for an array that is no cube, fewer than two valid pixels or two varying bands, or a mask,
            truth or wavelengths that do not fit the cube.
    """
    cube = checked_cube(cube, source)
    shape, bands = cube.shape[:2], cube.shape[2]
    notes = []
    inside = np.ones(shape, bool) if mask is None else nonzero_plane(mask, "mask", source, shape)
    if wavelengths is not None:
        wavelengths, decided = nanometres(wavelengths, bands, source, wavelength_unit)
        notes += decided
    listed = np.ones(bands, bool) if good_bands is None else np.asarray(good_bands, bool)
    wanted, decided = candidates(selection, wavelengths, listed, source)
    notes += decided
    found = survey(cube, inside, wanted, group)
    filled = found.filled
    if inside.any() and not filled.any():
        raise SceneError(
            f"{source}: expected finite values, found only NaN, infinity and zeros in every band"
            f"{'' if mask is None else ' under the mask'}; check how the file was written"
        )
    if not filled[wanted].all():
        notes.append(left_out("empty", wanted & ~filled))
    if found.fill_values:
        values = " and ".join(f"{value:g}" for value in found.fill_values)
        notes.append(f"guessed: {values} is fill, for whole spectra hold nothing else and no other spectrum reaches it")
    valid = inside & found.finite & found.lit & ~found.fill
    reasons = found.reasons(inside)
    pixels = np.count_nonzero(valid)
    if pixels < 2:
        raise SceneError(
            f"{source}: expected at least 2 valid pixels, found {pixels} of {valid.size} ({reasons}); "
            "check the mask and the fill values"
        )
    if pixels < valid.size:
        notes.append(f"{valid.size - pixels} of {valid.size} pixels masked: {reasons}")
    hot, share = found.hot(valid)
    if hot.any():
        row, col = np.argwhere(hot)[0]
        notes.append(
            f"warning: {np.count_nonzero(hot)} of {pixels} pixels, ({row}, {col}) the first, set the range of values: "
            f"all others take {100 * share:.2g} % of it; leave such out with a mask (--mask) if they are no measurement"
        )
    good_bands = filled & (found.low < found.high)
    if not good_bands[filled].all():
        notes.append(left_out("constant", filled & ~good_bands))
    if selection.drop_noisy and good_bands.any():
        found_noisy = noisy(cube, valid, good_bands)
        notes.append(left_out("noisy", found_noisy))
        good_bands &= ~found_noisy
    if np.count_nonzero(good_bands) < 2:
        raise SceneError(
            f"{source}: expected at least 2 bands that are not constant, found "
            f"{np.count_nonzero(good_bands)} of {bands}; give a hyperspectral cube [rows, cols, bands]"
        )
    if truth is not None:
        anomalous = nonzero_plane(truth, "truth", source, shape)
        notes += truth_notes(anomalous, valid, levels=len(np.unique(truth)))
        truth = anomalous
    return Scene(
        cube, valid, good_bands, truth, wavelengths, name, source, tuple(notes),
        found.low, found.high, georeference, dict(metadata or {}),
    )  # fmt: skip


def global_min_max(scene: Scene) -> Normalisation:
    """Find the one scaling that takes the good bands of all valid pixels to [0, 1].

    Raises:
        SceneError: when the range of values is too large or too small for float64.
    """
    lowest = float(scene.low[scene.good_bands].min())
    scale = float(scene.high[scene.good_bands].max()) - lowest
    if not (0 < scale < np.inf):
        raise SceneError(
            f"{scene.source}: expected values whose range fits float64, found {lowest} to {lowest + scale}; "
            "rescale the cube"
        )
    return Normalisation(lowest, scale)


def spectra(
    scene: Scene, normalisation: Normalisation, good_bands: np.ndarray | None = None, rows: slice = slice(None)
) -> np.ndarray:
    """Collect the normalised spectra of the valid pixels.

    Args:
        scene: the scene.
        normalisation: of this scene, or of the one that a model was trained on.
        good_bands: bool [bands of the file] that a model was trained on; the scene's own where None.
        rows: of the scene, from start to stop.

    Returns:
        float32 [pixels, bands], C-contiguous, pixels in row-major order.

    Raises:
        SceneError: when ``good_bands`` has another number of bands, or one without finite values here.
    """
    chosen = _chosen_bands(scene, good_bands)
    result = np.empty((np.count_nonzero(scene.valid[rows]), np.count_nonzero(chosen)), np.float32)
    start = 0
    for part in row_blocks(scene.cube, rows):
        block = scene.cube[part][scene.valid[part]][:, chosen]
        result[start : start + len(block)] = _scaled(scene, block, chosen, normalisation)
        start += len(block)
    return result


def spectra_at(
    scene: Scene, normalisation: Normalisation, places: np.ndarray, good_bands: np.ndarray | None = None
) -> np.ndarray:
    """Collect the normalised spectra of some of the valid pixels; only rows that hold one are read.

    Args:
        scene: the scene.
        normalisation: see ``spectra``.
        places: in the list of valid pixels, sorted, int [pixels].
        good_bands: see ``spectra``.

    Returns:
        float32 [pixels, bands], C-contiguous.

    Raises:
        SceneError: as ``spectra`` does.
    """
    chosen = _chosen_bands(scene, good_bands)
    before = np.concatenate([[0], np.cumsum(np.count_nonzero(scene.valid, axis=1))])
    rows_of = np.searchsorted(before, places, side="right") - 1
    result = np.empty((len(places), np.count_nonzero(chosen)), np.float32)
    for part in row_blocks(scene.cube):
        begin, end = np.searchsorted(rows_of, (part.start, part.stop))
        if begin < end:
            read = slice(int(rows_of[begin]), int(rows_of[end - 1]) + 1)
            block = scene.cube[read][scene.valid[read]][places[begin:end] - before[read.start]][:, chosen]
            result[begin:end] = _scaled(scene, block, chosen, normalisation)
    return result


def to_map(scene: Scene, values: np.ndarray) -> np.ndarray:
    """Put one value a valid pixel back into the scene's rows and columns.

    Args:
        scene: the scene.
        values: [pixels], valid pixels in row-major order.

    Returns:
        float32 [rows, cols], NaN where the scene is masked.

    Raises:
        SceneError: for another number of values.
    """
    values = np.asarray(values)
    if values.shape != (scene.pixels,):
        raise SceneError(
            f"{scene.source}: expected one value for each of {scene.pixels} valid pixels, "
            f"found {size_of(values)}; give scores [pixels] of this scene"
        )
    result = np.full(scene.valid.shape, np.nan, np.float32)
    result[scene.valid] = values
    return result


def digest(scene: Scene) -> str:
    """SHA-256 of what a detector sees: shape, type and values of cube, valid mask and good bands.

    The same for either memory order and either byte order.

    Returns:
        64 hexadecimal digits.
    """
    total = hashlib.sha256()
    for array in (scene.cube, scene.valid, scene.good_bands):
        stored = array.dtype.newbyteorder("<")
        total.update(f"{array.shape} {stored.str}\n".encode())
        for rows in row_blocks(array):
            total.update(np.ascontiguousarray(array[rows], stored).data)
    return total.hexdigest()


def _chosen_bands(scene: Scene, good_bands: np.ndarray | None) -> np.ndarray:
    chosen = scene.good_bands if good_bands is None else np.asarray(good_bands, bool)
    if chosen.shape != scene.good_bands.shape:
        raise SceneError(
            f"{scene.source}: expected {chosen.size} bands as in the scene of the training, found "
            f"{scene.good_bands.size}; give a scene of the same sensor with the same bands"
        )
    return chosen


def _scaled(scene: Scene, block: np.ndarray, chosen: np.ndarray, normalisation: Normalisation) -> np.ndarray:
    """Normalise spectra [pixels, chosen bands] of a scene."""
    if not np.isfinite(block).all():
        bad = np.flatnonzero(chosen)[~np.isfinite(block).all(axis=0)]
        raise SceneError(
            f"{scene.source}: expected finite values in the bands of the training, found NaN or infinity "
            f"in {ranges(bad)} (counted from 0); give a scene with the same bands"
        )
    # Another scene's scaling may overflow; who scores the scene finds the infinity.
    with np.errstate(over="ignore"):
        return ((block.astype(np.float64) - normalisation.offset) / normalisation.scale).astype(np.float32)
