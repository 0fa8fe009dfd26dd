"""From the bytes of an upload to what the page shows; nothing here knows about HTTP."""

import base64
import io
import json
import time
from pathlib import PurePosixPath
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from fasttcm.data.images import read_image
from fasttcm.drawing import draw_words
from fasttcm.engine.spotter import Spotter
from fasttcm.errors import ImageError
from fasttcm.geometry import text_lines
from fasttcm.structures import TextPredictions

__all__ = ["plain_name", "read_picture"]

DRAWN_SIDES = (1000, 1600)
"""Shortest and longest length in pixels of the longer side of the drawn picture: a thumbnail is enlarged so that its
labels can be read, and a photograph of a camera shrunk so that it travels fast."""

JPEG_QUALITY = 88

LONGEST_NAME = 120
"""Characters; names go into messages, logs and the JSON."""


def read_picture(spotter: Spotter, data: bytes, *, name: str) -> dict[str, Any]:
    """Find and read the words of one picture.

    Args:
        spotter: the model.
        data: content of an image file.
        name: what messages and the JSON call it, see :func:`plain_name`.

    Returns:
        ``json``: the text of the file that ``fasttcm spot`` writes. ``lines``: indices into its ``words``, in reading
        order. ``picture``: data URL of a JPEG with the words drawn. ``seconds`` of all that.

    Raises:
        ImageError: empty, not a picture, damaged, or of more pixels than ``INPUT.MAX_PIXELS``; one line with the name.
    """
    start = time.perf_counter()
    image = _decode(data, name, spotter.config.INPUT.MAX_PIXELS)
    found = spotter(image)
    entry = found.to_json(image_id=PurePosixPath(name).stem, file_name=name)
    return {
        "json": json.dumps(entry, indent=1, ensure_ascii=False),
        "lines": text_lines(found.boxes.numpy(force=True)),
        "picture": _data_url(_drawn(image, found)),
        "seconds": time.perf_counter() - start,
    }


def plain_name(name: str) -> str:
    """The last part of a path of any system, printable and of bounded length; ``picture`` when nothing is left."""
    last = name.replace("\\", "/").rpartition("/")[2]
    return "".join(c for c in last if c.isprintable())[-LONGEST_NAME:].strip() or "picture"


def _decode(data: bytes, name: str, max_pixels: int) -> npt.NDArray[np.uint8]:
    if not data:
        raise ImageError(f"{name}: the file is empty (0 bytes)")
    file = io.BytesIO(data)
    file.name = name  # read_image names it in its messages
    return read_image(file, max_pixels=max_pixels)


def _drawn(image: npt.NDArray[np.uint8], found: TextPredictions) -> npt.NDArray[np.uint8]:
    """The picture with its words, its longer side within :data:`DRAWN_SIDES`."""
    shortest, longest = DRAWN_SIDES
    scale = min(1.0, longest / max(image.shape[:2]))
    if scale < 1:
        height, width = (max(1, round(side * scale)) for side in image.shape[:2])
        image = np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    return draw_words(image, [polygon * scale for polygon in found.polygons], found.texts, min_side=shortest)


def _data_url(picture: npt.NDArray[np.uint8]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
