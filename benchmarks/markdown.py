"""What all tables share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def table(header: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    line: Callable[[list[str]], str] = lambda cells: "| " + " | ".join(cells) + " |"  # noqa: E731
    return "\n".join([line(header), line(["---"] * len(header)), *map(line, rows)])


def machine(environment: dict[str, Any]) -> str:
    """On what figures were made."""
    versions = ", ".join(
        f"{name} {version}" for name, version in environment["versions"].items() if version != "not installed"
    )
    return f"Made on {environment['device']}, {environment['threads']} threads, shared with other work; {versions}."
