"""When a transcription counts as right, and which words have to be read at all (SPEC ``evaluation`` section 3)."""

import re

from fasttcm.evaluation.protocol import Protocol

__all__ = ["in_dictionary", "is_dont_care", "is_right", "normalize_word", "reference_text"]

NORMALIZED_MARKS = "'!?.:,*\"()·[]/"
"""Marks that word spotting turns into spaces before it trims them."""

END_MARKS = "!?.:,*\"()·[]/'"
"""Marks of which, without word spotting, one at each end of the ground truth may be missing in the prediction."""

DICTIONARY_RANGES = (
    ("a", "z"),
    ("A", "Z"),
    ("\u00c0", "\u01bf"),
    ("\u01c4", "\u027f"),
    ("\u0386", "\u03ff"),
    ("-", "-"),
)
"""Characters of a dictionary word: Latin and Greek letters and the hyphen."""

NOT_LETTERS = "\u00d7\u00f7\u0387"
"""Multiplication sign, division sign and Greek middle dot: inside the ranges, yet no letters."""

_DICTIONARY_WORD = re.compile(
    f"(?:(?![{NOT_LETTERS}])[{''.join(f'{re.escape(low)}-{re.escape(high)}' for low, high in DICTIONARY_RANGES)}])*"
)

_TO_SPACES = str.maketrans(dict.fromkeys(NORMALIZED_MARKS, " "))


def normalize_word(text: str) -> str:
    """A word without its genitive ``'s``, hyphens at the ends and punctuation (each mark inside becomes a space)."""
    if text.endswith(("'s", "'S")):
        text = text[:-2]
    return text.strip("-").translate(_TO_SPACES).strip()


def in_dictionary(text: str, shortest: int) -> bool:
    """Whether word spotting asks for ``text``: one normalised word of at least ``shortest`` letters and hyphens."""
    word = normalize_word(text)
    if " " in word or len(word) < shortest:
        return False
    return _DICTIONARY_WORD.fullmatch(word) is not None


def is_dont_care(text: str, protocol: Protocol, *, end_to_end: bool) -> bool:
    """Whether a ground truth is left out: illegible, or end-to-end also a word that is not in the dictionary."""
    if text == protocol.dont_care_text:
        return True
    return end_to_end and protocol.word_spotting and not in_dictionary(text, protocol.shortest_word)


def reference_text(text: str, protocol: Protocol) -> str:
    """The transcription that a prediction is compared with: normalised by word spotting, else ``text`` itself."""
    if protocol.word_spotting and in_dictionary(text, protocol.shortest_word):
        return normalize_word(text)
    return text


def is_right(reference: str, predicted: str, protocol: Protocol) -> bool:
    """Compare without regard to case.

    Args:
        reference: result of :func:`reference_text`.
        predicted: the transcription read, taken as it is.
        protocol: word spotting wants equality; otherwise one of :data:`END_MARKS` at each end of ``reference`` may
            be missing. An empty reference is right only when nothing was read.
    """
    wanted, read = reference.upper(), predicted.upper()
    if wanted == read or protocol.word_spotting or not reference:
        return wanted == read
    starts, ends = reference[0] in END_MARKS, reference[-1] in END_MARKS
    return (
        (starts and reference[1:].upper() == read)
        or (ends and reference[:-1].upper() == read)
        or (starts and ends and reference[1:-1].upper() == read)
    )
