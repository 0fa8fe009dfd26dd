import numpy as np
import pytest
from shapely.geometry import LineString, MultiPoint, Polygon

from fasttcm.data.synth import Scene, SynthOptions, SynthWord, render_scene
from fasttcm.data.synth.effects import photograph
from fasttcm.geometry import polygon_area, sample_sides

SMALL = {"image_size": (160, 224), "words_per_image": (2, 6), "word_height": (12, 40)}
BARE = {
    "clutter": 0.0,
    "effect_strength": 0.0,
    "decorated_probability": 0.0,
    "lonely_probability": 1.0,
    "illegible_probability": 0.0,
}


def dense_outline(word: SynthWord) -> np.ndarray:
    return sample_sides(word.bezier, 30)


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [render_scene(SynthOptions(**SMALL), seed) for seed in range(40)]


def test_same_seed_same_pixels_other_seed_other_pixels() -> None:
    first, again, other = (render_scene(SynthOptions(**SMALL), seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.image, again.image)
    assert [w.text for w in first.words] == [w.text for w in again.words]
    assert first.image.shape != other.image.shape or (first.image != other.image).any()


def test_words_lie_inside_the_image_and_run_clockwise(scenes: list[Scene]) -> None:
    for scene in scenes:
        height, width = scene.image.shape[:2]
        assert scene.image.dtype == np.uint8 and scene.image.shape[2] == 3
        assert 160 <= height <= 224 and 160 <= width <= 224
        for word in scene.words:
            points = np.concatenate([word.polygon, dense_outline(word)])
            assert points.min() >= 0 and (points <= [width, height]).all()
            assert polygon_area(word.polygon) > 0
            assert len(word.polygon) in (4, 14) and word.bezier.shape == (16,)


def test_words_do_not_overlap(scenes: list[Scene]) -> None:
    for scene in scenes:
        shapes = [Polygon(dense_outline(word)) for word in scene.words]
        for i, a in enumerate(shapes):
            assert a.is_valid
            for b in shapes[:i]:
                assert a.intersection(b).area < 0.01 * min(a.area, b.area)


def test_polygon_and_bezier_agree(scenes: list[Scene]) -> None:
    kinds = set()
    for word in (word for scene in scenes for word in scene.words):
        kinds.add(len(word.polygon))
        np.testing.assert_allclose(sample_sides(word.bezier, len(word.polygon) // 2), word.polygon, atol=1e-6)
    assert kinds == {4, 14}


def test_number_and_texts_of_words(scenes: list[Scene]) -> None:
    counts = [len(scene.words) for scene in scenes]
    assert max(counts) <= 6 and np.mean(counts) > 2
    for word in (word for scene in scenes for word in scene.words):
        assert (word.text == "###") == (not word.legible)
        assert 1 <= len(word.text) <= 25 and all(33 <= ord(c) <= 126 for c in word.text)


@pytest.mark.parametrize("kind", ["straight", "rotated", "perspective", "curved"])
def test_annotation_is_exact_and_tight(kind: str) -> None:
    """On a plain ground, every pixel of ink lies in a word's polygon and reaches all of its sides."""
    shares = {f"{k}_probability": float(k == kind) for k in ("rotated", "perspective", "curved")}
    options = SynthOptions(
        image_size=(300, 300),
        words_per_image=(2, 4),
        word_height=(24, 48),
        low_contrast_probability=0.0,
        **BARE,
        **shares,
    )
    for seed in range(4):
        scene = render_scene(options, seed)
        ground = np.median(scene.image.reshape(-1, 3), 0)
        y, x = np.nonzero(np.abs(scene.image - ground).max(2) > 40)
        ink = np.stack([x + 0.5, y + 0.5], 1)
        rest = MultiPoint(ink)
        assert scene.words
        for word in scene.words:
            outline = dense_outline(word)
            mine = rest.intersection(Polygon(outline).buffer(1.0))
            assert len(mine.geoms) > 20
            rest = rest.difference(mine)
            for side in (outline[:30], outline[29:31], outline[30:], outline[[-1, 0]]):
                # Margin (4 % of the height), rounding and antialiasing; no letter need touch the middle of a curve.
                assert LineString(side).distance(mine) < 4.5
        assert rest.is_empty


def test_affine_views_keep_words_parallel_and_oblique_ones_do_not() -> None:
    def skew(**shares: float) -> float:
        options = SynthOptions(**SMALL, **BARE, curved_probability=0.0, **shares)
        gaps = []
        for word in (word for seed in range(6) for word in render_scene(options, seed).words):
            a, b, c, d = word.polygon
            gaps.append(np.abs(a - b + c - d).max())
        return max(gaps)

    assert skew(rotated_probability=1.0, perspective_probability=0.0) < 1e-6
    assert skew(rotated_probability=0.0, perspective_probability=1.0) > 2


def test_illegible_share() -> None:
    def share(probability: float) -> float:
        options = SynthOptions(**{**SMALL, "illegible_probability": probability, "min_legible_height": 0.0})
        words = [word for seed in range(14) for word in render_scene(options, seed).words]
        return float(np.mean([not word.legible for word in words]))

    assert share(0.0) == 0 and share(1.0) == 1 and 0.25 < share(0.5) < 0.75


def test_small_words_are_not_to_be_read() -> None:
    options = SynthOptions(**{**SMALL, "min_legible_height": 1000.0})
    assert all(word.text == "###" for word in render_scene(options, 0).words)


def test_tiny_image_and_no_words() -> None:
    tiny = [
        render_scene(SynthOptions(image_size=(64, 64), words_per_image=(1, 3), word_height=(10, 30)), s)
        for s in range(8)
    ]
    assert all(scene.image.shape == (64, 64, 3) for scene in tiny)
    assert sum(len(scene.words) for scene in tiny) >= 6
    empty = render_scene(SynthOptions(image_size=(32, 48), words_per_image=(0, 0)), 0)
    assert empty.words == [] and empty.image.std() > 0


def test_effects_change_pixels_but_not_their_place_and_none_at_strength_zero() -> None:
    picture = np.zeros((60, 80, 3), np.float32)
    picture[20:40, 30:60] = 0.8
    np.testing.assert_array_equal(
        photograph(np.random.default_rng(0), picture, strength=0.0, least_height=20.0),
        np.round(picture * 255).astype(np.uint8),
    )
    for seed in range(5):
        image = photograph(np.random.default_rng(seed), picture, strength=1.0, least_height=20.0).mean(2)
        assert (image > 90)[23:37, 33:57].all() and not (image > 90)[:17].any() and not (image > 90)[:, 63:].any()
