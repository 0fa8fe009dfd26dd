"""SynthText in the Wild: 858 750 synthetic pictures in 200 folders, and one ``gt.mat`` for all.

``gt.mat`` holds cells with an entry for each picture: ``imnames`` (``8/ballet_106_0.jpg``), ``wordBB``, (2, 4, n)
corners of n words clockwise from the first character's top-left corner (just (2, 4) for one word), ``charBB`` (not
read) and ``txt``, lines of text padded with blanks, of which the words between white space are the n words in order:

    txt{1} = ['Lines:'; 'I lost'; 'Kevin '; 'will  '; 'line   and' ...]
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from fasttcm.data.annotations import AnnotationError
from fasttcm.data.prepare.picture import Picture, Word
from fasttcm.data.prepare.readers.matlab import load_mat
from fasttcm.data.prepare.source import MissingSplitError, Source
from fasttcm.data.problems import Problems
from fasttcm.errors import DataError

__all__ = ["read_synthtext"]

INDEX = "gt.mat"
VARIABLES = ("imnames", "wordBB", "txt")


def read_synthtext(source: Source, *, split: str, problems: Problems) -> Iterator[Picture]:
    """Every picture; all are for training."""
    files = source.find(INDEX)
    if not files:
        raise MissingSplitError(f"no {INDEX}")
    name = files[0]
    with source.stream(name) as stream:
        content = load_mat(stream, name, VARIABLES)
    missing = [variable for variable in VARIABLES if variable not in content]
    if missing:
        raise DataError(f"{name}: no {', '.join(missing)} in it; is it SynthText's gt.mat?")
    names, boxes, texts = (content.pop(variable).reshape(-1) for variable in VARIABLES)
    if not len(names) == len(boxes) == len(texts):
        raise DataError(
            f"{name}: {len(names)} names, {len(boxes)} wordBB and {len(texts)} txt; they have to be as many"
        )
    folder = name[: -len(INDEX)]
    for row in range(len(names)):
        picture = _picture(folder, name, row, names, boxes, texts, problems)
        names[row] = boxes[row] = texts[row] = None  # let go of what has been read
        if picture is not None:
            yield picture


def _picture(
    folder: str, name: str, row: int, names: Any, boxes: Any, texts: Any, problems: Problems
) -> Picture | None:
    """One entry; ``None``, and a problem, if its parts do not fit together."""
    place = f"{name}: entry {row + 1}"
    image = str(np.asarray(names[row]).reshape(-1)[0]) if np.size(names[row]) else ""
    try:
        corners = _corners(boxes[row])
        words = [word for line in np.asarray(texts[row]).reshape(-1) for word in str(line).split()]
        if len(words) != len(corners):
            raise AnnotationError("as many words as boxes are needed (image skipped)", f"{len(words)}, {len(corners)}")
    except AnnotationError as error:
        problems.add(error.reason, f"{place} ({image})", error.detail)
        return None
    named = [
        Word(points, text, ordered=True, place=f"{place}, word {number}")
        for number, (points, text) in enumerate(zip(corners, words, strict=True), 1)
    ]
    return Picture(folder + image, named)


def _corners(value: Any) -> Any:
    """(n, 4, 2) float64 corners of an entry of ``wordBB``."""
    array = np.asarray(value)
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[:2] != (2, 4) or not np.issubdtype(array.dtype, np.number):
        raise AnnotationError("wordBB is not (2, 4, n) numbers (image skipped)", array.shape)
    return array.transpose(2, 1, 0).astype(np.float64)
