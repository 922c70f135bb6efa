"""``benchmarks/robustness.md``, from the results."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.common import read_result
from scoread_jax.io import write_text

_PLACE = Path(__file__).resolve().parent.parent / "robustness.md"
_HEAD = """# What a run survives

Made by `python -m benchmarks.robustness all`; each row by `python -m benchmarks.robustness NAME`. What is promised, and
what is not, stands in [SECURITY.md](../SECURITY.md). A hang is 10 s of computing, greed more memory than 4 × the file
and 500 MB; both count the process in which HDF5 or GDAL reads.

| test | found |
| --- | --- |
"""


def write() -> None:
    """Write the table of what was measured."""
    results = read_result("robustness") or {}
    rows = [line for name, lines in _ROWS.items() if name in results for line in lines(results[name])]
    write_text(_PLACE, _HEAD + "\n".join(f"| {left} | {right} |" for left, right in rows) + "\n")


def _kills(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    where = ", ".join(f"{count} {place}" for place, count in found["killed in"].items())
    same = f"{found['same to the last bit']} of {found['killed']} end with the uninterrupted run's parameters and map"
    return [("`kills`: `kill -9` at a random moment, then `--resume`", f"{same}, bit for bit (hit: {where})")]


def _damage(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    kinds = ", ".join(f"{kind} {noticed}/{of}" for kind, (noticed, of) in found["by kind"].items())
    text = f"{found['noticed']} of {found['damaged']} noticed, and the step before taken ({kinds})"
    return [("`damage`: a file of a checkpoint spoilt", text)]


def _cost(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    epoch, ratio = found["seconds of an epoch"], found["ratio"]
    lower, upper = (100 * (each - 1) for each in ratio["quartiles"])
    medians = f"{epoch['kept']:.2f} s against {epoch['not kept']:.2f} s an epoch of {found['preset']}"
    spread = f"median of {found['pairs']} pairs, quartiles {lower:+.1f} to {upper:+.1f} %"
    kept = f"{found['epochs kept']:.1f} of {found['epochs of each']} epochs kept"
    text = f"{100 * (ratio['median'] - 1):+.1f} % ({spread}; {medians}; {kept})"
    return [("`cost`: what keeping every epoch adds to a training step", text)]


def _disk(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    fine = {"refused, all else as before", "written"}
    tries = [(word, count) for each in found["full"].values() for word, count in each.items()]
    odd = [f"{count} × {word}" for word, count in tries if word not in fine]
    whole = sum(count for _, count in tries)
    refused = sum(count for word, count in tries if word.startswith("refused"))
    full = (
        f"{whole} outputs of {len(found['full'])} kinds on a {found['disk']} with less and less room: {refused} refused"
    )
    stayed = [word == "refused, all else as before" for word in found["read-only"].values()]
    gone = found["removed while read"]
    missed = [reader for reader, word in gone.items() if word == "refused"]
    held = [reader for reader, word in gone.items() if word == "in memory before"]
    return [
        ("`disk`: full", "; ".join([f"{full} in one sentence with all else as before, the others whole", *odd])),
        ("`disk`: read-only", f"{sum(stayed)} of {len(stayed)} kinds refused, all else as before"),
        (
            "`disk`: file removed while it is read",
            f"{len(missed) + len(held)} of {len(gone)} readers: refused ({', '.join(missed)}), "
            f"or in memory before ({', '.join(held)})",
        ),
    ]


def _fuzz(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    def findings(one: Mapping[str, Any]) -> str:
        if not one["findings"]:
            return "no crash, hang or greed"
        listed = [finding["what"] for finding in one["findings"]]
        return "; ".join(f"{listed.count(what)} × {what}" for what in dict.fromkeys(listed))

    return [
        (f"`fuzz`: mutated files, {reader}", f"{one['files']:,} files, {one['read']:,} read: {findings(one)}")
        for reader, one in found.items()
    ]


def _guided(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    listed = ", ".join(f"{reader} {one['files']:,}" for reader, one in found.items())
    ended = {name: one["finding"] for name, one in found.items() if one["finding"]}
    early = [f"found in {reader}: {what}" for reader, what in ended.items()]
    seconds = next(iter(found.values()))["seconds"]
    quiet = f"{seconds} s for each reader, {len(found) - len(ended)} of {len(found)} with no other error than ours"
    text = f"{quiet} ({listed} files)"
    return [("`guided`: files made by atheris", "; ".join([text, *early]))]


def _invariances(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    held = {name: each for name, each in found.items() if not each["broken"]}
    listed = "; ".join(f"{name} ({each['of'][0].lower()}{each['of'][1:]})" for name, each in held.items())
    examples = min(each["examples"] for each in found.values())
    broken = [f"{name}: {each['broken']}" for name, each in found.items() if each["broken"]]
    text = f"{len(held)} of {len(found)} hold on {examples:,} examples each: {listed}"
    return [("`invariances`: what a map must not depend on", "; ".join([text, *broken]))]


def _many(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    resident = found["resident MB"]
    memory = f"{resident[0]:.0f} MB after a twentieth, {resident[-1]:.0f} MB at the end"
    text = f"{memory}; {found['compiled after that']} functions compiled after the first of each shape"
    return [(f"`many`: {found['scenes']:,} scenes in one process", text)]


_ROWS: Mapping[str, Callable[[Mapping[str, Any]], list[tuple[str, str]]]] = {
    "kills": _kills,
    "damage": _damage,
    "cost": _cost,
    "disk": _disk,
    "fuzz": _fuzz,
    "guided": _guided,
    "invariances": _invariances,
    "many": _many,
}
