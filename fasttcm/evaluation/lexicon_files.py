"""Where the words of a lexicon are: one published file for a set, or a folder with a file for each image."""

from collections.abc import Iterable
from pathlib import Path

from fasttcm.errors import DataError
from fasttcm.evaluation.formats import image_number
from fasttcm.evaluation.lexicon import Lexicon

__all__ = ["PUBLISHED_FILES", "load_lexicon"]

STRONG_WORDS, STRONG_PAIRS = "new_voc_img_{}.txt", "pair_voc_img_{}.txt"
"""Files of one image in the folder of strong lexicons; the number is written without leading zeros."""

PUBLISHED_FILES = {
    "generic": (("GenericVocabulary_new.txt", "GenericVocabulary_pair_list.txt"),),
    "weak": (("ch4_test_vocabulary_new.txt", "ch4_test_vocabulary_pair_list.txt"),),
    "full": (
        ("weak_voc_new.txt", "weak_voc_pair_list.txt"),
        ("tt_lexicon.txt", "tt_pair_list.txt"),
        ("ctw1500_lexicon.txt", "ctw1500_pair_list.txt"),
        ("inversetext_lexicon.txt", "inversetext_pair_list.txt"),
    ),
}
"""(words, pairs) as AdelaiDet, DeepSolo and TESTR call them, by kind of lexicon (SPEC ``evaluation`` section 6.1)."""


def load_lexicon(
    path: str | Path,
    pairs: str | Path | None = None,
    *,
    kind: str = "",
    image_ids: Iterable[int | str] = (),
    protocol: str = "",
    flavour: str | None = None,
    rule: str | None = None,
) -> Lexicon | dict[str, Lexicon]:
    """Read a lexicon.

    Args:
        path: a file with one entry per line; a folder of strong lexicons (``new_voc_img_<k>.txt`` and, where it
            exists, ``pair_voc_img_<k>.txt``, k the number of the image); or a folder with a published file pair.
        pairs: ``KEY spelling`` lines for a file given as ``path``.
        kind: ``strong``, ``full``, ``weak`` or ``generic``: what to look for in a folder; empty: whatever is there.
        image_ids: the images that need a strong lexicon.
        protocol: what the lexicon is for. CTW1500's evaluators do not read the pair list that lies in the folder.
        flavour: TESTR's pair lists of Total-Text and CTW1500 have keys with spaces, and its rule for a generic list
            takes the nearest word however far it is.
        rule: how far a word may be, see ``LEXICON_RULES``; ``None``: the flavour decides.

    Returns:
        One lexicon for the set, or one per image id (as text).

    Raises:
        DataError: a file that is missing or no text, a folder without lexicons, an image without a lexicon.
    """
    folder = Path(path)
    testr = flavour == "testr"
    if testr and kind == "generic" and protocol == "icdar2015" and rule is None:
        rule = "testr_weighted_nearest"
    spaces = testr and protocol in ("totaltext", "ctw1500")
    if not folder.is_dir():
        if kind == "strong":
            raise DataError(f"{path}: strong lexicons are a folder with {STRONG_WORDS.format('<k>')} files")
        return Lexicon.from_files(path, pairs, rule=rule, keys_with_spaces=spaces)
    if kind in ("", "strong") and any(folder.glob(STRONG_WORDS.format("*"))):
        if pairs is not None:
            raise DataError(f"{pairs}: strong lexicons have their pair lists in their own folder, {path}")
        return {str(image_id): _strong(folder, image_id, rule) for image_id in image_ids}
    for names in PUBLISHED_FILES.get(kind, ()) if kind else sum(PUBLISHED_FILES.values(), ()):
        words, list_file = (folder / name for name in names)
        if words.is_file():
            published = list_file if list_file.is_file() and (testr or protocol != "ctw1500") else None
            return Lexicon.from_files(words, pairs or published, rule=rule, keys_with_spaces=spaces)
    raise DataError(f"{path}: no {kind or 'known'} lexicon in this folder; name the word file itself")


def _strong(folder: Path, image_id: int | str, rule: str | None) -> Lexicon:
    """The lexicon of one image."""
    number = image_number(image_id)
    if number is None:
        raise DataError(f"{folder}: image id {image_id!r} holds no number, so no strong lexicon belongs to it")
    words, pairs = (folder / name.format(number) for name in (STRONG_WORDS, STRONG_PAIRS))
    if not words.is_file():
        raise DataError(f"{words}: no strong lexicon for image {image_id}; every image of the ground truth needs one")
    return Lexicon.from_files(words, pairs if pairs.is_file() else None, rule=rule)
