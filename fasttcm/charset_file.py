"""Character sets from files: text, or the pickled lists of code points that the Chinese models were published with.

A pickle can run any code when it is loaded. The published ones are plain lists of numbers, so their instructions are
read one by one and nothing is ever executed: everything but numbers, strings and one list is refused.
"""

import pickletools
from pathlib import Path

from fasttcm.errors import ConfigError

__all__ = ["read_characters"]

MAX_BYTES = 2**20
"""Larger files are no character sets: Unicode has 150 000 characters, the published set 5461."""

_PICKLE_STARTS = (b"(lp", b"]q\x00", b"\x80")
"""Of a list in protocols 0 and 1, and of every later one; no text with a character a line starts like this."""

_VALUES = {"INT", "LONG", "LONG1", "BININT", "BININT1", "BININT2", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE"}
_LISTS = {"LIST", "EMPTY_LIST"}
_BOOKKEEPING = {"PROTO", "FRAME", "MARK", "APPEND", "APPENDS", "PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE", "STOP"}


def read_characters(file: str | Path) -> str:
    """The characters that a file lists; their positions are their classes.

    Args:
        file: UTF-8 text with one character a line, or all of them in a single line; or a pickled list of code points
            or characters.

    Raises:
        ConfigError: missing, too large, neither of these, or a line of several characters, with its number.
    """
    path = Path(file)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"charset file {str(path)!r} is larger than {MAX_BYTES} bytes; it should list characters")
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"charset file {str(path)!r} cannot be read: {error.strerror}") from error
    return _pickled(content, path) if content.startswith(_PICKLE_STARTS) else _written(content, path)


def _written(content: bytes, path: Path) -> str:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"charset file {str(path)!r} is neither UTF-8 text nor a pickled list: {error}") from error
    # Not splitlines(), which also splits at characters that a set may contain.
    lines = [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]
    if len(lines) == 1:
        return lines[0]
    for number, line in enumerate(lines, start=1):
        if len(line) != 1:
            raise ConfigError(f"charset file {str(path)!r}, line {number}: {line[:20]!r} is not a single character")
    return "".join(lines)


def _pickled(content: bytes, path: Path) -> str:
    values: list[object] = []
    lists = 0
    try:
        for instruction, argument, _ in pickletools.genops(content):
            if instruction.name in _VALUES:
                values.append(argument)
            elif instruction.name in _LISTS:
                lists += 1
            elif instruction.name not in _BOOKKEEPING:
                raise ConfigError(
                    f"charset file {str(path)!r} is a pickle of more than a list of characters ({instruction.name}); "
                    "it is not read. Write the characters into a text file, one a line"
                )
        characters = [_character(value) for value in values]
    except (ValueError, OverflowError) as error:  # truncated, or no character
        reason = " ".join(str(error).split())
        raise ConfigError(f"charset file {str(path)!r} is not a pickled list of characters: {reason}") from error
    if lists != 1:
        raise ConfigError(f"charset file {str(path)!r} is not a pickled list of characters: it holds {lists} lists")
    return "".join(characters)


def _character(value: object) -> str:
    """A character from itself or from its code point."""
    character = chr(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if isinstance(character, str) and len(character) == 1:
        character.encode()  # half of a surrogate pair is no character: UnicodeEncodeError, a ValueError
        return character
    raise ValueError(f"{value!r} is neither a character nor a code point")
