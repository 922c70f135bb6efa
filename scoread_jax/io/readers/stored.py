"""Named arrays in a container (HDF5, NetCDF-4, Zarr) and what the CF conventions say of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from scoread_jax.bands import UNKNOWN_UNIT
from scoread_jax.cube import Cube
from scoread_jax.georeference import Affine, Georeference
from scoread_jax.io.contents import WAVELENGTH_NAMES, Contents
from scoread_jax.io.readers.lazy import check_claim, decoded, plane

_ROW_NAMES = ("y", "lat", "latitude", "row", "rows", "line", "lines", "downtrack", "northing", "number_of_lines")
_COL_NAMES = ("x", "lon", "longitude", "col", "cols", "column", "columns", "sample", "samples", "crosstrack",
              "easting", "pixels_per_line")  # fmt: skip
_BAND_NAMES = ("band", "bands", "wavelength", "wavelengths", "wavelength_3d", "spectral", "z", "channel", "channels")
_PLACES = {name: place for place, names in enumerate((_ROW_NAMES, _COL_NAMES, _BAND_NAMES)) for name in names}

# Steps of a regular axis may differ by so much of a step.
_UNEVEN = 1e-3


@dataclasses.dataclass(frozen=True, eq=False)
class Stored:
    """An array in a file.

    Attributes:
        shape: of the array.
        dtype: of the array.
        chunks: of the file, or None.
        size: bytes that it takes in the file.
        dimensions: names of the axes; empty where one has none.
        attributes: by name.
        get: an index to the values there, which reads no more than these.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    chunks: tuple[int, ...] | None
    size: int
    dimensions: tuple[str, ...]
    attributes: Mapping[str, Any]
    get: Callable[[Any], np.ndarray]

    def number(self, name: str) -> float | None:
        """An attribute that is one number; None where there is none."""
        value = np.asarray(self.attributes.get(name, np.nan))
        return float(value.ravel()[0]) if value.size == 1 and value.dtype.kind in "iuf" and value == value else None

    def text(self, *names: str) -> str | None:
        """The first of some attributes that is there, as text."""
        return next((as_text(self.attributes[name]) for name in names if name in self.attributes), None)


def as_text(value: Any) -> str:
    """An attribute as text."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    array = np.asarray(value)
    return str(value) if array.ndim == 0 else ", ".join(map(str, array.ravel()))


def load(path: Path, stored: Stored, axes: tuple[int, ...] | None = None) -> Cube:
    """The values of an array, unpacked and NaN for no data, in the order rows, cols, bands; lazy for three axes.

    Args:
        path: the file.
        stored: the array.
        axes: which of its axes are rows, cols and bands; by their names where None, else as stored.
    """
    check_claim(path, stored.shape, stored.dtype, stored.size)
    axes = _axes(stored.dimensions) if axes is None else axes
    nodata = stored.number("_FillValue")
    packing = {
        "scale": stored.number("scale_factor"),
        "shift": stored.number("add_offset"),
        "nodata": stored.number("missing_value") if nodata is None else nodata,
    }
    if len(axes) == 3:
        return lazy(path, stored, axes, **packing)
    values = stored.get(...).transpose(axes)
    return plane(path, values, **packing) if len(axes) == 2 else values


def lazy(path: Path, stored: Stored, axes: tuple[int, ...], **packing: Any) -> Cube:
    """A lazy cube of an array of three axes, of which ``axes`` are rows, cols and bands; see ``decoded``."""
    rows, cols, bands = (stored.shape[axis] for axis in axes)
    dtype = stored.dtype.newbyteorder("=")

    def read(start: int, stop: int) -> np.ndarray:
        place = [slice(None)] * 3
        place[axes[0]] = slice(start, stop)
        return np.ascontiguousarray(stored.get(tuple(place)).transpose(axes), dtype)

    tile_rows = stored.chunks[axes[0]] if stored.chunks else 1
    return decoded(path, (rows, cols, bands), dtype, read, tile_rows=tile_rows, **packing)


def contents(path: Path, variables: Mapping[str, Stored], attributes: Mapping[str, Any]) -> Contents:
    """What a file by the CF conventions holds: coordinates become the georeference, all else stays a variable.

    Args:
        path: the file.
        variables: by name.
        attributes: of the file.
    """
    numbers = {name: each for name, each in variables.items() if each.dtype.kind in "biuf" and 0 not in each.shape}
    main = max(numbers.values(), key=lambda each: (len(each.shape), np.prod(each.shape)), default=None)
    georeference, places = (None, set()) if main is None else _georeference(numbers, main)
    arrays = {name: load(path, each) for name, each in numbers.items() if name not in places}
    units = [each.text("units") for name, each in numbers.items() if name.lower() in WAVELENGTH_NAMES]
    notes = []
    if main is not None and len(main.shape) == 3 and _axes(main.dimensions) == (0, 1, 2):
        known = all(name.lower() in _PLACES for name in main.dimensions)
        notes += [] if known else ["guessed: the axes of the cube are rows, cols and bands in this order"]
    return Contents(
        path,
        arrays,
        {name: "text" if each.dtype.kind in "OSU" else str(each.dtype) for name, each in variables.items()
         if name not in numbers},
        georeference=georeference,
        metadata={name: as_text(value) for name, value in attributes.items()},
        wavelength_unit=next((unit for unit in units if unit), UNKNOWN_UNIT),
        notes=tuple(notes),
    )  # fmt: skip


def _axes(dimensions: tuple[str, ...]) -> tuple[int, ...]:
    """Axes in the order rows, cols, bands, by their names; as they are where the names do not tell."""
    places = [_PLACES.get(name.lower()) for name in dimensions]
    axes = tuple(range(len(places)))
    if None not in places and len(set(places)) == len(places):
        return tuple(places.index(place) for place in range(3) if place in places)
    if places.count(2) == 1:
        return (*(axis for axis in axes if places[axis] != 2), places.index(2))
    return axes


def _georeference(variables: Mapping[str, Stored], main: Stored) -> tuple[Georeference | None, set[str]]:
    """Where the pixels of a variable lie, and the names of the variables that say so."""
    axes = _axes(main.dimensions)
    if len(axes) < 2:
        return None, set()
    down, across = (main.dimensions[axis] for axis in axes[:2])
    mapping = variables.get(main.text("grid_mapping") or "spatial_ref")
    crs = None if mapping is None else mapping.text("crs_wkt", "spatial_ref")
    used = {name for name, each in variables.items() if each is mapping or name in (down, across)}
    given = None if mapping is None else mapping.text("GeoTransform")
    if given is not None:
        x, a, b, y, d, e = map(float, given.split())
        return Georeference(crs, (a, b, x, d, e, y)), used
    shape = tuple(main.shape[axis] for axis in axes[:2])
    for names in (("lat", "lon"), ("latitude", "longitude")):
        if all(name in variables and variables[name].shape == shape for name in names):
            lat, lon = (variables[name].get(...).astype(np.float64) for name in names)
            return Georeference(crs, lat=lat, lon=lon), used | set(names)
    if down in variables and across in variables and _is_place(variables[down]) and _is_place(variables[across]):
        transform = _transform(variables[down].get(...), variables[across].get(...))
        return (None if transform is None and crs is None else Georeference(crs, transform)), used
    return (None if crs is None else Georeference(crs)), used


def _is_place(axis: Stored) -> bool:
    """Whether an axis holds coordinates, not numbers of rows or columns."""
    name = axis.text("standard_name", "units") or ""
    return name.startswith(("projection_", "latitude", "longitude", "degrees", "m"))


def _transform(y: np.ndarray, x: np.ndarray) -> Affine | None:
    """The transform of even axes of pixel centres; None for others."""
    steps = []
    for axis in (x, y):
        if len(axis) < 2:
            return None
        step = (float(axis[-1]) - float(axis[0])) / (len(axis) - 1)
        if step == 0 or np.abs(np.diff(axis.astype(np.float64)) / step - 1).max() > _UNEVEN:
            return None
        steps.append(step)
    a, e = steps
    return a, 0.0, float(x[0]) - a / 2, 0.0, e, float(y[0]) - e / 2
