"""Augmentation of an image together with its words.

Every transform is a callable ``(image, targets, rng) -> (image, targets)``: image (h, w, 3) uint8 RGB, targets in its
pixels, ``rng`` the only source of chance. Coordinates are continuous: pixel (i, j) covers the square from i, j to
i + 1, j + 1, so that resizing multiplies coordinates and nothing else. Inputs are never changed.
"""

import math
from collections.abc import Sequence
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch.nn.functional import interpolate

from fasttcm.data.color import ColorJitter
from fasttcm.errors import ConfigError
from fasttcm.geometry import polygon_box
from fasttcm.structures import FloatArray, TextTargets

__all__ = [
    "ColorJitter",
    "InstanceCrop",
    "RandomRotation",
    "ResizeShortestEdge",
    "Transform",
    "crop",
    "grow_window",
    "move_targets",
    "resize",
    "resized_size",
    "rotate",
]

Pixels = npt.NDArray[np.uint8]

STRADDLE_TOLERANCE = 1e-3
"""Pixels; a box that ends on the window's border is not cut by it (SPEC ``abcnet`` 13.3.1)."""


class Transform(Protocol):
    """What a mapper applies, one after the other."""

    def __call__(self, image: Pixels, targets: TextTargets, rng: np.random.Generator) -> tuple[Pixels, TextTargets]:
        """Transformed image (h, w, 3) uint8 and targets in its pixels."""


def move_targets(targets: TextTargets, matrix: FloatArray, *, tight_boxes: bool = True) -> TextTargets:
    """Targets under an affine map.

    Args:
        targets: n words.
        matrix: (2, 3); (x, y) becomes ``matrix @ (x, y, 1)``.
        tight_boxes: when the map turns, the new box surrounds the moved polygon; if false, the moved corners of the
            old box (larger; AdelaiDet's rule). A map that only scales and shifts moves the box itself.

    Returns:
        New targets in float32.
    """
    linear, shift = np.asarray(matrix, np.float64)[:, :2], np.asarray(matrix, np.float64)[:, 2]

    def moved(points: FloatArray) -> FloatArray:
        return (np.asarray(points, np.float64).reshape(-1, 2) @ linear.T + shift).astype(np.float32)

    polygons = [moved(polygon) for polygon in targets.polygons]
    beziers = moved(targets.beziers.numpy()).reshape(-1, 16)
    turns = abs(linear[0, 1]) + abs(linear[1, 0]) > 0
    if turns and tight_boxes:
        boxes = np.asarray([polygon_box(polygon) for polygon in polygons], np.float32).reshape(-1, 4)
    else:
        corners = moved(targets.boxes.numpy()[:, [0, 1, 2, 1, 2, 3, 0, 3]]).reshape(-1, 4, 2)
        boxes = np.concatenate([corners.min(1), corners.max(1)], axis=1)
    return TextTargets(
        polygons,
        torch.from_numpy(beziers),
        torch.from_numpy(boxes),
        list(targets.texts),
        targets.ignore.clone(),
        targets.labels.clone(),
    )


def resized_size(height: int, width: int, min_size: int, max_size: int) -> tuple[int, int]:
    """(height, width) with the short side at ``min_size``, or less so that the long one is at most ``max_size``.

    detectron2's rule and rounding (SPEC ``abcnet`` section 2); a side is never less than one pixel.
    """
    scale = min_size / min(height, width)
    new_height, new_width = (min_size, scale * width) if height < width else (scale * height, min_size)
    excess = max_size / max(new_height, new_width)
    if excess < 1:
        new_height, new_width = new_height * excess, new_width * excess
    return max(1, int(new_height + 0.5)), max(1, int(new_width + 0.5))


def resize(
    image: Pixels, targets: TextTargets, height: int, width: int, *, exact: bool = True
) -> tuple[Pixels, TextTargets]:
    """Resize to (height, width) with Pillow's bilinear filter, antialiased when it shrinks.

    Args:
        image: (h, w, 3) uint8.
        targets: words in its pixels.
        height: new height.
        width: new width.
        exact: Pillow's values to the last digit, for comparable evaluations; otherwise they may differ by one grey
            level, and it takes less than half the time.
    """
    old_height, old_width = image.shape[:2]
    if (old_height, old_width) == (height, width):
        pass
    elif exact:
        image = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
    elif height >= old_height and width >= old_width:
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.uint8, copy=False)
    else:
        # Channels last in memory, which the fast kernel wants.
        planes = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]
        smaller = interpolate(planes, (height, width), mode="bilinear", antialias=True)
        image = np.ascontiguousarray(smaller[0].permute(1, 2, 0).numpy())
    return image, move_targets(targets, np.diag([width / old_width, height / old_height, 0])[:2])


def crop(image: Pixels, targets: TextTargets, x0: int, y0: int, width: int, height: int) -> tuple[Pixels, TextTargets]:
    """Cut out a window of whole pixels; words outside it are dropped, words across its border stay as they are."""
    moved = move_targets(targets, np.asarray([[1.0, 0.0, -x0], [0.0, 1.0, -y0]]))
    boxes = moved.boxes
    inside = (boxes[:, 0] < width) & (boxes[:, 1] < height) & (boxes[:, 2] > 0) & (boxes[:, 3] > 0)
    return image[y0 : y0 + height, x0 : x0 + width].copy(), moved[inside]


def rotate(
    image: Pixels, targets: TextTargets, degrees: float, *, tight_boxes: bool = True
) -> tuple[Pixels, TextTargets]:
    """Turn about the centre on a canvas that holds all of the picture; black outside, bilinear.

    Args:
        image: (h, w, 3) uint8.
        targets: words in its pixels.
        degrees: counter-clockwise as seen.
        tight_boxes: see :func:`move_targets`.
    """
    height, width = image.shape[:2]
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    new_width = max(1, round(height * abs(sin) + width * abs(cos)))
    new_height = max(1, round(height * abs(cos) + width * abs(sin)))
    linear = np.asarray([[cos, sin], [-sin, cos]])  # y points down, so this is counter-clockwise as seen
    centre, new_centre = np.asarray([width, height]) / 2, np.asarray([new_width, new_height]) / 2
    shift = new_centre - linear @ centre
    # OpenCV counts from the centre of the first pixel, half a pixel inside our origin.
    pixel_shift = shift + linear @ [0.5, 0.5] - 0.5
    turned = cv2.warpAffine(
        image, np.column_stack([linear, pixel_shift]), (new_width, new_height), flags=cv2.INTER_LINEAR
    )
    matrix = np.column_stack([linear, shift])
    return turned.astype(np.uint8, copy=False), move_targets(targets, matrix, tight_boxes=tight_boxes)


def grow_window(x0: float, y0: float, width: float, height: float, boxes: FloatArray) -> tuple[int, int, int, int]:
    """Extend a window until it cuts no box (SPEC ``abcnet`` 13.3.1).

    A box counts as cut when it straddles a border line in that axis alone, also beside the window. Borders only
    move outwards and only to box edges, so this ends.

    Args:
        x0: left border in pixels.
        y0: upper border.
        width: size.
        height: size.
        boxes: (n, 4) x0 y0 x1 y1.

    Returns:
        x0, y0, width, height, each truncated to whole pixels.
    """
    low, high = [float(x0), float(y0)], [float(x0 + width), float(y0 + height)]
    rows = np.asarray(boxes, np.float64).reshape(-1, 4).tolist()
    changed = True
    while changed:
        changed = False
        for box in rows:
            for axis in (0, 1):
                start, end = box[axis], box[axis + 2]
                if start < low[axis] - STRADDLE_TOLERANCE and end > low[axis] + STRADDLE_TOLERANCE:
                    low[axis], changed = start, True
                if start < high[axis] - STRADDLE_TOLERANCE and end > high[axis] + STRADDLE_TOLERANCE:
                    high[axis], changed = end, True
    return int(low[0]), int(low[1]), int(high[0] - low[0]), int(high[1] - low[1])


class ResizeShortestEdge:
    """Resize so that the short side is one of several lengths, drawn at random.

    Args:
        min_sizes: lengths of the short side in pixels; one makes it deterministic.
        max_size: limit of the long side in pixels.
    """

    def __init__(self, *, min_sizes: Sequence[int], max_size: int) -> None:
        if not min_sizes or min(min_sizes) < 1 or max_size < 1:
            raise ConfigError(f"resize needs positive sizes, got min_sizes={list(min_sizes)}, max_size={max_size}")
        self.min_sizes = tuple(min_sizes)
        self.max_size = max_size

    def __call__(self, image: Pixels, targets: TextTargets, rng: np.random.Generator) -> tuple[Pixels, TextTargets]:
        """See :class:`Transform`."""
        min_size = self.min_sizes[int(rng.integers(len(self.min_sizes)))]
        height, width = resized_size(image.shape[0], image.shape[1], min_size, self.max_size)
        return resize(image, targets, height, width, exact=False)


class InstanceCrop:
    """Cut out a random window that holds a random word and cuts none (SPEC ``abcnet`` 13.3.1).

    An image without words is cut at random.

    Args:
        size_range: smallest and largest side as a fraction of the image's, drawn for each side on its own.
    """

    def __init__(self, *, size_range: tuple[float, float] = (0.1, 1.0)) -> None:
        if not 0 < size_range[0] <= size_range[1] <= 1:
            raise ConfigError(f"crop size_range must be 0 < low <= high <= 1, got {size_range}")
        self.size_range = size_range

    def __call__(self, image: Pixels, targets: TextTargets, rng: np.random.Generator) -> tuple[Pixels, TextTargets]:
        """See :class:`Transform`."""
        limits = np.asarray([image.shape[1], image.shape[0]])
        size = np.maximum(1, (limits * rng.uniform(*self.size_range, 2) + 0.5).astype(int))
        boxes = targets.boxes.double().numpy()
        first, last = np.zeros(2, int), limits - size
        if len(boxes):
            chosen = boxes[int(rng.integers(len(boxes)))]
            centre = np.clip((chosen[:2] + chosen[2:]) / 2, 0, limits)
            first = np.maximum(np.floor(centre).astype(int) - size, 0)
            last = np.minimum(last, np.ceil(centre).astype(int))
        corner = rng.integers(np.minimum(first, last), last, endpoint=True)
        x0, y0, width, height = grow_window(corner[0], corner[1], size[0], size[1], boxes)
        # Boxes may reach beyond the image; the window may not.
        x1, y1 = min(x0 + width, image.shape[1]), min(y0 + height, image.shape[0])
        x0, y0 = max(x0, 0), max(y0, 0)
        return crop(image, targets, x0, y0, x1 - x0, y1 - y0)


class RandomRotation:
    """Turn by a random angle; the canvas grows, so nothing is lost.

    Args:
        degrees: largest angle in either direction.
        tight_boxes: see :func:`move_targets`.
    """

    def __init__(self, *, degrees: float, tight_boxes: bool = True) -> None:
        if not 0 <= degrees <= 180:
            raise ConfigError(f"rotation must be between 0 and 180 degrees, got {degrees}")
        self.degrees = degrees
        self.tight_boxes = tight_boxes

    def __call__(self, image: Pixels, targets: TextTargets, rng: np.random.Generator) -> tuple[Pixels, TextTargets]:
        """See :class:`Transform`."""
        angle = float(rng.uniform(-self.degrees, self.degrees))
        return rotate(image, targets, angle, tight_boxes=self.tight_boxes)
