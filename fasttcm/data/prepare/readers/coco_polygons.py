"""COCO polygons as annotation tools export them (CVAT, Label Studio, Roboflow, Datumaro, ...), with a text somewhere.

``annotations/instances_train.json`` beside ``images/``:

    {"images": [{"id": 1, "file_name": "street.jpg", "width": 640, "height": 480}],
     "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0, "area": 1700.0, "bbox": [10, 18, 81, 24],
                      "segmentation": [[10.5, 20.0, 90.0, 18.0, 91.0, 40.0, 11.0, 42.0]],
                      "attributes": {"text": "CAFE", "illegible": false}}],
     "categories": [{"id": 1, "name": "word"}]}

The transcription is ``text``, ``transcription`` or ``caption``, of the annotation or of its ``attributes``; if no
annotation has one, the set is for detection. Of several polygons the largest is taken, without any the ``bbox``. Masks
(RLE) are reported, and skipped. ``iscrowd`` and a true ``ignore``, ``illegible`` or ``difficult`` mean do not care.
Every category is text.
"""

from collections.abc import Iterator
from typing import Any

from fasttcm.data.annotations import AnnotationError
from fasttcm.data.prepare.picture import Picture, Word
from fasttcm.data.prepare.readers.coco_lists import by_image, read_coco
from fasttcm.data.prepare.readers.common import (
    IGNORE_FLAGS,
    box_corners,
    is_true,
    numbers,
    outline,
    size_of,
    text_of,
    words_of,
)
from fasttcm.data.prepare.readers.image_names import ImageNames
from fasttcm.data.prepare.source import Source
from fasttcm.data.problems import Problems
from fasttcm.geometry import polygon_area
from fasttcm.structures import FloatArray

__all__ = ["read_coco_polygons"]

TEXT_FIELDS = ("text", "transcription", "caption")


def read_coco_polygons(
    source: Source, *, split: str, problems: Problems, annotations: str | None = None
) -> Iterator[Picture]:
    """The pictures of a split, file after file.

    Args:
        source: JSON and pictures.
        split: by the names of files and folders.
        problems: takes what cannot be used.
        annotations: name of the JSON to read, where there are others.

    Raises:
        MissingSplitError: no JSON of the split.
        DataError: broken JSON, or ``annotations`` is of another kind.
    """
    images = ImageNames(source, problems)
    for file, content in read_coco(source, split, problems, chosen=annotations):
        with_texts = any(_text(entry) is not None for entry in content["annotations"] if isinstance(entry, dict))

        def word(entry: Any, place: str, problems: Problems, with_texts: bool = with_texts) -> Word:
            return _word(entry, place, problems, with_texts)

        for number, (entry, listed) in by_image(content, file, problems).items():
            image = images.find(entry.get("file_name"), place=f"{file}: image id {number}", near=file)
            if image is None:
                continue
            words = [one for place, annotation in listed for one in words_of([annotation], word, place, problems)]
            yield Picture(
                image,
                words,
                size=size_of(entry.get("width"), entry.get("height")),
                image_id=number if isinstance(number, int) else None,
            )


def _word(entry: dict[str, Any], place: str, problems: Problems, with_texts: bool) -> Word:
    """One annotation."""
    points = _points(entry)
    flags = {**_attributes(entry), **entry}
    ignore = any(is_true(flags.get(flag)) for flag in ("iscrowd", *IGNORE_FLAGS))
    text = text_of(_text(entry), place, problems) if with_texts else None
    return Word(points, text, ignore=ignore, place=place)


def _attributes(entry: dict[str, Any]) -> dict[str, Any]:
    """``attributes``, empty if there are none."""
    found = entry.get("attributes")
    return found if isinstance(found, dict) else {}


def _text(entry: dict[str, Any]) -> Any:
    """The transcription; ``None`` where there is none."""
    for fields in (entry, _attributes(entry)):
        for name in TEXT_FIELDS:
            if fields.get(name) is not None:
                return fields[name]
    return None


def _points(entry: dict[str, Any]) -> FloatArray:
    """The largest polygon that can be used, or the corners of the box."""
    segmentation = entry.get("segmentation")
    if isinstance(segmentation, dict):
        raise AnnotationError("segmentation is a mask (RLE), polygons are needed (skipped)")
    if not isinstance(segmentation, list) or not segmentation:
        box = numbers(entry.get("bbox"), "bbox")
        if len(box) != 4:
            raise AnnotationError("neither segmentation nor bbox of 4 numbers (skipped)", entry.get("bbox"))
        x, y, width, height = box.tolist()
        return box_corners(x, y, x + width, y + height)
    polygons, errors = [], []
    for part in segmentation if isinstance(segmentation[0], list) else [segmentation]:
        try:
            polygons.append(outline(part, "segmentation"))
        except AnnotationError as error:  # tools leave splinters of two or three points
            errors.append(error)
    if not polygons:
        raise errors[0]
    return max(polygons, key=lambda ring: abs(polygon_area(ring)))
