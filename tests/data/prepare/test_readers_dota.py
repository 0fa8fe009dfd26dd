"""DOTA: label lines, tiles as the published splitter cuts them, and the way back into the scene."""

import os

import numpy as np
import pytest
from PIL import Image
from reference import golden, golden_root

from fasttcm.data.prepare.readers import dota
from fasttcm.data.prepare.readers.dota import DOTA15_CLASSES, DOTA_CLASSES, read_dota, read_dota15
from fasttcm.data.prepare.readers.dota_tiles import cut_tile, objects_in_tiles, tile_name, tile_windows
from fasttcm.data.prepare.source import MissingSplitError
from fasttcm.errors import DataError
from fasttcm.evaluation.dota_files import KNOWN_CLASSES, Detections, write_task1
from fasttcm.evaluation.dota_merge import merge_tiles, parse_tile_name

HEADER = "imagesource:GoogleEarth\ngsd:0.146343590398\n"
PLANE = "20 10 60 10 60 40 20 40 plane 0"


def scenes():
    """Sizes (width x height) that the file has figures of."""
    path = golden_root() / "oriented" / "dota_split.golden.npz"
    names = (
        [key.split(".")[1] for key in golden("oriented", "dota_split") if key.startswith("windows.")]
        if path.is_file()
        else []
    )
    return [pytest.param(name, id=f"oriented-dota_split-{name}") for name in names]


@pytest.mark.golden
@pytest.mark.parametrize("scene", scenes())
def test_tiles_are_those_of_the_published_splitter(scene):
    figures = golden("oriented", "dota_split")
    expected = figures[f"windows.{scene}"]
    width, height = map(int, scene.split("x"))
    size = int(expected[0, 2] - expected[0, 0])
    windows = tile_windows(width, height, size=size, overlap=dota.TILE_OVERLAP)
    np.testing.assert_array_equal(windows, expected)
    kept, cut = objects_in_tiles(figures[f"quads.{scene}"].reshape(-1, 4, 2), windows)
    np.testing.assert_array_equal(kept, figures[f"kept.{scene}"])
    np.testing.assert_array_equal(cut.T[kept.T], figures[f"trunc.{scene}"])


def test_windows_cover_the_picture_and_overlap():
    windows = tile_windows(100, 70, size=40, overlap=10)
    covered = np.zeros((70, 100), int)
    for x0, y0, x1, y1 in windows:
        assert (x1 - x0, y1 - y0) == (40, 40) and x0 >= 0 and y0 >= 0 and x1 <= 100 and y1 <= 70
        covered[y0:y1, x0:x1] += 1
    assert covered.min() == 1 and covered.max() == 4
    assert [tuple(window[:2]) for window in windows] == [(x, y) for x in (0, 30, 60) for y in (0, 30)]


def test_a_narrow_strip_has_tiles_though_none_is_covered_enough():
    windows = tile_windows(100, 10, size=40, overlap=10)
    assert [tuple(window[:2]) for window in windows] == [(0, 0), (30, 0), (60, 0)]


def test_objects_without_area_or_crossing_themselves_do_no_harm():
    quads = np.array(
        [
            [[5, 5], [5, 5], [5, 5], [5, 5]],
            [[0, 0], [10, 10], [10, 0], [0, 10]],
            [[50, 50], [60, 50], [60, 60], [50, 60]],
        ]
    )
    kept, cut = objects_in_tiles(quads, np.array([[0, 0, 40, 40]]))
    assert kept[:, 0].tolist() == [False, True, False]
    kept, cut = objects_in_tiles(np.zeros((0, 4, 2)), np.array([[0, 0, 40, 40]]))
    assert kept.shape == cut.shape == (0, 1)


def test_a_tile_beyond_the_border_is_filled_up():
    pixels = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
    tile = cut_tile(pixels, np.array([4, 2, 10, 8]))
    np.testing.assert_array_equal(tile[:3, :3], pixels[2:, 4:])
    assert (tile[3:] == (124, 116, 104)).all() and (tile[:, 3:] == (124, 116, 104)).all()


def test_class_names_are_those_of_the_evaluation():
    assert KNOWN_CLASSES[:15] == DOTA_CLASSES
    assert KNOWN_CLASSES[:16] == DOTA15_CLASSES


def layout(lines, **more):
    return {"train/images/P0000.png": (100, 70), "train/labelTxt/P0000.txt": HEADER + "\n".join(lines), **more}


def test_whole_pictures(read_with):
    lines = [PLANE, "70.5 50 90 50 90 60 70.5 60 ship 1", "1 1 5 1 5 5 1 5 harbor", ""]
    pictures, problems = read_with(read_dota, layout(lines), "train", no_tiles=True)
    assert [picture.image for picture in pictures] == ["train/images/P0000.png"]
    assert pictures[0].pixels is None
    assert [(word.label, word.ignore, word.text) for word in pictures[0].words] == [
        ("plane", False, None),
        ("ship", True, None),
        ("harbor", False, None),
    ]
    np.testing.assert_array_equal(pictures[0].words[1].points, [[70.5, 50], [90, 50], [90, 60], [70.5, 60]])
    assert pictures[0].words[0].place == "train/labelTxt/P0000.txt, line 3" and not len(problems)


@pytest.mark.parametrize(
    "line, reason",
    [
        ("20 10 60 10 60 40 20 plane 0", "line is not a list of numbers (skipped)"),
        ("20 10 60 10", "expected 8 coordinates, class and difficulty (skipped)"),
        ("20 10 60 10 60 40 20 40 plane 0 7", "expected 8 coordinates, class and difficulty (skipped)"),
        ("20 10 60 10 60 nan 20 40 plane 0", "line holds NaN, infinity or nothing (skipped)"),
        ("20 10 60 10 60 40 20 40 zeppelin 0", "unknown class (skipped)"),
        ("20 10 60 10 60 40 20 40 container-crane 0", "unknown class (skipped)"),
        ("20 10 60 10 60 40 20 40 plane x", "difficulty is not 0, 1 or 2 (skipped)"),
    ],
)
def test_a_broken_line_is_skipped_with_its_place(read_with, line, reason):
    pictures, problems = read_with(read_dota, layout([line, PLANE]), "train", no_tiles=True)
    assert [word.label for word in pictures[0].words] == ["plane"]
    assert dict(problems.counts) == {reason: 1}
    assert problems.messages[0].startswith("train/labelTxt/P0000.txt, line 3: ")


def test_v15_has_its_own_labels_and_class(read_with):
    crane = HEADER + "20 10 60 10 60 40 20 40 container-crane 0"
    files = layout(
        [PLANE],
        **{
            "train/labelTxt-v1.5/DOTA-v1.5_train/P0000.txt": crane,
            "train/labelTxt-v1.5/DOTA-v1.5_train_hbb/P0000.txt": HEADER,
            "val/images/P0003.png": (50, 50),
            "test/images/P0006.png": (50, 50),
        },
    )
    for reader, label in ((read_dota, "plane"), (read_dota15, "container-crane")):
        pictures, problems = read_with(reader, files, "train", no_tiles=True)
        assert [word.label for word in pictures[0].words] == [label] and not len(problems)
    pictures, problems = read_with(read_dota, files, "val", no_tiles=True)
    assert not pictures and dict(problems.counts) == {"no annotation file (image skipped)": 1}
    pictures, problems = read_with(read_dota, files, "test", no_tiles=True)
    assert pictures[0].words == [] and not len(problems)
    with pytest.raises(MissingSplitError, match="expected val2/images/P<number>"):
        read_with(read_dota, {"readme.txt": ""}, "val2")


def test_tiles_hold_the_pixels_and_the_objects_moved(read_with, write_source):
    lines = [PLANE, "70.5 50 90 50 90 60 70.5 60 ship 1", "0 0 99 0 99 69 0 69 harbor 0"]
    files = layout(lines)
    pictures, problems = read_with(read_dota, files, "train", tile_size=40, tile_overlap=10)
    with Image.open(write_source({}) / "train/images/P0000.png") as image:
        scene = np.asarray(image)
    assert len(pictures) == 6
    for picture in pictures:
        x, y = picture.extra["offset"]
        assert picture.image == f"P0000__1__{x}___{y}.png" and picture.extra["scene"] == "P0000"
        np.testing.assert_array_equal(picture.pixels, scene[y : y + 40, x : x + 40])
        assert len(picture.extra["difficulty"]) == len(picture.words)
    found = {(tuple(p.extra["offset"]), word.label): (p, word) for p in pictures for word in p.words}
    # 30 of the plane's 40 columns lie in the tile at 30, only 20 in that at 0; the harbor fits nowhere.
    assert set(found) == {((30, 0), "plane"), ((60, 30), "ship")}
    picture, plane = found[(30, 0), "plane"]
    np.testing.assert_array_equal(plane.points, [[-10, 10], [30, 10], [30, 40], [-10, 40]])
    assert picture.extra["difficulty"] == [2] and not plane.ignore
    assert found[(60, 30), "ship"][1].ignore
    assert dict(problems.counts) == {"object lies in no tile (skipped)": 1}
    assert problems.messages[0].startswith("train/labelTxt/P0000.txt, line 5")


def test_detections_of_tiles_come_back_into_the_scene(read_with, tmp_path):
    """Tile, take the objects for detections, write the submission, merge: every object once, where it was."""
    rng = np.random.default_rng(3)
    quads, lines = [], []
    for number in range(12):
        middle = np.array([60 + 110 * (number % 4), 60 + 110 * (number // 4)]) + rng.uniform(-15, 15, 2)
        angle, half = rng.uniform(0, 6.3), rng.uniform(8, 20, 2)
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        quads.append((middle + np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half @ turn).round(1))
        label = ("ship", "harbor")[number % 2]
        lines.append(" ".join(map(str, quads[-1].ravel())) + f" {label} 0")
    files = {"train/images/P0007.png": (470, 350), "train/labelTxt/P0007.txt": HEADER + "\n".join(lines)}
    pictures, problems = read_with(read_dota, files, "train", tile_size=200, tile_overlap=80)
    assert not len(problems)
    rows = [(os.path.splitext(p.image)[0], word) for p in pictures for word in p.words]
    assert len(rows) > len(lines)  # the overlap shows some objects twice
    found = {}
    for label in ("ship", "harbor"):
        some = [(name, word) for name, word in rows if word.label == label]
        points = np.array([word.points for _, word in some])
        found[label] = Detections([name for name, _ in some], points, rng.uniform(0.5, 1, len(some)))
    write_task1(tmp_path / "submission", found)
    merged = merge_tiles(tmp_path / "submission")
    for number, quad in enumerate(quads):
        label = ("ship", "harbor")[number % 2]
        assert np.isclose(merged[label].quads, quad, atol=1e-9).all((1, 2)).sum() == 1
    assert sum(len(one.images) for one in merged.values()) == len(quads)
    assert {name for one in merged.values() for name in one.images} == {"P0007"}


def test_the_evaluation_understands_tile_names():
    place = parse_tile_name(tile_name("P0007", np.array([824, 16, 1848, 1040])))
    assert (place.image, place.rate, place.x, place.y) == ("P0007", 1.0, 824, 16)


def test_pictures_that_cannot_be_cut_are_reported(read_with, monkeypatch):
    files = layout(
        [PLANE],
        **{
            "train/images/P0001.png": b"no image",
            "train/labelTxt/P0001.txt": HEADER + PLANE,
            "train/images/P0002__a.png": (50, 50),
            "train/labelTxt/P0002__a.txt": "",
            "train/images/P0003.png": (90, 90),
            "train/labelTxt/P0003.txt": "",
        },
    )
    monkeypatch.setattr(dota, "MAX_SCENE_PIXELS", 8000)
    pictures, problems = read_with(read_dota, files, "train", tile_size=100, tile_overlap=0)
    assert [picture.image for picture in pictures] == ["P0000__1__0___0.png"]
    assert dict(problems.counts) == {
        "image unreadable (skipped)": 2,
        "picture is called like a tile, so its tiles could not be merged (skipped)": 1,
    }
    assert "90 x 90 pixels, more than the limit of 8000" in "".join(problems.messages)


def test_large_scenes_pass_pillows_own_limit(read_with, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # twice that is an error of Pillow's
    pictures, problems = read_with(read_dota, layout([PLANE]), "train", tile_size=100, tile_overlap=0)
    assert len(pictures) == 1 and not len(problems)
    assert Image.MAX_IMAGE_PIXELS == 1000


@pytest.mark.parametrize("size, overlap", [(100, 100), (100, -1), (0, 0)])
def test_nonsense_tiles_are_refused(read_with, size, overlap):
    with pytest.raises(DataError, match="cannot overlap"):
        read_with(read_dota, layout([PLANE]), "train", tile_size=size, tile_overlap=overlap)
