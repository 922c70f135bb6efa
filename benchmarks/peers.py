"""Detectors of other people, by name: what ours are compared with.

Each takes the scene, its valid spectra [pixels, bands] (scaled to [0, 1] by one global minimum and maximum) and a
seed, and gives one score a valid pixel, higher = more anomalous. Settings are the libraries' own unless said.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from scoread_jax import scene
from scoread_jax.scene import Scene

Detector = Callable[[Scene, np.ndarray, int], np.ndarray]

LOCAL_WINDOWS = (5, 21)
"""(inner, outer) of the local RX, in pixels: 416 spectra around each pixel, more than any scene here has bands."""


def rx(image: Scene, spectra: np.ndarray, seed: int, ridge: float = 0.0) -> np.ndarray:
    """Squared Mahalanobis distance to the scene's mean; ``ridge`` in units of the mean band variance."""
    del image, seed
    centred = (spectra - spectra.mean(axis=0)).astype(np.float64)
    covariance = centred.T @ centred / len(centred)
    covariance += ridge * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    return np.einsum("ij,ij->i", centred @ np.linalg.pinv(covariance, hermitian=True), centred)


def ridge_rx(image: Scene, spectra: np.ndarray, seed: int) -> np.ndarray:
    """RX with a thousandth of the mean variance added to each band's."""
    return rx(image, spectra, seed, ridge=1e-3)


def local_rx(image: Scene, spectra: np.ndarray, seed: int, windows: tuple[int, int] = LOCAL_WINDOWS) -> np.ndarray:
    """RX by mean and covariance of the pixels in the outer window that are not in the inner one (Reed & Yu 1990).

    Near the edges of the image the windows are moved inside, as Spectral Python does. A millionth of the mean variance
    is added to each band's, for windows whose covariance is singular.
    """
    del seed
    inner, outer = windows
    rows, cols = image.valid.shape
    place = np.full((rows, cols), -1)
    place[image.valid] = np.arange(len(spectra))
    values = spectra.astype(np.float64)
    scores = np.empty(len(spectra))
    for number, (row, col) in enumerate(zip(*np.nonzero(image.valid), strict=True)):
        around = _window(place, row, col, outer)
        ring = around[(around >= 0) & ~np.isin(around, _window(place, row, col, inner))]
        centred = values[ring] - values[ring].mean(axis=0)
        covariance = centred.T @ centred / (len(ring) - 1)
        covariance[np.diag_indices_from(covariance)] += 1e-6 * np.trace(covariance) / len(covariance)
        difference = values[number] - values[ring].mean(axis=0)
        scores[number] = difference @ np.linalg.solve(covariance, difference)
    return scores


def spectral_rx(image: Scene, spectra: np.ndarray, seed: int) -> np.ndarray:
    """RX of Spectral Python."""
    import spectral

    del seed
    return np.asarray(spectral.rx(_cube(image, spectra)))[image.valid]


def spectral_local_rx(image: Scene, spectra: np.ndarray, seed: int) -> np.ndarray:
    """Local RX of Spectral Python, with the same windows as ``local_rx``."""
    import spectral

    del seed
    return np.asarray(spectral.rx(_cube(image, spectra), window=LOCAL_WINDOWS))[image.valid]


def k_nn(image: Scene, spectra: np.ndarray, seed: int) -> np.ndarray:
    """Distance to the fifth nearest spectrum."""
    from sklearn.neighbors import NearestNeighbors

    del image, seed
    return NearestNeighbors(n_neighbors=6).fit(spectra).kneighbors(spectra)[0][:, 5]


def lof(image: Scene, spectra: np.ndarray, seed: int) -> np.ndarray:
    """Local outlier factor with 20 neighbours."""
    from sklearn.neighbors import LocalOutlierFactor

    del image, seed
    return -LocalOutlierFactor(n_neighbors=20).fit(spectra).negative_outlier_factor_


def isolation_forest(image: Scene, spectra: np.ndarray, seed: int) -> np.ndarray:
    """Isolation forest of 200 trees."""
    from sklearn.ensemble import IsolationForest

    del image
    return -IsolationForest(n_estimators=200, random_state=seed).fit(spectra).score_samples(spectra)


def autoencoder(image: Scene, spectra: np.ndarray, seed: int) -> np.ndarray:
    """Reconstruction error of PyOD's autoencoder."""
    from pyod.models.auto_encoder import AutoEncoder  # pyright: ignore[reportMissingImports]

    del image
    model = AutoEncoder(random_state=seed, verbose=0, device="cpu")
    return np.asarray(model.fit(spectra).decision_scores_)


class Peer(NamedTuple):
    """A detector, and whether it draws random numbers: only then is it run for every seed."""

    detect: Detector
    random: bool = False

    def map(self, image: Scene, seed: int) -> np.ndarray:
        """Its anomaly map, float32 [rows, cols]."""
        return scene.to_map(image, self.detect(image, scene.spectra(image, scene.global_min_max(image)), seed))


PEERS = {
    "RX": Peer(rx),
    "ridge RX": Peer(ridge_rx),
    "local RX": Peer(local_rx),
    "k-NN": Peer(k_nn),
    "LOF": Peer(lof),
    "isolation forest": Peer(isolation_forest, random=True),
}

OTHERS = {
    "RX (Spectral Python)": Peer(spectral_rx),
    "local RX (Spectral Python)": Peer(spectral_local_rx),
    "autoencoder (PyOD)": Peer(autoencoder, random=True),
}
"""Of whole packages, for ``against_peers``: slower, and no better."""


def _window(place: np.ndarray, row: int, col: int, width: int) -> np.ndarray:
    top, left = (
        int(np.clip(at - width // 2, 0, max(0, size - width))) for at, size in zip((row, col), place.shape, strict=True)
    )
    return place[top : top + width, left : left + width].ravel()


def _cube(image: Scene, spectra: np.ndarray) -> np.ndarray:
    if not image.valid.all():
        raise SystemExit(f"{image.name}: Spectral Python knows no mask; leave this scene out")
    return spectra.reshape(image.rows, image.cols, -1)
