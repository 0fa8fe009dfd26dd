"""From a record of the index to the sample a model eats."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from fasttcm.data.augment import Transform, resize, resized_size
from fasttcm.data.coco import Record
from fasttcm.data.images import DEFAULT_MAX_PIXELS, read_image
from fasttcm.errors import ConfigError, ImageError
from fasttcm.geometry import clip_polygon_to_image, polygon_area
from fasttcm.structures import Sample, TextTargets

__all__ = ["TestMapper", "TrainMapper", "finish_targets", "read_record_image", "to_sample"]

Pixels = npt.NDArray[np.uint8]

MIN_BOX_SIDE = 1e-5
"""Pixels; words with a clipped box not larger than this are dropped (SPEC ``abcnet`` 13.3)."""

MIN_VISIBLE_FRACTION = 0.5
"""A word of which less is inside the picture cannot be read off it, so nobody is asked to."""


class TrainMapper:
    """Decode, augment, and clean the words up.

    Args:
        transforms: applied one after the other.
        max_pixels: larger images are refused.
    """

    def __init__(self, *, transforms: Sequence[Transform], max_pixels: int = DEFAULT_MAX_PIXELS) -> None:
        self.transforms = tuple(transforms)
        self.max_pixels = max_pixels

    def __call__(self, record: Record, rng: np.random.Generator) -> Sample:
        """A sample with ``targets`` in pixels of its ``image``.

        Args:
            record: the image and its words.
            rng: the only source of chance.

        Raises:
            ImageError: the file cannot be used, or is not of the annotated size.
        """
        image, targets = read_record_image(record, max_pixels=self.max_pixels), record.targets
        for transform in self.transforms:
            image, targets = transform(image, targets, rng)
        sample = _sample_of(image, record)
        sample["targets"] = finish_targets(targets, image.shape[0], image.shape[1])
        return sample


class TestMapper:
    """Decode and resize; no words.

    Args:
        min_size: length of the short side in pixels, whether that means shrinking or enlarging.
        max_size: limit of the long side in pixels.
        max_pixels: larger images are refused.
    """

    __test__ = False  # not a test case, whatever pytest makes of the name

    def __init__(self, *, min_size: int, max_size: int, max_pixels: int = DEFAULT_MAX_PIXELS) -> None:
        if min_size < 1 or max_size < 1:
            raise ConfigError(f"the test size must be positive, got min_size={min_size}, max_size={max_size}")
        self.min_size = min_size
        self.max_size = max_size
        self.max_pixels = max_pixels

    def __call__(self, record: Record, rng: np.random.Generator | None = None) -> Sample:
        """A sample without ``targets``; ``rng`` is not used. Raises ImageError as :class:`TrainMapper`."""
        return _sample_of(self.resized(read_record_image(record, max_pixels=self.max_pixels)), record)

    def from_array(self, image: Pixels, *, file_name: str = "", image_id: int | str = 0) -> Sample:
        """The sample of an image (h, w, 3) uint8 RGB that is already decoded."""
        height, width = image.shape[:2]
        return to_sample(
            self.resized(image), height=int(height), width=int(width), file_name=file_name, image_id=image_id
        )

    def resized(self, image: Pixels) -> Pixels:
        """An image (h, w, 3) uint8 at the size for testing."""
        size = resized_size(image.shape[0], image.shape[1], self.min_size, self.max_size)
        return resize(image, TextTargets.empty(), *size)[0]


def read_record_image(record: Record, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> Pixels:
    """Decode the image of a record so that it fits its annotations.

    The annotated size decides whether an EXIF orientation was honoured when the words were marked: the upright picture
    is taken if it has the annotated size, otherwise the stored one if that has it.

    Returns:
        (record.height, record.width, 3) uint8 RGB.

    Raises:
        ImageError: the file cannot be used, or has another size either way.
    """
    wanted = (record.height, record.width)
    image = read_image(record.file_path, max_pixels=max_pixels)
    found = image.shape[:2]
    if found == wanted[::-1] and found != wanted:
        image = read_image(record.file_path, max_pixels=max_pixels, apply_exif=False)
    if image.shape[:2] != wanted:
        raise ImageError(
            f"{record.file_path}: the file has {found[1]} x {found[0]} pixels (width x height), but its annotations "
            f"(image id {record.image_id}) say {record.width} x {record.height}"
        )
    return image


def to_sample(image: Pixels, *, height: int, width: int, file_name: str = "", image_id: int | str = 0) -> Sample:
    """The sample dict, without ``targets``, of an image (h, w, 3) made from one of ``height`` x ``width`` pixels."""
    return {
        "image": torch.from_numpy(image.transpose(2, 0, 1).copy()),
        "height": height,
        "width": width,
        "file_name": file_name,
        "image_id": image_id,
    }


def _sample_of(image: Pixels, record: Record) -> Sample:
    """:func:`to_sample` with the facts of a record."""
    return to_sample(
        image, height=record.height, width=record.width, file_name=record.file_name, image_id=record.image_id
    )


def finish_targets(targets: TextTargets, height: int, width: int) -> TextTargets:
    """Words fit for training on an image of ``height`` x ``width`` pixels.

    Boxes are clipped and empty ones dropped; polygons and curves stay whole. A word of whose polygon less than half
    lies inside becomes a don't care instead of a wrong text.
    """
    boxes = targets.boxes.clone()
    boxes[:, 0::2] = boxes[:, 0::2].clamp(0, width)
    boxes[:, 1::2] = boxes[:, 1::2].clamp(0, height)
    ignore = targets.ignore | torch.tensor(
        [_visible_fraction(polygon, height, width) < MIN_VISIBLE_FRACTION for polygon in targets.polygons],
        dtype=torch.bool,
    )
    kept = (boxes[:, 2:] - boxes[:, :2] > MIN_BOX_SIDE).all(dim=1)
    finished = TextTargets(targets.polygons, targets.beziers, boxes, targets.texts, ignore, targets.labels)
    return finished[kept]


def _visible_fraction(polygon: npt.NDArray[np.floating], height: int, width: int) -> float:
    """Share of a polygon's area that lies inside the image; 1 for a polygon without area."""
    visible = clip_polygon_to_image(polygon, height, width)
    area = abs(polygon_area(polygon))
    if visible is None or area == 0:
        return 0.0 if visible is None else 1.0
    return abs(polygon_area(visible)) / area
