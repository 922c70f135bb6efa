"""HDF5 files: products of known sensors, and NetCDF-4 by the CF conventions."""

from __future__ import annotations

from pathlib import Path

from scoread_jax.errors import SceneError
from scoread_jax.io.contents import Contents
from scoread_jax.io.readers import emit, hdf5, pace, prisma
from scoread_jax.io.readers.stored import contents

SUFFIXES = (".nc", ".nc4", ".h5", ".hdf5", ".he5")

_PRODUCTS = (emit, pace, prisma)


def read(path: Path) -> Contents:
    """Read a product that is known by its groups, else whatever the root of the file holds.

    Args:
        path: the file.

    Raises:
        SceneError: for another kind of file, and for a product without what its kind has.
    """
    with path.open("rb") as file:
        head = file.read(len(hdf5.SIGNATURE))
    if head != hdf5.SIGNATURE:
        found = "NetCDF-3, which nccopy -k nc4 converts" if head.startswith(b"CDF") else "another kind of file"
        raise SceneError(f"{path}: expected HDF5 or NetCDF-4, found {found}; get it again in one of these")
    members = hdf5.members(path, deep=True)
    variables, attributes = hdf5.variables(members), members[""].attributes
    for product in _PRODUCTS:
        if product.fits(variables):
            return product.read(path, variables, attributes)
    own = {name: each for name, each in variables.items() if "/" not in name}
    return contents(path, own or variables, attributes)
