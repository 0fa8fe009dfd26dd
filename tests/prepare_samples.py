"""Image files for tests of ``fasttcm prepare``, and a look at what it wrote."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image


def image_bytes(
    width: int = 64, height: int = 48, *, kind: str = "JPEG", orientation: int = 1, tone: int = 90
) -> bytes:
    """An image file of ``width`` x ``height`` stored pixels with an EXIF orientation."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    stream = io.BytesIO()
    Image.fromarray(np.full((height, width, 3), tone, np.uint8)).save(stream, kind, exif=exif)
    return stream.getvalue()


def index_of(folder: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Images and annotations of a prepared dataset."""
    content = json.loads((folder / "annotations.json").read_text(encoding="utf-8"))
    return content["images"], content["annotations"]
