"""A good file for each reader, as small as its format allows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

_SHAPE = (4, 5, 6)
_WAVELENGTHS = np.linspace(400, 2400, _SHAPE[2])


def _cube() -> np.ndarray:
    return np.random.default_rng(0).integers(1, 200, _SHAPE).astype(np.float32)


def _truth() -> np.ndarray:
    return np.eye(*_SHAPE[:2], dtype=np.uint8)


def _npy(folder: Path) -> str:
    np.save(folder / "scene.npy", _cube())
    return "scene.npy"


def _npz(folder: Path) -> str:
    np.savez_compressed(folder / "scene.npz", data=_cube(), map=_truth())
    return "scene.npz"


def _mat5(folder: Path) -> str:
    import scipy.io

    scipy.io.savemat(folder / "scene.mat", {"data": _cube(), "map": _truth()}, do_compression=True)
    return "scene.mat"


def _mat5_plain(folder: Path) -> str:
    import scipy.io

    scipy.io.savemat(folder / "scene.mat", {"data": _cube(), "map": _truth(), "note": "text"})
    return "scene.mat"


def _mat73(folder: Path) -> str:
    import h5py

    path = folder / "scene.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, array in {"data": _cube(), "map": _truth()}.items():
            file.create_dataset(name, data=array.T, chunks=True, compression="gzip").attrs["MATLAB_class"] = b"double"
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")
    return path.name


def _envi(folder: Path) -> str:
    lines, samples, bands = _SHAPE
    _cube().transpose(2, 0, 1).tofile(folder / "scene.img")
    listed = ", ".join(f"{each:.1f}" for each in _WAVELENGTHS)
    (folder / "scene.hdr").write_text(
        f"ENVI\nsamples = {samples}\nlines = {lines}\nbands = {bands}\nheader offset = 0\ndata type = 4\n"
        "interleave = bsq\nbyte order = 0\nmap info = {UTM, 1, 1, 5e5, 4e6, 30, 30, 11, North, WGS-84}\n"
        f"wavelength units = nm\nwavelength = {{{listed}}}\nbbl = {{{', '.join('1' * bands)}}}\n"
    )
    return "scene.img"


def _geotiff(folder: Path) -> str:
    import rasterio

    rows, cols, bands = _SHAPE
    place = rasterio.Affine(30, 0, 5e5, 0, -30, 4e6)
    size = {"height": rows, "width": cols, "count": bands, "dtype": "float32"}
    options = {"driver": "GTiff", "crs": "EPSG:32611", "transform": place, "compress": "deflate"}
    with rasterio.open(folder / "scene.tif", "w", **size, **options) as file:
        file.write(_cube().transpose(2, 0, 1))
    return "scene.tif"


def _netcdf(folder: Path) -> str:
    import h5py

    with h5py.File(folder / "scene.nc", "w") as file:
        for name, size in zip(("y", "x", "wavelength"), _SHAPE, strict=True):
            file.create_dataset(name, data=np.arange(1.0, size + 1)).make_scale(name)
        data: Any = file.create_dataset("reflectance", data=_cube(), chunks=(2, 5, 3), compression="gzip")
        for axis, name in enumerate(("y", "x", "wavelength")):
            data.dims[axis].attach_scale(file[name])
        data.attrs["_FillValue"] = np.array([-9999], np.float32)
    return "scene.nc"


def _emit(folder: Path) -> str:
    import h5py

    rows, cols, _ = _SHAPE
    with h5py.File(folder / "scene.nc", "w") as file:
        file.attrs["title"], file.attrs["geotransform"] = "EMIT L2A", [10.0, 0.5, 0.0, 50.0, 0.0, -0.5]
        file.create_dataset("reflectance", data=_cube(), chunks=(2, cols, 3), compression="gzip", fillvalue=-9999)
        file["sensor_band_parameters/wavelengths"] = _WAVELENGTHS.astype("f4")
        lat, lon = np.meshgrid(np.linspace(49, 48, rows), np.linspace(10, 12, cols), indexing="ij")
        file["location/lat"], file["location/lon"] = lat, lon
        file["location/glt_x"] = file["location/glt_y"] = np.ones((3, 4), "i4")
    return "scene.nc"


def _pace(folder: Path) -> str:
    import h5py

    rows, cols, _ = _SHAPE
    with h5py.File(folder / "scene.nc", "w") as file:
        file.attrs["title"] = "OCI Level-2 Data SFREFL"
        cube: Any = file.create_dataset("geophysical_data/rhos", data=_cube(), chunks=(2, cols, 3), compression="gzip")
        cube.attrs["_FillValue"] = np.array([-32767], np.float32)
        file["sensor_band_parameters/wavelength_3d"] = _WAVELENGTHS.astype("f4")
        lat, lon = np.meshgrid(np.linspace(49, 48, rows), np.linspace(10, 12, cols), indexing="ij")
        file["navigation_data/latitude"], file["navigation_data/longitude"] = lat, lon
    return "scene.nc"


def _prisma(folder: Path) -> str:
    import h5py

    bands = _SHAPE[2]
    with h5py.File(folder / "scene.he5", "w") as file:
        about = {"List_Cw_Vnir": _WAVELENGTHS[2::-1], "List_Cw_Swir": _WAVELENGTHS[:2:-1], "Processing_Level": "2D"}
        about |= {f"L2Scale{part}{end}": value for part in ("Vnir", "Swir") for end, value in (("Min", 0), ("Max", 1))}
        for name, value in about.items():
            file.attrs[name] = np.float32(value) if not isinstance(value, str) else value
        fields = file.create_group("HDFEOS/SWATHS/PRS_L2D_HCO/Data Fields")
        for name, part in (("VNIR_Cube", slice(0, 3)), ("SWIR_Cube", slice(3, bands))):
            fields[name] = _cube()[:, :, part].transpose(0, 2, 1).astype("u2")
    return "scene.he5"


def _zarr(folder: Path) -> str:
    import zarr

    group = zarr.open_group(str(folder / "scene.zarr"), mode="w")
    group.create_array("cube", data=_cube(), chunks=(2, 5, 3))
    group.create_array("truth", data=_truth())
    return "scene.zarr"


SEEDS: Mapping[str, Callable[[Path], str]] = {
    "npy": _npy,
    "npz": _npz,
    "mat v5": _mat5,
    "mat v5, not compressed": _mat5_plain,
    "mat v7.3": _mat73,
    "ENVI": _envi,
    "GeoTIFF": _geotiff,
    "NetCDF-4": _netcdf,
    "EMIT": _emit,
    "PACE": _pace,
    "PRISMA": _prisma,
    "Zarr": _zarr,
}
"""Writes a reader's good files into a folder, and names the one that is read."""
