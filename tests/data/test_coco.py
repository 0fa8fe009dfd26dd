import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fasttcm.charset import Charset
from fasttcm.data.coco import TextDataset, concatenate
from fasttcm.errors import DataError
from fasttcm.geometry import polygon_to_bezier, sample_sides

Write = Callable[..., Path]
Word = Callable[..., dict[str, Any]]

SQUARE = [10.0, 10, 30, 10, 30, 20, 10, 20]


def test_a_word_arrives_as_annotated(write_dataset: Write, make_word: Word) -> None:
    dataset = TextDataset.from_json(write_dataset([make_word(5)]))
    record = dataset[0]
    assert (len(dataset), dataset.num_words, len(dataset.problems)) == (1, 1, 0)
    assert (record.image_id, record.height, record.width, record.file_name) == (1, 48, 64, "1.png")
    assert record.file_path.is_file()
    assert record.targets.boxes.tolist() == [[10, 8, 40, 20]]
    assert record.targets.beziers[0].tolist() == make_word(5)["bezier_pts"]
    assert record.targets.texts == ["word"] and record.targets.labels.tolist() == [0]
    assert record.targets.ignore.tolist() == [False]


def test_missing_polygon_is_sampled_from_the_curve(write_dataset: Write, make_word: Word) -> None:
    targets = TextDataset.from_json(write_dataset([make_word(1)]))[0].targets
    expected = sample_sides(np.asarray(make_word(1)["bezier_pts"]))
    np.testing.assert_allclose(targets.polygons[0], expected, rtol=1e-6)


@pytest.mark.parametrize(
    "polys", [SQUARE, [SQUARE], np.asarray(SQUARE).reshape(-1, 2).tolist(), [[0, 0, 1, 0, 1, 1], SQUARE]]
)
def test_polygons_may_be_flat_nested_or_points(write_dataset: Write, make_word: Word, polys: list[Any]) -> None:
    path = write_dataset([make_word(1, bezier_pts=None, bbox=None, polys=polys)])
    targets = TextDataset.from_json(path)[0].targets
    assert targets.polygons[0].reshape(-1).tolist() == SQUARE
    np.testing.assert_allclose(targets.beziers[0], polygon_to_bezier(np.asarray(SQUARE)), rtol=1e-6)
    assert targets.boxes.tolist() == [[10, 10, 30, 20]]


def test_a_box_alone_is_a_rectangle_read_left_to_right(write_dataset: Write, make_word: Word) -> None:
    targets = TextDataset.from_json(write_dataset([make_word(1, bezier_pts=None)]))[0].targets
    assert targets.polygons[0].tolist() == [[10, 8], [40, 8], [40, 20], [10, 20]]
    assert targets.beziers[0].tolist() == [10, 8, 20, 8, 30, 8, 40, 8, 40, 20, 30, 20, 20, 20, 10, 20]


def test_a_triangle_has_curves_too(write_dataset: Write, make_word: Word) -> None:
    path = write_dataset([make_word(1, bezier_pts=None, bbox=None, polys=[10, 10, 30, 10, 20, 25])])
    targets = TextDataset.from_json(path)[0].targets
    assert targets.beziers[0, [0, 1, 6, 7, 8, 9, 14, 15]].tolist() == [10, 10, 30, 10, 20, 25, 20, 25]


def test_rec_is_decoded_and_text_wins(write_dataset: Write, make_word: Word) -> None:
    rec = [ord(c) - 32 for c in "Hi ~"] + [95] + [96] * 20
    words = [make_word(1, text=None, rec=rec), make_word(2, text=None, rec="plain"), make_word(3, text="text", rec=rec)]
    assert TextDataset.from_json(write_dataset(words))[0].targets.texts == ["Hi ~口", "plain", "text"]


def test_rec_follows_the_charset_it_was_written_in(write_dataset: Write, make_word: Word) -> None:
    path = write_dataset([make_word(1, text=None, rec=[2, 0, 1, 4, 4])])
    dataset = TextDataset.from_json(path, rec_charset=Charset("abc"))
    assert dataset[0].targets.texts == ["cab"]


@pytest.mark.parametrize(
    "fields", [{"text": "###"}, {"text": ""}, {"text": None, "rec": [96] * 25}, {"iscrowd": 1}, {"ignore": 1}]
)
def test_illegible_empty_crowd_and_ignored_words_are_dont_care(
    write_dataset: Write, make_word: Word, fields: dict[str, Any]
) -> None:
    dataset = TextDataset.from_json(write_dataset([make_word(1, **fields), make_word(2)]))
    assert dataset[0].targets.ignore.tolist() == [True, False] and not dataset.problems


def test_a_dataset_without_transcriptions_is_for_detection(write_dataset: Write, make_word: Word) -> None:
    dataset = TextDataset.from_json(write_dataset([make_word(1, text=None), make_word(2, text=None)]), strict=True)
    assert dataset[0].targets.texts == ["", ""] and not dataset[0].targets.ignore.any()


BAD_ANNOTATIONS: list[tuple[dict[str, Any], str]] = [
    ({"bbox": None, "bezier_pts": None}, "missing fields"),
    ({"bbox": None, "bezier_pts": None, "polys": [1, 1, 5, 5]}, "fewer than 3 points"),
    ({"polys": [[1, 1], [5, 5]]}, "fewer than 3 points"),
    ({"segmentation": [[]]}, "fewer than 3 points"),
    ({"polys": [1, 1, 5, 1, 5, 5, 1]}, "odd number"),
    ({"bbox": None, "bezier_pts": None, "polys": [1, 1, 5, 5, 9, 9, 3, 3]}, "zero area"),
    ({"bbox": [10, 10, 0, 5]}, "zero area"),
    ({"bbox": [10, 10, 5, -5]}, "zero area"),
    ({"bbox": [10, 10, float("nan"), 5]}, "NaN"),
    ({"bbox": [10, 10, 1e300, 5]}, "NaN"),
    ({"bbox": [10, 10, 5]}, "bbox needs 4"),
    ({"bbox": [10, 10, "wide", 5]}, "not a list of numbers"),
    ({"bezier_pts": [1.0] * 15}, "bezier_pts needs 16"),
    ({"bezier_pts": [float("inf")] * 16}, "NaN or infinity"),
    ({"bbox": [100, 8, 30, 12]}, "outside the image"),
    ({"bbox": [-40, 8, 30, 12], "bezier_pts": None}, "outside the image"),
    ({"bbox": None, "bezier_pts": None, "polys": [10, 50, 30, 50, 30, 60, 10, 60]}, "outside the image"),
    ({"image_id": 99}, "unknown image_id"),
    ({"image_id": None}, "unknown image_id"),
    ({"image_id": [1]}, "unknown image_id"),
    ({"category_id": 7}, "unknown category_id"),
]


@pytest.mark.parametrize(("fields", "reason"), BAD_ANNOTATIONS)
def test_bad_annotation_is_skipped_counted_and_located(
    write_dataset: Write, make_word: Word, fields: dict[str, Any], reason: str
) -> None:
    path = write_dataset([make_word(1), make_word(12, **fields), make_word(3)])
    dataset = TextDataset.from_json(path)
    assert dataset.num_words == 2 and len(dataset.problems) == 1
    assert reason in dataset.problems.summary()
    assert f"{path}: annotation #1 (id 12): " in dataset.problems.messages[0]
    with pytest.raises(DataError, match="id 12") as caught:
        TextDataset.from_json(path, strict=True)
    assert reason in str(caught.value) and "\n" not in str(caught.value)


def test_box_across_the_border_is_clipped_and_its_curve_kept(write_dataset: Write, make_word: Word) -> None:
    dataset = TextDataset.from_json(write_dataset([make_word(1, bbox=[-5, 8, 40, 60])]))
    targets = dataset[0].targets
    assert targets.boxes.tolist() == [[0, 8, 35, 48]]
    assert targets.beziers[0].tolist() == make_word(1)["bezier_pts"]
    assert dict(dataset.problems.counts) == {"box crosses the image border (clipped)": 1}


def test_box_on_the_border_is_no_finding(write_dataset: Write, make_word: Word) -> None:
    dataset = TextDataset.from_json(write_dataset([make_word(1, bbox=[0, 0, 65, 48])]), strict=True)
    assert dataset[0].targets.boxes.tolist() == [[0, 0, 64, 48]]


def test_foreign_characters_are_kept_and_counted(write_dataset: Write, make_word: Word) -> None:
    path = write_dataset([make_word(1, text="Été"), make_word(2, text="OK"), make_word(3, text="ÉÉ")])
    dataset = TextDataset.from_json(path, charset=Charset.named("lower36"))
    assert dataset[0].targets.texts == ["Été", "OK", "ÉÉ"]
    assert dict(dataset.problems.counts) == {"character outside the charset (kept as unknown)": 2}
    assert "Éé" in dataset.problems.messages[0]


@pytest.mark.parametrize("text", [17, [1, "a"], [400], [-1], {"a": 1}])
def test_unreadable_transcription_is_illegible(write_dataset: Write, make_word: Word, text: object) -> None:
    dataset = TextDataset.from_json(write_dataset([make_word(1, text=text), make_word(2, text=None), make_word(3)]))
    assert dataset[0].targets.ignore.tolist() == [True, True, False]
    assert len(dataset.problems) == 2 and "missing" in dataset.problems.messages[1]


def test_annotation_that_is_no_object(write_dataset: Write, make_word: Word) -> None:
    dataset = TextDataset.from_json(write_dataset([None, "x", make_word(1)]))
    assert dataset.num_words == 1 and dataset.problems.counts["annotation is not an object (skipped)"] == 2


def test_repeated_ids(write_dataset: Write, make_word: Word) -> None:
    path = write_dataset([make_word(1), make_word(1)])
    content = json.loads(path.read_text())
    content["images"].append(content["images"][0])
    path.write_text(json.dumps(content))
    dataset = TextDataset.from_json(path)
    assert (len(dataset), dataset.num_words) == (1, 2)
    assert dict(dataset.problems.counts) == {
        "image id used twice (the later one skipped)": 1,
        "annotation id used twice (kept)": 1,
    }


@pytest.mark.parametrize(
    "name", ["../secret.png", "/etc/passwd", "a/../../secret.png", "C:\\x.png", "link.png", "up/secret.png"]
)
def test_file_name_that_leaves_the_folder_is_refused(
    write_dataset: Write, make_word: Word, tmp_path: Path, name: str
) -> None:
    path = write_dataset([make_word(1, image_id=9), make_word(2)])
    Image.new("RGB", (64, 48)).save(tmp_path / "secret.png")
    os.symlink(tmp_path / "secret.png", tmp_path / "images" / "link.png")
    os.symlink(tmp_path, tmp_path / "images" / "up")
    content = json.loads(path.read_text())
    content["images"].append({"id": 9, "file_name": name, "height": 48, "width": 64})
    path.write_text(json.dumps(content))
    dataset = TextDataset.from_json(path)
    assert [record.image_id for record in dataset] == [1]
    assert dict(dataset.problems.counts) == {"file name leaves the image folder (image skipped)": 1}
    with pytest.raises(DataError, match="leaves the image folder"):
        TextDataset.from_json(path, strict=True)


def test_links_inside_the_folder_and_a_linked_folder_are_fine(
    write_dataset: Write, make_word: Word, tmp_path: Path
) -> None:
    path = write_dataset([make_word(1)])
    (tmp_path / "images").rename(tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", tmp_path / "images")
    (tmp_path / "elsewhere" / "1.png").rename(tmp_path / "elsewhere" / "real.png")
    os.symlink("real.png", tmp_path / "elsewhere" / "1.png")
    assert len(TextDataset.from_json(path, strict=True)) == 1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"file_name": "gone.png"}, "image file missing"),
        ({"file_name": "nowhere/gone.png"}, "image file missing"),
        ({"file_name": ""}, "file name missing"),
        ({"file_name": 4}, "file name missing"),
        ({"file_name": "a\0b"}, "file name missing"),
        ({"id": None}, "image without an id"),
        ({"id": True}, "image without an id"),
    ],
)
def test_unusable_image_is_skipped_with_its_words(
    write_dataset: Write, make_word: Word, changes: dict[str, Any], reason: str
) -> None:
    entry = {"id": 9, "file_name": "1.png", "height": 48, "width": 64} | changes
    path = write_dataset([make_word(1, image_id=9), make_word(2)] if "id" not in changes else [make_word(2)])
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"images": [entry, *content["images"]]}))
    dataset = TextDataset.from_json(path)
    assert (len(dataset), dataset.num_words, len(dataset.problems)) == (1, 1, 1)
    assert reason in dataset.problems.summary() and "image #0" in dataset.problems.messages[0]


def test_missing_size_is_read_from_the_file(write_dataset: Write, make_word: Word) -> None:
    path = write_dataset([make_word(1)])
    content = json.loads(path.read_text())
    del content["images"][0]["height"]
    path.write_text(json.dumps(content))
    dataset = TextDataset.from_json(path)
    assert (dataset[0].height, dataset[0].width) == (48, 64) and len(dataset.problems) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"images": [,]}', "line 1, column 13"),
        ('{\n "images": [\n', "line 3, column 1"),
        ("", "line 1, column 1"),
        ("[1, 2]", 'list "images"'),
        ('{"images": {}}', 'list "images"'),
        ('{"images": [], "annotations": 3}', "must be a list"),
        ("[" * 100_000, "JSON"),
        (b"\xff\xfe\x00", "UTF-8"),
    ],
)
def test_broken_json_is_one_line_with_the_place(tmp_path: Path, content: str | bytes, message: str) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=r"bad\.json") as caught:
        TextDataset.from_json(path)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_missing_annotation_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"not found: .*gone\.json"):
        TextDataset.from_json(tmp_path / "gone.json")


def test_byte_order_mark_is_allowed(write_dataset: Write, make_word: Word) -> None:
    path = write_dataset([make_word(1)])
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert TextDataset.from_json(path).num_words == 1


def test_images_without_words_stay_unless_filtered(write_dataset: Write, make_word: Word) -> None:
    words = [make_word(1, image_id=3, text="c"), make_word(2, image_id=1, text="a"), make_word(3, image_id=3, text="d")]
    path = write_dataset(words, num_images=4)
    texts = [record.targets.texts for record in TextDataset.from_json(path)]
    assert texts == [["a"], [], ["c", "d"], []]
    kept = TextDataset.from_json(path, filter_empty=True)
    assert [(record.image_id, record.targets.texts) for record in kept] == [(1, ["a"]), (3, ["c", "d"])]


def test_a_dataset_without_any_text(write_dataset: Write) -> None:
    path = write_dataset([], num_images=2)
    targets = TextDataset.from_json(path)[1].targets
    assert targets.beziers.shape == (0, 16) and targets.boxes.shape == (0, 4) and len(targets) == 0
    assert len(TextDataset.from_json(path, filter_empty=True)) == 0


def test_categories_become_labels_in_order(write_dataset: Write, make_word: Word) -> None:
    categories = [{"id": 8, "name": "ship"}, {"id": 3, "name": "plane"}]
    words = [make_word(1, category_id=8), make_word(2, category_id=3)]
    dataset = TextDataset.from_json(write_dataset(words, categories=categories))
    assert dataset.categories == ("plane", "ship") and dataset[0].targets.labels.tolist() == [1, 0]


def test_image_root_named_in_the_json(write_dataset: Write, make_word: Word, tmp_path: Path) -> None:
    path = write_dataset([make_word(1)], image_root="../images")
    (tmp_path / "deep").mkdir()
    moved = path.rename(tmp_path / "deep" / "a.json")
    assert TextDataset.from_json(moved, strict=True)[0].file_path.resolve() == tmp_path / "images" / "1.png"
    moved.write_text(moved.read_text().replace("../images", "../../images"))
    with pytest.raises(DataError, match="image_root"):
        TextDataset.from_json(moved)


def test_concatenated_datasets_follow_each_other(write_dataset: Write, make_word: Word) -> None:
    first = TextDataset.from_json(write_dataset([make_word(1, text="a")], num_images=2), name="one")
    second = TextDataset.from_json(write_dataset([make_word(1, image_id=2, text="b"), None], num_images=2), name="two")
    both = concatenate([first, second])
    assert (len(both), both.num_words, both.name) == (4, 2, "one+two")
    assert [record.targets.texts for record in both] == [["a"], [], [], ["b"]]
    assert len(both.problems) == 1
    with pytest.raises(IndexError):
        both[4]


def test_records_do_not_share_memory_with_the_index(write_dataset: Write, make_word: Word) -> None:
    dataset = TextDataset.from_json(write_dataset([make_word(1)]))
    targets = dataset[0].targets
    targets.boxes.zero_()
    targets.polygons[0][:] = 0
    assert dataset[0].targets.boxes.abs().sum() > 0 and abs(dataset[0].targets.polygons[0]).sum() > 0


def test_the_index_is_compact_and_travels_to_workers(write_dataset: Write, make_word: Word) -> None:
    path = write_dataset([make_word(i, text=f"word{i}") for i in range(2000)])
    dataset = TextDataset.from_json(path)
    copy = pickle.loads(pickle.dumps(dataset))
    assert copy[0].targets.texts[1999] == "word1999"
    assert dataset.nbytes / 2000 < 130
    assert len(pickle.dumps(dataset)) < dataset.nbytes + 5000  # nothing but the buffers


def test_messages_are_limited_but_all_findings_counted(write_dataset: Write, make_word: Word) -> None:
    dataset = TextDataset.from_json(write_dataset([make_word(i, image_id=99) for i in range(50)]))
    assert len(dataset.problems) == 50 and len(dataset.problems.messages) == 20
