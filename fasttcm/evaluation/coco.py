"""COCO-style JSON, with AdelaiDet's fields for text, turned into the scorer's document.

Ground truth: ``{"images": [{"id", "width", "height", "file_name"}], "annotations": [{"image_id", ...}]}``. Results:
the same, or AdelaiDet's ``text_results.json``, a list of ``{"image_id", "polys", "rec", "score"}``.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fasttcm.charset import Charset
from fasttcm.errors import DataError
from fasttcm.geometry import polygon_area, sample_sides
from fasttcm.structures import ILLEGIBLE

__all__ = ["from_coco", "from_records"]

BEZIER_NUMBERS = 16
"""Two curves of four control points (x, y)."""

_ASCII = Charset.named("ascii")
"""What the numbers of ``rec`` mean in the published files."""


def from_coco(content: Mapping[str, Any], where: str, *, text_required: bool) -> dict[str, Any]:
    """Convert ``images`` and ``annotations``.

    The outline is ``polys``, else ``bezier_pts`` (sampled), else ``segmentation`` (its largest part), else ``bbox``.
    The transcription is ``text``, else ``rec`` (a text or classes of printable ASCII); ``iscrowd``, ``ignore`` and,
    where other annotations of the file have a transcription, a missing or empty one mean don't care.

    Args:
        content: the parsed file.
        where: its name, for messages.
        text_required: ground truth: apply the don't-care rules.

    Raises:
        DataError: an image without id, an annotation without outline or of an unknown image.
    """
    entries = content.get("images")
    if not isinstance(entries, list):
        raise DataError(f"{where}: 'annotations' need a list 'images' beside them")
    images: dict[str, dict[str, Any]] = {}
    for number, entry in enumerate(entries, 1):
        if not isinstance(entry, Mapping) or not isinstance(entry.get("id"), (int, str)):
            raise DataError(f"{where}: image number {number} has no 'id' (a whole number or a text)")
        if str(entry["id"]) in images:
            raise DataError(f"{where}: image id {entry['id']} occurs twice; give each image one entry")
        kept = {key: entry[key] for key in ("id", "file_name", "width", "height") if key in entry}
        images[str(entry["id"])] = {**kept, "words": []}
    annotations = content["annotations"]
    without_texts = not any(isinstance(a, Mapping) and ("text" in a or "rec" in a) for a in annotations)
    for number, entry in enumerate(annotations, 1):
        place = f"{where}: annotation number {number}"
        key = str(_image_id(entry, place))
        if key not in images:
            raise DataError(f"{place}: image_id {key} is not among the images")
        text = _text(entry, place)
        if text_required:
            ignored = entry.get("iscrowd") or entry.get("ignore") or not (text or without_texts)
            text = ILLEGIBLE if ignored else text
        images[key]["words"].append(_word(entry, text, place))
    return {"images": list(images.values())}


def from_records(records: Sequence[Any], where: str) -> dict[str, Any]:
    """Convert a list of results; images come in the order of their first record, records keep their order.

    Raises:
        DataError: a record without image id or outline.
    """
    images: dict[str, dict[str, Any]] = {}
    for number, entry in enumerate(records, 1):
        place = f"{where}: record number {number}"
        image_id = _image_id(entry, place)
        image = images.setdefault(str(image_id), {"id": image_id, "words": []})
        image["words"].append(_word(entry, _text(entry, place), place))
    return {"images": list(images.values())}


def _image_id(entry: Any, place: str) -> int | str:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("image_id"), (int, str)):
        raise DataError(f"{place} has no 'image_id' (a whole number or a text)")
    return entry["image_id"]


def _word(entry: Mapping[str, Any], text: str, place: str) -> dict[str, Any]:
    """One word of the document; the scorer checks score and coordinates."""
    word: dict[str, Any] = {"points": _outline(entry, place), "text": text}
    if "score" in entry:
        word["score"] = entry["score"]
    return word


def _text(entry: Mapping[str, Any], place: str) -> str:
    """The transcription, empty when there is none."""
    value = entry.get("text", entry.get("rec"))
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, list) and all(type(c) is int and 0 <= c <= _ASCII.end for c in value):
        return _ASCII.decode([c for c in value if c != _ASCII.end])
    raise DataError(f"{place}: 'rec' is neither a text nor classes 0..{_ASCII.end} of printable ASCII")


def _outline(entry: Mapping[str, Any], place: str) -> list[list[float]]:
    """Points [[x, y], ...] of the first field that has some."""
    if entry.get("polys"):
        return _largest(entry["polys"], "polys", place)
    if entry.get("bezier_pts"):
        numbers = _numbers(entry["bezier_pts"], "bezier_pts", place)
        if len(numbers) != BEZIER_NUMBERS:
            raise DataError(f"{place}: 'bezier_pts' needs {BEZIER_NUMBERS} numbers, got {len(numbers)}")
        return sample_sides(numbers).tolist()
    if entry.get("segmentation"):
        return _largest(entry["segmentation"], "segmentation", place)
    if entry.get("bbox"):
        numbers = _numbers(entry["bbox"], "bbox", place)
        if len(numbers) != 4:
            raise DataError(f"{place}: 'bbox' needs x, y, width and height, got {len(numbers)} numbers")
        x, y, w, h = numbers.tolist()
        return [[x, y], [x + w, y], [x + w, y + h], [x, y + h]]
    raise DataError(f"{place}: no outline; give 'polys', 'bezier_pts', 'segmentation' or 'bbox'")


def _largest(value: Any, field: str, place: str) -> list[list[float]]:
    """[[x, y], ...] as it is, else the largest part of a flat list or a list of flat lists."""
    nested = isinstance(value, list) and isinstance(value[0], list)
    if nested and all(isinstance(point, list) and len(point) == 2 for point in value):
        return value
    rings = [_numbers(part, field, place) for part in (value if nested else [value])]
    if any(len(ring) % 2 for ring in rings):
        raise DataError(f"{place}: {field!r} has an odd number of coordinates")
    polygons = [ring.reshape(-1, 2) for ring in rings]
    return max(polygons, key=lambda ring: abs(polygon_area(ring)) if len(ring) > 2 else 0.0).tolist()


def _numbers(value: Any, field: str, place: str) -> npt.NDArray[np.float64]:
    try:
        return np.asarray(value, np.float64).reshape(-1)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{place}: {field!r} must be a list of numbers") from error
