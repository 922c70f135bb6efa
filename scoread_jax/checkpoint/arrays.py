"""Trees of arrays on disk, by Orbax: described leaf by leaf, and held to that when they are read."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from scoread_jax import parallel
from scoread_jax.checkpoint.seal import damaged, reason
from scoread_jax.errors import CheckpointError

PACKED = "arrays.npy"
"""The file that holds a packed tree."""

_TYPES = ("float16", "float32", "float64", "int8", "int32", "int64", "uint8", "uint32", "uint64", "bool")
_LARGEST_BYTES = 1 << 32  # of all arrays together; a network of this project takes a thousandth


def describe(tree: Any) -> Any:
    """Shape, type and digest of every leaf, in place of it.

    Args:
        tree: nested dictionaries of NumPy arrays.
    """
    return jax.tree.map(
        lambda leaf: {"shape": list(leaf.shape), "dtype": str(leaf.dtype), "sha256": _digest(leaf)}, tree
    )


def write(path: Path, tree: Any) -> None:
    """Write a tree of arrays to a new directory. Raises whatever Orbax raises."""
    import orbax.checkpoint as ocp

    with _checkpointer() as checkpointer:
        checkpointer.save(path.absolute(), args=ocp.args.StandardSave(tree))


def packed(tree: Any) -> np.ndarray:
    """The bytes of all arrays end to end, uint8.

    Args:
        tree: nested dictionaries of NumPy arrays.
    """
    return np.concatenate([_bytes(leaf) for leaf in jax.tree.leaves(tree)])


def restored(path: Path, like: Any) -> Any:
    """A tree that ``write`` wrote, in the form of another one. Raises whatever Orbax raises."""
    import orbax.checkpoint as ocp

    with _checkpointer() as checkpointer:
        found = checkpointer.restore(path.absolute(), args=ocp.args.StandardRestore(like))
    return jax.tree.map(np.asarray, found)


def restored_packed(path: Path, like: Any) -> Any:
    """A tree whose bytes ``write`` wrote as one array, ``{"bytes": …}``."""
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(like))
    return _unpacked(restored(path, {"bytes": _placeholder({"dtype": "uint8", "shape": [size]})})["bytes"], like)


def unpacked(path: Path, like: Any) -> Any:
    """A tree whose bytes a step holds as one file."""
    # Mapped, a header that claims more than the file has takes no memory.
    return _unpacked(np.asarray(np.load(path / PACKED, mmap_mode="r", allow_pickle=False)), like)


def read(path: Path, described: Any, how: Callable[[Path, Any], Any] = restored) -> Any:
    """Read a tree of arrays.

    Args:
        path: what ``write`` or a ``CheckpointManager`` wrote, its files checked.
        described: what ``describe`` said of it; without digests where an old format had none.
        how: the arrays lie there: ``restored``, ``restored_packed`` or ``unpacked``.

    Returns:
        Nested dictionaries of NumPy arrays.

    Raises:
        CheckpointError: for arrays that cannot be read, or that are not as described.
    """
    try:
        target = jax.tree.map(_placeholder, described, is_leaf=_is_leaf)
        if sum(leaf.nbytes for leaf in jax.tree.leaves(target)) > _LARGEST_BYTES:
            raise ValueError(f"arrays of more than {_LARGEST_BYTES >> 30} GiB")
        tree = how(path, target)
    except Exception as error:  # Orbax and its storage raise many kinds
        raise CheckpointError(
            f"{path}: expected arrays that this version reads, found that it does not "
            f"({reason(error)}); use the version that wrote them"
        ) from error
    flat, _ = jax.tree.flatten_with_path(described, is_leaf=_is_leaf)
    for (place, expected), leaf in zip(flat, jax.tree.leaves(tree), strict=True):
        if expected.get("sha256", digest := _digest(leaf)) != digest:
            raise damaged(path, f"the digest of {jax.tree_util.keystr(place)} is another")
    return tree


def by_itself() -> Any:
    """Tell Orbax that this process waits for no other, whether there are any or not."""
    import orbax.checkpoint as ocp

    this = parallel.process_index()
    return ocp.options.MultiprocessingOptions(
        primary_host=this, active_processes={this}, barrier_sync_key_prefix=f"process-{this}"
    )


def _checkpointer() -> Any:
    import orbax.checkpoint as ocp

    options = by_itself()
    return ocp.Checkpointer(
        ocp.StandardCheckpointHandler(multiprocessing_options=options), multiprocessing_options=options
    )


def _is_leaf(node: Any) -> bool:
    return isinstance(node, dict) and {"shape", "dtype"} <= set(node) <= {"shape", "dtype", "sha256"}


def _placeholder(leaf: Any) -> np.ndarray:
    """An array of this shape and type that takes no memory."""
    if leaf["dtype"] not in _TYPES or any(length < 0 for length in leaf["shape"]):
        raise ValueError(f"an array of type {leaf['dtype']} and shape {leaf['shape']}")
    if math.prod(leaf["shape"]) > _LARGEST_BYTES:
        raise ValueError(f"an array of shape {leaf['shape']}")
    return np.broadcast_to(np.zeros((), leaf["dtype"]), leaf["shape"])


def _unpacked(vector: np.ndarray, like: Any) -> Any:
    """The tree that was ``packed``, in the form of another one."""
    flat, form = jax.tree.flatten(like)
    size = sum(leaf.nbytes for leaf in flat)
    if (vector.dtype, vector.shape) != (np.uint8, (size,)):
        raise ValueError(f"{vector.dtype} {list(vector.shape)} for {size} bytes")
    ends = np.cumsum([leaf.nbytes for leaf in flat])[:-1]
    parts = np.split(vector, ends)
    return form.unflatten(
        part.copy().view(leaf.dtype).reshape(leaf.shape) for part, leaf in zip(parts, flat, strict=True)
    )


def _bytes(leaf: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(leaf).reshape(-1).view(np.uint8)


def _digest(leaf: np.ndarray) -> str:
    """SHA-256 of shape, type and values."""
    total = hashlib.sha256(f"{list(leaf.shape)} {leaf.dtype}\n".encode())
    total.update(_bytes(leaf).data)
    return total.hexdigest()
