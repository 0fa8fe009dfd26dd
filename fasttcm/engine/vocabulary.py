"""The characters that a model reads, as they travel with its weights."""

from fvcore.common.config import CfgNode

from fasttcm.charset import CHARSETS, LISTED, UNLISTED, Charset

__all__ = ["charset_difference", "with_characters"]

SHOWN_CHARACTERS = 3
"""Of either side, where two sets part."""


def with_characters(cfg: CfgNode) -> CfgNode:
    """The configuration with the characters themselves in the place of a file's name; frozen.

    The weights mean nothing without them, and the file may be elsewhere, or another one, when they are used.

    Raises:
        ConfigError: ``MODEL.TEXT.CHARSET`` names no character set.
    """
    name = cfg.MODEL.TEXT.CHARSET
    if name in CHARSETS or name.startswith(LISTED):
        return cfg
    whole = cfg.clone()
    whole.defrost()
    whole.MODEL.TEXT.CHARSET = LISTED + Charset.named(name).characters
    whole.freeze()
    return whole


def charset_difference(stored: str, given: str) -> list[str]:
    """How two values of ``MODEL.TEXT.CHARSET`` differ: one line, or none when they stand for the same characters.

    Args:
        stored: of a checkpoint.
        given: of a configuration.

    Raises:
        ConfigError: ``given`` names no character set.
    """
    if stored == given:
        return []
    ours = Charset.named(given).characters
    if stored.startswith(UNLISTED):
        number = int(stored.removeprefix(UNLISTED))
        same, theirs = number == len(ours), ""
        described = f"{number} characters, which it does not name,"
    else:
        theirs = Charset.named(stored).characters
        same = theirs == ours
        described = _described(stored, theirs)
    if same:
        return []
    asked = _described(given, ours)
    difference = f"MODEL.TEXT.CHARSET is {described} in the checkpoint and {asked} in the configuration"
    if len(theirs) == len(ours):
        first = next(i for i, (a, b) in enumerate(zip(theirs, ours, strict=True)) if a != b)
        parts = (repr(text[first : first + SHOWN_CHARACTERS]) for text in (theirs, ours))
        difference += f" (from class {first} on: {' and '.join(parts)})"
    return [difference]


def _described(name: str, characters: str) -> str:
    if name in CHARSETS:
        return repr(name)
    listed = "a list" if name.startswith(LISTED) else repr(name)
    return f"{listed} of {len(characters)} characters"
