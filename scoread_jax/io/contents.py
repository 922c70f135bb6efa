"""What a file holds, and which of it is the cube, the truth, the mask and the wavelengths.

A reader only says what is in a file, under the file's own names. A format that knows its cube calls it
``cube``, the first of the usual names. What the arrays mean is decided here, once for all formats.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np

from scoread_jax.bands import UNKNOWN_UNIT
from scoread_jax.cube import Cube
from scoread_jax.errors import SceneError
from scoread_jax.georeference import Georeference

# How published files call their variables, in lower case, the preferred first; `*` stands for any letters.
CUBE_NAMES = ("cube", "data", "hsi_img_sub", "hsi_img", "hsi_sub", "hsi", "x", "image", "img")
TRUTH_NAMES = ("map", "groundtruth", "ground_truth", "truth", "gt", "mask", "gtimg_sub", "planegt", "*_gt")
MAP_NAMES = (
    "sad_result",
    "anomaly_score",
    "show",
    "detection",
    "detectmap",
    "anomaly_map",
    "map",
    "array",
    "y",
    "score",
    "scores",
)
WAVELENGTH_NAMES = ("wavelengths", "wavelength")
GOOD_BAND_NAMES = ("good_bands", "good_wavelengths", "bbl")
# In the MUUFL files `mask_sub` says which pixels belong to the scene, not which are anomalous.
VALID_NAMES = ("valid", "valid_mask", "mask_sub")


@dataclasses.dataclass(frozen=True, eq=False)
class Variable:
    """A named array of a file.

    Attributes:
        name: as the file has it.
        array: real numbers or bool; a cube may be a lazy one.
    """

    name: str
    array: Cube

    @property
    def values(self) -> np.ndarray:
        """The array in memory."""
        return np.asarray(self.array)

    def __str__(self) -> str:
        shape = " × ".join(map(str, self.array.shape)) or "scalar"
        return f"{self.name} ({shape} {self.array.dtype})"


@dataclasses.dataclass(frozen=True, eq=False)
class Contents:
    """What a file holds.

    Attributes:
        path: the file.
        arrays: real numbers or bool, by name, with axes as users mean them: rows, cols, bands. Those of three axes
            may be lazy.
        others: what else there is, by name, each with what it is (``struct``, ``text``, ``complex128``, ...).
        georeference: where the pixels lie; None when not known.
        metadata: what else the file says, by its own names.
        wavelength_unit: as the file spells it.
        notes: what was decided in reading, a sentence each.
    """

    path: Path
    arrays: Mapping[str, Cube]
    others: Mapping[str, str]
    georeference: Georeference | None = None
    metadata: Mapping[str, str] = dataclasses.field(default_factory=dict)
    wavelength_unit: str = UNKNOWN_UNIT
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        variables = [str(variable) for variable in self.variables()]
        return ", ".join(variables + [f"{name} ({what})" for name, what in self.others.items()]) or "nothing"

    def variables(self, ndim: int | None = None) -> list[Variable]:
        """List the arrays, those of ``ndim`` axes where it is given."""
        pairs = self.arrays.items()
        return [Variable(name, array) for name, array in pairs if ndim is None or array.ndim == ndim]

    def variable(self, name: str, option: str) -> Variable:
        """Return the array that the user named.

        Args:
            name: exactly as the file has it.
            option: by which the user named it, for the message.

        Raises:
            SceneError: when there is none of that name, or it is no array of real numbers.
        """
        if name in self.arrays:
            return Variable(name, self.arrays[name])
        found = f"a variable of kind {self.others[name]}" if name in self.others else "no such variable"
        raise SceneError(
            f"{self.path}: expected real numbers called {name!r}, found {found}; "
            f"choose with {option} (the file holds {self})"
        )


def find_cube(contents: Contents, name: str | None = None) -> Variable:
    """Find the cube: the user's choice, else the first usual name that is 3-D, else the only 3-D array.

    Args:
        contents: of the file.
        name: the user's choice.

    Raises:
        SceneError: when there is no cube, or several of which none has a usual name.
    """
    cubes = contents.variables(ndim=3)
    if name is None:
        cube = _usual(cubes, CUBE_NAMES) or _only(cubes) or _only(contents.variables())
    else:
        cube = contents.variable(name, "--cube-var")
    if cube is not None and cube.array.ndim == 3:
        return cube
    if cube is not None:
        found = f"a {cube.array.ndim}-D array"
    else:
        found = f"{len(cubes)} 3-D arrays" if cubes else "no 3-D array"
    raise SceneError(
        f"{contents.path}: expected a cube [rows, cols, bands], found {found}; name the 3-D variable with "
        f"--cube-var or give another file (this one holds {contents})"
    )


def find_plane(contents: Contents, names: Iterable[str], word: str, option: str, name: str | None = None) -> Variable:
    """Find a truth, mask or map in its own file: the user's choice, a usual name, or the only 2-D array.

    Args:
        contents: of the file.
        names: the usual ones, in order of preference.
        word: what is sought, for messages.
        option: how the user chooses a variable, for messages.
        name: the user's choice.

    Raises:
        SceneError: when there is no 2-D array, or several of which none has a usual name.
    """
    if name is not None:
        return contents.variable(name, option)
    planes = contents.variables(ndim=2)
    plane = _usual(planes, names) or _only(planes)
    if plane is None:
        raise SceneError(
            f"{contents.path}: expected a {word} [rows, cols], found {len(planes) or 'no'} 2-D arrays; "
            f"name the variable with {option} or give another file (this one holds {contents})"
        )
    return plane


def find_beside(
    contents: Contents, names: Iterable[str], shape: tuple[int, ...], taken: set[str]
) -> tuple[Variable | None, Variable | None]:
    """Find a truth or mask in the cube's file: the first usual name that has the cube's rows and columns.

    Args:
        contents: of the file.
        names: the usual ones, in order of preference.
        shape: (rows, cols) of the cube.
        taken: names of variables that are something else.

    Returns:
        The variable, or None where there is none; and one with a usual name but another shape, or None.
    """
    planes = [plane for plane in contents.variables(ndim=2) if plane.name not in taken]
    fitting = [plane for plane in planes if plane.array.shape == shape]
    return _usual(fitting, names), _usual([plane for plane in planes if plane not in fitting], names)


def find_wavelengths(contents: Contents, bands: int) -> Variable | None:
    """Find the wavelengths: a usual name and one positive number a band, as a vector or a one-column matrix.

    Args:
        contents: of the file.
        bands: of the cube.

    Returns:
        The variable, or None where there is none.
    """
    vectors = _vectors(contents, bands)
    return _usual(
        (each for each in vectors if np.isfinite(each.array).all() and each.values.min() > 0), WAVELENGTH_NAMES
    )


def find_good_bands(contents: Contents, bands: int) -> Variable | None:
    """Find the list of good bands: a usual name, and one 0 or 1 a band.

    Args:
        contents: of the file.
        bands: of the cube.

    Returns:
        The variable, or None where there is none.
    """
    vectors = _vectors(contents, bands)
    return _usual((each for each in vectors if np.isin(each.values, (0, 1)).all()), GOOD_BAND_NAMES)


def _vectors(contents: Contents, bands: int) -> list[Variable]:
    """Arrays of one number a band, whichever axis that is."""
    small = [each for each in contents.variables() if each.array.ndim < 3]
    return [each for each in small if max(each.array.shape, default=0) == each.array.size == bands]


def _usual(variables: Iterable[Variable], names: Iterable[str]) -> Variable | None:
    variables = list(variables)
    matching = (each for name in names for each in variables if fnmatchcase(each.name.lower(), name))
    return next(matching, None)


def _only(variables: list[Variable]) -> Variable | None:
    return variables[0] if len(variables) == 1 else None
