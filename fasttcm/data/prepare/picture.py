"""What every reader of a published format yields: one picture with its words, in the publisher's terms."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from fasttcm.data.prepare.source import Source
from fasttcm.data.problems import Problems
from fasttcm.structures import FloatArray

__all__ = ["Picture", "Reader", "Word"]


@dataclass(frozen=True)
class Word:
    """One annotated region.

    Attributes:
        points: (p, 2) float64 pixel coordinates in the publisher's order, p >= 4 (a box is given as its corners).
        text: transcription; ``None`` where the format has none (detection only), ``###`` or ``ignore`` for do not care.
        ignore: do not care: illegible, difficult, too small, another script.
        bezier: (16,) control points where the format has them.
        label: class, ``text`` but for DOTA.
        ordered: the points are known to run clockwise from the first character's top-left corner (the publisher says
            so); otherwise the start corner and direction are searched for.
        place: file and line, for messages.
    """

    points: FloatArray
    text: str | None
    ignore: bool = False
    bezier: FloatArray | None = None
    label: str = "text"
    ordered: bool = False
    place: str = ""


@dataclass(frozen=True)
class Picture:
    """One image and its words.

    Attributes:
        image: name of the image file in the source.
        words: its words; empty for a picture without text.
        size: (width, height) in pixels as the publisher states it, to be compared with the file; ``None`` if unstated.
        image_id: the publisher's number of the picture, kept when it has one.
        pixels: (H, W, 3) uint8 RGB when the picture is made (a tile) instead of copied.
        extra: further facts for the index, e.g. the place of a tile in its scene.
    """

    image: str
    words: list[Word]
    size: tuple[int, int] | None = None
    image_id: int | None = None
    pixels: np.ndarray | None = None
    extra: dict[str, object] = field(default_factory=dict)


class Reader(Protocol):
    """Reads one split of one published format."""

    def __call__(self, source: Source, *, split: str, problems: Problems) -> Iterator[Picture]:
        """Every picture of ``split``, in the publisher's order; what cannot be read goes to ``problems``.

        Raises:
            DataError: the source does not hold this split at all (the message lists the files expected).
        """
        ...
