"""PRISMA L2B, L2C and L2D in HDF-EOS5: two spectrometers, whose bands are joined by wavelength."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from scoread_jax.errors import SceneError
from scoread_jax.georeference import Georeference
from scoread_jax.io.contents import Contents
from scoread_jax.io.readers import crs
from scoread_jax.io.readers.lazy import check_claim, decoded
from scoread_jax.io.readers.stored import Stored, as_text

_SWATH = re.compile(r"HDFEOS/SWATHS/(PRS_L2[BCD]_HCO)/Data Fields/(VNIR|SWIR)_Cube")
_PIXEL = 30.0  # metres
_COUNTS = 65535  # of the range from the least to the greatest value


def fits(variables: Mapping[str, Stored]) -> bool:
    """Whether this is a PRISMA product of level 2, whole or not."""
    return any(name.startswith("HDFEOS/SWATHS/PRS_L2") for name in variables)


def read(path: Path, variables: Mapping[str, Stored], attributes: Mapping[str, Any]) -> Contents:
    """Read both cubes, stored as (line, band, sample), as one [lines, samples, bands], wavelengths ascending.

    A value is ``min + counts · (max − min) / 65535`` by ``L2ScaleVnirMin`` and the like; a pixel of zero counts in
    every band is no data. Bands whose wavelength is 0 are dead and left out; VNIR bands from the first SWIR
    wavelength on are marked bad, since the spectrometers disagree there.

    Args:
        path: the file.
        variables: of the file.
        attributes: of the file.

    Raises:
        SceneError: for a product without both cubes, their wavelengths and scales.
    """
    cubes = {match[2]: each for name, each in variables.items() if (match := _SWATH.fullmatch(name))}
    words = {side: [f"List_Cw_{side}", f"L2Scale{side}Min", f"L2Scale{side}Max"] for side in ("Vnir", "Swir")}
    missing = [word for each in words.values() for word in each if word not in attributes]
    missing += [f"{side}_Cube" for side in ("VNIR", "SWIR") if side not in cubes]
    if missing:
        raise SceneError(
            f"{path}: expected a PRISMA product of level 2 with both cubes, their wavelengths and scales, found no "
            f"{', '.join(missing)}; get the whole product again"
        )
    vnir, swir = cubes["VNIR"], cubes["SWIR"]
    centres = [np.asarray(attributes[words[side][0]], np.float64) for side in words]
    for name, cube, centre in zip(("VNIR", "SWIR"), (vnir, swir), centres, strict=True):
        check_claim(path, cube.shape, cube.dtype, cube.size)
        if len(cube.shape) != 3 or cube.shape[1] != centre.size:
            raise SceneError(
                f"{path}: expected {name}_Cube (line, band, sample) of {centre.size} bands, found "
                f"{' × '.join(map(str, cube.shape))}; get the whole product again"
            )
    ends = [[float(as_text(attributes[word])) for word in words[side][1:]] for side in words]
    scale = np.concatenate(
        [np.full(c.size, (high - low) / _COUNTS) for c, (low, high) in zip(centres, ends, strict=True)]
    )
    least = np.concatenate([np.full(c.size, low) for c, (low, _) in zip(centres, ends, strict=True)])
    both = np.concatenate(centres)
    order = np.argsort(both, kind="stable")
    order = order[both[order] > 0]
    of_vnir = order < centres[0].size
    overlapping = of_vnir & (both[order] >= both[order][~of_vnir].min(initial=np.inf))

    def rows_of(start: int, stop: int) -> np.ndarray:
        counts = np.concatenate([cube.get(slice(start, stop)) for cube in (vnir, swir)], axis=1)[:, order]
        values = counts.transpose(0, 2, 1) * scale[order].astype(np.float32) + least[order].astype(np.float32)
        values[(counts == 0).all(axis=1)] = np.nan
        return values

    lines, _, samples = vnir.shape
    shape, tile = (lines, samples, len(order)), vnir.chunks[0] if vnir.chunks else 1
    dead, doubled = both.size - len(order), np.count_nonzero(overlapping)
    return Contents(
        path,
        {
            "cube": decoded(path, shape, np.dtype(np.float32), rows_of, tile_rows=tile),
            "wavelengths": both[order],
            "good_bands": ~overlapping,
        },
        {},
        georeference=_georeference(variables, attributes, (lines, samples)),
        metadata={name: as_text(value) for name, value in attributes.items() if np.size(value) < 10},
        wavelength_unit="nm",
        notes=(
            f"PRISMA: {np.count_nonzero(of_vnir)} VNIR and {np.count_nonzero(~of_vnir)} SWIR bands by wavelength, "
            f"{dead} dead ones left out, {doubled} VNIR ones bad where SWIR begins",
        ),
    )


def _georeference(
    variables: Mapping[str, Stored], attributes: Mapping[str, Any], shape: tuple[int, int]
) -> Georeference | None:
    """The UTM grid of an orthorectified product (its corners are centres of pixels), else the places of the pixels."""
    corner = [attributes.get(f"Product_ULcorner_{axis}") for axis in ("easting", "northing")]
    if "Epsg_Code" in attributes and None not in corner:
        east, north = (float(as_text(each)) for each in corner)
        transform = (_PIXEL, 0.0, east - _PIXEL / 2, 0.0, -_PIXEL, north + _PIXEL / 2)
        return Georeference(crs.of_epsg(int(float(as_text(attributes["Epsg_Code"])))), transform)
    places = {}
    for word, name in (("lat", "Latitude"), ("lon", "Longitude")):
        found = [each for path, each in variables.items() if path.endswith(f"Geolocation Fields/{name}")]
        if not found or found[0].shape != shape:
            return None
        places[word] = found[0].get(...).astype(np.float64)
    return Georeference(**places)
