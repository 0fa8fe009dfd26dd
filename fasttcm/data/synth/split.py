"""Training and validation halves of fonts and words that never meet, decided by a name alone.

A hash has no memory: adding a font or a word never moves another one to the other side.
"""

import hashlib
from typing import Literal

__all__ = ["SPLITS", "Split", "in_split"]

Split = Literal["all", "train", "validation"]
SPLITS: tuple[Split, ...] = ("all", "train", "validation")

VALIDATION_SHARE = 8
"""One name in so many is kept for validation."""


def in_split(name: str, split: Split) -> bool:
    """Whether a font family or word, by its name in lower case, belongs to a split."""
    held_out = int.from_bytes(hashlib.sha256(name.lower().encode()).digest()[:8], "big") % VALIDATION_SHARE == 0
    return split == "all" or held_out == (split == "validation")
