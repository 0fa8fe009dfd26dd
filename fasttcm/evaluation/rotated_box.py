"""The rotated rectangle that stands for a longer outline where a benchmark wants four corners (SPEC section 5.1)."""

import cv2
import numpy as np
import numpy.typing as npt

__all__ = ["polygon_to_box"]

FloatArray = npt.NDArray[np.floating]


def polygon_to_box(polygon: FloatArray, size: tuple[int, int] | None) -> npt.NDArray[np.float64]:
    """Corners of the smallest rotated rectangle around an outline, in whole pixels inside the image.

    Args:
        polygon: (p, 2) pixels, at least one point.
        size: (height, width) of the image in pixels; ``None``: corners may lie beyond the right and lower border.

    Returns:
        (4, 2) float64 whole pixels: upper left, upper right, lower right, lower left. Which corners are the left ones
        is decided by x alone; on equal y the second of a pair counts as the upper one (as published).
    """
    corners = np.trunc(cv2.boxPoints(cv2.minAreaRect(np.asarray(polygon, np.float32).reshape(-1, 2))))
    first, second, third, fourth = corners[np.argsort(corners[:, 0], kind="stable")]
    upper_left, lower_left = (first, second) if first[1] < second[1] else (second, first)
    upper_right, lower_right = (third, fourth) if third[1] < fourth[1] else (fourth, third)
    box = np.stack([upper_left, upper_right, lower_right, lower_left]).astype(np.float64)
    limits = np.array([np.inf, np.inf]) if size is None else np.array([size[1] - 1.0, size[0] - 1.0])
    return np.asarray(np.clip(box, 1.0, np.maximum(limits, 1.0)))
