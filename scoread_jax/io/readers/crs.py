"""Coordinate reference systems: those in WGS 84 as WKT, for formats that have words of their own, and which are one."""

from __future__ import annotations

import re

from scoread_jax.errors import MissingExtraError
from scoread_jax.extras import extra
from scoread_jax.georeference import crs_name

DEGREES = (
    'GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563,AUTHORITY["EPSG","7030"]],'
    'AUTHORITY["EPSG","6326"]],PRIMEM["Greenwich",0,AUTHORITY["EPSG","8901"]],'
    'UNIT["degree",0.0174532925199433,AUTHORITY["EPSG","9122"]],AUTHORITY["EPSG","4326"]]'
)


def utm(zone: int, south: bool) -> str:
    """Universal Transverse Mercator.

    Args:
        zone: 1 to 60.
        south: of the equator.
    """
    return (
        f'PROJCS["WGS 84 / UTM zone {zone}{"NS"[south]}",{DEGREES},PROJECTION["Transverse_Mercator"],'
        f'PARAMETER["latitude_of_origin",0],PARAMETER["central_meridian",{6 * zone - 183}],'
        f'PARAMETER["scale_factor",0.9996],PARAMETER["false_easting",500000],'
        f'PARAMETER["false_northing",{10_000_000 * south}],UNIT["metre",1,AUTHORITY["EPSG","9001"]],'
        f'AXIS["Easting",EAST],AXIS["Northing",NORTH],AUTHORITY["EPSG","{32600 + 100 * south + zone}"]]'
    )


def of_epsg(code: int) -> str | None:
    """The WKT of EPSG 4326 and of UTM in WGS 84; None for other codes."""
    if code == 4326:
        return DEGREES
    zone, south = code % 100, code // 100 == 327
    return utm(zone, south) if code // 100 in (326, 327) and 1 <= zone <= 60 else None


def same(first: str, second: str) -> bool:
    """Whether two reference systems are one, in whatever dialect each is written."""
    if _plain(first) == _plain(second):
        return True
    try:
        rasterio = extra("rasterio.crs", "geo")
        systems = [rasterio.CRS.from_user_input(each) for each in (first, second)]
    except (MissingExtraError, ValueError):  # rasterio's own error is a ValueError
        return False
    return systems[0] == systems[1] or systems[0].to_epsg() == systems[1].to_epsg() is not None


def _plain(crs: str) -> str:
    """The name without what the dialects write in different ways: GCS_WGS_1984 and WGS 84."""
    words = crs_name(crs).lower().removeprefix("gcs_").replace("wgs_1984", "wgs84")
    return re.sub(r"[^a-z0-9]", "", words)
