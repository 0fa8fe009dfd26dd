"""The text files of DOTA task 1: annotations, detections per class, image lists (SPEC ``evaluation`` section 9.1).

Coordinates are (x, y) pixels of the whole image (of the tile before merging), four corners per object in any
direction of travel.
"""

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fasttcm.errors import DataError

__all__ = [
    "KNOWN_CLASSES",
    "Annotations",
    "Detections",
    "GroundTruth",
    "read_dota_ground_truth",
    "read_task1",
    "write_task1",
]

KNOWN_CLASSES = (
    "plane",
    "baseball-diamond",
    "bridge",
    "ground-track-field",
    "small-vehicle",
    "large-vehicle",
    "ship",
    "tennis-court",
    "basketball-court",
    "storage-tank",
    "soccer-ball-field",
    "roundabout",
    "harbor",
    "swimming-pool",
    "helicopter",
    "container-crane",
    "airport",
    "helipad",
)
"""Classes of DOTA v1.0 (the first 15), v1.5 (16) and v2.0 (18), in the published order."""

CORNERS = 8
"""Numbers of a quadrilateral."""

ANNOTATION_PIECES = CORNERS + 1
"""Pieces of the shortest annotation, corners and class; shorter lines are headers, skipped as published."""

HEADERS = ("imagesource:", "gsd:")
"""How the header lines of a published annotation begin."""

DETECTION_PIECES = CORNERS + 2
"""Image, score and corners."""

LARGEST_COORDINATE = 1e7
"""Pixels; beyond it products of coordinates lose the digits that areas are made of."""

FILE_PREFIX = "Task1_"
"""Detections of a class stand in ``Task1_<class>.txt``."""

FloatArray = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Annotations:
    """Ground truth of one class, n objects in file order.

    Attributes:
        images: (n,) names of the images.
        quads: (n, 4, 2) float64 corners.
        difficult: (n,) bool.
    """

    images: list[str]
    quads: FloatArray
    difficult: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class GroundTruth:
    """Ground truth of a set.

    Attributes:
        images: names in the order of the list.
        classes: annotations by class; a class without objects may be missing.
    """

    images: tuple[str, ...]
    classes: Mapping[str, Annotations]


@dataclass(frozen=True)
class Detections:
    """Detections of one class, n of them in file order.

    Attributes:
        images: (n,) names of the images, or of the tiles before merging.
        quads: (n, 4, 2) float64 corners.
        scores: (n,) float64.
    """

    images: list[str]
    quads: FloatArray
    scores: FloatArray


def read_dota_ground_truth(
    folder: str | Path,
    images: Sequence[str] | str | Path | None = None,
    *,
    classes: Collection[str] = KNOWN_CLASSES,
    strict: bool = False,
) -> GroundTruth:
    """Read ``<image>.txt`` files: ``x1 y1 x2 y2 x3 y3 x4 y4 class [difficult]`` per line.

    Args:
        folder: holds one file per image (the published ``labelTxt``).
        images: names, or the path of a list with one name per line; ``None``: every ``.txt`` file of the folder.
        classes: names that may occur besides :data:`KNOWN_CLASSES`.
        strict: refuse lines of fewer than nine pieces that are no header; the published script skips them.

    Raises:
        DataError: with file and line: a listed image without file or listed twice, a line of more than ten pieces,
            numbers that are none or not finite, an unknown class.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: no folder of annotations")
    names = _image_names(folder, images)
    known = {*KNOWN_CLASSES, *classes}
    found: dict[str, tuple[list[str], list[list[float]], list[bool]]] = {}
    for name in names:
        for place, pieces in _lines(folder / f"{name}.txt"):
            if len(pieces) < ANNOTATION_PIECES:
                if strict and not pieces[0].startswith(HEADERS):
                    raise DataError(f"{place}: expected 8 coordinates, class and difficult, got {len(pieces)} pieces")
                continue
            if len(pieces) > ANNOTATION_PIECES + 1:
                raise DataError(f"{place}: expected 8 coordinates, class and difficult, got {len(pieces)} pieces")
            label = pieces[CORNERS]
            if label not in known:
                raise DataError(f"{place}: unknown class {label!r}; known are {', '.join(sorted(known))}")
            owners, quads, difficult = found.setdefault(label, ([], [], []))
            owners.append(name)
            quads.append(_corners(pieces[:CORNERS], place))
            difficult.append(_number(pieces[-1], place, int) != 0 if len(pieces) > ANNOTATION_PIECES else False)
    classes_read = {
        label: Annotations(owners, np.array(quads).reshape(-1, 4, 2), np.array(difficult, bool))
        for label, (owners, quads, difficult) in found.items()
    }
    return GroundTruth(tuple(names), classes_read)


def read_task1(
    folder: str | Path,
    *,
    classes: Collection[str] = KNOWN_CLASSES,
    check_name: Callable[[str], object] | None = None,
) -> dict[str, Detections]:
    """Read every ``Task1_<class>.txt`` of a folder: ``image score x1 y1 ... y4`` per line, empty lines skipped.

    Args:
        folder: other files in it are left alone.
        classes: class names allowed besides :data:`KNOWN_CLASSES`.
        check_name: raises a :class:`DataError` for an image name that cannot be used; ``None``: any can.

    Raises:
        DataError: with file and line: a line without ten pieces, numbers that are none or not finite, a name that
            ``check_name`` refuses; a file of an unknown class, a folder without such files.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder}: no folder of {FILE_PREFIX}<class>.txt files")
    known = {*KNOWN_CLASSES, *classes}
    result: dict[str, Detections] = {}
    for path in sorted(folder.glob(f"{FILE_PREFIX}*.txt")):
        label = path.stem[len(FILE_PREFIX) :]
        if label not in known:
            raise DataError(f"{path}: unknown class {label!r}; known are {', '.join(sorted(known))}")
        owners, scores, quads = [], [], []
        for place, pieces in _lines(path):
            if len(pieces) != DETECTION_PIECES:
                raise DataError(f"{place}: expected image, score and 8 coordinates, got {len(pieces)} pieces")
            if check_name is not None:
                _check(check_name, pieces[0], place)
            owners.append(pieces[0])
            scores.append(_number(pieces[1], place, float))
            quads.append(_corners(pieces[2:], place))
        result[label] = Detections(owners, np.array(quads, float).reshape(-1, 4, 2), np.array(scores, float))
    if not result:
        raise DataError(f"{folder}: holds no {FILE_PREFIX}<class>.txt file")
    return result


def write_task1(folder: str | Path, detections: Mapping[str, Detections]) -> None:
    """Write ``Task1_<class>.txt`` files, numbers with the fewest digits that read back equal."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for label, found in detections.items():
        lines = task1_lines(found)
        (folder / f"{FILE_PREFIX}{label}.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def task1_lines(detections: Detections) -> Iterator[str]:
    """``image score x1 y1 ... y4`` of each detection."""
    rows = zip(
        detections.images, detections.scores.tolist(), detections.quads.reshape(-1, CORNERS).tolist(), strict=True
    )
    for image, score, corners in rows:
        yield " ".join([image, repr(score), *map(repr, corners)])


def _image_names(folder: Path, images: Sequence[str] | str | Path | None) -> list[str]:
    """Names of the set's images; each once, each with a file."""
    if images is None:
        return sorted(path.stem for path in folder.glob("*.txt"))
    if isinstance(images, (str, Path)):
        listed = [(" ".join(pieces), place) for place, pieces in _lines(Path(images))]
    else:
        listed = [(name, "image list") for name in images]
    seen: set[str] = set()
    for name, place in listed:
        if name in seen:
            raise DataError(f"{place}: image {name!r} is listed twice")
        if Path(name).name != name or not (folder / f"{name}.txt").is_file():
            raise DataError(f"{place}: image {name!r} has no annotation {name}.txt in {folder}")
        seen.add(name)
    return [name for name, _ in listed]


def _lines(path: Path) -> Iterable[tuple[str, list[str]]]:
    """(place for messages, pieces between white space) of every line that is not empty."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is no UTF-8 text ({error})") from error
    for number, line in enumerate(text.split("\n"), 1):
        if pieces := line.split():
            yield f"{path}, line {number}", pieces


def _check(check_name: Callable[[str], object], name: str, place: str) -> None:
    """Run a check; its message gets the place in front."""
    try:
        check_name(name)
    except DataError as error:
        raise DataError(f"{place}: {error}") from error


def _corners(pieces: Sequence[str], place: str) -> list[float]:
    """Eight coordinates of reasonable size."""
    corners = [_number(piece, place, float) for piece in pieces]
    if max(map(abs, corners)) > LARGEST_COORDINATE:
        raise DataError(f"{place}: a coordinate is beyond {LARGEST_COORDINATE:g} pixels")
    return corners


def _number(piece: str, place: str, kind: Callable[[str], float]) -> float:
    """A finite number."""
    try:
        value = kind(piece)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{place}: {piece!r} is no finite {'whole ' if kind is int else ''}number")
    return value
