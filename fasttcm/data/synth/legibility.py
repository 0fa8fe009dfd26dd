"""Which words a person could still read in the finished picture; all others are annotated ``###``."""

import cv2
import numpy as np
import numpy.typing as npt

from fasttcm.data.synth.curves import Strip

__all__ = ["LEAST_CONTRAST", "LEAST_LIKENESS", "MOST_BLUR", "MOST_COVERED", "readable"]

MOST_BLUR = 0.1
"""Largest standard deviation of the blur in heights of the word; beyond, the strokes of a letter run together."""

MOST_COVERED = 0.2
"""Largest share of the word's area that something else may hide."""

LEAST_LIKENESS = 0.7
"""Least correlation of the photographed word with the drawn one, both without their slow changes of brightness."""

LEAST_CONTRAST = 3.5
"""Least standard deviation, in grey levels of 255, of what the photograph has kept of the drawn word."""

COMPARED_HEIGHT = 24.0
"""Pixels to which a higher word is reduced before it is compared: the eye averages noise over strokes."""

SLOW = 10.0
"""Standard deviation in pixels, after the reduction, of what counts as a slow change of brightness."""


def _detail(patch: npt.NDArray[np.float32], scale: float) -> npt.NDArray[np.float32]:
    if scale < 1:
        size = (max(2, round(patch.shape[1] * scale)), max(2, round(patch.shape[0] * scale)))
        patch = np.asarray(cv2.resize(patch, size, interpolation=cv2.INTER_AREA), np.float32)
    return patch - cv2.GaussianBlur(patch, (0, 0), SLOW)


def _signal(drawn: npt.NDArray[np.float32], image: npt.NDArray[np.uint8], strip: Strip) -> tuple[float, float]:
    """How alike the drawn and the photographed word are, and how many grey levels of it are left."""
    outline = strip.polygon()
    (x0, y0), (x1, y1) = np.maximum(np.floor(outline.min(0)).astype(int), 0), np.ceil(outline.max(0)).astype(int)
    scale = COMPARED_HEIGHT / strip.height()
    before = _detail(drawn[y0:y1, x0:x1].mean(2), scale).ravel()
    after = _detail(image[y0:y1, x0:x1].mean(2, dtype=np.float32), scale).ravel()
    both = float(np.linalg.norm(before) * np.linalg.norm(after))
    likeness = float(before @ after) / both if both > 0 else 0.0
    return likeness, likeness * float(after.std())


def readable(
    drawn: npt.NDArray[np.float32],
    image: npt.NDArray[np.uint8],
    strip: Strip,
    *,
    blur: float,
    covered: float,
    least_height: float,
) -> bool:
    """Whether a word can be read.

    Args:
        drawn: (H, W, 3) the scene before it was photographed.
        image: (H, W, 3) the finished picture.
        strip: where the word is, inside the picture.
        blur: standard deviation of all its blur in pixels.
        covered: share of its area behind an obstacle.
        least_height: pixels below which nobody reads.
    """
    height = strip.height()
    if height < least_height or blur > MOST_BLUR * height or covered > MOST_COVERED:
        return False
    likeness, contrast = _signal(drawn, image, strip)
    return likeness >= LEAST_LIKENESS and contrast >= LEAST_CONTRAST
