"""The lexicons that a dataset ships, found in the source and laid out as the evaluation reads them.

Word and pair files keep their published names in ``lexicons/``, as UTF-8; those of single images become
``lexicons/strong/new_voc_img_<k>.txt`` and ``pair_voc_img_<k>.txt`` for image k (see ``docs/evaluation.md``).
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from fasttcm.data.prepare.readers.common import split_of
from fasttcm.data.prepare.recipes import LexiconFiles
from fasttcm.data.prepare.source import Source, decode_text

__all__ = ["CardLexicon", "copy_lexicons"]

CardLexicon = str | dict[str, str]
"""An entry of ``lexicons`` in ``card.json``: a file or folder, or ``{"words": ..., "pairs": ...}``."""

FOLDER = "lexicons"
WORDS_OF_IMAGE, PAIRS_OF_IMAGE = "new_voc_img_{}.txt", "pair_voc_img_{}.txt"


def copy_lexicons(
    source: Source, lexicons: Sequence[LexiconFiles], split: str, destination: Path
) -> dict[str, CardLexicon]:
    """Copy what there is for a split.

    Args:
        source: the published files.
        lexicons: what the dataset ships.
        split: only its lexicons are copied.
        destination: folder of the split.

    Returns:
        The key ``lexicons`` of the card; paths are relative to ``destination``. Lexicons whose files are not in the
        source are left out.

    Raises:
        DataError: a file that is there cannot be read.
    """
    found: dict[str, CardLexicon] = {}
    for lexicon in lexicons:
        if split not in lexicon.splits:
            continue
        entry = (_strong if lexicon.per_image else _single)(source, lexicon, split, destination)
        if entry is not None:
            found[lexicon.name] = entry
    return found


def _single(source: Source, lexicon: LexiconFiles, split: str, destination: Path) -> CardLexicon | None:
    """One word file for the set."""
    words, pairs = _files(source, lexicon, split)
    if not words:
        return None
    copies = [_copy(source, names[0], destination, f"{FOLDER}/{_last(names[0])}") for names in (words, pairs) if names]
    return copies[0] if len(copies) == 1 else {"words": copies[0], "pairs": copies[1]}


def _strong(source: Source, lexicon: LexiconFiles, split: str, destination: Path) -> CardLexicon | None:
    """One word file for each image; images are told apart by the last number of the name."""
    folder = f"{FOLDER}/{lexicon.name}"
    words, pairs = _files(source, lexicon, split)
    for names, pattern in ((words, WORDS_OF_IMAGE), (pairs, PAIRS_OF_IMAGE)):
        for name in names:
            if numbers := re.findall("[0-9]+", _last(name)):
                _copy(source, name, destination, f"{folder}/{pattern.format(int(numbers[-1]))}")
    return folder if words else None


def _files(source: Source, lexicon: LexiconFiles, split: str) -> tuple[list[str], list[str]]:
    """Word files and pair files; those in folders of another split do not count."""

    def find(pattern: str | None) -> list[str]:
        return [name for name in source.find(pattern) if split_of(name) in (split, "")] if pattern else []

    for words, pairs in lexicon.files:
        if names := find(words):
            return names, find(pairs)
    return [], []


def _last(name: str) -> str:
    """A name without its folders."""
    return name.rpartition("/")[2]


def _copy(source: Source, name: str, destination: Path, relative: str) -> str:
    """Write one file as UTF-8; returns ``relative``."""
    target = destination / relative
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    part.write_text(decode_text(source.read(name)), encoding="utf-8", newline="\n")
    os.replace(part, target)
    return relative
