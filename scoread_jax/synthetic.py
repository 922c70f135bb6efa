"""A made scene with known anomalies, which needs no file."""

from __future__ import annotations

import numpy as np

from scoread_jax.bands import ALL, Selection
from scoread_jax.errors import SceneError
from scoread_jax.scene import Scene, make_scene

SYNTHETIC = "synthetic"

# Rows and columns of the objects.
_OBJECTS = ((1, 1), (1, 2), (2, 1), (2, 2), (2, 3), (3, 2))


def synthetic(key_seed: int = 0, rows: int = 64, cols: int = 64, bands: int = 100, selection: Selection = ALL) -> Scene:
    """Make a scene with known anomalies, moderately hard: global RX neither solves it nor fails.

    A linear mixture, x = illumination · (Σ abundance · endmember) · (1 + variability) + noise, of four to six
    smooth endmembers with smooth abundances on the simplex. About one pixel in two hundred is anomalous:
    objects of one to six pixels, and single pixels that another material fills by 30 to 70 %.

    Args:
        key_seed: of the random numbers; the same seed makes the same scene.
        rows: at least 8.
        cols: at least 8.
        bands: at least 8, evenly over 400 to 2500 nm.
        selection: which of them are wanted.

    Returns:
        A scene of uint16 reflectance × 10000, with its truth and wavelengths.

    Raises:
        SceneError: for sizes that are too small.
    """
    if min(rows, cols, bands) < 8:
        raise SceneError(f"{SYNTHETIC}: expected at least 8 rows, cols and bands, found {rows}, {cols}, {bands}")
    rng = np.random.default_rng(key_seed)
    wavelengths = np.linspace(400.0, 2500.0, bands)
    endmembers = _smooth_spectra(rng, wavelengths, int(rng.integers(4, 7)))
    abundances = np.exp(2.5 * _smooth_fields(rng, len(endmembers), rows, cols, width=6))
    abundances /= abundances.sum(axis=0)
    background = np.einsum("erc,eb->rcb", abundances, endmembers)

    # Drawn towards the background's mean, so that no anomaly lies far outside.
    materials = 0.45 * background.mean(axis=(0, 1)) + 0.55 * _smooth_spectra(rng, wavelengths, 3)
    fraction, material = _objects(rng, rows, cols, anomalous=max(2, round(0.005 * rows * cols)))
    clean = (1 - fraction[..., None]) * background + fraction[..., None] * materials[material]

    shapes = _smooth_spectra(rng, wavelengths, 12)
    shapes = (shapes - shapes.mean(axis=1, keepdims=True)) / shapes.std()
    strength = _smooth_fields(rng, len(shapes), rows, cols, width=2)
    strength += rng.standard_normal(strength.shape)
    variability = 0.02 * np.einsum("src,sb->rcb", strength, shapes)
    illumination = 1 + 0.1 * _smooth_fields(rng, 1, rows, cols, width=8)[0]
    illumination += 0.03 * rng.standard_normal((rows, cols))
    reflectance = illumination[..., None] * clean * (1 + variability)
    reflectance += 0.004 * rng.standard_normal(clean.shape)
    return make_scene(
        np.clip(np.rint(10_000 * reflectance), 1, 65_535).astype(np.uint16),
        truth=fraction > 0,
        wavelengths=wavelengths,
        selection=selection,
        name=SYNTHETIC,
        source=f"{SYNTHETIC}(key_seed={key_seed}, rows={rows}, cols={cols}, bands={bands})",
    )


def _smooth_spectra(rng: np.random.Generator, wavelengths: np.ndarray, count: int) -> np.ndarray:
    """Draw sums of five Gaussians over a level of 5 % reflectance, [count, bands]."""
    centre = rng.uniform(300, 2600, (count, 5, 1))
    width = rng.uniform(80, 500, (count, 5, 1))
    height = rng.uniform(0.025, 0.25, (count, 5, 1))
    return 0.05 + np.sum(height * np.exp(-0.5 * ((wavelengths - centre) / width) ** 2), axis=1)


def _smooth_fields(rng: np.random.Generator, count: int, rows: int, cols: int, width: float) -> np.ndarray:
    """Draw fields [count, rows, cols] of mean 0 and standard deviation 1, smooth over ``width`` pixels."""
    from scipy.ndimage import gaussian_filter

    fields = gaussian_filter(rng.standard_normal((count, rows, cols)), (0, width, width))
    fields -= fields.mean(axis=(1, 2), keepdims=True)
    return fields / fields.std(axis=(1, 2), keepdims=True)


def _objects(rng: np.random.Generator, rows: int, cols: int, anomalous: int) -> tuple[np.ndarray, np.ndarray]:
    """Place objects and sub-pixel targets in turn: the fraction and the material (0 to 2) of each pixel."""
    fraction, material = np.zeros((rows, cols)), np.zeros((rows, cols), int)
    sub_pixel = False
    while np.count_nonzero(fraction) < anomalous:
        height, width = (1, 1) if sub_pixel else _OBJECTS[rng.integers(len(_OBJECTS))]
        row, col = rng.integers(rows - height + 1), rng.integers(cols - width + 1)
        if fraction[max(0, row - 1) : row + height + 1, max(0, col - 1) : col + width + 1].any():
            continue  # objects do not touch
        place = slice(row, row + height), slice(col, col + width)
        fraction[place] = rng.uniform(0.3, 0.7) if sub_pixel else 1
        material[place] = rng.integers(3)
        sub_pixel = not sub_pixel
    return fraction, material
