"""TextOCR and COCO-Text v2: one JSON with objects ``imgs`` and ``anns`` by id.

``TextOCR_0.1_train.json``, ``TextOCR_0.1_val.json`` (pictures of Open Images, ``train_images/<id>.jpg``):

    {"imgs": {"a4ea7": {"id": "a4ea7", "width": 1024, "height": 683, "set": "train", "file_name": "train/a4ea7.jpg"}},
     "anns": {"a4ea7_1": {"id": "a4ea7_1", "image_id": "a4ea7", "bbox": [525.8, 3.4, 197.6, 33.9],
                          "utf8_string": "Performance", "points": [525.8, 3.4, 723.4, 7.3, 722.7, 37.3, 525.2, 33.5],
                          "area": 6707.7}},
     "imgToAnns": {"a4ea7": ["a4ea7_1"]}}

where the text ``.`` means illegible; ``cocotext.v2.json`` (pictures of MS COCO, ``train2014/``):

    {"imgs": {"217925": {"id": 217925, "set": "train", "width": 640, "height": 480,
                         "file_name": "COCO_train2014_000000217925.jpg"}},
     "anns": {"45346": {"id": 45346, "image_id": 217925,
                        "mask": [468.9, 286.7, 468.9, 295.2, 493.9, 295.3, 493.7, 286.8], "class": "machine printed",
                        "legibility": "legible", "language": "english", "utf8_string": "New",
                        "bbox": [468.9, 286.7, 25.0, 8.6], "area": 206.1}},
     "imgToAnns": {"217925": [45346]}}
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

from fasttcm.data.annotations import AnnotationError
from fasttcm.data.prepare.picture import Picture, Word
from fasttcm.data.prepare.readers.common import outline, read_json, size_of, text_of, words_of
from fasttcm.data.prepare.readers.image_names import ImageNames
from fasttcm.data.prepare.source import MissingSplitError, Source
from fasttcm.data.problems import Problems
from fasttcm.errors import DataError

__all__ = ["read_cocotext", "read_textocr"]

TEXTOCR_ILLEGIBLE = "."
"""What annotators of TextOCR typed for a word they could not read."""


def read_textocr(source: Source, *, split: str, problems: Problems) -> Iterator[Picture]:
    """The pictures of ``train`` or ``val``."""
    return _pictures(source, f"TextOCR_*_{split}.json", split, _textocr_word, problems)


def read_cocotext(source: Source, *, split: str, problems: Problems) -> Iterator[Picture]:
    """The pictures of ``train`` or ``val``, those without text included."""
    return _pictures(source, "cocotext*.json", split, _cocotext_word, problems)


def _pictures(
    source: Source,
    pattern: str,
    split: str,
    parse: Callable[[Any, str, Problems], Word],
    problems: Problems,
) -> Iterator[Picture]:
    """The pictures of one split, in file order."""
    files = source.find(pattern)
    if not files:
        raise MissingSplitError(f"expected a file {pattern}")
    if len(files) > 1:
        raise DataError(f"expected one file {pattern}, found {', '.join(files)}; leave one")
    content = read_json(source, files[0], problems)
    if not isinstance(content, dict) or not all(isinstance(content.get(key), dict) for key in ("imgs", "anns")):
        raise DataError(f'{files[0]}: expected an object with the objects "imgs" and "anns"')
    entries = _by_image(content["anns"], content["imgs"], files[0], problems)
    images = ImageNames(source, problems)
    chosen = [(key, entry) for key, entry in content["imgs"].items() if _is_of(entry, split)]
    if not chosen:
        raise MissingSplitError(f"{files[0]}: no image of the set {split!r}")
    for key, entry in chosen:
        place = f"{files[0]}: image {key}"
        image = images.find(entry.get("file_name"), place=place, near=files[0])
        if image is None:
            continue
        words = []
        for name, annotation in entries[key]:
            words += words_of([annotation], parse, f"{files[0]}: annotation {name}", problems)
        size = size_of(entry.get("width"), entry.get("height"))
        yield Picture(image, words, size=size, image_id=int(key) if key.isdecimal() else None)


def _is_of(entry: Any, split: str) -> bool:
    """Whether an image belongs to a split; one that does not say so is of its file's."""
    return isinstance(entry, dict) and entry.get("set", split) == split


def _by_image(anns: dict[str, Any], imgs: dict[str, Any], file: str, problems: Problems) -> dict[str, list[Any]]:
    """Image key -> (annotation key, annotation) in file order."""
    found: dict[str, list[Any]] = defaultdict(list)
    for name, entry in anns.items():
        owner = str(entry.get("image_id")) if isinstance(entry, dict) else ""
        if owner in imgs:
            found[owner].append((name, entry))
        else:
            problems.add("annotation of an unknown image (skipped)", f"{file}: annotation {name}", owner)
    return found


def _textocr_word(entry: Any, place: str, problems: Problems) -> Word:
    """One annotation of TextOCR."""
    points = outline(entry.get("points"))
    text = text_of(entry.get("utf8_string"), place, problems)
    return Word(points, text, ignore=text == TEXTOCR_ILLEGIBLE, place=place)


def _cocotext_word(entry: Any, place: str, problems: Problems) -> Word:
    """One annotation of COCO-Text; what is illegible has no text."""
    points = outline(entry.get("mask"), "mask")
    if entry.get("legibility") not in ("legible", "illegible"):
        raise AnnotationError("legibility is neither legible nor illegible (skipped)", entry.get("legibility"))
    if entry["legibility"] == "illegible":
        return Word(points, "", ignore=True, place=place)
    return Word(points, text_of(entry.get("utf8_string"), place, problems), place=place)
