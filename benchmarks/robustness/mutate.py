"""Bytes that are nearly right: the mutations of a file that a reader is given."""

from __future__ import annotations

import re

import numpy as np

# Where counters overflow and signs turn.
_INTERESTING = (0, 1, 2, 127, 128, 255, 256, 32767, 32768, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1)
_NUMBERS = re.compile(rb"[0-9]+")
_TEXT_NUMBERS = (b"0", b"-1", b"1", b"65536", b"4294967296", b"999999999999", b"1e308", b"nan", b"9" * 40)
_HEADER = 512


def mutated(rng: np.random.Generator, content: bytes) -> bytes:
    """One to eight mutations, half of them in the first bytes, where the sizes stand.

    Args:
        rng: decides all.
        content: of a good file.
    """
    found = bytearray(content)
    for _ in range(int(rng.integers(1, 9))):
        if found:
            found = _MUTATIONS[rng.integers(len(_MUTATIONS))](rng, found)
    return bytes(found)


def _place(rng: np.random.Generator, content: bytearray) -> int:
    end = len(content) if rng.random() < 0.5 else min(len(content), _HEADER)
    return int(rng.integers(end))


def _flip(rng: np.random.Generator, content: bytearray) -> bytearray:
    content[_place(rng, content)] ^= 1 << int(rng.integers(8))
    return content


def _byte(rng: np.random.Generator, content: bytearray) -> bytearray:
    content[_place(rng, content)] = int(rng.integers(256))
    return content


def _integer(rng: np.random.Generator, content: bytearray) -> bytearray:
    width = int(rng.choice([1, 2, 4, 8]))
    value = _INTERESTING[rng.integers(len(_INTERESTING))] % 256**width
    place = _place(rng, content)
    content[place : place + width] = value.to_bytes(width, "little" if rng.random() < 0.5 else "big")
    return content


def _number(rng: np.random.Generator, content: bytearray) -> bytearray:
    """Another number in place of one that is written out, as in ENVI headers and JSON."""
    found = list(_NUMBERS.finditer(bytes(content[: 8 * _HEADER])))
    if not found:
        return _byte(rng, content)
    one = found[rng.integers(len(found))]
    content[one.start() : one.end()] = _TEXT_NUMBERS[rng.integers(len(_TEXT_NUMBERS))]
    return content


def _cut(rng: np.random.Generator, content: bytearray) -> bytearray:
    return content[: _place(rng, content)]


def _delete(rng: np.random.Generator, content: bytearray) -> bytearray:
    place = _place(rng, content)
    del content[place : place + int(rng.integers(1, 64))]
    return content


def _copy(rng: np.random.Generator, content: bytearray) -> bytearray:
    """A piece over another place."""
    source, target, length = _place(rng, content), _place(rng, content), int(rng.integers(1, 64))
    content[target : target + length] = content[source : source + length]
    return content


def _insert(rng: np.random.Generator, content: bytearray) -> bytearray:
    place = _place(rng, content)
    content[place:place] = rng.bytes(int(rng.integers(1, 32)))
    return content


_MUTATIONS = (_flip, _byte, _integer, _number, _flip, _byte, _integer, _number, _cut, _delete, _copy, _insert)
