import numpy as np
import pytest
import torch

from fasttcm.config import load_config
from fasttcm.data.augment_detection import CropBetweenWords, RandomScale, RotationInPlace, db_transforms
from fasttcm.data.augment_pan import FILL
from fasttcm.engine.build import build_train_mapper
from fasttcm.errors import ConfigError
from fasttcm.structures import TextTargets


def words(*boxes: tuple[float, float, float, float], ignore: tuple[bool, ...] | None = None) -> TextTargets:
    polygons = [np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float32) for x0, y0, x1, y1 in boxes]
    count = len(boxes)
    return TextTargets(
        polygons,
        torch.zeros(count, 16),
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        ["word"] * count,
        torch.tensor(ignore if ignore is not None else [False] * count, dtype=torch.bool),
        torch.zeros(count, dtype=torch.int64),
    )


def painted(height: int, width: int, targets: TextTargets) -> np.ndarray:
    image = np.zeros((height, width, 3), np.uint8)
    for x0, y0, x1, y1 in targets.boxes.int().tolist():
        image[y0:y1, x0:x1] = 255
    return image


def brightness_inside(image: np.ndarray, box: list[float]) -> float:
    x0, y0, x1, y1 = (round(v) for v in box)
    return float(image[y0 + 2 : y1 - 2, x0 + 2 : x1 - 2].mean())


def test_the_pipeline_gives_squares_whose_words_stay_on_their_pixels() -> None:
    targets = words((40, 30, 100, 60), (150, 100, 220, 130))
    image = painted(200, 300, targets)
    found = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        out, moved = image, targets
        for transform in db_transforms(size=128, brightness=0.0, saturation=0.0):
            out, moved = transform(out, moved, rng)
        assert out.shape == (128, 128, 3) and out.dtype == np.uint8
        for polygon in moved.polygons:
            centre = polygon.mean(0)
            if ((centre > 3) & (centre < 125)).all():
                found += 1
                assert out[int(centre[1]), int(centre[0])].mean() > 200
    assert found > 20


def test_rotation_keeps_the_canvas_and_moves_words_with_their_pixels() -> None:
    targets = words((60, 40, 140, 60))
    image = painted(100, 200, targets)
    turned, moved = RotationInPlace(degrees=10)(image, targets, np.random.default_rng(0))
    assert turned.shape == image.shape and (turned == FILL).all(2).any()
    inner = moved.polygons[0].mean(0) + 0.8 * (moved.polygons[0] - moved.polygons[0].mean(0))
    assert all(turned[int(y), int(x)].min() == 255 for x, y in inner)
    same, still = RotationInPlace(degrees=0)(image, targets, np.random.default_rng(1))
    np.testing.assert_array_equal(same, image)
    np.testing.assert_allclose(still.polygons[0], targets.polygons[0])


def test_scale_is_one_factor_for_both_sides() -> None:
    targets = words((20, 10, 60, 30))
    out, moved = RandomScale(scale_range=(2, 2))(painted(50, 80, targets), targets, np.random.default_rng(0))
    assert out.shape == (100, 160, 3)
    np.testing.assert_allclose(moved.boxes[0], [40, 20, 120, 60])
    tiny, _ = RandomScale(scale_range=(0.5, 0.5))(np.zeros((1, 1, 3), np.uint8), words(), np.random.default_rng(0))
    assert tiny.shape == (1, 1, 3)


def test_a_crop_cuts_no_legible_word_and_holds_one() -> None:
    targets = words((30, 20, 90, 50), (120, 80, 180, 110), (0, 130, 200, 149), ignore=(False, False, True))
    image = painted(150, 200, targets)
    crop = CropBetweenWords(size=96)
    smaller = 0
    for seed in range(60):
        x0, y0, x1, y1 = crop._window(150, 200, targets, np.random.default_rng(seed))
        inside = [x0 <= a and y0 <= b and c <= x1 and d <= y1 for a, b, c, d in targets.boxes[:2].tolist()]
        outside = [c <= x0 or d <= y0 or a >= x1 or b >= y1 for a, b, c, d in targets.boxes[:2].tolist()]
        assert any(inside) and all(i or o for i, o in zip(inside, outside, strict=True))
        assert x1 - x0 >= 20 and y1 - y0 >= 15
        smaller += (x1 - x0, y1 - y0) != (200, 150)
    assert smaller > 30
    out, moved = crop(image, targets, np.random.default_rng(3))
    assert out.shape == (96, 96, 3)
    assert all(brightness_inside(out, box) > 250 for box in moved.boxes[~moved.ignore].tolist())


@pytest.mark.parametrize(
    "targets", [words(), words((0, 0, 64, 48)), words((5, 5, 9, 9), ignore=(True,))], ids=["none", "full", "ignored"]
)
def test_without_a_window_the_whole_picture_fits_into_the_corner(targets: TextTargets) -> None:
    image = np.full((48, 64, 3), 7, np.uint8)
    out, moved = CropBetweenWords(size=32)(image, targets, np.random.default_rng(0))
    assert (out[:24, :32] == 7).all() and (out[24:] == FILL).all() and len(moved) == len(targets)
    if len(targets):
        np.testing.assert_allclose(moved.boxes, targets.boxes / 2)


@pytest.mark.parametrize(
    "make",
    [
        lambda: RotationInPlace(degrees=181),
        lambda: RandomScale(scale_range=(0, 1)),
        lambda: CropBetweenWords(size=0),
        lambda: CropBetweenWords(size=8, min_side=0),
    ],
)
def test_wrong_arguments_are_refused(make) -> None:
    with pytest.raises(ConfigError):
        make()


def test_the_configuration_chooses_the_pipeline_and_its_jitter() -> None:
    kinds = {}
    for name in ("dbnet", "pan", "fcenet"):
        mapper = build_train_mapper(
            load_config(None, ["INPUT.PIPELINE", name, "INPUT.COLOR_JITTER.BRIGHTNESS", "0.25"])
        )
        kinds[name] = [type(transform).__name__ for transform in mapper.transforms]
        assert mapper.transforms[0].amounts["brightness"] == 0.25
    assert kinds["dbnet"][1:] == ["HorizontalFlip", "RotationInPlace", "RandomScale", "CropBetweenWords"]
    assert len({tuple(kind) for kind in kinds.values()}) == 3
    with pytest.raises(ConfigError, match="HUE"):
        build_train_mapper(load_config(None, ["INPUT.PIPELINE", "dbnet", "INPUT.COLOR_JITTER.HUE", "0.1"]))
