"""Linear views of a scene's spectra: the coordinates in which a score model sees them.

Isotropic noise means something only where the axes are comparable, and neighbours are found faster in few dimensions;
so a view scales the bands and keeps the leading principal components. A view is learned from one scene's spectra,
without labels, and applied to any scene with the same bands.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from scoread_jax.errors import ConfigError

# Spectra multiplied at once. The library may sum in another order for another number of them, and a spectrum's
# coordinates must not depend on its company.
_ROWS_AT_ONCE = 1024

# Bands are divided by their standard deviation, bounded below by this fraction of the mean one.
_SOFTENING = 0.1

KINDS = ("identity", "standardised", "root")


@dataclasses.dataclass(frozen=True, eq=False)
class View:
    """An affine map of spectra, after a square root for the ``root`` kind.

    Attributes:
        root: whether the square root comes first: it evens out noise that grows with the signal.
        centre: subtracted, [bands].
        basis: multiplied from the right, [bands, components].
        inverse: takes coordinates back to what the components hold of a centred spectrum, [components, bands]; None
            in a view that was kept without it.
    """

    root: bool
    centre: np.ndarray
    basis: np.ndarray
    inverse: np.ndarray | None = None

    def arrays(self) -> dict[str, np.ndarray]:
        """Its arrays by name, to be kept."""
        found = {"centre": self.centre, "basis": self.basis, "inverse": self.inverse}
        return {name: np.asarray(array) for name, array in found.items() if array is not None}

    def apply(self, spectra: np.ndarray) -> np.ndarray:
        """Coordinates float32 [pixels, components] of normalised spectra [pixels, bands]."""
        found = np.empty((len(spectra), self.basis.shape[1]), np.float32)
        rows = np.zeros((_ROWS_AT_ONCE, spectra.shape[1]), np.float32)
        for start in range(0, len(spectra), _ROWS_AT_ONCE):
            part = spectra[start : start + _ROWS_AT_ONCE]
            rows[: len(part)] = (np.sqrt(np.maximum(part, 0)) if self.root else part) - self.centre
            found[start : start + len(part)] = (rows @ self.basis)[: len(part)]
        return found

    def undo(self, coordinates: np.ndarray) -> np.ndarray:
        """Normalised spectra float32 [pixels, bands] of coordinates [pixels, components]: their projection.

        Raises:
            ConfigError: for a view without its inverse.
        """
        if self.inverse is None:
            raise ConfigError("expected a view with its inverse, found one kept without; train the detector again")
        values = coordinates @ self.inverse + self.centre
        return (np.maximum(values, 0) ** 2 if self.root else values).astype(np.float32)


def learn(spectra: np.ndarray, kind: str, components: int) -> View:
    """The view of that kind of a scene.

    Args:
        spectra: normalised to [0, 1], [pixels, bands].
        kind: ``"standardised"`` divides each band by its standard deviation (softened by a tenth of the mean one);
            ``"root"`` takes square roots.
        components: principal components to keep; fewer where there are fewer bands.

    Returns:
        The view, scaled so that the coordinates' total variance is the number of bands.
    """
    root = kind == "root"
    values = np.sqrt(np.maximum(spectra, 0)) if root else np.asarray(spectra)
    centre = values.mean(axis=0, dtype=np.float64)
    covariance = _covariance(values, centre)
    scale = np.ones(len(centre))
    if not root:
        deviation = np.sqrt(np.diag(covariance))
        scale = 1 / np.maximum(deviation + _SOFTENING * deviation.mean(), np.finfo(np.float32).tiny)
    covariance = covariance * scale * scale[:, None]
    total = np.trace(covariance) / len(centre)
    scale = scale / np.sqrt(total if total > 0 else 1.0)
    _, vectors = np.linalg.eigh(covariance)
    leading = vectors[:, ::-1][:, :components]
    # An eigenvector's sign is the library's choice; fix it, so that maps do not depend on the machine.
    leading = leading * np.where(leading[np.abs(leading).argmax(axis=0), np.arange(leading.shape[1])] < 0, -1, 1)
    basis, inverse = scale[:, None] * leading, leading.T / scale
    return View(root, *(part.astype(np.float32) for part in (centre, basis, inverse)))


def _covariance(values: np.ndarray, centre: np.ndarray, block: int = 65536) -> np.ndarray:
    total = np.zeros((len(centre), len(centre)))
    for start in range(0, len(values), block):
        part = (values[start : start + block] - centre).astype(np.float64)
        total += part.T @ part
    return total / len(values)
