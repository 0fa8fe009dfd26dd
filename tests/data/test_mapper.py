from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from fasttcm.data.augment import ResizeShortestEdge
from fasttcm.data.coco import Record
from fasttcm.data.mapper import TestMapper, TrainMapper, finish_targets
from fasttcm.errors import ConfigError, ImageError
from fasttcm.structures import TextTargets


def targets_of(*boxes: tuple[float, float, float, float]) -> TextTargets:
    n = len(boxes)
    rows = torch.tensor(boxes, dtype=torch.float32).reshape(n, 4)
    rings = [np.asarray([[a, b], [c, b], [c, d], [a, d]], np.float32) for a, b, c, d in boxes]
    texts = [str(i) for i in range(n)]
    return TextTargets(rings, torch.zeros(n, 16), rows, texts, torch.zeros(n, dtype=torch.bool), torch.zeros(n).long())


def record_of(path: Path, height: int, width: int, targets: TextTargets | None = None) -> Record:
    return Record(path, path.name, 7, height, width, targets or TextTargets.empty())


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """40 wide, 20 high, red with a blue left half."""
    image = Image.new("RGB", (40, 20), (255, 0, 0))
    image.paste((0, 0, 255), (0, 0, 20, 20))
    image.save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_training_sample(photo: Path) -> None:
    mapper = TrainMapper(transforms=[ResizeShortestEdge(min_sizes=(40,), max_size=100)])
    sample = mapper(record_of(photo, 20, 40, targets_of((2, 4, 10, 8))), np.random.default_rng(0))
    assert sample["image"].shape == (3, 40, 80) and sample["image"].dtype == torch.uint8
    assert sample["image"][:, 20, 5].tolist() == [0, 0, 255] and sample["image"][:, 20, 75].tolist() == [255, 0, 0]
    assert (sample["height"], sample["width"], sample["file_name"], sample["image_id"]) == (20, 40, "photo.png", 7)
    assert sample["targets"].boxes.tolist() == [[4, 8, 20, 16]]


def test_test_sample_has_no_targets_and_keeps_the_original_size(photo: Path) -> None:
    sample = TestMapper(min_size=30, max_size=50)(record_of(photo, 20, 40))
    assert sample["image"].shape == (3, 25, 50) and "targets" not in sample
    assert (sample["height"], sample["width"]) == (20, 40)


def test_array_and_file_give_the_same_sample(photo: Path) -> None:
    mapper = TestMapper(min_size=30, max_size=50)
    from_file, from_array = mapper(record_of(photo, 20, 40)), mapper.from_array(np.asarray(Image.open(photo)))
    assert torch.equal(from_file["image"], from_array["image"])
    assert (from_array["height"], from_array["width"]) == (20, 40)


def test_one_pixel_image_is_enlarged(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1), (9, 8, 7)).save(tmp_path / "dot.png")
    image = TestMapper(min_size=64, max_size=64)(record_of(tmp_path / "dot.png", 1, 1))["image"]
    assert image.shape == (3, 64, 64) and image[:, 63, 63].tolist() == [9, 8, 7]


def test_size_that_differs_from_the_annotations_is_an_error(photo: Path) -> None:
    with pytest.raises(ImageError, match=r"photo\.png: the file has 40 x 20 .*image id 7.* say 41 x 20"):
        TestMapper(min_size=8, max_size=8)(record_of(photo, 20, 41))
    with pytest.raises(ImageError, match="say 20 x 40"):  # swapped sides without an EXIF entry
        TestMapper(min_size=8, max_size=8)(record_of(photo, 40, 20))


def test_annotated_size_decides_about_the_exif_orientation(photo: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # to be turned clockwise: the left half ends up on top
    turned = photo.with_name("turned.png")
    Image.open(photo).save(turned, exif=exif)
    upright = TestMapper(min_size=20, max_size=40)(record_of(turned, 40, 20))["image"]
    assert upright.shape == (3, 40, 20) and upright[:, 5, 10].tolist() == [0, 0, 255]
    stored = TestMapper(min_size=20, max_size=40)(record_of(turned, 20, 40))["image"]
    assert stored.shape == (3, 20, 40) and stored[:, 10, 5].tolist() == [0, 0, 255]


def test_too_many_pixels_are_refused(photo: Path) -> None:
    with pytest.raises(ImageError, match="limit of 799"):
        TrainMapper(transforms=[], max_pixels=799)(record_of(photo, 20, 40), np.random.default_rng(0))


def test_boxes_are_clipped_and_empty_ones_dropped() -> None:
    words = finish_targets(targets_of((-5, 2, 20, 9), (50, 3, 60, 9), (3, 3, 3, 9), (30, 30, 39, 39)), 40, 40)
    assert words.texts == ["0", "3"]
    assert words.boxes.tolist() == [[0, 2, 20, 9], [30, 30, 39, 39]]
    assert words.polygons[0][0].tolist() == [-5, 2]


def test_a_word_mostly_outside_is_dont_care() -> None:
    words = finish_targets(targets_of((-11, 0, 9, 9), (-9, 0, 11, 9), (5, 5, 9, 9)), 40, 40)
    assert words.ignore.tolist() == [True, False, False]


def test_no_words() -> None:
    words = finish_targets(TextTargets.empty(), 10, 10)
    assert len(words) == 0 and words.boxes.shape == (0, 4) and words.ignore.dtype == torch.bool


def test_bad_size_is_refused() -> None:
    with pytest.raises(ConfigError):
        TestMapper(min_size=0, max_size=10)
