"""labelme, and tools that write its JSON: one file for each picture, beside it.

``street.json`` beside ``street.jpg``:

    {"version": "5.4.1", "flags": {},
     "shapes": [{"label": "CAFE", "points": [[10.5, 20.0], [90.0, 18.0], [91.0, 40.0], [11.0, 42.0]],
                 "group_id": null, "description": "", "shape_type": "polygon", "flags": {}},
                {"label": "###", "points": [[200, 50], [260, 80]], "shape_type": "rectangle", "flags": {}}],
     "imagePath": "street.jpg", "imageData": null, "imageHeight": 480, "imageWidth": 640}

The transcription is the ``description``; if no shape of the split has one, it is the ``label``. A true flag
``ignore``, ``illegible`` or ``difficult`` (of the shape or among its ``flags``) means do not care. Polygons of at
least four points, rectangles (two opposite corners) and rotated rectangles (four) are taken, other shapes reported.
``imageData``, the picture itself in base64, is not read. Files in folders called train, val or test make such splits.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

from fasttcm.data.annotations import AnnotationError
from fasttcm.data.prepare.picture import Picture, Word
from fasttcm.data.prepare.readers.common import (
    IGNORE_FLAGS,
    annotation_files,
    box_corners,
    is_true,
    numbers,
    outline,
    read_json,
    size_of,
    text_of,
    words_of,
)
from fasttcm.data.prepare.readers.image_names import ImageNames
from fasttcm.data.prepare.source import Source
from fasttcm.data.problems import Problems
from fasttcm.errors import DataError

__all__ = ["read_labelme"]

SHAPES = ("polygon", "rectangle", "rotation", "oriented_rectangle")
"""Shapes whose points are an outline; labelme has two for a rectangle, other tools four."""


def read_labelme(source: Source, *, split: str, problems: Problems) -> Iterator[Picture]:
    """The annotated pictures of a split, by name of their JSON; errors as :func:`annotation_files`."""
    files = annotation_files(source, "*.json", split, folders_only=True)
    images = ImageNames(source, problems)
    described = _described(source, files)

    def word(shape: Any, place: str, problems: Problems) -> Word:
        return _word(shape, place, problems, key="description" if described else "label")

    for name in files:
        try:
            content = read_json(source, name, problems)
        except DataError as error:
            problems.add("annotation file unusable (image skipped)", name, str(error))
            continue
        if not isinstance(content, dict) or "shapes" not in content:
            problems.add('no labelme file, it has no "shapes" (skipped)', name)
            continue
        image = images.find(content.get("imagePath") or name.removesuffix(".json"), place=name, near=name)
        if image is not None:
            words = words_of(content["shapes"], word, name, problems, unit="shape")
            yield Picture(image, words, size=size_of(content.get("imageWidth"), content.get("imageHeight")))


def _described(source: Source, files: list[str]) -> bool:
    """Whether any shape has a description: only the whole split shows what its annotator means by a label."""
    for name in files:
        with contextlib.suppress(DataError, AttributeError, KeyError, TypeError):
            shapes = read_json(source, name, Problems())["shapes"]
            if any(isinstance(shape.get("description"), str) and shape["description"].strip() for shape in shapes):
                return True
    return False


def _word(shape: Any, place: str, problems: Problems, *, key: str) -> Word:
    """One shape; ``key`` is where its transcription stands."""
    if not isinstance(shape, dict):
        raise AnnotationError("shape is not an object (skipped)", shape)
    kind = shape.get("shape_type") or "polygon"
    if kind == "rectangle" and numbers(shape.get("points"), "points").size == 4:
        points = box_corners(*numbers(shape["points"], "points").tolist())
    elif kind in SHAPES:
        points = outline(shape.get("points"))
    else:
        raise AnnotationError("shape is neither polygon nor rectangle (skipped)", kind)
    flags = shape["flags"] | shape if isinstance(shape.get("flags"), dict) else shape
    ignore = any(is_true(flags.get(flag)) for flag in IGNORE_FLAGS)
    return Word(points, text_of(shape.get(key), place, problems), ignore=ignore, place=place)
