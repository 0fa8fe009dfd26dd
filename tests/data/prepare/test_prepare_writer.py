"""What the writer makes of pictures: sizes, reading order, curves, images, and what is left out."""

import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from prepare_samples import image_bytes, index_of

from fasttcm.data.coco import TextDataset
from fasttcm.data.images import read_image
from fasttcm.data.prepare.picture import Picture, Word
from fasttcm.data.prepare.source import Source
from fasttcm.data.prepare.writer import SplitWriter
from fasttcm.data.problems import Problems
from fasttcm.errors import DataError
from fasttcm.geometry import sample_sides

BOX = [[10, 10], [40, 10], [40, 20], [10, 20]]
ARC = [[x, 20 - 10 * np.sin(np.pi * x / 60)] for x in range(0, 61, 10)]
CURVED = np.array(ARC + [[x, y + 12] for x, y in ARC[::-1]])


def word(points=BOX, text="word", **fields) -> Word:
    return Word(np.asarray(points, np.float64), text, **fields)


def write(source: Path, pictures, destination: Path, *, strict: bool = False, **options) -> SplitWriter:
    with Source.open(source) as files:
        writer = SplitWriter(files, destination, problems=Problems(strict=strict), **options)
        list(writer.finish(writer.collect(pictures)))
        writer.publish()
    return writer


@pytest.fixture
def one(write_source, tmp_path: Path):
    """``one(words, ...)`` writes a picture of 64 x 48 pixels; returns (writer, image row, annotations)."""

    def run(words, *, picture=None, content=None, **options):
        source = write_source({"img_1.jpg": content or image_bytes()})
        writer = write(source, [Picture("img_1.jpg", words, **(picture or {}))], tmp_path / "out", **options)
        images, annotations = index_of(tmp_path / "out")
        return writer, images[0] if images else None, annotations

    return run


def test_an_annotation_has_every_field(one) -> None:
    _, image, (entry,) = one([word()])
    assert image == {"id": 1, "file_name": "img_1.jpg", "height": 48, "width": 64}
    assert entry == {
        "id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0, "ignore": 0, "area": 300.0,
        "bbox": [10.0, 10.0, 30.0, 10.0], "polys": [10.0, 10.0, 40.0, 10.0, 40.0, 20.0, 10.0, 20.0], "num_points": 4,
        "bezier_pts": [10.0, 10.0, 20.0, 10.0, 30.0, 10.0, 40.0, 10.0, 40.0, 20.0, 30.0, 20.0, 20.0, 20.0, 10.0, 20.0],
        "text": "word",
    }  # fmt: skip
    assert all(isinstance(value, float) for value in entry["bbox"] + entry["polys"]), "integers mean less elsewhere"


def test_every_point_is_kept_and_the_curve_follows_them(one) -> None:
    writer, _, (entry,) = one([word(np.roll(CURVED[::-1], 3, axis=0))])
    polygon = np.reshape(entry["polys"], (-1, 2))
    np.testing.assert_allclose(polygon, CURVED, atol=0.005)
    assert entry["num_points"] == 14 and len(writer.figures.residuals) == 1
    curve = sample_sides(np.array(entry["bezier_pts"]), 400)
    distance = np.linalg.norm(polygon[:, None] - curve[None], axis=2).min(axis=1).max()
    assert distance < 0.7 and writer.figures.residuals[0] == pytest.approx(distance, abs=0.5)


def test_order_given_or_known_keeps_the_first_corner(one) -> None:
    turned = [BOX[2], BOX[3], BOX[0], BOX[1]]
    for fields, options, first in (({}, {}, BOX[0]), ({"ordered": True}, {}, BOX[2]), ({}, {"ordered": True}, BOX[2])):
        _, _, (entry,) = one([word(turned, **fields)], **options)
        assert entry["polys"][:2] == first


def test_corners_out_of_order_are_sorted_and_reported(one) -> None:
    writer, _, (entry,) = one([word([BOX[0], BOX[2], BOX[1], BOX[3]], place="gt.txt:7")])
    assert entry["polys"] == [10.0, 10.0, 40.0, 10.0, 40.0, 20.0, 10.0, 20.0]
    assert writer.problems.messages == ["gt.txt:7: corners out of order (sorted)"]


@pytest.mark.parametrize(
    ("points", "reason"),
    [
        (BOX[:3], "fewer than 4 points"),
        ([[10, 10], [20, 10], [30, 10], [40, 10]], "zero area"),
        ([[5, 5]] * 4, "zero area"),
        ([[70, 10], [90, 10], [90, 20], [70, 20]], "outside the image"),
        ([[10, -9], [40, -9], [40, -1], [10, -1]], "outside the image"),
        ([[float("nan"), 10], *BOX[1:]], "NaN"),
        ([[1e12, 10], *BOX[1:]], "nonsense"),
    ],
)
def test_a_useless_word_is_reported_and_the_rest_goes_on(points, reason: str, one) -> None:
    writer, _, (entry,) = one([word(points, place="gt.txt:1"), word(text="kept")])
    assert entry["text"] == "kept" and entry["id"] == 1
    assert len(writer.problems) == 1
    message = writer.problems.messages[0]
    assert message.startswith("gt.txt:1: ") and reason in message and "(skipped)" in message
    with pytest.raises(DataError, match=r"gt\.txt:1: "):
        one([word(points, place="gt.txt:1")], strict=True)


def test_boxes_stop_at_the_border_and_outlines_do_not(one) -> None:
    writer, _, (entry,) = one([word([[-6, 40], [70, 40], [70, 60], [-6, 60]])])
    assert entry["bbox"] == [0.0, 40.0, 64.0, 8.0] and entry["polys"][0] == -6.0 and not len(writer.problems)


def test_do_not_care_and_missing_texts(one) -> None:
    words = [word(text="###"), word(text="small", ignore=True), word(text=""), word(text=None), word(text="ok")]
    writer, _, entries = one(words)
    assert [entry["ignore"] for entry in entries] == [entry["iscrowd"] for entry in entries] == [1, 1, 1, 0, 0]
    assert [entry.get("text") for entry in entries] == ["###", "small", "###", None, "ok"]
    assert (writer.figures.words, writer.figures.ignored) == (5, 3)


def test_classes_keep_their_corners_and_have_no_curves(one, tmp_path: Path) -> None:
    corners = [BOX[2], BOX[3], BOX[0], BOX[1]]
    writer, _, entries = one(
        [word(corners, None, label="ship"), word(corners, None, label="new")], categories=("plane", "ship")
    )
    assert [entry["category_id"] for entry in entries] == [2, 3] and writer.categories == ["plane", "ship", "new"]
    assert entries[0]["polys"][:2] == BOX[2] and "bezier_pts" not in entries[0] and not writer.figures.residuals
    assert TextDataset.from_json(tmp_path / "out/annotations.json").categories == ("plane", "ship", "new")


def test_a_given_curve_is_kept(one) -> None:
    curve = np.arange(16.0)
    _, _, (entry,) = one([word(bezier=curve)])
    assert entry["bezier_pts"] == curve.tolist()


def test_texts_of_every_kind_survive(one, tmp_path: Path) -> None:
    texts = ['a, "b" \\ c', "中文\u2028x", "half \ud83d", "tab\there", "é"]
    one([word(text=text) for text in texts])
    assert [entry["text"] for entry in index_of(tmp_path / "out")[1]] == texts


TALL = [[5, 50], [25, 50], [25, 60], [5, 60]]  # inside 48 x 64, outside 64 x 48
WIDE = [[50, 5], [60, 5], [60, 25], [50, 25]]


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
@pytest.mark.parametrize(
    ("points", "stated", "size", "why"),
    [
        (TALL, None, (48, 64), "displayed"),
        (WIDE, None, (64, 48), "stored"),
        (BOX, None, (48, 64), "either"),
        (BOX, (64, 48), (64, 48), "stored"),
        (BOX, (48, 64), (48, 64), "displayed"),
    ],
)
def test_exif_orientation(orientation: int, points, stated, size, why: str, one, tmp_path: Path) -> None:
    content = image_bytes(64, 48, orientation=orientation)
    writer, image, entries = one([word(points)], picture={"size": stated}, content=content, strict=True)
    assert (image["width"], image["height"]) == size and writer.figures.orientation == {why: 1} and len(entries) == 1
    assert len(TextDataset.from_json(tmp_path / "out/annotations.json", strict=True)) == 1


def test_orientations_that_keep_the_shape_and_tiffs(one) -> None:
    for content in (image_bytes(orientation=3), image_bytes(kind="TIFF", orientation=1)):
        writer, image, _ = one([word()], content=content)
        assert (image["width"], image["height"]) == (64, 48) and writer.figures.orientation == {"upright": 1}
    _, image, _ = one([word()], content=image_bytes(kind="TIFF", orientation=6))
    assert (image["width"], image["height"]) == (48, 64), "Pillow turns a TIFF itself"


def test_another_size_than_stated_is_reported(one) -> None:
    writer, image, entries = one([word()], picture={"size": (640, 480)})
    assert (image["width"], image["height"]) == (64, 48) and len(entries) == 1
    assert "(640, 480) stated, (64, 48) in the file" in writer.problems.messages[0]


def test_images_that_cannot_be_used(write_source, tmp_path: Path) -> None:
    good = image_bytes()
    source = write_source({"a.jpg": good, "empty.jpg": b"", "text.jpg": "text", "cut.jpg": good[:-20]})
    names = ["a.jpg", "empty.jpg", "text.jpg", "none.jpg", "cut.jpg", "a.jpg"]
    pictures = [Picture(name, [word()]) for name in names]
    writer = write(source, pictures, tmp_path / "out")
    assert [image["file_name"] for image in index_of(tmp_path / "out")[0]] == ["a.jpg", "cut.jpg"], "headers only"
    assert len(writer.problems) == 4 and writer.figures.images == writer.figures.words == 2
    verified = write(source, pictures, tmp_path / "verified", verify=True)
    assert [image["file_name"] for image in index_of(tmp_path / "verified")[0]] == ["a.jpg"]
    assert sum(verified.problems.counts.values()) == 5


def test_ids_are_the_publishers_where_they_are_unique(write_source, tmp_path: Path) -> None:
    source = write_source({f"{name}.jpg": image_bytes() for name in "abcd"})
    ids = {"a": 2, "b": 2, "c": None, "d": 1}
    writer = write(source, [Picture(f"{k}.jpg", [], image_id=v) for k, v in ids.items()], tmp_path / "out")
    numbers = [image["id"] for image in index_of(tmp_path / "out")[0]]
    assert numbers[0] == 2 and len(set(numbers)) == 4
    assert writer.problems.counts["image id used twice (the later one numbered anew)"] >= 1


def names_of(folder: Path) -> list[str]:
    return [image["file_name"] for image in index_of(folder)[0]]


def test_images_in_one_folder_become_a_link(write_source, tmp_path: Path) -> None:
    source = write_source({f"train/images/{i}.jpg": image_bytes() for i in (1, 2)} | {"gt.txt": "x"})
    out = tmp_path / "out"
    for _ in range(2):
        write(source, [Picture(f"train/images/{i}.jpg", [word()]) for i in (1, 2)], out)
        assert (out / "images").is_symlink() and names_of(out) == ["1.jpg", "2.jpg"]
    assert os.path.realpath(out / "images") == os.path.realpath(source / "train/images")
    assert len(TextDataset.from_json(out / "annotations.json", strict=True)) == 2


def test_images_in_several_folders(write_source, tmp_path: Path) -> None:
    source = write_source({f"scenes/{i}/a.jpg": image_bytes(tone=i) for i in (1, 2)})
    out = tmp_path / "out"
    write(source, [Picture(f"scenes/{i}/a.jpg", []) for i in (1, 2)], out)
    assert (out / "images").is_symlink() and names_of(out) == ["1/a.jpg", "2/a.jpg"]


def test_a_linked_folder_outside_is_followed_by_hard_links(write_source, tmp_path: Path) -> None:
    source = write_source({"1/a.jpg": image_bytes(tone=1)})
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "b.jpg").write_bytes(image_bytes(tone=2))
    (source / "2").symlink_to(elsewhere)
    out = tmp_path / "out"
    write(source, [Picture("1/a.jpg", []), Picture("2/b.jpg", [])], out)
    assert (
        not (out / "images").is_symlink()
        and (out / "images/2/b.jpg").stat().st_ino == (elsewhere / "b.jpg").stat().st_ino
    )
    assert len(TextDataset.from_json(out / "annotations.json", strict=True)) == 2


def test_copies_and_the_way_back(write_source, tmp_path: Path) -> None:
    source = write_source({"a.jpg": image_bytes()})
    out = tmp_path / "out"
    write(source, [Picture("a.jpg", [])], out)
    assert (out / "images").is_symlink()
    write(source, [Picture("a.jpg", [])], out, link=False)
    copy = out / "images/a.jpg"
    assert not (out / "images").is_symlink() and copy.stat().st_ino != (source / "a.jpg").stat().st_ino
    assert copy.read_bytes() == (source / "a.jpg").read_bytes() and (source / "a.jpg").is_file()
    write(source, [Picture("a.jpg", [])], out)
    assert not (out / "images").is_symlink() and copy.is_file(), "a folder with files is kept"


def test_hard_links_fall_back_to_copies(write_source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", fail)
    monkeypatch.setattr(Path, "symlink_to", fail)
    source = write_source({"a.jpg": image_bytes()})
    write(source, [Picture("a.jpg", [])], tmp_path / "out")
    assert (tmp_path / "out/images/a.jpg").read_bytes() == (source / "a.jpg").read_bytes()


def packed_source(tmp_path: Path, files: dict[str, bytes]) -> Path:
    (tmp_path / "source").mkdir(exist_ok=True)
    with zipfile.ZipFile(tmp_path / "source/images.zip", "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return tmp_path / "source"


def test_images_out_of_archives_are_kept_when_the_size_is_right(tmp_path: Path) -> None:
    files = {f"{i}.jpg": image_bytes(tone=i) for i in (1, 2, 3)}
    source, out = packed_source(tmp_path, files), tmp_path / "out"
    pictures = [Picture(f"images.zip/{name}", [word()]) for name in files]
    write(source, pictures, out)
    assert {name: (out / "images" / name).read_bytes() for name in names_of(out)} == files
    first = (out / "annotations.json").read_bytes()
    kept, cut = out / "images/1.jpg", out / "images/2.jpg"
    os.utime(kept, (1, 1))
    cut.write_bytes(b"half")
    write(source, pictures, out)
    assert kept.stat().st_mtime == 1 and cut.read_bytes() == files["2.jpg"]
    assert (out / "annotations.json").read_bytes() == first


def test_an_image_damaged_in_its_archive_is_left_out_with_its_words(tmp_path: Path) -> None:
    files = {f"{i}.jpg": image_bytes(200, 150, tone=i) + bytes(9000) for i in (1, 2, 3)}
    source = packed_source(tmp_path, files)
    archive = source / "images.zip"
    content = bytearray(archive.read_bytes())
    content[content.index(b"2.jpg") + len(files["2.jpg"])] ^= 0xFF  # behind the header, the checksum tells
    archive.write_bytes(content)
    out = tmp_path / "out"
    pictures = [Picture(f"images.zip/{name}", [word(), word(text="###")]) for name in files]
    writer = write(source, pictures, out)
    images, annotations = index_of(out)
    assert [image["file_name"] for image in images] == ["1.jpg", "3.jpg"]
    assert [entry["image_id"] for entry in annotations] == [1, 1, 3, 3]
    assert (writer.figures.images, writer.figures.words, writer.figures.ignored) == (2, 4, 2)
    assert "2.jpg" in writer.problems.messages[0] and not list(out.rglob("*.part"))
    with pytest.raises(DataError, match=r"2\.jpg"):
        write(source, pictures, tmp_path / "strict", strict=True)
    assert not list((tmp_path / "strict").glob("annotations*"))


def test_made_pictures(write_source, tmp_path: Path) -> None:
    source, out = write_source({"scene.png": image_bytes(kind="PNG")}), tmp_path / "out"
    tile = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    place = {"offset": [3, 4]}
    pictures = [Picture("scene__1__3___4.png", [word(text=None)], pixels=tile, extra=place), Picture("scene.png", [])]
    write(source, pictures, out)
    images, _ = index_of(out)
    assert images[0] == {"id": 1, "file_name": "scene__1__3___4.png", "height": 20, "width": 30, "offset": [3, 4]}
    np.testing.assert_array_equal(read_image(out / "images/scene__1__3___4.png"), tile)
    assert len(TextDataset.from_json(out / "annotations.json")) == 2
    for name in ("../evil.png", "/evil.png", "tile.xyz"):
        with pytest.raises(DataError):
            write(source, [Picture(name, [], pixels=tile)], tmp_path / "bad")


def many(count: int, broken_at: int | None = None):
    for number in range(count):
        if number == broken_at:
            raise KeyboardInterrupt
        yield Picture(f"images.zip/{number}.jpg", [word(text=f"w{number}")])


@pytest.mark.parametrize("stage", ["reading", "placing", "first run"])
def test_an_interrupted_run_leaves_the_index_as_it_was(stage: str, tmp_path: Path) -> None:
    count = 60
    source = packed_source(tmp_path, {f"{i}.jpg": image_bytes(16 + i % 7, 16) for i in range(count)})
    whole, out = tmp_path / "whole", tmp_path / "out"
    write(source, many(count), whole)
    if stage != "first run":
        write(source, many(3), out)
    before = sorted(out.glob("annotations.json"))
    content = [file.read_bytes() for file in before]
    with Source.open(source) as files:
        writer = SplitWriter(files, out, problems=Problems())
        with pytest.raises(KeyboardInterrupt):
            collected = writer.collect(many(count, 30 if stage == "reading" else None))
            for number in writer.finish(collected):
                if number == 30:
                    raise KeyboardInterrupt
    assert [file.read_bytes() for file in sorted(out.glob("annotations.json*"))] == content
    write(source, many(count), out)
    assert (out / "annotations.json").read_bytes() == (whole / "annotations.json").read_bytes()
    found = {file.name: file.read_bytes() for file in (out / "images").iterdir()}
    assert found == {file.name: file.read_bytes() for file in (whole / "images").iterdir()}


def test_an_index_without_pictures(write_source, tmp_path: Path) -> None:
    write(write_source({"a.txt": "x"}), [], tmp_path / "out")
    content = json.loads((tmp_path / "out/annotations.json").read_text())
    assert content == {"images": [], "annotations": [], "categories": [{"id": 1, "name": "text"}]}
