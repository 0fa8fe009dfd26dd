import logging

import pytest

from fasttcm.charset import Charset, TextEncoder
from fasttcm.errors import ConfigError, DataError

LOWER = Charset.named("lower36")


def test_rows_are_those_of_the_charset() -> None:
    encode = TextEncoder(LOWER, max_length=4)
    assert encode(["ab", "cdef", ""]) == [LOWER.encode(text, 4) for text in ("ab", "cdef", "")]
    assert (encode.cut, encode.foreign) == (0, 0)
    assert encode([]) == []


def test_long_texts_are_cut_counted_and_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    encode = TextEncoder(LOWER, max_length=3)
    with caplog.at_level(logging.WARNING):
        assert encode(["abcd", "abc"], "a.png") + encode(["abcde"], "b.png") == [LOWER.encode("abc", 3)] * 3
    assert encode.cut == 2
    assert [record.getMessage() for record in caplog.records] == [
        "a.png: text 'abcd' has 4 characters, the model reads at most 3: it is cut, as others may be"
    ]


def test_long_texts_can_be_refused() -> None:
    encode = TextEncoder(LOWER, max_length=3, too_long="refuse")
    assert encode(["abc"]) == [LOWER.encode("abc", 3)]
    with pytest.raises(DataError, match=r"^b\.png: text 'abcd' has 4 characters.*at most 3; raise MODEL\.TEXT"):
        encode(["abc", "abcd"], "b.png")
    with pytest.raises(ConfigError, match="cut or refuse, not 'drop'"):
        TextEncoder(LOWER, max_length=3, too_long="drop")


def test_foreign_characters_become_unknown_and_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    encode = TextEncoder(LOWER, max_length=3)
    with caplog.at_level(logging.WARNING):
        rows = encode(["aé", "Ab", "-"], "c.png")
    assert rows[0] == [0, LOWER.unknown, LOWER.end] and rows[1][:2] == [0, 1]
    assert encode.foreign == 2 and len(caplog.records) == 1 and "c.png: text 'aé'" in caplog.text


def test_what_did_not_fit_is_summed_up() -> None:
    encode = TextEncoder(LOWER, max_length=3)
    encode(["abc"])
    assert encode.summary() == ""
    encode(["abcd", "é", "abcdé"])
    assert encode.summary() == (
        "2 texts were longer than 3 characters and were cut; "
        '2 texts had characters outside the charset, which became "unknown"'
    )


def test_the_length_is_that_of_the_text_in_the_case_of_the_set() -> None:
    # Lower case of U+0130 has two characters, of which the second would be cut.
    encode = TextEncoder(LOWER, max_length=1)
    encode(["\u0130"])
    assert encode.cut == 1
