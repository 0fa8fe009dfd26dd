import sys
from pathlib import Path

import numpy as np
import pytest

from fasttcm.data.synth import SynthOptions, fonts
from fasttcm.data.synth.fonts import FontLibrary, load_fonts, remember_fonts
from fasttcm.data.synth.options import PRESETS
from fasttcm.data.synth.split import in_split
from fasttcm.data.synth.vocabulary import Vocabulary, load_words, sample_code, sample_text
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
        assert face.covers("Az09") and face.seen("aZ") == "aZ"
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
    monkeypatch.setattr(fonts, "_LIBRARIES", {})
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


def test_own_vocabulary_is_added_and_unusable_words_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("zebra yak # animals\nzebra na\u00efve yak's " + "x" * 26)
    words = load_words(path)
    assert words.more == ("zebra", "yak") and words.words == load_words().words
    assert len(words) == len(load_words()) + 2 and words[len(words) - 1] == "yak"
    rng = np.random.default_rng(0)
    picked = [words.pick(rng) for _ in range(2000)]
    assert 0.3 < np.mean([word in ("zebra", "yak") for word in picked]) < 0.6
    assert picked.count("the") > picked.count("free") > 0
    assert words.digest() == load_words(path).digest() != load_words().digest()


@pytest.mark.parametrize(
    ("content", "message"), [("# nothing\n", "no word"), ("na\u00efve", "printable ASCII"), (None, "cannot read")]
)
def test_a_vocabulary_without_words_is_refused(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "words.txt"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError, match=message):
        load_words(path)


def test_splits_share_no_word_of_more_than_three_letters() -> None:
    train, held_out, everything = (set(load_words(None, split)) for split in ("train", "validation", "all"))
    assert train | held_out == everything and 0.08 < len(held_out - train) / len(everything) < 0.17
    assert max(map(len, train & held_out)) == 3
    both = Vocabulary(["sister", "Sister's", "SISTER"], split="train"), ["sister", "Sister's", "SISTER"]
    assert in_split("sister", "train") and list(both[0]) == both[1]
    with pytest.raises(DataError, match="falls into the split"):
        Vocabulary(["sister"], split="validation")


def test_every_printable_character_is_drawn() -> None:
    rng, words = np.random.default_rng(1), load_words()
    seen = set().union(*(sample_text(rng, words) for _ in range(30000)))
    assert seen == {chr(code) for code in range(33, 127)}
    codes = [sample_code(rng) for _ in range(200)]
    assert all(any(c.isalnum() for c in code) for code in codes) and len(set(codes)) > 150


def test_font_families_are_split_by_name(tmp_path: Path) -> None:
    whole = load_fonts()
    parts = [load_fonts((), split) for split in ("train",)]
    for part in parts:
        assert {face.path for face in part.faces} == {f.path for f in whole.faces if in_split(f.family, "train")}
    assert {face.family for face in whole.faces if face.path.stem.startswith("DejaVu")} == {"deja"}
    (tmp_path / "one.ttf").write_bytes(a_good_font().read_bytes())
    assert len(load_fonts((tmp_path,), "train").faces) == 1 and in_split("deja", "train")
    with pytest.raises(DataError, match="falls into the split 'validation'"):
        load_fonts((tmp_path,), "validation")


def test_a_family_is_picked_before_its_faces_and_the_digest_tells_files_apart() -> None:
    library = load_fonts()
    rng = np.random.default_rng(0)
    picked = [library.pick(rng) for _ in range(4000)]
    assert {face.path for face in picked} == {face.path for face in library.faces}
    total = sum(len(family) ** 0.5 for family in library.families)
    for family in library.families:
        share = np.mean([face.family == family[0].family for face in picked])
        assert share == pytest.approx(len(family) ** 0.5 / total, abs=0.03)
    assert library.digest() != FontLibrary(library.faces[1:], 0).digest()
    places = (Path("nowhere at all"),)
    remember_fonts(places, "all", library)
    assert load_fonts(places) is library


def test_small_capitals_and_ornaments_are_recognised_by_their_look() -> None:
    from PIL import ImageFont

    glyphs = fonts._glyphs(ImageFont.truetype(str(a_good_font()), fonts.PROBE_SIZE))
    plain = fonts._plain()[1]
    prints, _ = fonts._fingerprints(glyphs, plain) or pytest.fail("no letters")
    recognised, alike, _ = fonts._likeness(prints)
    assert recognised > 0.5 and alike < fonts.ONE_CASE
    for letters, case in ((fonts.UPPER, "upper"), (fonts.LOWER, "lower")):
        same = dict(glyphs)
        for shape, upper, lower in zip(letters, fonts.UPPER, fonts.LOWER, strict=True):
            same[upper] = same[lower] = glyphs[shape]
        prints, _ = fonts._fingerprints(same, plain) or pytest.fail("no letters")
        assert fonts._likeness(prints)[1:] == (pytest.approx(1.0, abs=1e-5), case)
    scrambled = dict(glyphs)
    for i, character in enumerate(fonts.ALPHANUMERIC):
        scrambled[character] = glyphs[fonts.ALPHANUMERIC[(i + 7) % 62]]
    prints, _ = fonts._fingerprints(scrambled, plain) or pytest.fail("no letters")
    assert fonts._likeness(prints)[0] < fonts.READABLE
    empty = {**glyphs, "Q": ((0, 0), b"")}
    assert fonts._fingerprints(empty, plain) is None


def test_presets() -> None:
    assert SynthOptions.preset("signs") == SynthOptions()
    photo = SynthOptions.preset("photo", words_per_image=(1, 2))
    assert photo.words_per_image == (1, 2) and photo.camera_blur == PRESETS["photo"]["camera_blur"] > 0
    with pytest.raises(ConfigError, match="signs, photo"):
        SynthOptions.preset("painting")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("curved_probability", 1.5),
        ("image_size", (8, 64)),
        ("word_height", (40, 20)),
        ("words_per_image", (-1, 2)),
        ("max_rotation", 200.0),
        ("effect_strength", -1.0),
        ("camera_blur", -1.0),
        ("image_height", (8, 64)),
        ("compression", (0, 50)),
        ("distractors", (3, 1)),
        ("split", "test"),
    ],
)
def test_options_out_of_range_are_refused(field: str, value: object) -> None:
    with pytest.raises(ConfigError):
        SynthOptions(**{field: value})
