import math

import pytest
import torch

from fasttcm.charset import Charset
from fasttcm.projects.abcnet.head import HeadOutput
from fasttcm.projects.abcnet.postprocess import rescale, to_predictions
from fasttcm.projects.abcnet.proposals import Proposals, ProposalSelector, uncovered
from fasttcm.projects.abcnet.recognizer import Reading


def logit(p: float) -> float:
    return math.log(p / (1 - p))


def output(probabilities: list[list[float]], ctrness: float = 0.5, side: float = 0.4) -> HeadOutput:
    """One level of stride 8 with one row of cells per image; boxes reach ``side`` strides to every side."""
    images, cells = len(probabilities), len(probabilities[0])
    logits = torch.tensor([[logit(p) for p in row] for row in probabilities]).reshape(images, 1, 1, cells)
    beziers = torch.arange(16.0).reshape(1, 16, 1, 1).expand(images, 16, 1, cells)
    return HeadOutput(
        [logits],
        [torch.full_like(logits, logit(ctrness))],
        [torch.full((images, 4, 1, cells), side)],
        [beziers],
        (8,),
    )


def test_scores_boxes_and_curves_by_hand():
    (found,) = ProposalSelector()(output([[0.1, 0.81]]))
    assert len(found) == 1
    torch.testing.assert_close(found.scores, torch.tensor([math.sqrt(0.81 * 0.5)]))
    torch.testing.assert_close(found.boxes, torch.tensor([[12 - 3.2, 4 - 3.2, 12 + 3.2, 4 + 3.2]]))
    offsets = torch.arange(16.0).reshape(8, 2) * 8
    torch.testing.assert_close(found.beziers.reshape(8, 2), offsets + torch.tensor([12.0, 4.0]))
    assert found.locations.tolist() == [[12, 4]] and found.labels.tolist() == [0]


def test_the_threshold_is_strict_ignores_centreness_and_depends_on_the_mode():
    predictions = output([[0.5, 0.55, 0.75]], ctrness=0.001)
    selector = ProposalSelector(threshold_train=0.7, threshold_test=0.5)
    assert len(selector.train()(predictions)[0]) == 1
    assert len(selector.eval()(predictions)[0]) == 2


def test_overlapping_boxes_lose_to_the_better_one_and_order_is_descending():
    predictions = output([[0.6, 0.9, 0.7, 0.8]], side=0.9)  # neighbours overlap by 0.8 of 1.8 strides
    keep_all = ProposalSelector(nms_threshold=0.5).eval()(predictions)[0]
    assert keep_all.locations[:, 0].tolist() == [12, 28, 20, 4]
    strict = ProposalSelector(nms_threshold=0.2).eval()(predictions)[0]
    assert strict.locations[:, 0].tolist() == [12, 28]


def test_limits_keep_the_best_and_ties_with_the_last():
    predictions = output([[0.6, 0.9, 0.8, 0.8, 0.8]])
    assert len(ProposalSelector(pre_nms_topk=2).eval()(predictions)[0]) == 2
    limited = ProposalSelector(post_nms_topk=2).eval()(predictions)[0]
    torch.testing.assert_close(limited.scores**2 * 2, torch.tensor([0.9, 0.8, 0.8, 0.8]))


def test_images_are_separate_and_may_be_empty():
    some, none = ProposalSelector().eval()(output([[0.9, 0.9], [0.1, 0.2]]))
    assert (len(some), len(none)) == (2, 0)
    assert none.boxes.shape == (0, 4) and none.beziers.shape == (0, 16)


def proposals(*boxes: tuple[float, float, float, float]) -> Proposals:
    n = len(boxes)
    return Proposals(
        torch.tensor(boxes).reshape(-1, 4),
        torch.linspace(0.9, 0.5, n),
        torch.zeros(n, dtype=torch.int64),
        torch.zeros(n, 2),
        torch.arange(16.0).repeat(n, 1) * 10 - 20,
    )


def test_rescaling_clips_boxes_and_end_points_and_drops_what_vanishes():
    found = proposals((-10.0, 5, 50, 30), (200.0, 5, 220, 30), (20.0, 20, 20, 40))
    scaled, kept = rescale(found, (50, 100), (100, 150))
    assert kept.tolist() == [True, False, False]
    torch.testing.assert_close(scaled.boxes, torch.tensor([[0.0, 10, 75, 60]]))
    points = (torch.arange(16.0) * 10 - 20).reshape(8, 2) * torch.tensor([1.5, 2.0])
    expected = points.clone()
    for end in (0, 3, 4, 7):
        expected[end] = torch.stack([points[end, 0].clamp(0, 150), points[end, 1].clamp(0, 100)])
    torch.testing.assert_close(scaled.beziers.reshape(8, 2), expected)
    assert not torch.equal(expected[5], expected[5].clamp(0, 100))  # inner points may lie outside


def test_words_carry_polygons_texts_and_scores_of_the_kept_ones():
    charset = Charset("abc")
    found = proposals((200.0, 5, 220, 30), (0.0, 0, 50, 30))
    reading = Reading(torch.tensor([[0, 0, 0], [2, charset.end, 1]]), torch.tensor([0.1, 0.7]))
    options = {"charset": charset, "input_size": (50, 100), "output_size": (50, 100)}
    words = to_predictions(found, reading, **options)
    assert words.texts == ["cb"] and words.scores.tolist() == pytest.approx([0.5])
    assert words.text_scores.tolist() == pytest.approx([0.7])
    assert words.polygons[0].shape == (40, 2)
    assert words.polygons[0][0].tolist() == words.beziers[0, :2].tolist()
    assert to_predictions(found, reading, **options, stop_at_end=True).texts == ["c"]


def test_no_words_give_empty_tensors_of_the_right_shapes():
    reading = Reading(torch.zeros(0, 3, dtype=torch.int64), torch.zeros(0))
    words = to_predictions(proposals(), reading, charset=Charset("abc"), input_size=(5, 5), output_size=(7, 9))
    assert (words.height, words.width, len(words), words.polygons) == (7, 9, 0, [])
    assert words.boxes.shape == (0, 4) and words.beziers.shape == (0, 16) and words.text_scores.shape == (0,)
    assert words.to_json(image_id=1)["words"] == []


def flat(x0: float, y0: float, x1: float, y1: float) -> list[float]:
    """Control points of a rectangle."""
    xs = [x0 + (x1 - x0) * part / 3 for part in range(4)]
    return [v for x in xs for v in (x, y0)] + [v for x in reversed(xs) for v in (x, y1)]


def slanted(dy: float) -> list[float]:
    """A band 10 high that falls by one pixel a pixel, ``dy`` lower than the first."""
    xs = [0, 20, 40, 60]
    return [v for x in xs for v in (x, x + dy)] + [v for x in reversed(xs) for v in (x, x + dy + 10)]


def test_a_piece_of_a_better_word_goes_and_a_neighbour_stays():
    word, piece, beside = flat(0, 0, 90, 20), flat(55, 2, 95, 22), flat(92, 0, 150, 20)
    assert uncovered(torch.tensor([word, piece, beside]), 0.4).tolist() == [True, False, True]
    assert uncovered(torch.tensor([piece, word, beside]), 0.4).tolist() == [True, False, True]
    assert uncovered(torch.tensor([word, piece]), 0.9).tolist() == [True, True]  # 35 * 18 of 40 * 20


def test_what_a_dropped_text_covers_stays():
    chain = torch.tensor([flat(0, 0, 60, 20), flat(30, 0, 90, 20), flat(60, 0, 120, 20)])
    assert uncovered(chain, 0.4).tolist() == [True, False, True]


def test_slanted_lines_whose_boxes_nearly_coincide_stay():
    lines = torch.tensor([slanted(0), slanted(12)])
    assert uncovered(lines, 0.1).tolist() == [True, True]


def test_outlines_without_area_go_and_none_is_fine():
    assert uncovered(torch.tensor([[5.0] * 16, flat(0, 0, 9, 9)]), 0.5).tolist() == [False, True]
    assert uncovered(torch.zeros(0, 16), 0.5).tolist() == []


def test_the_selector_drops_covered_texts_when_asked():
    predictions = output([[0.9, 0.6]])
    predictions.beziers[0] = torch.tensor(flat(-1, -1, 1, 1))[None, :, None, None].expand(1, 16, 1, 2)  # in strides
    assert len(ProposalSelector().eval()(predictions)[0]) == 2
    (found,) = ProposalSelector(most_covered=0.4).eval()(predictions)
    assert found.locations[:, 0].tolist() == [4]
