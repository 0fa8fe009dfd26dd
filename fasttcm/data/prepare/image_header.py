"""The size of an image file, stored and as displayed, and which of the two its words were marked on."""

import struct
import warnings
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import ExifTags, Image

from fasttcm.data.images import DECODER_ERRORS, DEFAULT_MAX_PIXELS, RASTER_FORMATS, ImageSource, image_size
from fasttcm.errors import ImageError
from fasttcm.structures import FloatArray

__all__ = ["ImageHeader", "marked_size", "read_header"]

FIRST_TURNED = 5
"""EXIF orientations from here on exchange rows and columns."""


@dataclass(frozen=True)
class ImageHeader:
    """Sizes in pixels.

    Attributes:
        stored: (width, height) of the pixels in the file.
        displayed: (width, height) once the EXIF orientation is applied.
    """

    stored: tuple[int, int]
    displayed: tuple[int, int]

    @property
    def turned(self) -> bool:
        """Whether the EXIF orientation exchanges rows and columns."""
        return self.stored != self.displayed


def read_header(source: ImageSource, name: str) -> ImageHeader:
    """Read the sizes without decoding a pixel (but for a TIFF, of which decoding is part of turning).

    Args:
        source: path or binary file object.
        name: what messages call it.

    Raises:
        ImageError: empty, not an image, damaged, or more than 100 million pixels.
    """
    Image.init()
    formats = [kind for kind in RASTER_FORMATS if kind in Image.OPEN]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # damaged metadata is no concern of ours
            with Image.open(source, formats=formats) as image:  # type: ignore[arg-type]
                width, height = image.size
                if image.format != "TIFF":
                    turned = _orientation(image) >= FIRST_TURNED
    except Image.UnidentifiedImageError as error:
        raise ImageError(f"{name}: not an image, or damaged beyond recognition") from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"{name}: refused as a decompression bomb: {' '.join(str(error).split())}") from error
    except (*DECODER_ERRORS, struct.error, zlib.error) as error:
        raise ImageError(f"{name}: cannot read the image: {' '.join(str(error).split())}") from error
    if width * height > DEFAULT_MAX_PIXELS:
        raise ImageError(f"{name}: {width} x {height} pixels, more than the limit of {DEFAULT_MAX_PIXELS}")
    if image.format == "TIFF":
        height, width = image_size(source)
        return ImageHeader((width, height), (width, height))
    return ImageHeader((width, height), (height, width) if turned else (width, height))


def marked_size(
    header: ImageHeader, stated: tuple[int, int] | None, outlines: Sequence[FloatArray]
) -> tuple[tuple[int, int], str]:
    """The size of the picture that the words were marked on.

    A stated size that is one of the file's two decides. Otherwise the one that the words leave less far does, and
    the displayed one if that is equal.

    Args:
        header: of the file.
        stated: (width, height) as the publisher has it, if at all.
        outlines: (p, 2) points of each word.

    Returns:
        (width, height), and why: ``upright`` (the file is not turned), ``displayed``, ``stored`` or ``either``
        (nothing tells, taken as displayed).
    """
    if not header.turned:
        return header.displayed, "upright"
    if stated in (header.displayed, header.stored):
        return (stated, "displayed") if stated == header.displayed else (header.stored, "stored")
    farthest = np.concatenate([points.reshape(-1, 2) for points in (np.zeros((1, 2)), *outlines)]).max(axis=0)
    beyond = [float(np.maximum(farthest - size, 0).max()) for size in (header.displayed, header.stored)]
    if beyond[0] == beyond[1]:
        return header.displayed, "either"
    return (header.displayed, "displayed") if beyond[0] < beyond[1] else (header.stored, "stored")


def _orientation(image: Image.Image) -> int:
    """EXIF orientation 1..8; a missing, damaged or nonsensical entry counts as upright."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except (*DECODER_ERRORS, struct.error):
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1
