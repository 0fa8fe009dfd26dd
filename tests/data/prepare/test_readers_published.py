"""ArT, LSVT, NightTime-ArT, ReCTS, TextOCR and COCO-Text in their published syntax, nasty lines included."""

import json

import numpy as np
import pytest

from fasttcm.data.prepare.readers.rects import read_rects
from fasttcm.data.prepare.readers.rrc_json import read_art, read_lsvt, read_nighttime_art
from fasttcm.data.prepare.readers.textocr import read_cocotext, read_textocr
from fasttcm.data.prepare.source import MissingSplitError
from fasttcm.errors import DataError

SQUARE = [[10, 20], [60, 18], [60, 40], [10, 42]]
FLAT = [10, 20, 60, 18, 60, 40, 10, 42]
CURVED = [[x, 50 + (x - 60) ** 2 / 200] for x in range(20, 101, 20)] + [
    [x, 70 + (x - 60) ** 2 / 200] for x in range(100, 19, -20)
]


def art(**changes):
    word = {"transcription": "CAFE", "points": SQUARE, "language": "Latin", "illegibility": False}
    return word | changes


IMAGES = {f"train_images/gt_{i}.jpg": (120, 90) for i in (0, 1, 17)}


def test_art(read_with):
    labels = {
        "gt_0": [art(), art(transcription="###", illegibility=True), art(points=CURVED, transcription="Zoé, 3/4")],
        "gt_17": [],
    }
    pictures, problems = read_with(read_art, {"train_labels.json": json.dumps(labels), **IMAGES}, "train")
    assert [picture.image for picture in pictures] == ["train_images/gt_0.jpg", "train_images/gt_17.jpg"]
    words = pictures[0].words
    assert [word.text for word in words] == ["CAFE", "###", "Zoé, 3/4"]
    assert [word.ignore for word in words] == [False, True, False]
    np.testing.assert_array_equal(words[2].points, CURVED)
    assert words[1].place == "train_labels.json: gt_0, word 2"
    assert pictures[1].words == [] and not len(problems)


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"points": SQUARE[:3]}, "fewer than 4 points (skipped)"),
        ({"points": [10, 20, 60, 18, 60, 40, 10]}, "points has an odd number of coordinates (skipped)"),
        ({"points": [[10, 20], [60], [60, 40], [10, 42]]}, "points is not a list of numbers (skipped)"),
        ({"points": "10,20,60,18"}, "points is not a list of numbers (skipped)"),
        ({"points": None}, "points holds NaN, infinity or nothing (skipped)"),
        ({"points": {"x": 1}}, "points is not a list of numbers (skipped)"),
        (
            {"points": [[10, 20], [float("nan"), 18], [60, 40], [10, 42]]},
            "points holds NaN, infinity or nothing (skipped)",
        ),
        ({"points": [[10, 20], [1e300, 18], [60, 40], [10, 42]]}, "points holds a number beyond 1e+07 (skipped)"),
    ],
)
def test_a_broken_outline_is_skipped_with_its_place(read_with, change, reason):
    files = {"train_labels.json": json.dumps({"gt_0": [art(), art(**change), art(transcription="kept")]}), **IMAGES}
    pictures, problems = read_with(read_art, files, "train")
    assert [word.text for word in pictures[0].words] == ["CAFE", "kept"]
    assert dict(problems.counts) == {reason: 1}
    assert problems.messages[0].startswith("train_labels.json: gt_0, word 2: ")


def test_what_else_goes_wrong_in_a_label_file(read_with):
    text = json.dumps({"gt_0": [art(transcription=None), art(transcription=2020), "word"], "gt_1": "none", "gt_5": []})
    text = text[:-1] + f', "gt_0": [{json.dumps(art(transcription="later"))}]}}'
    pictures, problems = read_with(read_art, {"train_labels.json": "\ufeff" + text, **IMAGES}, "train")
    assert [word.text for word in pictures[0].words] == ["###", "###"]
    assert pictures[1].words == []
    assert dict(problems.counts) == {
        "JSON key used twice (the later one skipped)": 1,
        "transcription missing (taken as illegible)": 1,
        "transcription not a text (taken as illegible)": 1,
        "word is not an object (skipped)": 1,
        "words are not a list (image kept without them)": 1,
        "image missing in the source (image skipped)": 1,
    }


@pytest.mark.parametrize(
    "text, message",
    [
        ('{"gt_0": [],}', "not valid JSON at line 1, column 13"),
        ('{"gt_0":\n [}', "not valid JSON at line 2, column 3"),
        ("", "not valid JSON at line 1, column 1"),
        ("[]", "expected"),
        ("[" * 100_000, "nested too deeply"),
        ('{"gt_0": ' + "9" * 5000 + "}", "not usable JSON"),
    ],
)
def test_a_label_file_that_is_none(read_with, text, message):
    with pytest.raises(DataError, match=message):
        read_with(read_art, {"train_labels.json": text, **IMAGES}, "train")


def test_latin1_labels_are_read(read_with):
    text = json.dumps({"gt_0": [art(transcription="Café")]}, ensure_ascii=False).encode("latin-1")
    pictures, _ = read_with(read_art, {"train_labels.json": text, **IMAGES}, "train")
    assert pictures[0].words[0].text == "Café"


def test_lsvt_takes_the_full_labels(read_with):
    word = {"transcription": "饺子", "points": SQUARE, "illegibility": False}
    files = {
        "train_full_labels.json": json.dumps({"gt_0": [word]}),
        "train_weak_labels.json": "{}",
        "train_full_images_0/gt_0.jpg": (120, 90),
    }
    pictures, problems = read_with(read_lsvt, files, "train")
    assert pictures[0].image == "train_full_images_0/gt_0.jpg"
    assert pictures[0].words[0].text == "饺子" and not len(problems)


def test_a_source_without_labels_says_what_is_expected(read_with):
    with pytest.raises(DataError, match=r"expected one file train_labels\.json beside the pictures"):
        read_with(read_art, IMAGES, "train")


def test_nighttime_art_takes_the_listed_pictures(read_with, tmp_path):
    ids = tmp_path / "ids.txt"
    ids.write_bytes("﻿gt_17.jpg\r\n# by night\r\n0\ngt_17\nhouse\ngt_99,\n".encode())
    files = {"train_labels.json": json.dumps({f"gt_{i}": [art()] for i in (0, 1, 17)}), **IMAGES}
    pictures, problems = read_with(read_nighttime_art, files, ids=str(ids))
    assert [picture.image for picture in pictures] == ["train_images/gt_0.jpg", "train_images/gt_17.jpg"]
    assert dict(problems.counts) == {
        "picture listed twice (taken once)": 1,
        "no picture of ArT is called so (line skipped)": 1,
        "picture is not in ArT's training labels (skipped)": 1,
    }
    assert problems.messages[0] == f"{ids}, line 4: picture listed twice (taken once): gt_17"


@pytest.mark.parametrize("content, message", [(None, "--ids"), ("# none\n", "lists no picture"), ("missing", "cannot")])
def test_nighttime_art_without_a_list(read_with, tmp_path, content, message):
    ids = tmp_path / "ids.txt"
    if content not in (None, "missing"):
        ids.write_text(content)
    files = {"train_labels.json": json.dumps({"gt_0": [art()]}), **IMAGES}
    with pytest.raises(DataError, match=message):
        read_with(read_nighttime_art, files, ids=None if content is None else str(ids))


def rects(text="饺子", ignore=0, points=(10, 20, 90, 20, 90, 50, 10, 50)):
    return {"points": list(points), "transcription": text, "ignore": ignore}


def test_rects_reads_lines_and_prefers_unicode(read_with):
    one = {"chars": [rects("饺")], "lines": [rects(), rects("###", 1), rects(points=range(10))]}
    pictures, problems = read_with(
        read_rects,
        {
            "ReCTS/train/img/train_ReCTS_000001.jpg": (120, 90),
            "ReCTS/train/img/train_ReCTS_000002.jpg": (120, 90),
            "ReCTS/train/img/train_ReCTS_000003.jpg": (120, 90),
            "ReCTS/train/gt/train_ReCTS_000001.json": '{"lines": "garbled"}',
            "ReCTS/train/gt_unicode/train_ReCTS_000001.json": json.dumps(one),
            "ReCTS/train/gt_unicode/train_ReCTS_000002.json": "{",
            "ReCTS/train/gt_unicode/train_ReCTS_000003.json": "{}",
            "ReCTS/train/gt_unicode/train_ReCTS_000004.json": json.dumps(one),
        },
        "train",
    )
    assert [picture.image.rpartition("/")[2] for picture in pictures] == [
        "train_ReCTS_000001.jpg",
        "train_ReCTS_000003.jpg",
    ]
    assert [(word.text, word.ignore) for word in pictures[0].words] == [("饺子", False), ("###", True)]
    np.testing.assert_array_equal(pictures[0].words[0].points, [[10, 20], [90, 20], [90, 50], [10, 50]])
    assert dict(problems.counts) == {
        "a line of ReCTS has 4 corners (skipped)": 1,
        "annotation file unusable (image skipped)": 1,
        "words are not a list (image kept without them)": 1,
        "image missing in the source (image skipped)": 1,
    }
    assert "line 3" in problems.messages[0] and "column 2" in problems.messages[1]


def test_rects_without_annotations(read_with):
    with pytest.raises(MissingSplitError, match="train_ReCTS"):
        read_with(read_rects, {"test/img/test_ReCTS_000001.jpg": (20, 20)}, "train")


def textocr():
    return {
        "info": {"version": "0.1"},
        "imgs": {
            "a4ea7": {"id": "a4ea7", "width": 120, "height": 90, "set": "train", "file_name": "train/a4ea7.jpg"},
            "00b1": {"id": "00b1", "width": 120, "height": 90, "set": "train", "file_name": "train/00b1.jpg"},
            "77": {"id": "77", "width": 120, "height": 90, "set": "val", "file_name": "train/77.jpg"},
        },
        "anns": {
            "a4ea7_1": {"id": "a4ea7_1", "image_id": "a4ea7", "utf8_string": "Café", "points": FLAT},
            "a4ea7_2": {"id": "a4ea7_2", "image_id": "a4ea7", "utf8_string": ".", "points": FLAT},
            "a4ea7_3": {"id": "a4ea7_3", "image_id": "a4ea7", "utf8_string": "x", "points": [1, 2, 3, 4, 5, 6]},
            "b_1": {"id": "b_1", "image_id": "b", "utf8_string": "x", "points": FLAT},
        },
        "imgToAnns": {"a4ea7": ["a4ea7_1", "a4ea7_2", "a4ea7_3"]},
    }


def test_textocr(read_with):
    files = {
        "TextOCR_0.1_train.json": json.dumps(textocr()),
        "train_images/a4ea7.jpg": (120, 90),
        "train_images/00b1.jpg": (120, 90),
    }
    pictures, problems = read_with(read_textocr, files, "train")
    assert [(picture.image, picture.size, picture.image_id) for picture in pictures] == [
        ("train_images/a4ea7.jpg", (120, 90), None),
        ("train_images/00b1.jpg", (120, 90), None),
    ]
    assert [(word.text, word.ignore) for word in pictures[0].words] == [("Café", False), (".", True)]
    assert dict(problems.counts) == {
        "annotation of an unknown image (skipped)": 1,
        "fewer than 4 points (skipped)": 1,
    }
    assert "annotation a4ea7_3" in problems.messages[1]
    with pytest.raises(MissingSplitError, match=r"TextOCR_\*_val\.json"):
        read_with(read_textocr, files, "val")


def test_cocotext(read_with):
    mask = [10.5, 20, 60, 18, 60, 40, 10, 42]
    common = {"image_id": 217925, "class": "machine printed", "language": "english", "mask": mask}
    content = {
        "cats": {},
        "anns": {
            "1": {"id": 1, "legibility": "legible", "utf8_string": "New", **common},
            "2": {"id": 2, "legibility": "illegible", "utf8_string": "", **common},
            "3": {"id": 3, "legibility": "legible", **common},
            "4": {"id": 4, "legibility": "so so", "utf8_string": "x", **common},
        },
        "imgs": {
            "217925": {"id": 217925, "set": "train", "width": 120, "height": 90, "file_name": "COCO_train2014_1.jpg"},
            "3": {"id": 3, "set": "train", "width": 120, "height": 90, "file_name": "COCO_train2014_3.jpg"},
            "4": {"id": 4, "set": "val", "width": 120, "height": 90, "file_name": "COCO_train2014_4.jpg"},
        },
    }
    files = {"cocotext.v2.json": json.dumps(content)}
    files |= {f"train2014/COCO_train2014_{i}.jpg": (120, 90) for i in (1, 3, 4)}
    pictures, problems = read_with(read_cocotext, files, "train")
    assert [picture.image_id for picture in pictures] == [217925, 3]
    assert [(word.text, word.ignore) for word in pictures[0].words] == [("New", False), ("", True), ("###", False)]
    np.testing.assert_array_equal(pictures[0].words[0].points, np.reshape(mask, (4, 2)))
    assert sorted(problems.counts) == [
        "legibility is neither legible nor illegible (skipped)",
        "transcription missing (taken as illegible)",
    ]
    pictures, _ = read_with(read_cocotext, files, "val")
    assert [picture.image_id for picture in pictures] == [4]
    with pytest.raises(MissingSplitError, match="no image of the set 'test'"):
        read_with(read_cocotext, files, "test")
