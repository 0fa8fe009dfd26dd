import numpy as np
import pytest
from shapely.geometry import Polygon

from fasttcm.data.synth import SynthOptions, WordCrop, render_word_crop
from fasttcm.errors import DataError
from fasttcm.geometry import polygon_area, sample_sides

PHOTO = SynthOptions.preset("photo")


@pytest.fixture(scope="module")
def crops() -> list[WordCrop]:
    return [render_word_crop(PHOTO, seed) for seed in range(60)]


def test_same_seed_same_crop(crops: list[WordCrop]) -> None:
    again = render_word_crop(PHOTO, 3)
    np.testing.assert_array_equal(again.image, crops[3].image)
    np.testing.assert_array_equal(again.bezier, crops[3].bezier)
    assert again.text == crops[3].text


def test_the_word_lies_inside_with_a_margin_and_runs_clockwise(crops: list[WordCrop]) -> None:
    for crop in crops:
        height, width = crop.image.shape[:2]
        outline = sample_sides(crop.bezier, 20)
        assert crop.image.dtype == np.uint8 and crop.image.shape[2] == 3 and crop.bezier.shape == (16,)
        assert outline.min() >= 1 and (outline <= [width - 1, height - 1]).all()
        assert polygon_area(outline) > 0 and Polygon(outline).is_valid
        assert 1 <= len(crop.text) <= 25 and all(33 <= ord(c) <= 126 for c in crop.text) and crop.text != "###"


def test_curved_crops_are_curved_and_straight_ones_are_not() -> None:
    def bend(share: float) -> float:
        options = SynthOptions(curved_probability=share, perspective_probability=0.0, word_height=(20, 40))
        top = [render_word_crop(options, seed).bezier.reshape(2, 4, 2)[0] for seed in range(12)]
        chord = [np.linalg.norm(side[3] - side[0]) for side in top]
        # The area between a curve and its chord, by the control polygon.
        return max(abs(polygon_area(side)) / length**2 for side, length in zip(top, chord, strict=True))

    assert bend(0.0) < 1e-9 and bend(1.0) > 0.03


def test_ink_is_where_the_curve_says() -> None:
    options = SynthOptions(
        clutter=0.0, effect_strength=0.0, decorated_probability=0.0, lonely_probability=1.0, word_height=(24, 40)
    )
    for seed in range(12):
        crop = render_word_crop(options, seed)
        ground = crop.image[0, 0].astype(float)
        y, x = np.nonzero(np.abs(crop.image - ground).max(2) > 40)
        shape = Polygon(sample_sides(crop.bezier, 30))
        left, top, right, bottom = shape.bounds
        assert len(x) > 20
        inside = (x + 0.5 > left) & (x + 0.5 < right) & (y + 0.5 > top) & (y + 0.5 < bottom)
        assert inside.mean() > 0.5


def test_options_that_allow_no_word_are_refused() -> None:
    with pytest.raises(DataError, match="no readable word"):
        render_word_crop(SynthOptions(illegible_probability=1.0), 0)
