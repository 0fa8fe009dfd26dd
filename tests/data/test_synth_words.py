import numpy as np
import pytest

from fasttcm.data.synth.curves import LineCurve, bend, rectangle_strip
from fasttcm.data.synth.fonts import load_fonts
from fasttcm.data.synth.layout import TextLine, arrange
from fasttcm.data.synth.placement import random_view, translation, warp_layer
from fasttcm.data.synth.word import LetterStyle, render_word
from fasttcm.geometry import polygon_area, rasterize_polygons, sample_sides


def style(name: str = "DejaVuSans-Bold", **changes: float) -> LetterStyle:
    return LetterStyle(next(face for face in load_fonts().faces if face.path.stem == name), **changes)


@pytest.mark.parametrize(
    "changes", [{}, {"stretch": 0.7}, {"slant": 0.3}, {"slant": -0.2}, {"tracking": 0.1}, {"weight": 0.03}]
)
@pytest.mark.parametrize("height", [7.0, 31.5, 90.0])
def test_flat_word_is_tight(height: float, changes: dict[str, float]) -> None:
    word = render_word("Hp", style(**changes), height)
    pad = max(round(0.04 * height), 1)
    inner = word.mask[pad:-pad, pad:-pad]
    assert 0 < inner.sum() == pytest.approx(word.mask.sum(), rel=1e-5)
    assert all(side.max() > 0.1 for side in (inner[0], inner[-1], inner[:, 0], inner[:, -1]))
    thicker = 2 * changes.get("weight", 0.0) * height
    assert inner.shape[0] == pytest.approx(height + thicker, abs=1.6)


def test_baseline_is_where_letters_without_descender_end() -> None:
    pad = 2
    for text in ("HELLO", "xxx"):
        word = render_word(text, style("DejaVuSans"), 50.0)
        assert word.ascent == pytest.approx(word.mask.shape[0] - pad, abs=1.6)
    assert render_word("gpq", style("DejaVuSans"), 50.0).ascent < 35


def test_stretch_and_tracking_change_the_width_only() -> None:
    plain, wide = (render_word("WIDE", style(stretch=s), 40.0).mask.shape for s in (1.0, 1.5))
    spaced = render_word("WIDE", style(tracking=0.25), 40.0).mask.shape
    assert plain[0] == wide[0] == spaced[0]
    assert wide[1] - 4 == pytest.approx(1.5 * (plain[1] - 4), rel=0.02)
    assert spaced[1] - plain[1] == pytest.approx(3 * 0.25 * 40, abs=3)


def test_arc_has_the_radius_that_its_angle_asks_for() -> None:
    curve = LineCurve(length=200.0, bend=90.0, wave=0.0)
    radius = 200 / (np.pi / 2)
    points = sample_sides(curve.strip(0.0, 200.0, 0.0, 30.0).bezier(), 50)
    # The left end points up and right at 45 degrees, the centre lies below the path.
    center = radius * np.array([np.sin(np.pi / 4), np.cos(np.pi / 4)])
    distances = np.linalg.norm(points - center, axis=1)
    assert distances[:50] == pytest.approx(radius, rel=3e-3)
    assert distances[50:] == pytest.approx(radius - 30, rel=3e-3)


def test_bending_into_an_upright_rectangle_changes_nothing() -> None:
    mask = np.random.default_rng(0).random((12, 40)).astype(np.float32)
    bent = bend(mask, rectangle_strip(5, 3, 40, 12), height=20, width=50)
    np.testing.assert_allclose(bent[3:15, 5:45], mask, atol=1e-3)
    assert bent.sum() == pytest.approx(bent[3:15, 5:45].sum())


@pytest.mark.parametrize("wave", [0.0, 0.5, 1.0])
@pytest.mark.parametrize(("length", "angle"), [(180.0, -100.0), (180.0, 40.0), (180.0, 90.0), (150.0, 80.0)])
def test_bent_ink_fills_its_strip_exactly(length: float, angle: float, wave: float) -> None:
    curve = LineCurve(length=length, bend=angle, wave=wave)
    strip = curve.strip(5.0, length - 5, -15.0, 15.0).moved(60.0, 120.0)
    bent = bend(np.ones((30, int(length) - 10), np.float32), strip, height=260, width=260)
    inside = rasterize_polygons([strip.polygon(60) * 8], 260 * 8, 260 * 8).reshape(260, 8, 260, 8).mean((1, 3))
    assert polygon_area(strip.polygon()) > 0
    assert bent[inside == 0].max() < 0.6 and bent[inside == 1].min() > 0.4
    assert bent.sum() == pytest.approx(inside.sum(), rel=0.01)


def test_the_far_side_of_a_tight_arc_stays_empty() -> None:
    strip = LineCurve(length=95.0, bend=150.0, wave=0.0).strip(0.0, 95.0, -15.0, 15.0).moved(60.0, 80.0)
    bent = bend(np.ones((30, 95), np.float32), strip, height=220, width=220)
    inside = rasterize_polygons([strip.polygon(60)], 220, 220)
    assert bent[inside == 0].sum() < 60 and bent.sum() == pytest.approx(polygon_area(strip.polygon(60)), rel=0.01)


def test_polygon_points_lie_on_the_bezier_curves() -> None:
    strip = LineCurve(length=100.0, bend=80.0, wave=0.0).strip(10.0, 90.0, -8.0, 8.0)
    np.testing.assert_allclose(strip.polygon(7), sample_sides(strip.bezier(), 7))
    straight = rectangle_strip(1, 2, 30, 10)
    np.testing.assert_allclose(straight.polygon(), [[1, 2], [31, 2], [31, 12], [1, 12]])
    np.testing.assert_allclose(sample_sides(straight.bezier(), 2), straight.polygon())


def test_a_warped_layer_lies_where_the_homography_says() -> None:
    rng = np.random.default_rng(4)
    view = translation(150, 120) @ random_view(rng, width=120, height=60, max_rotation=30, rotated=True, oblique=True)
    part, x, y = warp_layer(np.ones((60, 120, 1), np.float32), view, 240, 300) or pytest.fail("not visible")
    canvas = np.zeros((240, 300), np.float32)
    canvas[y : y + part.shape[0], x : x + part.shape[1]] = part.reshape(part.shape[:2])
    quad = rectangle_strip(0, 0, 120, 60).mapped(view).polygon()
    inside = rasterize_polygons([quad * 8], 240 * 8, 300 * 8).reshape(240, 8, 300, 8).mean((1, 3))
    assert np.abs(canvas - inside).max() < 0.6
    assert canvas.sum() == pytest.approx(inside.sum(), rel=0.01)
    assert canvas.sum() == pytest.approx(polygon_area(quad), rel=0.01)


def test_a_layer_outside_the_image_is_not_drawn() -> None:
    assert warp_layer(np.ones((5, 5, 4), np.float32), translation(400, 0), 100, 100) is None


def test_lines_shrink_to_fit_and_words_are_dropped_before_they_get_too_small() -> None:
    line = TextLine(("WONDERFUL", "THINGS"), 40.0, style())
    roomy = arrange([line], max_width=2000, max_height=200, least_height=10)
    tight = arrange([line], max_width=roomy.width / 2, max_height=200, least_height=10)
    assert len(tight.words) == 2 and tight.width <= roomy.width / 2 and tight.lines[0].height < 21
    dropped = arrange([line], max_width=roomy.width * 0.7, max_height=200, least_height=39)
    assert [word.text for word in dropped.words] == ["WONDERFUL"] and dropped.width <= roomy.width * 0.7
    assert arrange([line], max_width=10, max_height=200, least_height=35) is None


def test_a_spread_line_ends_at_the_right_edge() -> None:
    wide, menu = (
        TextLine(("UNDERSTANDING", "EVERYTHING"), 30.0, style()),
        TextLine(("Tea", "$2"), 30.0, style(), align="spread"),
    )
    layout = arrange([wide, menu], max_width=2000, max_height=500, least_height=10)
    tea, price = (layout.words[i].strip.polygon() for i in (2, 3))
    assert tea[0, 0] == 0 and price[1, 0] == layout.width
