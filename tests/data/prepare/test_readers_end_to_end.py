"""Every reader through ``fasttcm prepare``: what it writes is a dataset that loads without a complaint."""

import json
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from fasttcm.cli.main import main
from fasttcm.data.catalog import load_dataset
from fasttcm.data.prepare.recipes import RECIPES
from fasttcm.data.prepare.run import prepare_dataset
from fasttcm.data.prepare.source import Source
from fasttcm.data.problems import Problems
from fasttcm.errors import DataError

QUAD = [[10.5, 20.0], [90.0, 18.0], [91.0, 40.0], [11.0, 42.0]]
FLAT = [number for point in QUAD for number in point]
CORNERS = ",".join(map(str, FLAT))
SHARES = " ".join(str(value / side) for point in QUAD for value, side in zip(point, (120, 90), strict=True))
SIZE = (120, 90)
BEZIER = [10.333333333, 20, 36.1, 12.7, 63.123456789, 12, 90, 20, 90, 50, 63, 42, 36, 42, 10, 50]
WORD = {"transcription": "CAFE", "points": QUAD, "illegibility": False}

TEXTOCR = {
    "imgs": {"a4": {"id": "a4", "width": 120, "height": 90, "set": "train", "file_name": "train/a4.jpg"}},
    "anns": {"a4_1": {"id": "a4_1", "image_id": "a4", "utf8_string": "CAFE", "points": FLAT}},
}
COCOTEXT = {
    "imgs": {"7": {"id": 7, "width": 120, "height": 90, "set": "val", "file_name": "COCO_train2014_7.jpg"}},
    "anns": {"1": {"id": 1, "image_id": 7, "utf8_string": "CAFE", "mask": FLAT, "legibility": "legible"}},
}
COCO = {
    "images": [{"id": 5, "file_name": "a.jpg", "width": 120, "height": 90}],
    "annotations": [{"id": 1, "image_id": 5, "segmentation": [FLAT], "text": "CAFE"}],
}
ADELAIDET = {
    "images": [{"id": 5, "file_name": "a.jpg", "width": 120, "height": 90}],
    "annotations": [{"id": 1, "image_id": 5, "bezier_pts": BEZIER, "rec": [35, 33, 38, 37, *[96] * 21]}],
}
LABELME = {"shapes": [{"label": "CAFE", "points": QUAD}], "imagePath": "a.jpg", "imageHeight": 90, "imageWidth": 120}
CVAT = (
    '<annotations><image id="0" name="a.jpg" width="120" height="90"><polygon label="text" points="'
    + ";".join(f"{x},{y}" for x, y in QUAD)
    + '"><attribute name="text">CAFE</attribute></polygon></image></annotations>'
)

SOURCES = {
    "art": ({"train_labels.json": json.dumps({"gt_0": [WORD]}), "train_images/gt_0.jpg": SIZE}, "train", {}),
    "lsvt": ({"train_full_labels.json": json.dumps({"gt_0": [WORD]}), "images_0/gt_0.jpg": SIZE}, "train", {}),
    "rects": (
        {
            "train/gt_unicode/train_ReCTS_000001.json": json.dumps({"lines": [WORD | {"points": FLAT, "ignore": 0}]}),
            "train/img/train_ReCTS_000001.jpg": SIZE,
        },
        "train",
        {},
    ),
    "textocr": ({"TextOCR_0.1_train.json": json.dumps(TEXTOCR), "train_images/a4.jpg": SIZE}, "train", {}),
    "cocotext": ({"cocotext.v2.json": json.dumps(COCOTEXT), "train2014/COCO_train2014_7.jpg": SIZE}, "val", {}),
    "adelaidet": ({"annotations/ic15_test.json": json.dumps(ADELAIDET), "test_images/a.jpg": SIZE}, "test", {}),
    "labelme": ({"a.json": json.dumps(LABELME), "a.jpg": SIZE}, "", {}),
    "cvat": ({"annotations.xml": CVAT, "images/a.jpg": SIZE}, "", {}),
    "coco_polygons": ({"annotations/val.json": json.dumps(COCO), "images/a.jpg": SIZE}, "val", {}),
    "paddleocr": ({"Label.txt": f"x/a.jpg\t{json.dumps([WORD])}\n", "x/a.jpg": SIZE}, "", {}),
    "csv_quads": ({"words.csv": f"a.jpg,{CORNERS},CAFE\n", "a.jpg": SIZE}, "", {}),
    "yolo_obb": (
        {
            "data.yaml": "names: [plane, ship]",
            "images/train/a.jpg": SIZE,
            "labels/train/a.txt": f"1 {SHARES}",
        },
        "train",
        {},
    ),
    "dota": (
        {"train/images/P0.png": SIZE, "train/labelTxt/P0.txt": CORNERS.replace(",", " ") + " ship 0"},
        "train",
        {"tile_size": 120, "tile_overlap": 20},
    ),
    "dota15": (
        {"val/images/P0.png": SIZE, "val/labelTxt/P0.txt": CORNERS.replace(",", " ") + " container-crane 1"},
        "val",
        {"no_tiles": True},
    ),
}


@pytest.mark.parametrize("name", SOURCES)
def test_what_is_prepared_loads(write_source, tmp_path, name):
    files, split, options = SOURCES[name]
    results = prepare_dataset(name, write_source(files), tmp_path / "out", options=options)
    (result,) = [result for result in results if not result.missing]
    assert result.split == split and not len(result.problems), result.problems.messages
    dataset = load_dataset(tmp_path / "out" / split, strict=True)
    assert len(dataset) >= 1 and dataset.num_words == 1
    (record,) = [record for record in dataset if len(record.targets)]
    targets = record.targets
    with Image.open(record.file_path) as image:
        assert image.size == (record.width, record.height)
    if name.startswith("dota"):
        assert dataset.categories[:15] == RECIPES["dota"].categories
        assert dataset.categories[int(targets.labels[0])] == {"dota": "ship", "dota15": "container-crane"}[name]
        assert bool(targets.ignore[0]) == (name == "dota15")
    elif name == "yolo_obb":
        assert dataset.categories == ("plane", "ship") and int(targets.labels[0]) == 1
    else:
        assert targets.texts == ["CAFE"] and not targets.ignore[0]
    if name == "adelaidet":
        np.testing.assert_array_equal(targets.beziers[0].numpy(), np.float32(BEZIER))
    else:
        np.testing.assert_allclose(targets.polygons[0], QUAD, atol=0.01)
    card = json.loads((tmp_path / "out" / split / "card.json").read_text())
    assert card["counts"]["words"] == 1 and card["license"] == RECIPES[name].license


def test_every_recipe_of_these_readers_is_tried():
    elsewhere = {"totaltext", "ctw1500", "icdar2013", "icdar2015", "mlt2017", "mlt2019", "td500", "tr400", "synthtext"}
    assert set(RECIPES) - elsewhere - {"nighttime_art", "str", "lmdb"} == set(SOURCES)


def test_beziers_reach_the_json_to_the_last_digit(write_source, tmp_path):
    prepare_dataset("adelaidet", write_source(SOURCES["adelaidet"][0]), tmp_path / "out")
    (word,) = json.loads((tmp_path / "out/test/annotations.json").read_text())["annotations"]
    assert word["bezier_pts"] == BEZIER and word["text"] == "CAFE"


def test_a_json_can_be_the_source_itself(write_source, tmp_path):
    folder = write_source(SOURCES["adelaidet"][0])
    prepare_dataset("adelaidet", folder / "annotations" / "ic15_test.json", tmp_path / "out")
    assert load_dataset(tmp_path / "out", strict=True)[0].targets.texts == ["CAFE"]
    with pytest.raises(DataError, match="neither a folder nor an archive"):
        prepare_dataset("labelme", folder / "annotations" / "ic15_test.json", tmp_path / "out2")


def test_nighttime_art_on_the_command_line(write_source, tmp_path, capsys):
    source = write_source(SOURCES["art"][0])
    (tmp_path / "ids.txt").write_text("gt_0\n")
    arguments = ["prepare", "nighttime_art", str(source), str(tmp_path / "out")]
    assert main([*arguments, "--ids", str(tmp_path / "ids.txt")]) == 0
    assert "nighttime_art: 1 of 326 published images, 1 words" in capsys.readouterr().out
    assert load_dataset(tmp_path / "out", strict=True)[0].targets.texts == ["CAFE"]
    assert main(arguments) == 2
    assert "--ids FILE" in capsys.readouterr().err


def test_labelme_on_the_command_line_reports_what_it_skips(write_source, tmp_path, capsys):
    bad = LABELME | {"shapes": [LABELME["shapes"][0], {"label": "x", "points": QUAD[:2]}]}
    source = write_source({"a.json": json.dumps(bad), "a.jpg": SIZE})
    assert main(["prepare", "labelme", str(source), str(tmp_path / "out")]) == 1
    assert "a.json, shape 2: fewer than 4 points (skipped)" in capsys.readouterr().out
    assert main(["prepare", "labelme", str(source), str(tmp_path / "strict"), "--strict"]) == 2
    assert "a.json, shape 2: fewer than 4 points (skipped)" in capsys.readouterr().err
    assert not (tmp_path / "strict" / "annotations.json").exists()


def test_published_archives_are_read_as_they_are(write_source, tmp_path):
    folder = write_source(SOURCES["art"][0], folder="unpacked")
    (tmp_path / "art").mkdir()
    (tmp_path / "art" / "train_labels.json").write_bytes((folder / "train_labels.json").read_bytes())
    with tarfile.open(tmp_path / "art" / "train_images.tar.gz", "w:gz") as archive:
        archive.add(folder / "train_images", "train_images")
    prepare_dataset("art", tmp_path / "art", tmp_path / "out")
    assert load_dataset(tmp_path / "out" / "train", strict=True)[0].targets.texts == ["CAFE"]
    with zipfile.ZipFile(tmp_path / "dota.zip", "w") as archive:
        folder = write_source(SOURCES["dota"][0], folder="dota")
        for path in sorted(folder.rglob("*.*")):
            archive.write(path, path.relative_to(folder))
    prepare_dataset("dota", tmp_path / "dota.zip", tmp_path / "tiles", options={"tile_size": 120, "tile_overlap": 20})
    assert load_dataset(tmp_path / "tiles" / "train", strict=True).num_words == 1


def test_recognition_sets_are_a_folder_each(tmp_path):
    lmdb = pytest.importorskip("lmdb")
    buffer = tmp_path / "crop.png"
    Image.fromarray(np.full((12, 40, 3), 9, np.uint8)).save(buffer)
    for name in ("SVT", "CUTE80"):
        (tmp_path / "sets" / name).mkdir(parents=True)
        with lmdb.open(str(tmp_path / "sets" / name)) as environment, environment.begin(write=True) as records:
            records.put(b"num-samples", b"1")
            records.put(b"image-000000001", buffer.read_bytes())
            records.put(b"label-000000001", name.lower().encode())
    prepare_dataset("str", tmp_path / "sets", tmp_path / "out")
    for name in ("SVT", "CUTE80"):
        record = load_dataset(tmp_path / "out" / name, strict=True)[0]
        assert record.targets.texts == [name.lower()] and (record.width, record.height) == (40, 12)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["CUTE80", "SVT"]
    prepare_dataset("lmdb", tmp_path / "sets", tmp_path / "own")
    assert [record.targets.texts for record in load_dataset(tmp_path / "own", strict=True)] == [["cute80"], ["svt"]]


NASTY = (None, True, -1, float("inf"), 10**400, "x", [], {}, [[1, 2], [3]])
"""What a value of a JSON may turn out to be."""


def places(value, path=()):
    """Every path in a JSON value."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


def replaced(value, path, new):
    """A copy with one value exchanged."""
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


@pytest.mark.parametrize("name", [name for name, (files, _, _) in SOURCES.items() if any("json" in f for f in files)])
def test_no_value_of_a_json_brings_a_reader_down(write_source, name):
    files, split, _ = SOURCES[name]
    (file,) = (file for file in files if file.endswith(".json"))
    folder = write_source(files)
    content = json.loads(files[file])
    with Source.open(folder) as source:
        for path in places(content):
            for value in NASTY:
                (folder / file).write_text(json.dumps(replaced(content, path, value)))
                problems = Problems()
                try:
                    words = [w for p in RECIPES[name].reader(source, split=split, problems=problems) for w in p.words]
                except DataError as error:
                    assert "\n" not in str(error) and file in str(error)
                    continue
                assert all(word.points.shape[1:] == (2,) and np.isfinite(word.points).all() for word in words)
                assert all(isinstance(word.text, str | None) for word in words)
