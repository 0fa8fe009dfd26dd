import pytest
import torch

from fasttcm.charset import Charset
from fasttcm.projects.deepsolo.output import LayerOutput
from fasttcm.projects.deepsolo.postprocess import decode_ctc, outlines, select, text_score, to_predictions

LOWER = Charset.named("lower36")
UNKNOWN, BLANK = LOWER.unknown, LOWER.end


def classes_of(text: str) -> list[int]:
    """``_`` is the blank and ``?`` unknown."""
    return [{"_": BLANK, "?": UNKNOWN}.get(c, LOWER.characters.find(c)) for c in text]


@pytest.mark.parametrize(
    ("path", "text"),
    [("", ""), ("____", ""), ("aabb", "ab"), ("a_a", "aa"), ("a?a", "aa"), ("??", ""), ("_hee_l_llo_", "hello")],
)
def test_best_path_merges_repeats_and_both_separators_separate(path, text):
    assert decode_ctc(classes_of(path), LOWER) == text


def test_the_first_character_is_not_lost_at_the_start():
    # the space is class 0 of the large set; AdelaiDet's own decoder swallows it
    assert decode_ctc([0, 96, 0, 33], Charset.named("ascii")) == "  A"


def test_text_score_multiplies_the_peaks():
    assert text_score(classes_of("aa_ab"), [0.5, 0.8, 0.1, 0.5, 0.25], LOWER) == pytest.approx(0.8 * 0.5 * 0.25)
    assert text_score(classes_of("a?a"), [0.5, 0.1, 0.5], LOWER) == pytest.approx(0.25)
    assert text_score(classes_of("__?"), [1.0, 1.0, 1.0], LOWER) == 0.0


def layer(queries: int = 3, points: int = 4) -> LayerOutput:
    """Two images; query q has the mean logit q - 1 and spells the q-th character."""
    generator = torch.Generator().manual_seed(0)
    logits = (torch.arange(queries) - 1.0).view(1, -1, 1, 1).repeat(2, 1, points, 1)
    logits = logits + torch.tensor([0.5, -0.5, 0.25, -0.25]).view(1, 1, -1, 1)
    text = torch.zeros(2, queries, points, LOWER.num_classes)
    for q in range(queries):
        text[:, q, :2, q] = 5
        text[:, q, 2:, BLANK] = 5
    centre = torch.rand(2, queries, points, 2, generator=generator)
    return LayerOutput(logits, text, centre, torch.cat([centre - 0.1, centre + 0.1], 3))


def test_the_score_is_the_sigmoid_of_the_mean_logit():
    found = select(layer(), 0, threshold=0.0, output_size=(10, 20))
    torch.testing.assert_close(found.scores, torch.tensor([-1.0, 0.0, 1.0]).sigmoid())
    torch.testing.assert_close(found.points, layer().points[0] * torch.tensor([20.0, 10.0]))
    torch.testing.assert_close(found.text_probs.sum(2), torch.ones(3, 4))


def test_the_threshold_is_inclusive_and_order_is_that_of_the_queries():
    assert len(select(layer(), 1, threshold=0.5, output_size=(10, 20)).scores) == 2
    assert select(layer(), 1, threshold=0.4, output_size=(10, 20)).scores.tolist() == pytest.approx([0.5, 0.7310586])


def test_words_are_sorted_and_outlined_upper_side_first():
    output = layer()
    words = to_predictions(select(output, 0, threshold=0.0, output_size=(10, 20)), charset=LOWER, output_size=(10, 20))
    assert words.texts == ["c", "b", "a"] and bool((words.scores.diff() < 0).all())
    boundary = output.boundary[0, 2] * torch.tensor([20.0, 10.0, 20.0, 10.0])
    expected = torch.cat([boundary[:, :2], boundary[:, 2:].flip(0)])
    torch.testing.assert_close(torch.from_numpy(words.polygons[0]), expected)
    torch.testing.assert_close(words.boxes[0], torch.cat([expected.amin(0), expected.amax(0)]))
    assert words.text_scores.shape == (3,) and bool((words.text_scores > 0).all())


def test_nothing_found_is_empty():
    words = to_predictions(
        select(layer(), 0, threshold=0.99, output_size=(10, 20)), charset=LOWER, output_size=(10, 20)
    )
    assert len(words) == 0 and words.boxes.shape == (0, 4) and words.polygons == []
    assert outlines(torch.zeros(0, 4, 4)).shape == (0, 8, 2)
