"""The published syntax of every set read here, with the lines that exist in the wild."""

import io

import numpy as np
import pytest
from prepare_samples import image_bytes
from scipy.io import savemat

from fasttcm.data.prepare.readers.ctw1500 import read_ctw1500
from fasttcm.data.prepare.readers.icdar import read_icdar2013, read_icdar2015
from fasttcm.data.prepare.readers.mlt import read_mlt2017, read_mlt2019
from fasttcm.data.prepare.readers.synthtext import read_synthtext
from fasttcm.data.prepare.readers.td500 import read_td500, read_tr400
from fasttcm.data.prepare.readers.totaltext import read_totaltext
from fasttcm.data.prepare.source import MissingSplitError
from fasttcm.errors import DataError

JPEG = image_bytes()
NUMBERS = "377,117,463,117,465,130,378,130"
QUAD = [[377, 117], [463, 117], [465, 130], [378, 130]]


def texts(picture) -> list[str | None]:
    return [word.text for word in picture.words]


# ---------------------------------------------------------------- ICDAR 2015

TEST_2015 = "Challenge4_Test_Task1_GT/gt_img_{}.txt"


def icdar2015(content: str | bytes, **more):
    return {TEST_2015.format(1): content, "ch4_test_images/img_1.jpg": JPEG, **more}


def test_icdar2015(read_with) -> None:
    content = f"\ufeff{NUMBERS},Genaxis Theatre\r\n{NUMBERS},###\r\n\r\n{NUMBERS},a, b,,c\r\n"
    pictures, problems = read_with(read_icdar2015, icdar2015(content), "test", strict=True)
    (picture,) = pictures
    assert (picture.image, picture.image_id) == ("ch4_test_images/img_1.jpg", 1)
    assert texts(picture) == ["Genaxis Theatre", "###", "a, b,,c"]
    assert [word.ignore for word in picture.words] == [False, True, False]
    assert [word.ordered for word in picture.words] == [True] * 3
    np.testing.assert_array_equal(picture.words[0].points, QUAD)
    assert picture.words[2].place == f"{TEST_2015.format(1)}:4" and not len(problems)


@pytest.mark.parametrize(
    ("line", "reason", "text"),
    [
        (f"{NUMBERS},", "transcription missing", "###"),
        (NUMBERS, "transcription missing", "###"),
        (f'{NUMBERS},""', "transcription missing", "###"),
        ("377,117,463,117,465,130,378", "fewer than 8 numbers", None),
        ("377,117,word", "fewer than 8 numbers", None),
        ("NaN,117,463,117,465,130,378,130,word", "NaN", None),
        ("1e999,117,463,117,465,130,378,130,word", "NaN, infinity", None),
        ("x,117,463,117,465,130,378,130,word", "not a list of numbers", None),
        ("\x00\x01\x02", "fewer than 8 numbers", None),
    ],
)
def test_icdar2015_broken_lines(line: str, reason: str, text: str | None, read_with) -> None:
    files = icdar2015(f"{NUMBERS},first\n{line}\n{NUMBERS},last\n")
    (picture,), problems = read_with(read_icdar2015, files, "test")
    assert texts(picture) == ["first", *([text] if text else []), "last"]
    assert len(problems) == 1 and problems.messages[0].startswith(f"{TEST_2015.format(1)}:2: ")
    assert reason in problems.messages[0] and "\n" not in problems.messages[0]
    with pytest.raises(DataError, match=r"gt_img_1\.txt:2: "):
        read_with(read_icdar2015, files, "test", strict=True)


@pytest.mark.parametrize(
    ("raw", "text"), [('"Hi"', "Hi"), (r'"say \"hi\""', 'say "hi"'), ('5"', '5"'), ('"', '"'), (" é ", "é"), ("#", "#")]
)
def test_icdar2015_transcriptions(raw: str, text: str, read_with) -> None:
    for content in (f"{NUMBERS},{raw}", f" 377 , {NUMBERS[4:]},{raw}", f"{NUMBERS},{raw}".encode("latin-1")):
        (picture,), _ = read_with(read_icdar2015, icdar2015(content), "test", strict=True)
        assert texts(picture) == [text]


def test_icdar2015_files_and_splits(read_with) -> None:
    files = {
        **{TEST_2015.format(i): f"{NUMBERS},test {i}" for i in (10, 2, 3)},
        "Challenge4_Test_Task4_GT/gt_img_2.txt": f"{NUMBERS},same picture again",
        **{f"ch4_test_images/img_{i}.jpg": JPEG for i in (2, 10, 11)},
        "ch4_training_localization_transcription_gt/gt_img_2.txt": f"{NUMBERS},train 2",
        "ch4_training_images/img_2.JPG": JPEG,
        "gt_of_test/readme.txt": "only the last part of a name counts",
        "ch4_test_word_images_gt/word_1.png": image_bytes(kind="PNG"),
    }
    pictures, problems = read_with(read_icdar2015, files, "test")
    assert [(p.image_id, texts(p)) for p in pictures] == [(2, ["test 2"]), (10, ["test 10"])]
    assert problems.messages == [
        "Challenge4_Test_Task1_GT/gt_img_3.txt: image missing in the source (skipped with its words)",
        "ch4_test_images/img_11.jpg: image without a ground-truth file (skipped)",
    ]
    (picture,), _ = read_with(read_icdar2015, files, "train", strict=True)
    assert texts(picture) == ["train 2"]


def test_an_empty_file_is_a_picture_without_text(read_with) -> None:
    for content in ("", "\ufeff", "\n\n"):
        (picture,), problems = read_with(read_icdar2015, icdar2015(content), "test")
        assert picture.words == [] and not len(problems)


@pytest.mark.parametrize("missing", [TEST_2015.format(1), "ch4_test_images/img_1.jpg"])
def test_a_missing_split(missing: str, read_with) -> None:
    files = icdar2015("")
    del files[missing]
    with pytest.raises(MissingSplitError, match="images" if missing.endswith("jpg") else "ground-truth"):
        read_with(read_icdar2015, files, "test")
    with pytest.raises(MissingSplitError):
        read_with(read_icdar2015, files, "train")


# ---------------------------------------------------------------- ICDAR 2013


def test_icdar2013(read_with) -> None:
    files = {
        "Challenge2_Training_Task1_GT/gt_100.txt": '158 128 411 181 "Footpath"\r\n443 128 501 169 "To , "And"\n',
        "Challenge2_Training_Task12_Images/100.jpg": JPEG,
        "Challenge2_Test_Task1_GT/gt_img_1.txt": '\ufeff38, 43, 920, 215, "Tiredness"\n275,264,665,450,"kills A"\n'
        '9, 9, 1, 1, "turned"\n1, 2, 3\n1, 2, x, 4, "word"\n1, 2, 3, 4\n',
        "Challenge2_Test_Task12_Images/img_1.jpg": JPEG,
    }
    (picture,), _ = read_with(read_icdar2013, files, "train", strict=True)
    assert texts(picture) == ["Footpath", 'To , "And'] and picture.image_id == 100
    np.testing.assert_array_equal(picture.words[0].points, [[158, 128], [411, 128], [411, 181], [158, 181]])
    (picture,), problems = read_with(read_icdar2013, files, "test")
    assert texts(picture) == ["Tiredness", "kills A", "turned", "###"]
    np.testing.assert_array_equal(picture.words[2].points, [[1, 1], [9, 1], [9, 9], [1, 9]])
    assert [message.split(": ")[0][-2:] for message in problems.messages] == [":4", ":5", ":6"]


# ---------------------------------------------------------------- MLT


def test_mlt2017(read_with) -> None:
    lines = [f"{NUMBERS},Latin,The, Road", f"{NUMBERS},Bangla,###", f"{NUMBERS},Chinese,中文", f"{NUMBERS},Symbols,24"]
    files = {
        "ch8_training_localization_transcription_gt_v2/gt_img_1.txt": "\n".join(lines),
        "ch8_training_images_1/img_1.jpg": JPEG,
        "ch8_validation_localization_transcription_gt_v2/gt_img_1.txt": f"{NUMBERS},Latin\n{NUMBERS},Latin,\n",
        "ch8_validation_images/img_1.png": image_bytes(kind="PNG"),
    }
    (picture,), _ = read_with(read_mlt2017, files, "train", strict=True)
    assert texts(picture) == ["The, Road", "###", "中文", "24"]
    assert [word.ignore for word in picture.words] == [False, True, False, False]
    (picture,), _ = read_with(read_mlt2017, files, "train", strict=True, latin_only=True)
    assert [word.ignore for word in picture.words] == [False, True, True, False] and texts(picture)[2] == "中文"
    (picture,), problems = read_with(read_mlt2017, files, "val")
    assert texts(picture) == ["###", "###"] and len(problems) == 2


def test_mlt2019(read_with) -> None:
    files = {
        "train_gt_t13/tr_img_00001.txt": f"{NUMBERS},Arabic,نص\n{NUMBERS},Latin,SALE\n",
        "ImagesPart1/tr_img_00001.jpg": JPEG,
        "ImagesPart2/tr_img_05001.png": JPEG,
        "train_gt_t13/tr_img_05001.txt": "",
        "TestImages/ts_img_00001.jpg": JPEG,
    }
    pictures, problems = read_with(read_mlt2019, files, "train", latin_only=True)
    assert [picture.image_id for picture in pictures] == [1, 5001] and not len(problems)
    assert [word.ignore for word in pictures[0].words] == [True, False]


# ---------------------------------------------------------------- MSRA-TD500, HUST-TR400


def test_td500(read_with) -> None:
    lines = [
        "0 0 100 50 40 20 0.000000",
        "1 1 100 50 40 20 1.570796",
        "2 0 100 50 40 20 -0.523599",
        "3 0 1 1 0 5 0",
        "4 0 1",
    ]
    files = {
        "MSRA-TD500/train/IMG_0030.gt": "\r\n".join(lines),
        "MSRA-TD500/train/IMG_0030.JPG": JPEG,
        "HUST-TR400/train/IMG_0001.jpg.gt": lines[0],
        "HUST-TR400/train/IMG_0001.jpg": JPEG,
    }
    (picture,), problems = read_with(read_td500, files, "train")
    flat, upright, turned = (word.points for word in picture.words)
    np.testing.assert_allclose(flat, [[100, 50], [140, 50], [140, 70], [100, 70]])
    # A quarter turn clockwise as seen brings the top-left corner of the box to its top right.
    np.testing.assert_allclose(upright, [[130, 40], [130, 80], [110, 80], [110, 40]], atol=1e-3)
    assert turned[0, 1] > turned[1, 1], "a negative angle rises to the right"
    np.testing.assert_allclose(np.linalg.norm(np.diff(turned, axis=0), axis=1), [40, 20, 40], atol=1e-9)
    assert [word.ignore for word in picture.words] == [False, True, False] and texts(picture) == [None] * 3
    assert [message.split(": ")[0] for message in problems.messages] == [
        f"MSRA-TD500/train/IMG_0030.gt:{i}" for i in (4, 5)
    ]
    (picture,), _ = read_with(read_tr400, files, "train", strict=True)
    assert picture.image == "HUST-TR400/train/IMG_0001.jpg" and len(picture.words) == 1


# ---------------------------------------------------------------- CTW1500

TOP = [(10 + 10 * i, 20 + (i - 3) ** 2) for i in range(7)]
POINTS = np.array(TOP + [(x, y + 15) for x, y in TOP[::-1]])
SEGS = ",".join(str(value) for value in POINTS.reshape(-1))


def ctw_box(label: str, segs: str = SEGS) -> str:
    return (
        f'<box height="30" left="10" top="20" width="60"><label>{label}</label><segs>{segs}</segs>'
        '<pts x="10" y="29"/></box>'
    )


def test_ctw1500_training_xml(read_with) -> None:
    boxes = [
        ctw_box("BAY & VIEW"),
        ctw_box("A &amp; B"),
        ctw_box("###"),
        ctw_box(""),
        ctw_box("x", "1,2,3"),
        ctw_box("y", ""),
    ]
    boxes.append(f'<box segs="{SEGS}"><label>attribute</label></box>')
    declaration = '\ufeff<?xml version="1.0" encoding="utf-8"?>\n'
    xml = f'{declaration}<Annotations><image file="0001.jpg">{"".join(boxes)}</image></Annotations>'
    files = {
        "ctw1500_train_labels/0001.xml": xml,
        "train_images/0001.jpg": JPEG,
        "ctw1500_train_labels/0002.xml": "<Annotations><image>",
        "train_images/0002.jpg": JPEG,
        "ctw1500_train_labels/0003.xml": '<!DOCTYPE a [<!ENTITY b "c">]><Annotations/>',
        "train_images/0003.jpg": JPEG,
        "text_label_curve/0001.txt": "1,2",
    }
    (picture,), problems = read_with(read_ctw1500, files, "train")
    assert texts(picture) == ["BAY & VIEW", "A & B", "###", "###", "attribute"] and picture.image_id == 1
    np.testing.assert_array_equal(picture.words[0].points, POINTS)
    assert all(word.ordered for word in picture.words) and picture.words[2].ignore
    assert [message.split(": ")[:2] for message in problems.messages] == [
        ["ctw1500_train_labels/0001.xml", "box 4"],
        ["ctw1500_train_labels/0001.xml", "box 5"],
        ["ctw1500_train_labels/0001.xml", "box 6"],
        ["ctw1500_train_labels/0002.xml", "not valid XML (image skipped)"],
        ["ctw1500_train_labels/0003.xml", "XML with entities (refused; image skipped)"],
    ]


def test_ctw1500_test_lines(read_with) -> None:
    lines = [
        f"{SEGS},####OFFICE, 2nd",
        f"{SEGS},####",
        f"{SEGS},####\\####",
        "1,2,9,2,9,9,1,9,####short",
        "1,2,####x",
        f"{SEGS},7,####odd",
    ]
    files = {"gt_ctw1500/0001001.txt": "\n".join(lines) + "\n", "test_images/1001.jpg": JPEG}
    (picture,), problems = read_with(read_ctw1500, files, "test")
    assert texts(picture) == ["OFFICE, 2nd", "###", "\\####", "short"] and picture.image_id == 1001
    np.testing.assert_array_equal(picture.words[0].points, POINTS)
    assert [word.ordered for word in picture.words] == [True, True, True, False]
    assert [message.split(": ")[0] for message in problems.messages] == [
        f"gt_ctw1500/0001001.txt:{i}" for i in (2, 5, 6)
    ]


def test_ctw1500_first_release(read_with) -> None:
    corner = POINTS.min(axis=0)
    offsets = ",".join(str(value) for value in (POINTS - corner).reshape(-1))
    line = f"{corner[0]},{corner[1]},{POINTS[:, 0].max()},{POINTS[:, 1].max()},{offsets}"
    files = {"train/text_label_curve/0005.txt": f"{line}\n{SEGS}\n", "train/text_image/0005.jpg": JPEG}
    (picture,), _ = read_with(read_ctw1500, files, "train", strict=True)
    for word in picture.words:
        np.testing.assert_array_equal(word.points, POINTS)
        assert word.text is None and not word.ignore
    with pytest.raises(MissingSplitError):
        read_with(read_ctw1500, files, "test")


# ---------------------------------------------------------------- Total-Text

TOTALTEXT = {"Images/Test/img1.jpg": JPEG}
CURVE_X, CURVE_Y = (
    [206, 251, 386, 542, 620, 646, 550, 358, 189, 140],
    [633, 811, 931, 946, 926, 976, 1009, 989, 845, 629],
)


def entry(text: str = "u'PETROSAINS'", ornt: str = "u'c'", x=CURVE_X, y=CURVE_Y, gap: str = " ") -> str:
    return f"x: [[{gap.join(map(str, x))}]], y: [[{gap.join(map(str, y))}]], ornt: [{ornt}], transcriptions: [{text}]"


def test_totaltext_text_files(read_with) -> None:
    lines = [
        entry(),
        entry("u'#'", "u'#'"),
        entry("u'word'", "u'#'"),
        entry('u"DON\'T"'),
        entry(r"u'caf\xe9 [1]'"),
        entry(gap="\n  "),
        entry("'plain'").replace(", ornt", " ornt"),
        entry(""),
        entry(y=CURVE_Y[:-1]),
        entry(x=[1, 2, 3], y=[1, 2, 3]),
        entry(x=["nan", 2, 3, 4], y=[1, 2, 3, 4]),
        "x: what is this",
        entry("u'last'"),
    ]
    files = {"Polygon/Test/poly_gt_img1.txt": "\n".join(lines) + "\n", **TOTALTEXT}
    (picture,), problems = read_with(read_totaltext, files, "test")
    assert texts(picture) == ["PETROSAINS", "###", "###", "DON'T", "café [1]", "PETROSAINS", "plain", "###", "last"]
    assert [word.ignore for word in picture.words] == [False, True, True, False, False, False, False, True, False]
    np.testing.assert_array_equal(picture.words[5].points, np.stack([CURVE_X, CURVE_Y], axis=1))
    wrapped = 2 * (len(CURVE_X) - 1)  # further lines of the sixth entry
    expected = [f"Polygon/Test/poly_gt_img1.txt:{number + wrapped}" for number in (8, 9, 10, 11, 12)]
    assert [message.split(": ")[0] for message in problems.messages] == expected
    assert picture.words[-1].place.endswith(f":{13 + wrapped}")


def test_totaltext_text_before_the_first_entry(read_with) -> None:
    files = {"Polygon/Test/poly_gt_img1.txt": f"readme\n{entry()}", **TOTALTEXT}
    (picture,), problems = read_with(read_totaltext, files, "test")
    assert len(picture.words) == 1 and "no annotation" in problems.messages[0]


def mat(**variables) -> bytes:
    stream = io.BytesIO()
    savemat(stream, variables)
    return stream.getvalue()


def cells(*rows) -> np.ndarray:
    table = np.empty((len(rows), len(rows[0]) if rows else 6), object)
    for i, row in enumerate(rows):
        for j, cell in enumerate(row):
            table[i, j] = cell
    return table


def test_totaltext_mat_files(read_with) -> None:
    row = ["x:", np.int16([CURVE_X]), "y:", np.int16([CURVE_Y]), "PETROSAINS", "c"]
    rows = [row, [*row[:4], "#", "#"], [*row[:4], np.array([]), "c"], [*row[:3], np.int16([CURVE_Y[:4]]), "x", "c"]]
    rows.append(["x:", np.int16([CURVE_X]).T, "y:", np.int16([CURVE_Y]).T, "column", "h"])
    for variable in ("polygt", "gt"):
        files = {"Groundtruth/Polygon/Test/poly_gt_img1.mat": mat(**{variable: cells(*rows)}), **TOTALTEXT}
        (picture,), problems = read_with(read_totaltext, files, "test")
        assert texts(picture) == ["PETROSAINS", "###", "###", "column"]
        np.testing.assert_array_equal(picture.words[0].points, np.stack([CURVE_X, CURVE_Y], axis=1))
        places = [message.split(": ")[1] for message in problems.messages]
        assert places == ["row 3", "row 4"]


def test_totaltext_rectangles(read_with) -> None:
    row = [np.int16(10), np.int16(20), np.int16(50), np.int16(40), np.int16(40), np.int16(20), "box", "h"]
    files = {
        "Rectangular/Test/rect_gt_img1.mat": mat(rectgt=cells(row, [*row[:7], "#"], [np.array([]), *row[1:]])),
        "Polygon/Test/poly_gt_img1.txt": entry(),
        **TOTALTEXT,
    }
    (picture,), problems = read_with(read_totaltext, files, "test", rectangles=True)
    assert texts(picture) == ["box", "###"] and len(problems) == 1
    np.testing.assert_array_equal(picture.words[0].points, [[10, 20], [50, 20], [50, 40], [10, 40]])
    assert texts(read_with(read_totaltext, files, "test")[0][0]) == ["PETROSAINS"]


@pytest.mark.parametrize("content", [b"", b"nonsense" * 99, mat(other=np.zeros(3)), mat(polygt=np.zeros((2, 6)))])
def test_totaltext_useless_mat_files(content: bytes, read_with) -> None:
    files = {
        "Polygon/Test/poly_gt_img1.mat": content,
        "Polygon/Test/poly_gt_img2.mat": mat(polygt=cells()),
        **TOTALTEXT,
    }
    pictures, problems = read_with(read_totaltext, files | {"Images/Test/img2.jpg": JPEG}, "test")
    assert [picture.image_id for picture in pictures] == [2] and pictures[0].words == []
    assert len(problems) == 1 and "poly_gt_img1.mat" in problems.messages[0]


# ---------------------------------------------------------------- SynthText


def synthtext(names, boxes, lines) -> bytes:
    def row(values) -> np.ndarray:
        array = np.empty((1, len(values)), object)
        for i, value in enumerate(values):
            array[0, i] = value
        return array

    return mat(imnames=row(names), wordBB=row(boxes), txt=row(lines), charBB=row([np.zeros((2, 4, 9))] * len(names)))


def word_boxes(count: int) -> np.ndarray:
    corners = np.array([[10, 10], [40, 12], [40, 22], [10, 20]], np.float32).T
    boxes = np.stack([corners + 5 * i for i in range(count)], axis=2)
    return boxes[:, :, 0] if count == 1 else boxes


def test_synthtext(read_with) -> None:
    names = ["8/ballet_106_0.jpg", "8/one.jpg", "9/wrong.jpg", "9/shape.jpg", "9/none.jpg"]
    boxes = [word_boxes(3), word_boxes(1), word_boxes(2), np.zeros((3, 4, 2)), np.zeros((2, 4, 0))]
    lines = [
        np.array(["Lines:\nI  ", " lost   "]),
        np.array(["é\n"]),
        np.array(["three words here"]),
        np.array(["a b"]),
        np.array([""]),
    ]
    files = {"SynthText/gt.mat": synthtext(names, boxes, lines), **{f"SynthText/{name}": JPEG for name in names}}
    pictures, problems = read_with(read_synthtext, files, "train")
    assert [picture.image for picture in pictures] == [f"SynthText/{names[i]}" for i in (0, 1, 4)]
    assert [texts(picture) for picture in pictures] == [["Lines:", "I", "lost"], ["é"], []]
    np.testing.assert_allclose(pictures[0].words[2].points, [[20, 20], [50, 22], [50, 32], [20, 30]])
    assert [message.split(": ")[1] for message in problems.messages] == [f"entry {i} ({names[i - 1]})" for i in (3, 4)]


def test_synthtext_useless_index(read_with) -> None:
    with pytest.raises(MissingSplitError, match=r"gt\.mat"):
        read_with(read_synthtext, {"1/a.jpg": JPEG}, "train")
    for content in (b"", b"x" * 500, mat(a=1), synthtext(["a"], [word_boxes(1)] * 2, [np.array(["a"])])):
        with pytest.raises(DataError, match=r"gt\.mat"):
            read_with(read_synthtext, {"gt.mat": content}, "train")
