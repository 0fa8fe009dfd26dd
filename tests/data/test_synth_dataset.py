import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from fasttcm.charset import Charset
from fasttcm.data.synth import SynthOptions, dataset, generate_dataset
from fasttcm.errors import DataError
from fasttcm.geometry import polygon_area

OPTIONS = SynthOptions(image_size=(96, 128), words_per_image=(1, 4), word_height=(10, 30), illegible_probability=0.2)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synth") / "train"
    path = generate_dataset(folder, count=6, seed=5, options=OPTIONS, processes=1, progress=False)
    assert path == folder / "annotations.json"
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_layout_of_the_folder(made: Path) -> None:
    tables = {"annotations.json", "card.json", "lexicon_full.txt", "lexicon_full_pairs.txt"}
    assert set(contents(made)) == tables | {f"images/{i:06d}.jpg" for i in range(6)}


def test_coco_fields(made: Path) -> None:
    coco = json.loads((made / "annotations.json").read_text())
    assert coco["categories"] == [{"id": 1, "name": "text"}]
    sizes = {}
    for number, image in enumerate(coco["images"]):
        assert image["id"] == number and image["file_name"] == f"{number:06d}.jpg"
        pixels = cv2.imread(str(made / "images" / image["file_name"]))
        assert pixels.shape == (image["height"], image["width"], 3)
        sizes[number] = (image["height"], image["width"])
    assert [entry["id"] for entry in coco["annotations"]] == list(range(len(coco["annotations"])))
    assert {"###"} < {entry["text"] for entry in coco["annotations"]}
    for entry in coco["annotations"]:
        height, width = sizes[entry["image_id"]]
        x, y, w, h = entry["bbox"]
        polygon = np.array(entry["polys"]).reshape(-1, 2)
        assert entry["category_id"] == 1 and entry["iscrowd"] == 0 and entry["ignore"] == 0
        assert x >= 0 and y >= 0 and x + w <= width + 0.01 and y + h <= height + 0.01
        assert entry["area"] == pytest.approx(polygon_area(polygon), rel=0.01)
        assert (polygon >= [x - 0.01, y - 0.01]).all() and (polygon <= [x + w + 0.02, y + h + 0.02]).all()
        assert len(entry["bezier_pts"]) == 16 and len(entry["rec"]) == 25
        assert Charset.named("ascii").decode(entry["rec"]) == entry["text"]
        assert entry["rec"][len(entry["text"]) :] == [96] * (25 - len(entry["text"]))


def test_lexicons_and_card(made: Path) -> None:
    coco = json.loads((made / "annotations.json").read_text())
    words = {entry["text"] for entry in coco["annotations"]} - {"###"}
    assert (made / "lexicon_full.txt").read_text().splitlines() == sorted(words)
    pairs = [line.split(" ") for line in (made / "lexicon_full_pairs.txt").read_text().splitlines()]
    assert {value for _, value in pairs} == words and all(key == value.upper() for key, value in pairs)
    card = json.loads((made / "card.json").read_text())
    assert card["name"] == "train" and card["seed"] == 5 and card["count"] == 6 and card["protocol"] == "totaltext"
    assert len(card["fonts_digest"]) == len(card["vocabulary_digest"]) == 64 and card["generator"] == "fasttcm synth 2"
    assert card["lexicons"] == {"full": "lexicon_full.txt"} and card["options"]["image_size"] == [96, 128]
    assert str(Path.home()) not in json.dumps(card) and "/" not in "".join(card["options"]["fonts"])


def test_two_processes_write_the_same_bytes_as_one(made: Path, tmp_path: Path) -> None:
    generate_dataset(tmp_path / "train", count=6, seed=5, options=OPTIONS, processes=2, progress=True)
    assert contents(tmp_path / "train") == contents(made)


def test_an_image_depends_on_seed_and_index_only(made: Path, tmp_path: Path) -> None:
    generate_dataset(tmp_path / "a", count=2, seed=5, options=OPTIONS, processes=1, progress=False)
    generate_dataset(tmp_path / "b", count=2, seed=6, options=OPTIONS, processes=1, progress=False)
    original, short, other = (contents(folder) for folder in (made, tmp_path / "a", tmp_path / "b"))
    for name in ("images/000000.jpg", "images/000001.jpg"):
        assert original[name] == short[name] != other[name]


def test_an_existing_folder_is_kept_unless_told_otherwise(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    generate_dataset(folder, count=3, seed=0, options=OPTIONS, processes=1, progress=False)
    (folder / "images" / "holiday.jpg").write_bytes(b"mine")
    before = contents(folder)
    with pytest.raises(DataError, match="not empty"):
        generate_dataset(folder, count=1, seed=1, options=OPTIONS, processes=1, progress=False)
    assert contents(folder) == before
    generate_dataset(folder, count=1, seed=1, options=OPTIONS, processes=1, progress=False, overwrite=True)
    assert sorted(p.name for p in (folder / "images").iterdir()) == ["000000.jpg", "holiday.jpg"]
    assert len(json.loads((folder / "annotations.json").read_text())["images"]) == 1
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="is a file"):
        generate_dataset(tmp_path / "file", count=1, seed=0, options=OPTIONS, processes=1, progress=False)


def test_an_interrupted_run_leaves_no_annotations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = dataset.render_scene, []

    def interrupted(*arguments: object) -> object:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(dataset, "render_scene", interrupted)
    with pytest.raises(KeyboardInterrupt):
        generate_dataset(tmp_path / "set", count=5, seed=0, options=OPTIONS, processes=1, progress=False)
    assert set(contents(tmp_path / "set")) == {"images/000000.jpg", "images/000001.jpg"}


def test_bad_fonts_are_reported_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        generate_dataset(
            tmp_path / "set", count=1, seed=0, options=SynthOptions(fonts=(tmp_path / "none",)), progress=False
        )
    assert not (tmp_path / "set").exists()
    for wrong in (
        {"count": 0},
        {"count": 1, "seed": -1},
        {"count": 1, "processes": 0},
        {"count": 1, "jpeg_quality": (90, 10)},
    ):
        with pytest.raises(ValueError):
            generate_dataset(tmp_path / "set", **{"seed": 0, **wrong})
