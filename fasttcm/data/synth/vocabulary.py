"""What the words say: dictionary words in any case, numbers, prices, times, dates, addresses, codes, punctuation."""

import hashlib
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from fasttcm.data.synth.options import MAX_TEXT_LENGTH
from fasttcm.data.synth.split import Split, in_split
from fasttcm.errors import DataError

__all__ = ["Vocabulary", "load_words", "sample_code", "sample_price", "sample_text"]

BUILT_IN = Path(__file__).with_name("words.txt")
COMMON = Path(__file__).with_name("common.txt")
ABBREVIATIONS = Path(__file__).with_name("abbreviations.txt")

CURRENCIES = ("$", "$", "$", "", "USD", "EUR", "GBP")
DOMAINS = ("com", "org", "net", "co.uk", "de", "info")
CODE_LETTERS = "ABCDEFGHJKLMNPRSTUVWXYZ"
ALL_LETTERS = "abcdefghijklmnopqrstuvwxyz"
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
PRINTABLE = range(33, 127)
"""ASCII codes a word may hold: printable and no space."""

PUNCTUATION = "".join(chr(code) for code in PRINTABLE if not chr(code).isalnum())

COMMON_SHARE = 0.12
"""Share of the dictionary words that are of the most common ones."""

SYMBOLS = (
    "&",
    "+",
    "-",
    "/",
    "|",
    "*",
    "@",
    "%",
    "=",
    ">",
    "<",
    ">>",
    "->",
    "<-",
    "+/-",
    "$",
    "#",
    "...",
    "!",
    "?",
    "~",
)
"""Signs that stand alone between words."""


SHORT = 3
"""Words of up to so many letters are known to both splits: there are too few of them to keep some back."""


class Vocabulary(Sequence[str]):
    """Distinct dictionary words, and a short list of the most common ones.

    Args:
        words: everyday words, as they stand on signs.
        more: words of a large dictionary; together they are drawn as often as all of ``words``.
        split: only words of this split, by the word alone (without a possessive).

    Raises:
        DataError: when no word is left.
    """

    def __init__(self, words: Sequence[str], more: Sequence[str] = (), split: Split = "all") -> None:
        def mine(word: str) -> bool:
            stem = word.lower().split("'")[0]
            return len(stem) <= SHORT or in_split(stem, split)

        self.words, self.more = (tuple(word for word in group if mine(word)) for group in (words, more))
        self.common = tuple(word for word in _read(COMMON) if mine(word))
        weights = 1 / np.arange(1, len(self.common) + 1)
        self._shares = np.cumsum(weights) / weights.sum()
        if not self.words:
            raise DataError(f"vocabulary: none of {len(words)} words falls into the split {split!r}; add words")

    def __len__(self) -> int:
        return len(self.words) + len(self.more)

    def __getitem__(self, index: int) -> str:  # type: ignore[override]
        return self.words[index] if index < len(self.words) else self.more[index - len(self.words)]

    def pick(self, rng: np.random.Generator) -> str:
        """A word: common, everyday or rare."""
        if rng.random() < COMMON_SHARE:
            return self.common[min(int(np.searchsorted(self._shares, rng.random())), len(self.common) - 1)]
        group = self.more if self.more and rng.random() < 0.5 else self.words
        return group[int(rng.integers(len(group)))]

    def digest(self) -> str:
        """SHA-256 of the words in their order."""
        return hashlib.sha256("\n".join(self).encode()).hexdigest()


@lru_cache(maxsize=8)
def _read(path: Path) -> tuple[str, ...]:
    """The distinct usable words of a file, in its order."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"vocabulary: cannot read {path} as UTF-8 text: {error}") from error
    words = dict.fromkeys(word for line in text.splitlines() for word in line.split("#")[0].split())
    # Every second entry of a spelling dictionary is a possessive; on signs they are rare and made by rule.
    usable = tuple(
        word
        for word in words
        if len(word) <= MAX_TEXT_LENGTH and all(ord(c) in PRINTABLE for c in word) and not word.endswith("'s")
    )
    if not usable:
        raise DataError(
            f"vocabulary: {path} holds no word of printable ASCII and at most {MAX_TEXT_LENGTH} characters; "
            "write words separated by spaces or line ends"
        )
    return usable


@lru_cache(maxsize=8)
def load_words(path: Path | None = None, split: Split = "all") -> Vocabulary:
    """The built-in everyday words, and those of a larger dictionary.

    Args:
        path: UTF-8 text file of words separated by white space (``#`` starts a comment), such as Debian's
            ``/usr/share/dict/american-english``; words with other than printable ASCII characters, longer than
            :data:`MAX_TEXT_LENGTH` or ending in ``'s`` are passed over. ``None`` for the built-in list alone.
        split: only the words of this split.

    Raises:
        DataError: when the file cannot be read or holds no usable word.
    """
    return Vocabulary(_read(BUILT_IN), _read(path) if path else (), split)


def _digits(rng: np.random.Generator, count: int) -> str:
    return "".join(map(str, rng.integers(0, 10, count)))


def _pick(rng: np.random.Generator, options: Sequence[str]) -> str:
    return options[int(rng.integers(len(options)))]


def _word(rng: np.random.Generator, words: Vocabulary) -> str:
    word, style = words.pick(rng), rng.random()
    if style < 0.42:
        return word.upper()
    if style < 0.74:
        return word[:1].upper() + word[1:]
    # Compounds in one word, as brands write them.
    return f"{word.title()}{words.pick(rng).title()}" if style > 0.985 and len(word) < 10 else word


def _punctuated(rng: np.random.Generator, words: Vocabulary) -> str:
    word, style = _word(rng, words), int(rng.integers(9))
    if style == 0 and len(word) < MAX_TEXT_LENGTH - 8:
        return f"{word}-{_word(rng, words)}"
    if style == 1 and not word.lower().endswith("'s"):
        return word + ("'S" if word.isupper() else "'s")
    if style == 2:
        around = _pick(rng, ("()", "()", "[]", '""', '""', "''", "<>", "{}", "**"))
        return f"{around[0]}{word}{around[1]}"
    if style == 3:
        return _pick(rng, "\"'(*#@&-+~") + word
    return word + _pick(rng, "!!?..,,,:;\"')*-&/")


def _symbols(rng: np.random.Generator, words: Vocabulary) -> str:
    """Any punctuation mark anywhere, so that every printable character is met."""
    if rng.random() < 0.3:
        return _pick(rng, SYMBOLS)
    word = _pick(rng, (_word(rng, words), _digits(rng, int(rng.integers(1, 6)))))
    at = int(rng.integers(len(word) + 1))
    return word[:at] + _pick(rng, PUNCTUATION) + word[at:]


def _abbreviation(rng: np.random.Generator, _: Vocabulary) -> str:
    text, style = _pick(rng, _read(ABBREVIATIONS)), rng.random()
    return text.upper() if style < 0.25 else text


def _number(rng: np.random.Generator, _: Vocabulary) -> str:
    style, value = int(rng.integers(7)), int(rng.integers(1, 10 ** int(rng.integers(1, 5))))
    ordinal = "th" if 10 < value % 100 < 20 else {1: "st", 2: "nd", 3: "rd"}.get(value % 10, "th")
    unit = _pick(rng, ("km", "kg", "ml", "g", "m", "mph", "cm", "L", "W", "V"))
    forms = (
        str(value),
        str(value),
        f"{value % 100}%",
        f"{value:,}",
        f"#{value}",
        f"{value}{ordinal}",
        f"{value}{unit}",
    )
    return forms[style]


def sample_price(rng: np.random.Generator) -> str:
    """A price such as ``$4.50``, ``1,299`` or ``12.99``."""
    currency, value = _pick(rng, CURRENCIES), int(rng.integers(1, 10 ** int(rng.integers(1, 4))))
    cents = _pick(rng, (".99", ".50", ".00", ".95", f".{_digits(rng, 2)}", "", "", ".-"))
    return f"{currency}{value}{cents}"


def _price(rng: np.random.Generator, _: Vocabulary) -> str:
    return sample_price(rng)


def _time(rng: np.random.Generator, _: Vocabulary) -> str:
    hour, minute = int(rng.integers(0, 24)), _pick(rng, ("00", "15", "30", "45", _digits(rng, 1).rjust(2, "0")))
    half, short = _pick(rng, ("am", "pm", "AM", "PM")), hour % 12 + 1
    end = int(rng.integers(1, 13))
    return _pick(
        rng,
        (
            f"{hour:02d}:{minute}",
            f"{hour}:{minute}",
            f"{short}{half}",
            f"{short}:{minute}{half}",
            f"{short}-{end}{half}",
        ),
    )


def _date(rng: np.random.Generator, _: Vocabulary) -> str:
    day, month, year = int(rng.integers(1, 29)), int(rng.integers(1, 13)), int(rng.integers(1890, 2040))
    dash, slash = f"{year}-{month:02d}-{day:02d}", f"{day:02d}/{month:02d}/{year % 100:02d}"
    return _pick(
        rng,
        (dash, slash, f"{day}.{month}.{year}", str(year), str(year), f"{day}{MONTHS[month - 1]}", f"'{year % 100:02d}"),
    )


def _phone(rng: np.random.Generator, _: Vocabulary) -> str:
    a, b, c = _digits(rng, 3), _digits(rng, 3), _digits(rng, 4)
    return _pick(
        rng,
        (
            f"{a}-{b}-{c}",
            f"({a})",
            f"{b}-{c}",
            f"0{a}{b}{c}",
            f"+{rng.integers(1, 99)}{a}{b}",
            f"{a}.{b}.{c}",
            f"1-800-{c}",
        ),
    )


def sample_code(rng: np.random.Generator) -> str:
    """Letters and digits as on number plates, doors, labels and buses: ``B52``, ``SGH-4417``, ``12A``."""
    letters = "".join(_pick(rng, CODE_LETTERS) for _ in range(int(rng.integers(1, 4))))
    digits = _digits(rng, int(rng.integers(1, 5)))
    return _pick(
        rng,
        (
            f"{letters}{digits}",
            f"{letters}-{digits}",
            f"{digits}{letters}",
            letters,
            f"{letters}/{digits}",
            f"{digits[0]}{letters}{digits}",
        ),
    )


def _code(rng: np.random.Generator, _: Vocabulary) -> str:
    return sample_code(rng)


def _scrambled(rng: np.random.Generator, _: Vocabulary) -> str:
    letters = "".join(_pick(rng, ALL_LETTERS) for _ in range(int(rng.integers(2, 9))))
    return _pick(rng, (letters, letters.upper(), letters.title()))


def _address(rng: np.random.Generator, words: Vocabulary) -> str:
    word, domain = words.pick(rng).lower().replace("'", ""), _pick(rng, DOMAINS)
    name = _pick(rng, ("info", "sales", "contact", "hello", "office", words.pick(rng).lower().replace("'", "")))
    forms = (
        f"www.{word}.{domain}",
        f"{word}.{domain}",
        f"{name}@{word}.{domain}",
        f"{name}.{_digits(rng, 2)}@{word}.{domain}",
        f"http://{word}.{domain}",
        f"{word}.{domain}/{name}",
        f"@{word}_{name}",
        f"#{word}",
    )
    return next((f for f in rng.permutation(forms) if len(f) <= MAX_TEXT_LENGTH), word)


Maker = Callable[[np.random.Generator, Vocabulary], str]

KINDS: tuple[tuple[Maker, float], ...] = (
    (_word, 0.66),
    (_punctuated, 0.06),
    (_number, 0.06),
    (_price, 0.035),
    (_time, 0.025),
    (_date, 0.025),
    (_phone, 0.025),
    (_code, 0.03),
    (_scrambled, 0.025),
    (_address, 0.02),
    (_abbreviation, 0.02),
    (_symbols, 0.015),
)
"""(how a text is made, its share)."""


def sample_text(rng: np.random.Generator, words: Vocabulary, *, max_length: int = MAX_TEXT_LENGTH) -> str:
    """One word of a scene.

    Args:
        rng: source of randomness.
        words: dictionary, as :func:`load_words` returns it.
        max_length: longest text in characters, at least 1.

    Returns:
        Printable ASCII without spaces, 1 to ``max_length`` characters; a text that stays too long is cut.
    """
    shares = np.cumsum([share for _, share in KINDS])
    text = ""
    for _ in range(8):
        maker = KINDS[min(int(np.searchsorted(shares, rng.random() * shares[-1])), len(KINDS) - 1)][0]
        text = str(maker(rng, words))
        if len(text) <= max_length:
            return text
    return text[:max_length]
