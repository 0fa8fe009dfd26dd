"""A small dataset on disk, made to order."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

CURVE = [10.0, 10, 20, 8, 30, 8, 40, 10, 40, 20, 30, 18, 20, 18, 10, 20]


def word(number: int, image_id: int | str = 1, **fields: Any) -> dict[str, Any]:
    """A sound annotation, changed by ``fields``; a field of ``None`` is left out."""
    entry: dict[str, Any] = {
        "id": number,
        "image_id": image_id,
        "category_id": 1,
        "iscrowd": 0,
        "bbox": [10.0, 8.0, 30.0, 12.0],
        "bezier_pts": CURVE,
        "text": "word",
    } | fields
    return {key: value for key, value in entry.items() if value is not None}


@pytest.fixture
def make_word() -> Callable[..., dict[str, Any]]:
    return word


@pytest.fixture
def write_dataset(tmp_path: Path) -> Callable[..., Path]:
    """``write_dataset(annotations, num_images)`` writes images of 64 x 48 pixels and returns the JSON's path."""

    def write(annotations: Sequence[Any], num_images: int = 1, **changes: Any) -> Path:
        (tmp_path / "images").mkdir(exist_ok=True)
        images = []
        for number in range(1, num_images + 1):
            pixels = np.full((48, 64, 3), number, np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / f"{number}.png")
            images.append({"id": number, "file_name": f"{number}.png", "height": 48, "width": 64})
        content = {"images": images, "annotations": list(annotations), "categories": [{"id": 1, "name": "text"}]}
        path = tmp_path / "annotations.json"
        path.write_text(json.dumps(content | changes))
        return path

    return write
