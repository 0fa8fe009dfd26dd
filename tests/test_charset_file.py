import io
import pickle
from pathlib import Path

import pytest

from fasttcm.charset import Charset, named_by_size
from fasttcm.charset_file import MAX_BYTES, read_characters
from fasttcm.errors import ConfigError

CHINESE = "天地玄黄 AZaz09\u2028"
"""With a space and a line separator, which are characters like any other."""


def write(folder: Path, content: str | bytes, name: str = "characters.txt") -> Path:
    file = folder / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("last", [True, False])
def test_a_character_a_line(tmp_path: Path, ending: str, last: bool) -> None:
    text = ending.join(CHINESE) + (ending if last else "")
    assert read_characters(write(tmp_path, text)) == CHINESE


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"], ids=["plain", "byte order mark"])
@pytest.mark.parametrize("end", [b"", b"\n"])
def test_all_characters_in_one_line(tmp_path: Path, start: bytes, end: bytes) -> None:
    assert read_characters(write(tmp_path, start + CHINESE.encode() + end)) == CHINESE


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("values", [[ord(c) for c in CHINESE], list(CHINESE)], ids=["code points", "characters"])
def test_the_published_pickle_of_a_list(tmp_path: Path, protocol: int, values: list[object]) -> None:
    assert read_characters(write(tmp_path, pickle.dumps(values, protocol), "chn_cls_list")) == CHINESE


def test_a_set_of_the_published_size(tmp_path: Path) -> None:
    characters = "".join(chr(0x4E00 + i) for i in range(5461))
    charset = Charset.named(str(write(tmp_path, pickle.dumps([ord(c) for c in characters]), "chn_cls_list")))
    assert (charset.num_classes, charset.unknown, charset.end) == (5463, 5461, 5462)
    assert charset.encode(characters[-1] + "A", 3) == [5460, 5461, 5462]
    assert charset.decode([5460, 0]) == characters[-1] + characters[0]


class Harmful:
    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (Path("harm_was_done"),)


def persistent() -> bytes:
    class Pickler(pickle.Pickler):
        def persistent_id(self, obj: object) -> str | None:
            return "1" if isinstance(obj, float) else None

    stream = io.BytesIO()
    Pickler(stream).dump([1.0])
    return stream.getvalue()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("content", [[Harmful()], [97, Harmful(), 98]])
def test_nothing_in_a_pickle_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: list[object], protocol: int
) -> None:
    monkeypatch.chdir(tmp_path)
    file = write(tmp_path, pickle.dumps(content, protocol), "evil")
    with pytest.raises(ConfigError, match=r"evil.*more than a list of characters.*not read") as error:
        read_characters(file)
    assert "\n" not in str(error.value) and not Path("harm_was_done").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps({"a": 1}), r"more than a list of characters \(EMPTY_DICT\)"),
        (pickle.dumps([b"a"]), "more than a list of characters"),
        (pickle.dumps([1.5]), r"more than a list of characters \(BINFLOAT\)"),
        (persistent(), r"more than a list of characters \(BINPERSID\)"),
        (pickle.dumps([True]), r"more than a list of characters \(NEWTRUE\)"),
        (pickle.dumps([True], 0), "True is neither a character nor a code point"),
        (pickle.dumps(["ab"]), "'ab' is neither a character nor a code point"),
        (pickle.dumps([97, [98]]), "it holds 2 lists"),
        (pickle.dumps("abc"), "'abc' is neither|it holds 0 lists"),
        (pickle.dumps([-1]), "not a pickled list of characters"),
        (pickle.dumps([0x110000]), "not a pickled list of characters"),
        (pickle.dumps([0xD800]), "surrogates not allowed"),
        (pickle.dumps([97, 98])[:-3], "not a pickled list of characters"),
        (b"\x80", "not a pickled list of characters"),
        (b"\xff\xfe\x00", "neither UTF-8 text nor a pickled list"),
        ("ab\nc\n", "line 1: 'ab' is not a single character"),
        ("a\n\nb\n", "line 2: '' is not a single character"),
        ("a\nb\na\n", r"charset file .*: a charset needs each character once, got duplicates \['a'\]"),
        ("", r"charset file .*: a charset needs each character once, got none"),
        (b"a" * (MAX_BYTES + 1), "larger than"),
    ],
)
def test_other_content_is_named(tmp_path: Path, content: str | bytes, message: str) -> None:
    file = write(tmp_path, content, "odd.txt")
    with pytest.raises(ConfigError, match=message) as error:
        Charset.named(str(file))
    assert "odd.txt" in str(error.value) and "\n" not in str(error.value)


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.txt.*cannot be read: No such file"):
        read_characters(tmp_path / "gone.txt")
    for name in (str(tmp_path / "gone.txt"), str(tmp_path), "x" * 5000, "a\0b"):
        with pytest.raises(ConfigError, match=r"neither a known one \(ascii, lower36\) nor a file here"):
            Charset.named(name)


def test_written_out_characters_and_mere_numbers() -> None:
    assert Charset.named("characters:天a ").characters == "天a "
    assert [named_by_size(number) for number in (97, 38, 5463)] == ["ascii", "lower36", "unlisted:5461"]
    with pytest.raises(ConfigError, match=r"reads 5461 characters and does not say which; let MODEL\.TEXT\.CHARSET"):
        Charset.named("unlisted:5461")
