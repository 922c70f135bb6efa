"""The authors' PyTorch state dicts as variables of our network.

The published files hold six modulation layers, of which five were never trained and none is used without a condition
(``film2`` … ``tfilm3``); those are left behind.
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from scoread_jax.errors import CheckpointError, ConfigError, MissingExtraError

_DENSE = {
    "embed": "embed.1", "fc1": "fc1", "dense1": "dense1", "out": "tfc1",
    "dense2": "dense2.dense", "dense3": "dense3.dense", "dense4": "dense4.dense",
    "tdense4": "tdense4.dense", "tdense3": "tdense3.dense",
}  # fmt: skip
_NORMS = {
    "norm1": "lnorm1", "norm2": "gnorm2", "norm3": "gnorm3", "norm4": "gnorm4",
    "tnorm4": "tgnorm4", "tnorm3": "tgnorm3",
}  # fmt: skip
_CONVOLUTIONS = ("conv2", "conv3", "conv4")
_TRANSPOSED = ("tconv4", "tconv3", "tconv2")


class ImportedWeights(NamedTuple):
    """A network read from a state dict.

    Attributes:
        variables: ``{"params", "constants"}`` for ``network.unet1d``.
        bands: length of the spectra it was trained on.
        sizes: the ``hidden``, ``channels`` and ``embedding`` to build the network with.
    """

    variables: dict[str, Any]
    bands: int
    sizes: dict[str, int]


def read_state_dict(path: str | Path) -> dict[str, np.ndarray]:
    """Read the tensors of a ``.pth`` file as float32 arrays; code in the file is never run.

    Args:
        path: a file written by ``torch.save`` of a state dict.

    Raises:
        MissingExtraError: when PyTorch is not installed.
        CheckpointError: for a file that is missing, damaged, or holds anything but tensors by name.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: expected a PyTorch state dict (.pth), found no such file")
    try:
        import torch  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise MissingExtraError("reading a .pth file needs PyTorch: pip install 'scoread-jax[torch]'") from error
    try:
        with warnings.catch_warnings(action="ignore"):
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path}: expected a PyTorch state dict (tensors by name), found something else or pickled objects, "
            "which are never loaded because they can run code; save model.state_dict() alone"
        ) from error
    except Exception as error:  # torch raises whatever its reader met
        raise CheckpointError(
            f"{path}: expected a PyTorch state dict (.pth), found a file that cannot be read "
            f"({type(error).__name__}); it may be damaged or cut short: get it again"
        ) from error
    found = type(state).__name__
    if isinstance(state, Mapping):
        others = [name for name, value in state.items() if not isinstance(value, torch.Tensor)]
        found = f"{others[0]!r} of type {type(state[others[0]]).__name__} in it" if others else ""
    if found:
        raise CheckpointError(
            f"{path}: expected a state dict (tensors by name), found {found}; save model.state_dict() alone"
        )
    return {str(name): value.detach().float().numpy() for name, value in state.items()}


def from_state_dict(
    state: Mapping[str, np.ndarray], *, conditional: bool, source: str = "state dict"
) -> ImportedWeights:
    """Make variables of ``network.unet1d`` from the authors' parameter names.

    Args:
        state: arrays by PyTorch name.
        conditional: whether the network was trained with a spatial condition. The file does not say: its first
            modulation layer is there either way.
        source: what to call the state dict in messages.

    Raises:
        CheckpointError: for a missing array, one of an impossible shape, or one that is not finite.
    """
    state = {name.removeprefix("module."): np.asarray(value, np.float32) for name, value in state.items()}

    def take(name: str, dimensions: int) -> np.ndarray:
        if name not in state:
            raise CheckpointError(
                f"{source}: expected the parameters of ScoreAD's network, found none called {name!r} among {len(state)}"
            )
        if state[name].ndim != dimensions:
            raise CheckpointError(
                f"{source}: expected {name!r} with {dimensions} dimensions, found shape {state[name].shape}"
            )
        if not np.isfinite(state[name]).all():
            raise CheckpointError(
                f"{source}: expected finite numbers, found NaN or infinity in {name!r}; get the file again"
            )
        return state[name]

    params: dict[str, np.ndarray] = {}
    dense = _DENSE | ({"film1": "film1"} if conditional else {})
    for ours, theirs in dense.items():
        params[f"{ours}_kernel"] = take(f"{theirs}.weight", 2).T
        params[f"{ours}_bias"] = take(f"{theirs}.bias", 1)
    for ours, theirs in _NORMS.items():
        params[f"{ours}_gain"] = take(f"{theirs}.weight", 1)
        params[f"{ours}_bias"] = take(f"{theirs}.bias", 1)
    for name in _CONVOLUTIONS:  # [out, in, taps] -> [taps, in, out]
        params[f"{name}_kernel"] = take(f"{name}.weight", 3).transpose(2, 1, 0)
    for name in _TRANSPOSED:  # [in, out, taps] -> [taps, in, out]
        params[f"{name}_kernel"] = take(f"{name}.weight", 3).transpose(2, 0, 1)
    params["tconv2_bias"] = take("tconv2.bias", 1)
    hidden, bands = take("fc1.weight", 2).shape
    sizes = {
        "hidden": hidden,
        "channels": params["conv2_kernel"].shape[2],
        "embedding": params["embed_kernel"].shape[1],
    }
    variables = {
        "params": {name: np.ascontiguousarray(value) for name, value in sorted(params.items())},
        "constants": {"frequencies": take("embed.0.W", 1)},
    }
    _check_shapes(variables, bands, sizes, conditional, source)
    return ImportedWeights(variables, bands, sizes)


def _check_shapes(variables: dict[str, Any], bands: int, sizes: dict[str, int], conditional: bool, source: str) -> None:
    import jax

    from scoread_jax.network.unet1d import unet1d

    try:
        network = unet1d(bands, conditional=conditional, **sizes)
    except ConfigError as error:
        raise CheckpointError(f"{source}: expected the parameters of ScoreAD's network, found that {error}") from error
    expected = jax.eval_shape(network.init, jax.random.key(0))
    for group, leaves in expected.items():
        for name, leaf in leaves.items():
            found = variables[group][name].shape
            if found != leaf.shape:
                raise CheckpointError(f"{source}: expected {name} of shape {leaf.shape}, found {found}")
