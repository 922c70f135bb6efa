"""The text header of an ENVI file: its fields, each read as what it should be, or one sentence why not."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from scoread_jax.errors import SceneError

_FIELD = re.compile(r"^[ \t]*([^={}\n]+?)[ \t]*=[ \t]*(?:\{([^}]*)(\}|\Z)|([^\n]*))", re.MULTILINE)
_COMMENT = re.compile(r"^[ \t]*;.*$", re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Header:
    """A header.

    Attributes:
        path: of the file.
        fields: text by key, keys in lower case, lists without their braces.
    """

    path: Path
    fields: Mapping[str, str]

    def text(self, key: str) -> str:
        """Return a field that every header needs."""
        if not self.fields.get(key):
            raise self.error(f"a line for {key!r}", "none", "every ENVI header needs one")
        return self.fields[key]

    def integer(self, key: str, default: int | None = None, least: int = 0) -> int:
        """Return a whole number of at least ``least``; the default, where there is one, for a missing field."""
        if default is not None and not self.fields.get(key):
            return default
        word = self.text(key)
        if not re.fullmatch(r"\d+", word) or int(word) < least:
            raise self.error(f"a whole number from {least} up for {key!r}", repr(word))
        return int(word)

    def number(self, key: str) -> float | None:
        """Return a number; None for a missing field."""
        word = self.fields.get(key)
        return self._float(key, word) if word else None

    def words(self, key: str) -> list[str]:
        """Return the entries of a list, none for a missing field."""
        return [word.strip() for word in self.fields.get(key, "").split(",") if word.strip()]

    def per_band(self, key: str, bands: int) -> np.ndarray | None:
        """Return float64 [bands]; None for a missing field."""
        words = self.words(key)
        if not words:
            return None
        if len(words) != bands:
            raise self.error(f"{bands} values of {key!r}, one a band", f"{len(words)}", "correct it or leave it out")
        return np.array([self._float(key, word) for word in words])

    def error(self, expected: str, found: str, advice: str = "correct the header") -> SceneError:
        """Make the one sentence for a field that is not as it should be."""
        return SceneError(f"{self.path}: expected {expected}, found {found}; {advice}")

    def _float(self, key: str, word: str) -> float:
        try:
            return float({"true": "1", "false": "0"}.get(word.lower(), word))
        except ValueError:
            raise self.error(f"a number for {key!r}", repr(word)) from None


def parse(path: Path) -> Header:
    """Read a header in UTF-8 or Latin-1, with comments, empty fields and lists over several lines.

    Raises:
        SceneError: for a file that is no ENVI header.
    """
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    text = "\n".join(text.splitlines())
    if not text.lstrip().startswith("ENVI"):
        raise SceneError(
            f"{path}: expected an ENVI header, whose first line is ENVI, found {text[:20].strip()!r}; "
            "name a file of another format without its header"
        )
    header = Header(path, {})
    fields = {}
    for match in _FIELD.finditer(_COMMENT.sub("", text)):
        key, listed, end, plain = match.groups()
        if listed is not None and not end:
            raise header.error(f"}} after the list of {key!r}", "the end of the file", "it is cut short: get it again")
        fields[" ".join(key.lower().split())] = " ".join((plain if listed is None else listed).split())
    return Header(path, fields)
