"""Area opening: how high an image stands in groups of many pixels."""

from __future__ import annotations

from array import array

import numpy as np

_ABSENT = -1


def area_opening(image: np.ndarray, largest: int, floor: float) -> np.ndarray:
    """The highest level at which each pixel belongs to a group of more than ``largest`` pixels.

    Pixels that reach a level and touch, diagonals included, make a group of that level. The image less this is what
    stands out by itself (Vincent 1993, Grayscale area openings and closings; of anomaly maps: Kang et al. 2017, IEEE
    TGRS 55(10), "Hyperspectral anomaly detection with attribute and edge-preserving filters"). Two images that differ
    by at most ε have openings that differ by at most ε.

    Args:
        image: [rows, cols]; −inf where there is no pixel.
        largest: pixels of a group that does not count, ≥ 0.
        floor: lowest level that is looked at; pixels below are not worked on.

    Returns:
        [rows, cols], ``floor`` where no level above it has such a group; otherwise at most the image.
    """
    padded = np.pad(np.asarray(image, np.float64), 1, constant_values=-np.inf)
    width = padded.shape[1]
    values = padded.ravel()
    places = np.flatnonzero(values > floor)
    places = places[np.argsort(-values[places], kind="stable")]
    opened = np.full(values.shape, float(floor))
    steps = (-width - 1, -width, -width + 1, -1, 1, width - 1, width, width + 1)
    # From the highest pixel down, each joins the groups that it touches (union–find). A small group's pixels wait for
    # the level at which it becomes large; a large group (None) has none that wait.
    parent = array("q", [_ABSENT]) * values.size
    waiting: dict[int, list[int] | None] = {}
    for place, value in zip(places.tolist(), values[places].tolist(), strict=True):
        touched = {_root(parent, place + step) for step in steps if parent[place + step] != _ABSENT}
        groups = [waiting.pop(root) for root in touched]
        for root in (place, *touched):
            parent[root] = place
        joined = [place]
        for group in groups:
            joined += group or ()
        large = None in groups or len(joined) > largest
        if large:
            opened[joined] = value
        waiting[place] = None if large else joined
    return opened.reshape(padded.shape)[1:-1, 1:-1]


def _root(parent: array[int], place: int) -> int:
    while parent[place] != place:
        parent[place] = place = parent[parent[place]]
    return place
