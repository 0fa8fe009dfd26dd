import numpy as np
import pytest
import torch

from fasttcm.drawing import (
    ACCENT,
    DONT_CARE,
    MATCHED,
    UNMATCHED,
    WRONG_TEXT,
    draw_predictions,
    draw_targets,
    draw_words,
    match_colors,
    side_by_side,
)
from fasttcm.structures import TextPredictions, TextTargets

BACKGROUND = 128
BOX = np.array([[60, 80], [200, 80], [200, 120], [60, 120]], float)


def picture(height=200, width=300):
    return np.full((height, width, 3), BACKGROUND, np.uint8)


def changed(before, after):
    return (before != after).any(axis=2)


def has_color(image, color):
    return bool((image == np.array(color, np.uint8)).all(axis=2).any())


def test_outline_has_the_colour_and_the_inside_a_tint():
    image = picture()
    drawn = draw_words(image, [BOX], [""])
    assert (image == BACKGROUND).all(), "the input must stay as it is"
    assert np.abs(drawn[80, 130].astype(int) - ACCENT).max() < 30
    inside = drawn[100, 130].astype(int)
    expected = BACKGROUND + 0.16 * (np.array(ACCENT) - BACKGROUND)
    assert np.abs(inside - expected).max() <= 1
    assert (drawn[150, 250] == BACKGROUND).all()
    touched = np.argwhere(changed(image, drawn))
    assert touched.min(0).tolist() >= [75, 55] and touched.max(0).tolist() <= [125, 205]


def test_a_label_adds_a_filled_tag_above_the_word():
    bare, labelled = (draw_words(picture(), [BOX], [text]) for text in ("", "hello"))
    tag = np.argwhere(changed(bare, labelled))
    assert len(tag) > 300 and tag[:, 0].max() < 80 and tag[:, 1].min() >= 58
    assert has_color(labelled[:80], ACCENT)


@pytest.mark.parametrize("corner", [(0, 0), (250, 0), (0, 180), (250, 180)])
def test_tags_stay_inside_and_never_fail_at_the_border(corner):
    polygon = np.array([[0, 0], [48, 0], [48, 18], [0, 18]]) + corner
    bare, labelled = (draw_words(picture(), [polygon], [text]) for text in ("", "long words"))
    assert labelled.shape == (200, 300, 3)
    tag = changed(bare, labelled)
    rows, columns = np.flatnonzero(tag.any(1)), np.flatnonzero(tag.any(0))
    assert 10 < rows[-1] - rows[0] < 40 and columns[-1] - columns[0] > 40


def test_tags_of_neighbouring_lines_do_not_cover_each_other():
    second = BOX + np.array([0, 42])
    one = draw_words(picture(), [BOX, second], ["upper", ""])
    other = draw_words(picture(), [BOX, second], ["", "lower"])
    bare = draw_words(picture(), [BOX, second], ["", ""])
    assert not (changed(bare, one) & changed(bare, other)).any()


@pytest.mark.parametrize("text", ["Straße", "Ωmega", "中文", "line\nbreak", "\x00\x7f", "口" * 200, " "])
def test_any_text_can_be_drawn(text):
    bare, labelled = (draw_words(picture(), [BOX], [t]) for t in ("", text))
    assert labelled.shape == bare.shape and changed(bare, labelled).any()


def test_degenerate_polygons_are_skipped():
    bad = [np.zeros((0, 2)), np.zeros((1, 2)), np.full((4, 2), np.nan)]
    assert (draw_words(picture(), bad, ["a", "b", "c"]) == picture()).all()
    far = np.array([[1e30, 0], [2e30, 0], [2e30, 5], [1e30, 5]])
    assert draw_words(picture(), [far, BOX[[0, 0, 0]], BOX[:2]], ["", "", ""]).shape == (200, 300, 3)
    assert (draw_words(picture(), [], []) == picture()).all()
    assert draw_words(picture(1, 1), [BOX], ["x"]).shape == (1, 1, 3)


def test_min_side_enlarges_the_picture_and_the_words():
    drawn = draw_words(picture(100, 128), [BOX / 4], [""], min_side=512)
    assert drawn.shape == (400, 512, 3)
    assert np.abs(drawn[80, 130].astype(int) - ACCENT).max() < 30
    assert draw_words(picture(), [], [], min_side=100).shape == (200, 300, 3)


def test_ignored_words_are_grey_and_have_no_tag():
    drawn = draw_words(picture(), [BOX], ["###"], ignore=[True], colors=[MATCHED])
    assert (drawn == draw_words(picture(), [BOX], [""], colors=[DONT_CARE])).all()


def test_lists_of_other_lengths_and_other_images_are_refused():
    with pytest.raises(ValueError, match="1 polygons need 1 texts, got 0"):
        draw_words(picture(), [BOX], [])
    with pytest.raises(ValueError, match="1 polygons need 1 colors, got 2"):
        draw_words(picture(), [BOX], [""], colors=[MATCHED, MATCHED])
    with pytest.raises(ValueError, match="uint8"):
        draw_words(picture().astype(np.float32), [], [])
    with pytest.raises(ValueError, match=r"\(H, W, 3\)"):
        draw_words(picture()[..., 0], [], [])


def test_predictions_and_targets_draw_as_their_words():
    ring = BOX.astype(np.float32)
    boxes = torch.tensor([[60.0, 80, 200, 120]])
    found = TextPredictions(200, 300, [ring], boxes, torch.tensor([0.5]), ["abc"], torch.ones(1))
    assert (draw_predictions(picture(), found) == draw_words(picture(), [BOX], ["abc"])).all()
    scored = draw_predictions(picture(), found, show_scores=True, colors=[UNMATCHED])
    assert (scored == draw_words(picture(), [BOX], ["abc 0.50"], colors=[UNMATCHED])).all()
    labels = torch.zeros(1, dtype=torch.int64)
    targets = TextTargets([ring], torch.zeros(1, 16), boxes, ["abc"], torch.tensor([True]), labels)
    assert (draw_targets(picture(), targets) == draw_words(picture(), [BOX], [""], colors=[DONT_CARE])).all()


def test_colours_follow_the_scoring_result():
    outcome = {"matches": [[0, 2, 0.9, True], [3, 1, 0.7, False]], "false_alarms": [4], "misses": [1]}
    assert match_colors(5, outcome) == [DONT_CARE, WRONG_TEXT, MATCHED, DONT_CARE, UNMATCHED]
    assert match_colors(4, outcome, side="ground_truth") == [MATCHED, UNMATCHED, DONT_CARE, WRONG_TEXT]
    by_place = {**outcome, "matches": [match[:3] for match in outcome["matches"]]}
    assert match_colors(3, by_place | {"false_alarms": []}) == [DONT_CARE, MATCHED, MATCHED]


def test_side_by_side_aligns_heights_and_keeps_pixels():
    left, right = picture(100, 50), picture(200, 300)
    right[:] = (10, 200, 30)
    row = side_by_side([left, right], gap=10)
    assert row.shape == (220, 10 + 100 + 10 + 300 + 10, 3)
    assert (row[10:210, 120:420] == right).all() and (row[10:210, 10:110] == BACKGROUND).all()
    assert (row[:10] == 255).all()
    titled = side_by_side([left, right], ["a title far too long for its picture", "b"], gap=10)
    assert titled.shape[0] > 230 and (titled[-210:-10, 120:420] == right).all()
    assert (titled[10:-210, 110:120] == 255).all(), "a title must not run into its neighbour's"


def test_side_by_side_needs_pictures_and_fitting_titles():
    with pytest.raises(ValueError, match="got 0 and 0"):
        side_by_side([])
    with pytest.raises(ValueError, match="got 1 and 2"):
        side_by_side([picture()], ["a", "b"])
