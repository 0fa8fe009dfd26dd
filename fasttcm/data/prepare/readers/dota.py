"""DOTA v1.0 and v1.5: aerial pictures with rotated boxes of 15 or 16 classes, cut into tiles.

``train/images/P0000.png`` with ``train/labelTxt/P0000.txt`` (v1.0) or
``train/labelTxt-v1.5/DOTA-v1.5_train/P0000.txt``, likewise ``val``; ``test/images/`` has no annotations. A label file:

    imagesource:GoogleEarth
    gsd:0.146343590398
    2753 2408 2861 2385 2888 2468 2805 2502 plane 0
    3445.0 3391.0 3484.0 3409.0 3478.0 3422.0 3437.0 3402.0 large-vehicle 1

Corners run clockwise from the object's front-left one; the last number is the difficulty, 1 becomes a do not care.
"""

import contextlib
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from fasttcm.data.annotations import AnnotationError
from fasttcm.data.images import read_image
from fasttcm.data.prepare.picture import Picture, Word
from fasttcm.data.prepare.readers.common import outline, split_of
from fasttcm.data.prepare.readers.dota_tiles import cut_tile, objects_in_tiles, tile_name, tile_windows
from fasttcm.data.prepare.source import MissingSplitError, Source, decode_text, is_image
from fasttcm.data.problems import Problems
from fasttcm.errors import DataError, ImageError

__all__ = ["DOTA15_CLASSES", "DOTA_CLASSES", "read_dota", "read_dota15"]

DOTA_CLASSES = (
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
)
"""Classes of v1.0 in the published order."""

DOTA15_CLASSES = (*DOTA_CLASSES, "container-crane")
"""Classes of v1.5."""

HEADERS = ("imagesource:", "gsd:")

CORNERS = 8
"""Numbers of a line before the class."""

TILE_SIZE = 1024
TILE_OVERLAP = 200
"""Pixels, as published."""

CUT_DIFFICULTY = 2
"""What the published splitter writes as difficulty of an object that a tile cuts."""

MAX_SCENE_PIXELS = 450_000_000
"""Larger pictures are refused; the largest published ones have 20 000 x 20 000 pixels, 1.2 GB once decoded."""


def read_dota(
    source: Source,
    *,
    split: str,
    problems: Problems,
    tile_size: int = TILE_SIZE,
    tile_overlap: int = TILE_OVERLAP,
    no_tiles: bool = False,
) -> Iterator[Picture]:
    """The pictures of v1.0, by name, cut into tiles.

    Args:
        source: as published, pictures and ``labelTxt``.
        split: ``train``, ``val`` or ``test``.
        problems: takes lines, pictures and label files that cannot be used.
        tile_size: side of a tile in pixels.
        tile_overlap: pixels that neighbouring tiles share.
        no_tiles: leave the pictures whole.

    Raises:
        MissingSplitError: no picture of the split.
        DataError: a tile size below 1 or an overlap that is not smaller.
    """
    return _pictures(source, split, problems, DOTA_CLASSES, False, tile_size, tile_overlap, no_tiles)


def read_dota15(
    source: Source,
    *,
    split: str,
    problems: Problems,
    tile_size: int = TILE_SIZE,
    tile_overlap: int = TILE_OVERLAP,
    no_tiles: bool = False,
) -> Iterator[Picture]:
    """The same pictures with the annotations of v1.5; arguments and errors as :func:`read_dota`."""
    return _pictures(source, split, problems, DOTA15_CLASSES, True, tile_size, tile_overlap, no_tiles)


def _pictures(
    source: Source,
    split: str,
    problems: Problems,
    classes: tuple[str, ...],
    newer: bool,
    tile_size: int,
    tile_overlap: int,
    no_tiles: bool,
) -> Iterator[Picture]:
    """Pictures or tiles of one split."""
    if not 0 <= tile_overlap < tile_size:
        raise DataError(f"tiles of {tile_size} pixels cannot overlap by {tile_overlap}; the overlap must be smaller")
    scenes = [name for name in source.names() if is_image(name) and split_of(name) == split]
    if not scenes:
        raise MissingSplitError(f"expected {split}/images/P<number>.png and {split}/labelTxt/P<number>.txt")
    labels = _label_files(source, split, newer=newer)
    for name in scenes:
        scene = name.rpartition("/")[2].rpartition(".")[0]
        if scene in labels:
            words = _words(source, labels[scene], classes, problems)
        elif split == "test":
            words = []
        else:
            problems.add("no annotation file (image skipped)", name)
            continue
        if no_tiles:
            yield Picture(name, words)
        elif "__" in scene:
            problems.add("picture is called like a tile, so its tiles could not be merged (skipped)", name)
        else:
            yield from _tiles(source, name, scene, words, tile_size, tile_overlap, problems)


def _label_files(source: Source, split: str, *, newer: bool) -> dict[str, str]:
    """Scene -> label file of a split: of v1.5 where the source has both versions, or the others."""
    found = []
    for name in source.find("*labelTxt*/*.txt") + source.find("DOTA-v1.*/*.txt"):
        upright = "hbb" in name.lower() or "reclabel" in name.lower()  # the same objects with upright boxes
        if not upright and split_of(name) == split:
            found.append(name)
    of_newer = [name for name in found if "v1.5" in name.lower()]
    chosen = (of_newer or found) if newer else [name for name in found if name not in of_newer]
    return {name.rpartition("/")[2].rpartition(".")[0]: name for name in chosen}


def _words(source: Source, name: str, classes: tuple[str, ...], problems: Problems) -> list[Word]:
    """The objects of a label file."""
    try:
        text = decode_text(source.read(name))
    except DataError as error:
        problems.add("annotation file unreadable (image kept without objects)", name, str(error))
        return []
    words = []
    for number, line in enumerate(text.splitlines(), 1):
        pieces = line.split()
        if not pieces or pieces[0].lower().startswith(HEADERS):
            continue
        place = f"{name}, line {number}"
        try:
            words.append(_word(pieces, classes, place))
        except AnnotationError as error:
            problems.add(error.reason, place, error.detail)
    return words


def _word(pieces: list[str], classes: tuple[str, ...], place: str) -> Word:
    """One line."""
    if len(pieces) not in (CORNERS + 1, CORNERS + 2):
        raise AnnotationError("expected 8 coordinates, class and difficulty (skipped)", " ".join(pieces))
    points, label, difficulty = outline(pieces[:CORNERS], "line"), pieces[CORNERS], pieces[CORNERS + 1 :]
    if label not in classes:
        raise AnnotationError("unknown class (skipped)", label)
    if difficulty and difficulty[0] not in ("0", "1", "2"):
        raise AnnotationError("difficulty is not 0, 1 or 2 (skipped)", difficulty[0])
    ignore = bool(difficulty) and difficulty[0] != "0"
    return Word(points, None, ignore=ignore, label=label, ordered=True, place=place)


def _tiles(
    source: Source,
    name: str,
    scene: str,
    words: list[Word],
    tile_size: int,
    tile_overlap: int,
    problems: Problems,
) -> Iterator[Picture]:
    """The tiles of one picture with the objects that lie in them, shifted and not clipped."""
    try:
        pixels = _read_scene(source, name)
    except (ImageError, DataError) as error:
        problems.add("image unreadable (skipped)", name, str(error))
        return
    height, width = pixels.shape[:2]
    windows = tile_windows(width, height, size=tile_size, overlap=tile_overlap)
    quads = np.array([word.points for word in words]).reshape(-1, 4, 2)
    kept, cut = objects_in_tiles(quads, windows)
    for row in np.flatnonzero(~kept.any(1)):
        problems.add("object lies in no tile (skipped)", words[row].place)
    for window, inside, truncated in zip(windows, kept.T, cut.T, strict=True):
        rows = np.flatnonzero(inside)
        difficulty = [CUT_DIFFICULTY if truncated[row] else int(words[row].ignore) for row in rows]
        extra: dict[str, Any] = {"scene": scene, "offset": window[:2].tolist(), "difficulty": difficulty}
        moved = [_moved(words[row], window) for row in rows]
        tile = cut_tile(pixels, window)
        yield Picture(f"{tile_name(scene, window)}.png", moved, pixels=tile, extra=extra)


def _moved(word: Word, window: npt.NDArray[np.int64]) -> Word:
    """The word in the coordinates of a tile."""
    return Word(
        word.points - window[:2], word.text, ignore=word.ignore, label=word.label, ordered=True, place=word.place
    )


def _read_scene(source: Source, name: str) -> npt.NDArray[np.uint8]:
    """Decode a picture that may be larger than others are allowed to be."""
    path = source.path(name)
    with _pillow_limit(MAX_SCENE_PIXELS):
        return read_image(
            path if path is not None else BytesIO(source.read(name)), max_pixels=MAX_SCENE_PIXELS, apply_exif=False
        )


@contextlib.contextmanager
def _pillow_limit(pixels: int) -> Iterator[None]:
    """Raise Pillow's own limit for a while, which is for the whole process."""
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = pixels
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before
