"""Decoding image files of every common kind to RGB arrays, and finding them on disk.

Files are untrusted: only plain raster formats are tried, the pixel count is checked before a pixel is decoded, and
every failure is an :class:`~fasttcm.errors.ImageError` of one line that names the file and the reason.
"""

import glob
import os
import struct
import warnings
import zlib
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image

from fasttcm.errors import ImageError

__all__ = ["DEFAULT_MAX_PIXELS", "IMAGE_SUFFIXES", "ImageSource", "find_images", "image_size", "read_image"]

ImageSource = str | os.PathLike[str] | bytes | BinaryIO
"""A path, the bytes of a file, or a binary file object positioned at the start of the image."""

DEFAULT_MAX_PIXELS = 100_000_000
"""Larger images are refused as decompression bombs (100 megapixels are 300 MB once decoded)."""

IMAGE_SUFFIXES = frozenset(
    {
        ".jpg",
        ".jpeg",
        ".jpe",
        ".png",
        ".bmp",
        ".gif",
        ".tif",
        ".tiff",
        ".webp",
        ".ppm",
        ".pgm",
        ".pbm",
        ".pnm",
        ".jp2",
        ".avif",
    }
)
"""Suffixes, in lower case, of the files that a folder or a pattern stands for."""

RASTER_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM", "JPEG2000", "AVIF")
"""Pillow's names of the formats tried; formats that run an interpreter (EPS) or read other files stay out."""

DECODER_ERRORS = (OSError, SyntaxError, ValueError, EOFError, TypeError, LookupError, OverflowError, MemoryError)
"""What Pillow's decoders raise on damaged files, besides ``struct.error`` and ``zlib.error``."""

STRIP_PIXELS = 4_000_000
"""Pixels converted at a time, so that a large image is held twice for a moment and never more often."""

SIXTEEN_BIT_STEP = 257.0
"""Full 16-bit scale over full 8-bit scale, 65535 / 255."""

WHITE = 255.0


def read_image(
    source: ImageSource, *, max_pixels: int = DEFAULT_MAX_PIXELS, apply_exif: bool = True
) -> npt.NDArray[np.uint8]:
    """Decode one image, whatever its mode, to RGB.

    Grayscale, 1-bit, palette and CMYK images are converted; transparent pixels are composited on white; 16-bit
    grayscale is scaled to 8 bit (65535 becomes 255); of several frames the first one is taken.

    Args:
        source: path, bytes or binary file object.
        max_pixels: more pixels than this are refused before decoding. Beyond Pillow's own limit of about 179
            million pixels ``PIL.Image.MAX_IMAGE_PIXELS`` has to be raised as well.
        apply_exif: turn the picture as its EXIF orientation says (a TIFF is always turned).

    Returns:
        (height, width, 3) uint8, contiguous and writable.

    Raises:
        ImageError: missing, empty, corrupt, truncated, not an image, or too large; one line with name and reason.
    """
    with _opened(source, max_pixels) as image:
        name = _name(source)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # damaged metadata is no concern of ours
                image.load()
            pixels = _to_rgb(image)
        except (*DECODER_ERRORS, struct.error, zlib.error) as error:
            raise ImageError(f"{name}: cannot decode the {image.format} image: {_reason(error)}") from error
        # Pillow turns a TIFF itself while loading and then drops the tag, so the tag is read afterwards.
        orientation = _orientation(image) if apply_exif else 1
    return np.ascontiguousarray(_orient(pixels, orientation))


def image_size(source: ImageSource, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> tuple[int, int]:
    """(height, width) as :func:`read_image` would return them, from the header alone (a TIFF is decoded)."""
    with _opened(source, max_pixels) as image:
        if image.format != "TIFF":
            turned = _orientation(image) >= 5  # orientations 5 to 8 exchange rows and columns
            return (image.width, image.height) if turned else (image.height, image.width)
    height, width = read_image(source, max_pixels=max_pixels).shape[:2]
    return int(height), int(width)


def find_images(paths: Sequence[str | os.PathLike[str]]) -> list[Path]:
    """Image files named by files, folders and patterns.

    Args:
        paths: a file is taken whatever its suffix; a folder stands for all images below it (hidden files and
            folders are left out); anything else is a glob pattern (``**`` crosses folders) for images and folders.

    Returns:
        Sorted paths, each file once.

    Raises:
        ImageError: an entry that stands for no image, by name.
    """
    found: dict[str, Path] = {}
    for entry in paths:
        for path in _expand(os.fspath(entry)):
            found.setdefault(os.path.realpath(path), path)
    return sorted(found.values())


def _expand(entry: str) -> list[Path]:
    """The images of one file, folder or pattern."""
    if os.path.isfile(entry):
        return [Path(entry)]
    matches = [entry] if os.path.isdir(entry) else glob.glob(os.path.expanduser(entry), recursive=True)
    images: list[Path] = []
    for match in matches:
        if os.path.isdir(match):
            images += _images_below(match)
        elif Path(match).suffix.lower() in IMAGE_SUFFIXES:
            images.append(Path(match))
    if not images:
        what = "no image in this folder" if os.path.isdir(entry) else "no such file, and no image matches this pattern"
        raise ImageError(f"{entry}: {what}")
    return images


def _images_below(folder: str) -> list[Path]:
    """Images in a folder and its sub-folders; links to folders are not followed (they may form circles)."""
    images = []
    for base, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        images += [
            Path(base, name)
            for name in files
            if not name.startswith(".") and Path(name).suffix.lower() in IMAGE_SUFFIXES
        ]
    return images


def _name(source: ImageSource) -> str:
    """How an error calls the image."""
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    return str(getattr(source, "name", "image in memory"))


def _reason(error: Exception) -> str:
    """One line about an exception, never empty."""
    return " ".join(str(error).split()) or type(error).__name__


def _opened(source: ImageSource, max_pixels: int) -> Image.Image:
    """The image with its header read and its size checked, not yet decoded."""
    name = _name(source)
    if isinstance(source, str | os.PathLike):
        if not os.path.exists(source):
            raise ImageError(f"{name}: no such file")
        if not os.path.isfile(source):
            raise ImageError(f"{name}: not a file")
        if os.path.getsize(source) == 0:
            raise ImageError(f"{name}: the file is empty (0 bytes)")
    elif isinstance(source, bytes) and not source:
        raise ImageError(f"{name}: empty (0 bytes)")
    Image.init()
    formats = [name for name in RASTER_FORMATS if name in Image.OPEN]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's limit of its own is below ours
            image = Image.open(BytesIO(source) if isinstance(source, bytes) else source, formats=formats)
    except Image.UnidentifiedImageError as error:
        raise ImageError(f"{name}: not an image, or damaged beyond recognition") from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"{name}: refused as a decompression bomb: {_reason(error)}") from error
    except (*DECODER_ERRORS, struct.error, zlib.error) as error:
        raise ImageError(f"{name}: cannot read the image: {_reason(error)}") from error
    if image.width * image.height > max_pixels:
        size = f"{image.width} x {image.height}"
        image.close()
        raise ImageError(f"{name}: {size} pixels, more than the limit of {max_pixels} (a decompression bomb?)")
    return image


def _orientation(image: Image.Image) -> int:
    """EXIF orientation 1..8; a missing, damaged or nonsensical entry counts as upright."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # damaged metadata is no concern of ours
            value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except (*DECODER_ERRORS, struct.error):
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _orient(pixels: npt.NDArray[np.uint8], orientation: int) -> npt.NDArray[np.uint8]:
    """A view of (h, w, 3) pixels turned upright; ``orientation`` as in the EXIF standard, tag 0x0112."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels


def _to_rgb(image: Image.Image) -> npt.NDArray[np.uint8]:
    """RGB pixels (h, w, 3) of a loaded image of any mode, converted strip by strip."""
    if image.mode == "RGB" and "transparency" not in image.info and image.width * image.height <= STRIP_PIXELS:
        return np.array(image)
    factor = WHITE / _full_scale(image) if image.mode.startswith("I") or image.mode == "F" else 0.0
    transparent = image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    rows = max(1, STRIP_PIXELS // image.width)
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        target = pixels[top : top + strip.height]
        if factor:
            gray = np.asarray(strip).astype(np.float32) * factor
            target[:] = (np.clip(gray, 0, WHITE) + 0.5).astype(np.uint8)[..., None]
        elif transparent:
            rgba = np.asarray(strip.convert("RGBA")).astype(np.float32)
            alpha = rgba[..., 3:] / WHITE
            target[:] = (rgba[..., :3] * alpha + WHITE * (1 - alpha) + 0.5).astype(np.uint8)
        else:
            target[:] = np.asarray(strip.convert("RGB"))
    return pixels


def _full_scale(image: Image.Image) -> float:
    """The value that stands for white in an image of more than 8 bits a pixel.

    16-bit modes state it. 32-bit integers and floats do not: the smallest usual scale that holds their maximum is
    taken, 1 (floats only), 255 or 65535.
    """
    sixteen_bit = WHITE * SIXTEEN_BIT_STEP
    if image.mode.startswith("I;16"):
        return sixteen_bit
    highest = float(np.nanmax(np.asarray(image.getextrema(), np.float64)))
    if image.mode == "F" and highest <= 1.0:
        return 1.0
    return WHITE if highest <= WHITE else sixteen_bit
