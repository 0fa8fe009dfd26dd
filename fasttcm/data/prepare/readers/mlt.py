"""ICDAR MLT 2017 and 2019 (multi-lingual): one text file for each image, four corners, script, transcription.

    x1,y1,x2,y2,x3,y3,x4,y4,Latin,The Road
    1188,303,1312,299,1313,331,1189,335,Bangla,###

2017: ``gt_img_1.txt`` for ``img_1.jpg`` in ``ch8_training_images_1`` .. ``_8``, ``ch8_validation_images`` and
``ch8_*_localization_transcription_gt_v2``. 2019: ``tr_img_00001.txt`` and ``.jpg`` in ``ImagesPart1``, ``ImagesPart2``
and ``train_gt_t13``. The test sets have no published ground truth. Scripts are Arabic, Bangla, Chinese, Hindi,
Japanese, Korean, Latin, Symbols, Mixed and None. The transcription may hold commas, ``###`` is a do not care.
"""

from collections.abc import Iterator
from functools import partial

from fasttcm.data.prepare.picture import Picture, Word
from fasttcm.data.prepare.readers.files import (
    coordinates,
    files_of_split,
    images_of_split,
    last_number,
    pairs_of,
    read_lines,
    stem_of,
    transcription,
)
from fasttcm.data.prepare.source import Source, is_image
from fasttcm.data.problems import Problems
from fasttcm.structures import ILLEGIBLE

__all__ = ["read_mlt2017", "read_mlt2019"]

LATIN_SCRIPTS = ("latin", "symbols")
"""Scripts that count with ``latin_only``; digits and punctuation alone are "Symbols"."""


def read_mlt2017(source: Source, *, split: str, problems: Problems, latin_only: bool = False) -> Iterator[Picture]:
    """The pictures of ``train`` or ``val``; with ``latin_only`` words of other scripts are do not care."""
    pairs = pairs_of(
        files_of_split(source, "gt_img_*.txt", split),
        images_of_split(source, split),
        problems=problems,
        key=lambda name: stem_of(name)[len("gt_") :],
    )
    return _pictures(source, pairs, problems, latin_only)


def read_mlt2019(source: Source, *, split: str, problems: Problems, latin_only: bool = False) -> Iterator[Picture]:
    """The pictures of ``train``; with ``latin_only`` words of other scripts are do not care."""
    images = [name for name in source.find("tr_img_*") if is_image(name)]
    pairs = pairs_of(source.find("tr_img_*.txt"), images, problems=problems)
    return _pictures(source, pairs, problems, latin_only)


def _pictures(
    source: Source, pairs: Iterator[tuple[str, str]], problems: Problems, latin_only: bool
) -> Iterator[Picture]:
    """Every image that has a ground-truth file."""
    for file, image in pairs:
        words = read_lines(source, file, partial(_parse, latin_only=latin_only), problems)
        if words is not None:
            yield Picture(image, words, image_id=last_number(image))


def _parse(line: str, place: str, problems: Problems, *, latin_only: bool) -> Word:
    """One line; without a script it is not Latin."""
    fields = line.split(",", 9)
    points = coordinates(fields, 8).reshape(4, 2)
    script, raw = [*fields[8:], "", ""][:2]
    text = transcription(raw, place, problems)
    foreign = latin_only and script.strip().lower() not in LATIN_SCRIPTS
    return Word(points, text, ignore=foreign or text == ILLEGIBLE, ordered=True, place=place)
