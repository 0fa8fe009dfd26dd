import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasttcm.charset import CHARSETS, UNKNOWN_CHARACTER, Charset, collapse_ctc
from fasttcm.errors import ConfigError

ASCII = Charset.named("ascii")
LOWER = Charset.named("lower36")


def test_published_layout() -> None:
    assert (ASCII.num_classes, ASCII.unknown, ASCII.end) == (97, 95, 96)
    assert ASCII.encode("Ab", 4) == [33, 66, 96, 96]
    assert (LOWER.num_classes, LOWER.encode("aZ9", 3)) == (38, [0, 25, 35])


def test_unknown_characters() -> None:
    assert ASCII.encode("é", 2) == [95, 96]
    assert ASCII.decode([33, 95, 96]) == "A" + UNKNOWN_CHARACTER
    assert ASCII.foreign("aéßé") == ["é", "ß"] and LOWER.foreign("AB-c") == ["-"]


def test_what_follows_an_end_is_kept_as_published_unless_asked_otherwise() -> None:
    assert ASCII.decode([33, 96, 34]) == "AB"
    assert ASCII.decode([33, 96, 34], stop_at_end=True) == "A"


def test_long_texts_are_cut() -> None:
    assert ASCII.decode(ASCII.encode("abcdef", 3)) == "abc"


@given(st.text(CHARSETS["ascii"], max_size=25))
def test_round_trip(text: str) -> None:
    assert ASCII.decode(ASCII.encode(text, 25)) == text
    assert len(ASCII.encode(text, 25)) == 25


@pytest.mark.parametrize("characters", ["", "aba"])
def test_each_character_once(characters: str) -> None:
    with pytest.raises(ConfigError):
        Charset(characters)


def test_unknown_names_list_the_known() -> None:
    with pytest.raises(ConfigError, match="ascii, lower36"):
        Charset.named("latin")


@pytest.mark.parametrize(("path", "text"), [([], []), ([0, 0, 9, 0, 1, 1, 9], [0, 0, 1]), ([9, 9], [])])
def test_ctc_merges_repeats_then_drops_blanks(path: list[int], text: list[int]) -> None:
    assert collapse_ctc(path, blank=9) == text
