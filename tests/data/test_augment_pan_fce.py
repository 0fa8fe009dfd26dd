import numpy as np
import pytest
import torch

from fasttcm.data.augment_fce import (
    CropMirror,
    FilledRotation,
    LongSideJitter,
    SquareResize,
    WholeTextCrop,
    fce_transforms,
)
from fasttcm.data.augment_pan import (
    HorizontalFlip,
    ScaleAspectJitter,
    SmallRotation,
    TextCrop,
    mirror_targets,
    pan_transforms,
)
from fasttcm.errors import ConfigError
from fasttcm.geometry import polygon_area, polygon_box, rasterize_polygons
from fasttcm.structures import TextTargets

QUAD = [[20.0, 16.0], [60.0, 20.0], [58.0, 42.0], [18.0, 38.0]]
BOX = [[80.0, 50.0], [110.0, 50.0], [110.0, 64.0], [80.0, 64.0]]
HEIGHT, WIDTH = 80, 120


def annotated(*polygons: list[list[float]], ignore: bool = False) -> TextTargets:
    rings = [np.asarray(polygon, np.float32) for polygon in polygons]
    weights = np.asarray([[1, 0], [2 / 3, 1 / 3], [1 / 3, 2 / 3], [0, 1]], np.float32)
    beziers = [np.concatenate([weights @ ring[:2], weights @ ring[2:]]).reshape(16) for ring in rings]
    n = len(rings)
    return TextTargets(
        rings,
        torch.from_numpy(np.stack(beziers)) if n else torch.zeros(0, 16),
        torch.tensor(np.asarray([polygon_box(r) for r in rings], np.float32).reshape(-1, 4)),
        [f"word{i}" for i in range(n)],
        torch.full((n,), ignore),
        torch.arange(n),
    )


def painted(targets: TextTargets) -> np.ndarray:
    """A picture that is white inside the polygons and dark outside."""
    mask = rasterize_polygons(targets.polygons, HEIGHT, WIDTH)
    return np.repeat(mask[..., None] * np.uint8(255), 3, axis=2)


def overlap(image: np.ndarray, targets: TextTargets) -> float:
    seen = image[..., 0] > 127
    meant = rasterize_polygons(targets.polygons, *image.shape[:2]) > 0
    return float((seen & meant).sum() / (seen | meant).sum())


def check(targets: TextTargets) -> None:
    """Corners clockwise, boxes around them, curves through them, from the same first corner."""
    for polygon, box, curve in zip(targets.polygons, targets.boxes, targets.beziers, strict=True):
        assert polygon_area(polygon) > 0
        np.testing.assert_allclose(polygon_box(polygon), box, atol=1e-3)
        np.testing.assert_allclose(curve.reshape(8, 2)[[0, 3, 4, 7]], polygon, atol=1e-3)


WORDS = annotated(QUAD, BOX)
GEOMETRIC = {
    "jitter": ScaleAspectJitter(short_side=100),
    "flip": HorizontalFlip(probability=1.0),
    "turn": SmallRotation(degrees=10),
    "long side": LongSideJitter(size=100),
    "crop mirror": CropMirror(probability=1.0),
    "filled turn": FilledRotation(probability=1.0),
    "stretch": SquareResize(size=100, keep_aspect=0.0),
}


@pytest.mark.parametrize("name", GEOMETRIC)
def test_words_move_with_the_picture(name):
    changed = 0
    for seed in range(8):
        image, targets = GEOMETRIC[name](painted(WORDS), WORDS, np.random.default_rng(seed))
        check(targets)
        if name == "filled turn":  # the piece in the corners may show text that is no word
            inside = rasterize_polygons(targets.polygons, *image.shape[:2]) > 0
            assert (image[..., 0][inside] > 127).mean() > 0.9
        else:
            assert overlap(image, targets) > 0.9
        changed += image.shape != (HEIGHT, WIDTH, 3) or not np.array_equal(image, painted(WORDS))
    assert changed >= 4
    np.testing.assert_array_equal(WORDS.polygons[0], np.asarray(QUAD, np.float32))


def test_padding_keeps_the_aspect_and_the_words():
    image, targets = SquareResize(size=96, keep_aspect=1.0)(painted(WORDS), WORDS, np.random.default_rng(0))
    assert image.shape == (96, 96, 3)
    inside = rasterize_polygons(targets.polygons, 96, 96) > 0
    assert (image[..., 0][inside] > 127).mean() > 0.85
    np.testing.assert_allclose(targets.boxes[1], np.asarray([80, 50 + 20, 110, 64 + 20]) * 0.8, atol=1e-3)


def test_mirrors_undo_themselves():
    for across, down in ((100.0, None), (None, 90.0), (100.0, 90.0)):
        once = mirror_targets(WORDS, across=across, down=down)
        check(once)
        twice = mirror_targets(once, across=across, down=down)
        for before, after in zip(WORDS.polygons, twice.polygons, strict=True):
            np.testing.assert_allclose(before, after, atol=1e-4)
        torch.testing.assert_close(WORDS.beziers, twice.beziers)
    odd = annotated(QUAD)
    odd.polygons = [np.asarray([[0, 0], [5, -1], [10, 0], [8, 6], [2, 6]], np.float32)]
    assert mirror_targets(odd, across=10.0).polygons[0].tolist() == [[0, 0], [5, -1], [10, 0], [8, 6], [2, 6]]


def test_a_crop_at_text_meets_a_word_and_small_pictures_stay_whole():
    for seed in range(20):
        image, targets = TextCrop(size=24, at_text=1.0)(painted(WORDS), WORDS, np.random.default_rng(seed))
        assert image.shape == (24, 24, 3) and len(targets) >= 1
    image, targets = TextCrop(size=500)(painted(WORDS), WORDS, np.random.default_rng(0))
    assert image.shape == (HEIGHT, WIDTH, 3) and len(targets) == 2


def test_a_crop_holds_one_word_whole():
    for seed in range(20):
        image, targets = WholeTextCrop(probability=1.0)(painted(WORDS), WORDS, np.random.default_rng(seed))
        boxes = targets.boxes
        whole = (boxes[:, :2] >= 0).all(1) & (boxes[:, 2] <= image.shape[1]) & (boxes[:, 3] <= image.shape[0])
        assert whole.any() and image.shape[0] >= 0.29 * HEIGHT and image.shape[1] >= 0.29 * WIDTH


def test_a_mirrored_window_cuts_no_word():
    whole = annotated([[0.0, 0.0], [WIDTH, 0.0], [WIDTH, HEIGHT], [0.0, HEIGHT]])
    image, targets = CropMirror(probability=1.0)(painted(whole), whole, np.random.default_rng(0))
    assert overlap(image, targets) > 0.95 and len(targets) == 1


@pytest.mark.parametrize("make", [pan_transforms, fce_transforms])
@pytest.mark.parametrize("words", [WORDS, annotated(), annotated(QUAD, ignore=True)], ids=["words", "none", "ignored"])
def test_pipelines_repeat_and_take_pictures_without_words(make, words):
    outputs = []
    for _ in range(2):
        rng, image, targets = np.random.default_rng(3), painted(words), words
        for transform in make(size=64):
            image, targets = transform(image, targets, rng)
        assert image.dtype == np.uint8 and image.shape[2] == 3 and max(image.shape) <= 64
        check(targets)
        outputs.append(image)
    np.testing.assert_array_equal(*outputs)


def test_one_pixel_pictures_survive():
    image = np.zeros((1, 1, 3), np.uint8)
    for transforms in (pan_transforms(size=32), fce_transforms(size=32)):
        for seed in range(5):
            small, targets, rng = image, TextTargets.empty(), np.random.default_rng(seed)
            for transform in transforms:
                small, targets = transform(small, targets, rng)
            assert small.size > 0


@pytest.mark.parametrize(
    "make",
    [
        lambda: ScaleAspectJitter(short_side=0),
        lambda: SmallRotation(degrees=200),
        lambda: TextCrop(size=0),
        lambda: LongSideJitter(size=0),
        lambda: WholeTextCrop(min_side=0),
        lambda: FilledRotation(degrees=-1),
        lambda: SquareResize(size=0),
    ],
)
def test_impossible_settings_are_refused(make):
    with pytest.raises(ConfigError):
        make()
