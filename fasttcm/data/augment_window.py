"""A square window of the picture at a random scale: many small words stay small, and every batch has one shape."""

import math

import cv2
import numpy as np

from fasttcm.data.augment import Pixels, move_targets
from fasttcm.errors import ConfigError
from fasttcm.geometry import clip_polygon_to_image, polygon_area
from fasttcm.structures import TextTargets

__all__ = ["RandomWindow"]

WHOLE_FRACTION = 0.9
"""A word of which less is inside the window becomes a don't care: it can be found, but not read."""

LEAST_HEIGHT = 6.0
"""Pixels; a word that the scale made lower than this becomes a don't care as well."""


class RandomWindow:
    """Scale the picture at random, then cut out a square of ``size`` pixels around a random word.

    The chance of a word grows with its longer side: a picture has few big words among many small ones, and a square
    placed blindly mostly cuts the big ones. The word is inside as a whole where it fits. The square may reach beyond
    the picture by a quarter of its side; what lies outside is black.

    Args:
        size: side of the window in pixels.
        scale: (least, most) factor, drawn evenly on a logarithmic axis.
    """

    def __init__(self, *, size: int, scale: tuple[float, float] = (0.5, 2.0)) -> None:
        if size < 1 or not 0 < scale[0] <= scale[1]:
            raise ConfigError(f"a window needs a positive size and 0 < least <= most scale, got {size} and {scale}")
        self.size = size
        self.scale = scale

    def __call__(self, image: Pixels, targets: TextTargets, rng: np.random.Generator) -> tuple[Pixels, TextTargets]:
        """See :class:`fasttcm.data.augment.Transform`."""
        scale = math.exp(rng.uniform(math.log(self.scale[0]), math.log(self.scale[1])))
        height, width = image.shape[:2]
        side = self.size / scale
        boxes = targets.boxes.double().numpy()
        limits = np.asarray([[-side / 4] * 2, [width - 0.75 * side, height - 0.75 * side]])
        low, high = limits.min(0), limits.max(0)
        if len(boxes):
            sides = (boxes[:, 2:] - boxes[:, :2]).max(1).clip(min=1)
            chosen = boxes[int(rng.choice(len(boxes), p=sides / sides.sum()))]
            low, high = np.maximum(low, chosen[2:] - side), np.minimum(high, chosen[:2])
        corner = rng.uniform(np.minimum(low, high), np.maximum(low, high))
        x0, y0 = np.maximum(np.floor(corner).astype(int), 0)
        x1, y1 = np.minimum(np.ceil(corner + side).astype(int), (width, height))
        piece = image[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)]
        if scale < 1:  # shrinking by area keeps thin strokes, warping would skip them
            smaller = (max(1, round(piece.shape[1] * scale)), max(1, round(piece.shape[0] * scale)))
            factors = np.asarray([smaller[0] / piece.shape[1], smaller[1] / piece.shape[0]])
            piece = np.asarray(cv2.resize(piece, smaller, interpolation=cv2.INTER_AREA), np.uint8)
        else:
            factors = np.ones(2)
        # From original pixels to those of the window; what is left of the scale is done by the warp.
        matrix = np.asarray([[scale, 0, -scale * corner[0]], [0, scale, -scale * corner[1]]])
        inner = np.asarray([scale / factors[0], scale / factors[1]])
        offset = scale * (np.asarray([x0, y0]) - corner)
        warp = np.column_stack([np.diag(inner), offset + inner * 0.5 - 0.5])
        window = cv2.warpAffine(piece, warp, (self.size, self.size), flags=cv2.INTER_LINEAR)
        return window.astype(np.uint8, copy=False), self._seen(move_targets(targets, matrix))

    def _seen(self, targets: TextTargets) -> TextTargets:
        """The words that reach into the window; those that are cut or too small become don't cares."""
        boxes, size = targets.boxes, self.size
        inside = (boxes[:, 0] < size) & (boxes[:, 1] < size) & (boxes[:, 2] > 0) & (boxes[:, 3] > 0)
        seen = targets[inside]
        points = seen.beziers.reshape(-1, 8, 2)
        seen.ignore |= (points[:, :4] - points[:, 4:].flip(1)).norm(dim=2).mean(1) < LEAST_HEIGHT
        for row, polygon in enumerate(seen.polygons):
            box = seen.boxes[row]
            if box.min() < 0 or box.max() > size:
                visible = clip_polygon_to_image(polygon, size, size)
                whole = abs(polygon_area(polygon))
                part = 0.0 if visible is None else abs(polygon_area(visible))
                seen.ignore[row] |= part < WHOLE_FRACTION * whole
        return seen
