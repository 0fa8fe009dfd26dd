"""Formats with one ground-truth file for each image: which files belong together, and their lines."""

import os
import re
from collections.abc import Callable, Iterator

from fasttcm.data.annotations import AnnotationError
from fasttcm.data.prepare.picture import Word
from fasttcm.data.prepare.readers.common import numbers, split_of
from fasttcm.data.prepare.source import MissingSplitError, Source, decode_text, is_image
from fasttcm.data.problems import Problems
from fasttcm.errors import DataError
from fasttcm.structures import ILLEGIBLE, FloatArray

__all__ = [
    "LineParser",
    "coordinates",
    "files_of_split",
    "images_of_split",
    "last_number",
    "pairs_of",
    "read_lines",
    "read_or_report",
    "stem_of",
    "transcription",
]

LineParser = Callable[[str, str, Problems], Word]
"""Line, its place (``file:number``), notes -> word; an AnnotationError has the line skipped."""


def stem_of(name: str) -> str:
    """The last part of a name in lower case, without its suffix."""
    return os.path.splitext(name.rpartition("/")[2].lower())[0]


def last_number(name: str) -> int | None:
    """The last number in a file's name (12 of ``train/gt_img_12.txt``)."""
    digits = re.findall("[0-9]+", stem_of(name))
    return int(digits[-1]) if digits and len(digits[-1]) <= 15 else None


def pairs_of(
    files: list[str],
    images: list[str],
    *,
    problems: Problems,
    key: Callable[[str], str] = stem_of,
    image_key: Callable[[str], str] = stem_of,
) -> Iterator[tuple[str, str]]:
    """Ground-truth files and their images, by number.

    Of several files (or images) with the same key the first by name counts. Images in folders of which no image has a
    file belong to something else (cropped words, masks) and are passed over.

    Args:
        files: the ground-truth files of the split.
        images: the images of the split.
        problems: takes files without image and images without file.
        key: what a ground-truth file and its image have in common, from the name of the file.
        image_key: the same from the name of the image.

    Raises:
        MissingSplitError: there are no files, or no images.
    """
    by_key: dict[str, str] = {}
    for file in sorted(files):
        by_key.setdefault(key(file), file)
    image_of: dict[str, str] = {}
    for image in sorted(images):
        image_of.setdefault(image_key(image), image)
    if not by_key or not image_of:
        raise MissingSplitError(f"no {'images' if by_key else 'ground-truth files'}")
    folders = {_folder(image_of[name]) for name in by_key if name in image_of}
    for name in sorted(by_key, key=_natural):
        if name in image_of:
            yield by_key[name], image_of[name]
        else:
            problems.add("image missing in the source (skipped with its words)", by_key[name])
    for name in sorted(image_of.keys() - by_key.keys(), key=_natural):
        if _folder(image_of[name]) in folders:
            problems.add("image without a ground-truth file (skipped)", image_of[name])


def files_of_split(source: Source, pattern: str, split: str) -> list[str]:
    """Files that match a pattern and belong to a split by the words in their folders' names."""
    return [name for name in source.find(pattern) if split_of(name) == split]


def images_of_split(source: Source, split: str) -> list[str]:
    """Images that belong to a split by the words in their folders' names."""
    return [name for name in source.names() if is_image(name) and split_of(name) == split]


def read_or_report(source: Source, name: str, problems: Problems) -> bytes | None:
    """The bytes of a ground-truth file; ``None``, and a problem, for one that cannot be read."""
    try:
        return source.read(name)
    except DataError as error:
        problems.add("ground-truth file cannot be read (image skipped)", name, str(error))
        return None


def read_lines(source: Source, name: str, parse: LineParser, problems: Problems) -> list[Word] | None:
    """The words of a file with a line for each; empty lines do not count.

    Returns:
        The usable words (what is wrong with the others is in ``problems``, with file and line), or ``None`` for a file
        that cannot be read.
    """
    data = read_or_report(source, name, problems)
    if data is None:
        return None
    words = []
    for number, line in enumerate(decode_text(data).split("\n"), 1):
        if not line.strip():
            continue
        place = f"{name}:{number}"
        try:
            words.append(parse(line, place, problems))
        except AnnotationError as error:
            problems.add(error.reason, place, error.detail)
    return words


def coordinates(fields: list[str], count: int) -> FloatArray:
    """The first ``count`` fields as float64 numbers.

    Raises:
        AnnotationError: there are fewer, or something in them is no finite number.
    """
    if len(fields) < count:
        raise AnnotationError(f"fewer than {count} numbers (skipped)", ",".join(fields))
    return numbers([field.strip() for field in fields[:count]], "the line")


def transcription(raw: str, place: str, problems: Problems) -> str:
    r"""A transcription as the benchmarks' scripts read it: without the quotes around it, ``\"`` and ``\\`` undone.

    A missing one is illegible, and a problem.
    """
    text = raw.strip()
    if len(text) >= 2 and text[0] == text[-1] == '"':
        text = text[1:-1].replace('\\"', '"').replace("\\\\", "\\").strip()
    if not text:
        problems.add("transcription missing (taken as illegible)", place)
    return text or ILLEGIBLE


def _folder(name: str) -> str:
    """The folders of a name."""
    return name.rpartition("/")[0]


def _natural(name: str) -> tuple[list[int], str]:
    """Sort key: the numbers in a name, then the name."""
    return [int(digits) for digits in re.findall("[0-9]{1,15}", name)], name
