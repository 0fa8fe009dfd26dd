"""Counting what is wrong with a dataset, with places for the first few findings."""

from collections import Counter
from dataclasses import dataclass, field

from fasttcm.errors import DataError

__all__ = ["MAX_MESSAGES", "Problems"]

MAX_MESSAGES = 20
"""Findings kept with their place; the rest is only counted."""


@dataclass
class Problems:
    """Findings of one dataset.

    Attributes:
        strict: raise :class:`~fasttcm.errors.DataError` at the first finding instead of counting.
        counts: short reason -> how often, in order of first appearance.
        messages: the first :data:`MAX_MESSAGES` findings, each one line "place: reason".
    """

    strict: bool = False
    counts: Counter[str] = field(default_factory=Counter)
    messages: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        """Number of findings, also those without a kept message."""
        return sum(self.counts.values())

    def add(self, reason: str, place: str, detail: str = "") -> None:
        """Count one finding; in strict mode raise it.

        Args:
            reason: what is wrong and what was done about it; the same words for every such case.
            place: where, for example ``train.json: annotation id 12``.
            detail: the offending value.
        """
        message = f"{place}: {reason}" + (f": {detail}" if detail else "")
        if self.strict:
            raise DataError(message)
        self.counts[reason] += 1
        if len(self.messages) < MAX_MESSAGES:
            self.messages.append(message)

    def extend(self, other: "Problems") -> None:
        """Add the findings of another dataset."""
        self.counts.update(other.counts)
        self.messages += other.messages[: MAX_MESSAGES - len(self.messages)]

    def summary(self) -> str:
        """One line, most frequent first: ``3 x zero area (skipped), 1 x ...``; empty without findings."""
        return ", ".join(f"{count} x {reason}" for reason, count in self.counts.most_common())
