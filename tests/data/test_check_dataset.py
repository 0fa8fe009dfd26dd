import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fasttcm.charset import Charset
from fasttcm.data.annotations import parse_annotation
from fasttcm.data.catalog import resolve_dataset
from fasttcm.data.check import CheckReport, check_dataset
from fasttcm.data.strange import Oddities
from fasttcm.data.word_shapes import measure_word
from fasttcm.geometry import sample_sides

Write = Callable[..., Path]
Word = Callable[..., dict[str, Any]]
BOX = [10, 8, 40, 8, 40, 20, 10, 20]


def polygon_word(make_word: Word, number: int, points: list[float], **fields: Any) -> dict[str, Any]:
    box = np.array(points, float).reshape(-1, 2)
    low, high = box.min(0), box.max(0)
    return make_word(number, polys=points, bezier_pts=None, bbox=[*low, *(high - low)], **fields)


def check(path: Path, **options: Any) -> CheckReport:
    return check_dataset(resolve_dataset(path), **options)


def problems(report: CheckReport) -> set[tuple[str, str]]:
    return set(report.counts)


def test_a_sound_dataset_has_no_findings(write_dataset: Write, make_word: Word) -> None:
    path = write_dataset([make_word(1), polygon_word(make_word, 2, [5, 30, 50, 30, 50, 40, 5, 40], text="###")])
    report = check(path, charset=Charset.named("ascii"))
    assert report.findings == [] and report.errors == []
    figures = report.statistics
    assert (figures["images"], figures["words"], figures["ignored"], figures["words_with_text"]) == (1, 2, 1, 1)
    assert figures["points_of_polygons"] == {"0": 1, "4": 1} and figures["characters_of_words"] == {"4": 1}
    assert figures["characters"] == {"d": 1, "o": 1, "r": 1, "w": 1} and figures["classes"] == {"text": 2}
    assert figures["image_width"]["50%"] == 64 and figures["word_height_pixels"]["smallest"] == pytest.approx(
        10, abs=0.5
    )
    assert json.loads(json.dumps(report.to_dict()))["sound"] is True


@pytest.mark.parametrize(
    ("points", "finding"),
    [
        ([10, 8, 10, 20, 40, 20, 40, 8], ("error", "outline runs counter-clockwise")),
        ([10, 8, 40, 20, 40, 8, 10, 15], ("error", "outline crosses itself")),
        ([40, 20, 10, 20, 10, 8, 40, 8], ("notice", "starts at another corner than the rule of reading order finds")),
        ([-9, 8, 40, 8, 40, 20, -9, 20], ("notice", "outline leaves the image")),
    ],
)
def test_outlines_are_judged(
    write_dataset: Write, make_word: Word, points: list[float], finding: tuple[str, str]
) -> None:
    path = write_dataset([make_word(1, bbox=[42.0, 30.0, 10.0, 10.0]), polygon_word(make_word, 7, points)])
    report = check(path)
    assert finding in problems(report)
    first = next(f for f in report.findings if f.problem == finding[1])
    assert "annotation #1 (id 7) in 1.png" in first.place and str(path) in first.place
    assert bool(report.errors) == (finding[0] == "error")


def test_a_curve_elsewhere_than_its_polygon(write_dataset: Write, make_word: Word) -> None:
    curve = make_word(1)["bezier_pts"]
    fitting = sample_sides(np.array(curve), 5).ravel().tolist()
    assert not check(write_dataset([make_word(1, polys=fitting)])).findings
    shifted = (np.array(fitting) + 9).tolist()
    report = check(write_dataset([make_word(1, polys=shifted)]))
    assert ("error", "curve and polygon disagree") in problems(report)


def test_words_and_images_listed_twice(write_dataset: Write, make_word: Word) -> None:
    path = write_dataset([make_word(1), make_word(2), make_word(3, text="other")])
    assert problems(check(path)) == {("error", "the same word twice")}
    content = json.loads(path.read_text())
    content["images"].append(content["images"][0] | {"id": 2})
    path.write_text(json.dumps(content))
    assert problems(check(path)) >= {("error", "image file listed twice"), ("notice", "image without words")}


def test_what_the_reader_skips_is_an_error_with_its_place(write_dataset: Write, make_word: Word) -> None:
    words = [make_word(n, image_id=9) for n in range(30)] + [make_word(99, text="naïve")]
    report = check(write_dataset(words), charset=Charset.named("ascii"))
    assert report.counts == {
        ("error", "unknown image_id (skipped)"): 30,
        ("notice", "character outside the charset (kept as unknown)"): 1,
    }
    assert all("annotation #" in finding.place for finding in report.findings)  # all, not the first twenty


def test_images_are_opened(write_dataset: Write, make_word: Word, tmp_path: Path) -> None:
    path = write_dataset([make_word(n, image_id=n) for n in (1, 2, 3)], num_images=3)
    (tmp_path / "images" / "1.png").write_bytes((tmp_path / "images" / "1.png").read_bytes()[:60])
    Image.new("RGB", (60, 48)).save(tmp_path / "images" / "2.png")
    seen: list[tuple[str, int, int | None]] = []
    report = check(path, progress=lambda *step: seen.append(step))
    assert [(f.problem, f.place.rpartition("/")[2]) for f in report.errors] == [
        ("image cannot be read", "1.png (image id 1)"),
        ("image is not of the annotated size", "2.png (image id 2)"),
    ]
    assert "60 x 48, not 64 x 48" in report.errors[1].detail and seen[-1] == ("images", 3, 3)
    assert len(check(path, decode=False).errors) == 1  # the header of the damaged one is sound


def test_exif_orientation_is_honoured(write_dataset: Write, make_word: Word, tmp_path: Path) -> None:
    path = write_dataset([make_word(1)])
    image, exif = Image.new("RGB", (48, 64)), Image.Exif()
    exif[0x0112] = 6  # displayed as 64 x 48
    image.save(tmp_path / "images" / "1.png", exif=exif)
    for decode in (True, False):
        assert not check(path, decode=decode).findings
    content = json.loads(path.read_text())
    content["images"][0] |= {"width": 48, "height": 64}  # marked on the stored picture
    path.write_text(json.dumps(content))
    assert not check(path).findings


def test_the_card_has_to_fit(write_dataset: Write, make_word: Word, tmp_path: Path) -> None:
    path = write_dataset([make_word(1)])
    (tmp_path / "words.txt").write_text("WORD\n")
    (tmp_path / "strong").mkdir()
    card = {
        "lexicons": {"full": "words.txt", "weak": "none.txt", "strong": "strong"},
        "sha256": {"annotations.json": hashlib.sha256(path.read_bytes()).hexdigest()},
        "counts": {"images": 1, "words": 2},
    }
    (tmp_path / "card.json").write_text(json.dumps(card))
    assert problems(check(tmp_path)) == {
        ("error", "lexicon of the card is missing"),
        ("error", "lexicon of the card is an empty folder"),
        ("error", "number of words is not that of the card"),
    }
    card = {"sha256": {"annotations.json": "0" * 64}}
    (tmp_path / "card.json").write_text(json.dumps(card))
    assert [f.problem.split(":")[0] for f in check(tmp_path).errors] == ["checksum is not that of the card"]


def word_shape(points: list[float], text: str = "word", **entry: Any) -> Any:
    fields = {"polys": points, "text": text} | entry
    parsed = parse_annotation(fields, height=480, width=640, rec_charset=Charset.named("ascii"))
    return measure_word(parsed, height=480, width=640)


def test_measures_do_not_depend_on_bending() -> None:
    straight = word_shape([10, 8, 110, 8, 110, 28, 10, 28])
    assert (straight.length, straight.height) == pytest.approx((100, 20))
    assert straight.letter_width == pytest.approx(1.25) and straight.clockwise and straight.starts_well
    angle = np.linspace(-0.8, 0.8, 40)
    arc = [np.stack([300 + r * np.sin(angle), 300 - r * np.cos(angle)], 1) for r in (110, 90)]
    bent = word_shape(np.concatenate([arc[0], arc[1][::-1]]).ravel().tolist())
    assert bent.height == pytest.approx(20, rel=0.01) and bent.length == pytest.approx(160, rel=0.01)


def test_the_strangest_come_first_with_their_reasons() -> None:
    oddities = Oddities()
    rng = np.random.default_rng(0)
    for number in range(200):
        w, h = rng.uniform(70, 90), rng.uniform(18, 22)
        oddities.add(number, 0, f"#{number}", word_shape([10, 8, 10 + w, 8, 10 + w, 8 + h, 10, 8 + h]))
    oddities.add(500, 1, "thin", word_shape([10, 8, 400, 8, 400, 12, 10, 12]))
    oddities.add(501, 2, "reversed", word_shape([10, 8, 10, 28, 90, 28, 90, 8]))
    oddities.add(502, 3, "crossed", word_shape([10, 8, 90, 28, 90, 8, 10, 27]))
    oddities.add(503, 4, "letters", word_shape([10, 8, 90, 8, 90, 28, 10, 28], text="far too many letters for this"))
    found = oddities.strangest(30)
    assert len(found) == 30 and {word.place for word in found[:4]} == {"thin", "reversed", "crossed", "letters"}
    reasons = {word.place: word.reasons for word in found}
    assert "long and thin" in reasons["thin"] and reasons["reversed"][0] == "counter-clockwise"
    assert reasons["crossed"][0] == "crosses itself" and reasons["letters"] == ("letters narrow",)
    assert [word.score for word in found] == sorted((word.score for word in found), reverse=True)
    assert Oddities().strangest(30) == []
