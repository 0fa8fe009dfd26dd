from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont

from fasttcm import Spotter
from fasttcm.engine.checkpoint import SHIPPED
from fasttcm.errors import CheckpointError, ConfigError, ImageError


@pytest.fixture(scope="module")
def spotter(tiny_weights: Path) -> Spotter:
    return Spotter.from_checkpoint(tiny_weights, device="cpu")


def picture(height: int = 50, width: int = 70) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)


def test_every_kind_of_input_gives_the_same_words(spotter: Spotter, tmp_path: Path) -> None:
    array = picture()
    Image.fromarray(array).save(tmp_path / "a.png")
    inputs = [
        array,
        Image.fromarray(array),
        tmp_path / "a.png",
        str(tmp_path / "a.png"),
        (tmp_path / "a.png").read_bytes(),
    ]
    first, *others = [spotter(image) for image in inputs]
    assert len(first) > 0 and (first.height, first.width) == (50, 70)
    for other in others:
        assert other.texts == first.texts and torch.equal(other.boxes, first.boxes)
    assert first.boxes[:, 0::2].max() <= 70 and first.boxes[:, 1::2].max() <= 50 and first.boxes.min() >= 0


def test_a_batch_of_sizes_keeps_order_and_sizes(spotter: Spotter) -> None:
    found = spotter.batch([picture(50, 70), picture(90, 30), picture(64, 64)])
    assert [(f.height, f.width) for f in found] == [(50, 70), (90, 30), (64, 64)]
    assert spotter.batch([]) == []


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (2000, 2)])
def test_degenerate_sizes(spotter: Spotter, size: tuple[int, int]) -> None:
    found = spotter(picture(*size))
    assert (found.height, found.width) == size
    assert all(np.isfinite(polygon).all() for polygon in found.polygons)


def test_sixty_megapixels(spotter: Spotter) -> None:
    found = spotter(np.zeros((6000, 10000, 3), np.uint8))
    assert (found.height, found.width) == (6000, 10000)


def test_grey_arrays_and_wrong_arrays(spotter: Spotter) -> None:
    assert spotter(picture()[:, :, 0]).height == 50
    for wrong in (picture().astype(np.float32), np.zeros((5, 5, 4), np.uint8), np.zeros((0, 5, 3), np.uint8)):
        with pytest.raises(ImageError, match="must be uint8"):
            spotter(wrong)


def test_confidence_and_overrides_replace_the_stored_settings(tiny_weights: Path) -> None:
    strict = Spotter.from_checkpoint(
        tiny_weights, device="cpu", confidence=0.999, overrides=["INPUT.MIN_SIZE_TEST", "32"]
    )
    assert len(strict(picture())) == 0
    assert strict.config.INPUT.MIN_SIZE_TEST == 32


def test_mistakes_have_one_line(tiny_weights: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="does not exist"):
        Spotter.from_checkpoint(tmp_path / "none.safetensors")
    with pytest.raises(ConfigError, match="unknown device"):
        Spotter.from_checkpoint(tiny_weights, device="gpu")
    with pytest.raises(CheckpointError, match=r"does not fit.*other shapes"):
        Spotter.from_checkpoint(tiny_weights, device="cpu", overrides=["MODEL.FPN.OUT_CHANNELS", "24"])
    with pytest.raises(ConfigError, match=r"did you mean INPUT\.MIN_SIZE_TEST"):
        Spotter.from_checkpoint(tiny_weights, device="cpu", overrides=["INPUT.MIN_SIZE_TST", "24"])


def test_the_shipped_model_is_small_and_needs_no_text_tower() -> None:
    file = SHIPPED["compact"]
    assert file.stat().st_size < 24e6
    spotter = Spotter(device="cpu")
    weights = spotter.model.state_dict()
    assert sum(value.numel() for value in weights.values()) < 12e6
    assert not any("text.encoder" in name for name in weights)
    assert spotter.config.MODEL.TEXT.CHARSET == "ascii"


def test_the_shipped_model_reads_a_plain_sign() -> None:
    picture = Image.new("RGB", (640, 480), (250, 250, 245))
    pen = ImageDraw.Draw(picture)
    pen.text((90, 190), "Bakery", font=ImageFont.load_default(36), fill=(120, 30, 30))
    words = Spotter(device="cpu")(picture)
    x0, y0, x1, y1 = words.boxes[words.texts.index("Bakery")].tolist()
    assert 75 < x0 < 105 and 180 < x1 < 240 and 180 < y0 < 215 and 215 < y1 < 245
