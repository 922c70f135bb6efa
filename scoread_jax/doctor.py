"""What this installation is and has: versions, devices, caches, extras, public scenes at hand."""

from __future__ import annotations

import os
import platform
import re
import shutil
from importlib import metadata
from pathlib import Path
from typing import Any

from scoread_jax._version import __version__

_NAME = "scoread-jax"
# Extras that are for work on the package itself, or that choose a build of JAX.
_NOT_FOR_USERS = {"test", "dev", "bench", "docs", "cuda12", "cuda13", "tpu"}
_REQUIREMENT = re.compile(r"""^([A-Za-z0-9._-]+)[^;]*(?:;.*extra == ['"]([^'"]+)['"])?""")


def examine() -> dict[str, Any]:
    """Everything, as plain values; ``problems`` lists what should be mended, a sentence each with how."""
    from scoread_jax import native

    requirements = _requirements()
    devices, accelerator = _devices()
    caches = {"compiled functions": _compile_cache(), "public scenes": _scene_cache()}
    extras = {name: _versions(wanted) for name, wanted in requirements.items() if name not in {"", *_NOT_FOR_USERS}}
    problems = [problem for problem in (accelerator, *map(_unwritable, caches.values())) if problem]
    if not requirements[""]:
        problems.append(f"{_NAME} runs from a folder that is not installed: pip install -e . there")
    problems += [
        f"{name} is missing: pip install {_NAME}" for name, found in _versions(requirements[""]).items() if not found
    ]
    return {
        "version": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "devices": devices,
        "native code": "compiled" if (reason := native.why_not()) is None else f"none: {reason}",
        "libraries": _versions(requirements[""]),
        "extras": extras,
        "caches": {name: str(path) for name, path in caches.items()},
        "scenes": _scenes(),
        "problems": problems,
    }


def describe(found: dict[str, Any]) -> str:
    """The same for people."""
    lines = [f"scoread-jax {found['version']}, Python {found['python']}, {found['system']}, {found['cores']} cores"]
    lines += ["", "devices", *(f"  {device}" for device in found["devices"] or ["none"])]
    lines += ["", "code compiled for this processor", f"  {found['native code']}"]
    lines += ["", "libraries", "  " + ", ".join(f"{name} {version}" for name, version in found["libraries"].items())]
    lines += ["", "extras"]
    for name, packages in found["extras"].items():
        if all(packages.values()):
            state = ", ".join(f"{package} {version}" for package, version in packages.items())
        else:
            state = f"not installed; pip install '{_NAME}[{name}]'"
        lines.append(f"  {name:<12}{state}")
    lines += ["", "caches", *(f"  {name:<20}{path}" for name, path in found["caches"].items())]
    there = [name for name, here in found["scenes"].items() if here]
    lines += [
        "",
        "public scenes",
        f"  {len(there)} of {len(found['scenes'])} on this machine, others are downloaded when asked for",
    ]
    lines += ["", "problems", *(f"  {problem}" for problem in found["problems"] or ["none found"])]
    return "\n".join(lines)


def _requirements() -> dict[str, list[str]]:
    """Packages by extra, those that are always wanted under ``""``."""
    found: dict[str, list[str]] = {"": []}
    try:
        lines = metadata.requires(_NAME) or []
    except metadata.PackageNotFoundError:  # a checkout that is only on the path
        return found
    for line in lines:
        match = _REQUIREMENT.match(line)
        if match and match[1] != _NAME:
            found.setdefault(match[2] or "", []).append(match[1])
    return found


def _versions(packages: list[str]) -> dict[str, str | None]:
    return {package: _version(package) for package in packages}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _devices() -> tuple[list[str], str | None]:
    """The devices that JAX finds, and what is wrong with them."""
    from scoread_jax import parallel
    from scoread_jax.errors import ConfigError

    try:
        found = parallel.placement().devices
    except (ConfigError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        return [], f"JAX finds no device ({reason}): check JAX_PLATFORMS and the accelerator's driver"
    names = [f"{device.platform} {device.id}: {device.device_kind}" for device in found]
    only_cpu = all(device.platform == "cpu" for device in found)
    if only_cpu and shutil.which("nvidia-smi") and os.environ.get("JAX_PLATFORMS", "") != "cpu":
        return names, f"an NVIDIA driver is installed but JAX uses the CPU: pip install '{_NAME}[cuda12]' (or [cuda13])"
    return names, None


def _compile_cache() -> Path:
    import jax

    from scoread_jax import parallel

    parallel.use_compile_cache()
    return Path(jax.config.values["jax_compilation_cache_dir"] or os.environ["JAX_COMPILATION_CACHE_DIR"])


def _scene_cache() -> Path:
    from scoread_jax import datasets

    return datasets.cache_dir()


def _unwritable(folder: Path) -> str | None:
    nearest = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK):
        return None
    return f"{folder} cannot be written: set JAX_COMPILATION_CACHE_DIR or SCOREAD_CACHE_DIR to a folder of yours"


def _scenes() -> dict[str, bool]:
    from scoread_jax import datasets

    return {name: datasets.at_hand(name) for name in datasets.names()}
