"""Processes that work together, as one of them sees it. How they reach each other is for ``parallel`` to know."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

Part = TypeVar("Part")


class Group(NamedTuple):
    """Processes that take the same steps at the same time, each with its share of the data.

    Attributes:
        number: of this process, from 0.
        of: how many there are.
        gather: an array of this process to those of all, [of, ...]; all must call it, with arrays of one shape.
    """

    number: int = 0
    of: int = 1
    gather: Callable[[np.ndarray], np.ndarray] = lambda array: array[None]

    def share(self, parts: Sequence[Part]) -> Sequence[Part]:
        """What this process does of a list of one or more: a run of it, and at least one entry."""
        part = self.slices(len(parts))[self.number]
        return parts[part] or parts[-1:]

    def slices(self, count: int) -> list[slice]:
        """So many entries cut for all processes, as evenly as may be; some are empty where there are fewer entries."""
        return [slice(count * number // self.of, count * (number + 1) // self.of) for number in range(self.of)]

    def exchange(self, whole: np.ndarray, slices: Sequence[slice], axis: int = -1) -> np.ndarray:
        """Fill in what the other processes did.

        Args:
            whole: of which this process has filled its slice; changed in place.
            slices: of all processes.
            axis: that they cut.

        Returns:
            The array.
        """
        if self.of == 1:
            return whole
        target = np.moveaxis(whole, axis, 0)
        mine, longest = slices[self.number], max(part.stop - part.start for part in slices)
        padded = np.zeros((longest, *target.shape[1:]), target.dtype)
        padded[: mine.stop - mine.start] = target[mine]
        for part, found in zip(slices, self.gather(padded), strict=True):
            target[part] = found[: part.stop - part.start]
        return whole

    def any(self, flag: bool) -> bool:
        """Whether it is so in one of the processes."""
        return bool(self.gather(np.array(flag)).any())


ALONE = Group()
