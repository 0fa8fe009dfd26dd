import numpy as np
import pytest
from shapely.geometry import LineString, MultiPoint, Polygon

from fasttcm.data.synth import Scene, SynthOptions, SynthWord, render_scene
from fasttcm.data.synth.curves import rectangle_strip
from fasttcm.data.synth.effects import Camera, motion_kernel, photograph
from fasttcm.data.synth.legibility import readable
from fasttcm.data.synth.occlusion import covered_share, occlude
from fasttcm.data.synth.split import in_split
from fasttcm.data.synth.vocabulary import load_words
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
    untouched, blur = photograph(np.random.default_rng(0), picture, Camera(strength=0.0, considerate_height=20.0))
    np.testing.assert_array_equal(untouched, np.round(picture * 255).astype(np.uint8))
    assert blur == 0
    for seed in range(5):
        camera = Camera(strength=1.0, considerate_height=20.0)
        image = photograph(np.random.default_rng(seed), picture, camera)[0].mean(2)
        assert (image > 90)[23:37, 33:57].all() and not (image > 90)[:17].any() and not (image > 90)[:, 63:].any()


def test_a_ruthless_camera_tells_how_much_it_blurs() -> None:
    """The blur it reports is the standard deviation by which a thin line gets wider."""
    picture = np.zeros((64, 64, 3), np.float32)
    picture[30:34] = picture[:, 30:34] = 0.9
    blurs = []
    for seed in range(30):
        image, blur = photograph(np.random.default_rng(seed), picture, Camera(0.01, 20.0, blur=3.0))
        assert image.shape == (64, 64, 3) and image.dtype == np.uint8 and 0 <= blur <= 3.2
        blurs.append((blur, float(image.max())))
    sharp = [peak for blur, peak in blurs if blur == 0]
    soft = [peak for blur, peak in blurs if blur > 2]
    assert sharp and soft and min(sharp) > max(soft)


@pytest.mark.parametrize("angle", [0.0, 0.7, np.pi / 2])
def test_motion_smears_along_its_direction(angle: float) -> None:
    kernel = motion_kernel(9, angle)
    y, x = np.mgrid[-9:10, -9:10]
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    assert kernel.sum() == pytest.approx(1) and (kernel * across**2).sum() < 0.4
    assert (kernel * along**2).sum() ** 0.5 == pytest.approx(9 / 12**0.5, rel=0.15)


def test_legibility_follows_its_rules() -> None:
    rng = np.random.default_rng(0)
    drawn = np.repeat(rng.choice([0.1, 0.9], (20, 40, 1)), 3, 2).astype(np.float32)
    drawn = np.pad(np.kron(drawn, np.ones((2, 2, 1), np.float32)), ((10, 10), (10, 10), (0, 0)), "edge")
    image = np.round(drawn * 255).astype(np.uint8)
    strip, fine = rectangle_strip(10, 10, 80, 40), {"blur": 0.0, "covered": 0.0, "least_height": 8.0}
    assert readable(drawn, image, strip, **fine)
    assert not readable(drawn, image, strip, **{**fine, "least_height": 41.0})
    assert not readable(drawn, image, strip, **{**fine, "blur": 5.0})
    assert not readable(drawn, image, strip, **{**fine, "covered": 0.3})
    assert not readable(drawn, np.full_like(image, 90), strip, **fine)
    assert not readable(drawn, (image // 100).astype(np.uint8), strip, **fine)
    assert not readable(drawn, rng.integers(0, 255, image.shape).astype(np.uint8), strip, **fine)


def test_covered_share_of_a_word() -> None:
    cover = np.zeros((40, 100), np.uint8)
    strip = rectangle_strip(20, 10, 60, 20)
    assert covered_share(cover, strip) == 0
    cover[:, 20:50] = 255
    assert covered_share(cover, strip) == pytest.approx(0.5, abs=0.02)
    picture = np.full((80, 120, 3), 0.5, np.float32)
    cover = occlude(np.random.default_rng(3), picture)
    assert cover.any() and (picture[cover == 0] == 0.5).all() and (picture[cover == 255] != 0.5).any()


@pytest.fixture(scope="module")
def photos() -> list[Scene]:
    options = SynthOptions.preset("photo", image_size=(240, 320), image_height=(200, 240), words_per_image=(4, 14))
    return [render_scene(options, seed) for seed in range(30)]


def test_the_photo_preset_keeps_every_promise(photos: list[Scene]) -> None:
    words = [word for scene in photos for word in scene.words]
    assert len(words) > 100 and {len(word.polygon) for word in words} == {4, 14}
    assert 0.3 < np.mean([word.legible for word in words]) < 0.97
    for scene in photos:
        height, width = scene.image.shape[:2]
        assert 200 <= height <= 240 <= width <= 320
        for i, word in enumerate(scene.words):
            outline = dense_outline(word)
            assert outline.min() >= 0 and (outline <= [width, height]).all() and polygon_area(word.polygon) > 0
            assert (word.text == "###") == (not word.legible) and 1 <= len(word.text) <= 25
            assert all(33 <= ord(c) <= 126 for c in word.text)
            mine = Polygon(outline)
            for other in scene.words[:i]:
                theirs = Polygon(dense_outline(other))
                assert mine.intersection(theirs).area < 0.01 * min(mine.area, theirs.area)


def test_photos_depend_on_the_seed_alone(photos: list[Scene]) -> None:
    options = SynthOptions.preset("photo", image_size=(240, 320), image_height=(200, 240), words_per_image=(4, 14))
    again = render_scene(options, 7)
    np.testing.assert_array_equal(again.image, photos[7].image)
    assert [word.text for word in again.words] == [word.text for word in photos[7].words]


def test_splits_draw_different_words() -> None:
    def texts(split: str) -> set[str]:
        options = SynthOptions(**{**SMALL, **BARE, "split": split})
        found = {word.text.lower() for seed in range(25) for word in render_scene(options, seed).words}
        return {text for text in found if text.isalpha() and len(text) > 3}

    known = {word.lower() for word in load_words()}
    trained = texts("train") & known
    assert len(trained) > 20 and all(in_split(word, "train") for word in trained)


def test_small_print_and_plates() -> None:
    shares = {"dense_probability": 1.0, "illegible_probability": 0.0, "effect_strength": 0.0}
    dense = [
        render_scene(SynthOptions(image_size=(320, 320), words_per_image=(20, 20), word_height=(9, 60), **shares), s)
        for s in range(6)
    ]
    heights = [np.ptp(w.polygon[:, 1]) for scene in dense for w in scene.words if len(w.polygon) == 4]
    assert np.median(heights) < 20 and np.mean([len(scene.words) for scene in dense]) > 10
    plates = SynthOptions(**SMALL, plate_probability=1.0)
    texts = [w.text for seed in range(10) for w in render_scene(plates, seed).words]
    assert np.mean([any(c.isdigit() for c in text) for text in texts]) > 0.35
