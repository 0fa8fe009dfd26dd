"""What the words say: dictionary words in any case, numbers, prices, times, dates, telephone numbers, codes."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np

from fasttcm.data.synth.options import MAX_TEXT_LENGTH
from fasttcm.errors import DataError

__all__ = ["load_words", "sample_price", "sample_text"]

BUILT_IN = Path(__file__).with_name("words.txt")

CURRENCIES = ("$", "$", "$", "", "USD", "EUR", "GBP")
DOMAINS = ("com", "org", "net", "co.uk", "de", "info")
CODE_LETTERS = "ABCDEFGHJKLMNPRSTUVWXYZ"
ALL_LETTERS = "abcdefghijklmnopqrstuvwxyz"
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
PRINTABLE = range(33, 127)
"""ASCII codes a word may hold: printable and no space."""


@lru_cache(maxsize=4)
def load_words(path: Path | None = None) -> tuple[str, ...]:
    """The distinct words of a vocabulary file (whitespace separated, ``#`` starts a comment), in its order.

    Args:
        path: UTF-8 text file; ``None`` for the built-in list.

    Raises:
        DataError: when the file cannot be read, holds no word, or holds a word that is not printable ASCII or longer
            than :data:`MAX_TEXT_LENGTH` characters.
    """
    try:
        text = (path or BUILT_IN).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"vocabulary: cannot read {path} as UTF-8 text: {error}") from error
    words = tuple(dict.fromkeys(word for line in text.splitlines() for word in line.split("#")[0].split()))
    if not words:
        raise DataError(f"vocabulary: {path} holds no word; write words separated by spaces or line ends")
    for word in words:
        if len(word) > MAX_TEXT_LENGTH or any(ord(c) not in PRINTABLE for c in word):
            raise DataError(
                f"vocabulary: {word!r} in {path} is not printable ASCII of at most {MAX_TEXT_LENGTH} characters"
            )
    return words


def _digits(rng: np.random.Generator, count: int) -> str:
    return "".join(map(str, rng.integers(0, 10, count)))


def _pick(rng: np.random.Generator, options: tuple[str, ...] | str) -> str:
    return options[int(rng.integers(len(options)))]


def _word(rng: np.random.Generator, words: tuple[str, ...]) -> str:
    word, style = _pick(rng, words), rng.random()
    if style < 0.42:
        return word.upper()
    return word[:1].upper() + word[1:] if style < 0.76 else word


def _punctuated(rng: np.random.Generator, words: tuple[str, ...]) -> str:
    word, style = _word(rng, words), int(rng.integers(6))
    if style == 0 and len(word) < MAX_TEXT_LENGTH - 8:
        return f"{word}-{_word(rng, words)}"
    if style == 1:
        return word + ("'S" if word.isupper() else "'s")
    if style == 2:
        return f"({word})"
    return word + _pick(rng, "!!?.,:;")


def _number(rng: np.random.Generator, _: tuple[str, ...]) -> str:
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


def _price(rng: np.random.Generator, _: tuple[str, ...]) -> str:
    return sample_price(rng)


def _time(rng: np.random.Generator, _: tuple[str, ...]) -> str:
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


def _date(rng: np.random.Generator, _: tuple[str, ...]) -> str:
    day, month, year = int(rng.integers(1, 29)), int(rng.integers(1, 13)), int(rng.integers(1890, 2040))
    dash, slash = f"{year}-{month:02d}-{day:02d}", f"{day:02d}/{month:02d}/{year % 100:02d}"
    return _pick(
        rng,
        (dash, slash, f"{day}.{month}.{year}", str(year), str(year), f"{day}{MONTHS[month - 1]}", f"'{year % 100:02d}"),
    )


def _phone(rng: np.random.Generator, _: tuple[str, ...]) -> str:
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


def _code(rng: np.random.Generator, _: tuple[str, ...]) -> str:
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


def _scrambled(rng: np.random.Generator, _: tuple[str, ...]) -> str:
    letters = "".join(_pick(rng, ALL_LETTERS) for _ in range(int(rng.integers(2, 9))))
    return _pick(rng, (letters, letters.upper(), letters.title()))


def _address(rng: np.random.Generator, words: tuple[str, ...]) -> str:
    word, domain = _pick(rng, words).lower(), _pick(rng, DOMAINS)
    forms = (f"www.{word}.{domain}", f"{word}.{domain}", f"info@{word}.{domain}", f"@{word}", f"#{word}")
    return next((f for f in rng.permutation(forms) if len(f) <= MAX_TEXT_LENGTH), word)


Maker = Callable[[np.random.Generator, tuple[str, ...]], str]

KINDS: tuple[tuple[Maker, float], ...] = (
    (_word, 0.71),
    (_punctuated, 0.05),
    (_number, 0.06),
    (_price, 0.04),
    (_time, 0.025),
    (_date, 0.025),
    (_phone, 0.02),
    (_code, 0.03),
    (_scrambled, 0.02),
    (_address, 0.02),
)
"""(how a text is made, its share)."""


def sample_text(rng: np.random.Generator, words: tuple[str, ...], *, max_length: int = MAX_TEXT_LENGTH) -> str:
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
