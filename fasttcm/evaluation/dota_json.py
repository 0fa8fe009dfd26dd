"""DOTA task 1 as plain JSON: one document of annotations, one of detections.

``{"images": [{"id": "P0001", "objects": [{"points": [[x, y], [x, y], [x, y], [x, y]], "class": "ship", "difficult": 0,
"score": 0.9}]}]}``; ``difficult`` (0 when missing) belongs to annotations, ``score`` to detections.
"""

import math
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fasttcm.errors import DataError
from fasttcm.evaluation.dota_files import KNOWN_CLASSES, LARGEST_COORDINATE, Annotations, Detections, GroundTruth
from fasttcm.evaluation.records import load_json

__all__ = ["dota_detections_from_json", "dota_ground_truth_from_json"]

Source = Mapping[str, Any] | str | Path
"""The document, or the path of a JSON file that holds it."""


class _Object(NamedTuple):
    """One checked object; ``value`` is its score, or 1 for a difficult annotation and 0 for any other."""

    image: str
    label: str
    points: list[list[float]]
    value: float


def dota_ground_truth_from_json(source: Source, *, classes: Collection[str] = KNOWN_CLASSES) -> GroundTruth:
    """Read annotations.

    Args:
        source: the document or its path.
        classes: class names allowed besides the published ones.

    Raises:
        DataError: naming image and object: an image id that is missing or occurs twice, an object without four finite
            points, an unknown class.
    """
    images, objects = _read(source, "ground truth", value="difficult", classes=classes)
    return GroundTruth(
        images,
        {
            label: Annotations(
                [one.image for one in some],
                np.array([one.points for one in some], float),
                np.array([one.value != 0 for one in some]),
            )
            for label, some in objects.items()
        },
    )


def dota_detections_from_json(source: Source, *, classes: Collection[str] = KNOWN_CLASSES) -> dict[str, Detections]:
    """Read detections by class; arguments and errors as for annotations, where every object needs a score."""
    _, objects = _read(source, "predictions", value="score", classes=classes)
    return {
        label: Detections(
            [one.image for one in some],
            np.array([one.points for one in some], float),
            np.array([one.value for one in some], float),
        )
        for label, some in objects.items()
    }


def _read(
    source: Source, role: str, *, value: str, classes: Collection[str]
) -> tuple[tuple[str, ...], dict[str, list[_Object]]]:
    """Names of the images, and the objects by class in document order."""
    document = source if isinstance(source, Mapping) else load_json(Path(source), role)
    where = role if isinstance(source, Mapping) else str(source)
    entries = document.get("images") if isinstance(document, Mapping) else None
    if not isinstance(entries, list):
        raise DataError(f'{where}: expected {{"images": [...]}} with one entry per image')
    known = {*KNOWN_CLASSES, *classes}
    images: dict[str, None] = {}
    objects: dict[str, list[_Object]] = {}
    for position, entry in enumerate(entries, 1):
        if not isinstance(entry, Mapping) or not isinstance(entry.get("id"), (int, str)):
            raise DataError(f"{where}: image number {position} has no 'id' (a whole number or a text)")
        image = str(entry["id"])
        if image in images:
            raise DataError(f"{where}: image id {image} occurs twice; give each image one entry")
        images[image] = None
        for one in _objects(entry, image, where, value):
            if one.label not in known:
                raise DataError(
                    f"{where}: image {image}: unknown class {one.label!r}; known are {', '.join(sorted(known))}"
                )
            objects.setdefault(one.label, []).append(one)
    return tuple(images), objects


def _objects(entry: Mapping[str, Any], image: str, where: str, value: str) -> Iterator[_Object]:
    """The objects of one image."""
    listed = entry.get("objects")
    if not isinstance(listed, list):
        raise DataError(f"{where}: image {image} has no list 'objects' (an empty list when there are none)")
    for number, one in enumerate(listed, 1):
        place = f"{where}: image {image}, object {number}"
        try:
            points = np.asarray(one["points"], np.float64)
            figure = float(one["score"] if value == "score" else one.get("difficult", 0))
            label = str(one["class"])
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"{place}: needs 'points' [[x, y] x 4], 'class' and a number {value!r}") from error
        if points.shape != (4, 2):
            raise DataError(f"{place}: 'points' must be four [x, y], got shape {points.shape}")
        if not ((np.abs(points) <= LARGEST_COORDINATE).all() and math.isfinite(figure)):
            raise DataError(f"{place}: a coordinate or {value!r} is not a finite number of reasonable size")
        yield _Object(image, label, points.tolist(), figure)
