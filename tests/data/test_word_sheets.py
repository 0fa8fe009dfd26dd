import json
from pathlib import Path

import numpy as np
import pytest
from tiny import targets

from fasttcm.cli.main import main
from fasttcm.data.catalog import load_dataset
from fasttcm.data.mapper import read_record_image
from fasttcm.data.word_sheets import HIGHEST, SHEET, SheetWriter, cut_words
from fasttcm.errors import DataError


def test_a_piece_holds_its_word_with_a_margin():
    image = np.random.default_rng(0).integers(0, 256, (64, 80, 3), dtype=np.uint8)
    words = targets("a", "b")  # from (10, 8) and (10, 26), 40 x 12 pixels
    first, _ = cut_words(image, words.beziers.numpy(), words.texts)
    assert first.text == "a"
    # 0.4 * 12 = 4.8 pixels around, in whole pixels.
    assert np.array_equal(first.image, image[3:25, 5:55])
    np.testing.assert_allclose(first.bezier.reshape(8, 2)[0], [10 - 5, 8 - 3])


def test_large_words_are_reduced_and_flat_ones_left_out():
    curve = targets("a").beziers.numpy()
    (piece,) = cut_words(np.zeros((600, 2000, 3), np.uint8), curve * 10, ["a"])
    height = np.linalg.norm(piece.bezier[:2] - piece.bezier[14:])
    assert height == pytest.approx(HIGHEST, rel=0.02)
    assert piece.image.shape[0] == pytest.approx((120 + 2 * 48) * HIGHEST / 120, abs=2)
    assert list(cut_words(np.zeros((60, 60, 3), np.uint8), curve * 0, ["a"])) == []


def test_sheets_are_a_dataset_with_the_same_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["synth", str(tmp_path / "scenes"), "-n", "3", "--size", "128", "128", "--processes", "1"]) == 0
    assert main(["sheets", str(tmp_path / "scenes"), str(tmp_path / "sheets")]) == 0
    scenes, sheets = load_dataset(str(tmp_path / "scenes")), load_dataset(str(tmp_path / "sheets"))
    assert sheets.problems.counts == {}

    def legible(dataset) -> list[str]:
        records = [dataset[i].targets for i in range(len(dataset))]
        return sorted(t for r in records for t, i in zip(r.texts, r.ignore.tolist(), strict=True) if not i)

    assert legible(sheets) == legible(scenes) and legible(sheets)
    record = sheets[0]
    assert read_record_image(record).shape == (*SHEET, 3)
    boxes = record.targets.boxes
    assert (boxes[:, :2] >= 0).all() and (boxes[:, 2] <= SHEET[1]).all() and (boxes[:, 3] <= SHEET[0]).all()
    assert main(["sheets", str(tmp_path / "scenes"), str(tmp_path / "sheets")]) == 2
    assert "not an empty folder" in capsys.readouterr().err


def test_many_pieces_fill_several_sheets_without_overlap(tmp_path: Path):
    writer = SheetWriter(tmp_path / "out", pieces_a_sheet=50)
    words = targets("a")
    for _ in range(50):
        for piece in cut_words(np.full((600, 1500, 3), 9, np.uint8), words.beziers.numpy() * 6, words.texts):
            writer.add(piece)
    content = json.loads(writer.finish().read_text())
    assert len(content["annotations"]) == 50 and len(content["images"]) > 1
    for image in content["images"]:
        boxes = [word["bbox"] for word in content["annotations"] if word["image_id"] == image["id"]]
        for i, (x, y, w, h) in enumerate(boxes):
            assert not any(abs(x - a) < min(w, c) and abs(y - b) < min(h, d) for a, b, c, d in boxes[i + 1 :])


def test_no_word_is_an_error(tmp_path: Path):
    with pytest.raises(DataError, match="no readable word"):
        SheetWriter(tmp_path / "out").finish()
