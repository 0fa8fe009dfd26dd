"""Every format that ground truth and predictions come in gives the same document."""

import json
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fasttcm.errors import DataError
from fasttcm.evaluation import score
from fasttcm.evaluation.formats import align_ids, image_number, load_words
from fasttcm.evaluation.lexicon_files import load_lexicon
from fasttcm.geometry import sample_sides

BOX = [[10, 20], [110, 20], [110, 60], [10, 60]]
FLAT = [v for point in BOX for v in point]
BEZIER = [10, 20, 40, 20, 80, 20, 110, 20, 110, 60, 80, 60, 40, 60, 10, 60]
IMAGE = {"id": 3, "file_name": "3.jpg", "width": 200, "height": 100}


def write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def coco(*annotations):
    return {"images": [IMAGE], "annotations": [{"image_id": 3, **a} for a in annotations], "categories": []}


def archive(path, members):
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def folder(path, members):
    path.mkdir()
    for name, content in members.items():
        write(path / name, content)
    return path


CURVE = {"0000003.txt": "10,60,110,60,110,20,10,20,####hello\n"}
QUADS = {"gt_img_3.txt": "10,20,110,20,110,60,10,60,hello\n"}
TRUTHS = {
    "ours": lambda d: write(d / "a", {"images": [{**IMAGE, "words": [{"points": BOX, "text": "hello"}]}]}),
    "ours-with-bom": lambda d: write(
        d / "a", "\ufeff" + json.dumps({"images": [{**IMAGE, "words": [{"points": BOX, "text": "hello"}]}]})
    ),
    "coco-polys": lambda d: write(d / "a", coco({"polys": FLAT, "text": "hello"})),
    "coco-points": lambda d: write(d / "a", coco({"polys": BOX, "rec": "hello"})),
    "coco-bezier": lambda d: write(d / "a", coco({"bezier_pts": BEZIER, "rec": [ord(c) - 32 for c in "hello"] + [96]})),
    "coco-segmentation": lambda d: write(d / "a", coco({"segmentation": [[0, 0, 1, 0, 1, 1], FLAT], "text": "hello"})),
    "coco-box": lambda d: write(d / "a", coco({"bbox": [10, 20, 100, 40], "text": "hello"})),
    "curve-zip": lambda d: archive(d / "a", CURVE),
    "curve-folder": lambda d: folder(d / "a", CURVE),
    "icdar2015-zip": lambda d: archive(d / "a", QUADS),
}


@pytest.mark.parametrize("make", TRUTHS.values(), ids=TRUTHS)
def test_ground_truth_of_every_format_scores_the_same(make, tmp_path):
    path = make(tmp_path)
    records = write(tmp_path / "b", [{"image_id": 3, "category_id": 1, "polys": BOX, "rec": "hello", "score": 0.9}])
    result = score(path, records, protocol="custom")
    assert (result.detection.hmean, result.end_to_end.hmean) == (1.0, 1.0)
    assert result.end_to_end.ground_truth == result.end_to_end.predicted == 1
    (iou,) = [match.iou for image in result.images.values() for match in image.detection.matches]
    assert iou == pytest.approx(1.0, abs=1e-6)


def test_names_sizes_and_the_order_of_words_are_kept(tmp_path):
    path = write(tmp_path / "gt", coco({"polys": FLAT, "text": "b"}, {"bezier_pts": BEZIER, "text": "a", "score": 0.5}))
    document = load_words(path, role="predictions")
    (image,) = document["images"]
    assert {key: image[key] for key in IMAGE} == IMAGE and document["source"] == str(path)
    assert [word["text"] for word in image["words"]] == ["b", "a"]
    assert [word.get("score") for word in image["words"]] == [None, 0.5]
    assert image["words"][0]["points"] == BOX
    assert image["words"][1]["points"] == sample_sides(np.array(BEZIER, float)).tolist()


def test_coco_marks_what_nobody_has_to_find(tmp_path):
    words = [{"text": "a"}, {"text": "b", "iscrowd": 1}, {"text": "c", "ignore": True}, {"text": ""}, {"rec": [96, 96]}]
    path = write(tmp_path / "gt", coco(*[{"polys": FLAT, **w} for w in words]))
    (image,) = load_words(path, role="ground truth")["images"]
    assert [word["text"] for word in image["words"]] == ["a", "###", "###", "###", "###"]
    without = write(tmp_path / "places", coco({"polys": FLAT}, {"polys": FLAT, "iscrowd": 1}))
    assert [w["text"] for w in load_words(without, role="ground truth")["images"][0]["words"]] == ["", "###"]


def test_records_are_grouped_by_image_in_their_order(tmp_path):
    records = [
        {"image_id": i, "polys": BOX, "rec": t, "score": s} for i, t, s in ((2, "a", 0.5), (1, "b", 1), (2, "c", 0.1))
    ]
    document = load_words(write(tmp_path / "p", records), role="predictions")
    assert [(e["id"], [w["text"] for w in e["words"]]) for e in document["images"]] == [(2, ["a", "c"]), (1, ["b"])]
    assert load_words(write(tmp_path / "empty", []), role="predictions")["images"] == []


@pytest.mark.parametrize(
    ("role", "content", "message"),
    [
        ("ground truth", [], "a list of records is a result file"),
        ("ground truth", 5, 'expected {"images"'),
        ("ground truth", {"words": []}, 'expected {"images"'),
        ("ground truth", "{", "is no valid JSON"),
        ("ground truth", "[" * 100_000, "is no valid JSON"),
        ("ground truth", coco({"text": "a"}), "annotation number 1: no outline"),
        ("ground truth", coco({"polys": FLAT[:-1], "text": "a"}), "'polys' has an odd number"),
        ("ground truth", coco({"bezier_pts": FLAT, "text": "a"}), "'bezier_pts' needs 16 numbers, got 8"),
        ("ground truth", coco({"bbox": [1, 2, 3], "text": "a"}), "'bbox' needs x, y, width and height"),
        ("ground truth", coco({"polys": ["x"] * 8, "text": "a"}), "'polys' must be a list of numbers"),
        ("ground truth", coco({"polys": FLAT, "rec": [200]}), "'rec' is neither"),
        ("ground truth", coco({"polys": FLAT, "text": "a", "image_id": 9}), "image_id 9 is not among the images"),
        ("ground truth", {"images": [IMAGE], "annotations": [7]}, "annotation number 1 has no"),
        ("ground truth", {"images": [IMAGE, IMAGE], "annotations": []}, "image id 3 occurs twice"),
        ("ground truth", {"images": 5, "annotations": []}, "need a list 'images'"),
        ("ground truth", coco({"segmentation": {"counts": "x"}, "text": "a"}), "'segmentation' must be a list"),
        ("ground truth", {"images": [{}], "annotations": []}, "image number 1 has no 'id'"),
        ("predictions", [{"polys": BOX}], "record number 1 has no 'image_id'"),
        ("predictions", [{"image_id": 1, "rec": "a"}], "record number 1: no outline"),
    ],
)
def test_a_bad_file_is_named_with_the_place(role, content, message, tmp_path):
    path = write(tmp_path / "bad.json", content)
    with pytest.raises(DataError) as caught:
        load_words(path, role=role)
    assert message in str(caught.value) and str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_what_is_wrong_with_a_word_is_found_by_the_scorer_and_named_with_the_file(tmp_path):
    truth = write(tmp_path / "gt", coco({"polys": FLAT, "text": "a"}))
    bad = [*FLAT[:-1], float("nan")]
    found = write(tmp_path / "pred", [{"image_id": 3, "polys": bad, "rec": "a", "score": 1}])
    with pytest.raises(DataError, match=r"pred: image 3, word 1: .*not a finite number"):
        score(truth, found)


@pytest.mark.parametrize(
    ("role", "words", "message"),
    [
        ("ground truth", [], "no word at all"),
        ("ground truth", [{"points": [[0, 0], [9, 9], [9, 0], [0, 9]], "text": "a"}], "word 1: the outline crosses"),
        ("predictions", [{"points": BOX}, {"points": BOX, "score": 1.5}], "word 2: score 1.5 is outside"),
        ("predictions", [{"points": BOX[:2]}], "word 1: the outline crosses itself or has no area"),
    ],
)
def test_strict_refuses_what_is_otherwise_mended(role, words, message, tmp_path):
    path = write(tmp_path / "doc", {"images": [{"id": 1, "words": words}]})
    assert load_words(path, role=role)["images"]
    with pytest.raises(DataError, match=message):
        load_words(path, role=role, strict=True)
    with pytest.raises(DataError, match="no image at all"):
        load_words(write(path, {"images": []}), role=role, strict=True)


def ids(*values):
    return {"images": [{"id": value, "words": []} for value in values]}


@pytest.mark.parametrize(
    ("truth", "found", "aligned"),
    [
        ((1, 2), ("0000002", "1"), (2, "1")),  # "1" is already 1
        (("0000001", "0000002"), (2, 1), ("0000002", "0000001")),
        (("1",), ("0000001",), ("0000001",)),  # two names are compared as names
        ((1,), ("img_1", 5, "x"), ("img_1", 5, "x")),
        ((1, "01"), ("0001",), (1,)),
        (("0001", "01"), (1,), ("0001",)),  # the first of them
        ((1,), ("9" * 5000,), ("9" * 5000,)),
    ],
)
def test_numbers_and_names_of_images_are_matched(truth, found, aligned):
    assert [entry["id"] for entry in align_ids(ids(*truth), ids(*found))["images"]] == list(aligned)


def test_malformed_documents_pass_through_alignment():
    for bad in ({}, {"images": 5}, {"images": [7]}):
        assert align_ids(bad, ids(1)) == ids(1) and align_ids(ids(1), bad) == bad


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**9), st.integers(0, 7))
def test_the_number_of_an_image_survives_every_spelling(number, width):
    assert image_number(number) == image_number(f"img_{number:0{width + 1}d}") == image_number(str(number)) == number
    assert image_number("none") is None


def test_strong_lexicons_are_read_for_the_images_asked(tmp_path):
    for k, words in ((1, ["ALPHA"]), (2, ["BETA"]), (12, ["GAMMA"])):
        write(tmp_path / f"new_voc_img_{k}.txt", "".join(f"{w}\n" for w in words))
    write(tmp_path / "pair_voc_img_2.txt", "BETA Beta\n")
    lexicons = load_lexicon(tmp_path, kind="strong", image_ids=[1, "0000002", "img_12"])
    assert {key: one.spellings for key, one in lexicons.items()} == {
        "1": ["ALPHA"],
        "0000002": ["Beta"],
        "img_12": ["GAMMA"],
    }
    for image_id, message in ((5, "no strong lexicon for image 5"), ("five", "holds no number")):
        with pytest.raises(DataError, match=message):
            load_lexicon(tmp_path, image_ids=[image_id])
    with pytest.raises(DataError, match="in their own folder"):
        load_lexicon(tmp_path, tmp_path / "pair_voc_img_2.txt", kind="strong")


def test_published_names_are_found_in_a_folder(tmp_path):
    write(tmp_path / "weak_voc_new.txt", "ALPHA\n")
    write(tmp_path / "weak_voc_pair_list.txt", "ALPHA Alpha\n")
    assert load_lexicon(tmp_path, kind="full", protocol="totaltext").spellings == ["Alpha"]
    assert load_lexicon(tmp_path, kind="full", protocol="ctw1500").spellings == ["ALPHA"]  # its pair list is not read
    with pytest.raises(DataError, match="no generic lexicon in this folder"):
        load_lexicon(tmp_path, kind="generic")


def test_testr_has_its_own_rules(tmp_path):
    words, pairs = write(tmp_path / "w.txt", "NEW YORK\n"), write(tmp_path / "p.txt", "NEW YORK New York\n")
    assert load_lexicon(words, pairs, kind="full", protocol="totaltext", flavour="testr").spellings == ["New York"]
    generic = load_lexicon(words, kind="generic", protocol="icdar2015", flavour="testr")
    assert generic.rule.name == "testr_weighted_nearest"
    assert load_lexicon(words, kind="generic", protocol="icdar2015", flavour="testr", rule="testr").rule.name == "testr"


junk = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 200) | st.floats() | st.text("ab1#é\0", max_size=3),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["images", "annotations", "id", "image_id", "words", "points", "polys", "text", "rec", "score"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(junk, st.sampled_from(["ground truth", "predictions"]))
def test_no_json_ends_in_anything_but_a_line_about_it(tmp_path_factory, content, role):
    path = write(tmp_path_factory.getbasetemp() / "junk.json", content)
    truth = {"images": [{"id": 1, "words": []}]}
    try:
        score(path, truth) if role == "ground truth" else score(truth, path)
    except DataError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n", b"", b"\xff\xfe{\x00"])
def test_a_file_of_another_kind_is_named(content, tmp_path):
    (tmp_path / "gt").write_bytes(content)
    with pytest.raises(DataError, match="gt: the ground truth is no valid JSON"):
        load_words(tmp_path / "gt", role="ground truth")
