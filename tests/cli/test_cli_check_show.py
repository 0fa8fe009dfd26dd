import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fasttcm.cli.main import main
from fasttcm.cli.word_pictures import Tile, close_up, contact_sheet
from fasttcm.data.synth import SynthOptions, generate_dataset


@pytest.fixture
def words(tmp_path: Path) -> Path:
    options = SynthOptions(image_size=(120, 160), words_per_image=(1, 3), word_height=(16.0, 30.0))
    return generate_dataset(tmp_path / "words", count=4, seed=3, options=options, processes=1).parent


def test_check_of_a_sound_dataset(words: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = tmp_path / "out" / "report.json"
    assert main(["check", str(words), "--report", str(report), "--output", str(tmp_path / "out")]) == 0
    shown = capsys.readouterr().out
    assert "words: sound, 0 errors" in shown and "images without words" in shown
    content = json.loads(report.read_text())[0]
    assert content["sound"] and content["statistics"]["images"] == 4
    assert len(content["strangest"]) == min(30, content["statistics"]["words"])
    sheet = Image.open(tmp_path / "out" / "strangest.jpg")
    assert sheet.width > 300 and np.asarray(sheet).std() > 20


def test_check_lists_what_is_wrong_and_fails(words: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    index = words / "annotations.json"
    content = json.loads(index.read_text())
    content["annotations"][0]["bezier_pts"] = [float("nan")] * 16
    index.write_text(json.dumps(content))
    image = words / "images" / content["images"][1]["file_name"]
    image.write_bytes(image.read_bytes()[:200])
    assert main(["check", str(words), "--output", str(tmp_path)]) == 1
    shown = capsys.readouterr().out
    assert f"{index}: annotation #0 (id {content['annotations'][0]['id']}): bezier_pts holds NaN" in shown
    assert "image cannot be read" in shown and image.name in shown
    assert (tmp_path / "strangest.jpg").is_file()


def test_strict_counts_notices(words: Path, tmp_path: Path) -> None:
    content = json.loads((words / "annotations.json").read_text())
    content["annotations"] = [a for a in content["annotations"] if a["image_id"] != content["images"][0]["id"]]
    (words / "annotations.json").write_text(json.dumps(content))
    (words / "card.json").unlink(missing_ok=True)
    assert main(["check", str(words), "--output", str(tmp_path)]) == 0
    assert main(["check", str(words), "--output", str(tmp_path), "--strict", "--no-decode"]) == 1


def test_a_folder_of_splits_is_checked_and_shown_split_by_split(words: Path, tmp_path: Path) -> None:
    whole = tmp_path / "mine"
    for split in ("train", "test"):
        (whole / split).mkdir(parents=True)
        (whole / split / "annotations.json").write_text((words / "annotations.json").read_text())
        (whole / split / "images").symlink_to(words / "images")
    assert main(["check", str(whole), "--output", str(tmp_path / "out")]) == 0
    assert {file.name for file in (tmp_path / "out").iterdir()} == {
        "strangest_mine_train.jpg",
        "strangest_mine_test.jpg",
    }
    assert main(["show", str(whole), "-n", "1", "--output", str(tmp_path / "pictures")]) == 0
    assert len(list((tmp_path / "pictures" / "mine_test").iterdir())) == 1


def test_show_draws_words_and_is_seeded(words: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = []
    for seed in ("1", "1", "2"):
        folder = tmp_path / f"show{len(chosen)}"
        assert main(["show", str(words), "-n", "2", "--seed", seed, "--output", str(folder)]) == 0
        chosen.append(sorted(file.name for file in (folder / "words").iterdir()))
    assert chosen[0] == chosen[1] and len(chosen[0]) == 2
    picture = Image.open(next((tmp_path / "show0" / "words").iterdir()))
    assert max(picture.size) == 1000
    assert "2 of 4 pictures" in capsys.readouterr().out


def test_show_goes_on_after_a_corrupt_image(
    words: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    first = sorted((words / "images").iterdir())[0]
    first.write_bytes(b"nothing")
    assert main(["show", str(words), "-n", "0"]) == 1
    assert first.name in capsys.readouterr().err
    assert len(list((tmp_path / "show_words").iterdir())) == 3


@pytest.mark.parametrize("command", ["check", "show"])
def test_an_unknown_dataset_is_one_line(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, str(tmp_path / "nothing")]) == 2
    assert "unknown dataset" in capsys.readouterr().err
    assert main([command, "icdar2015_train"]) == 2
    assert "fasttcm prepare icdar2015 SRC" in capsys.readouterr().err


def test_a_close_up_marks_the_first_point_and_the_top_side() -> None:
    image = np.full((100, 200, 3), 128, np.uint8)
    ring = np.array([[80, 40], [120, 40], [120, 60], [80, 60]], float)
    picture = close_up(image, ring, ring)
    scale = picture.shape[1] / 69 if picture.shape[1] == 300 else picture.shape[0] / 48
    assert max(picture.shape[1] / 300, picture.shape[0] / 170) == pytest.approx(1, abs=0.02) and scale > 3
    amber = (picture.astype(int)[..., 0] > 200) & (picture.astype(int)[..., 2] < 90) & (picture[..., 1] > 120)
    assert amber.sum() > 100 and amber.nonzero()[0].mean() < picture.shape[0] / 2
    outside = close_up(image, ring + 500, ring + 500)
    assert outside.size > 0
    sheet = contact_sheet([Tile(picture, ["one", "a line that is much too long for a tile " * 3])] * 7)
    assert sheet.shape[1] > 6 * 300 and sheet.shape[0] > 2 * 170
