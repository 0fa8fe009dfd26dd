"""Augmentation of FCENet's training images (SPEC ``detectors`` section 8).

Transforms as in :mod:`fasttcm.data.augment`. What a rotated or padded picture leaves open is filled with a stretched
piece of the picture itself.
"""

import numpy as np
import numpy.typing as npt
from PIL import Image

from fasttcm.data.augment import ColorJitter, Transform, crop, move_targets, resize, rotate
from fasttcm.data.augment_pan import HorizontalFlip, mirror_targets
from fasttcm.errors import ConfigError
from fasttcm.structures import TextTargets

__all__ = ["CropMirror", "FilledRotation", "LongSideJitter", "SquareResize", "WholeTextCrop", "fce_transforms"]

Pixels = npt.NDArray[np.uint8]

_PIECE = 1 / 3
"""Side of the piece that fills gaps, as a fraction of the picture's."""


def fce_transforms(
    *, size: int, brightness: float = 32 / 255, contrast: float = 0.5, saturation: float = 0.5
) -> list[Transform]:
    """FCENet's pipeline for squares of ``size`` pixels (800 as published)."""
    return [
        ColorJitter(brightness=brightness, contrast=contrast, saturation=saturation),
        LongSideJitter(size=size),
        CropMirror(),
        WholeTextCrop(),
        FilledRotation(),
        SquareResize(size=size),
        HorizontalFlip(),
    ]


class LongSideJitter:
    """Resize the long side to a length times a random factor.

    Args:
        size: pixels.
        scale_range: of the factor.
    """

    def __init__(self, *, size: int, scale_range: tuple[float, float] = (3 / 4, 5 / 2)) -> None:
        if size < 1 or min(scale_range) <= 0:
            raise ConfigError(f"jitter needs positive sizes, got {size}, {scale_range}")
        self.size = size
        self.scale_range = scale_range

    def __call__(self, image: Pixels, targets: TextTargets, rng: np.random.Generator) -> tuple[Pixels, TextTargets]:
        """See :class:`~fasttcm.data.augment.Transform`."""
        height, width = image.shape[:2]
        scale = self.size * float(rng.uniform(*self.scale_range)) / max(height, width)
        return resize(image, targets, max(1, int(height * scale)), max(1, int(width * scale)))


class CropMirror:
    """Mirror a part of the picture in place: left and right, up and down, or both.

    The part is a window of at least a fifth of the picture whose border lines touch no word. The published form mirrors
    the last of its ten tries also when that cuts a word; here nothing is done then.

    Args:
        probability: of trying.
        min_area: least area of the window, as a fraction of the picture's.
        tries: windows drawn.
    """

    def __init__(self, *, probability: float = 0.5, min_area: float = 0.2, tries: int = 10) -> None:
        self.probability = probability
        self.min_area = min_area
        self.tries = tries

    def __call__(self, image: Pixels, targets: TextTargets, rng: np.random.Generator) -> tuple[Pixels, TextTargets]:
        """See :class:`~fasttcm.data.augment.Transform`."""
        if rng.random() >= self.probability:
            return image, targets
        height, width = image.shape[:2]
        boxes = targets.boxes.double().numpy().reshape(-1, 2, 2)
        free = [_free_lines(boxes[:, :, axis], length) for axis, length in ((0, width), (1, height))]
        if min(len(lines) for lines in free) < 2:
            return image, targets
        for _ in range(self.tries):
            (x0, x1), (y0, y1) = (np.sort(rng.choice(lines, 2, replace=False)).tolist() for lines in free)
            if (x1 - x0) * (y1 - y0) >= self.min_area * height * width:
                return _mirrored(image, targets, (x0, y0, x1, y1), int(rng.integers(3)))
        return image, targets


def _free_lines(spans: npt.NDArray[np.float64], length: int) -> npt.NDArray[np.int64]:
    """Whole positions 0 .. length that lie inside no span (n, 2)."""
    taken = np.zeros(length + 1, bool)
    for low, high in spans:
        taken[max(int(np.floor(low)) + 1, 0) : max(int(np.ceil(high)), 0)] = True
    return np.flatnonzero(~taken)


def _mirrored(
    image: Pixels, targets: TextTargets, window: tuple[int, int, int, int], kind: int
) -> tuple[Pixels, TextTargets]:
    """The picture with a window x0, y0, x1, y1 mirrored across (0), down (1) or both (2)."""
    x0, y0, x1, y1 = window
    across, down = kind != 1, kind != 0
    changed = image.copy()
    changed[y0:y1, x0:x1] = image[y0:y1, x0:x1][:: -1 if down else 1, :: -1 if across else 1]
    moved = mirror_targets(targets, across=x0 + x1 if across else None, down=y0 + y1 if down else None)
    centres = (targets.boxes[:, :2] + targets.boxes[:, 2:]) / 2
    inside = (centres[:, 0] > x0) & (centres[:, 0] < x1) & (centres[:, 1] > y0) & (centres[:, 1] < y1)
    pick = inside.tolist()
    return changed, TextTargets(
        [(moved if chosen else targets).polygons[i] for i, chosen in enumerate(pick)],
        moved.beziers.where(inside[:, None], targets.beziers),
        moved.boxes.where(inside[:, None], targets.boxes),
        list(targets.texts),
        targets.ignore.clone(),
        targets.labels.clone(),
    )


class WholeTextCrop:
    """Cut out a window that holds one random word whole; an image without words stays.

    Args:
        probability: of doing so.
        min_side: least side of the window, as a fraction of the picture's.
    """

    def __init__(self, *, probability: float = 0.8, min_side: float = 0.3) -> None:
        if not 0 < min_side <= 1:
            raise ConfigError(f"crop min_side must lie in (0, 1], got {min_side}")
        self.probability = probability
        self.min_side = min_side

    def __call__(self, image: Pixels, targets: TextTargets, rng: np.random.Generator) -> tuple[Pixels, TextTargets]:
        """See :class:`~fasttcm.data.augment.Transform`."""
        legible = (~targets.ignore).nonzero()[:, 0].tolist()
        if not legible or rng.random() >= self.probability:
            return image, targets
        box = targets.boxes[legible[int(rng.integers(len(legible)))]].tolist()
        window = []
        for axis, length in ((0, image.shape[1]), (1, image.shape[0])):
            least = max(1, int(length * self.min_side))
            low = min(max(int(np.floor(box[axis])), 0), length - 1)
            high = max(min(int(np.ceil(box[axis + 2])), length), low + 1)
            start = int(rng.integers(0, min(low, length - least), endpoint=True))
            end = int(rng.integers(max(high, start + least), length, endpoint=True))
            window.append((start, end))
        (x0, x1), (y0, y1) = window
        return crop(image, targets, x0, y0, x1 - x0, y1 - y0)


def _stretched_piece(image: Pixels, height: int, width: int, rng: np.random.Generator) -> Pixels:
    """A random piece of the picture, a ninth of its area, at another size."""
    sides = [max(1, int(length * _PIECE)) for length in image.shape[:2]]
    y, x = (
        int(rng.integers(0, length - side, endpoint=True)) for length, side in zip(image.shape, sides, strict=False)
    )
    piece = Image.fromarray(image[y : y + sides[0], x : x + sides[1]])
    return np.asarray(piece.resize((width, height), Image.Resampling.BILINEAR))


class FilledRotation:
    """Turn by a random angle; the canvas grows, and its corners are filled with a piece of the picture.

    Args:
        probability: of doing so.
        degrees: largest angle in either direction.
    """

    def __init__(self, *, probability: float = 0.5, degrees: float = 30.0) -> None:
        if not 0 <= degrees <= 180:
            raise ConfigError(f"rotation must be between 0 and 180 degrees, got {degrees}")
        self.probability = probability
        self.degrees = degrees

    def __call__(self, image: Pixels, targets: TextTargets, rng: np.random.Generator) -> tuple[Pixels, TextTargets]:
        """See :class:`~fasttcm.data.augment.Transform`."""
        if rng.random() >= self.probability:
            return image, targets
        angle = float(rng.uniform(-self.degrees, self.degrees))
        turned, moved = rotate(image, targets, angle)
        covered, _ = rotate(np.full_like(image, 255), TextTargets.empty(), angle)
        piece = _stretched_piece(image, turned.shape[0], turned.shape[1], rng)
        share = covered.astype(np.float32) / 255
        return (turned + piece * (1 - share)).clip(0, 255).astype(np.uint8), moved


class SquareResize:
    """Make the picture a square: mostly by padding it, else by stretching it.

    Args:
        size: side in pixels.
        keep_aspect: probability of keeping the aspect; the rest of the square is a stretched piece of the picture.
    """

    def __init__(self, *, size: int, keep_aspect: float = 0.6) -> None:
        if size < 1:
            raise ConfigError(f"size must be positive, got {size}")
        self.size = size
        self.keep_aspect = keep_aspect

    def __call__(self, image: Pixels, targets: TextTargets, rng: np.random.Generator) -> tuple[Pixels, TextTargets]:
        """See :class:`~fasttcm.data.augment.Transform`."""
        if rng.random() >= self.keep_aspect:
            return resize(image, targets, self.size, self.size)
        height, width = (max(1, int(length * self.size / max(image.shape[:2]) + 0.5)) for length in image.shape[:2])
        small, moved = resize(image, targets, height, width)
        canvas = _stretched_piece(image, self.size, self.size, rng).copy()
        y, x = (self.size - height) // 2, (self.size - width) // 2
        canvas[y : y + height, x : x + width] = small
        return canvas, move_targets(moved, np.asarray([[1.0, 0.0, x], [0.0, 1.0, y]]))
