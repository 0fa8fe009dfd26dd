import json
import zipfile

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from reference import golden_root

from fasttcm.errors import ConfigError, DataError
from fasttcm.evaluation import Lexicon, archive_files, score
from fasttcm.evaluation.archive_lines import LAYOUTS, parse_line, quote, signed_area, sort_corners
from fasttcm.evaluation.archives import read_archive, write_archive
from fasttcm.evaluation.rotated_box import polygon_to_box

CURVE_LINE = "0,0,0,40,100,40,100,0,####word\n"
QUAD_LINE = "0,0,100,0,100,40,0,40,word\n"
ANTICLOCKWISE = [[0, 0], [0, 40], [100, 40], [100, 0]]
CLOCKWISE = ANTICLOCKWISE[::-1]


def pack(path, files, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def unpack(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name).decode("utf-8") for name in archive.namelist()}


def words_of(document, image=0):
    return [(word["points"], word["text"]) for word in document["images"][image]["words"]]


def document(*words, image_id=7):
    return {"images": [{"id": image_id, "words": [{"score": 0.9, **word} for word in words]}]}


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("role", ["ground truth", "predictions"])
def test_both_layouts_are_recognised_by_their_names(tmp_path, role, strict):
    quads = {"ground truth": "gt_img_12.txt", "predictions": "res_img_12.txt"}[role]
    for name, line, outline in (
        ("0000012.txt", CURVE_LINE, ANTICLOCKWISE),
        (quads, QUAD_LINE, [[0, 0], *CLOCKWISE[:3]]),
    ):
        read = read_archive(pack(tmp_path / "a.zip", {name: line}), role=role, strict=strict)
        assert words_of(read) == [(outline, "word")]
        assert str(read["images"][0]["id"]) == ("".join(filter(str.isdigit, name)) if strict else "12")
        assert read["repairs"] == []


def test_a_folder_is_read_like_an_archive(tmp_path):
    folder = tmp_path / "det"
    folder.mkdir()
    for name in ("2.txt", "0000010.txt", ".hidden.txt"):
        (folder / name).write_text(CURVE_LINE, encoding="utf-8")
    (folder / "more").mkdir()
    read = read_archive(folder, role="predictions")
    assert sorted(image["id"] for image in read["images"]) == [2, 10]
    assert read["repairs"] == []


MENDED = [
    pytest.param("1.txt", b"\xef\xbb\xbf" + CURVE_LINE.encode(), "word", "1.txt, line 1: a byte-order mark", id="bom"),
    pytest.param(
        "1.txt", CURVE_LINE.replace("word", "caf\xe9").encode("latin-1"), "caf\ufffd", "line 1: .*UTF-8", id="latin"
    ),
    pytest.param("1.txt", b"\n  \n" + CURVE_LINE.encode(), "word", "line 2: only white space", id="blank"),
    pytest.param("1.txt", b"0,0,100,0,100,40,0,40,####word", "word", "line 1: .*anticlockwise", id="curve-clockwise"),
    pytest.param("1.txt", b"0,0,100,40,100,0,0,40,####word", "word", "line 1: .*crosses", id="curve-bow-tie"),
    pytest.param("1.txt", b"0,0,0,40,100,40,100,0", "", "line 1: there is no transcription", id="curve-no-text"),
    pytest.param("1.txt", b"0,0,0,40,####word", "word", "line 1: .*only 2 points", id="curve-two-points"),
    pytest.param(
        "res_img_1.txt", b"0,0,0,40,100,40,100,0,word", "word", "line 1: .*clockwise", id="quad-anticlockwise"
    ),
    pytest.param("res_img_1.txt", b"0,0,99.5,0,100,40,0,40,word", "word", "line 1: .*whole", id="quad-fraction"),
    pytest.param("res_img_1.txt", b"0,0,100,0,100,40,0,40", "", "line 1: .*transcription", id="quad-no-text"),
    pytest.param("sub/1.txt", CURVE_LINE.encode(), "word", None, id="in-a-folder"),
]


@pytest.mark.parametrize(("name", "content", "text", "repair"), MENDED)
def test_what_the_scripts_refuse_is_mended_or_under_strict_refused(tmp_path, name, content, text, repair):
    path = pack(tmp_path / "det.zip", {name: content})
    read = read_archive(path, role="predictions")
    assert [word[1] for word in words_of(read)] == [text]
    layout = "icdar2015" if name.startswith("res") else "curve"
    if repair is None:
        assert read["repairs"] == []
        repair = "sub/1.txt: no file name"
    else:
        assert len(read["repairs"]) == 1
        assert read["repairs"][0].startswith(f"{path}: {name}, line ")
    with pytest.raises(DataError, match=repair) as caught:
        read_archive(path, role="predictions", layout=layout, strict=True)
    assert "\n" not in str(caught.value)


def test_line_breaks_of_any_system_and_empty_lines(tmp_path):
    content = CURVE_LINE.replace("\n", "\r\n") + "\r\n" + CURVE_LINE.strip()
    for strict in (False, True):
        read = read_archive(pack(tmp_path / "a.zip", {"1.txt": content}), role="ground truth", strict=strict)
        assert words_of(read) == [(ANTICLOCKWISE, "word")] * 2


REFUSED = [
    pytest.param("1.txt", "0,0,0,40,100,####word\n", r"1\.txt, line 1: an odd number of coordinates \(5\)", id="odd"),
    pytest.param("1.txt", CURVE_LINE + "0,0,0,40,x,40,####word\n", r"line 2: .*'x'", id="no-number"),
    pytest.param("1.txt", "0,0,nan,40,100,40,####word\n", "line 1: .*not finite", id="nan"),
    pytest.param("1.txt", "0,0,1e400,40,100,40,####word\n", "line 1: .*not finite", id="overflow"),
    pytest.param("1.txt", "0,0,0,40,100,40,100,0,word\n", "line 1: .*'word'|line 1: no transcription", id="no-mark"),
    pytest.param("1.txt", ",####word\n", "line 1: ", id="no-coordinates"),
    pytest.param("{}_img_1.txt", "0,0,100,0,100,40,word\n", "line 1: ", id="three-corners"),
    pytest.param("{}_img_1.txt", "0,0,100,0,100,40,0,4O,word\n", "line 1: .*'4O'", id="letter-o"),
]


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("role", ["ground truth", "predictions"])
@pytest.mark.parametrize(("name", "content", "message"), REFUSED)
def test_what_cannot_be_read_names_file_and_line(tmp_path, name, content, message, role, strict):
    name = name.format("gt" if role == "ground truth" else "res")
    path = pack(tmp_path / "a.zip", {name: content})
    with pytest.raises(DataError, match=message) as caught:
        read_archive(path, role=role, strict=strict)
    assert str(caught.value).startswith(f"{path}: {name}, line ")
    assert "\n" not in str(caught.value)


def test_ground_truth_needs_transcriptions_and_outlines(tmp_path):
    for line, message in (
        ("0,0,0,40,100,40,100,0", "no transcription"),
        ("0,0,0,40,####a", "at least 3 points, got 2"),
    ):
        with pytest.raises(DataError, match=rf"1\.txt, line 1: .*{message}"):
            read_archive(pack(tmp_path / "gt.zip", {"1.txt": line}), role="ground truth")


def test_foreign_files(tmp_path):
    path = pack(tmp_path / "a.zip", {"1.txt": CURVE_LINE, "readme.md": "x", "__MACOSX/1.txt": "x", ".DS_Store": "x"})
    assert read_archive(path, role="ground truth", strict=True)["repairs"] == []
    assert read_archive(path, role="predictions")["repairs"] == [
        f"{path}: readme.md: no file name of a submission; left out"
    ]
    with pytest.raises(DataError, match=r"readme\.md"):
        read_archive(path, role="predictions", strict=True)


def test_an_image_has_one_file_and_the_archive_one_layout(tmp_path):
    with pytest.raises(DataError, match="a second file for image 1"):
        read_archive(pack(tmp_path / "a.zip", {"1.txt": "", "0001.txt": ""}), role="predictions")
    read = read_archive(pack(tmp_path / "a.zip", {"1.txt": "", "0001.txt": ""}), role="predictions", strict=True)
    assert [image["id"] for image in read["images"]] == ["1", "0001"]
    with pytest.raises(DataError, match="files of two layouts"):
        read_archive(pack(tmp_path / "a.zip", {"1.txt": "", "res_img_1.txt": ""}), role="predictions")
    with pytest.raises(DataError, match="no file with names of ground truth"):
        read_archive(pack(tmp_path / "a.zip", {"res_img_1.txt": ""}), role="ground truth")
    with pytest.raises(DataError, match="is this the ground truth"):
        read_archive(pack(tmp_path / "a.zip", {"1.txt": ""}), role="ground truth", layout="icdar2015")


def test_an_empty_submission_is_one(tmp_path):
    path = pack(tmp_path / "a.zip", {})
    assert read_archive(path, role="predictions", strict=True) == {"images": [], "repairs": []}
    with pytest.raises(DataError, match="ground truth"):
        read_archive(path, role="ground truth")


@pytest.mark.parametrize("name", ["../1.txt", "a/../../1.txt", "/1.txt", "..\\1.txt", "\\1.txt", "C:/1.txt"])
def test_members_that_point_out_of_the_archive_are_refused(tmp_path, name):
    with pytest.raises(DataError, match="points out of the archive"):
        read_archive(pack(tmp_path / "a.zip", {name: CURVE_LINE}), role="predictions")


def test_windows_separators_are_folders(tmp_path):
    path = pack(tmp_path / "a.zip", {"det\\0000001.txt": CURVE_LINE + "\r\n"})
    (image,) = read_archive(path, role="predictions")["images"]
    assert image["id"] == 1 and len(image["words"]) == 1


def test_a_link_out_of_the_folder_is_refused(tmp_path):
    folder = tmp_path / "det"
    folder.mkdir()
    (tmp_path / "secret.txt").write_text(CURVE_LINE, encoding="utf-8")
    (folder / "1.txt").symlink_to(tmp_path / "secret.txt")
    with pytest.raises(DataError, match="leads out"):
        read_archive(folder, role="predictions")


def test_bombs_are_refused(tmp_path, monkeypatch):
    bomb = pack(tmp_path / "a.zip", {"1.txt": b"0" * (4 * archive_files.FREE_BYTES)})
    with pytest.raises(DataError, match=r"unpacks to more than \d+ times"):
        read_archive(bomb, role="predictions")
    many = pack(tmp_path / "b.zip", {f"{number}.txt": CURVE_LINE for number in range(4)})
    with monkeypatch.context() as patch:
        patch.setattr(archive_files, "MAX_FILES", 3)
        with pytest.raises(DataError, match=r"4 files .* are more than the 3 files"):
            read_archive(many, role="predictions")
    with monkeypatch.context() as patch:
        patch.setattr(archive_files, "MAX_TOTAL_BYTES", 4 * len(CURVE_LINE) - 1)
        with pytest.raises(DataError, match="are more than"):
            read_archive(many, role="predictions")


def test_damaged_and_encrypted_archives(tmp_path):
    path = pack(tmp_path / "a.zip", {"1.txt": CURVE_LINE}, zipfile.ZIP_STORED)
    intact = path.read_bytes()
    path.write_bytes(intact.replace(b"word", b"ward"))
    with pytest.raises(DataError, match="cannot be read as a zip archive"):
        read_archive(path, role="predictions")
    flags = intact.index(b"PK\x01\x02") + 8
    path.write_bytes(intact[:flags] + b"\x01" + intact[flags + 1 :])
    with pytest.raises(DataError, match="packed with method 12"):
        read_archive(pack(tmp_path / "b.zip", {"1.txt": CURVE_LINE}, zipfile.ZIP_BZIP2), role="predictions")
    with pytest.raises(DataError, match="encrypted"):
        read_archive(path, role="predictions")
    path.write_bytes(b"no zip")
    with pytest.raises(DataError, match="cannot be read as a zip archive"):
        read_archive(path, role="predictions")
    with pytest.raises(DataError, match="cannot be read"):
        read_archive(tmp_path / "missing.zip", role="predictions")


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=4), st.data())
def test_damage_anywhere_is_one_line(tmp_path_factory, damage, data):
    folder = tmp_path_factory.mktemp("damaged")
    method = data.draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2]))
    path = pack(folder / "a.zip", {"1.txt": CURVE_LINE * 3, "res_img_2.txt": QUAD_LINE}, method)
    content = bytearray(path.read_bytes())
    for position, value in damage:
        content[position % len(content)] = value
    path.write_bytes(content)
    try:
        read = read_archive(path, role="predictions", layout=data.draw(st.sampled_from(["curve", "icdar2015"])))
    except DataError as error:
        assert str(error).startswith(str(path))
        assert "\n" not in str(error)
    else:
        assert all(len(image["words"]) <= 4 for image in read["images"])


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_that_occurs_twice_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("1.txt", CURVE_LINE)
        archive.writestr("1.txt", "")
    with pytest.raises(DataError, match="occurs twice"):
        read_archive(tmp_path / "a.zip", role="predictions")


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=12).map(lambda text: text.encode("utf-8", "ignore").decode("utf-8")))
def test_texts_come_back_as_they_were_written(text):
    for layout in LAYOUTS.values():
        separator, wanted = (",####", text.strip()) if layout.name == "curve" else (",", text)
        if "\n" in wanted or "\r" in wanted or separator + "####" in wanted:
            continue
        line = f"0,0,9,0,9,9,0,9{separator}{quote(wanted, stripped=layout.name == 'curve')}"
        assert parse_line(line, layout=layout, text_required=True).text == wanted


def test_quotes_and_escapes():
    texts = {'"a,b"': "a,b", r'"a\"b"': 'a"b', r'"a\\b"': r"a\b", '"': '"', '""': "", 'a"': 'a"', r"a\b": r"a\b"}
    for written, read in texts.items():
        line = f"0,0,9,0,9,9,0,9,{written}"
        assert parse_line(line, layout=LAYOUTS["icdar2015"], text_required=True).text == read
    assert quote("two\r\nlines", stripped=True) == "two lines"
    assert quote('"said"', stripped=True) == r'"\"said\""'


def test_corners_of_quadrilaterals_that_run_the_wrong_way(tmp_path):
    shuffled = [[0, 0], [100, 40], [0, 40], [100, 0]]
    ordered = sort_corners(shuffled)
    assert sorted(map(tuple, ordered)) == sorted(map(tuple, shuffled))
    assert signed_area(ordered) == 4000
    assert signed_area(CLOCKWISE) == -signed_area(ANTICLOCKWISE) == 4000
    path = pack(tmp_path / "a.zip", {"res_img_1.txt": "0,0,0,40,100,40,100,0,word\n" + QUAD_LINE})
    read = read_archive(path, role="predictions", strict=True, sort_anticlockwise=True)
    assert [signed_area(points) for points, _ in words_of(read)] == [4000, 4000]
    with pytest.raises(DataError, match=r"line 1: .*clockwise"):
        read_archive(path, role="predictions", strict=True)


def test_own_archives_have_the_direction_and_layout_the_scripts_want(tmp_path):
    path = tmp_path / "det.zip"
    words = [{"points": CLOCKWISE, "text": "a"}, {"points": [[0.5, 0], [0, 40.25], [100, 40]], "text": '"b"\nc'}]
    write_archive(path, document(*words), protocol="totaltext")
    assert unpack(path) == {"0000007.txt": '0,0,0,40,100,40,100,0,####a\n0.5,0,0,40.25,100,40,####"b" c\n'}
    write_archive(path, document({"points": ANTICLOCKWISE, "text": ' "a" '}), protocol="icdar2015")
    assert unpack(path) == {"res_img_7.txt": '100,0,100,40,0,40,0,0, "a" \n'}


def test_longer_outlines_become_boxes_for_icdar2015(tmp_path):
    outline = [[-5.5, 10.5], [50, 10.5], [100, 10.5], [100, 40.5], [50, 40.5], [-5.5, 40.5]]
    predictions = document({"points": outline, "text": "word"})
    predictions["images"][0].update(width=80, height=60)
    for flavour in (None, "adelaidet", "deepsolo"):
        write_archive(tmp_path / "det.zip", predictions, protocol="icdar2015", flavour=flavour)
        assert unpack(tmp_path / "det.zip") == {"res_img_7.txt": "1,10,79,10,79,40,1,40,word\n"}
    wanted = document({"points": [[1, 10], [79, 10], [79, 40], [1, 40]], "text": "word"})
    result = score(wanted, predictions, protocol="icdar2015", flavour="adelaidet")
    assert result.images["7"].end_to_end.matches == [(0, 0, 1.0, True)]


def test_boxes_lie_in_the_image_or_have_no_border():
    tilted = np.array([[10, 0], [20, 10], [10, 20], [0, 10]], float)
    assert polygon_to_box(tilted, (15, 12)).min() == 1.0
    assert polygon_to_box(tilted, (15, 12)).max(axis=0).tolist() == [11.0, 14.0]
    assert polygon_to_box(tilted + 1000, None).max() > 1000


def test_outlines_that_the_scripts_refuse_are_left_out_and_named(tmp_path):
    words = [
        {"points": [[0, 0], [100, 40], [100, 0], [0, 40]], "text": "bow"},
        {"points": ANTICLOCKWISE, "text": "good"},
        {"points": [[0, 0], [9, 9]], "text": "two"},
        {"points": ANTICLOCKWISE, "text": "low", "score": 0.2},
    ]
    removed = write_archive(tmp_path / "det.zip", document(*words), protocol="totaltext", confidence=0.5)
    assert removed == {"7": {"low_score": [3], "invalid_polygon": [0, 2]}}
    assert unpack(tmp_path / "det.zip")["0000007.txt"].count("\n") == 1
    lexicon = Lexicon(["god"], ["God"])
    removed = write_archive(tmp_path / "det.zip", document(*words), protocol="totaltext", lexicon=lexicon)
    assert removed["7"]["not_in_lexicon"] == [0, 2, 3]
    assert unpack(tmp_path / "det.zip")["0000007.txt"].endswith(",####God\n")


def test_own_archives_have_a_file_for_every_image_and_published_ones_do_not(tmp_path):
    predictions = {"images": [{"id": 1, "words": []}, {"id": "22", "words": []}]}
    write_archive(tmp_path / "det.zip", predictions, protocol="ctw1500")
    assert unpack(tmp_path / "det.zip") == {"0000001.txt": "", "0000022.txt": ""}
    first = (tmp_path / "det.zip").read_bytes()
    write_archive(tmp_path / "det.zip", predictions, protocol="ctw1500")
    assert (tmp_path / "det.zip").read_bytes() == first
    write_archive(tmp_path / "det.zip", predictions, protocol="ctw1500", flavour="deepsolo")
    assert unpack(tmp_path / "det.zip") == {}


@pytest.mark.parametrize(
    ("predictions", "options", "message"),
    [
        (document(image_id="img_1"), {}, "whole numbers"),
        (document(image_id=-1), {}, "whole numbers"),
        ({"images": [{"id": "1", "words": []}, {"id": "001", "words": []}]}, {}, "0000001.txt too"),
        (document(), {"lexicon": {"8": Lexicon([])}}, "no lexicon for image 7"),
    ],
)
def test_bad_submissions_are_named(tmp_path, predictions, options, message):
    with pytest.raises(DataError, match=message):
        write_archive(tmp_path / "det.zip", predictions, protocol="totaltext", **options)


def test_unknown_names_and_unwritable_files(tmp_path):
    with pytest.raises(ConfigError, match="unknown flavour"):
        write_archive(tmp_path / "det.zip", document(), protocol="totaltext", flavour="other")
    with pytest.raises(ConfigError, match="unknown protocol"):
        write_archive(tmp_path / "det.zip", document(), protocol="other")
    with pytest.raises(DataError, match="cannot be written"):
        write_archive(tmp_path / "missing" / "det.zip", document(), protocol="totaltext")


coordinate = st.floats(0, 200, width=32).map(lambda value: round(value, 2))
triangle = st.lists(st.tuples(coordinate, coordinate), min_size=3, max_size=3, unique=True)
predicted = st.fixed_dictionaries({"points": triangle, "text": st.text("abC'\"\\, #:", max_size=5)})


@settings(max_examples=40, deadline=None)
@given(st.lists(predicted, max_size=4))
@example([{"points": [(0, 0), (9, 0), (0, 9)], "text": ' "\\"'}])
def test_an_own_archive_scores_like_the_words_it_was_made_of(tmp_path_factory, words):
    words = [word for word in words if abs(signed_area(word["points"])) > 1 and ",####" not in word["text"]]
    path = tmp_path_factory.mktemp("archive") / "det.zip"
    removed = write_archive(path, document(*words), protocol="ctw1500")
    assert removed["7"]["invalid_polygon"] == []
    read = read_archive(path, role="predictions", strict=True)
    read["images"][0]["id"] = 7
    wanted = document(*words)
    direct, again = (score(wanted, side, protocol="ctw1500") for side in (wanted, read))
    assert again.detection == direct.detection
    assert again.end_to_end == direct.end_to_end


@pytest.mark.golden
@pytest.mark.parametrize("protocol", ["totaltext", "ctw1500", "icdar2015"])
@pytest.mark.parametrize("flavour", ["adelaidet", "deepsolo", "testr"])
def test_evaluation_archives_score_like_the_flavour(tmp_path, flavour, protocol):
    cases = json.loads((golden_root() / "evaluation" / "text.cases.json").read_text(encoding="utf-8"))
    images = cases["datasets"][protocol]["images"]
    sides = [{"images": [{"id": image["id"], "words": image[side]} for image in images]} for side in ("gt", "pred")]
    options = {"protocol": protocol, "flavour": flavour, "confidence": 0.3}
    path_lexicon = Lexicon([word["text"] for image in images for word in image["gt"]], rule="testr")
    rules = "custom" if flavour == "testr" and protocol == "icdar2015" else protocol
    for lexicon in (None, path_lexicon):
        removed = write_archive(tmp_path / "det.zip", sides[1], lexicon=lexicon, **options)
        read = read_archive(tmp_path / "det.zip", role="predictions")
        assert read["repairs"] == []
        direct = score(*sides, lexicon=lexicon, **options)
        again = score(sides[0], read, protocol=rules, flavour="script")
        assert direct.detection.predicted > 0
        assert (again.detection, again.end_to_end) == (direct.detection, direct.end_to_end)
        assert removed == {key: image.removed for key, image in direct.images.items() if key in removed}
