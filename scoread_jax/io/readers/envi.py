"""ENVI files: a text header ``.hdr`` beside a file of plain numbers. Either may be named; each finds the other."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from scoread_jax.bands import UNKNOWN_UNIT
from scoread_jax.errors import SceneError
from scoread_jax.georeference import Georeference
from scoread_jax.io.contents import Contents
from scoread_jax.io.readers import crs, envi_header
from scoread_jax.io.readers.envi_header import Header
from scoread_jax.io.readers.lazy import file_cube

HEADER = ".hdr"
DATA = (".img", ".dat", ".raw", ".bsq", ".bil", ".bip", ".bin", ".cube")

_TYPES = {1: "u1", 2: "i2", 3: "i4", 4: "f4", 5: "f8", 12: "u2", 13: "u4", 14: "i8", 15: "u8"}
# The axes of the file, the slowest first, as places in (rows, cols, bands).
_INTERLEAVES = {"bsq": (2, 0, 1), "bil": (0, 2, 1), "bip": (0, 1, 2)}
# The last is a misspelling that is common.
_UNIT_KEYS = ("wavelength units", "wavelength unit", "wavelength_units", "wavelength_unts")
# What is understood; all else is kept as metadata.
_UNDERSTOOD = (
    "lines", "samples", "bands", "data type", "interleave", "header offset", "byte order", "file type", "wavelength",
    *_UNIT_KEYS, "bbl", "data ignore value", "reflectance scale factor", "data gain values", "data offset values",
    "map info", "coordinate system string",
)  # fmt: skip


def read(path: Path) -> Contents:
    """Read an ENVI file, one band as a plane ``array``, several as a lazy ``cube``.

    The ``data ignore value`` becomes NaN; values are multiplied by ``data gain values`` over the ``reflectance
    scale factor``, and ``data offset values`` are added.

    Args:
        path: of the header or of the data.

    Raises:
        SceneError: for a missing partner, and for a header that is not understood or does not fit its data.
    """
    header_path, data = _pair(path)
    header = envi_header.parse(header_path)
    shape = rows, cols, bands = [header.integer(key, least=1) for key in ("lines", "samples", "bands")]
    axes, dtype, offset = _axes(header), _dtype(header), header.integer("header offset", 0)
    expected, found = offset + math.prod(shape) * dtype.itemsize, data.stat().st_size
    if found != expected:
        raise SceneError(
            f"{data}: expected {expected} bytes ({rows} lines × {cols} samples × {bands} bands of {dtype.itemsize} "
            f"bytes after {offset}, by {header_path.name}), found {found}; one of the two files is damaged or "
            "belongs to another"
        )
    scale, scaled = _scale(header, bands)
    notes = [f"ENVI, {header.text('interleave').lower()}, {'big' if dtype.str[0] == '>' else 'little'}-endian", *scaled]
    nodata = header.number("data ignore value")
    notes += [] if nodata is None else [f"no data where the file holds {nodata:g} (data ignore value)"]
    cube = file_cube(
        data,
        dtype,
        tuple(shape[axis] for axis in axes),
        (axes.index(0), axes.index(1), axes.index(2)),
        offset,
        scale=scale,
        shift=header.per_band("data offset values", bands),
        nodata=nodata,
    )
    georeference, doubts = _georeference(header)
    vectors = {"wavelength": header.per_band("wavelength", bands), "bbl": _good_bands(header, bands)}
    return Contents(
        path,
        ({"cube": cube} if bands > 1 else {"array": cube[:][:, :, 0]})
        | {name: vector for name, vector in vectors.items() if vector is not None},
        {},
        georeference=georeference,
        metadata={key: text for key, text in header.fields.items() if key not in _UNDERSTOOD and text},
        wavelength_unit=next((header.fields[key] for key in _UNIT_KEYS if key in header.fields), UNKNOWN_UNIT),
        notes=(*notes, *doubts),
    )


def find_header(path: Path) -> Path | None:
    """The header of a data file: of the same name with ``.hdr`` behind it or in place of the suffix, any case."""
    beside = {each.name.lower(): each for each in path.parent.iterdir() if each.suffix.lower() == HEADER}
    wanted = (f"{path.name}{HEADER}", f"{path.stem}{HEADER}")
    return next((beside[name.lower()] for name in wanted if name.lower() in beside), None)


def _pair(path: Path) -> tuple[Path, Path]:
    """The header and the data, of which ``path`` is one."""
    if path.suffix.lower() != HEADER:
        header = find_header(path)
        if header is None:
            raise SceneError(
                f"{path}: expected an ENVI header beside it, found neither {path.name}{HEADER} nor "
                f"{path.stem}{HEADER}; put it there, or give a file of another format"
            )
        return header, path
    names = [path.stem, *(f"{path.stem}{suffix}" for suffix in DATA)]
    beside = {each.name.lower(): each for each in path.parent.iterdir() if each.is_file()}
    data = next((beside[name.lower()] for name in names if name.lower() in beside), None)
    if data is None:
        raise SceneError(
            f"{path}: expected the data of this header beside it, found neither {path.stem} nor that with "
            f"{', '.join(DATA)}; put it there, or name the data file"
        )
    return path, data


def _axes(header: Header) -> tuple[int, int, int]:
    word = header.text("interleave")
    if word.lower() not in _INTERLEAVES:
        raise header.error(f"an interleave of {', '.join(_INTERLEAVES)}", repr(word))
    return _INTERLEAVES[word.lower()]


def _dtype(header: Header) -> np.dtype:
    code, order = header.integer("data type"), header.integer("byte order", 0)
    if code not in _TYPES:
        known = ", ".join(map(str, _TYPES))
        raise header.error(f"a data type of {known}", str(code), "complex numbers are not read: convert them")
    if order not in (0, 1):
        raise header.error("a byte order of 0 (little-endian) or 1 (big-endian)", str(order))
    return np.dtype("<>"[order] + _TYPES[code])


def _scale(header: Header, bands: int) -> tuple[np.ndarray | float | None, list[str]]:
    """What values are multiplied by, and what was decided."""
    factor, gains = header.number("reflectance scale factor"), header.per_band("data gain values", bands)
    if factor == 0:
        raise header.error("a reflectance scale factor that is not 0", "0")
    if factor in (None, 1) and gains is None:
        return None, []
    notes = [f"values divided by {factor:g} (reflectance scale factor)"] if factor not in (None, 1) else []
    notes += ["values scaled by data gain values"] if gains is not None else []
    return (1.0 if gains is None else gains) / (factor or 1.0), notes


def _good_bands(header: Header, bands: int) -> np.ndarray | None:
    """The list ``bbl``: True for a good band."""
    listed = header.per_band("bbl", bands)
    if listed is None:
        return None
    odd = listed[~np.isin(listed, (0, 1))]
    if odd.size:
        raise header.error("bbl of 1 (good) and 0 (bad)", f"{odd[0]:g}", "correct it or leave it out")
    return listed == 1


def _georeference(header: Header) -> tuple[Georeference | None, list[str]]:
    """Where the pixels lie, and what is doubtful about it.

    ``map info`` is: projection, x and y of a reference pixel (1, 1 is the upper left corner of the image), its
    easting and northing, width and height of a pixel, then the zone and hemisphere of UTM, datum, units=, and
    rotation= in degrees, counter-clockwise.
    """
    words = header.words("map info")
    given = header.fields.get("coordinate system string") or None
    if not words:
        return (None if given is None else Georeference(given)), []
    named = dict(word.lower().replace(" ", "").split("=", 1) for word in words if "=" in word)
    plain = [word for word in words if "=" not in word]
    try:
        ref_x, ref_y, east, north, width, height = map(float, plain[1:7])
        angle = math.radians(float(named.get("rotation", 0)))
    except ValueError:
        raise header.error("map info of a projection and 6 numbers", ", ".join(words)) from None
    a, b = math.cos(angle) * width, math.sin(angle) * height
    d, e = math.sin(angle) * width, -math.cos(angle) * height
    transform = (a, b, east - a * (ref_x - 1) - b * (ref_y - 1), d, e, north - d * (ref_x - 1) - e * (ref_y - 1))
    if given is not None:
        return Georeference(given, transform), []
    known = _crs(plain)
    doubt = "no coordinate system string in the header: " + (
        "taken from map info" if known else f"map info of {plain[0]} is not known, so the map gets none"
    )
    return Georeference(known, transform), [doubt]


def _crs(words: list[str]) -> str | None:
    """The WKT of a ``map info`` in WGS 84, of UTM or of degrees; None for others."""
    kind, rest = words[0].lower(), [word.lower().replace("-", "").replace(" ", "") for word in words[7:]]
    if "wgs84" not in rest:
        return None
    if kind == "geographic lat/lon":
        return crs.DEGREES
    if kind != "utm" or not rest[0].isdigit() or rest[1] not in ("north", "south"):
        return None
    return crs.utm(int(rest[0]), rest[1] == "south")
