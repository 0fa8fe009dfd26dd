import sys
from pathlib import Path

import numpy as np
import pytest

from fasttcm.data.synth import SynthOptions
from fasttcm.data.synth.fonts import load_fonts
from fasttcm.data.synth.vocabulary import load_words, sample_text
from fasttcm.errors import ConfigError, DataError


def a_good_font() -> Path:
    return next(face.path for face in load_fonts().faces if face.path.stem == "DejaVuSans")


def test_default_fonts_can_write_and_symbol_fonts_are_left_out() -> None:
    library = load_fonts()
    names = {face.path.stem for face in library.faces}
    assert "DejaVuSans" in names and "cmr10" in names
    assert not {name for name in names if name.startswith(("cmex", "cmsy", "STIXSiz", "LastResort"))}
    assert library.skipped > 0
    for face in library.faces:
        assert face.covers("Az09") and not face.unicase
        assert 0.6 < face.height_ratio < 1.3


def test_a_glyph_that_the_font_lacks_is_not_covered() -> None:
    face = next(face for face in load_fonts().faces if face.path.stem == "cmr10")
    assert face.covers("Hello,") and not face.covers("a_b") and not face.covers("\u4e2d")


def test_folders_are_searched_recursively_and_broken_files_counted(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "good.TTF").write_bytes(a_good_font().read_bytes())
    (tmp_path / "broken.otf").write_bytes(b"not a font")
    (tmp_path / "cut.ttf").write_bytes(a_good_font().read_bytes()[:500])
    (tmp_path / "notes.txt").write_text("not looked at")
    library = load_fonts((tmp_path,))
    assert [face.path.name for face in library.faces] == ["good.TTF"]
    assert library.skipped == 2


def test_bad_places_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere does not exist"):
        load_fonts((tmp_path / "nowhere",))
    (tmp_path / "broken.ttf").write_bytes(b"")
    with pytest.raises(DataError, match=r"none of 1 \.ttf or \.otf files"):
        load_fonts((tmp_path,))


def test_missing_matplotlib_names_the_extra_and_the_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    load_fonts.cache_clear()
    with pytest.raises(DataError, match=r"fasttcm\[eval\].*--fonts"):
        load_fonts()


def test_texts_are_printable_without_spaces_and_bounded() -> None:
    rng, words = np.random.default_rng(0), load_words()
    assert len(words) > 2500
    texts = [sample_text(rng, words) for _ in range(3000)] + [sample_text(rng, words, max_length=4) for _ in range(300)]
    assert all(33 <= ord(c) <= 126 for text in texts for c in text)
    assert max(map(len, texts)) <= 25 and min(map(len, texts)) >= 1
    assert max(map(len, texts[3000:])) <= 4
    shares = {kind: sum(test(t) for t in texts[:3000]) / 3000 for kind, test in TESTS.items()}
    assert 0.1 < shares["digits"] < 0.4 and shares["upper"] > 0.2 and shares["lower"] > 0.1 and shares["title"] > 0.15


TESTS = {
    "digits": lambda text: any(c.isdigit() for c in text),
    "upper": lambda text: text.isalpha() and text.isupper(),
    "lower": lambda text: text.isalpha() and text.islower(),
    "title": lambda text: text.isalpha() and text.istitle(),
}


def test_own_vocabulary(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("zebra yak # animals\nzebra\n")
    assert load_words(path) == ("zebra", "yak")
    path.write_text("# nothing\n")
    load_words.cache_clear()
    with pytest.raises(DataError, match="no word"):
        load_words(path)
    path.write_text("na\u00efve")
    with pytest.raises(DataError, match="printable ASCII"):
        load_words(path)
    with pytest.raises(DataError, match="cannot read"):
        load_words(tmp_path / "missing.txt")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("curved_probability", 1.5),
        ("image_size", (8, 64)),
        ("word_height", (40, 20)),
        ("words_per_image", (-1, 2)),
        ("max_rotation", 200.0),
        ("effect_strength", -1.0),
    ],
)
def test_options_out_of_range_are_refused(field: str, value: object) -> None:
    with pytest.raises(ConfigError):
        SynthOptions(**{field: value})
