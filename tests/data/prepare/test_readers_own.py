"""Formats of annotation tools in their published syntax, with what goes wrong in the wild."""

import json
from pathlib import Path

import numpy as np
import pytest

from fasttcm.data.prepare.readers.coco_polygons import read_coco_polygons
from fasttcm.data.prepare.readers.common import split_of
from fasttcm.data.prepare.readers.csv_quads import read_csv_quads
from fasttcm.data.prepare.readers.cvat import read_cvat
from fasttcm.data.prepare.readers.image_names import ImageNames
from fasttcm.data.prepare.readers.labelme import read_labelme
from fasttcm.data.prepare.readers.paddleocr import read_paddleocr
from fasttcm.data.prepare.readers.safe_xml import parse_xml
from fasttcm.data.prepare.readers.yolo_obb import read_yolo_obb, yolo_classes
from fasttcm.data.prepare.source import MissingSplitError, Source
from fasttcm.data.problems import Problems
from fasttcm.errors import DataError

QUAD = [[10.5, 20.0], [90.0, 18.0], [91.0, 40.0], [11.0, 42.0]]
FLAT = [number for point in QUAD for number in point]
SIZE = (120, 90)


def texts(picture):
    return [(word.text, word.ignore) for word in picture.words]


@pytest.mark.parametrize(
    "name, split",
    [
        ("train/a.json", "train"),
        ("annotations/ic15_test.json", "test"),
        ("train/annotations/ic15_test.json", "test"),
        ("DOTA-v1.5_train/P0000.txt", "train"),
        ("validation/x.csv", "val"),
        ("latest/contest.json", ""),
        ("Label.txt", ""),
    ],
)
def test_the_split_of_a_file_is_in_its_name(name, split):
    assert split_of(name) == split


def test_images_are_found_by_what_annotations_call_them(write_source):
    names = ["a/x.jpg", "b/x.jpg", "b/y.PNG", "b/c/x.jpg"]
    folder = write_source(dict.fromkeys(names, b""))
    problems = Problems()
    with Source.open(folder) as source:
        images = ImageNames(source, problems)
        for asked, near, expected in [
            ("C:\\photos\\a\\x.jpg", "", "a/x.jpg"),
            ("../b/x.jpg", "", "b/x.jpg"),
            ("b/c/x.png", "", "b/c/x.jpg"),
            ("x.jpg", "b/c/x.json", "b/c/x.jpg"),
            ("x", "a/labels.json", "a/x.jpg"),
            ("Y.png", "", "b/y.PNG"),
        ]:
            assert images.find(asked, place="", near=near) == expected, asked
        assert not len(problems)
        for asked in ("z.jpg", "x.jpg", "", None, 7):
            assert images.find(asked, place="file, line 1") is None
    assert problems.counts["several images of this name in the source (image skipped)"] == 1
    assert problems.counts["image missing in the source (image skipped)"] == 4


def shape(label="CAFE", points=QUAD, kind="polygon", **more):
    return {"label": label, "points": points, "group_id": None, "shape_type": kind, "flags": {}} | more


def labelme(*shapes, image="street.jpg", **more):
    content = {"version": "5.4.1", "flags": {}, "shapes": list(shapes), "imagePath": image, "imageData": None}
    return json.dumps(content | {"imageHeight": SIZE[1], "imageWidth": SIZE[0]} | more)


def test_labelme(read_with):
    shapes = [
        shape(),
        shape("###", [[50, 60], [20, 50]], "rectangle"),
        shape("x", [[1, 1], [9, 9]], "circle"),
        shape("old", flags={"illegible": True}),
        shape("hard", QUAD, "rotation", difficult=True),
        shape("short", QUAD[:3]),
        shape("late", kind=None),
    ]
    files = {"street.jpg": SIZE, "street.json": labelme(*shapes, imageData="A" * 10_000)}
    pictures, problems = read_with(read_labelme, files)
    assert [(picture.image, picture.size) for picture in pictures] == [("street.jpg", SIZE)]
    assert texts(pictures[0]) == [("CAFE", False), ("###", False), ("old", True), ("hard", True), ("late", False)]
    np.testing.assert_array_equal(pictures[0].words[1].points, [[20, 50], [50, 50], [50, 60], [20, 60]])
    assert dict(problems.counts) == {
        "shape is neither polygon nor rectangle (skipped)": 1,
        "fewer than 4 points (skipped)": 1,
    }
    assert problems.messages[0] == "street.json, shape 3: shape is neither polygon nor rectangle (skipped): circle"


def test_labelme_descriptions_are_the_texts_once_there_are_some(read_with):
    files = {
        "a.jpg": SIZE,
        "b.jpg": SIZE,
        "a.json": labelme(shape("text"), image="a.jpg"),
        "b.json": labelme(shape("text", description="Brot, Käse"), image="..\\photos\\b.jpg"),
        "tool.json": '{"setting": 1}',
        "c.json": labelme(image="c.jpg"),
        "d.json": labelme()[:-1],
    }
    pictures, problems = read_with(read_labelme, files)
    assert {Path(picture.image).name: texts(picture) for picture in pictures} == {
        "a.jpg": [("###", False)],
        "b.jpg": [("Brot, Käse", False)],
    }
    assert dict(problems.counts) == {
        "transcription missing (taken as illegible)": 1,
        'no labelme file, it has no "shapes" (skipped)': 1,
        "image missing in the source (image skipped)": 1,
        "annotation file unusable (image skipped)": 1,
    }


def test_labelme_in_folders_of_splits(read_with):
    files = {
        f"{split}/{split}_{i}.json": labelme(shape(), image=f"{split}_{i}.jpg")
        for split in ("train", "val")
        for i in (1, 2)
    }
    files |= {name.replace("json", "jpg"): SIZE for name in files}
    files |= {"test_me.json": labelme(shape(), image="test_me.jpg"), "test_me.jpg": SIZE}
    for split, expected in [("train", 2), ("val", 2), ("", 1)]:
        pictures, problems = read_with(read_labelme, files, split)
        assert len(pictures) == expected and not len(problems)
    with pytest.raises(MissingSplitError, match=r"no file \*\.json of the split 'test'"):
        read_with(read_labelme, files, "test")


CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version><meta><task><name>t</name></task></meta>
  <image id="0" name="a/street.jpg" width="120" height="90">
    <polygon label="text" occluded="0" points="10.50,20.00;90.00,18.00;91.00,40.00;11.00,42.00" z_order="0">
      <attribute name="text">Café &amp; Bar</attribute>
    </polygon>
    <box label="text" occluded="0" xtl="20" ytl="50" xbr="60" ybr="70" rotation="90.0" z_order="0">
      <attribute name="transcription">OPEN</attribute><attribute name="illegible">true</attribute>
    </box>
    <polygon label="text" points="1,2;3,4;5,6"><attribute name="text">x</attribute></polygon>
    <box label="text" xtl="20" ytl="50" xbr="60"/>
    <mask label="text" rle="1, 2" left="0" top="0" width="3" height="1"/>
    <box label="text" xtl="20" ytl="50" xbr="60" ybr="70"/>
    <tag label="by day"/>
  </image>
  <image id="1" name="gone.jpg" width="120" height="90"/>
</annotations>
"""


def test_cvat(read_with):
    pictures, problems = read_with(read_cvat, {"annotations.xml": CVAT, "images/a/street.jpg": SIZE})
    assert [(picture.image, picture.size) for picture in pictures] == [("images/a/street.jpg", SIZE)]
    assert texts(pictures[0]) == [("Café & Bar", False), ("OPEN", True), ("###", False)]
    np.testing.assert_array_equal(pictures[0].words[0].points, QUAD)
    # A quarter turn clockwise about (40, 60): the upper left corner becomes the upper right one.
    np.testing.assert_allclose(pictures[0].words[1].points, [[50, 40], [50, 80], [30, 80], [30, 40]], atol=1e-12)
    assert dict(problems.counts) == {
        "fewer than 4 points (skipped)": 1,
        "box holds NaN, infinity or nothing (skipped)": 1,
        "shape is neither polygon nor box (skipped)": 1,
        "transcription missing (taken as illegible)": 1,
        "image missing in the source (image skipped)": 1,
    }
    assert problems.messages[0].startswith("annotations.xml: image 'a/street.jpg', shape 3: ")


def test_cvat_without_texts_is_for_detection(read_with):
    bare = '<annotations><image name="s.jpg" width="x"><box xtl="1" ytl="2" xbr="30" ybr="40"/></image></annotations>'
    pictures, problems = read_with(read_cvat, {"train/1.xml": bare, "train/s.jpg": SIZE, "other.xml": "<a/>"}, "train")
    assert texts(pictures[0]) == [(None, False)] and pictures[0].size is None and not len(problems)
    with pytest.raises(MissingSplitError):
        read_with(read_cvat, {}, "")
    with pytest.raises(DataError, match="export for videos"):
        read_with(read_cvat, {"val/v.xml": "<annotations><track id='0'/></annotations>"}, "val")


def test_cvat_subsets_are_splits(read_with):
    images = "".join(
        f'<image name="{i}.jpg" subset="{s}"/>' for i, s in ((1, "Train"), (2, "Validation"), (3, "default"))
    )
    files = {"annotations.xml": f"<annotations>{images}</annotations>"} | {f"images/{i}.jpg": SIZE for i in (1, 2, 3)}
    for split, name in (("train", "1.jpg"), ("val", "2.jpg"), ("", "3.jpg")):
        assert [p.image for p in read_with(read_cvat, files, split)[0]] == [f"images/{name}"]
    with pytest.raises(MissingSplitError, match="split 'test'"):
        read_with(read_cvat, files, "test")


@pytest.mark.parametrize(
    "data, message",
    [
        (b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "has a DOCTYPE"),
        (b'<?xml version="1.0"?><!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>', "has a DOCTYPE"),
        (b"<a>&b;</a>", "line 1, column 4: undefined entity"),
        (b"<a>\n<b></a>", "not valid XML at line 2, column"),
        (b"", "not valid XML at line 1, column 1: no element found"),
        (b'<?xml version="1.0" encoding="klingon"?><a/>', "x.xml"),
    ],
)
def test_xml_that_is_broken_or_dangerous(data, message):
    with pytest.raises(DataError, match=message):
        parse_xml(data, "x.xml")


def test_xml_encodings():
    text = '<?xml version="1.0" encoding="{}"?><a>Käse</a>'
    for encoding in ("utf-8", "utf-16", "iso-8859-1"):
        assert parse_xml(text.format(encoding).encode(encoding), "x.xml").text == "Käse"
    assert parse_xml(b"\xef\xbb\xbf<a>b</a>", "x.xml").text == "b"


def coco(annotations, **image):
    entry = {"id": 3, "file_name": "street.jpg", "width": 120, "height": 90} | image
    listed = [{"id": i, "image_id": 3, "category_id": 1} | one for i, one in enumerate(annotations)]
    return {"images": [entry], "annotations": listed, "categories": [{"id": 1, "name": "word"}]}


def test_coco_polygons(read_with):
    annotations = [
        {"segmentation": [FLAT], "attributes": {"text": "CAFE"}},
        {"segmentation": [[1, 1, 2, 2], [0, 0, 5, 0, 5, 5, 0, 5], FLAT], "caption": "two parts", "iscrowd": 0},
        {"segmentation": FLAT, "transcription": "flat", "attributes": {"illegible": "true"}},
        {"segmentation": [], "bbox": [10, 20, 30, 5], "text": "box", "iscrowd": 1},
        {"segmentation": {"counts": "abc", "size": [90, 120]}, "iscrowd": 1},
        {"segmentation": [[1, 2, 3, 4, 5, 6]], "text": "x"},
        {"segmentation": [FLAT], "text": 5},
        {"segmentation": True, "bbox": [1, 2, 3]},
        {"id": 0, "segmentation": [FLAT], "image_id": 9},
    ]
    content = coco(annotations)
    content["annotations"].append("nonsense")
    content["images"] += [{"file_name": "no id.jpg"}, {"id": 3, "file_name": "twice.jpg"}]
    pictures, problems = read_with(read_coco_polygons, {"a.json": json.dumps(content), "img/street.jpg": SIZE})
    assert [(picture.image, picture.size, picture.image_id) for picture in pictures] == [("img/street.jpg", SIZE, 3)]
    assert texts(pictures[0]) == [("CAFE", False), ("two parts", False), ("flat", True), ("box", True), ("###", False)]
    np.testing.assert_array_equal(pictures[0].words[1].points, QUAD)
    np.testing.assert_array_equal(pictures[0].words[3].points, [[10, 20], [40, 20], [40, 25], [10, 25]])
    assert {word.label for word in pictures[0].words} == {"text"}
    assert dict(problems.counts) == {
        "image without an id (skipped)": 1,
        "image id used twice (the later one skipped)": 1,
        "annotation id used twice (kept)": 1,
        "annotation of an unknown image (skipped)": 1,
        "annotation is not an object (skipped)": 1,
        "segmentation is a mask (RLE), polygons are needed (skipped)": 1,
        "fewer than 4 points (skipped)": 1,
        "transcription not a text (taken as illegible)": 1,
        "neither segmentation nor bbox of 4 numbers (skipped)": 1,
    }


def test_coco_polygons_by_name_and_without_texts(read_with):
    files = {
        "instances_train.json": json.dumps(coco([{"bbox": [10, 20, 30, 5]}])),
        "all.json": json.dumps(coco([{"bbox": [10, 20, 30, 5], "text": "all"}])),
        "notes.json": "{}",
        "street.jpg": SIZE,
    }
    assert texts(read_with(read_coco_polygons, files, "train")[0][0]) == [(None, False)]
    assert texts(read_with(read_coco_polygons, files, "", annotations="all.json")[0][0]) == [("all", False)]
    with pytest.raises(DataError, match=r'notes\.json: expected an object with the lists "images" and "annotations"'):
        read_with(read_coco_polygons, files, "", annotations="notes.json")
    with pytest.raises(MissingSplitError, match=r"no file gone\.json"):
        read_with(read_coco_polygons, files, "", annotations="gone.json")


def test_paddleocr(read_with):
    word = {"transcription": "Brot, 3/4", "points": QUAD}
    lines = [
        f"images/img_1.jpg\t{json.dumps([word, word | {'transcription': '*'}, word | {'difficult': True}])}",
        "",
        f"images/img_2.jpg\t{json.dumps([word | {'points': QUAD[:3]}, word | {'transcription': None}, 7])}",
        f"images/img_9.jpg\t{json.dumps([word])}",
        'images/img_1.jpg\t[{"transcription": "x",}]',
        "images/img_1.jpg [no tab]",
        "images/img_3.jpg\t[]",
    ]
    files = {"Label.txt": b"\xef\xbb\xbf" + "\r\n".join(lines).encode(), "rec_gt.txt": "crop_1.jpg\tBrot\n"}
    files |= {f"images/img_{i}.jpg": SIZE for i in (1, 2, 3)}
    pictures, problems = read_with(read_paddleocr, files)
    assert [picture.image for picture in pictures] == [f"images/img_{i}.jpg" for i in (1, 2, 3)]
    assert texts(pictures[0]) == [("Brot, 3/4", False), ("*", True), ("Brot, 3/4", True)]
    assert texts(pictures[1]) == [("###", True)]
    assert all(word.ordered for word in pictures[0].words)
    assert dict(problems.counts) == {
        "fewer than 4 points (skipped)": 1,
        "transcription missing (taken as illegible)": 1,
        "word is not an object (skipped)": 1,
        "image missing in the source (image skipped)": 1,
        "words are not JSON (line skipped)": 1,
        "expected an image and, after a tab, its words (line skipped)": 1,
    }
    assert "Label.txt, line 3, word 1: fewer than 4 points" in problems.messages[0]
    assert "line 5: words are not JSON (line skipped): not valid JSON at line 1, column" in problems.messages[4]


def test_paddleocr_splits_by_name(read_with):
    line = f"images/img_1.jpg\t{json.dumps([{'transcription': 'x', 'points': QUAD}])}\n"
    files = {"train_label.txt": line * 1, "test_label.txt": "", "images/img_1.jpg": SIZE}
    assert len(read_with(read_paddleocr, files, "train")[0]) == 1
    with pytest.raises(MissingSplitError, match=r"no label file .* among test_label\.txt"):
        read_with(read_paddleocr, files, "test")


YAML = "path: .\ntrain: images/train\nval: images/val\nnames:\n  0: plane\n  1: Word\n"


def test_yolo_obb(read_with):
    lines = [
        "0 0.1 0.2 0.5 0.2 0.5 0.4 0.1 0.4",
        "1 0.1 0.2 0.3 0.1 0.5 0.2 0.5 0.4 0.3 0.3 0.1 0.4",
        "",
        "2 0.1 0.2 0.5 0.2 0.5 0.4 0.1 0.4",
        "0.5 0.1 0.2 0.5 0.2 0.5 0.4 0.1 0.4",
        "0 0.5 0.5 0.2 0.1",
        "0 12 20 50 20 50 40 12 40",
        "0 0.1 0.2 0.5 0.2 0.5 nan 0.1 0.4",
        "0 0.1 0.2 0.5",
        "plane 0.1 0.2 0.5 0.2 0.5 0.4 0.1 0.4",
    ]
    files = {
        "data.yaml": YAML,
        "images/train/1.jpg": SIZE,
        "images/train/2.jpg": (20, 20),
        "images/train/3.jpg": b"broken",
        "images/val/4.jpg": SIZE,
        "labels/train/1.txt": "\n".join(lines),
        "labels/val/4.txt": "",
    }
    pictures, problems = read_with(read_yolo_obb, files, "train")
    assert [(picture.image, picture.size, len(picture.words)) for picture in pictures] == [
        ("images/train/1.jpg", SIZE, 2),
        ("images/train/2.jpg", (20, 20), 0),
    ]
    first, second = pictures[0].words
    assert (first.label, first.text, second.label) == ("plane", None, "text")
    np.testing.assert_allclose(first.points, [[12, 18], [60, 18], [60, 36], [12, 36]])
    assert len(second.points) == 6
    assert dict(problems.counts) == {
        "class is none of the names (skipped)": 2,
        "5 numbers are an upright YOLO box, corners are needed (skipped)": 1,
        "coordinates are no shares of width and height (skipped)": 1,
        "line holds NaN, infinity or nothing (skipped)": 1,
        "line has an odd number of coordinates (skipped)": 1,
        "class is not a list of numbers (skipped)": 1,
        "image cannot be read (skipped)": 1,
    }
    assert "labels/train/1.txt, line 4: class is none of the names" in problems.messages[0]
    assert len(read_with(read_yolo_obb, files, "val")[0]) == 1
    with pytest.raises(MissingSplitError):
        read_with(read_yolo_obb, files, "test")


def test_yolo_layout_with_a_folder_for_each_split(read_with):
    files = {"train/images/1.jpg": SIZE, "train/labels/1.txt": "5 0.1 0.2 0.5 0.2 0.5 0.4 0.1 0.4"}
    pictures, _ = read_with(read_yolo_obb, files, "train")
    assert [word.label for word in pictures[0].words] == ["text"]  # no data.yaml


@pytest.mark.parametrize("image, label", [("images/a.jpg", "labels/a.txt"), ("a.jpg", "a.txt")])
def test_yolo_layout_without_splits(read_with, image, label):
    pictures, _ = read_with(read_yolo_obb, {image: SIZE, label: "5 0.1 0.2 0.5 0.2 0.5 0.4 0.1 0.4"})
    assert [(picture.image, len(picture.words)) for picture in pictures] == [(image, 1)]


@pytest.mark.parametrize(
    "files, expected",
    [
        ({"data.yaml": YAML}, ("plane", "text")),
        ({"data.yaml": "names: [ship, 'harbor']"}, ("ship", "harbor")),
        ({"args.yaml": "epochs: 3"}, ()),
        ({"data.yaml": "names: {0: a, 2: b}"}, "0, 1, 2"),
        ({"data.yaml": "names: 7"}, "must be a list"),
        ({"data.yaml": "names: [a"}, "not valid YAML"),
        ({"data.yaml": "names: !!python/object/apply:os.getcwd []"}, "not valid YAML"),
        ({"data.yaml": "names: [a]", "old.yml": "names: [b]"}, "different class names"),
    ],
)
def test_yolo_class_names(write_source, files, expected):
    with Source.open(write_source(files)) as source:
        if isinstance(expected, tuple):
            assert yolo_classes(source) == expected
        else:
            with pytest.raises(DataError, match=expected):
                yolo_classes(source)


HEADER = "image,x1,y1,x2,y2,x3,y3,x4,y4,text"
CORNERS = "10.5,20,90,18,91,40,11,42"


def test_csv_with_a_header(read_with):
    rows = [
        HEADER,
        f"street.jpg,{CORNERS},CAFE",
        f'street.jpg,{CORNERS},"Bread, Milk & ""Co"""',
        f"street.jpg,{CORNERS},Bread, Milk",
        f'street.jpg, {CORNERS}, "Bread, Milk"',
        f'street.jpg,{CORNERS},"unclosed',
        f"street.jpg,{CORNERS},###",
        f"street.jpg,{CORNERS}",
        "street.jpg,10,20,90",
        f"street.jpg,{CORNERS.replace('90', 'x')},word",
        f"street.jpg,{CORNERS.replace('90', 'inf')},word",
        f"gone.jpg,{CORNERS},word",
        f"other.jpg,{CORNERS},",
    ]
    files = {"words.csv": b"\xef\xbb\xbf" + "\r\n".join(rows).encode(), "street.jpg": SIZE, "other.jpg": SIZE}
    pictures, problems = read_with(read_csv_quads, files)
    assert [picture.image for picture in pictures] == ["street.jpg", "other.jpg"]
    found = [word.text for word in pictures[0].words]
    assert found == ["CAFE", 'Bread, Milk & "Co"', "Bread, Milk", "Bread, Milk", '"unclosed', "###", "###"]
    assert [word.text for word in pictures[1].words] == [""]
    np.testing.assert_array_equal(pictures[0].words[0].points, QUAD)
    assert dict(problems.counts) == {
        "transcription missing (taken as illegible)": 1,
        "expected the image and 8 coordinates (row skipped)": 1,
        "row is not a list of numbers (skipped)": 1,
        "row holds NaN, infinity or nothing (skipped)": 1,
        "image missing in the source (image skipped)": 1,
    }
    assert problems.messages[0].startswith("words.csv, line 8: ")


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_csv_without_a_header_and_any_separator(read_with, separator):
    row = separator.join(["street.jpg", *CORNERS.split(",")])
    texts = f"{row}{separator}a{separator}b\n\n{row}{separator}Käse, 1,2,3,4,5,6,7,8,9,10\n"
    files = {"a.csv": texts.encode("latin-1"), "street.jpg": SIZE}
    pictures, problems = read_with(read_csv_quads, files)
    assert [word.text for word in pictures[0].words] == [f"a{separator}b", "Käse, 1,2,3,4,5,6,7,8,9,10"]
    assert pictures[0].words[1].place == "a.csv, line 3" and not len(problems)


def test_csv_for_detection_and_other_columns(read_with):
    columns = "id;x1;y1;x2;y2;x3;y3;x4;y4;word;file_name"
    row = f"1;{CORNERS.replace(',', ';')};Zoé;street.jpg"
    pictures, problems = read_with(read_csv_quads, {"a.csv": f"{columns}\n{row}\n", "street.jpg": SIZE})
    assert texts(pictures[0]) == [("Zoé", False)]
    pictures, problems = read_with(read_csv_quads, {"a.csv": f"street.jpg,{CORNERS}\n", "b.tsv": "\n"})
    assert texts(pictures[0]) == [(None, False)] and dict(problems.counts) == {"table is empty (skipped)": 1}


@pytest.mark.parametrize("header", ["image,x1,y1,x2,y2,text", "name,x1,y1,x2,y2,x3,y3,x4,y4"])
def test_csv_with_a_header_that_lacks_columns(read_with, header):
    with pytest.raises(DataError, match=r"a\.csv: "):
        read_with(read_csv_quads, {"a.csv": f"{header}\nstreet.jpg,{CORNERS}\n", "street.jpg": SIZE})
