"""Word recognition: the accuracy of parseq and CLIP4STR, and mmocr's ``eval_ocr_metric`` (SPEC section 8)."""

import re
import string
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from difflib import SequenceMatcher

from rapidfuzz.distance import Levenshtein

from fasttcm.errors import ConfigError, DataError

__all__ = [
    "BENCHMARKS",
    "CHARSETS",
    "OcrCounts",
    "RecognitionFigures",
    "RecognitionResult",
    "adapt",
    "clean_label",
    "combine",
    "count_ocr",
    "score_recognition",
]

CHARSETS = {
    "36": string.digits + string.ascii_lowercase,
    "62": string.digits + string.ascii_letters,
    "94": string.digits + string.ascii_letters + string.punctuation,
}
"""Test charsets by size: the default, ``--cased``, and ``--cased --punctuation``."""

BENCHMARKS = {
    "subset": ("IIIT5k", "SVT", "IC13_857", "IC15_1811", "SVTP", "CUTE80"),
    "benchmark": ("IIIT5k", "SVT", "IC13_1015", "IC15_2077", "SVTP", "CUTE80"),
    "new": ("ArT", "COCOv1.4", "Uber"),
}
"""Sets whose figures are combined into one row."""

MAX_LABEL_LENGTH = 25
"""Characters; longer labels are left out, whatever the charset would delete from them."""

OCR_SYMBOLS = re.compile("[^A-Z^a-z^0-9^\u4e00-\u9fa5]")
"""What mmocr deletes before its most lenient comparison; the stray ``^`` of its pattern keeps the caret."""

OCR_EPSILON = 1e-8
"""Added to mmocr's denominators."""


@dataclass(frozen=True)
class RecognitionFigures:
    """A row of parseq's table.

    Attributes:
        samples: words compared.
        accuracy: per cent of them read without a mistake.
        one_minus_ned: 100 (1 - mean edit distance over the length of the longer word).
        label_length: mean length of the predictions.
        confidence: per cent, mean over words of the product of character probabilities; ``None`` when not given.
    """

    samples: int
    accuracy: float
    one_minus_ned: float
    label_length: float
    confidence: float | None = None

    def to_dict(self) -> dict[str, float | int | None]:
        """Plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class RecognitionResult:
    """A scored set of words.

    Attributes:
        figures: of the words that are compared.
        pairs: (label, prediction) as compared, in the order given, ``None`` where the sample is left out.
    """

    figures: RecognitionFigures
    pairs: list[tuple[str, str] | None]


def adapt(text: str, charset: str) -> str:
    """The text in the charset's case, if it has only one, without the characters outside it."""
    if charset == charset.lower():
        text = text.lower()
    elif charset == charset.upper():
        text = text.upper()
    allowed = frozenset(charset)
    return "".join(c for c in text if c in allowed)


def clean_label(label: str, charset: str, *, max_length: int = MAX_LABEL_LENGTH) -> str | None:
    """A label as parseq's data set gives it: no white space, accents taken off, ASCII, in the charset.

    Returns:
        ``None`` when the sample is left out: too long before the charset is applied, or empty after.
    """
    plain = _plain(label)
    return None if len(plain) > max_length else adapt(plain, charset) or None


def score_recognition(
    pairs: Iterable[tuple[str, str] | Sequence[str]],
    *,
    charset: str = "36",
    confidences: Sequence[float] | None = None,
    max_length: int = MAX_LABEL_LENGTH,
) -> RecognitionResult:
    """Compare predictions with labels by the rules of parseq and CLIP4STR.

    Args:
        pairs: (label, prediction) of every word of a test set.
        charset: a name of :data:`CHARSETS` or the characters themselves.
        confidences: one per pair, product of the character probabilities in [0, 1] including that of the end.
        max_length: longest label, characters.

    Raises:
        ConfigError: for a charset that is no known name and holds nothing, a character twice, or a few digits only.
        DataError: when pairs are malformed or the confidences are not as many.
    """
    characters = _characters(charset)
    compared: list[tuple[str, str] | None] = []
    for number, pair in enumerate(pairs, 1):
        if len(pair) != 2 or not all(isinstance(text, str) for text in pair):
            raise DataError(f"word {number}: expected (label, prediction), two texts, got {pair!r}")
        label = clean_label(pair[0], characters, max_length=max_length)
        compared.append(None if label is None else (label, adapt(pair[1], characters)))
    if confidences is not None and len(confidences) != len(compared):
        raise DataError(f"{len(compared)} words need as many confidences, got {len(confidences)}")
    kept = [pair for pair in compared if pair is not None]
    right = sum(label == read for label, read in kept)
    distance = sum(Levenshtein.distance(read, label) / max(len(read), len(label)) for label, read in kept)
    length = sum(len(read) for _, read in kept)
    n = len(kept)
    sure = None
    if confidences is not None:
        sure = _share(sum(float(c) for c, pair in zip(confidences, compared, strict=True) if pair is not None), n)
    figures = RecognitionFigures(
        n,
        100 * _share(right, n),
        100 * (1 - distance / n) if n else 0.0,
        _share(length, n),
        None if sure is None else 100 * sure,
    )
    return RecognitionResult(figures, compared)


def combine(rows: Mapping[str, RecognitionFigures], names: Iterable[str] | None = None) -> RecognitionFigures:
    """The combined row: means weighted by the number of samples.

    Args:
        rows: figures by set.
        names: the sets to combine, for instance ``BENCHMARKS["subset"]``; all when not given.

    Raises:
        ConfigError: when a set has no row.
    """
    wanted = list(rows if names is None else names)
    missing = [name for name in wanted if name not in rows]
    if missing:
        raise ConfigError(f"no figures for {', '.join(missing)}; present: {', '.join(rows) or 'none'}")
    chosen = [rows[name] for name in wanted]
    n = sum(row.samples for row in chosen)
    sure = [row.samples * row.confidence for row in chosen if row.confidence is not None]
    return RecognitionFigures(
        n,
        _share(sum(row.samples * row.accuracy for row in chosen), n),
        _share(sum(row.samples * row.one_minus_ned for row in chosen), n),
        _share(sum(row.samples * row.label_length for row in chosen), n),
        _share(sum(sure), n) if chosen and len(sure) == len(chosen) else None,
    )


@dataclass(frozen=True)
class OcrCounts:
    """What mmocr's ``eval_ocr_metric`` counts.

    Attributes:
        gt_char_num: characters of the labels, in lower case without symbols.
        pred_char_num: characters of the predictions, likewise.
        true_positive_char_num: characters in common blocks of both.
        gt_word_num: words.
        match_word_num: words that are equal.
        match_word_ignore_case: in lower case.
        match_word_ignore_case_symbol: in lower case without symbols.
        ned: mean edit distance over the length of the longer word, in lower case without symbols.
    """

    gt_char_num: int
    pred_char_num: int
    true_positive_char_num: int
    gt_word_num: int
    match_word_num: int
    match_word_ignore_case: int
    match_word_ignore_case_symbol: int
    ned: float

    def figures(self) -> dict[str, float]:
        """The published figures under their names, each with four decimals."""
        words = self.gt_word_num + OCR_EPSILON
        exact = {
            "word_acc": self.match_word_num / words,
            "word_acc_ignore_case": self.match_word_ignore_case / words,
            "word_acc_ignore_case_symbol": self.match_word_ignore_case_symbol / words,
            "char_recall": self.true_positive_char_num / (self.gt_char_num + OCR_EPSILON),
            "char_precision": self.true_positive_char_num / (self.pred_char_num + OCR_EPSILON),
            "1-N.E.D": 1.0 - self.ned,
        }
        return {name: float(f"{value:.4f}") for name, value in exact.items()}


def count_ocr(pairs: Iterable[tuple[str, str] | Sequence[str]]) -> OcrCounts:
    """Compare (label, prediction) pairs as mmocr does: nothing is left out and no charset applies."""
    words = characters = predicted = common = exact = lower = lenient = 0
    distance = 0.0
    for label, read in pairs:
        wanted, found = (OCR_SYMBOLS.sub("", text.lower()) for text in (label, read))
        words += 1
        exact += label == read
        lower += label.lower() == read.lower()
        lenient += wanted == found
        characters += len(wanted)
        predicted += len(found)
        common += sum(block.size for block in SequenceMatcher(None, found, wanted).get_matching_blocks())
        distance += Levenshtein.distance(found, wanted) / max(1, len(found), len(wanted))
    return OcrCounts(characters, predicted, common, words, exact, lower, lenient, _share(distance, words))


def _plain(label: str) -> str:
    """Without white space and accents, ASCII only."""
    joined = "".join(label.split())
    return unicodedata.normalize("NFKD", joined).encode("ascii", "ignore").decode()


def _characters(charset: str) -> str:
    """The characters of a named charset, or the charset itself."""
    if charset in CHARSETS:
        return CHARSETS[charset]
    mistyped = charset.isdigit() and len(charset) < len(string.digits)
    if not charset or mistyped or len(set(charset)) != len(charset):
        raise ConfigError(f"charset {charset!r}: expected {', '.join(CHARSETS)}, or characters that occur once each")
    return charset


def _share(part: float, whole: int) -> float:
    """A quotient, 0 of nothing."""
    return part / whole if whole else 0.0
