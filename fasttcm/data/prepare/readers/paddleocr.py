"""PaddleOCR's label file (PPOCRLabel): a line for each picture, its path and, after a tab, its words as JSON.

``Label.txt``, ``train_icdar2015_label.txt``, ``test_icdar2015_label.txt`` beside the folder of the pictures:

    images/img_1.jpg	[{"transcription": "CAFE", "points": [[10, 20], [90, 18], [91, 40], [11, 42]]}, ...]
    images/img_2.jpg	[{"transcription": "###", "points": [[...], ...], "difficult": false}]

Corners run clockwise from the upper left one, and there may be more than four. ``###`` and ``*`` mean do not care, as
does a true ``difficult``.
"""

from collections.abc import Iterator
from typing import Any

from fasttcm.data.annotations import AnnotationError
from fasttcm.data.prepare.picture import Picture, Word
from fasttcm.data.prepare.readers.common import (
    IGNORE_FLAGS,
    annotation_files,
    is_true,
    outline,
    parse_json,
    text_of,
    words_of,
)
from fasttcm.data.prepare.readers.image_names import ImageNames
from fasttcm.data.prepare.source import MissingSplitError, Source, decode_text
from fasttcm.data.problems import Problems
from fasttcm.errors import DataError

__all__ = ["read_paddleocr"]

ILLEGIBLE_TEXTS = ("*", "###")


def read_paddleocr(
    source: Source, *, split: str, problems: Problems, annotations: str | None = None
) -> Iterator[Picture]:
    """The pictures of a split, file after file.

    Args:
        source: label files and pictures.
        split: by the names of the label files and their folders.
        problems: takes what cannot be used.
        annotations: name of the label file to read, where there are others.

    Raises:
        MissingSplitError: no label file of the split. Text files whose first line is none of a label file
            (``rec_gt.txt``, a dictionary) do not count.
    """
    files = annotation_files(source, "*.txt", split, chosen=annotations)
    texts = {name: decode_text(source.read(name)) for name in files}
    texts = {name: text for name, text in texts.items() if "\t[" in text.lstrip("\n").partition("\n")[0]}
    if not texts:
        raise MissingSplitError(f"no label file of lines <image><tab>[...] among {', '.join(files)}")
    images = ImageNames(source, problems)
    for file, text in texts.items():
        for number, line in enumerate(text.split("\n"), 1):
            place = f"{file}, line {number}"
            if not line.strip():
                continue
            name, tab, listed = line.partition("\t")
            if not tab:
                problems.add("expected an image and, after a tab, its words (line skipped)", place, line[:80])
                continue
            try:
                entries = parse_json(listed, place, problems)
            except DataError as error:
                problems.add("words are not JSON (line skipped)", place, str(error).removeprefix(f"{place}: "))
                continue
            image = images.find(name.strip(), place=place, near=file)
            if image is not None:
                yield Picture(image, words_of(entries, _word, place, problems))


def _word(entry: Any, place: str, problems: Problems) -> Word:
    """One word of a line."""
    if not isinstance(entry, dict):
        raise AnnotationError("word is not an object (skipped)", entry)
    text = text_of(entry.get("transcription"), place, problems)
    ignore = text in ILLEGIBLE_TEXTS or any(is_true(entry.get(flag)) for flag in IGNORE_FLAGS)
    return Word(outline(entry.get("points")), text, ignore=ignore, ordered=True, place=place)
