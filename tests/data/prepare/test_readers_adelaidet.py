"""AdelaiDet's, DeepSolo's and TESTR's JSONs as they are."""

import json

import numpy as np
import pytest

from fasttcm.charset import Charset
from fasttcm.data.prepare.readers.adelaidet import read_adelaidet
from fasttcm.data.prepare.source import MissingSplitError
from fasttcm.errors import DataError
from fasttcm.geometry import sample_sides

BEZIER = [10.333333333, 20, 36.1, 12.7, 63.123456789, 12, 90, 20, 90, 50, 63, 42, 36, 42, 10, 50]
POLYGON = [*np.linspace(10, 90, 8).repeat(2).tolist(), *np.linspace(90, 10, 8).repeat(2).tolist()]
POLYGON[1::2] = [20.0] * 8 + [50.0] * 8
SIZE = (120, 90)


def rec(text, charset="ascii", length=25):
    return Charset.named(charset).encode(text, length)


def annotation(number, **changes):
    one = {"id": number, "image_id": 1, "category_id": 1, "iscrowd": 0, "bbox": [10, 12, 80, 38], "bezier_pts": BEZIER}
    return {key: value for key, value in (one | {"rec": rec("Cafe")} | changes).items() if value is not None}


def content(*annotations):
    images = [{"id": 1, "file_name": "0000001.jpg", "width": 120, "height": 90}]
    categories = [{"id": 1, "name": "text"}]
    return json.dumps({"images": images, "annotations": list(annotations), "categories": categories})


def test_beziers_are_kept_to_the_last_digit(read_with):
    files = {"train.json": content(annotation(1)), "train_images/0000001.jpg": SIZE}
    pictures, problems = read_with(read_adelaidet, files, "train")
    assert [(picture.image, picture.size, picture.image_id) for picture in pictures] == [
        ("train_images/0000001.jpg", SIZE, 1)
    ]
    (word,) = pictures[0].words
    assert word.bezier.tolist() == BEZIER and word.ordered and word.text == "Cafe" and not word.ignore
    np.testing.assert_allclose(word.points, sample_sides(np.array(BEZIER), 8), atol=1e-12)
    assert not len(problems)


def test_testr_polygons_are_kept(read_with):
    files = {"train_poly.json": content(annotation(1, bezier_pts=None, polys=POLYGON)), "0000001.jpg": SIZE}
    pictures, problems = read_with(read_adelaidet, files, "train")
    (word,) = pictures[0].words
    assert not len(problems)
    assert word.points.ravel().tolist() == POLYGON and word.bezier is None and word.ordered
    pictures, _ = read_with(read_adelaidet, {"train_poly.json": content(annotation(1, polys=POLYGON))}, "train")
    assert pictures[0].words[0].bezier.tolist() == BEZIER and len(pictures[0].words[0].points) == 16


def test_a_file_says_what_the_classes_of_a_chinese_set_are(read_with, tmp_path):
    (tmp_path / "characters.txt").write_text("".join(chr(0x4E00 + i) for i in range(5461)))
    chinese = annotation(1, rec=[0, 5460, 5461, 5462, 5462])
    files = {"train.json": content(chinese), "0000001.jpg": SIZE}
    pictures, problems = read_with(read_adelaidet, files, "train", charset=str(tmp_path / "characters.txt"))
    assert pictures[0].words[0].text == "\u4e00" + chr(0x4E00 + 5460) + "口" and not len(problems)
    pictures, problems = read_with(read_adelaidet, files, "train")
    assert pictures[0].words[0].text == "###" and "nor classes of the charset" in problems.summary()


@pytest.mark.parametrize("charset, expected", [("ascii", "Hi 5!"), ("lower36", "hi5")])
def test_both_sets_of_classes_are_told_apart(read_with, charset, expected):
    text = {"ascii": "Hi 5!", "lower36": "Hi5"}[charset]
    annotations = [annotation(1, rec=rec(text, charset)), annotation(2, rec=rec("7", charset))]
    files = {"train_37voc.json": content(*annotations), "0000001.jpg": SIZE}
    pictures, problems = read_with(read_adelaidet, files, "train")
    assert [word.text for word in pictures[0].words] == [expected, "7"] and not len(problems)


def test_splits_and_a_chosen_file(read_with):
    files = {
        "annotations/ic15_train.json": content(annotation(1)),
        "annotations/ic15_test.json": content(annotation(1, rec=rec("test"))),
        "annotations/both.json": content(annotation(1, rec=rec("both"))),
        "images/0000001.jpg": SIZE,
    }
    for split, expected in [("train", "Cafe"), ("test", "test"), ("", "both")]:
        assert read_with(read_adelaidet, files, split)[0][0].words[0].text == expected
    pictures, _ = read_with(read_adelaidet, files, "", annotations="annotations/ic15_test.json")
    assert pictures[0].words[0].text == "test"
    with pytest.raises(MissingSplitError):
        read_with(read_adelaidet, files, "train", annotations="annotations/ic15_test.json")
    with pytest.raises(MissingSplitError):
        read_with(read_adelaidet, files, "val")
    with pytest.raises(DataError, match=r"are both of the split 'train'; choose one with --annotations"):
        read_with(read_adelaidet, {"annotations/ic15_train_96voc.json": content()}, "train")


def test_what_is_wrong_is_reported(read_with):
    annotations = [
        annotation(1, bezier_pts=BEZIER[:15]),
        annotation(2, rec=None),
        annotation(2, rec=[5000] * 25),
        annotation(4, image_id=7),
        annotation(5, bezier_pts=[float("nan")] * 16),
        annotation(6, iscrowd=1),
        annotation(7, bezier_pts=None, bbox=None),
        annotation(8, bezier_pts=None, polys=["a"] * 32),
        [],
    ]
    files = {"train.json": content(*annotations), "0000001.jpg": SIZE}
    pictures, problems = read_with(read_adelaidet, files, "train")
    assert [(word.text, word.ignore) for word in pictures[0].words] == [("###", True), ("###", True), ("Cafe", True)]
    assert dict(problems.counts) == {
        "annotation id used twice (kept)": 1,
        "annotation of an unknown image (skipped)": 1,
        "annotation is not an object (skipped)": 1,
        "bezier_pts needs 16 numbers (skipped)": 1,
        "transcription missing (taken as illegible)": 1,
        "transcription is neither text nor classes of the charset (taken as illegible)": 1,
        "bezier_pts holds NaN or infinity (skipped)": 1,
        "missing fields: no bbox, bezier_pts or polys (skipped)": 1,
        "polys is not a list of numbers (skipped)": 1,
    }


@pytest.mark.parametrize("text", ["{}", "[]", '{"images": [], "annotations": {}}'])
def test_another_json_is_passed_over_unless_it_was_chosen(read_with, text):
    files = {"info.json": text, "results.json": content(annotation(1)), "0000001.jpg": SIZE}
    pictures, problems = read_with(read_adelaidet, files)
    assert len(pictures) == 1 and len(problems) == 1 and problems.messages[0].startswith("info.json: no COCO-style")
    with pytest.raises(DataError, match=r"^info\.json: expected an object with the lists"):
        read_with(read_adelaidet, files, annotations="info.json")
    with pytest.raises(MissingSplitError, match=r"no COCO-style JSON among train/a\.json"):
        read_with(read_adelaidet, {"train/a.json": text}, "train")


@pytest.mark.parametrize("text", ["{", ""])
def test_a_broken_json_is_an_error(read_with, text):
    with pytest.raises(DataError, match=r"^train\.json: not valid JSON at line 1, column"):
        read_with(read_adelaidet, {"train.json": text}, "train")


def test_a_file_without_transcriptions_is_for_detection(read_with):
    files = {"train.json": content(annotation(1, rec=None)), "0000001.jpg": SIZE}
    pictures, problems = read_with(read_adelaidet, files, "train")
    assert pictures[0].words[0].text is None and not pictures[0].words[0].ignore and not len(problems)
