"""ArT 2019 and LSVT 2019: one JSON for all pictures, keyed by picture; NightTime-ArT: some pictures of ArT.

``train_labels.json`` (ArT) or ``train_full_labels.json`` (LSVT), beside the pictures ``gt_0.jpg``, ``gt_1.jpg``, ...:

    {"gt_0": [{"transcription": "CAFE", "points": [[10, 20], [60, 18], [60, 40], [10, 42]],
               "language": "Latin", "illegibility": false},
              {"transcription": "###", "points": [[...], ...], "illegibility": true}],
     "gt_1": []}

Outlines have any number of points. LSVT has no language. The annotations of the test sets were never published.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fasttcm.data.annotations import AnnotationError
from fasttcm.data.prepare.picture import Picture, Word
from fasttcm.data.prepare.readers.common import outline, read_json, text_of, words_of
from fasttcm.data.prepare.readers.image_names import ImageNames
from fasttcm.data.prepare.source import Source, decode_text
from fasttcm.data.problems import Problems
from fasttcm.errors import DataError

__all__ = ["read_art", "read_lsvt", "read_nighttime_art"]

ART_LABELS = "train_labels.json"
LSVT_LABELS = "train_full_labels.json"


def read_art(source: Source, *, split: str, problems: Problems) -> Iterator[Picture]:
    """The training pictures of ArT 2019."""
    return _pictures(source, ART_LABELS, problems)


def read_lsvt(source: Source, *, split: str, problems: Problems) -> Iterator[Picture]:
    """The fully annotated training pictures of LSVT 2019."""
    return _pictures(source, LSVT_LABELS, problems)


def read_nighttime_art(source: Source, *, split: str, problems: Problems, ids: str | None = None) -> Iterator[Picture]:
    """The pictures of ArT 2019 that a list names.

    Args:
        source: ArT's training pictures and labels.
        split: unused, there is one.
        problems: takes listed pictures that ArT does not have, too.
        ids: text file with one picture in each line: ``gt_17``, ``gt_17.jpg`` or ``17``; empty lines and what follows
            a ``#`` do not count.

    Raises:
        DataError: no list, or one that cannot be read or is empty.
    """
    if ids is None:
        raise DataError("nighttime_art is a list of pictures of ArT: name the text file of their ids with --ids FILE")
    return _pictures(source, ART_LABELS, problems, wanted=_read_ids(Path(ids), problems))


def _read_ids(path: Path, problems: Problems) -> dict[str, str]:
    """Key in ArT's labels -> its place in the list."""
    try:
        text = decode_text(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: cannot read the list of picture ids: {error.strerror}") from error
    wanted: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        name = re.split("[/\\\\]", line.partition("#")[0].strip().rstrip(","))[-1]
        if not name:
            continue
        place = f"{path}, line {number}"
        found = re.fullmatch(r"(?:gt_)?0*([0-9]+)(?:\.\w+)?", name)
        if found is None:
            problems.add("no picture of ArT is called so (line skipped)", place, name)
        elif f"gt_{found[1]}" in wanted:
            problems.add("picture listed twice (taken once)", place, name)
        else:
            wanted[f"gt_{found[1]}"] = place
    if not wanted:
        raise DataError(f"{path}: lists no picture; expected one id in each line, for example gt_17")
    return wanted


def _pictures(
    source: Source, labels: str, problems: Problems, *, wanted: dict[str, str] | None = None
) -> Iterator[Picture]:
    """The pictures of one label file, all or those that ``wanted`` has, in file order."""
    files = source.find(labels)
    if len(files) != 1:
        found = ", ".join(files) or "none"
        raise DataError(f"expected one file {labels} beside the pictures gt_<number>.jpg, found {found}")
    content = read_json(source, files[0], problems)
    if not isinstance(content, dict):
        raise DataError(f'{files[0]}: expected {{"gt_0": [{{"points": ..., "transcription": ...}}], ...}}')
    for key in (wanted or {}).keys() - content.keys():
        problems.add("picture is not in ArT's training labels (skipped)", (wanted or {})[key], key)
    images = ImageNames(source, problems)
    for key, entries in content.items():
        if wanted is not None and key not in wanted:
            continue
        place = f"{files[0]}: {key}"
        image = images.find(key, place=place, near=files[0])
        if image is not None:
            yield Picture(image, words_of(entries, _word, place, problems))


def _word(entry: Any, place: str, problems: Problems) -> Word:
    """One entry of a picture's list."""
    if not isinstance(entry, dict):
        raise AnnotationError("word is not an object (skipped)", entry)
    points = outline(entry.get("points"))
    text = text_of(entry.get("transcription"), place, problems)
    return Word(points, text, ignore=bool(entry.get("illegibility")), place=place)
