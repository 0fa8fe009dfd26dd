r"""ReCTS 2019: one JSON for each picture, with the lines of a signboard and their characters.

``ReCTS/train/img/train_ReCTS_000001.jpg`` with ``ReCTS/train/gt_unicode/train_ReCTS_000001.json`` (or ``gt/``):

    {"chars": [{"points": [10, 20, 40, 20, 40, 50, 10, 50], "transcription": "\u997a", "ignore": 0}],
     "lines": [{"points": [10, 20, 90, 20, 90, 50, 10, 50], "transcription": "\u997a\u5b50", "ignore": 0}]}

A line is a word here; characters are not needed. ``ignore`` 1 means do not care. The annotations of the test set were
never published.
"""

from collections.abc import Iterator
from typing import Any

from fasttcm.data.annotations import AnnotationError
from fasttcm.data.prepare.picture import Picture, Word
from fasttcm.data.prepare.readers.common import outline, read_json, text_of, words_of
from fasttcm.data.prepare.readers.image_names import ImageNames
from fasttcm.data.prepare.source import MissingSplitError, Source
from fasttcm.data.problems import Problems
from fasttcm.errors import DataError

__all__ = ["read_rects"]

UNICODE_FOLDER = "/gt_unicode/"
"""The archive has every annotation twice; this folder's are to be preferred."""


def read_rects(source: Source, *, split: str, problems: Problems) -> Iterator[Picture]:
    """The training pictures, by name."""
    files: dict[str, str] = {}
    for name in source.find("train_ReCTS_*.json"):
        stem = name.rpartition("/")[2]
        if stem not in files or UNICODE_FOLDER in f"/{name}":
            files[stem] = name
    if not files:
        raise MissingSplitError("expected gt_unicode/train_ReCTS_<number>.json and img/train_ReCTS_<number>.jpg")
    images = ImageNames(source, problems)
    for stem, name in sorted(files.items()):
        image = images.find(stem.removesuffix(".json"), place=name, near=name)
        if image is None:
            continue
        try:
            content = read_json(source, name, problems)
            lines = content["lines"] if isinstance(content, dict) else None
        except KeyError:
            lines = None
        except DataError as error:
            problems.add("annotation file unusable (image skipped)", name, str(error))
            continue
        yield Picture(image, words_of(lines, _word, name, problems, unit="line"))


def _word(entry: Any, place: str, problems: Problems) -> Word:
    """One entry of ``lines``."""
    if not isinstance(entry, dict):
        raise AnnotationError("line is not an object (skipped)", entry)
    points = outline(entry.get("points"))
    if len(points) != 4:
        raise AnnotationError("a line of ReCTS has 4 corners (skipped)", entry["points"])
    ignore = entry.get("ignore") not in (0, None, False, "0")
    return Word(points, text_of(entry.get("transcription"), place, problems), ignore=ignore, place=place)
