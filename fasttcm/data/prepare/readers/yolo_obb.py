"""YOLO-OBB (Ultralytics): a label file for each picture, corners as shares of its width and height.

``data.yaml``, ``images/train/0001.jpg``, ``labels/train/0001.txt`` (or ``train/images/``, ``train/labels/``):

    # data.yaml                     # labels/train/0001.txt
    path: .                         0 0.780811 0.743961 0.782371 0.74686 0.777691 0.752174 0.776131 0.749758
    train: images/train             1 0.1 0.1 0.4 0.1 0.4 0.2 0.1 0.2
    val: images/val
    names: {0: plane, 1: ship}

Outlines of more than four points (YOLO segments) are taken, too. There are no transcriptions: the set is for detection.
A class called ``text``, ``word`` or ``line`` is our class text; without ``data.yaml`` every class is.
"""

from collections.abc import Iterator

import numpy as np
import yaml

from fasttcm.data.annotations import AnnotationError
from fasttcm.data.images import image_size
from fasttcm.data.prepare.picture import Picture, Word
from fasttcm.data.prepare.readers.common import numbers, outline, split_of
from fasttcm.data.prepare.source import MissingSplitError, Source, decode_text, is_image
from fasttcm.data.problems import Problems
from fasttcm.errors import DataError, ImageError

__all__ = ["read_yolo_obb", "yolo_classes"]

TEXT = "text"
TEXT_NAMES = (TEXT, "word", "line")
"""Names of classes that are text."""

LARGEST_SHARE = 2.0
"""Corners may leave the picture a little; beyond this they are not shares but pixels."""


def read_yolo_obb(source: Source, *, split: str, problems: Problems) -> Iterator[Picture]:
    """The pictures of a split, by name; one without a label file has no objects, as in YOLO.

    Raises:
        MissingSplitError: no picture with a folder of labels in the split.
        DataError: ``data.yaml`` cannot be read.
    """
    names = [name for name in source.names() if is_image(name) and split_of(name, folders_only=True) == split]
    labels = {name: _label_file(name) for name in names}
    labelled = {name for name in source.names() if name.lower().endswith(".txt")}
    if not labelled.intersection(labels.values()):
        raise MissingSplitError(f"no images/{split or '<name>.jpg'} with labels/{split or '<name>.txt'}")
    classes = yolo_classes(source)
    for name, label in labels.items():
        try:
            path = source.path(name)
            height, width = image_size(path if path is not None else source.read(name))
        except (ImageError, DataError) as error:
            problems.add("image cannot be read (skipped)", name, str(error))
            continue
        words = _words(source, label, (width, height), classes, problems) if label in labelled else []
        yield Picture(name, words, size=(width, height))


def yolo_classes(source: Source) -> tuple[str, ...]:
    """Names of the classes by number, from ``data.yaml``; empty without one.

    Raises:
        DataError: several such files with names, broken YAML, or numbers that are not 0, 1, 2, ...
    """
    found: dict[str, tuple[str, ...]] = {}
    for file in source.find("*.yaml") + source.find("*.yml"):
        try:
            content = yaml.safe_load(decode_text(source.read(file)))
        except (yaml.YAMLError, RecursionError, ValueError) as error:
            raise DataError(f"{file}: not valid YAML: {' '.join(str(error).split())}") from error
        names = content.get("names") if isinstance(content, dict) else None
        if names is None:
            continue
        if isinstance(names, dict):
            names = [names.get(number) for number in range(len(names))]
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise DataError(f'{file}: "names" must be a list of names, or have the numbers 0, 1, 2, ...')
        found[file] = tuple(TEXT if name.lower() in TEXT_NAMES else name for name in names)
    if len(set(found.values())) > 1:
        raise DataError(f"different class names in {', '.join(found)}; leave one file")
    return next(iter(found.values()), ())


def _label_file(image: str) -> str:
    """The label file of an image: the last folder ``images`` becomes ``labels``."""
    stem = image.rpartition(".")[0]
    head, folder, tail = f"/{stem}".rpartition("/images/")
    return f"{head}/labels/{tail}.txt".removeprefix("/") if folder else f"{stem}.txt"


def _words(
    source: Source, label: str, size: tuple[int, int], classes: tuple[str, ...], problems: Problems
) -> list[Word]:
    """The objects of a label file."""
    words = []
    for number, line in enumerate(decode_text(source.read(label)).split("\n"), 1):
        place = f"{label}, line {number}"
        try:
            if line.strip():
                words.append(_word(line.split(), size, classes, place))
        except AnnotationError as error:
            problems.add(error.reason, place, error.detail)
    return words


def _word(pieces: list[str], size: tuple[int, int], classes: tuple[str, ...], place: str) -> Word:
    """One line."""
    number = numbers(pieces[:1], "class")[0]
    if number < 0 or number != int(number) or (classes and number >= len(classes)):
        raise AnnotationError("class is none of the names (skipped)", pieces[0])
    if len(pieces) == 5:
        raise AnnotationError("5 numbers are an upright YOLO box, corners are needed (skipped)", " ".join(pieces))
    shares = outline(pieces[1:], "line")
    if np.abs(shares).max() > LARGEST_SHARE:
        raise AnnotationError("coordinates are no shares of width and height (skipped)", " ".join(pieces))
    return Word(shares * size, None, label=classes[int(number)] if classes else TEXT, place=place)
